// The page: complete, self-contained, and made even from nonsensical figures.

import Foundation
import ImageTools
import Testing

@testable import Figures

@Suite struct ReportPageTests {
  @Test func `All results give all pictures`() throws {
    let page = ReportPage(try Sample.all())
    #expect(
      page.figures.map(\.name) == [
        "memory-pair", "forks", "memory-per-thread", "cost-live", "cost-free", "growth-fault",
      ])
    #expect(
      page.files.map(\.name).suffix(6) == [
        "memory-before.svg", "memory-needs.svg", "memory-failure-linear.svg", "memory-failure-vmalloc.svg",
        "memory-failure-growing.svg", "memory-after.svg",
      ])
    for (name, text) in page.files { #expect(parsedXML(text) != nil, "\(name) is well-formed") }
  }

  @Test func `Memory per thread is the difference of the maps`() throws {
    let memory = try #require(ThreadMemory(forked: Sample.fork("vmalloc", forks: 100)))
    #expect(memory.parts.map(\.name) == ["stack", "page tables", "records", "metadata", "its own memory"])
    #expect(
      memory.parts.map { Int($0.bytes) } == [250 * 4096 / 100, 125 * 4096 / 100, 40, 163, 125 * 4096 / 100])
    #expect(ThreadMemory(forked: Sample.forks[0]) == nil, "nothing was forked")
  }

  @Test func `A series runs from the start to the failure`() throws {
    let series = try #require(ForkSeries(Sample.fork("vmalloc", forks: 200)))
    #expect(series.points.map(\.forks) == [0, 64, 128, 200])
    #expect(series.points.map(\.bytes) == [2_097_152, 1_000_000, 500_000, 4096])
  }

  @Test func `What was there before the first fork is no thread's memory`() throws {
    let maps = JSON.object(["before": .string("s3f9"), "atFailure": .string("s7f5"), "after": .string("s3f9")])
    let memory = try #require(ThreadMemory(forked: Sample.fork("vmalloc", forks: 1).adding("frameMaps", maps)))
    #expect(memory.parts.map(\.bytes) == [4 * 4096])
  }

  @Test func `Points beyond the failure are no part of the series`() throws {
    let points = JSON.array(["64:9", "300:8", "x", "-4:2", "0:7"].map { .string($0) })
    let series = try #require(ForkSeries(Sample.fork("vmalloc", forks: 200).adding("series", points)))
    #expect(series.points.map(\.forks) == [0, 64, 200])
  }

  /// The steps of a growth fault are as long as the code in the vector is.
  @Test func `The steps of a growth fault are those of the vector`() throws {
    let source = try String(
      contentsOfFile: "\(try #require(PackageRoot.path))/Lab/Kernel/Sources/KernelAssembly/vectors.S",
      encoding: .utf8)
    let start = try #require(source.range(of: "\nthread_synchronous:\n")).upperBound
    let body = source[
      start..<(try #require(source.range(of: "\n1:\n", range: start..<source.endIndex))).lowerBound]
    let lines = body.split(separator: "\n").filter { !$0.trimmingCharacters(in: .whitespaces).isEmpty }
    let call = try #require(lines.firstIndex { $0.contains("kernelGrow") })
    // The vector itself holds a branch to this place.
    #expect(1 + call + 1 == GrowthVector.entry)
    #expect(lines.count - call - 1 == GrowthVector.exit)
  }

  @Test func `Figures without sense are drawn or left out, but never fatal`() throws {
    let values: [JSON] = [
      .integer(-1), .integer(.max), .integer(.min), .number(1e308), .null, .string("x"), .array([]),
      .bool(true),
    ]
    for (index, value) in values.enumerated() {
      for base in [Sample.forks[1], Sample.costs[1], Sample.linux[1]] {
        for key in (base.members ?? [:]).keys.sorted() where key != "scenario" {
          var set = ResultSet()
          set.add("a.json", try Sample.text([base.adding(key, value)]))
          let page = ReportPage(set)
          #expect(page.files.allSatisfy { parsedXML($0.text) != nil }, "\(key), value \(index)")
        }
      }
    }
  }

  @Test func `The page is self-contained and small`() throws {
    let html = try ReportPage(Sample.all()).html()
    #expect(html.utf8.count < 1 << 20)
    for outside in ["http://", "https://", "<script", "@import", "<link rel=\"stylesheet", "src=", "url("] {
      #expect(!html.contains(outside), "\(outside)")
    }
    #expect(html.contains("prefers-color-scheme:dark"))
    let pictures = html.components(separatedBy: "<svg ").dropFirst()
    // Swatches of the legend are decoration: the name stands beside each.
    let shown = pictures.filter { !$0.hasPrefix("viewBox=\"0 0 14 14\" aria-hidden=\"true\">") }
    #expect(shown.count >= 14)
    #expect(shown.allSatisfy { $0.prefix { $0 != ">" }.contains("aria-label=\"") })
  }

  @Test func `A large memory still gives a small page`() throws {
    var forks: [JSON] = []
    for (seed, strategy) in ["linear", "vmalloc", "growing"].enumerated() {
      func text(_ offset: Int) -> JSON {
        .string(
          MemoryMapTests.map(frames: 1 << 17, seed: UInt64(seed * 3 + offset)).runs
            .map { "\($0.use.rawValue)\($0.count)" }.joined())
      }
      forks.append(
        Sample.fork(strategy, forks: 100).adding(
          "frameMaps", .object(["before": text(0), "atFailure": text(1), "after": text(2)])))
    }
    var set = ResultSet()
    set.forks = forks
    #expect(try ReportPage(set).html().utf8.count < 1 << 20)
  }

  @Test func `What is missing stands on the page`() throws {
    var set = ResultSet()
    set.add("bench.json", "[")
    let html = try ReportPage(set).html()
    #expect(html.contains("bench.json is truncated or no JSON"))
    #expect(try !ReportPage(Sample.all()).html().contains("class=\"problems\""))
  }

  @Test func `Hostile names stay text`() throws {
    var set = ResultSet()
    let evil = "</style><script>alert(1)</script>"
    set.add(evil + ".json", "[")
    set.add("a.json", try Sample.text([Sample.fork(evil, forks: 3), Sample.fork("../../x", forks: 4)]))
    set.add("l.json", try Sample.text([Sample.linux[0].adding("kernel", .string(evil))]))
    let page = ReportPage(set)
    #expect(try !page.html().contains("<script"))
    #expect(page.files.allSatisfy { !$0.name.contains("/") && !$0.text.contains("<script") })
  }

  @Test(.enabled(if: Browser.path != nil, "Debian's chromium is not installed"))
  func `A browser shows the page without complaint`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("report-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("report.html")
    try Data(ReportPage(Sample.all()).html().utf8).write(to: file)
    let (html, log) = try Browser.open(file, profile: folder.appendingPathComponent("profile"))
    #expect(html.contains("What happened to memory"), "the page came up: \(log)")
    #expect(!log.contains("CONSOLE"), "\(log)")

    // The check sees complaints when there are some.
    try Data("<script>console.error('planted')</script>".utf8).write(to: file)
    #expect(try Browser.open(file, profile: folder.appendingPathComponent("profile")).log.contains("planted"))
  }
}

/// A browser without a window.
enum Browser {
  static let path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Opens a page; returns the resulting HTML and the browser's log.
  static func open(_ file: URL, profile: URL) throws -> (html: String, log: String) {
    let process = Process()
    let folder = file.deletingLastPathComponent()
    let (output, errors) = (folder.appendingPathComponent("output"), folder.appendingPathComponent("errors"))
    for url in [output, errors] { _ = FileManager.default.createFile(atPath: url.path, contents: nil) }
    // It ends by itself when the page is loaded. The limit is in seconds of processor time.
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c", "ulimit -t 120; exec \"$@\"", "sh", path ?? "", "--headless=new", "--no-sandbox", "--disable-gpu",
      "--disable-dev-shm-usage", "--user-data-dir=\(profile.path)", "--enable-logging=stderr", "--v=0",
      "--dump-dom",
      file.absoluteString,
    ]
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    process.waitUntilExit()
    return (
      try String(contentsOf: output, encoding: .utf8),
      String(decoding: try Data(contentsOf: errors), as: UTF8.self)
    )
  }
}
