// The model of caches and TLBs: known accesses have known answers, on this computer and in QEMU.

import ImageTools
import Testing

/// What the tests in QEMU need; where it is missing, they are skipped.
private let needsPlugins = ConditionTrait.enabled("QEMU loads plugins with version 1 of their interface") {
  do {
    _ = try await MemoryModelPlugin.shared.path()
    return true
  } catch {
    print("the memory model is not tested in QEMU: \(error)")
    return false
  }
}

@Suite struct MemoryModelTests {
  @Test func `Known patterns of accesses have known answers`() async throws {
    let result = try await Command(MemoryModelPlugin.buildTest()).run()
    #expect(result.exitCode == 0, "\(result.output)\(result.errors)")
  }

  /// Boots the kernel with the model.
  private func modelled(_ commandLine: String, strategy: String) async throws -> GuestRun {
    let plugin = try await MemoryModelPlugin.shared.path()
    let run = try await boot("\(commandLine) strategy=\(strategy)") { $0.memoryModel = plugin }
    expectSuccess(run)
    let walks = try #require(run.records(ofType: "memoryModel").first)
    #expect(walks["walks"]?.integer ?? 0 > 0 && walks["wrongWalks"]?.integer == 0, "\(walks)")
    return run
  }

  private func missed(_ record: JSON, _ core: String, _ state: String, _ kind: String) -> Double? {
    record["cores"]?[core]?[state]?[kind]?.number
  }

  @Test(needsPlugins) func `In QEMU the model sees what the kernel touches`() async throws {
    let run = try await modelled("scenario=self-test test=memory-model", strategy: "vmalloc")
    let patterns = run.records(ofType: "memory")
    try #require(patterns.count == 8)
    func touched(_ key: String) -> [Double?] { patterns.map { $0[key]?.number } }
    #expect(touched("loadedLines") == [0, 10, 0, 1, 2, 3, 96, 96])
    #expect(touched("storedLines") == [0, 0, 10, 0, 0, 0, 0, 0])
    let translations = touched("dataTranslations")
    #expect(translations.prefix(4) == [0, 1, 1, 1] && translations.suffix(2) == [96, 96])
    // Cold, each line comes from memory, and two levels of tables lead to a block, three to the first page.
    #expect(missed(patterns[1], "cortex-a72", "cold", "l1Data") == 10)
    // Lines of one set of a cache with two ways.
    #expect(missed(patterns[4], "cortex-a72", "warm", "l1Data") == 0)
    #expect(missed(patterns[5], "cortex-a72", "warm", "l1Data") == 3)
    // Pages mapped twice as far apart no longer fit the sets of the second-level TLB that their numbers choose.
    #expect(missed(patterns[6], "cortex-a72", "warm", "l2Tlb") == 0)
    #expect(missed(patterns[7], "cortex-a72", "warm", "l2Tlb") == 96)
  }

  @Test(needsPlugins, arguments: Benchmarks.strategies)
  func `The model changes no row, and has something to say of each mean`(strategy: String) async throws {
    let plain = try await boot("scenario=bench strategy=\(strategy)").records(ofType: "benchmark")
    let run = try await modelled("scenario=bench", strategy: strategy)
    #expect(run.records(ofType: "benchmark") == plain)
    var modelled: [String] = []
    for (record, next) in zip(run.records, run.records.dropFirst()) where record["type"]?.string == "memory" {
      let name = try #require(next["name"]?.string)
      modelled.append(name)
      #expect(next["type"]?.string == "benchmark" && record["codeLines"]?.number ?? 0 > 0, "\(name)")
      // See docs/layout-decisions.md.
      if name == "allocate cached stack" || name == "free stack into cache" {
        #expect(record["dataLines"]?.number ?? .infinity <= 6, "\(name)")
      }
    }
    let means = plain.filter { $0["instructions"]?.integer != nil }.compactMap { $0["name"]?.string }
      .filter { !$0.hasSuffix(", worst") || $0.hasPrefix("growth fault") }
    #expect(modelled == means)
  }

  @Test(needsPlugins, arguments: Benchmarks.strategies)
  func `Switches are modelled for each number of threads`(strategy: String) async throws {
    let run = try await modelled("scenario=switching threads=100", strategy: strategy)
    #expect(run.records(ofType: "benchmark").map { $0["live"]?.integer } == [10, 100])
    #expect(run.records(ofType: "memory").map { $0["operations"]?.integer } == [90, 900])
  }

  @Test(needsPlugins) func `Forks and exits are modelled`() async throws {
    let run = try await modelled("scenario=fork-churn operations=300", strategy: "growing")
    let model = try #require(run.records(ofType: "memory").first)
    #expect(model["operations"]?.integer == 300 && missed(model, "cortex-a72", "warm", "tlb") ?? 0 > 0)
    let instructions = try #require(run.records(ofType: "result").first?["instructions"]?.integer)
    #expect(instructions > 1000)
  }
}
