// The claim of a stack that C frees, in the library's code: the order of its accesses is that of the litmus tests `claim-*`.

import Foundation
import ImageTools
import Testing

@Suite(.enabled(if: CLibrary.hasCompiler, "clang and ld.lld are not in PATH"))
struct FreeByAddressOrderTests {
  /// Whether a function looks where the table is, reads the marker by LDAXR, looks at the same place again, and depends on that
  /// look before it stores the marker by STXR.
  static func claims(_ code: [String]) -> Bool {
    guard let read = code.firstIndex(where: { $0.hasPrefix("ldaxr x") }),
      let store = code.firstIndex(where: { $0.hasPrefix("stxr w") }), read < store
    else { return false }
    let between = code[read..<store]
    guard let look = between.firstIndex(where: { $0.hasPrefix("ldr x") }),
      let branch = between.lastIndex(where: { $0.hasPrefix("b.") || $0.hasPrefix("cb") })
    else { return false }
    let looksFirst = code[..<read].contains { $0.hasPrefix("ldr x") && place($0) == place(code[look]) }
    return looksFirst && look < branch && place(code[read]) == place(code[store])
      && !between.contains { $0.hasPrefix("st") }
  }

  private static func place(_ access: String) -> Substring { access.drop { $0 != "[" } }

  /// The instructions of `ks_stack_free`.
  private func code() async throws -> [String] {
    let library = try await CLibrary.shared.path
    let result = try await Command(
      CLibrary.tool("llvm-objdump"),
      ["-d", "--no-show-raw-insn", "--disassemble-symbols=ks_stack_free", "\(library)/libkernel_stacks.a"]
    ).run()
    try #require(result.exitCode == 0, "\(result.errors)")
    return result.output.split(separator: "\n").filter { $0.contains("\t") }.map {
      $0.split(separator: "\t").dropFirst().joined(separator: " ")
    }
  }

  @Test func `A stack is claimed by an exclusive access with the second look in it`() async throws {
    let code = try await code()
    #expect(code.count { $0.hasPrefix("ldaxr ") } == 1)
    #expect(Self.claims(code), "\(code.joined(separator: "\n"))")
  }

  @Test func `A claim with any of it missing is refused`() async throws {
    let code = try await code()
    try #require(Self.claims(code))
    let read = try #require(code.firstIndex { $0.hasPrefix("ldaxr ") })
    let store = try #require(code.firstIndex { $0.hasPrefix("stxr ") })
    let look = try #require(code[read..<store].firstIndex { $0.hasPrefix("ldr ") })
    let branch = try #require(code[look..<store].lastIndex { $0.hasPrefix("b.") || $0.hasPrefix("cb") })
    for (index, other) in [
      (read, code[read].replacing("ldaxr", with: "ldxr")), (look, "nop"), (branch, "nop"),
      (store, code[store].replacing("stxr", with: "str")), (look - 1, "str x0, [x1]"),
    ] {
      var changed = code
      changed[index] = other
      #expect(!Self.claims(changed), "\(code[index]) => \(other)")
    }
    for (index, place) in [(look, store), (branch, look), (look, read)] {
      var changed = code
      changed.insert(changed.remove(at: index), at: place)
      #expect(!Self.claims(changed), "\(code[index]) as number \(place)")
    }
  }
}
