// Guests: their arguments, console, exit code and the handling of hangs, with a kernel of ten instructions.

import Foundation
import Testing

@testable import ImageTools

@Suite struct GuestTests {
  /// The end of an image's program, after it has printed its text.
  enum Ending {
    /// Exits by semihosting.
    case exit(Int)
    /// Loops for ever.
    case spin
    /// Sleeps, with nothing that could wake it.
    case sleep
    /// Prints its text again, and so on for ever.
    case again
    /// Computes for 2²⁷ rounds, prints its text again, and exits with 0 after the tenth time.
    case exitAfterTen
  }

  /// A flat image that prints a text on the PL011 at 0x09000000.
  static func image(printing text: String, then ending: Ending) -> [UInt8] {
    func adr(_ register: UInt32, _ bytes: Int) -> UInt32 { 0x1000_0000 | UInt32(bytes / 4) << 5 | register }
    func branch(_ words: Int) -> UInt32 { 0x1400_0000 | UInt32(truncatingIfNeeded: words) & 0x3ff_ffff }
    func branchIfNotZero(_ words: Int) -> UInt32 {
      0x5400_0001 | (UInt32(truncatingIfNeeded: words) & 0x7_ffff) << 5
    }
    let end: [UInt32] =
      switch ending {
      case .exit: []
      case .spin: [branch(0)]
      case .sleep: [0xd503_207f, branch(-1)]  // wfi
      case .again: [branch(-5)]
      case .exitAfterTen:
        [
          0xd2a1_0005,  // mov x5, #0x08000000
          0xf100_04a5,  // subs x5, x5, #1
          branchIfNotZero(-1),
          0xf100_0484,  // subs x4, x4, #1
          branchIfNotZero(-9),
        ]
      }
    let wordCount = 7 + end.count + 3
    // The block and the text lie behind the code, at a multiple of 8 bytes.
    let block = 64 + (wordCount + wordCount % 2) * 4
    let exitCall: [UInt32] = [
      adr(1, block - 64 - (wordCount - 3) * 4),
      0x5280_0300,  // mov w0, #0x18 (SYS_EXIT)
      0xd45e_0000,  // hlt #0xf000
    ]
    let code: [UInt32] =
      [
        0xd280_0144,  // mov x4, #10
        0xd2a1_2001,  // mov x1, #0x09000000
        adr(2, block + 16 - 72),
        0x3840_1443,  // ldrb w3, [x2], #1
        0x3400_0063,  // cbz w3, end
        0x3900_0023,  // strb w3, [x1]
        branch(-3),
      ] + end + exitCall
    var bytes = HandMadeElf.imageHeader(imageSize: 0x1000, count: 64)
    put(UInt32(0x1400_0010), at: 0, in: &bytes)  // b #64
    put(UInt64(0xa), at: 24, in: &bytes)
    for word in code { bytes += littleEndian(word) }
    if wordCount % 2 == 1 { bytes += littleEndian(UInt32(0)) }
    let exitCode = if case .exit(let code) = ending { code } else { 0 }
    bytes += littleEndian(UInt64(0x20026)) + littleEndian(UInt64(exitCode))
    return bytes + Array(text.utf8) + [0]
  }

  func boot(_ image: [UInt8], change: (inout Guest) -> Void = { _ in }) async throws -> GuestRun {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("guest-\(UUID().uuidString).img")
    try Data(image).write(to: path)
    defer { try? FileManager.default.removeItem(at: path) }
    var guest = Guest(kernel: path.path)
    change(&guest)
    return try await guest.run()
  }

  @Test func `Console lines, records and the exit code come back`() async throws {
    let run = try await boot(
      Self.image(printing: "hello\r\n{\"type\":\"check\",\"passed\":true}\n{not json\nlast", then: .exit(7)))
    #expect(run.exitCode == 7)
    #expect(run.lines == ["hello", "{\"type\":\"check\",\"passed\":true}", "{not json", "last"])
    #expect(run.records(ofType: "check").map { $0["passed"] } == [.bool(true)])
  }

  @Test func `A guest that succeeds exits with zero`() async throws {
    #expect(try await boot(Self.image(printing: "", then: .exit(0))).exitCode == 0)
  }

  /// A limit that a guest exceeds.
  enum Limit { case silence, sleep, total, lines }

