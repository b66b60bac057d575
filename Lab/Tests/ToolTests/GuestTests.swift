// Guests: their arguments, their console, their exit code and their time limit, with a kernel of ten instructions.

#if Tools
  import Foundation
  import Testing

  @testable import ImageTools

  @Suite struct GuestTests {
    /// A flat image that prints a text on the PL011 at 0x09000000 and then exits by semihosting, or hangs.
    static func image(printing text: String, exitCode: Int?) -> [UInt8] {
      var bytes = HandMadeElf.imageHeader(imageSize: 0x1000, count: 64)
      put(UInt32(0x1400_0010), at: 0, in: &bytes)  // b #64
      put(UInt64(0xa), at: 24, in: &bytes)
      let exit: [UInt32] = [
        0x1000_0081,  // adr x1, block
        0x5280_0300,  // mov w0, #0x18 (SYS_EXIT)
        0xd45e_0000,  // hlt #0xf000
      ]
      let hang: [UInt32] = [0x1400_0000, 0x1400_0000, 0x1400_0000]  // b .
      let code: [UInt32] =
        [
          0xd2a1_2001,  // mov x1, #0x09000000
          0x1000_01a2,  // adr x2, text
          0x3840_1443,  // ldrb w3, [x2], #1
          0x3400_0063,  // cbz w3, done
          0x3900_0023,  // strb w3, [x1]
          0x17ff_fffd,  // b loop
        ] + (exitCode == nil ? hang : exit) + [0x1400_0000]
      for word in code { bytes += littleEndian(word) }
      bytes += littleEndian(UInt64(0x20026)) + littleEndian(UInt64(exitCode ?? 0))
      return bytes + Array(text.utf8) + [0]
    }

    func boot(_ image: [UInt8], change: (inout Guest) -> Void = { _ in }) async throws -> GuestRun {
      let path = FileManager.default.temporaryDirectory.appendingPathComponent("guest-\(UUID().uuidString).img")
      try Data(image).write(to: path)
      defer { try? FileManager.default.removeItem(at: path) }
      var guest = Guest(kernel: path.path)
      guest.timeLimit = .seconds(60)
      change(&guest)
      return try await guest.run()
    }

    @Test func consoleLinesRecordsAndTheExitCodeComeBack() async throws {
      let run = try await boot(
        Self.image(printing: "hello\r\n{\"type\":\"check\",\"passed\":true}\n{not json\nlast", exitCode: 7))
      #expect(run.exitCode == 7)
      #expect(run.lines == ["hello", "{\"type\":\"check\",\"passed\":true}", "{not json", "last"])
      #expect(run.records(ofType: "check").map { $0["passed"] } == [.bool(true)])
    }

    @Test func aGuestThatSucceedsExitsWithZero() async throws {
      #expect(try await boot(Self.image(printing: "", exitCode: 0)).exitCode == 0)
    }

    @Test func aGuestThatHangsIsStoppedAndReported() async throws {
      let image = Self.image(printing: "about to hang\n", exitCode: nil)
      let error = await #expect(throws: GuestError.self) {
        _ = try await boot(image) { $0.timeLimit = .seconds(10) }
      }
      let text = error.map { "\($0)" } ?? ""
      #expect(text == "guest did not finish within 10 s\n  | about to hang")
    }

    @Test(arguments: [1, 2, 3]) func twoNodesAndSeveralProcessorsBoot(cpus: Int) async throws {
      let run = try await boot(Self.image(printing: "up\n", exitCode: 0)) {
        $0.numaNodeCount = 2
        $0.cpuCount = cpus
        $0.cpu = .max
      }
      #expect(run.exitCode == 0)
      #expect(run.lines == ["up"])
    }

    @Test func aKernelThatDoesNotExistIsReportedByQemu() async throws {
      var guest = Guest(kernel: "/does/not/exist.img")
      guest.timeLimit = .seconds(60)
      let run = try await guest.run()
      #expect(run.exitCode != 0)
      #expect(run.lines.contains { $0.contains("/does/not/exist.img") })
    }

    @Test func impossibleMachinesAreRefused() async {
      var guest = Guest(kernel: "kernel.img")
      guest.numaNodeCount = 3
      await #expect(throws: GuestError.self) { try await guest.run() }
      guest.numaNodeCount = 1
      guest.cpuCount = 0
      await #expect(throws: GuestError.self) { try await guest.run() }
      guest.cpuCount = 1
      guest.memoryByteCount = 1000
      await #expect(throws: GuestError.self) { try await guest.run() }
    }

    @Test func linesAreCutWhereverTheBytesArrive() {
      var splitter = LineSplitter()
      #expect(splitter.append("ab".utf8) == [])
      #expect(splitter.append("c\r".utf8) == [])
      #expect(splitter.append("\n\nd\ne".utf8) == ["abc", "", "d"])
      #expect(splitter.finish() == "e")
      #expect(splitter.finish() == nil)
    }
  }
#endif
