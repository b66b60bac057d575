// Whether a request was for a thread's stack.

/// Decides by the trace, then by the order and the mode; never by a size alone.
enum StackQuestion {
  /// Functions that ask for a stack, or call what does.
  private static let stackMakers: Set<String> = [
    "alloc_thread_stack_node", "alloc_thread_stack_node_from_cache", "alloc_thread_info",
    "alloc_thread_info_node",
    "alloc_thread_stack",
  ]
  private static let forks: Set<String> = [
    "dup_task_struct", "copy_process", "do_fork", "_do_fork", "__do_fork", "kernel_clone", "fork_idle",
  ]
  /// Functions between a fork and its stack that take pages for any caller.
  private static let carriers: [String] = [
    "__alloc_pages", "alloc_pages", "alloc_kmem_pages", "__get_free_page", "get_free_page", "__vmalloc",
    "vmalloc",
    "alloc_vmap_area", "__get_vm_area", "get_vm_area", "vm_area_alloc_pages", "__alloc_frozen_pages",
    "warn_alloc",
    "dump_", "show_", "out_of_memory", "oom_kill", "unwind_backtrace", "_alloc_pages", "__rmqueue",
    "get_page_from",
    "try_charge", "memcg_charge", "mem_cgroup", "__memcg", "obj_cgroup", "folio_alloc", "__folio_alloc",
    "___alloc",
    "new_vmap_block", "alloc_page_interleave", "panic", "check_panic", "__die", "kasan", "__warn",
    "bulk_alloc", "charge_memcg", "print_", "nmi_", "arch_", "walk_stack", "backtrace",
    "alloc_buddy", "throttle_direct_reclaim", "__perform_reclaim", "try_to_free_pages", "cpuset_",
  ]
  /// Functions of the slab allocator, which has made stacks smaller than a page.
  private static let slabFunctions = [
    "kmem_cache", "__kmem_cache", "___slab", "__slab", "slab_", "new_slab", "allocate_slab", "cache_alloc",
    "____cache_alloc",
    "cache_grow", "fallback_alloc", "kmalloc", "__kmalloc", "__do_kmalloc",
  ]
  /// Functions at the outer end of a trace, which call others and ask for nothing: what called them in between is missing.
  private static let entrances: [String] = [
    "SyS_", "SYSC_", "sys_", "__do_sys_", "__se_sys_", "__arm64_sys_", "__x64_sys_", "__ia32_sys_", "ksys_",
    "do_syscall",
    "invoke_syscall", "el0_", "el0t_", "entry_SYSCALL", "ret_from", "ret_fast", "system_call", "kernel_thread",
    "kthreadd",
    "create_kthread", "do_el0_svc", "syscall_", "x64_sys_call",
  ]

  /// Whether a function takes pages, or reports about that, for any caller.
  private static func isCarrier(_ name: String) -> Bool {
    // Pages of programs are charged in other ways than those of the kernel.
    !["mem_cgroup_try_charge", "mem_cgroup_charge", "__mem_cgroup_charge"].contains(name)
      && carriers.contains { name.hasPrefix($0) }
  }

  /// Whether something else follows a group's failure than the charge that led to it.
  private static func isChargeTorn(_ entries: [Trace.Entry]) -> Bool {
    guard let failure = entries.firstIndex(where: { $0.name == "mem_cgroup_out_of_memory" }),
      failure + 1 < entries.count
    else { return false }
    return !["charge", "cgroup", "pagefault"].contains { entries[failure + 1].name.contains($0) }
  }

  /// The answer, and the fact that it rests on.
  static func answer(_ report: AllocationReport) -> (ThreadStackAnswer, Evidence?) {
    if !report.overflows.isEmpty { return (.yes, nil) }
    guard let request = report.request else {
      return report.slab.map { slabAnswer($0, report) } ?? (.unknown, nil)
    }
    switch request.kind {
    case .processMemory:
      return (.no, Evidence(line: request.line, text: "the memory was for a program, not for a stack"))
    case .fork: return (.unknown, nil)
    default: break
    }
    if let answer = byTrace(report.trace) { return answer }
    if let slab = report.slab { return slabAnswer(slab, report) }
    return byMode(request, report)
  }

