// The C files for Linux compile, as far as can be checked without a kernel tree.

import Foundation
import Testing

@Suite struct GlueTests {
  static let headers = [
    "linux/atomic.h", "linux/errno.h", "linux/gfp.h", "linux/init.h", "linux/kernel.h", "linux/llist.h",
    "linux/memcontrol.h", "linux/mm.h", "linux/mmzone.h",
    "linux/sched.h", "linux/sched/task.h", "linux/shrinker.h", "linux/slab.h", "linux/smp.h", "linux/string.h",
    "linux/task_work.h", "linux/thread_info.h", "linux/topology.h",
    "linux/types.h", "linux/version.h", "linux/vmalloc.h", "linux/vmstat.h", "linux/workqueue.h",
    "asm/tlbflush.h",
    "linux/mutex.h", "linux/numa.h", "linux/percpu.h", "linux/rcupdate.h", "linux/rwsem.h",
    "linux/err.h", "linux/irq_work.h", "linux/kthread.h", "linux/list.h", "linux/minmax.h",
    "linux/nodemask.h", "linux/sched/debug.h", "linux/sched/signal.h", "linux/sched/task_stack.h",
    "linux/spinlock.h", "linux/swait.h", "linux/wait.h", "asm/barrier.h", "asm/lse.h", "asm/pgtable-hwdef.h",
    "asm/stack_pointer.h", "linux/jump_label.h",
  ]
  static let flags = [
    "-target", "aarch64-linux-gnu", "-std=gnu11", "-ffreestanding", "-nostdinc", "-fsyntax-only",
    "-D__KERNEL__",
    "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare", "-Wmissing-prototypes", "-Werror",
  ]

  static let glue = Folder.root.appendingPathComponent("Linux/kernelstacks").path
  static let versions = ["KERNEL_VERSION(6, 1, 192)", "KERNEL_VERSION(6, 12, 0)"]

  @Test(
    arguments: [
      [], ["MEMCG"], ["SWIFT_KERNEL_STACKS_GROWING"], ["SWIFT_KERNEL_STACKS_GROWING", "MEMCG"],
    ], versions)
  func `The glue compiles against stub headers, with memory cgroups and growing stacks and without`(
    options: [String], version: String
  ) throws {
    let folder = try Folder()
    defer { folder.remove() }
    for header in Self.headers { try folder.write("#include <everything.h>\n", to: header) }
    let stubs = Folder.root.appendingPathComponent("Fixtures/LinuxHeaders").path
    for file in ["arena.c", "freed.c", "glue.c", "services.c"] {
      _ = try folder.run(
        "clang",
        Self.flags + options.map { "-DCONFIG_\($0)" } + ["-DLINUX_VERSION_CODE=\(version)"]
          + ["-I", folder.path, "-I", stubs]
          + ["\(Self.glue)/\(file)"])
    }
  }

  @Test
  func `However many stacks are freed twice before the worker runs, every CPU is asked for each of them`()
    throws
  {
    let lines = try output(of: "suspects")
    #expect(lines == ["workers 1, suspects 6, asked 12", "foreign 0", "again 2", "twice at once 2"])
  }

  /// What a fixture prints that includes a file of the glue, compiled against the stub headers for this host.
  func output(of fixture: String) throws -> [String] {
    let folder = try Folder()
    defer { folder.remove() }
    for header in Self.headers { try folder.write("#include <everything.h>\n", to: header) }
    let fixtures = Folder.root.appendingPathComponent("Fixtures")
    let program = folder.file(fixture).path
    _ = try folder.run(
      "clang",
      [
        "-std=gnu11", "-ffreestanding", "-nostdinc", "-D__KERNEL__", "-Wall", "-Wno-unused-function", "-Werror",
        "-I", folder.path,
        "-I", fixtures.appendingPathComponent("LinuxHeaders").path, "-I", Self.glue,
        fixtures.appendingPathComponent("LinuxGlue/\(fixture).c").path, "-o", program,
      ])
    return try folder.run(program, []).split(separator: "\n").map { String($0) }
  }

