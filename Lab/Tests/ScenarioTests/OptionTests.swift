// Options on a command line: the accepted ones, and the text of each refusal.

import KernelStacks
import Scenarios
import Testing

@Suite struct OptionTests {
  @Test func `All options are read`() throws {
    let options = try ScenarioOptions.parsing(
      "scenario=fork-churn strategy=vmalloc seed=0x1f memory=64M cpus=2\tnuma-nodes=2  va-bits=48 "
        + "stack-size=20480 largest-free-order=0 free-share=30 depths=full operations=77 threads=9 "
        + "break-condition=yes\n\0ignored")
    #expect(options.scenario == .forkChurn)
    #expect(options.strategy == .vmalloc)
    #expect(options.seed == 31)
    #expect(options.memoryBytes == 64 << 20)
    #expect(options.cpuCount == 2)
    #expect(options.nodeCount == 2)
    #expect(options.virtualAddressBits == 48)
    #expect(options.stackSize == 20480)
    #expect(options.largestFreeOrder == 0)
    #expect(options.freeSharePercent == 30)
    #expect(options.stackDepths == .full)
    #expect(options.operations == 77)
    #expect(options.threadCount == 9)
    #expect(options.breaksCondition)
  }

  @Test func `Without options the main scenario runs with contiguous stacks`() throws {
    let options = try ScenarioOptions.parsing("")
    #expect(options.scenario == .fragmentedFork)
    #expect(options.strategy == .linear)
    #expect(options.virtualAddressBits == 39)
    #expect(options.freeSharePercent == 50)
  }

  @Test func `Memory, CPUs and threads that no option sets are what the scenario needs`() throws {
    let many = try ScenarioOptions.parsing("scenario=million-threads")
    #expect(many.memoryBytes == 8 << 30 && many.threadCount == 1_000_000)
    let few = try ScenarioOptions.parsing("threads=5 memory=64M scenario=million-threads")
    #expect(few.memoryBytes == 64 << 20 && few.threadCount == 5)
    #expect(try ScenarioOptions.parsing("").memoryBytes == 128 << 20)
    #expect(try ScenarioOptions.parsing("scenario=smp-storm").cpuCount == 4)
    #expect(try ScenarioOptions.parsing("cpus=2 scenario=smp-storm").cpuCount == 2)
    #expect(try ScenarioOptions.parsing("scenario=fork-churn").cpuCount == 1)
  }

  @Test func `The largest seed is a seed, and nothing larger`() throws {
    #expect(try ScenarioOptions.parsing("seed=18446744073709551615").seed == .max)
    #expect(throws: ScenarioOptionError.self) { try ScenarioOptions.parsing("seed=18446744073709551616") }
  }

  @Test(arguments: ScenarioName.allCases)
  func `Every scenario is found by its name`(_ scenario: ScenarioName) throws {
    #expect(try ScenarioOptions.parsing("scenario=\(scenario.name)").scenario == scenario)
  }

  @Test(arguments: [
    ("scenario=nonsense", "there is no scenario nonsense; scenarios: fragmented-fork fork-churn"),
    ("speed=9", "there is no option speed; options: scenario strategy seed"),
    ("quiet", "quiet is not of the form key=value"),
    ("strategy=heap", "strategy cannot be heap; it takes linear, vmalloc or growing"),
    ("va-bits=42", "va-bits cannot be 42; it takes 39 or 48"),
    ("stack-size=10000", "stack-size cannot be 10000"),
    ("stack-size=4096", "stack-size cannot be 4096"),
    ("largest-free-order=2", "largest-free-order cannot be 2; it takes 0 or 1"),
    ("depths=deep", "depths cannot be deep; it takes typical or full"),
    ("operations=-1", "operations cannot be -1"),
    ("operations=0", "operations cannot be 0"),
    ("threads=0", "threads cannot be 0; it takes a number from 1"),
    ("break-condition=maybe", "break-condition cannot be maybe; it takes yes or no"),
    ("seed=", "seed cannot be ; it takes a number"),
    ("seed=12x", "seed cannot be 12x"),
    ("memory=99999999999999999999", "memory cannot be"),
    ("memory=17179869184G", "memory cannot be 17179869184G"),
    ("free-share=0", "free-share cannot be 0"),
    (
      "largest-free-order=0 free-share=51",
      "a free share of 51 % would leave blocks above order 0; at most 50 %"
    ),
    ("free-share=76", "a free share of 76 % would leave blocks above order 1; at most 75 %"),
  ])
  func `What is refused is named, with what would be accepted`(_ text: String, _ message: String) {
    #expect {
      try ScenarioOptions.parsing(text)
    } throws: { error in
      guard let error = error as? ScenarioOptionError else { return false }
      return error.description.hasPrefix(message)
    }
  }

  @Test func `Text that is too long or not printable is quoted safely`() {
    let long = String(repeating: "a", count: 100)
    #expect {
      try ScenarioOptions.parsing("\(long)=1")
    } throws: { error in
      (error as? ScenarioOptionError)?.description.hasPrefix(
        "there is no option \(String(repeating: "a", count: 37))...;") ?? false
    }
    #expect {
      try ScenarioOptions.parsing("\u{1b}[31m=1")
    } throws: { error in
      (error as? ScenarioOptionError)?.description.hasPrefix("there is no option ?[31m;") ?? false
    }
    // Text that is cut within a character would not be UTF-8.
    #expect {
      try ScenarioOptions.parsing("\(String(repeating: "ä", count: 30))=1")
    } throws: { error in
      let quoted = String(repeating: "?", count: 37)
      return (error as? ScenarioOptionError)?.description.hasPrefix("there is no option \(quoted)...;") ?? false
    }
  }
}
