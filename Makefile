# The commands of the project; each works on a fresh clone with Swift 6.3 and make.

.PHONY: run report pictures claims test races soak verify bench bench-host c-library linux linux-test docs format clean

run: ; Scripts/require-qemu && ./kstacks

report: ; ./kstacks report

pictures: run ; cp build/figures/memory-pair.svg docs/images/memory-maps.svg

claims: ; Scripts/require-qemu && ./kstacks claims

test: ; Scripts/require-qemu && swift test --traits InternalChecks && swift test --package-path Lab --traits InternalChecks

races: ; Scripts/races

verify: ; verify/run

bench: ; Scripts/require-qemu && ./kstacks bench --page docs/benchmarks.md && Scripts/bench-host

bench-host: ; Scripts/bench-host

soak: ; Scripts/require-qemu && Scripts/soak

c-library: ; Scripts/build-c-library

linux: ; Linux/run

linux-test: ; Linux/test

docs: ; Scripts/build-docs

format: ; swift format --in-place --recursive Package.swift Sources Tests Fixtures Linux Lab

clean: ; rm -rf .build* build Lab/.build* Lab/*/.build* Fixtures/*/.build* Fixtures/*/build
