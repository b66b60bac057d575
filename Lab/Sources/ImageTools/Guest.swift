// A guest: boots a kernel on one of QEMU's boards and reads its console to the end.

import Foundation
import Subprocess

/// The reason why a guest could not be run to its end.
public enum GuestError: Error, CustomStringConvertible {
  /// QEMU is not installed.
  case qemuMissing
  /// The guest made no progress, and was killed.
  case hung(Hang, lines: [String])
  /// QEMU refused its arguments.
  case configuration(String)

  /// The error in one line, followed by the last console lines if there are any.
  public var description: String {
    switch self {
    case .qemuMissing:
      "qemu-system-aarch64 was not found: install it with `apt-get install qemu-system-arm` (Debian, Ubuntu) or "
        + "`brew install qemu` (macOS)"
    case .hung(let hang, let lines):
      "guest \(hang)"
        + lines.filter { !$0.hasPrefix("{") }.suffix(10).map { "\n  | \($0)" }.joined()
    case .configuration(let reason): reason
    }
  }
}

/// The result of a guest.
public struct GuestRun: Sendable {
  /// The code that the guest exited with, or QEMU's own.
  public var exitCode: Int
  /// All lines of the console, and QEMU's own messages.
  public var lines: [String]
  /// The lines that are JSON objects.
  public var records: [JSON]

  /// The records whose `type` is the given one.
  public func records(ofType type: String) -> [JSON] { records.filter { $0["type"]?.string == type } }
}

/// A virtual machine that boots a kernel.
public struct Guest: Sendable {
  /// A CPU model of QEMU.
  public enum CPU: String, Sendable, CaseIterable {
    /// A CPU without hardware access flag and dirty state.
    case cortexA72 = "cortex-a72"
    /// A CPU with all features that QEMU implements.
    case max
  }

  /// A board of QEMU.
  public enum Board: String, Sendable, CaseIterable {
    /// QEMU's own, without a counterpart that anyone could buy.
    case virt
    /// A Raspberry Pi 3 B: four CPUs, 1 GiB, no PSCI firmware; it needs a device tree.
    case raspberryPi3 = "raspi3b"
  }

  /// What carries out a guest's instructions.
  public enum Accelerator: String, Sendable, CaseIterable {
    /// QEMU, on every host.
    case tcg
    /// The host's own CPUs, by Linux.
    case kvm
    /// The host's own CPUs, by macOS.
    case hvf
  }

  /// An interrupt controller of QEMU's `virt` board.
  public enum InterruptController: String, Sendable {
    /// A GICv2, for at most 8 CPUs.
    case gicV2 = "2"
    /// A GICv3.
    case gicV3 = "3"
  }

  /// The kernel: a flat image, or an ELF file.
  public var kernel: String
  /// The file that the kernel gets as its initial RAM disk.
  public var initialRAMDisk: String?
  /// The kernel's command line.
  public var commandLine: String
  /// The size of the memory, in bytes.
  public var memoryByteCount = 128 << 20
  /// The number of CPUs.
  public var cpuCount = 1
  /// The board.
  public var board = Board.virt
  /// What carries out instructions; those of the host's CPUs are counted by these.
  public var accelerator = Accelerator.tcg
  /// The interrupt controller of `virt`.
  ///
  /// Unless it is given, a GICv2 where that has enough CPUs.
  public var interruptController: InterruptController {
    get { givenInterruptController ?? (cpuCount > 8 ? .gicV3 : .gicV2) }
    set { givenInterruptController = newValue }
  }
  private var givenInterruptController: InterruptController?
  /// The model of the CPUs.
  public var cpu = CPU.cortexA72
  /// The number of NUMA nodes that memory and CPUs are divided among: 1 or 2.
  public var numaNodeCount = 1
  /// A device tree to use instead of QEMU's.
  public var deviceTree: String?
  /// Whether instructions are counted exactly, which runs all CPUs in turn on one host thread.
  public var countsInstructions = true
  /// log2 of the nanoseconds of guest time that an instruction takes, if instructions are counted.
  public var instructionTimeShift = 0
  /// The limits beyond which the guest counts as hung.
  public var limits = HangLimits()
  /// The plugin that models caches and TLBs, if the guest is to be modelled: one CPU, whose instructions are counted.
  public var memoryModel: String?
  /// Additional arguments of QEMU.
  public var extraArguments: [String] = []

  /// A guest with 128 MiB and one CPU.
  public init(kernel: String, initialRAMDisk: String? = nil, commandLine: String = "") {
    self.kernel = kernel
    self.initialRAMDisk = initialRAMDisk
    self.commandLine = commandLine
  }

