// Groups of threads with a limit on stack memory, on a real machine: the refusals and their text.

import ImageTools
import Testing

@Suite struct GroupsOfThreads {
  @Test(
    arguments: [
      ("vmalloc", 1, "16 KiB of stack for group 1 refused: 160 KiB of its 160 KiB are in use"),
      ("vmalloc", 4, "16 KiB of stack for group 1 refused: 192 KiB of its 192 KiB are in use"),
      ("growing", 1, "4 KiB of stack for group 1 refused: 40 KiB of its 40 KiB are in use"),
      ("growing", 4, "group 1 cannot be removed: it has 48 KiB of stack"),
    ])
  func `Refusals name the group and its figures`(strategy: String, cpuCount: Int, line: String) async throws {
    let run = try await boot("scenario=self-test test=groups strategy=\(strategy)") {
      $0.cpuCount = cpuCount
    }
    expectSuccess(run)
    #expect(run.lines.filter { $0 == line }.count == 1)
  }
}
