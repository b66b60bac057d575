// Boards with awkward memory: with holes that must not be mapped, above 256 GiB, or in two distant ranges; and boards with
// interrupts that a boot loader has left enabled.

import DeviceTreeSamples
import Foundation
import ImageTools
import Testing

@Suite struct BoardMemory {
  /// A tree with other memory, and with an initial RAM disk where one is named by its first and last address.
  static func tree(
    _ memory: [(UInt64, UInt64)], options: String, unmapped: [(UInt64, UInt64)] = [],
    ramDisk: ClosedRange<UInt32>? = nil
  ) -> BootWithTree {
    func ranges(_ list: [(UInt64, UInt64)]) -> [UInt8] {
      list.flatMap {
        cells(UInt32($0 >> 32), UInt32($0 & 0xffff_ffff), UInt32($1 >> 32), UInt32($1 & 0xffff_ffff))
      }
    }
    let reserved = DeviceTreeNode(
      "reserved-memory", [("#address-cells", cells(2)), ("#size-cells", cells(2))],
      unmapped.map { DeviceTreeNode("firmware", [("no-map", []), ("reg", ranges([$0]))]) })
    var chosen = [("bootargs", text(options))]
    if let ramDisk {
      chosen += [
        ("linux,initrd-start", cells(ramDisk.lowerBound)),
        ("linux,initrd-end", cells(ramDisk.upperBound + 1)),
      ]
    }
    return BootWithTree([
      UnusualDeviceTrees.uart, DeviceTreeNode("chosen", chosen),
      DeviceTreeNode("memory", [("device_type", text("memory")), ("reg", ranges(memory))]),
      UnusualDeviceTrees.processors, UnusualDeviceTrees.controller, UnusualDeviceTrees.timer, reserved,
    ])
  }

  static let gibibyte: UInt64 = 1 << 30

  @Test(arguments: [39, 48]) func `Memory that must not be mapped is not, nor is the page that it shares`(
    bits: Int
  )
    async throws
  {
    let holes: [(UInt64, UInt64)] = [
      (0x4300_0000, 0x20_0000), (0x4400_1000, 0x1000), (0x4410_0800, 0x10), (0x47ff_f000, 0x10_0000),
    ]
    let test = "scenario=self-test test=address-space va-bits=\(bits)"
    expectSuccess(try await Self.tree([(0x4000_0000, 0x800_0000)], options: test, unmapped: holes).run())
  }

  @Test func `Memory in as many pieces as a tree can name is all mapped`() async throws {
    let pieces = (0..<16).map { (UInt64(0x4000_0000 + $0 * 0x80_0000), UInt64(0x7f_f000)) }
    let holes = (0..<15).map { (UInt64(0x4030_1000 + $0 * 0x80_0000), UInt64(0x1000)) }
    let test = "scenario=self-test test=address-space"
    expectSuccess(try await Self.tree(pieces, options: test, unmapped: holes).run())
  }

  @Test func `An image that lies where nothing may be mapped is refused`() async throws {
    let run = try await Self.tree(
      [(0x4000_0000, 0x800_0000)], options: "", unmapped: [(0x4009_0000, 0x1000)]
    ).run()
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the kernel's image does not lie in memory that may be mapped")
  }

  @Test(arguments: [UInt64(290), 600]) func `Image, tree and memory may lie above 256 GiB`(place: UInt64)
    async throws
  {
    let base = place * Self.gibibyte
    var boot = Self.tree(
      [(base, 0x800_0000)], options: "scenario=self-test test=vmalloc strategy=vmalloc va-bits=48")
    boot.address = base + 0x610_0000
    boot.imageAddress = base + 0x8_0000
    boot.configure = { $0.memoryByteCount = Int((place + 1) * Self.gibibyte) }
    expectSuccess(try await boot.run())
    // With 39 bits no linear map reaches there.
    var short = boot
    short.bytes = Self.tree([(base, 0x800_0000)], options: "scenario=self-test test=vmalloc").bytes
    let refused = try await short.run()
    #expect(refused.exitCode == ExitCode.failure)
    #expect(errorMessage(refused)?.hasPrefix("translation tables: ") == true)
  }

  @Test func `A tree above 256 GiB serves a kernel below`() async throws {
    var boot = Self.tree([(0x4000_0000, 0x800_0000)], options: "scenario=self-test test=lookup")
    boot.address = 290 * Self.gibibyte
    boot.configure = { $0.memoryByteCount = Int(291 * Self.gibibyte) }
    expectSuccess(try await boot.run())
  }

  @Test func `Interrupts that a boot loader has left enabled and pending disturb no thread`() async throws {
    let program = try await KernelBuild.shared.products(for: .cortexA72).initProgram
    let place: UInt32 = 0x4700_0000
    let last = place + UInt32(try Data(contentsOf: URL(fileURLWithPath: program)).count) - 1
    var boot = Self.tree(
      [(0x4000_0000, 0x800_0000)], options: "scenario=self-test test=preemption strategy=vmalloc",
      ramDisk: place...last)
    boot.configure = {
      $0.extraArguments += ["-device", "loader,file=\(program),addr=\(place),force-raw=on"]
    }
    boot.before = [
      0xd2a1_0002,  // mov  x2, #0x8000000        the distributor
      0x1280_0003,  // mov  w3, #-1
      0xd2a0_2024,  // mov  x4, #0x1010000
      0xf280_2024,  // movk x4, #0x101
      0xb908_2044,  // str  w4, [x2, #0x820]      GICD_ITARGETSR: to this CPU
      0xb908_2444,  // str  w4, [x2, #0x824]
      0xb901_0443,  // str  w3, [x2, #0x104]      GICD_ISENABLER1: 32 to 63
      0xb902_0443,  // str  w3, [x2, #0x204]      GICD_ISPENDR1
      0xb901_0043,  // str  w3, [x2, #0x100]      GICD_ISENABLER0: private ones too
      0xd280_0025,  // mov  x5, #1
      0xb900_0045,  // str  w5, [x2]              GICD_CTLR
      0xd51b_e21f,  // msr  cntp_tval_el0, xzr    the physical timer, for which there is no handler
      0xd51b_e225,  // msr  cntp_ctl_el0, x5
    ]
    expectSuccess(try await boot.run())
  }

  @Test func `A CPU without performance monitors runs all but measurements`() async throws {
    for cpus in [1, 2] {
      expectSuccess(
        try await boot("scenario=self-test test=preemption strategy=vmalloc") {
          $0.cpuCount = cpus
          $0.extraArguments = ["-cpu", "cortex-a72,pmu=off"]
        })
    }
    expectSuccess(
      try await boot("scenario=self-test test=lookup") {
        $0.extraArguments = ["-M", "virt,virtualization=on", "-cpu", "cortex-a72,pmu=off"]
      })
    let run = try await boot("scenario=bench strategy=vmalloc") {
      $0.extraArguments = ["-cpu", "cortex-a72,pmu=off"]
    }
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "this CPU counts no instructions (FEAT_PMUv3)")
  }
}
