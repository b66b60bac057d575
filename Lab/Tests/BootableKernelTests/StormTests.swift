// All operations at once, on CPUs that really run at the same time. `make soak` has storms of a million operations.

import ImageTools
import Testing

@Suite struct Storms {
  @Test(arguments: [(4, 1, Guest.CPU.cortexA72), (8, 2, .max), (8, 3, .cortexA72)])
  func `A storm on all CPUs loses no word and no frame`(count: Int, seed: Int, cpu: Guest.CPU) async throws {
    let run = try await boot("scenario=smp-storm strategy=growing operations=8000 seed=\(seed)") {
      $0.cpuCount = count
      $0.cpu = cpu
      $0.countsInstructions = false
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["violations"]?.integer == 0)
    #expect(result["leakedFrames"]?.integer == 0)
    let operations = try #require(result["operations"]?.integer)
    let mix = try #require(result["mix"])
    #expect(operations >= 8000)
    #expect(try #require(mix["forks"]?.integer) * 100 >= operations)
    let (departures, returns) = (mix["cpusTakenOffline"]?.integer, mix["cpusBroughtBack"]?.integer)
    #expect(try #require(departures) > 0 && departures == returns)
    for key in ["threadsMade", "exits", "growths", "shrinks", "reclaims", "vmallocs"] {
      #expect(try #require(mix[key]?.integer) * 20 >= operations, "\(key) of \(operations)")
    }
  }

  @Test(arguments: ["linear", "vmalloc"])
  func `Stacks that do not grow weather a storm, too`(strategy: String) async throws {
    let run = try await boot("scenario=smp-storm strategy=\(strategy) operations=4000") {
      $0.cpuCount = 4
      $0.countsInstructions = false
    }
    expectSuccess(run)
  }
}
