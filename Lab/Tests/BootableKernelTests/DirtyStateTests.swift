// Clearing only used pages, on CPUs that keep dirty state and on those that don't.

import ImageTools
import Testing

@Suite struct DirtyState {
  @Test(arguments: Guest.CPU.allCases, ["linear", "vmalloc", "growing"])
  func `Nothing is left of what an owner stored at any depth`(cpu: Guest.CPU, strategy: String) async throws {
    let run = try await boot("scenario=self-test test=dirty-state strategy=\(strategy)") { $0.cpu = cpu }
    expectSuccess(run)
    let isTracked = cpu == .max && strategy == "vmalloc"
    #expect(run.lines.contains(isTracked ? "pages are cleared if they are dirty" : "all pages are cleared"))
  }

  @Test func `Clearing costs what was used`() async throws {
    let run = try await boot("scenario=bench strategy=vmalloc") { $0.cpu = .max }
    expectSuccess(run)
    let costs = run.records(ofType: "benchmark").reduce(into: [:]) {
      $0[$1["name"]?.string ?? ""] = $1["instructions"]?.integer
    }
    let all = try #require(costs["clear cached stack, all pages used"])
    let one = try #require(costs["clear cached stack, 1 page used"])
    #expect(one * 5 < all * 2)
    #expect(
      run.records(ofType: "benchmark").allSatisfy {
        $0["name"]?.string?.hasPrefix("clear") != true || $0["tlbInvalidations"]?.integer == 0
      })
  }
}
