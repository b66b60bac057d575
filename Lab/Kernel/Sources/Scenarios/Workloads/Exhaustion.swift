// The scenario `exhaustion`: every allocation on fork's path is refused in turn, and nothing may have changed.
//
// For n = 1, 2, …: the n-th allocation is refused, and in a second pass the n-th and all after it. The state before and
// after is compared until fork succeeds without a refusal. Then the same for each page that the child copies when it
// writes, and at last the child is ended and the state must be that of the beginning.
//
// Not every fork allocates the same: now and then one needs a frame for task records or a table for stacks too. So
// children are forked, and stay, until each kind of fork that comes up has had its passes.

import KernelProcesses
import KernelStacks
import UserPrograms

func runExhaustion<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.Parts>, host: Host
) -> Bool {
  // Free blocks are compared, and only fork may change them.
  processes.frameAllocator.pauseClearing()
  defer { processes.frameAllocator.resumeClearing() }
  processes.settle()
  let freeAtStart = processes.frames.freeFrames
  let parent: TaskPointer
  do {
    parent = try processes.createFirst(host.programImage)
  } catch {
    writeError(error, to: host.console)
    return false
  }
  var run = ExhaustionRun(stackTop: host.programImage.stackTop)
  processes.refuseOnEveryPath(&run, of: parent)

  processes.destroyAll()
  processes.settle()
  let leaked = freeAtStart - processes.frames.freeFrames

  var checks = ScenarioChecks(host.console)
  checks.check("allocations were refused", run.steps > 0)
  checks.check("every refused fork left the state as it was", run.difference == nil)
  checks.check("every refused fork said why", run.unexplained == 0)
  checks.check("every refused copy of a page left the state as it was", run.copyDifference == nil)
  checks.check("every fork that was not refused succeeded", run.passes > 0 && run.succeeded == run.passes)
  checks.check("ending each child brought the first state back", run.finalDifference == nil)
  checks.check("no frame was lost", leaked == 0)

  var json = JSONWriter(host.console)
  json.beginResult(options, host, in: processes)
  json.field("kindsOfFork", run.kinds)
  json.field("allocationsRefused", run.steps)
  if let different = run.difference ?? run.copyDifference ?? run.finalDifference {
    json.field("changed", different.name)
  } else {
    json.nullField("changed")
  }
  json.frameBalance(before: freeAtStart, leaked: leaked)
  json.end()
  return checks.allHeld
}

/// What the passes of the scenario found.
struct ExhaustionRun {
  var stackTop: VirtualAddress
  /// How many forks were refused.
  var steps = 0
  /// How many sequences of allocations a fork was found to need.
  var kinds = 0
  /// How many passes there were.
  var passes = 0
  /// How many passes came to a fork that succeeded.
  var succeeded = 0
  /// Failures whose error was not the refusal.
  var unexplained = 0
  var difference: StateAspect?
  var copyDifference: StateAspect?
  var finalDifference: StateAspect?

  init(stackTop: VirtualAddress) { self.stackTop = stackTop }
}

extension Processes where Parts: ScenarioParts {
  /// Forks children that stay, and makes the passes for each kind of fork that has not had them.
  borrowing func refuseOnEveryPath(_ run: inout ExhaustionRun, of parent: TaskPointer) {
    // The kinds of fork that had their passes.
    var known = InlineArray<8, UInt64>(repeating: 0)
    // A table for stacks serves 2 MiB of slots: at most 128 of them, since a slot has at least 16 KiB.
    for _ in 0..<130 {
      // Exact counts, and room for the passes: each of them has one child at a time.
      reclaim()
      _ = frameWatch.pointee.takePath()
      guard let child = try? fork(parent, userStackPointer: run.stackTop, reclaims: false) else { return }
      let kind = frameWatch.pointee.takePath()
      var isKnown = false
      for index in 0..<run.kinds where known[index] == kind { isKnown = true }
      if isKnown || run.kinds == known.count { continue }
      known[run.kinds] = kind
      run.kinds += 1
      // The same fork comes up again once its child is gone.
      end(child, of: parent)
      refuseEachAllocation(&run, of: parent, andAllAfter: false)
      refuseEachAllocation(&run, of: parent, andAllAfter: true)
    }
  }

  /// Ends and reaps a child that has never run, and gives back all that this sets free.
  private borrowing func end(_ child: TaskPointer, of parent: TaskPointer) {
    exit(child, status: 0)
    hasStopped(child)
    _ = reap(childOf: parent)
    reclaim()
  }

  /// One pass: refuses the first allocation of a fork, then the second, and so on until the fork succeeds.
  borrowing func refuseEachAllocation(
    _ run: inout ExhaustionRun, of parent: TaskPointer, andAllAfter: Bool
  ) {
    run.passes += 1
    ownPages(of: parent)
    let before = snapshot()
    var number = 1
    // A fork takes some 20 frames; the bound keeps a fork that never succeeds from going on for ever.
    while number < 1000 {
      frameWatch.pointee.refuse(allocation: number, andAllAfter: andAllAfter)
      let child: TaskPointer
      do {
        child = try fork(parent, userStackPointer: run.stackTop, reclaims: andAllAfter)
        frameWatch.pointee.allowAll()
      } catch {
        frameWatch.pointee.allowAll()
        number += 1
        run.steps += 1
        if error.refusal == nil { run.unexplained += 1 }
        reclaim()
        if run.difference == nil { run.difference = snapshot().firstDifference(from: before) }
        continue
      }
      run.succeeded += 1
      refuseCopies(&run, for: child)
      end(child, of: parent)
      ownPages(of: parent)
      if run.finalDifference == nil { run.finalDifference = snapshot().firstDifference(from: before) }
      return
    }
  }

  /// Refuses the frame for the child's copy of each shared page, then lets it have it.
  private borrowing func refuseCopies(_ run: inout ExhaustionRun, for child: TaskPointer) {
    tables(of: child).visitLeaves(in: userAddresses) { leaf in
      guard leaf.entry.isCopyOnWrite else { return }
      let before = snapshot()
      frameWatch.pointee.refuse(allocation: 1, andAllAfter: true)
      let refused = handleUserFault(child, address: leaf.address, access: .write)
      frameWatch.pointee.allowAll()
      if case .outOfMemory(.refused) = refused {} else { run.unexplained += 1 }
      if run.copyDifference == nil { run.copyDifference = snapshot().firstDifference(from: before) }
      if handleUserFault(child, address: leaf.address, access: .write) != .resolved { run.unexplained += 1 }
    }
  }

  /// Does what the process's own stores would do to pages that are copy-on-write, until all are its own.
  private borrowing func ownPages(of task: TaskPointer) {
    tables(of: task).visitLeaves(in: userAddresses) { leaf in
      if leaf.entry.isCopyOnWrite { _ = handleUserFault(task, address: leaf.address, access: .write) }
    }
  }
}
