// The fuzzers' initial inputs, checked without a fuzzer.

import Foundation
import FuzzedInputs
import ImageTools
import KernelProcesses
import Testing

/// A file of a corpus.
struct CorpusFile: CustomTestStringConvertible, Sendable {
  let kind: FuzzedInput
  let name: String

  var testDescription: String { "\(kind.rawValue)/\(name)" }

  static func folder(_ kind: FuzzedInput) -> String {
    "\(PackageRoot.path ?? ".")/Lab/Fuzzing/Corpus/\(kind.rawValue)"
  }

  var bytes: [UInt8] {
    get throws { try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(Self.folder(kind))/\(name)"))) }
  }

  static func all(_ kind: FuzzedInput) -> [Self] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder(kind))) ?? []
    return names.sorted().map { Self(kind: kind, name: $0) }
  }
}

@Suite struct CorpusTests {
  @Test(arguments: FuzzedInput.allCases.flatMap(CorpusFile.all))
  func `No file of a corpus shows a mistake`(_ file: CorpusFile) throws {
    try file.bytes.withUnsafeBytes { #expect(file.kind.judge($0) == nil) }
  }

  @Test(arguments: FuzzedInput.allCases)
  func `There are a few dozen small files of each kind`(_ kind: FuzzedInput) throws {
    let files = CorpusFile.all(kind)
    #expect((24...96).contains(files.count))
    for file in files { #expect(try file.bytes.count <= 8192, "\(file.name)") }
  }

  @Test(
    arguments: [
      ("cut-header", .missing), ("other-machine", .notAProgram), ("shared-object", .notAProgram),
      ("writable-code", .writableCode(0x40_0000)), ("headers-outside", .damaged),
      ("entries-too-small", .damaged),
      ("segment-outside", .damaged), ("contents-outside", .damaged), ("length-without-end", .damaged),
      ("file-larger-than-memory", .damaged),
      ("nine-segments", .tooManySegments), ("eight-segments", nil), ("code-and-data", nil),
    ] as [(String, ProgramFileError?)])
  func `A program is refused for what is wrong with it`(_ name: String, _ expected: ProgramFileError?) throws {
    let file = try CorpusFile(kind: .program, name: name).bytes
    var found: ProgramFileError?
    do {
      _ = try file.withUnsafeBytes { try ProgramImage(file: $0) }
    } catch { found = try #require(error as? ProgramFileError) }
    #expect(found == expected)
  }
}
