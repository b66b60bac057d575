// Interprocessor interrupts and the calls of functions on other CPUs that they carry.
import AArch64Machine
import CAArch64
import KernelProcesses
import KernelStacks
import Scenarios
import Synchronization

/// An interrupt from one CPU to another: its number in the interrupt controller (0…15).
enum InterprocessorInterrupt: UInt32 {
  /// A thread is ready: the handler enters the scheduler.
  case reschedule = 0
  /// Another CPU has panicked: the CPU stops for good.
  case stop = 1
  /// A function is to be called.
  case call = 2
}

// The one call in progress: its function, and a bit for each CPU that has not returned from it.
private let isCalling = Atomic<UInt64>(0)
nonisolated(unsafe) private var calledFunction: (@convention(c) (UInt) -> Void)?
nonisolated(unsafe) private var callArgument: UInt = 0
private let outstandingCalls = Atomic<UInt64>(0)

extension InterprocessorInterrupt {
  /// Sends the interrupt to a CPU.
  ///
  /// The handler sees all earlier stores of this CPU. Never inlined: litmus tests name it.
  @inline(never) func send(to number: Int) {
    guard let target = PerCPU.at(number).pointee.interruptTarget else { return }
    ca_dsb_ishst()
    Interrupts.device.generate(rawValue, target: target)
  }

  /// Sends the interrupt to the current CPU, which takes it when interrupts are on again.
  func sendToThis() { send(to: AArch64().currentCPU) }

  /// Sends the interrupt to all other CPUs that have been started.
  func sendToOthers() {
    forEachCPU { number, _ in
      if number != AArch64().currentCPU { send(to: number) }
    }
  }
}

/// Calls a function on another CPU, in its interrupt handler, and waits until it has returned.
///
/// A CPU that is not online is not called. For thread code with interrupts on. The function runs at EL1h: it must not wait or
/// allocate.
func callOnCPU(_ number: Int, _ function: @convention(c) (UInt) -> Void, _ argument: UInt) {
  beginCall(function, argument)
  if PerCPU.at(number).pointee.state == .online {
    outstandingCalls.store(1 << UInt64(number), ordering: .releasing)
    InterprocessorInterrupt.call.send(to: number)
  }
  endCall()
}

/// Calls a function on all other online CPUs at the same time, and waits until all have returned.
///
/// The conditions are those of ``callOnCPU(_:_:_:)``.
func callOnOtherCPUs(_ function: @convention(c) (UInt) -> Void, _ argument: UInt) {
  beginCallOnOtherCPUs(function, argument)
  endCall()
}

/// Begins a call of a function on all other online CPUs; ``endCall()`` waits until all have returned.
func beginCallOnOtherCPUs(_ function: @convention(c) (UInt) -> Void, _ argument: UInt) {
  beginCall(function, argument)
  let interrupts = ca_disable_interrupts()
  var targets: UInt64 = 0
  forEachCPU { number, cpu in
    if number != AArch64().currentCPU, cpu.pointee.state == .online { targets |= 1 << UInt64(number) }
  }
  outstandingCalls.store(targets, ordering: .releasing)
  for number in 0..<AArch64().cpuCount where targets & 1 << UInt64(number) != 0 {
    InterprocessorInterrupt.call.send(to: number)
  }
  ca_restore_interrupts(interrupts)
}

private let reclaimedFrames = Atomic<UInt64>(0)

/// Makes all other CPUs give back their cached stacks and frames.
///
/// - Returns: the number of frames given back.
func reclaimOnOtherCPUs() -> Int {
  if AArch64().cpuCount == 1 { return 0 }
  callOnOtherCPUs(
    { _ in
      reclaimedFrames.wrappingAdd(
        UInt64(KernelObjects.stacks.pointee.reclaim(target: .max)), ordering: .acquiringAndReleasing)
    }, 0)
  return Int(reclaimedFrames.exchange(0, ordering: .acquiringAndReleasing))
}

/// Makes all other CPUs fill their reserves and merge their free frames.
func settleOnOtherCPUs() {
  if AArch64().cpuCount == 1 { return }
  callOnOtherCPUs({ _ in KernelObjects.processes.pointee.settleThisCPU() }, 0)
}

// Interrupts stay on: a waiting CPU can itself be called, so that no two CPUs wait for each other.
private func beginCall(_ function: @convention(c) (UInt) -> Void, _ argument: UInt) {
  excludeCalls()
  calledFunction = function
  callArgument = argument
}

private func excludeCalls() {
  while isCalling.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).original != 0 {
    Scheduler.yield()
  }
}

/// Runs `body` while no call is in progress.
func withoutCalls(_ body: () -> Void) {
  excludeCalls()
  body()
  isCalling.store(0, ordering: .releasing)
}

/// Waits until all called CPUs have returned.
func endCall() {
  while outstandingCalls.load(ordering: .acquiring) != 0 { ca_wait_for_event() }
  isCalling.store(0, ordering: .releasing)
}

/// Handles ``InterprocessorInterrupt/call``, in interrupt context.
func answerCall() {
  let bit: UInt64 = 1 << ca_cpu_number()
  guard outstandingCalls.load(ordering: .acquiring) & bit != 0, let function = calledFunction else { return }
  function(callArgument)
  outstandingCalls.bitwiseAnd(~(bit), ordering: .acquiringAndReleasing)
  ca_send_event()
}
