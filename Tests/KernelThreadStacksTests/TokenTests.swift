// That what needs interrupts off, or the lock, cannot be called without: a file with one such call is compiled against the
// module that was built.

import Foundation
import Testing

@Suite struct TokenTests {
  private struct Call: CustomTestStringConvertible {
    /// As it has to be written, and without its token.
    let right, wrong: String
    var testDescription: String { wrong }

    init(_ call: String, _ token: String) {
      right = call.replacingOccurrences(of: "TOKEN", with: token)
      wrong = call.replacingOccurrences(of: ", TOKEN", with: "").replacingOccurrences(of: "TOKEN", with: "")
    }
  }

  // What uses the magazine, the accounts, the depot, the slots, the ring and the refill pool.
  private static let calls = [
    Call("_ = stacks.cache(stack, in: record, TOKEN)", "interrupts.off"),
    Call("record.push(stack, at: 0, TOKEN)", "interrupts.off"),
    Call("_ = record.pop(tag: nil, TOKEN)", "interrupts.off"),
    Call("_ = stacks.giveUp(stack, TOKEN)", "interrupts.off"),
    Call("_ = stacks.accounts.chargeFromCredit(1, to: 0, cpu: 0, TOKEN)", "interrupts.off"),
    Call("_ = stacks.accounts.charge(1, to: 0, cpu: 0, TOKEN)", "section.held"),
    Call("stacks.depot.put(stack, TOKEN)", "section.held"),
    Call("_ = stacks.depot.take(node: 0, refilling: record, TOKEN)", "section.held"),
    Call("_ = stacks.depot.takeAny(keeping: 0, TOKEN)", "section.held"),
    Call("_ = stacks.supply(node: 0, needsSlot: true, TOKEN)", "section.held"),
    Call("_ = stacks.slots.take(TOKEN)", "section.held"),
    Call("stacks.slots.put(0, TOKEN)", "section.held"),
    Call("_ = stacks.ring.put(0, base: stack.base, TOKEN)", "section.held"),
    Call("stacks.ring.noteInvalidated(upTo: 0, TOKEN)", "section.held"),
    Call("_ = stacks.refillPool.take(TOKEN)", "section.held"),
  ]

  @Test func `A call without its token does not compile`() throws {
    guard let compiler = Compiler() else { return print("skipped: there is no swiftc, or no module to import") }
    #expect(try compiler.errors(in: Self.calls.map(\.right)) == "", "all calls compile with their tokens")
    let errors = try compiler.errors(in: Self.calls.map(\.wrong))
    for call in Self.calls.indices {
      // Each call has a line of its own.
      #expect(errors.contains("call-\(call):"), "\(Self.calls[call].wrong) compiles")
    }
  }

  @Test(arguments: [
    ("stacks.unlock(section)\n  stacks.slots.put(0, section.held)", "consume"),
    ("let kept = section.held\n  stacks.unlock(section)\n  stacks.slots.put(0, kept)", "consume"),
    ("stacks.slots.put(0, LockHeld())\n  stacks.unlock(section)", "inaccessible"),
  ])
  func `A token is neither kept beyond its section nor made by hand`(_ code: String, _ reason: String) throws {
    guard let compiler = Compiler() else { return print("skipped: there is no swiftc, or no module to import") }
    let errors = try compiler.errors(inBody: code)
    #expect(errors.contains("error:") && errors.contains(reason), "\(errors)")
  }
}

/// The Swift compiler in PATH, and the modules beside the tests that run.
private struct Compiler {
  let path: String
  let modules: String

  init?() {
    let manager = FileManager.default
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    guard
      let path = folders.map({ "\($0)/swiftc" }).first(where: { manager.isExecutableFile(atPath: $0) })
    else { return nil }
    self.path = path
    let tests = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    modules = tests.deletingLastPathComponent().appendingPathComponent("Modules").path
    guard manager.fileExists(atPath: "\(modules)/KernelThreadStacks.swiftmodule") else { return nil }
  }

  /// What the compiler says of calls: each is named by its number, as a file of that name.
  func errors(in calls: [String]) throws -> String {
    let functions = calls.enumerated().map { number, call in
      function(
        "call\(number)",
        """
        #sourceLocation(file: "call-\(number)", line: 1)
          \(call)
        #sourceLocation()
          stacks.unlock(section)
        """)
    }
    return try compile(functions.joined(separator: "\n"))
  }

  /// What the compiler says of statements that end the lock's section.
  func errors(inBody body: String) throws -> String { try compile(function("call", body)) }

  private func function(_ name: String, _ body: String) -> String {
    """
    func \(name)<M: Machine, F: FrameSource & ~Copyable, A: StackArena & ~Copyable>(
      _ stacks: borrowing ThreadStackAllocator<M, F, A>, _ stack: PackedStack,
      _ record: UnsafeMutablePointer<CPURecord>
    ) {
      let interrupts = stacks.turnInterruptsOff()
      let section = stacks.takeLock()
      \(body)
      stacks.restore(interrupts)
    }
    """
  }

  private func compile(_ functions: String) throws -> String {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tokens-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("calls.swift")
    let text = "import KernelMachine\n@testable import KernelThreadStacks\n\n\(functions)\n"
    try Data(text.utf8).write(to: file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    // Use after the end is found in the intermediate language.
    process.arguments = [
      "-swift-version", "6", "-parse-as-library", "-module-name", "Calls", "-I", modules, "-emit-sil", "-o",
      folder.appendingPathComponent("calls.sil").path, file.path,
    ]
    let errors = folder.appendingPathComponent("errors")
    try Data().write(to: errors)
    process.standardError = try FileHandle(forWritingTo: errors)
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return try String(contentsOf: errors, encoding: .utf8)
  }
}