  @Test
  func `Threads at rest give back what lies below their park margin, the lowest first; no others do`() throws {
    let nothing = "0, missing 0, present f, charged 0, invalidated 0, freed 0, accounts 0"
    let all = "3, missing 3, present 8, charged 0, invalidated 3, freed 3, accounts 3"
    let others = [
      "on a CPU", "ending", "of the kernel", "with lent pages", "short", "waiting", "being charged",
      "looked at", "whole", "while stacks are read",
    ]
    #expect(
      try output(of: "giving") == [
        "at the top: \(all)",
        "2,100 bytes deep: 2, missing 2, present c, charged 0, invalidated 2, freed 2, accounts 2",
        "12,000 bytes deep: \(nothing)",
        "two wanted, one charged: 2, missing 2, present c, charged 4, invalidated 2, freed 2, accounts 101",
        "the rest of them: 1, missing 3, present 8, charged 0, invalidated 3, freed 3, accounts 201",
        "no grace period: \(nothing)",
        "has run meanwhile: \(nothing)",
        "at rest again: \(all)",
        "again: 0\(all.dropFirst())",
      ] + others.map { "\($0): \(nothing)" } + ["invalidated when it could run: 0, given back: 11"])
  }

  @Test
  func `Pages that a thread has touched are charged once, also those that it touches meanwhile or at its end`()
    throws
  {
    #expect(
      try output(of: "keeping") == [
        "one page: missing 2, node 4 KiB, group 0 KiB, 0 charged, due 1, kept 1, ended 0",
        "charged: missing 2, node 0 KiB, group 4 KiB, 1 charged, due 0, kept 1, ended 0",
        "deeper, charged: missing 0, node 0 KiB, group 12 KiB, 3 charged, due 0, kept 3, ended 0",
        "ended: missing 0, node 0 KiB, group 0 KiB, 0 charged, due 0, kept 3, ended 3",
        "charging 1, then 0",
        "deeper while it was charged: missing 1, node 0 KiB, group 8 KiB, 2 charged, due 0, kept 5, ended 3",
        "one page on a fault: missing 2, node 0 KiB, group 0 KiB, 0 charged, due 0, kept 5, ended 5",
        "switched out: missing 2, node 4 KiB, group 0 KiB, 0 charged, due 1, kept 6, ended 5",
        "charged: missing 2, node 0 KiB, group 4 KiB, 1 charged, due 0, kept 6, ended 5",
        "deeper, charged: missing 0, node 0 KiB, group 12 KiB, 3 charged, due 0, kept 8, ended 5",
        "ended: missing 0, node 0 KiB, group 0 KiB, 0 charged, due 0, kept 8, ended 8",
        "no charge is taken any more: missing 1, node 8 KiB, group 0 KiB, 0 charged, due 0, kept 10, ended 8",
        "ended: missing 1, node 0 KiB, group 0 KiB, 0 charged, due 0, kept 10, ended 10",
        "warnings: 0",
      ])
  }

  @Test
  func `No wakeup is lost, no special state, no place in the queue, and none overtakes who waits for frames`()
    throws
  {
    let end = "has frames 1, waiting 0, woken 0"
    #expect(
      try output(of: "waiting") == [
        "running: sleeps 1, lost wakeups 0, looks again 0, then in state 0, \(end)",
        "asleep: sleeps 1, lost wakeups 0, looks again 0, then in state 0, \(end)",
        "stopped: sleeps 0, lost wakeups 0, looks again 1, then in state 4, \(end)",
        "traced: sleeps 0, lost wakeups 0, looks again 1, then in state 8, \(end)",
        "parked: sleeps 0, lost wakeups 0, looks again 1, then in state 40, \(end)",
        "dead: sleeps 0, lost wakeups 0, looks again 1, then in state 80, \(end)",
        "reader: sleeps 0, lost wakeups 0, looks again 1, then in state 0, \(end)",
        "misplaced in the queue: 0",
        "none wait: has frames 1, 3 taken",
        "others wait: has frames 0, 0 taken",
        "others wait, but it is its turn: has frames 1, 2 taken",
      ])
  }

  @Test(arguments: [
    (
      versions[0],
      """
      unsigned long *stack(struct task_struct *task) { return arch_alloc_thread_stack_node(task, -1); }
      void free_stack(struct task_struct *task) { arch_free_thread_stack(task); }
      """
    ),
    (
      versions[1],
      """
      int stack(struct task_struct *task) { return alloc_thread_stack_node(task, -1); }
      void free_stack(struct task_struct *task) { free_thread_stack(task); }
      """
    ),
  ])
  func `The header forced upon fork.c has what fork.c calls, and is nothing when the option is off`(
    version: String, calls: String
  ) throws {
    let folder = try Folder()
    defer { folder.remove() }
    for header in Self.headers { try folder.write("#include <everything.h>\n", to: header) }
    try folder.write("\(calls)\nint (*offline)(unsigned int) = free_vm_stack_cache;\n", to: "on.c")
    try folder.write(
      """
      static int free_vm_stack_cache(unsigned int cpu) { return cpu != 0; }
      int (*offline)(unsigned int) = free_vm_stack_cache;
      """, to: "off.c")
    let flags = Self.flags + ["-Wno-missing-prototypes", "-include", "\(Self.glue)/fork.h"]
    let stubs = ["-I", folder.path, "-I", Folder.root.appendingPathComponent("Fixtures/LinuxHeaders").path]
    let on = ["-DCONFIG_SWIFT_KERNEL_STACKS", "-DLINUX_VERSION_CODE=\(version)"]
    _ = try folder.run("clang", flags + stubs + on + [folder.file("on.c").path])
    _ = try folder.run("clang", flags + [folder.file("off.c").path])
  }

  @Test func `The header forced upon the scheduler is nothing where stacks do not grow`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try folder.write("int nothing;\n", to: "whole.c")
    let flags = ["-E", "-P", "-DCONFIG_SWIFT_KERNEL_STACKS", "-include", "\(Self.glue)/sched.h"]
    let output = try folder.run("clang", flags + [folder.file("whole.c").path])
    #expect(output == "int nothing;\n")
  }
}
