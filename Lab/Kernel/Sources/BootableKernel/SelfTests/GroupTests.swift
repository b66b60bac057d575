// A self-test of stack groups: refusals that name the group and its figures, and limits that change.
import AArch64Machine
import KernelProcesses
import KernelStacks
import Scenarios

nonisolated(unsafe) private var bases = InlineArray<64, VirtualAddress>(repeating: VirtualAddress(0))

// Allocates stacks for the group until one is refused, and writes the refusal as a line.
private func fill(
  _ group: StackGroupID, _ count: Int, _ stacks: borrowing Stacks
) -> (count: Int, refusal: StackGroupRefusal?) {
  var count = count
  while count < bases.count {
    do throws(ThreadStackError) {
      bases[count] = try stacks.allocate(node: nil, chargedTo: group).detach()
      count += 1
    } catch {
      guard case .groupLimit(let refusal) = error else { fail("a stack of a group", error) }
      writeLine(error)
      return (count, refusal)
    }
  }
  return (count, nil)
}

private func writeLine(_ error: ThreadStackError) {
  var console = Console()
  console.beginLine()
  error.write(to: &console)
  console.write("\n")
  console.endLine()
}

/// Makes a stack group, fills it to its limit, raises the limit, fills it again, and removes it.
func testGroups() -> Bool {
  do throws(ThreadStackError) {
    return try useGroups(KernelObjects.stacks.pointee)
  } catch {
    fail("groups", error)
  }
}

private func useGroups(_ stacks: borrowing Stacks) throws(ThreadStackError) -> Bool {
  let perStack = stacks.configuration.strategy == .growing ? 1 : stacks.geometry.pageCount
  // Another group, so that the refused one is not number 0.
  let other = try stacks.makeGroup(limitFrames: 0)
  let group = try stacks.makeGroup(limitFrames: 10 * perStack)
  let first = fill(group, 0, stacks)
  var passed = check(
    "a group gets what its limit holds, then a refusal with its figures",
    first.count == 10
      && first.refusal
        == StackGroupRefusal(
          group: group, requestedFrames: perStack, chargedFrames: 10 * perStack, limitFrames: 10 * perStack)
  )
  let outside = try stacks.allocate(node: nil)
  passed = check("who is in no group gets a stack all the same", stacks.group(of: outside) == nil) && passed
  stacks.free(outside)
  try stacks.setLimit(of: group, toFrames: 12 * perStack)
  let second = fill(group, first.count, stacks)
  passed = check("a higher limit gives room for more", second.count == 12) && passed
  var isInUse = false
  do throws(ThreadStackError) {
    try stacks.removeGroup(group)
  } catch {
    isInUse = error == .groupInUse(group, chargedFrames: 12 * perStack)
    writeLine(error)
  }
  passed = check("a group that has stacks is not removed", isInUse) && passed
  for index in 0..<second.count { stacks.free(try stacks.stack(at: bases[index])) }
  let figures = try stacks.figures(of: group)
  passed =
    check(
      "all charges come back",
      figures == StackGroupFigures(chargedFrames: 0, limitFrames: 12 * perStack, refusals: 2)) && passed
  try stacks.removeGroup(group)
  try stacks.removeGroup(other)
  return passed
}
