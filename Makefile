# The commands of the project; each works on a fresh clone with Swift 6.3 and make.

.PHONY: run report pictures claims test damage busy-test fuzz races soak verify litmus bench bench-host pi c-library linux linux-test linux-debian docs format clean

run: ; Scripts/require-qemu && ./kstacks

report: ; ./kstacks report

pictures: run ; cp build/figures/memory-pair.svg docs/images/memory-maps.svg

claims: ; Scripts/require-qemu && ./kstacks claims

test: ; Scripts/require-qemu && for package in . Lab; do Scripts/test $$package || exit; done && Scripts/fuzz

# Verdicts on LOGS damaged logs without a loss, and on as many with one, from the seed SEED on.
damage: ; DAMAGED_LOGS=$(or $(LOGS),10000) DAMAGE_SEED=$(or $(SEED),1) swift test --package-path Lab --filter DamagedLogTests

# All tests, three times, beside six loops that take all the processor time they get.
busy-test: ; Scripts/beside-busy-loops $(or $(LOOPS),6) $(or $(TIMES),3) $(MAKE) test

# Random inputs of what comes from a boot loader or a process: RUNS of each kind, or as few as `make test` has.
fuzz: ; RUNS=$(RUNS) Scripts/fuzz $(KINDS)

races: ; Scripts/races

verify: ; verify/run

litmus: ; verify/litmus/run

bench: ; Scripts/require-qemu && ./kstacks bench --page docs/benchmarks.md && Scripts/bench-host

bench-host: ; Scripts/bench-host

pi: ; ./kstacks pi

soak: ; Scripts/require-qemu && Scripts/soak

c-library: ; CHECKED=$(CHECKED) Scripts/build-c-library

# A variable of that name in the environment means something else.
linux_version = $(if $(filter command,$(origin VERSION)),$(VERSION))

linux: ; Linux/run $(linux_version)

linux-test: ; Linux/test $(linux_version)

linux-debian: ; Linux/debian

docs: ; Scripts/build-docs

format: ; swift format --in-place --recursive Package.swift Sources Tests Fixtures Linux Lab

clean: ; rm -rf .build* build Lab/.build* Lab/*/.build* Fixtures/*/.build* Fixtures/*/build