  // The guest's end, the limit that it exceeds, and the message about it.
  @Test(arguments: [
    (Ending.spin, Limit.silence, "wrote no line in 2 s of processor time"),
    (.sleep, .sleep, "wrote no line and was asleep 3 times in a row, a second apart"),
    (.again, .total, "did not end in 2 s of processor time"),
    (.again, .lines, "wrote more than 100 lines"),
  ])
  func `A guest that hangs is stopped and reported`(ending: Ending, limit: Limit, words: String) async throws {
    let image = Self.image(printing: "about to hang\n", then: ending)
    let error = await #expect(throws: GuestError.self) {
      _ = try await boot(image) {
        // Where instructions are counted, a guest that sleeps only makes its clock run ahead.
        $0.countsInstructions = false
        $0.limits.looksAsleep = 3
        switch limit {
        case .silence, .sleep: $0.limits.silence = .seconds(2)
        case .total: ($0.limits.total, $0.limits.lines) = (.seconds(2), .max)
        case .lines: $0.limits.lines = 100
        }
      }
    }
    let lines = (error.map { "\($0)" } ?? "").split(separator: "\n")
    #expect(lines.first == "guest \(words)")
    // The last line may be cut off.
    #expect(lines.dropFirst().allSatisfy { "  | about to hang".hasPrefix($0) } && lines.count > 1)
  }

  @Test func `A guest that writes more lines than any run of its kind is hung, however little time it takes`() {
    var limits = HangLimits()
    limits.lines = 1000
    var progress = GuestProgress(limits)
    #expect(progress.look(lines: 1000, used: .zero, isAsleep: false) == nil)
    guard case .talkative(lines: 1000) = progress.look(lines: 1001, used: .zero, isAsleep: false) else {
      Issue.record("a thousand lines are all that it may write")
      return
    }
  }

  @Test func `A guest that goes on writing lines is not hung, however long all of it takes`() {
    var limits = HangLimits()
    limits.silence = .seconds(2)
    limits.looksAsleep = 2
    var progress = GuestProgress(limits)
    var used = Duration.zero
    for line in 1...10 {
      used += .seconds(1)
      #expect(progress.look(lines: line, used: used, isAsleep: true) == nil)
      used += .seconds(0.9)
      #expect(progress.look(lines: line, used: used, isAsleep: false) == nil)
    }
    used += .seconds(1.1)
    guard case .silent(.seconds(2)) = progress.look(lines: 10, used: used, isAsleep: false) else {
      Issue.record("no line in two seconds is a hang")
      return
    }
  }

  @Test func `A guest that was asleep before each of its lines is not hung; one that sleeps on is`() {
    var limits = HangLimits()
    limits.looksAsleep = 2
    var progress = GuestProgress(limits)
    for line in 1...10 { #expect(progress.look(lines: line, used: .zero, isAsleep: true) == nil) }
    guard case .asleep(looks: 2) = progress.look(lines: 10, used: .zero, isAsleep: true) else {
      Issue.record("two looks at a guest that sleeps are a hang")
      return
    }
  }

  @Test func `A guest computes between its lines`() async throws {
    let run = try await boot(Self.image(printing: "and on\n", then: .exitAfterTen))
    #expect(run.exitCode == 0)
    #expect(run.lines == Array(repeating: "and on", count: 10))
  }

  @Test(arguments: [1, 2, 3]) func `Two nodes and several processors boot`(cpus: Int) async throws {
    let run = try await boot(Self.image(printing: "up\n", then: .exit(0))) {
      $0.numaNodeCount = 2
      $0.cpuCount = cpus
      $0.cpu = .max
    }
    #expect(run.exitCode == 0)
    #expect(run.lines == ["up"])
  }

  @Test func `A kernel that does not exist is reported by QEMU`() async throws {
    let guest = Guest(kernel: "/does/not/exist.img")
    let run = try await guest.run()
    #expect(run.exitCode != 0)
    #expect(run.lines.contains { $0.contains("/does/not/exist.img") })
  }

  @Test func `Impossible machines are refused`() async {
    var guest = Guest(kernel: "kernel.img")
    guest.numaNodeCount = 3
    await #expect(throws: GuestError.self) { try await guest.run() }
    guest.numaNodeCount = 1
    for count in [0, 65] {
      guest.cpuCount = count
      await #expect(throws: GuestError.self) { try await guest.run() }
    }
    guest.interruptController = .gicV2
    guest.cpuCount = 9
    await #expect(throws: GuestError.self) { try await guest.run() }
    guest.cpuCount = 1
    guest.memoryByteCount = 1000
    await #expect(throws: GuestError.self) { try await guest.run() }
  }

  @Test func `Lines are cut wherever the bytes arrive`() {
    var splitter = LineSplitter()
    #expect(splitter.append("ab".utf8) == [])
    #expect(splitter.append("c\r".utf8) == [])
    #expect(splitter.append("\n\nd\ne".utf8) == ["abc", "", "d"])
    #expect(splitter.finish() == "e")
    #expect(splitter.finish() == nil)
  }
}

@Suite struct MemoryModelPluginTests {
  @Test func `The reason why QEMU loads no plugin is one line`() {
    let errors = "qemu-system-aarch64: -plugin: invalid option\n"
    #expect(
      MemoryModelPlugin.refusal(of: errors)
        == "QEMU cannot load the memory model: qemu-system-aarch64: -plugin: invalid option")
    #expect(MemoryModelPlugin.refusal(of: "\n") == "QEMU cannot load the memory model: it does not say why")
  }

  @Test func `A guest with the model has its RAM in a file that the plugin reads`() throws {
    var guest = Guest(kernel: "k")
    #expect(!guest.arguments.contains("-plugin"))
    guest.memoryModel = "/m.so"
    let backend = try #require(guest.arguments.first { $0.hasPrefix("memory-backend-file,") })
    let plugin = try #require(guest.arguments.last { $0.hasPrefix("/m.so,") })
    let file = try #require(plugin.split(separator: ",").first { $0.hasPrefix("memory=") }).dropFirst(7)
    #expect(backend.contains("mem-path=\(file),share=on") && backend.contains("size=128M"))
  }

  @Test(arguments: [2, 8]) func `The model is of one CPU`(cpus: Int) async throws {
    var guest = Guest(kernel: "k")
    guest.memoryModel = "/m.so"
    guest.cpuCount = cpus
    await #expect(throws: GuestError.self) { try await guest.run() }
  }
}
