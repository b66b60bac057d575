// The running machine, by copies of its files.

import FailureReports
import Foundation
import Testing

/// A folder with the files of a machine.
private struct Machine {
  let root = FileManager.default.temporaryDirectory.appendingPathComponent("machine-\(UUID().uuidString)")

  init(_ files: [String: String]) throws {
    var all = Self.ordinary
    for (path, contents) in files { all[path] = contents }
    for (path, contents) in all where contents != "absent" {
      let file = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(contents.utf8).write(to: file)
    }
  }

  func reading() throws -> LiveReading {
    defer { try? FileManager.default.removeItem(at: root) }
    return try #require(LiveReading.take(SystemFiles(root: root.path)))
  }

  static let ordinary = [
    "proc/buddyinfo": """
    Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3
    Node 0, zone   Normal   1779      2      0     18     11      3      1      3      0      0      0
    Node 0, zone  Movable      9      9      9      9      9      9      9      9      9      9      9

    """,
    "proc/zoneinfo": """
    Node 0, zone      DMA
      pages free     3840
            min      67
            low      83
            high     99
            managed  3840
            protection: (0, 1000, 1000, 1000)
          nr_free_cma  0
    Node 0, zone   Normal
      pages free     2577
            min      1000
            low      1250
            high     1500
            managed  200000
            protection: (0, 0, 0, 0)
          nr_free_cma  0
    Node 0, zone  Movable
      pages free     18423
            min      10
            low      12
            high     14
            managed  20000
            protection: (0, 0, 0, 0)

    """,
    "proc/meminfo": "MemTotal:        6112100 kB\nMemFree:          638020 kB\nKernelStack:       22720 kB\n",
    "proc/vmstat": "compact_stall 12\ncompact_fail 7\n",
    "proc/loadavg": "0.00 0.01 0.05 1/1420 12345\n",
    "proc/sys/kernel/osrelease": "6.1.0-test\n",
    "proc/sys/kernel/threads-max": "50000\n",
    "proc/sys/kernel/pid_max": "32768\n",
    "boot/config-6.1.0-test": "CONFIG_ARM64=y\n# CONFIG_VMAP_STACK is not set\n",
    "proc/self/cgroup": "0::/system.slice/a.service\n",
    "sys/fs/cgroup/system.slice/a.service/pids.max": "max\n",
    "sys/fs/cgroup/system.slice/pids.max": "100\n",
    "sys/fs/cgroup/system.slice/pids.current": "40\n",
  ]
}

@Suite struct RunningMachineTests {
  @Test func `counts the stacks that zones have pieces and watermarks for`() throws {
    let reading = try Machine([:]).reading()
    #expect(reading.stackBytes == 16384)
    #expect(reading.configuration.hasMappedStacks == false)
    // Normal: pieces for 216 stacks, and memory for more. DMA: 960 pieces, but memory for 693 beyond the 67 and 1,000 pages
    // that are kept. Movable serves no kernel.
    var stacks: [String: UInt64] = [:]
    for zone in reading.state.zones { stacks[zone.zone] = zone.contiguousStacks(of: 16384) }
    let expected: [String: UInt64] = ["DMA": 693, "Normal": 216, "Movable": 0]
    #expect(stacks == expected)
    #expect(!reading.nextForkFails)
  }

  @Test func `foretells the failure of a contiguous kernel`() throws {
    let broken = """
      Node 0, zone   Normal   17790      2000      0     0     0      0      0      0      0      0      0

      """
    let reading = try Machine(["proc/buddyinfo": broken]).reading()
    #expect(reading.nextForkFails)
    #expect(
      LiveText.sentence(reading)
        == "The next fork will fail: it needs 16 KiB of memory in one piece, and of the 85.1 MiB that are free no usable piece is larger than 8 KiB."
    )
    let mapped = try Machine(["proc/buddyinfo": broken, "boot/config-6.1.0-test": "CONFIG_VMAP_STACK=y\n"])
      .reading()
    #expect(!mapped.nextForkFails)
  }

  @Test func `excludes what only the contiguous allocator may use`() throws {
    let types = """
      Page block order: 9
      Pages per block:  512

      Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10
      Node    0, zone   Normal, type    Unmovable   1779      2      0      0      0      0      0      0      0      0      0
      Node    0, zone   Normal, type          CMA      0      0      0     18     11      3      1      3      0      0      0
      """
    let blocks =
      "Node 0, zone   Normal   1779      2      0     18     11      3      1      3      0      0      0\n"
    let reading = try Machine(["proc/pagetypeinfo": types, "proc/buddyinfo": blocks]).reading()
    let normal = try #require(reading.state.zones.first)
    #expect(normal.isExact)
    #expect(normal.largestBlock == 512 << 10)
    #expect(normal.largestUsableBlock == 8 << 10)
    #expect(reading.contiguousStacks == 0)
  }

  @Test func `names the limit that is reached, of any control group above`() throws {
    let reading = try Machine(["sys/fs/cgroup/system.slice/pids.current": "100\n"]).reading()
    #expect(reading.nextForkFails)
    #expect(
      LiveText.sentence(reading).hasPrefix(
        "The next process will be refused: 100 of 100 processes and threads of the control group /sys/fs/cgroup/system.slice (pids.max)"
      ))
  }

  @Test func `says what it could not read, and what that costs`() throws {
    let reading = try Machine(["boot/config-6.1.0-test": "absent", "proc/zoneinfo": "absent"]).reading()
    #expect(reading.configuration.hasMappedStacks == nil)
    #expect(
      reading.gaps.contains {
        $0.hasPrefix("/proc/zoneinfo cannot be read (No such file or directory): watermarks")
      })
    #expect(reading.gaps.contains { $0.contains("CONFIG_VMAP_STACK") })
    #expect(LiveText.text(reading).contains("Not read:"))
  }

  @Test func `shows the failures in the kernel's log`() throws {
    let log = """
      6,339,5140900,-;audit: something
       SUBSYSTEM=pci
      4,340,5140999,-,caller=T7;cgroup: fork rejected by pids controller in /a.slice

      """
    let reading = try Machine(["dev/kmsg": log]).reading()
    #expect(reading.log?.failures.map(\.cause) == [.limit])
    #expect(LiveText.text(reading).contains("control group of /a.slice"))
  }

  @Test func `finds out how stacks are made by the symbols`() throws {
    let symbols = "0000000000000000 T schedule\n0000000000000000 t free_vm_stack_cache\n"
    let reading = try Machine(["boot/config-6.1.0-test": "absent", "proc/kallsyms": symbols]).reading()
    #expect(reading.configuration.hasMappedStacks == true)
    #expect(reading.configuration.source == "/proc/kallsyms")
  }
}
