// The keys of results: two programs that share no type name them, so what one reads is compared with what the other writes.

import Foundation
import ImageTools
import Testing

@Suite struct ResultKeyTests {
  /// The text of all files below folders of the repository.
  private func text(below folders: [String]) throws -> String {
    let root = try #require(PackageRoot.path)
    return try folders.flatMap { folder in
      let files = try #require(FileManager.default.enumerator(atPath: "\(root)/\(folder)"))
      return files.compactMap { try? String(contentsOfFile: "\(root)/\(folder)/\($0)", encoding: .utf8) }
    }.joined(separator: "\n")
  }

  @Test func `Each key of a result that the host reads is written by a workload or added on the way`() throws {
    let host = try text(below: ["Lab/Sources/Figures", "Lab/Sources/kstacks"])
    let read = host.matches(of: /[\w\])?]\["([a-z]\w*)"\](?! =)/).map { String($0.1) }
    #expect(Set(read).count > 40)
    let writers = try text(below: ["Lab/Kernel/Sources", "Lab/MemoryModel", "Linux", "Scripts"])
    let written = Set(writers.matches(of: /"([a-z]\w*)\\?"/).map { String($0.1) })
    let added = Set(
      host.matches(of: /adding\("(\w+)"|"(\w+)": \./).compactMap { ($0.1 ?? $0.2).map(String.init) })
    #expect(Set(read).subtracting(written).subtracting(added) == [])
  }
}
