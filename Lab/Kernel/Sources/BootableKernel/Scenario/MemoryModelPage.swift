// The kernel's side of the page through which it speaks with a memory model outside the machine (memory_model_page.h).
import AArch64Machine
import CAArch64
import KernelAssembly
import KernelStacks
import Scenarios

private var page: UnsafeMutablePointer<memory_model_page> {
  UnsafeMutablePointer(bitPattern: kernel_model_page()).unsafelyUnwrapped
}

private func tell(_ command: memory_model_command, _ first: Int = 0, _ second: Int = 0) {
  page.pointee.command = UInt64(command.rawValue)
  page.pointee.first = UInt64(first)
  page.pointee.second = UInt64(second)
  kernel_tell_memory_model()
}

// The model writes to the page while the kernel runs: what it wrote is read as another CPU's would be.
private func answer(_ word: UnsafePointer<UInt64>) -> Int { Int(ca_load(UInt(bitPattern: word))) }

/// Begins the memory model, if there is one: from here on, measurements are modelled, too.
///
/// For the boot task of a machine with one CPU; no measurement is under way.
func attachMemoryModel() {
  let machine = AArch64()
  guard machine.cpuCount == 1, machine.countsInstructions else { return }
  page.pointee.magic = UInt64(MEMORY_MODEL_MAGIC)
  page.pointee.root = UInt64(machine.kernelRoot.rawValue)
  page.pointee.address_bits = UInt64(machine.virtualAddressBits)
  tell(MEMORY_MODEL_ATTACH)
  guard answer(&page.pointee.is_present) != 0 else { return }
  let state = ca_disable_interrupts()
  tell(MEMORY_MODEL_LEARN_READING)
  _ = retiredInstructions(machine)
  ca_restore_interrupts(state)
  memoryModel = MemoryModel(
    latest: { answer(&page.pointee.latest) },
    add: { first, second in
      tell(MEMORY_MODEL_ADD, first, second)
      return answer(&page.pointee.answer)
    },
    write: { tell(MEMORY_MODEL_WRITE, $0) })
}

/// Has the memory model count what `body` does, which is so many operations; not from emptied caches.
///
/// - Returns: their number in the model; 0 without one.
func modelRun(of operations: Int, _ body: () -> Void) -> Int {
  guard memoryModel != nil else {
    body()
    return 0
  }
  tell(MEMORY_MODEL_BEGIN)
  body()
  tell(MEMORY_MODEL_END, operations)
  return answer(&page.pointee.latest)
}
