// The additions to a kernel tree: applied, applied again, and removed without a trace.

import Foundation
import Testing

@Suite struct ApplyTests {
  static let apply = Folder.root.appendingPathComponent("Linux/apply").path

  static let versions = ["1", "12"]

  /// The few lines of a kernel tree that the script reads, by the second number of its version.
  static func tree(_ version: String) -> [String: String] {
    [
      "Makefile": "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = \(version)\nSUBLEVEL = 9\n",
      "kernel/Makefile": "obj-y     = fork.o\nobj-y += sched/\n",
      "kernel/fork.c": fork(version == "1" ? nil : theirs),
      "kernel/sched/Makefile": "obj-y += core.o\nobj-y += fair.o\n",
      "kernel/sched/core.c": """
      \tprepare_arch_switch(next);
      \tvtime_task_switch(prev);
      \tfinish_arch_post_lock_switch();
      static void __sched notrace __schedule(\(version == "1" ? "unsigned " : "")int sched_mode)
      int task_call_func(struct task_struct *p, task_call_f func, void *arg)

      """,
      "arch/arm64/Kconfig": "config ARM64\n\tdef_bool y\nsource \"arch/arm64/kvm/Kconfig\"\n",
      entry: entryOfLinux, offsets: offsetsOfLinux,
    ]
  }

  /// `kernel/fork.c` of Linux 6.12 as far as the script reads it, with the lines that choose who allocates; or of 6.1.
  static func fork(_ choice: String?) -> String {
    let hook = "  stack = arch_alloc_thread_stack_node(tsk, node);\n"
    return """
      # if THREAD_SIZE >= PAGE_SIZE || defined(CONFIG_VMAP_STACK)

      \(choice ?? "#  ifdef CONFIG_VMAP_STACK\n")#define NR_CACHED_STACKS 2
      #  else /* !CONFIG_VMAP_STACK */
      #  endif /* CONFIG_VMAP_STACK */
      # endif
      \(choice == nil ? hook : "")static void free_thread_stack(struct task_struct *tsk)
      NULL, free_vm_stack_cache);
      void __init __weak arch_task_cache_init(void) { }
      mod_lruvec_page_state(vm->pages[i], NR_KERNEL_STACK_KB,
      stackend = end_of_stack(tsk);

      """
  }

  static let entry = "arch/arm64/kernel/entry.S"
  static let offsets = "arch/arm64/kernel/asm-offsets.c"

  /// Exception entry as far as the script reads it.
  static let entryOfLinux = """
    #include <asm/unistd.h>
    \t.macro kernel_ventry, el:req, ht:req, regsize:req, label:req
    \tsub\tsp, sp, #PT_REGS_SIZE
    #ifdef CONFIG_VMAP_STACK
    \ttbnz\tx0, #THREAD_SHIFT, 0f
    \tsub\tx0, sp, x0\t\t\t// x0'' = sp' - x0' = (sp + x0) - sp = x0
    \tsub\tsp, sp, x0\t\t\t// sp'' = sp' - x0 = (sp + x0) - x0 = sp
    \tb\tel\\el\\ht\\()_\\regsize\\()_\\label

    0:
    \t/*
    \t * Either we've just detected an overflow, or we've taken an exception
    \t */
    #endif
    \t.endm
    SYM_CODE_START_LOCAL(__bad_stack)
    \tsub\tsp, sp, #PT_REGS_SIZE
    \tkernel_entry 1

    """
  static let offsetsOfLinux =
    "#include <linux/kbuild.h>\n#include <linux/arm-smccc.h>\n\nint main(void)\n{\n}\n"

  /// The lines of the patch, each with the one before it.
  static let entryEdits = [
    ("#include <asm/unistd.h>\n", "#include \"../../../kernel/kernelstacks/entry.h\"\n"),
    ("\ttbnz\tx0, #THREAD_SHIFT, 0f\n", "\tkernelstacks_look \\el, \\ht, \\label\n"),
    (" = (sp + x0) - x0 = sp\n", "\tkernelstacks_found \\el, \\ht\n"),
    ("\n0:\n", "\tkernelstacks_look_again \\el, \\ht, \\label\n"),
  ]
  static let replaced = "\tsub\tsp, sp, #PT_REGS_SIZE\n#ifdef"
  static let replacement = "\tsub\tsp, sp, #(PT_REGS_SIZE + .Lkernelstacks_margin_\\el\\ht)\n#ifdef"

