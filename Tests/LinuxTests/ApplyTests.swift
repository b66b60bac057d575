// The additions to a kernel tree: applied, applied again, and removed without a trace.

import Foundation
import Testing

@Suite struct ApplyTests {
  static let apply = Folder.root.appendingPathComponent("Linux/apply").path

  /// The few lines of a kernel tree that the script reads.
  static let tree = [
    "Makefile": "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 192\n",
    "kernel/Makefile": "obj-y     = fork.o\nobj-y += sched/\n",
    "kernel/fork.c": """
    stack = arch_alloc_thread_stack_node(tsk, node);
    NULL, free_vm_stack_cache);
    void __init __weak arch_task_cache_init(void) { }
    mod_lruvec_page_state(vm->pages[i], NR_KERNEL_STACK_KB,
    stackend = end_of_stack(tsk);

    """,
    "kernel/sched/Makefile": "obj-y += core.o\nobj-y += fair.o\n",
    "kernel/sched/core.c": """
    \tprepare_arch_switch(next);
    \tvtime_task_switch(prev);
    \tfinish_arch_post_lock_switch();
    static void __sched notrace __schedule(unsigned int sched_mode)
    int task_call_func(struct task_struct *p, task_call_f func, void *arg)

    """,
    "arch/arm64/Kconfig": "config ARM64\n\tdef_bool y\nsource \"arch/arm64/kvm/Kconfig\"\n",
  ]

  func folder(_ changes: [String: String] = [:]) throws -> Folder {
    let folder = try Folder()
    for (name, text) in Self.tree.merging(changes, uniquingKeysWith: { $1 }) {
      try folder.write(text, to: "tree/\(name)")
    }
    return folder
  }

  @Test func `Applying adds a directory and one block of lines to three files`() throws {
    let folder = try folder()
    defer { folder.remove() }
    let outcome = try folder.outcome(Self.apply, ["\(folder.path)/tree"])
    #expect(outcome.status == 0 && outcome.errors == "")
    let after = try folder.contents(of: "tree")
    for (name, text) in Self.tree where after[name] != Data(text.utf8) {
      let longer = String(decoding: after[name] ?? Data(), as: UTF8.self)
      #expect(longer.hasPrefix(text + "# >>> KernelStacks") && longer.hasSuffix("# <<< KernelStacks\n"))
      #expect(["kernel/Makefile", "kernel/sched/Makefile", "arch/arm64/Kconfig"].contains(name))
    }
    #expect(try folder.read("tree/kernel/Makefile").contains("\nobj-y += kernelstacks/\n"))
    #expect(
      try folder.read("tree/kernel/sched/Makefile").contains(
        "-include $(srctree)/kernel/kernelstacks/sched.h\n"))
    #expect(try folder.read("tree/arch/arm64/Kconfig").contains("\nsource \"kernel/kernelstacks/Kconfig\"\n"))
    // The very same sources, no copy of the policy.
    for module in ["KernelMachine", "KernelThreadStacks"] {
      let source = Folder.root.appendingPathComponent("Sources/\(module)")
      let names = try FileManager.default.contentsOfDirectory(atPath: source.path)
      #expect(!names.isEmpty)
      for name in names {
        #expect(
          after["kernel/kernelstacks/\(module)/\(name)"]
            == (try Data(contentsOf: source.appendingPathComponent(name))))
      }
    }
  }

  @Test func `Applying twice in a row changes nothing more, not even the time of a file`() throws {
    let folder = try folder()
    defer { folder.remove() }
    _ = try folder.outcome(Self.apply, ["\(folder.path)/tree"])
    let first = try folder.contents(of: "tree")
    func date(_ name: String) throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: folder.file("tree/\(name)").path)[.modificationDate]
        as? Date
    }
    let names = [
      "kernel/Makefile", "kernel/sched/Makefile", "arch/arm64/Kconfig", "kernel/kernelstacks/glue.c",
    ]
    let dates = try names.map(date)
    #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
    #expect(try folder.contents(of: "tree") == first)
    #expect(try names.map(date) == dates)
    // A file that is no longer ours goes.
    try folder.write("old", to: "tree/kernel/kernelstacks/KernelMachine/Old.swift")
    #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
    #expect(try folder.contents(of: "tree") == first)
  }

  @Test(arguments: [
    [:], ["kernel/Makefile": "obj-y += sched/"], ["kernel/sched/Makefile": "obj-y += core.o"],
    ["arch/arm64/Kconfig": "config ARM64\n\n\n"],
  ])
  func `Removing restores every byte, also of files that lack a last newline, and twice in a row`(
    changes: [String: String]
  ) throws {
    let folder = try folder(changes)
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    #expect(before.count == Self.tree.count)
    for _ in 0..<2 {
      #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
      #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
      #expect(try folder.contents(of: "tree").count > before.count + 20)
      for _ in 0..<2 {
        #expect(try folder.outcome(Self.apply, ["--remove", "\(folder.path)/tree"]).status == 0)
        #expect(try folder.contents(of: "tree") == before)
      }
    }
  }

  @Test func `A block that another version added to another file goes`() throws {
    let clock = "obj-y += time.o\n"
    let folder = try folder(["kernel/time/Makefile": clock])
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    for arguments in [["\(folder.path)/tree"], ["--remove", "\(folder.path)/tree"]] {
      #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
      let lines = try folder.read("tree/kernel/Makefile").split(separator: "\n").map(String.init)
      let (begin, end) = (try #require(lines.first { $0.hasPrefix("# >>>") }), try #require(lines.last))
      let block = "\(begin)\nCFLAGS_time.o += -include $(srctree)/kernel/kernelstacks/gone.h\n\(end)\n"
      try folder.write(clock + block, to: "tree/kernel/time/Makefile")
      #expect(try folder.outcome(Self.apply, arguments).status == 0)
      #expect(try folder.read("tree/kernel/time/Makefile") == clock)
    }
    #expect(try folder.contents(of: "tree") == before)
  }

  @Test(arguments: [
    ["Makefile": "VERSION = 5\nPATCHLEVEL = 1\n"], ["Makefile": "VERSION = 6\nPATCHLEVEL = 12\n"],
    ["kernel/fork.c": "// A later kernel\n"], ["kernel/sched/core.c": "// A later kernel\n"],
    ["kernel/kernelstacks/other.c": "someone else's"],
  ])
  func `A tree that is not known is refused in one line, and not touched`(changes: [String: String]) throws {
    let folder = try folder(changes)
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    for arguments in [["\(folder.path)/tree"], ["--remove", "\(folder.path)/tree"]] {
      let outcome = try folder.outcome(Self.apply, arguments)
      #expect(outcome.status == 1 && outcome.output == "")
      #expect(outcome.errors.hasPrefix("Linux/apply: ") && outcome.errors.split(separator: "\n").count == 1)
      #expect(outcome.errors.contains("\(folder.path)/tree"))
      #expect(try folder.contents(of: "tree") == before)
    }
  }

  @Test func `No tree, or none at that path, is said in one line`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    for arguments in [[], [""], ["a", "b"], ["\(folder.path)/nothing"]] {
      let outcome = try folder.outcome(Self.apply, arguments)
      #expect(outcome.status == 1 && outcome.errors.split(separator: "\n").count == 1)
    }
  }
}
