// Boards that lack something: a clear line and a failing exit code.

import DeviceTreeSamples
import Foundation
import ImageTools
import Testing

@Suite struct UnusualDeviceTrees {
  static let uart = DeviceTreeNode(
    "pl011@9000000", [("compatible", text("arm,pl011")), ("reg", cells(0, 0x900_0000, 0, 0x1000))])
  static let memory = DeviceTreeNode(
    "memory@40000000", [("device_type", text("memory")), ("reg", cells(0, 0x4000_0000, 0, 0x800_0000))])
  static let processors = DeviceTreeNode(
    "cpus", [("#address-cells", cells(1)), ("#size-cells", cells(0))],
    [DeviceTreeNode("cpu@0", [("device_type", text("cpu")), ("reg", cells(0))])])
  static let controller = DeviceTreeNode(
    "intc@8000000",
    [
      ("compatible", text("arm,cortex-a15-gic")), ("interrupt-controller", []),
      ("reg", cells(0, 0x800_0000, 0, 0x1_0000, 0, 0x801_0000, 0, 0x1_0000)),
    ])
  static let timer = DeviceTreeNode(
    "timer",
    [
      ("compatible", text("arm,armv8-timer")),
      ("interrupts", cells(1, 13, 0x104, 1, 14, 0x104, 1, 11, 0x104, 1, 10, 0x104)),
    ])
  static let chosen = DeviceTreeNode("chosen", [("bootargs", text("scenario=self-test test=lookup"))])

  /// Boots with a tree that has these nodes.
  func boot(_ nodes: [DeviceTreeNode], reservations: [(UInt64, UInt64)] = []) async throws -> GuestRun {
    try await BootWithTree(nodes, reservations: reservations).run()
  }

  @Test func `Complete tree boots`() async throws {
    let nodes = [Self.chosen, Self.memory, Self.processors, Self.uart, Self.controller, Self.timer]
    expectSuccess(try await boot(nodes))
  }

  @Test func `Tree without memory is refused`() async throws {
    let run = try await boot([Self.chosen, Self.processors, Self.uart, Self.controller, Self.timer])
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the device tree describes no memory")
  }

  @Test func `Memory of size zero is no memory`() async throws {
    let empty = DeviceTreeNode(
      "memory@40000000", [("device_type", text("memory")), ("reg", cells(0, 0x4000_0000, 0, 0))])
    let run = try await boot([Self.chosen, empty, Self.processors, Self.uart, Self.controller, Self.timer])
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the device tree describes no memory")
  }

