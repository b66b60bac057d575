// Boards besides the smallest: a GICv3, more CPUs than a GICv2 has, and a Raspberry Pi 3.

import DeviceTreeSamples
import Foundation
import ImageTools
import Testing

@Suite struct LargeBoards {
  @Test(arguments: [(1, Guest.CPU.max), (4, .cortexA72), (17, .cortexA72)])
  func `Every CPU behind a GICv3 runs`(count: Int, cpu: Guest.CPU) async throws {
    let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
      $0.cpuCount = count
      $0.cpu = cpu
      $0.interruptController = .gicV3
    }
    expectSuccess(run)
  }

  @Test func `Every CPU behind a GICv3 that is started at EL2 runs`() async throws {
    let run = try await boot("scenario=self-test test=cpus strategy=vmalloc") {
      $0.cpuCount = 3
      $0.interruptController = .gicV3
      $0.extraArguments = ["-M", "virt,virtualization=on"]
    }
    expectSuccess(run)
  }

  @Test func `A storm on 64 CPUs loses no word and no frame`() async throws {
    let run = try await boot("scenario=smp-storm strategy=growing operations=1000 ticks=15") {
      $0.cpuCount = 64
      $0.countsInstructions = false
    }
    expectSuccess(run)
    let result = try #require(run.records(ofType: "result").first)
    #expect(result["cpus"]?.integer == 64)
    #expect(result["violations"]?.integer == 0 && result["leakedFrames"]?.integer == 0)
  }

  @Test func `A command line limits the CPUs that run`() async throws {
    let run = try await boot("scenario=smp-storm strategy=vmalloc operations=500 cpus=2") {
      $0.cpuCount = 3
      $0.countsInstructions = false
    }
    expectSuccess(run)
    #expect(run.records(ofType: "result").first?["cpus"]?.integer == 2)
  }
}

/// A Raspberry Pi 3, by a tree made here in the shape of Linux's.
@Suite struct RaspberryPi3 {
  /// The words of the four CPUs in the spin table.
  static let releaseAddresses: [UInt32] = [0xd8, 0xe0, 0xe8, 0xf0]

  private func tree(
    releaseAddresses: [UInt32] = Self.releaseAddresses, controller: String = "brcm,bcm2836-l1-intc",
    output: String = "serial1:115200n8"
  ) -> [UInt8] {
    let narrow = [("#address-cells", cells(1)), ("#size-cells", cells(1))]
    func device(_ name: String, _ address: UInt32, _ size: UInt32, _ compatible: String) -> DeviceTreeNode {
      DeviceTreeNode(name, [("compatible", text(compatible)), ("reg", cells(address, size))])
    }
    var local = device("local_intc@40000000", 0x4000_0000, 0x100, controller)
    var global = device("interrupt-controller@7e00b200", 0x7e00_b200, 0x200, "brcm,bcm2836-armctrl-ic")
    local.properties.append(("interrupt-controller", []))
    global.properties += [("interrupt-controller", []), ("interrupts", cells(8))]
    let bus = DeviceTreeNode(
      "soc",
      narrow + [("ranges", cells(0x7e00_0000, 0x3f00_0000, 0x100_0000, 0x4000_0000, 0x4000_0000, 0x1000))],
      [
        global, device("watchdog@7e100000", 0x7e10_0000, 0x114, "brcm,bcm2835-pm"),
        device("serial@7e201000", 0x7e20_1000, 0x200, "arm,pl011"),
        device("serial@7e215040", 0x7e21_5040, 0x40, "brcm,bcm2835-aux-uart"), local,
      ])
    let cpus = releaseAddresses.enumerated().map { index, address in
      DeviceTreeNode(
        "cpu@\(index)",
        [
          ("device_type", text("cpu")), ("reg", cells(UInt32(index))), ("enable-method", text("spin-table")),
          ("cpu-release-addr", cells(0, address)),
        ])
    }
    let timer = DeviceTreeNode(
      "timer", [("compatible", text("arm,armv7-timer")), ("interrupts", cells(0, 4, 1, 4, 3, 4, 2, 4))])
    let root = DeviceTreeNode(
      "", narrow,
      [
        DeviceTreeNode("aliases", [("serial1", text("/soc/serial@7e215040"))]),
        DeviceTreeNode("chosen", [("stdout-path", text(output))]),
        DeviceTreeNode("memory@0", [("device_type", text("memory")), ("reg", cells(0, 0x4000_0000))]), bus,
        timer,
        DeviceTreeNode("cpus", [("#address-cells", cells(1)), ("#size-cells", cells(0))], cpus),
      ])
    return flattenedDeviceTree(root, reservations: [(0, 0x1000)])
  }

