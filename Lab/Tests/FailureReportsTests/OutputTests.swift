// Verdicts as text, as data and as metrics.

import FailureReports
import Foundation
import Testing

@Suite struct DoctorResultTests {
  @Test func `as data have every key, with null for what is unknown`() throws {
    let files = try Corpus.names().map { (name: $0, report: try Corpus.report($0)) }
    let text = DiagnosisJSON.text(files)
    let array = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    #expect(array.count == files.count)
    let keys: Set<String> = [
      "line", "threadStack", "cause", "order", "requestedBytes", "node", "zone", "freeBytes", "usableFreeBytes",
      "largestFreeBlockBytes", "largestUsableBlockBytes", "singleFreePages", "pageBytes", "stackBytes", "helps",
      "helpsNot",
      "sentence", "missing",
    ]
    for (object, file) in zip(array, files) {
      #expect(object["file"] as? String == file.name)
      #expect(object["kind"] as? String == (file.name.hasPrefix("30") ? "reading" : "failure"))
      let failures = try #require(object["failures"] as? [[String: Any]])
      #expect(failures.count == file.report.failures.count)
      for failure in failures { #expect(keys.isSubset(of: Set(failure.keys))) }
    }
    let docker = try #require(
      (array[files.firstIndex { $0.name.hasPrefix("38") } ?? 0]["failures"] as? [[String: Any]])?.first)
    #expect(docker["order"] is NSNull)
  }

  @Test func `begin with one sentence, and end with lines of the file`() throws {
    let text = DiagnosisText.text(try Corpus.report("04"), name: "oops.txt")
    let lines = text.split(separator: "\n")
    #expect(
      lines[0]
        == "bash could not start a process or thread because the kernel stack of a new thread needs 16 KiB in one piece: 48.1 MiB were free, but no usable piece was larger than 8 KiB."
    )
    #expect(lines[1] == "  Report:     oops.txt, line 1")
    #expect(
      text.contains(
        "line 47  free blocks: the largest has 64 KiB, the largest usable one 8 KiB, single pages: 9,927"))
  }

  @Test func `of a thousand failures are shown in part and counted`() throws {
    let one = String(decoding: try Corpus.bytes("07"), as: UTF8.self)
    let many = String(repeating: one + "\n", count: 40)
    let report = try examine(many)
    #expect(report.failures.count == 40)
    let text = DiagnosisText.text(report, name: "x")
    #expect(text.contains("20 more failures in x:"))
    #expect(text.contains("20: a thread's stack; free memory is in pieces"))
  }

  @Test func `as metrics can be read by Prometheus`() throws {
    let state = try #require(try Corpus.report("30").lastState)
    let text = MetricsText.text([(name: "x", state: state)])
    #expect(text.hasSuffix("# EOF\n"))
    var declared: Set<Substring> = []
    for line in text.split(separator: "\n").dropLast() {
      if line.hasPrefix("# TYPE ") {
        #expect(line.hasSuffix(" gauge"))
        declared.insert(line.split(separator: " ")[2])
        continue
      }
      if line.hasPrefix("# ") { continue }
      let match = try #require(
        line.wholeMatch(of: /([a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? ([0-9.]+)/), "\(line)")
      #expect(declared.contains(match.1))
    }
    #expect(text.contains("kstacks_largest_usable_block_bytes{node=\"0\",zone=\"Normal\"} 524288\n"))
    #expect(text.contains("kstacks_unusable_free_index{node=\"0\",zone=\"Normal\",order=\"0\"} 0.0000\n"))
  }

  @Test(
    arguments: [
      (0, "0 bytes"), (4096, "4 KiB"), (16384, "16 KiB"), (1_052_672, "1,028 KiB"), (1 << 20, "1 MiB"),
      (8188 << 10, "8,188 KiB"), (49_268 << 10, "48.1 MiB"), (613_120 << 10, "598 MiB"),
      (1_414_940 << 10, "1,381 MiB"),
      (64 << 30, "64 GiB"),
    ] as [(UInt64, String)]) func `spell sizes so that three digits are exact`(_ bytes: UInt64, _ text: String)
  {
    #expect(Size.text(bytes) == text)
  }
}