  /// Whether QEMU is in PATH.
  public static var isQemuInstalled: Bool {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
      FileManager.default.isExecutableFile(atPath: "\($0)/qemu-system-aarch64")
    }
  }

  /// QEMU's arguments.
  public var arguments: [String] {
    if board == .raspberryPi3 { return argumentsOfRaspberryPi }
    // The host's CPUs may come with an interrupt controller of their own.
    let controller = accelerator == .kvm ? "host" : interruptController.rawValue
    var arguments = [
      "-M", "virt,gic-version=\(controller)", "-cpu", accelerator == .tcg ? cpu.rawValue : "host", "-m",
      "\(memoryByteCount >> 20)M", "-smp", "\(cpuCount)",
      "-semihosting-config", "enable=on,target=native", "-nographic", "-nic", "none", "-no-reboot",
    ]
    if accelerator == .tcg {
      arguments += argumentsOfCounting
    } else {
      arguments += ["-accel", accelerator.rawValue]
    }
    if let memoryModel {
      let file = memoryFile
      arguments += ["-M", "memory-backend=ram"]
      arguments += [
        "-object", "memory-backend-file,id=ram,size=\(memoryByteCount >> 20)M,mem-path=\(file),share=on",
        "-plugin", "\(memoryModel),memory=\(file),base=\(Self.memoryStart)",
      ]
    } else if numaNodeCount == 1, isSparse {
      arguments += ["-M", "memory-backend=ram"]
      arguments += [
        "-object", "memory-backend-ram,id=ram,size=\(memoryByteCount >> 20)M" + Self.withoutReservation,
      ]
    }
    if numaNodeCount > 1 {
      let perNode = (memoryByteCount >> 20) / numaNodeCount
      for node in 0..<numaNodeCount {
        let size = node == numaNodeCount - 1 ? (memoryByteCount >> 20) - node * perNode : perNode
        let backend = "memory-backend-ram,id=node\(node),size=\(size)M"
        arguments += ["-object", backend + (isSparse ? Self.withoutReservation : "")]
        arguments += ["-numa", "node,nodeid=\(node),memdev=node\(node)" + cpuList(ofNode: node)]
      }
    }
    return arguments + argumentsOfBoot
  }

  // The device tree's choice for the console is the second serial port. There is no semihosting, as on a real board.
  private var argumentsOfRaspberryPi: [String] {
    let arguments = [
      "-M", board.rawValue, "-m", "1G", "-display", "none", "-monitor", "none", "-serial", "null", "-serial",
      "stdio",
      "-no-reboot",
    ]
    return arguments + argumentsOfCounting + argumentsOfBoot
  }

  // A host with far fewer processors than the guest is the faster for running them in turn: on two, a storm on 64 takes a fifth
  // of the time. Each TLB invalidation has all threads of QEMU stop.
  private var argumentsOfCounting: [String] {
    if countsInstructions { return ["-icount", "shift=\(instructionTimeShift),sleep=off"] }
    let isCrowded = cpuCount > 8 * ProcessInfo.processInfo.activeProcessorCount
    return isCrowded ? ["-accel", "tcg,thread=single"] : []
  }

  private var argumentsOfBoot: [String] {
    var arguments: [String] = []
    if let deviceTree { arguments += ["-dtb", deviceTree] }
    arguments += ["-kernel", kernel]
    if let initialRAMDisk { arguments += ["-initrd", initialRAMDisk] }
    if !commandLine.isEmpty { arguments += ["-append", commandLine] }
    return arguments + extraArguments
  }

  /// Where QEMU's board has its RAM.
  private static let memoryStart = "0x40000000"

  /// The file that is the RAM of a guest whose memory is modelled; it goes with the guest.
  private let memoryFile =
    FileManager.default.temporaryDirectory.appendingPathComponent("guest-\(UUID().uuidString).ram").path

  /// Whether the memory may exceed the host's: only touched pages count.
  private var isSparse: Bool { memoryByteCount > 4 << 30 }

  /// The option that keeps Linux from reserving memory that may never be touched; other systems do not reserve it.
  private static var withoutReservation: String {
    #if os(Linux)
      ",reserve=off"
    #else
      ""
    #endif
  }

  /// `,cpus=first-last` for a node that has CPUs; the CPUs are divided evenly, in order.
  private func cpuList(ofNode node: Int) -> String {
    let first = node * cpuCount / numaNodeCount
    let end = (node + 1) * cpuCount / numaNodeCount
    // With fewer CPUs than nodes they all belong to the first node.
    if cpuCount < numaNodeCount { return node == 0 ? ",cpus=0-\(cpuCount - 1)" : "" }
    return first < end ? ",cpus=\(first)-\(end - 1)" : ""
  }

  /// Boots the guest and waits until it ends.
  ///
  /// Waits for other guests of this process first if all turns are taken.
  ///
  /// - Parameter onLine: called with each console line when it is complete.
  /// - Throws: ``GuestError``. A failing exit code is no error here.
  public func run(onLine: @Sendable (String) -> Void = { _ in }) async throws -> GuestRun {
    guard (1...2).contains(numaNodeCount) else {
      throw GuestError.configuration("a guest has 1 or 2 NUMA nodes, not \(numaNodeCount)")
    }
    let most = interruptController == .gicV2 ? 8 : 64
    guard (1...most).contains(cpuCount) else {
      throw GuestError.configuration(
        "a guest with this interrupt controller has 1 to \(most) CPUs, not \(cpuCount)")
    }
    guard
      board == .virt || cpuCount <= 4 && numaNodeCount == 1 && memoryModel == nil && memoryByteCount == 1 << 30
    else {
      throw GuestError.configuration(
        "a \(board.rawValue) has 1 to 4 CPUs, one NUMA node and 1 GiB, and is not modelled")
    }
    guard accelerator == .tcg || board == .virt && memoryModel == nil else {
      throw GuestError.configuration("\(accelerator.rawValue) runs the board virt, and no model of memory")
    }
    guard memoryModel == nil || cpuCount == 1 && numaNodeCount == 1 && countsInstructions else {
      throw GuestError.configuration("the memory model is of one CPU and one NUMA node that count instructions")
    }
    guard memoryByteCount > 0, memoryByteCount % (1 << 20) == 0 else {
      throw GuestError.configuration(
        "a guest's memory is a whole number of MiB, not \(memoryByteCount) bytes")
    }
    await GuestTurns.shared.begin()
    do {
      let run = try await RunningPrograms.counting { try await runNow(onLine: onLine) }
      await GuestTurns.shared.end()
      return run
    } catch {
      await GuestTurns.shared.end()
      throw error
    }
  }

  private func runNow(onLine: @Sendable (String) -> Void) async throws -> GuestRun {
    var limits = limits
    defer { if memoryModel != nil { try? FileManager.default.removeItem(atPath: memoryFile) } }
    // Each CPU runs on a host thread of its own.
    if !countsInstructions || accelerator != .tcg { limits.silence *= cpuCount }
    let (lines, hang): ([String], Hang?)
    let status: TerminationStatus
    do {
      let result = try await Subprocess.run(
        .name("qemu-system-aarch64"), arguments: Arguments(arguments), input: .none, output: .sequence,
        error: .combinedWithOutput
      ) { [limits] execution in
        let process = execution.processIdentifier
        let lineCount = LineCount()
        let watch = Task {
          let hang = try await HangWatch(process: process.value, limits: limits, lines: lineCount).awaitHang()
          kill(process.value, SIGKILL)
          return hang
        }
        defer { watch.cancel() }
        let lines = try await readLines(execution.standardOutput) { line in
          lineCount.add()
          onLine(line)
        }
        watch.cancel()
        return (lines, try? await watch.value)
      }
      (lines, hang) = result.closureResult
      status = result.terminationStatus
    } catch let error as SubprocessError where error.code == .executableNotFound {
      throw GuestError.qemuMissing
    }
    if let hang { throw GuestError.hung(hang, lines: lines) }
    let records = lines.compactMap { line -> JSON? in
      guard line.hasPrefix("{") else { return nil }
      return try? JSON(parsing: line)
    }
    var exitCode = status.shellCode
    if board != .virt || accelerator != .tcg, exitCode == 0 {
      // There is no semihosting: the guest says its exit code in its last line.
      exitCode = records.last { $0["type"]?.string == "exit" }?["code"]?.integer ?? 1
    }
    return GuestRun(exitCode: exitCode, lines: lines, records: records)
  }

  private func readLines(
    _ output: SubprocessOutputSequence, onLine: (String) -> Void
  ) async throws -> [String] {
    var splitter = LineSplitter()
    var lines: [String] = []
    for try await buffer in output {
      let complete = buffer.withUnsafeBytes { splitter.append($0) }
      for line in complete { onLine(line) }
      lines += complete
    }
    if let rest = splitter.finish() {
      onLine(rest)
      lines.append(rest)
    }
    return lines
  }
}

/// Cuts a stream of bytes into lines; a carriage return before the line feed is dropped.
struct LineSplitter {
  private var pending: [UInt8] = []

  mutating func append(_ bytes: some Sequence<UInt8>) -> [String] {
    var lines: [String] = []
    for byte in bytes {
      if byte == 10 {
        lines.append(take())
      } else {
        pending.append(byte)
      }
    }
    return lines
  }

  mutating func finish() -> String? { pending.isEmpty ? nil : take() }

  private mutating func take() -> String {
    if pending.last == 13 { pending.removeLast() }
    defer { pending.removeAll(keepingCapacity: true) }
    return String(decoding: pending, as: UTF8.self)
  }
}
