// Kernels in C with a page allocator and page tables of their own: the C suite runs on them, and their functions' mistakes are found.

import Foundation
import ImageTools
import Testing

@Suite(
  .enabled(if: CLibrary.hasCompiler, "clang and ld.lld are not in PATH"),
  .enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"))
struct KernelFunctionsTests {
  typealias Memory = CLibrary.Memory

  func lines(_ guest: Guest) async throws -> [JSON] {
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")
    let records =
      ["refusal", "begin", "threads", "shrink", "left", "storm", "end", "lent", "waited"]
      + ["exhausted", "oddFrames", "oddAddresses", "checkedFrames", "pressure", "group", "tasks", "sizes"]
      + ["anySize", "locks", "nodes"]
    return records.flatMap { run.records(ofType: $0) }
  }

  func only(_ type: String, of records: [JSON]) throws -> JSON {
    let matching = records.filter { $0["type"]?.string == type }
    #expect(matching.count == 1, "\(type)")
    return try #require(matching.first)
  }

  @Test(arguments: [
    (Memory.ownFrames, 39, Guest.CPU.cortexA72, 1), (.ownFramesAndTables, 39, .cortexA72, 1),
    (.ownFramesAndTables, 48, .max, 1), (.ownFrames, 39, .cortexA72, 4), (.ownFramesAndTables, 39, .max, 4),
  ])
  func `A kernel with frames, or frames and tables, of its own runs what the others run`(
    memory: Memory, addressBits: Int, cpu: Guest.CPU, cpuCount: Int
  ) async throws {
    var guest = Guest(kernel: try await CLibrary.shared.kernel(addressBits: addressBits, memory: memory))
    guest.cpu = cpu
    guest.cpuCount = cpuCount
    let records = try await lines(guest)
    #expect(try only("begin", of: records)["addressBits"]?.integer == addressBits)
    let threads = try only("threads", of: records)
    #expect(threads["count"]?.integer == 600 && threads["idleKiB"]?.integer == 600 * 4)
    #expect(try #require(threads["grownPages"]?.integer) > 300)
    #expect(try only("shrink", of: records)["mappedAfter"]?.integer == 4 << 10)
    #expect(try only("left", of: records)["threads"]?.integer == 100)
    for type in ["group", "tasks", "pressure", "sizes", "anySize"] { _ = try only(type, of: records) }
    // The kernel itself stops where it might sleep and the library holds a lock.
    let locks = try only("locks", of: records)
    #expect(try #require(locks["mayHaveSlept"]?.integer) > 1_000)
    if cpuCount > 1 { #expect(try only("storm", of: records)["racesFreed"]?.integer == 40) }
    let end = try only("end", of: records)
    #expect(end["live"]?.integer == 0 && end["lost"]?.integer == 1)

    // Each mistake has its code, and a line.
    let refusals = records.filter { $0["type"]?.string == "refusal" }
    #expect(refusals.count >= (memory == .ownFrames ? 50 : 52))
    for refusal in refusals {
      let text = try #require(refusal["text"]?.string)
      #expect(refusal["code"]?.integer == refusal["expected"]?.integer && text.count > 10, "\(text)")
    }
    // Each call of a function was refused in turn: for a stack of four frames a table, too, and what the vmalloc area keeps.
    let exhausted = try only("exhausted", of: records)
    #expect(try #require(exhausted["guarded"]?.integer) >= 6)
    let odd = try only("oddFrames", of: records)
    #expect(try #require(odd["odd"]?.integer) >= 4 && odd["odd"]?.integer == odd["high"]?.integer)
    if memory == .ownFramesAndTables {
      let addresses = try only("oddAddresses", of: records)
      for key in ["unaligned", "low", "nextEntry", "usedTable"] {
        #expect(addresses[key]?.integer == 1, "\(key)")
      }
    }
  }

  @Test(arguments: [Memory.ownFrames, .ownFramesAndTables])
  func `A kernel with two nodes, and without all that is optional, gets stacks of the node that it names`(
    memory: Memory
  ) async throws {
    let kernel = try await CLibrary.shared.kernel(nodes: 2, memory: memory)
    let records = try await lines(Guest(kernel: kernel))
    #expect(try only("nodes", of: records)["stacks"]?.integer == 144)
    // Too little room for the records of as many stacks as were asked for, and of one, twice; and areas larger than memory.
    let refusals = records.filter { $0["type"]?.string == "refusal" }
    #expect(refusals.count == (memory == .ownFrames ? 7 : 4))
    #expect(refusals.allSatisfy { $0["code"]?.integer == $0["expected"]?.integer })
    #expect(try #require(try only("locks", of: records)["mayHaveSlept"]?.integer) > 100)
  }

  @Test func `Pages are lent by a kernel with frames and tables of its own`() async throws {
    var guest = Guest(kernel: try await CLibrary.shared.kernel(lends: true, memory: .ownFramesAndTables))
    guest.cpu = .max
    let records = try await lines(guest)
    #expect(try only("lent", of: records)["idleKiB"]?.integer == 200 * 4)
    #expect(try only("waited", of: records)["times"]?.integer == 3)
  }

  @Test func `A kernel with frames and tables of its own is linked without the library's, and within 40 KiB`()
    async throws
  {
    let library = try await CLibrary.shared.path
    let script = "\(try #require(PackageRoot.path))/Scripts/c-library-sizes"
    let printed = try await Command("env", ["LIBRARY=\(library)", script]).run()
    try #require(printed.exitCode == 0, "\(printed.errors)")
    // Name, all bytes, then those of frames, addresses, stacks, errors, interface, constants.
    var sizes: [String: [Int]] = [:]
    for line in printed.output.split(separator: "\n").dropFirst(2) {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      sizes[cells[0]] = cells.dropFirst().compactMap { Int($0) }
    }
    func bytes(_ name: String, _ column: Int) throws -> Int {
      let row = try #require(sizes[name], "\(printed.output)")
      try #require(row.count == 7 && row[0] == row.dropFirst().reduce(0, +), "\(printed.output)")
      return row[column]
    }
    #expect(try bytes("vmalloc stacks, all its own", 0) <= 40 << 10)
    #expect(try bytes("growing stacks, all its own", 0) <= 43 << 10)
    for kernel in ["vmalloc stacks, all its own", "growing stacks, all its own"] {
      #expect(try bytes(kernel, 1) == 0 && bytes(kernel, 2) == 0, "\(printed.output)")
    }
    #expect(try bytes("vmalloc stacks, frames of its own", 1) == 0)
    #expect(try bytes("vmalloc stacks, frames of its own", 2) > 10_000)
    #expect(try bytes("vmalloc stacks", 1) > 10_000)
    #expect(try bytes("everything", 0) <= 124 << 10)
  }

  @Test(arguments: [Memory.ownFrames, .ownFramesAndTables])
  func `A library built with checks finds a frame that is given twice, is dirty or is not mapped`(
    memory: Memory
  ) async throws {
    let kernel = try await CLibrary.shared.kernel(memory: memory, isChecked: true)
    let checked = try only("checkedFrames", of: try await lines(Guest(kernel: kernel)))
    for key in ["twice", "dirty", "unmapped"] { #expect(try #require(checked[key]?.integer) >= 3, "\(key)") }
  }
}
