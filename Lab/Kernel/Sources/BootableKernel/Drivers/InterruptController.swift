// What the kernel asks of an interrupt controller, and the one that the board has.
//
// Interrupts have one numbering, whatever the controller: 0 to 15 are those that CPUs send each other, 16 to 31 those of the
// CPU's own devices, such as its timer.
import CAArch64
import DeviceTree
import KernelStacks

/// An interrupt controller.
protocol InterruptController {
  /// Starts what all CPUs share, with no interrupt enabled, pending or active: a boot loader may have left some.
  func start()

  /// Lets the current CPU take the interrupts that CPUs send each other, and those of its devices when they are enabled.
  ///
  /// - Returns: the value by which other CPUs name it; `nil` if the controller does not know the CPU.
  func startThisCPU() -> UInt64?

  /// Stops interrupts on the current CPU.
  func stopThisCPU()

  /// Enables an interrupt (16…31) of the current CPU's devices.
  func enablePrivate(_ interrupt: UInt32)

  /// Raises an interrupt (0…15) on a CPU; see ``InterprocessorInterrupt/send(to:)``.
  ///
  /// - Parameter target: what ``startThisCPU()`` returned there.
  func generate(_ interrupt: UInt32, target: UInt64)

  /// Acknowledges the pending interrupt of the highest priority, the one with the lowest number.
  ///
  /// The caller has loads follow that are to see what the sending CPU stored before; a controller whose answer is not loaded from
  /// memory orders it before them itself.
  ///
  /// - Returns: what ``finish(_:)`` takes, with the interrupt's number in bits 9:0; ``noInterrupt`` if none is pending.
  func acknowledge() -> UInt32

  /// Signals the end of an acknowledged interrupt.
  func finish(_ acknowledged: UInt32)
}

/// What ``InterruptController/acknowledge()`` returns when no interrupt is pending.
var noInterrupt: UInt32 { 1023 }

/// The interrupt controller of the board.
///
/// Embedded Swift has no values of a protocol's type. What is called often is never inlined: the functions that litmus tests are
/// taken from stay as they are, however many controllers there are.
enum BoardInterrupts: InterruptController {
  case gicV2(GICv2)
  case gicV3(GICv3)
  case bcm2836(BCM2836Interrupts)

  /// Makes the driver of a controller whose registers are mapped at an offset from their physical addresses.
  init(_ board: BoardInterruptController, mappedAt offset: UInt) {
    switch board {
    case .gicV2(let distributor, let cpuInterface):
      self = .gicV2(
        GICv2(distributor: distributor.start + offset, cpuInterface: cpuInterface.start + offset))
    case .gicV3(let distributor, let redistributors):
      self = .gicV3(
        GICv3(
          distributor: distributor.start + offset, redistributors: redistributors.start + offset,
          redistributorBytes: redistributors.byteCount))
    case .bcm2836(let registers):
      self = .bcm2836(BCM2836Interrupts(base: registers.start + offset))
    }
  }

  func start() {
    switch self {
    case .gicV2(let device): device.start()
    case .gicV3(let device): device.start()
    case .bcm2836(let device): device.start()
    }
  }

  func startThisCPU() -> UInt64? {
    switch self {
    case .gicV2(let device): device.startThisCPU()
    case .gicV3(let device): device.startThisCPU()
    case .bcm2836(let device): device.startThisCPU()
    }
  }

  func stopThisCPU() {
    switch self {
    case .gicV2(let device): device.stopThisCPU()
    case .gicV3(let device): device.stopThisCPU()
    case .bcm2836(let device): device.stopThisCPU()
    }
  }

  func enablePrivate(_ interrupt: UInt32) {
    switch self {
    case .gicV2(let device): device.enablePrivate(interrupt)
    case .gicV3(let device): device.enablePrivate(interrupt)
    case .bcm2836(let device): device.enablePrivate(interrupt)
    }
  }

  @inline(never) func generate(_ interrupt: UInt32, target: UInt64) {
    switch self {
    case .gicV2(let device): device.generate(interrupt, target: target)
    case .gicV3(let device): device.generate(interrupt, target: target)
    case .bcm2836(let device): device.generate(interrupt, target: target)
    }
  }

  @inline(never) func acknowledge() -> UInt32 {
    switch self {
    case .gicV2(let device): device.acknowledge()
    case .gicV3(let device): device.acknowledge()
    case .bcm2836(let device): device.acknowledge()
    }
  }

  @inline(never) func finish(_ acknowledged: UInt32) {
    switch self {
    case .gicV2(let device): device.finish(acknowledged)
    case .gicV3(let device): device.finish(acknowledged)
    case .bcm2836(let device): device.finish(acknowledged)
    }
  }
}
