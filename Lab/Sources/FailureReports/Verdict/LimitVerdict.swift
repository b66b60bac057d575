// Verdicts on limits.

/// Completes the verdict on a limit.
enum LimitVerdict {
  static func complete(_ failure: inout Failure, _ limit: Limit) {
    failure.helps = [.raiseLimit]
    failure.helpsNot = [.moreMemory, .reclaim, .singlePageStacks, .growingStacks]
    failure.sentence = sentence(failure, limit)
    failure.actor = actor(limit)
    failure.evidence.append(
      Evidence(line: limit.line, text: limit.count > 1 ? "\(words(limit)), \(limit.count) times" : words(limit))
    )
  }

  private static func sentence(_ failure: Failure, _ limit: Limit) -> String {
    let group = limit.group.map { " of \($0)" } ?? ""
    switch limit.kind {
    case .pids:
      return
        "A process could not be started because the control group\(group) already has as many processes and threads as its limit (pids.max) allows: memory has nothing to do with it."
    case .memoryGroup:
      let who = failure.process.map { "\($0) got no memory" } ?? "A program was killed"
      return
        "\(who) because the control group\(group) has reached its own memory limit (memory.max): the machine may have plenty free."
    case .threads:
      return
        "A process could not be started because a limit on the number of processes or threads was reached (ulimit -u, kernel.threads-max, kernel.pid_max or pids.max), not for want of memory."
    case .overcommit:
      return
        "A request was refused because the machine counts promised memory strictly (vm.overcommit_memory=2) and has promised all of it."
    case .nodes:
      return "A request was refused because the memory nodes that it may use were full."
    }
  }

  private static func words(_ limit: Limit) -> String {
    switch limit.kind {
    case .pids: "the pids controller refused a fork"
    case .memoryGroup: "the memory limit of a control group was hit"
    case .threads: "\"Resource temporarily unavailable\": a limit on threads"
    case .overcommit: "refused by strict overcommit"
    case .nodes: "bound to some nodes"
    }
  }

  private static func actor(_ limit: Limit) -> String {
    switch limit.kind {
    case .pids:
      "the container or service: pids.max of its control group (TasksMax in systemd, --pids-limit in Docker)"
    case .memoryGroup: "the container or service: memory.max of its control group, or the program's own need"
    case .threads:
      "the account or the machine's settings: ulimit -u, kernel.threads-max, kernel.pid_max, pids.max"
    case .overcommit: "the machine's settings: vm.overcommit_memory, vm.overcommit_ratio, or more swap"
    case .nodes: "the cpuset or memory policy that binds it"
    }
  }
}
