// The part of a thread's record that the scheduler works with, and the memory of a scheduler.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct RecordTests {
  @Test(
    "A million threads are cheap: the scheduler's part of a record is small, and begins with the stack's base")
  func size() {
    #expect(MemoryLayout<ScheduledThread>.size <= 64)
    #expect(MemoryLayout<ScheduledThread>.offset(of: \.stackBase) == 0)
  }

  @Test(
    "What is live of a sleeping thread's stack begins at its stack pointer, or at its floor if that is lower")
  func lowestLiveAddress() {
    var thread = ScheduledThread(id: 1, stackBase: VirtualAddress(0x1000), stackPointer: VirtualAddress(0x4f00))
    #expect(thread.lowestLiveAddress == VirtualAddress(0x4f00))
    thread.floor = VirtualAddress(0x2f00)
    #expect(thread.lowestLiveAddress == VirtualAddress(0x2f00))
    thread.floor = ScheduledThread.noFloor
    #expect(thread.lowestLiveAddress == VirtualAddress(0x4f00))
  }
}
