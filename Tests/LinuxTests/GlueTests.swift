// The C files for Linux compile, as far as can be checked without a kernel tree.

import Foundation
import Testing

@Suite struct GlueTests {
  static let headers = [
    "linux/atomic.h", "linux/gfp.h", "linux/init.h", "linux/kernel.h", "linux/llist.h",
    "linux/memcontrol.h", "linux/mm.h",
    "linux/sched.h", "linux/sched/task.h", "linux/shrinker.h", "linux/slab.h", "linux/smp.h", "linux/string.h",
    "linux/task_work.h", "linux/thread_info.h", "linux/topology.h",
    "linux/types.h", "linux/vmalloc.h", "linux/vmstat.h", "linux/workqueue.h", "asm/tlbflush.h",
  ]
  static let flags = [
    "-target", "aarch64-linux-gnu", "-std=gnu11", "-ffreestanding", "-nostdinc", "-fsyntax-only",
    "-D__KERNEL__",
    "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare", "-Wmissing-prototypes", "-Werror",
  ]

  static let glue = Folder.root.appendingPathComponent("Linux/kernelstacks").path

  @Test(arguments: [
    [], ["MEMCG_KMEM"], ["SWIFT_KERNEL_STACKS_GROWING"], ["SWIFT_KERNEL_STACKS_GROWING", "MEMCG_KMEM"],
  ])
  func `The glue compiles against stub headers, with memory cgroups and growing stacks and without`(
    options: [String]
  ) throws {
    let folder = try Folder()
    defer { folder.remove() }
    for header in Self.headers { try folder.write("#include <everything.h>\n", to: header) }
    let stubs = Folder.root.appendingPathComponent("Fixtures/LinuxHeaders").path
    for file in ["glue.c", "freed.c"] {
      _ = try folder.run(
        "clang",
        Self.flags + options.map { "-DCONFIG_\($0)" } + ["-I", folder.path, "-I", stubs]
          + ["\(Self.glue)/\(file)"])
    }
  }

  @Test
  func `However many stacks are freed twice before the worker runs, every CPU is asked for each of them`()
    throws
  {
    let folder = try Folder()
    defer { folder.remove() }
    for header in Self.headers { try folder.write("#include <everything.h>\n", to: header) }
    let fixtures = Folder.root.appendingPathComponent("Fixtures")
    let program = folder.file("suspects").path
    _ = try folder.run(
      "clang",
      [
        "-std=gnu11", "-ffreestanding", "-nostdinc", "-D__KERNEL__", "-Wall", "-Wno-unused-function", "-Werror",
        "-I", folder.path,
        "-I", fixtures.appendingPathComponent("LinuxHeaders").path, "-I", Self.glue,
        fixtures.appendingPathComponent("LinuxGlue/suspects.c").path, "-o", program,
      ])
    let lines = try folder.run(program, []).split(separator: "\n")
    #expect(lines == ["workers 1, suspects 6, asked 12", "foreign 0", "again 2", "twice at once 2"])
  }

  @Test
  func `The header forced upon fork.c declares what fork.c calls, and is nothing when the option is off`()
    throws
  {
    let folder = try Folder()
    defer { folder.remove() }
    try folder.write(
      """
      unsigned long *stack(struct task_struct *task) { return arch_alloc_thread_stack_node(task, -1); }
      void free_stack(struct task_struct *task) { arch_free_thread_stack(task); }
      int (*offline)(unsigned int) = free_vm_stack_cache;
      """, to: "on.c")
    try folder.write(
      """
      static int free_vm_stack_cache(unsigned int cpu) { return cpu != 0; }
      int (*offline)(unsigned int) = free_vm_stack_cache;
      """, to: "off.c")
    let flags = Self.flags + ["-Wno-missing-prototypes", "-include", "\(Self.glue)/fork.h"]
    _ = try folder.run("clang", flags + ["-DCONFIG_SWIFT_KERNEL_STACKS", folder.file("on.c").path])
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