  /// What the trace says, or `nil` if it has none of the functions that decide.
  static func byTrace(_ trace: Trace) -> (ThreadStackAnswer, Evidence)? {
    let entries = trace.entries
    if entries.isEmpty { return byDoubtfulTrace(trace) }
    if isChargeTorn(entries) { return nil }
    if let index = entries.firstIndex(where: { stackMakers.contains($0.name) }) {
      let maker = entries[index]
      // What stands above it are allocators and reports; anything else has asked for memory of its own.
      let isAsking = entries[..<index].allSatisfy { entry in
        isCarrier(entry.name) || slabFunctions.contains { entry.name.hasPrefix($0) }
      }
      if !isAsking { return nil }
      return (
        .yes,
        Evidence(line: maker.line, text: "\(maker.name) in the trace: the memory was for a thread's stack")
      )
    }
    // What stands above the page allocator are its own reports; what stands below asked for the pages. Where it was called
    // while it reclaimed memory for another, the inner call has failed.
    let allocator = entries.firstIndex {
      $0.name.hasPrefix("__alloc_pages") || $0.name.hasPrefix("__alloc_frozen_pages")
        || $0.name.hasPrefix("__vmalloc_node") || $0.name.hasPrefix("mem_cgroup_out_of_memory")
    }
    let callers = entries[(allocator ?? -1) + 1..<entries.count]
    for entry in callers {
      if forks.contains(entry.name) {
        return (
          .yes,
          Evidence(
            line: entry.line,
            text: "\(entry.name) in the trace, and nothing between it and the page allocator: a thread's stack")
        )
      }
      if entrances.contains(where: { entry.name.hasPrefix($0) }) { return nil }
      if !isCarrier(entry.name) {
        if trace.isDamaged { return nil }
        return (
          .no, Evidence(line: entry.line, text: "\(entry.name) asked for the memory: not a thread's stack")
        )
      }
    }
    return nil
  }

  /// What a trace says of which no function is sure: a fork right below the page allocator is one.
  private static func byDoubtfulTrace(_ trace: Trace) -> (ThreadStackAnswer, Evidence)? {
    guard !trace.isDamaged,
      let allocator = trace.doubtful.firstIndex(where: { $0.name.hasPrefix("__alloc_pages") })
    else { return nil }
    let asking = trace.doubtful[(allocator + 1)...].first { entry in
      !isCarrier(entry.name)
    }
    guard let asking, forks.contains(asking.name) || stackMakers.contains(asking.name) else { return nil }
    return (
      .yes,
      Evidence(
        line: asking.line, text: "\(asking.name) in the trace, right below the page allocator: a thread's stack"
      )
    )
  }

  private static func slabAnswer(_ slab: Request, _ report: AllocationReport) -> (ThreadStackAnswer, Evidence?)
  {
    if slab.cache == "thread_stack" || slab.cache == "thread_info" {
      return (.yes, Evidence(line: slab.line, text: "the slab cache \(slab.cache ?? "") holds threads' stacks"))
    }
    return (
      .no,
      Evidence(
        line: slab.line, text: "the memory was for the slab cache \(slab.cache ?? "of another kind of object")")
    )
  }

  /// What order and mode say, where there is no trace.
  private static func byMode(_ request: Request, _ report: AllocationReport) -> (ThreadStackAnswer, Evidence?) {
    if request.process == "kthreadd", request.order != nil, request.kind != .addressRange,
      report.trace.entries.isEmpty,
      request.order?.value ?? 0 > 0
    {
      return (.yes, Evidence(line: request.line, text: "kthreadd does nothing but make threads"))
    }
    guard let mode = request.mode else { return (.unknown, nil) }
    func because(_ text: String) -> Evidence { Evidence(line: mode.line, text: text) }
    if mode.isMovable {
      return (.no, because("\(mode.description): memory of a program, not a thread's stack"))
    }
    if mode.mayWait == false {
      return (.no, because("\(mode.description): a request that may not wait; a fork may"))
    }
    if mode.mayEnterFileSystems == false {
      return (
        .no,
        because("\(mode.description): a request from inside a file system or driver; a fork's may enter them")
      )
    }
    if mode.isCompound {
      return (.no, because("\(mode.description): a request of kmalloc or a slab, not a thread's stack"))
    }
    guard let order = request.order else { return (.unknown, nil) }
    if order.value >= 5, report.pageBytes ?? 4096 <= 4096 {
      return (.no, because("order \(order.value): no thread's stack is as large"))
    }
    guard order.value > 0 else { return (.unknown, nil) }
    if mode.isUntracked, order.value <= 3 {
      return (
        .yes,
        because(
          "\(mode.description), order \(order.value): how kernels before 4.14 ask for a stack, and nothing else does"
        )
      )
    }
    if mode.isAccountedAndZeroed, order.value == 2, report.pageBytes ?? 4096 == 4096,
      report.trace.has32BitAddresses != true
    {
      return (.yes, because("\(mode.description), order 2: how kernels since 4.14 ask for a stack of 16 KiB"))
    }
    return (.unknown, nil)
  }
}