  @Test func `Memory that the linear map cannot reach is refused`() async throws {
    // 39-bit addresses leave 255 GiB for it; the second range begins at 1 TiB.
    let memory = DeviceTreeNode(
      "memory@40000000",
      [
        ("device_type", text("memory")),
        ("reg", cells(0, 0x4000_0000, 0, 0x800_0000, 0x100, 0, 0, 0x100_0000)),
      ])
    let run = try await boot([Self.chosen, memory, Self.processors, Self.uart, Self.controller, Self.timer])
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.hasPrefix("translation tables: ") == true)
  }

  @Test func `Memory larger than all addresses is refused`() async throws {
    let memory = DeviceTreeNode(
      "memory@40000000",
      [("device_type", text("memory")), ("reg", cells(0, 0x4000_0000, 0xffff_ffff, 0xffff_f000))])
    let run = try await boot([Self.chosen, memory, Self.processors, Self.uart, Self.controller, Self.timer])
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run)?.hasPrefix("memory: ") == true)
  }

  @Test func `Trees that lack something else are refused`() async throws {
    let withoutCPU = try await boot([Self.chosen, Self.memory, Self.uart, Self.controller, Self.timer])
    #expect(withoutCPU.exitCode == ExitCode.failure)
    #expect(errorMessage(withoutCPU) == "the device tree describes no CPU")
    let withoutController = try await boot([Self.chosen, Self.memory, Self.processors, Self.uart, Self.timer])
    #expect(withoutController.exitCode == ExitCode.failure)
    #expect(errorMessage(withoutController) == "the device tree describes no interrupt controller")
    var foreign = Self.controller
    foreign.properties[0].value = text("apple,aic") + text("other")
    let withForeign = try await boot(
      [Self.chosen, Self.memory, Self.processors, Self.uart, foreign, Self.timer])
    #expect(withForeign.exitCode == ExitCode.failure)
    #expect(
      errorMessage(withForeign) == "the interrupt controller is none that the kernel drives: apple,aic")
    let withoutTimer = try await boot([Self.chosen, Self.memory, Self.processors, Self.uart, Self.controller])
    #expect(withoutTimer.exitCode == ExitCode.failure)
    #expect(errorMessage(withoutTimer)?.contains("timer") == true)
  }

  // A tree whose CPUs have these affinities and are started in this way.
  private func boot(cpus: [UInt32], method: String, firmware: [(String, [UInt8])]? = nil) async throws
    -> GuestRun
  {
    let nodes = cpus.map {
      DeviceTreeNode(
        "cpu@\($0)",
        [
          ("device_type", text("cpu")), ("reg", cells($0)), ("enable-method", text(method)),
          ("cpu-release-addr", cells(0, 0xd8)),
        ])
    }
    let processors = DeviceTreeNode("cpus", [("#address-cells", cells(1)), ("#size-cells", cells(0))], nodes)
    let psci = firmware.map { [DeviceTreeNode("psci", $0)] } ?? []
    return try await boot(
      [Self.chosen, Self.memory, processors, Self.uart, Self.controller, Self.timer] + psci)
  }

  @Test func `CPUs that cannot be started are refused`() async throws {
    let psci = [("compatible", text("arm,psci-1.0")), ("method", text("hvc"))]
    let tooMany = try await boot(cpus: Array(0...64), method: "psci", firmware: psci)
    #expect(errorMessage(tooMany) == "the device tree describes more than 64 CPUs")
    let without = try await boot(cpus: [0, 1], method: "psci")
    #expect(
      errorMessage(without) == "the device tree describes several CPUs, but no PSCI firmware to start them by"
    )
    let unknown = try await boot(cpus: [0, 1], method: "smoke-signals", firmware: psci)
    #expect(
      errorMessage(unknown) == "a CPU is started in a way that the kernel does not know: smoke-signals")
    let others = try await boot(cpus: [4, 5], method: "psci", firmware: psci)
    #expect(
      errorMessage(others) == "the device tree does not describe the CPU that the kernel was started on")
    for run in [tooMany, without, unknown, others] { #expect(run.exitCode == ExitCode.failure) }
  }

  @Test func `CPUs that do not start are named, and the others go on`() async throws {
    let psci = [("compatible", text("arm,psci-1.0")), ("method", text("hvc"))]
    // There is no word of a spin table outside memory, and no CPU 5.
    for (method, firmware) in [("psci", psci), ("spin-table", [])] {
      let run = try await boot(cpus: [0, 5], method: method, firmware: firmware)
      expectSuccess(run)
      #expect(
        run.records(ofType: "warning").map { $0["message"]?.string } == [
          "the CPU with affinity 0x0000000000000005 cannot be started; the others go on"
        ])
    }
  }

  @Test func `A tree without a serial port is refused by way of the emulator`() async throws {
    let run = try await boot([Self.chosen, Self.processors, Self.controller, Self.timer])
    #expect(run.exitCode == ExitCode.failure)
    #expect(errorMessage(run) == "the device tree describes no memory")
  }

  @Test func `Reserved memory is left alone`() async throws {
    let reserved = DeviceTreeNode(
      "reserved-memory", [("#address-cells", cells(2)), ("#size-cells", cells(2))],
      [DeviceTreeNode("firmware@44000000", [("reg", cells(0, 0x4400_0000, 0, 0x40_0000))])])
    let vmalloc = DeviceTreeNode("chosen", [("bootargs", text("scenario=self-test test=vmalloc"))])
    let nodes = [vmalloc, Self.memory, Self.processors, Self.uart, Self.controller, Self.timer]
    let without = try await boot(nodes)
    let with = try await boot(nodes + [reserved], reservations: [(0x4500_0000, 0x10_0000)])
    expectSuccess(with)
    #expect(freeFrames(without) - freeFrames(with) == (4 + 1) << 8)
  }

  // From the lines as in /proc/buddyinfo.
  private func freeFrames(_ run: GuestRun) -> Int {
    run.lines.filter { $0.hasPrefix("Node ") }.reduce(0) { sum, line in
      let counts = line.split(separator: " ").suffix(11).compactMap { Int($0) }
      return sum + counts.enumerated().reduce(0) { $0 + $1.element << $1.offset }
    }
  }
}
