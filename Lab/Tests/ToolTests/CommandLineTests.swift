// The exit codes and messages of the kstacks command.

import Foundation
import ImageTools
import Scenarios
import Testing

@testable import kstacks

@Suite struct CommandLineTests {
  static let kstacks = BuildProducts.path(of: "kstacks")

  func run(_ arguments: [String]) async throws -> CommandResult {
    try await Command(try #require(Self.kstacks, "kstacks was not built"), arguments).run()
  }

  @Test(arguments: [
    (["run", "no-such-scenario"], "there is no scenario no-such-scenario; scenarios: fragmented-fork"),
    (["run", "--memory", "8M"], "8 MiB of memory is too little: the kernel needs at least"),
    (["run", "--memory", "much"], "memory cannot be much"),
    (
      ["run", "--memory", "255G"],
      "255 GiB of memory is too much: with 39-bit addresses the kernel maps at most 254 GiB (1024 GiB with --va-bits 48)"
    ),
    (["run", "--memory", "1025G", "--va-bits", "48"], "memory cannot be 1025G"),
    (
      ["run", "--memory", "9G", "--machine", "simulated"],
      "9 GiB of memory is too much: the simulated machine has at most 8 GiB"
    ),
    (["run", "--strategy", "heap"], "strategy cannot be heap; it takes linear, vmalloc, growing or all"),
    (
      ["run", "pressure", "--strategy", "linear"],
      "pressure is about growing stacks, not linear ones: --strategy growing"
    ),
    (["run", "fork-churn", "--growth", "lazy"], "growth cannot be lazy; it takes fault or lent"),
    (
      ["run", "fork-churn", "--growth", "lent", "--strategy", "vmalloc", "--cpu", "max"],
      "growth=lent is about growing stacks: strategy=growing"
    ),
    (
      ["run", "fork-churn", "--growth", "lent", "--strategy", "growing"],
      "pages are lent where CPUs set the access flag: --cpu max, or --machine simulated"
    ),
    (
      ["run", "--operations", "9"],
      "does not use --operations; fork-churn, forks-at-once, smp-storm and vmalloc-suite do"
    ),
    (["run", "isolation", "--break-condition"], "isolation does not use --break-condition; pressure does"),
    (["run", "--machine", "simulated", "--cpu", "max"], "--cpu chooses one of QEMU's CPUs"),
    (["run", "--seeds", "-1"], "the number of seeds is 1 or more"),
    (["bench", "--seeds", "2"], "bench takes one seed, not 2"),
    (["run", "--va-bits", "47"], "va-bits cannot be 47; it takes 39 or 48"),
    (["run", "--cpus", "0"], "cpus cannot be 0"),
    (["run", "--cpus", "65"], "cpus cannot be 65"),
    (["run", "--board", "raspi3b", "--memory", "512M"], "raspi3b has 1 GiB of memory, not 512 MiB"),
    (["run", "million-threads", "--board", "raspi3b"], "raspi3b has 1 GiB of memory, not 8 GiB"),
    (["run", "--board", "raspi3b", "--cpus", "5"], "raspi3b has 4 CPUs, not 5"),
    (["run", "--board", "raspi3b", "--numa-nodes", "2"], "raspi3b has one NUMA node, not 2"),
    (["run", "--board", "raspi3b", "--cpu", "max"], "the CPUs of raspi3b are what they are: leave out --cpu"),
    (["run", "--board", "raspi3b", "--machine", "simulated"], "--board chooses one of QEMU's boards"),
    (["run", "--board", "raspi3b", "--device-tree", "/nowhere"], "cannot read /nowhere"),
    (["run", "--device-tree", "/nowhere"], "QEMU makes the device tree of virt"),
    (["run", "--accel", "kvm", "--machine", "simulated"], "--accel is for QEMU: use it with --machine qemu"),
    (["run", "--accel", "kvm", "--board", "raspi3b"], "kvm runs the board virt, not raspi3b"),
    (["run", "--accel", "hvf", "--cpu", "max"], "with hvf, the CPUs are those of the host: leave out --cpu"),
    (["run", "--free-share", "90"], "a free share of 90 % would leave blocks above order 1"),
    (["run", "--stack-size", "17000"], "stack-size cannot be 17000"),
    (
      ["run", "--stack-size", "12K"],
      "linear stacks are blocks of 8 or 16 KiB, not 12 KiB: add --strategy vmalloc"
    ),
    (["run", "--seed", "-1"], "seed cannot be -1"),
    (["run", "--numa-nodes", "3"], "1 or 2 NUMA nodes"),
    (["run", "--seed", "1 strategy=linear"], "is no value for seed"),
    (["run", "--no-such-option"], "Unknown option '--no-such-option'"),
    (["run", "--machine", "toaster"], "toaster"),
    (["run", "--silence-limit", "0"], "the silence limit"),
    (["run", "--json", "/dev/null/result.json"], "cannot write /dev/null/result.json: "),
    (["run", "--json", "-"], "cannot write to standard output, which has the tables: name a file"),
    (["claims", "--no-runs", "--results", "/nowhere"], "there is no folder /nowhere"),
    (
      ["claims", "--no-runs", "--page", "\(PackageRoot.path ?? ".")/LICENSE"],
      "LICENSE has no table of figures"
    ),
    (["bench", "--json", "/"], "cannot write /: it is no regular file"),
    (["bench", "--machine", "simulated"], "only the machine qemu can count instructions"),
  ])
  func `Bad input gets one clear line and a failing exit code`(arguments: [String], message: String)
    async throws
  {
    let result = try await run(arguments)
    #expect(result.exitCode != 0)
    #expect(result.output == "")
    #expect(result.errors.hasPrefix("kstacks: "))
    #expect(result.errors.contains(message), "\(result.errors)")
    #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }

  #if !arch(arm64)
    @Test(arguments: ["kvm", "hvf"])
    func `The CPUs of a host that is not arm64 are refused`(accelerator: String) async throws {
      let result = try await run(["run", "--accel", accelerator])
      #expect(result.exitCode != 0 && result.output == "")
      #expect(
        result.errors.hasPrefix("kstacks: \(accelerator) needs a host with arm64 CPUs; those of this one are "))
      #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    }
  #endif

  @Test func `The list names every scenario with what it does`() async throws {
    let result = try await run(["list"])
    #expect(result.exitCode == 0)
    #expect(result.output.contains("fragmented-fork"))
    #expect(result.output.split(separator: "\n").allSatisfy { $0.contains("  ") })
  }

  @Test(arguments: [["--help"], ["run", "--help"], ["list", "--help"], ["bench", "--help"]])
  func `Help is always there`(arguments: [String]) async throws {
    let result = try await run(arguments)
    #expect(result.exitCode == 0)
    #expect(result.output.contains("USAGE: kstacks"))
  }

  @Test func `A page without results is not said to agree`() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("results-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let result = try await run(["claims", "--no-runs", "--check", "--results", folder.path])
    #expect(result.exitCode == 0)
    #expect(result.output.contains("(claims/bench.json is missing; `./kstacks claims` writes it)"))
    #expect(result.output.contains("(linux.json is missing; `make linux` writes it)"))
    let last = try #require(result.output.split(separator: "\n").last)
    let numbers = last.split { !$0.isNumber }.compactMap { Int($0) }
    #expect(numbers.count == 2 && numbers[0] < 10 && numbers[1] > 100, "\(last)")
  }

  @Test func `A line that is rewritten stays one`() {
    let text = Steps.rewriting(String(repeating: "x", count: 500))
    #expect(text.hasPrefix("\r\u{1b}[?7lx") && text.hasSuffix("x\u{1b}[K\u{1b}[?7h"))
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"))
  func `A run that is silent for too long is reported in one line`() async throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString).json")
      .path
    let result = try await run([
      "run", "vmalloc-suite", "--strategy", "linear", "--operations", "100000000", "--silence-limit", "1",
      "--json", path,
    ])
    #expect(result.exitCode == 1)
    #expect(
      result.errors
        == "kstacks: vmalloc-suite with linear stacks wrote no line in 1 s of processor time; "
        + "--silence-limit gives it longer\n")
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `Help says which scenarios an option is for`() async throws {
    let words = try await run(["run", "--help"]).output.split(whereSeparator: \.isWhitespace).joined(
      separator: " ")
    for option in ScenarioOption.allCases {
      let users = ScenarioCatalogue.scenarios(using: option)
      guard users.count < ScenarioName.allCases.count, option != .scenario else { continue }
      let start = try #require(words.range(of: "--\(option.name) ")).upperBound
      let text = words[start...].components(separatedBy: " --")[0]
      for user in users { #expect(text.contains("\(user)"), "\(option.name): \(text)") }
    }
  }

  @Test(arguments: [
    (["--operations", "9"], ScenarioName.fragmentedFork, false), (["--operations", "9"], .smpStorm, true),
    (["--threads", "9"], .isolation, false), (["--threads", "9"], .overflow, true),
    (["--free-share", "9"], .recovery, false), (["--free-share", "9"], .fragmentedFork, true),
  ])
  func `An option that would change nothing is refused`(words: [String], scenario: ScenarioName, isTaken: Bool)
    throws
  {
    let plans = { try ScenarioArguments.parse(words).plans(scenario: "\(scenario.name)") }
    if isTaken { #expect(try !plans().isEmpty) } else { #expect(throws: CommandError.self) { try plans() } }
  }

  @Test(arguments: [
    ("exec \"$0\" list >/dev/full", 1, "kstacks: cannot write to standard output: No space left on device\n"),
    // A run of minutes whose reader leaves at the first line: it ends by itself.
    (
      "{ \"$0\" run fork-churn --machine simulated --operations 100000000 --verbose --json /tmp/$$.json; "
        + "echo $? >&2; } | head -1 >/dev/null", 0, "141\n"
    ),
  ])
  func `Output without a reader ends the command`(script: String, code: Int, errors: String) async throws {
    // Not every system has a device that is always full.
    if script.contains("/dev/full"), !FileManager.default.fileExists(atPath: "/dev/full") { return }
    let result = try await Command("/bin/sh", ["-c", script, try #require(Self.kstacks)]).run()
    #expect(result.exitCode == code)
    #expect(result.errors == errors)
  }

  /// Interrupts a run of hours once its machine has written a line; `check` is a command to run after its end.
  func interrupt(_ arguments: [String], then check: String = "") async throws -> CommandResult {
    let script = """
      pipe=$1; shift; mkfifo "$pipe"; "$0" run --verbose "$@" >"$pipe" & run=$!
      exec 3<"$pipe"
      while read -r line <&3; do case $line in "| "*) break ;; esac; done
      cat <&3 >/dev/null &
      kill -TERM $run; wait $run; status=$?
      \(check)
      exit $status
      """
    let pipe = FileManager.default.temporaryDirectory.appendingPathComponent("pipe-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: pipe) }
    return try await Command("/bin/sh", ["-c", script, try #require(Self.kstacks), pipe] + arguments).run()
  }

  @Test func `An interrupted run ends quietly`() async throws {
    // A simulated run does not react to cancellation.
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString).json")
      .path
    let result = try await interrupt([
      "fork-churn", "--machine", "simulated", "--strategy", "vmalloc", "--operations", "100000000", "--json",
      path,
    ])
    #expect(result.exitCode == 128 + 15)
    #expect(result.errors == "")
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"))
  func `An interrupted run takes its guest with it`() async throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString).json")
      .path
    let seed = "\(UInt64.random(in: 1 << 60..<1 << 61))"
    let result = try await interrupt(
      [
        "fork-churn", "--strategy", "vmalloc", "--operations", "100000000", "--seed", seed, "--json", path,
      ], then: "grep -qs 'seed[=]\(seed)' /proc/[0-9]*/cmdline && echo the guest is still there >&2")
    #expect(result.exitCode == 128 + 15)
    #expect(result.errors == "")
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `Without QEMU it says how to get it`() async throws {
    let kstacks = try #require(Self.kstacks)
    let result = try await Command("/usr/bin/env", ["PATH=/nowhere", kstacks, "run"]).run()
    #expect(result.exitCode != 0)
    #expect(result.errors.contains("apt-get install qemu-system-arm"))
    #expect(result.errors.contains("brew install qemu"))
  }
}