  private func bootPi(
    _ commandLine: String, _ tree: [UInt8], _ configure: (inout Guest) -> Void = { _ in }
  ) async throws -> GuestRun {
    let file = FileManager.default.temporaryDirectory.appending(path: "pi-\(UUID().uuidString).dtb")
    try Data(tree).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return try await boot(commandLine) {
      $0.board = .raspberryPi3
      $0.memoryByteCount = 1 << 30
      $0.deviceTree = file.path
      configure(&$0)
    }
  }

  @Test func `Four CPUs, their timers, mailboxes and serial port work`() async throws {
    expectSuccess(try await bootPi("scenario=self-test test=cpus strategy=growing", tree()) { $0.cpuCount = 4 })
    let storm = try await bootPi("scenario=smp-storm strategy=growing operations=2000", tree()) {
      $0.cpuCount = 4
      $0.countsInstructions = false
    }
    expectSuccess(storm)
    #expect(storm.records(ofType: "result").first?["cpus"]?.integer == 4)
  }

  // QEMU's board has no firmware that reads a card: what the firmware would read is taken from the image here.
  @Test func `The kernel of an SD card's image boots with the card in its slot`() async throws {
    let products = try await KernelBuild.shared.products(for: .cortexA72)
    let folder = FileManager.default.temporaryDirectory.appending(path: "card-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let image = folder.appending(path: "card.img")
    let written = [
      "kernel8.img": try Data(contentsOf: URL(fileURLWithPath: products.image)),
      "init.elf": try Data(contentsOf: URL(fileURLWithPath: products.initProgram)),
      "cmdline.txt": Data("scenario=fork-churn strategy=growing operations=50\n".utf8),
    ]
    try Data(CardImage(written.map { CardImage.File(name: $0.key, contents: $0.value) }).bytes).write(to: image)
    let files = try CardReader([UInt8](Data(contentsOf: image))).files()
    for (name, contents) in files { try Data(contents).write(to: folder.appending(path: name)) }
    let line = String(decoding: try #require(files["cmdline.txt"]), as: UTF8.self)
    let run = try await bootPi(line.trimmingCharacters(in: .newlines), tree()) {
      $0.kernel = folder.appending(path: "kernel8.img").path
      $0.initialRAMDisk = folder.appending(path: "init.elf").path
      $0.extraArguments = ["-drive", "if=sd,format=raw,file=\(image.path)"]
    }
    expectSuccess(run)
    #expect(run.records(ofType: "result").first?["operations"]?.integer == 50)
  }

  @Test func `Only what the tree has is mapped`() async throws {
    expectSuccess(try await bootPi("scenario=self-test test=address-space", tree()))
  }

  @Test func `The exit code is the last line of the console`() async throws {
    let failing = try await bootPi("scenario=none", tree())
    #expect(failing.exitCode == ExitCode.failure)
    #expect(errorMessage(failing)?.contains("there is no scenario none") == true)
    let panicking = try await bootPi("scenario=self-test test=guard-boot", tree())
    #expect(panicking.exitCode == ExitCode.panic)
    #expect(panicking.lines.last == #"{"type":"exit","code":2}"#)
  }

  @Test func `A CPU that does not come is named, and the others go on`() async throws {
    // The third CPU never looks there.
    let run = try await bootPi(
      "scenario=self-test test=threads-on-cpus", tree(releaseAddresses: [0xd8, 0xe0, 0x200, 0xf0])
    ) { $0.instructionTimeShift = 10 }
    expectSuccess(run)
    #expect(
      run.records(ofType: "warning").map { $0["message"]?.string } == [
        "the CPU with affinity 0x0000000000000002 was started and has not come within a minute; the others go on"
      ])
  }

  @Test func `Where fewer CPUs are wanted, the next one takes the place of one that does not come`()
    async throws
  {
    let run = try await bootPi(
      "scenario=self-test test=threads-on-cpus cpus=2", tree(releaseAddresses: [0xd8, 0x200, 0xe8, 0xf0])
    ) {
      $0.cpuCount = 4
      $0.instructionTimeShift = 10
    }
    expectSuccess(run)
    #expect(
      run.records(ofType: "warning").map { $0["message"]?.string } == [
        "the CPU with affinity 0x0000000000000001 was started and has not come within a minute; the others go on"
      ])
  }

  @Test func `A controller of the cores that is unknown is named`() async throws {
    let run = try await bootPi("scenario=isolation", tree(controller: "brcm,later"))
    #expect(run.exitCode == ExitCode.failure)
    #expect(
      errorMessage(run)
        == "the interrupt controller is none that the kernel drives: brcm,later")
  }
}