  static let entryOfOurs = entryEdits.reduce(entryOfLinux.replacing(replaced, with: replacement)) {
    $0.replacing($1.0, with: $1.0 + $1.1)
  }
  static let offsetsOfOurs = offsetsOfLinux.replacing(
    "smccc.h>\n", with: "smccc.h>\n#include \"../../../kernel/kernelstacks/offsets.h\"\n")

  static let theirs = "#  ifdef CONFIG_VMAP_STACK\n"
  static let ours = """
    #  ifdef CONFIG_SWIFT_KERNEL_STACKS /* kernelstacks/fork.h */
    #  elif defined(CONFIG_VMAP_STACK)

    """

  func folder(_ version: String = "1", _ changes: [String: String] = [:]) throws -> Folder {
    let folder = try Folder()
    for (name, text) in Self.tree(version).merging(changes, uniquingKeysWith: { $1 }) {
      try folder.write(text, to: "tree/\(name)")
    }
    return folder
  }

  @Test(arguments: versions) func `Applying adds a directory and one block of lines to three files`(
    version: String
  ) throws {
    let folder = try folder(version)
    defer { folder.remove() }
    let outcome = try folder.outcome(Self.apply, ["\(folder.path)/tree"])
    #expect(outcome.status == 0 && outcome.errors == "")
    var after = try folder.contents(of: "tree")
    // And two lines instead of one.
    if version == "12" {
      #expect(after.removeValue(forKey: "kernel/fork.c") == Data(Self.fork(Self.ours).utf8))
    }
    for (name, text) in Self.tree(version) {
      guard let now = after[name], now != Data(text.utf8) else { continue }
      let longer = String(decoding: now, as: UTF8.self)
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

  @Test(arguments: versions)
  func `Applying twice in a row changes nothing more, not even the time of a file`(version: String) throws {
    let folder = try folder(version)
    defer { folder.remove() }
    _ = try folder.outcome(Self.apply, ["\(folder.path)/tree"])
    let first = try folder.contents(of: "tree")
    func date(_ name: String) throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: folder.file("tree/\(name)").path)[.modificationDate]
        as? Date
    }
    let names = [
      "kernel/Makefile", "kernel/fork.c", "kernel/sched/Makefile", "arch/arm64/Kconfig",
      "kernel/kernelstacks/glue.c",
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

  @Test(
    arguments: versions,
    [
      [:], ["kernel/Makefile": "obj-y += sched/"], ["kernel/sched/Makefile": "obj-y += core.o"],
      ["arch/arm64/Kconfig": "config ARM64\n\n\n"],
      ["kernel/fork.c": "// &\\1\n\(fork(theirs))arch_alloc_thread_stack_node(tsk, node) // no last newline"],
      ["kernel/fork.c": "\(fork(theirs))arch_alloc_thread_stack_node(tsk, node)\n\n"],
    ])
  func `Removing restores every byte, also of files that lack a last newline, and twice in a row`(
    version: String, changes: [String: String]
  ) throws {
    let folder = try folder(version, changes)
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    #expect(before.count == Self.tree(version).count)
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
    let folder = try folder("1", ["kernel/time/Makefile": clock])
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

  @Test(
    arguments: versions,
    [
      ["Makefile": "VERSION = 5\nPATCHLEVEL = 1\n"], ["Makefile": "VERSION = 6\nPATCHLEVEL = 11\n"],
      ["Makefile": "VERSION = 6\nPATCHLEVEL = 121\n"],
      ["kernel/fork.c": "// A later kernel\n"], ["kernel/sched/core.c": "// A later kernel\n"],
      ["kernel/kernelstacks/other.c": "someone else's"],
    ])
  func `A tree that is not known is refused in one line, and not touched`(
    version: String, changes: [String: String]
  ) throws { try expectRefusal(version, changes) }

  @Test(arguments: [
    // Half of our lines, one more, twice, and edited ones; two places for them; none.
    ours.split(separator: "\n").first! + "\n", ours.split(separator: "\n").last! + "\n", ours + theirs,
    ours + ours,
    ours.replacing("fork.h", with: "other.h"), ours.replacing("\n", with: " \n"), theirs + theirs, "",
    "#  if defined(CONFIG_VMAP_STACK)\n", "#ifdef CONFIG_SWIFT_KERNEL_STACKS\n#endif\n" + theirs,
  ])
  func
    `A file of Linux 6.12 that was edited, or is half patched, is refused with the lines that were looked for`(
      choice: String
    ) throws
  {
    let errors = try expectRefusal("12", ["kernel/fork.c": Self.fork(choice)])
    for line in (Self.theirs + Self.ours).split(separator: "\n") { #expect(errors.contains(line)) }
  }

  @Test(arguments: [
    theirs + fork(""), fork("") + theirs.dropLast(), ours + fork(""), fork("") + ours.dropLast(),
  ])
  func `A file of Linux 6.12 that begins or ends with the lines that are looked for is refused`(file: String)
    throws
  {
    try expectRefusal("12", ["kernel/fork.c": file])
  }

  @Test(arguments: versions)
  func `The patch of exception entry is six lines, which stay until all is removed`(version: String) throws {
    let folder = try folder(version)
    defer { folder.remove() }
    let tree = "\(folder.path)/tree"
    let before = try folder.contents(of: "tree")
    #expect(try folder.outcome(Self.apply, [tree]).status == 0)
    let bare = try folder.contents(of: "tree")
    #expect(bare[Self.entry] == before[Self.entry] && bare[Self.offsets] == before[Self.offsets])
    let patched = bare.merging([
      Self.entry: Data(Self.entryOfOurs.utf8), Self.offsets: Data(Self.offsetsOfOurs.utf8),
    ]) { $1 }
    // Applied upon what is there already, again, and brought up to date without a word of it.
    for arguments in [["--entry-patch", tree], ["--entry-patch", tree], [tree]] {
      let outcome = try folder.outcome(Self.apply, arguments)
      #expect(outcome.status == 0 && outcome.output + outcome.errors == "")
      #expect(try folder.contents(of: "tree") == patched)
    }
    for _ in 0..<2 {
      #expect(try folder.outcome(Self.apply, ["--remove", tree]).status == 0)
      #expect(try folder.contents(of: "tree") == before)
    }
  }

  @Test(arguments: versions)
  func `Removing the patch of exception entry restores files that lack a last newline`(version: String) throws {
    let folder = try folder(
      version,
      [Self.entry: Self.entryOfLinux + "// &\\1", Self.offsets: Self.offsetsOfLinux + "\n\n"])
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    #expect(try folder.outcome(Self.apply, ["--entry-patch", "\(folder.path)/tree"]).status == 0)
    #expect(try folder.contents(of: "tree")[Self.entry] == Data((Self.entryOfOurs + "// &\\1").utf8))
    #expect(try folder.outcome(Self.apply, ["--remove", "\(folder.path)/tree"]).status == 0)
    #expect(try folder.contents(of: "tree") == before)
  }

  /// Exception entry that is half patched, patched twice, by another version or by hand; and what is looked for.
  static let damagedEntries: [(String, String)] =
    entryEdits.map { (edit: (String, String)) in (entryOfOurs.replacing(edit.1, with: ""), edit.1) }
    + [
      (entryOfOurs.replacing(replacement, with: replaced), "PT_REGS_SIZE + .Lkernelstacks_margin_"),
      (
        entryOfLinux.replacing(entryEdits[1].0, with: entryEdits[1].0 + entryEdits[1].1),
        "kernelstacks/entry.h"
      ),
      (entryOfOurs + entryOfOurs, "#include <asm/unistd.h>"),
      (entryOfOurs.replacing("entry.h", with: "other.h"), "kernelstacks/entry.h"),
      (entryOfOurs + "\tkernelstacks_found \\el, \\ht\n", "there are more lines with 'kernelstacks'"),
    ]

  @Test(arguments: versions, Array(damagedEntries.indices))
  func `A half patch of exception entry, or another, is refused with the lines that were looked for`(
    version: String, index: Int
  ) throws {
    let (text, looksFor) = Self.damagedEntries[index]
    for offsets in [Self.offsetsOfLinux, Self.offsetsOfOurs] {
      let errors = try expectRefusal(
        version, [Self.entry: text, Self.offsets: offsets], options: [[], ["--remove"], ["--entry-patch"]])
      #expect(errors.contains(looksFor.trimmingCharacters(in: .whitespacesAndNewlines)))
    }
  }

  @Test(
    arguments: versions,
    [
      [entry: "// A later kernel\n"], [offsets: "// A later kernel\n"],
      [entry: entryOfLinux + entryOfLinux], [entry: entryOfLinux.replacing(replaced, with: "#ifdef")],
    ])
  func `Where exception entry is not known the patch is refused, and the rest is not`(
    version: String, changes: [String: String]
  ) throws {
    try expectRefusal(version, changes, options: [["--entry-patch"]])
    let folder = try folder(version, changes)
    defer { folder.remove() }
    let before = try folder.contents(of: "tree")
    #expect(try folder.outcome(Self.apply, ["\(folder.path)/tree"]).status == 0)
    #expect(try folder.outcome(Self.apply, ["--remove", "\(folder.path)/tree"]).status == 0)
    #expect(try folder.contents(of: "tree") == before)
  }

  /// What the script says of a tree with these changes, which it leaves as it is.
  @discardableResult
  func expectRefusal(
    _ version: String, _ changes: [String: String], options: [[String]] = [[], ["--remove"]]
  ) throws -> String {
    let folder = try folder(version, changes)
    defer { folder.remove() }
    var errors = ""
    let before = try folder.contents(of: "tree")
    for option in options {
      let outcome = try folder.outcome(Self.apply, option + ["\(folder.path)/tree"])
      #expect(outcome.status == 1 && outcome.output == "")
      #expect(outcome.errors.hasPrefix("Linux/apply: ") && outcome.errors.split(separator: "\n").count == 1)
      #expect(outcome.errors.contains("\(folder.path)/tree"))
      #expect(try folder.contents(of: "tree") == before)
      errors += outcome.errors
    }
    return errors
  }

  @Test func `A tree that was left when it was half done is done, or undone`() throws {
    let halves = [
      ("kernel/fork.c", Self.fork(Self.theirs)), ("kernel/fork.c", Self.fork(Self.ours)),
      (Self.entry, Self.entryOfLinux), (Self.offsets, Self.offsetsOfLinux),
    ]
    for (name, text) in halves {
      let folder = try folder("12")
      defer { folder.remove() }
      let before = try folder.contents(of: "tree")
      _ = try folder.outcome(Self.apply, ["--entry-patch", "\(folder.path)/tree"])
      let after = try folder.contents(of: "tree")
      for (arguments, end) in [
        (["\(folder.path)/tree"], after), (["--remove", "\(folder.path)/tree"], before),
      ] {
        try folder.write(text, to: "tree/\(name)")
        #expect(try folder.outcome(Self.apply, arguments).status == 0)
        #expect(try folder.contents(of: "tree") == end)
      }
    }
  }

  @Test func `A file is replaced, never written in place`() throws {
    let folder = try folder("12")
    defer { folder.remove() }
    let changed = [
      "kernel/Makefile", "kernel/fork.c", "kernel/sched/Makefile", "arch/arm64/Kconfig", Self.entry,
      Self.offsets,
    ]
    // Another name of a file keeps what the file was.
    for name in changed {
      let place = folder.file("old/\(name)")
      try FileManager.default.createDirectory(
        at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
      try FileManager.default.linkItem(at: folder.file("tree/\(name)"), to: place)
    }
    let before = try folder.contents(of: "old")
    #expect(try folder.outcome(Self.apply, ["--entry-patch", "\(folder.path)/tree"]).status == 0)
    let after = try folder.contents(of: "tree")
    for name in changed { #expect(after[name] != before[name]) }
    #expect(try folder.contents(of: "old") == before)
    #expect(!after.keys.contains { $0.hasSuffix(".kernelstacks-new") })
  }

  @Test func `No tree, or none at that path, is said in one line`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    for arguments in [
      [], [""], ["a", "b"], ["\(folder.path)/nothing"], ["--entry-patch"], ["--entry-patch", "--remove"],
      ["--other", "\(folder.path)"],
    ] {
      let outcome = try folder.outcome(Self.apply, arguments)
      #expect(outcome.status == 1 && outcome.errors.split(separator: "\n").count == 1)
    }
  }
}
