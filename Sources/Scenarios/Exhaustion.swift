// The scenario `exhaustion`: every allocation on fork's path is refused in turn, and nothing may have changed.
//
// For n = 1, 2, …: the n-th allocation is refused, and in a second pass the n-th and all after it. The state before and
// after is compared until fork succeeds without a refusal. Then the same for the page that the child copies first, and
// at last the child is ended and the state must be that of the beginning.

import KernelStacks
import UserPrograms

func runExhaustion<Host: ScenarioHost>(
  _ options: ScenarioOptions, in processes: borrowing Processes<Host.M>, host: Host
) -> Bool {
  processes.reclaim()
  let freeAtStart = processes.stacks.frames.freeFrames
  let parent: TaskPointer
  do {
    parent = try processes.createFirst(host.programImage)
  } catch {
    writeError(error, to: host.console)
    return false
  }
  var run = ExhaustionRun(stackTop: host.programImage.stackTop)
  processes.refuseEachAllocation(&run, of: parent, andAllAfter: false)
  let steps = run.steps
  processes.refuseEachAllocation(&run, of: parent, andAllAfter: true)

  processes.destroyAll()
  processes.reclaim()
  let leaked = freeAtStart - processes.stacks.frames.freeFrames

  var checks = ScenarioChecks(host.console)
  checks.check("allocations were refused", steps > 0)
  checks.check("every refused fork left the state as it was", run.difference == nil)
  checks.check("every refused fork said why", run.unexplained == 0)
  checks.check("every refused copy of a page left the state as it was", run.copyDifference == nil)
  checks.check("the fork that was not refused succeeded", run.succeeded == 2)
  checks.check("ending the child brought the first state back", run.finalDifference == nil)
  checks.check("no frame was lost", leaked == 0)

  var json = JSONWriter(host.console)
  json.beginResult(options, machine: host.machineName, in: processes)
  json.field("allocationsRefused", steps)
  if let different = run.difference ?? run.copyDifference ?? run.finalDifference {
    json.field("changed", different.name)
  } else {
    json.nullField("changed")
  }
  json.field("leakedFrames", leaked)
  json.end()
  return checks.allHeld
}

/// What the passes of the scenario found.
struct ExhaustionRun {
  var stackTop: VirtualAddress
  /// How many allocations the last pass refused before fork succeeded.
  var steps = 0
  /// How many passes came to a fork that succeeded.
  var succeeded = 0
  /// Failures whose error was not the refusal.
  var unexplained = 0
  var difference: StateAspect?
  var copyDifference: StateAspect?
  var finalDifference: StateAspect?

  init(stackTop: VirtualAddress) { self.stackTop = stackTop }
}

extension Processes {
  /// One pass: refuses the first allocation of a fork, then the second, and so on until the fork succeeds.
  borrowing func refuseEachAllocation(
    _ run: inout ExhaustionRun, of parent: TaskPointer, andAllAfter: Bool
  ) {
    run.steps = 0
    reclaim()
    let before = snapshot()
    var child: TaskPointer?
    // A fork takes some 20 frames; the bound keeps a fork that never succeeds from going on for ever.
    while child == nil && run.steps < 1000 {
      stacks.frames.refuse(allocation: run.steps + 1, andAllAfter: andAllAfter)
      do {
        child = try fork(parent, userStackPointer: run.stackTop, reclaims: andAllAfter)
        stacks.frames.allowAll()
      } catch {
        stacks.frames.allowAll()
        run.steps += 1
        if error.refusal == nil { run.unexplained += 1 }
        reclaim()
        if run.difference == nil { run.difference = snapshot().firstDifference(from: before) }
      }
    }
    guard let child else { return }
    run.succeeded += 1
    refuseCopy(&run, for: child)
    exit(child, status: 0)
    hasStopped(child)
    _ = reap(childOf: parent)
    reclaim()
    // The parent's pages are its own again, but still read-only until it writes: make them writable first.
    loosenPages(of: parent)
    if run.finalDifference == nil { run.finalDifference = snapshot().firstDifference(from: before) }
  }

  /// Refuses the frame for the child's copy of each shared page, then lets it have it.
  private borrowing func refuseCopy(_ run: inout ExhaustionRun, for child: TaskPointer) {
    tables(of: child).visitLeaves(in: userAddresses) { leaf in
      guard leaf.entry.isCopyOnWrite else { return }
      let before = snapshot()
      stacks.frames.refuse(allocation: 1, andAllAfter: true)
      let refused = handleUserFault(child, address: leaf.address, access: .write)
      stacks.frames.allowAll()
      if case .outOfMemory(.refused) = refused {} else { run.unexplained += 1 }
      if run.copyDifference == nil { run.copyDifference = snapshot().firstDifference(from: before) }
      if handleUserFault(child, address: leaf.address, access: .write) != .resolved { run.unexplained += 1 }
    }
  }

  /// Does what the process's own stores would do to pages that it shares with nobody any more.
  private borrowing func loosenPages(of task: TaskPointer) {
    tables(of: task).visitLeaves(in: userAddresses) { leaf in
      if leaf.entry.isCopyOnWrite { _ = handleUserFault(task, address: leaf.address, access: .write) }
    }
  }
}
