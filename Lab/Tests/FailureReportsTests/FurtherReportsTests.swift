// Further kinds of reports, as other kernels, loggers and trackers print them.

import FailureReports
import Testing

@Suite struct FurtherReportTests {
  @Test func `of 2.4 name no zones, and ask for them`() throws {
    let report = try examine(
      """
      __alloc_pages: 1-order allocation failed (gfp=0x1f0/0) from c0115b60
      VM: killing process httpd
      """)
    let failure = try #require(report.failures.first)
    #expect(report.failures.count == 1)
    #expect(failure.order == 1)
    #expect(failure.cause == .unknown)
    #expect(!failure.missing.isEmpty)
  }

  @Test func `of vmalloc before 5.12 have the thread in front, and one failure in two messages`() throws {
    let report = try examine(
      """
      [   14.000000] vmap allocation for size 430080 failed: use vmalloc=<size> to increase size
      [   14.000001] vmap allocation for size 430080 failed: use vmalloc=<size> to increase size
      [   14.000008] loader: vmalloc: allocation failure: 425984 bytes, mode:0x14000c0(GFP_KERNEL), nodemask=(null)
      [   14.000016] CPU: 0 PID: 1134 Comm: loader Not tainted 4.14.107 #0
      [   14.000023] [<c010ef68>] (unwind_backtrace) from [<c010ac14>] (show_stack+0x10/0x14)
      [   14.000029] [<c010ac14>] (show_stack) from [<c01b1904>] (warn_alloc+0xbc/0x168)
      [   14.000036] [<c01b1904>] (warn_alloc) from [<c01de158>] (__vmalloc_node_range+0x228/0x234)
      [   14.000044] [<c01de158>] (__vmalloc_node_range) from [<c010c0b8>] (module_alloc+0x4c/0x54)
      """)
    let failure = try #require(report.failures.last)
    #expect(failure.cause == .addressSpace)
    #expect(failure.threadStack == .no)
    #expect(failure.process == "loader")
    #expect(failure.sentence.contains("modules"))
  }

  @Test func `of vmalloc on 3.x end in a failure of single pages`() throws {
    let report = try examine(
      """
      [195207.149213] vmap allocation for size 37806080 failed: use vmalloc=<size> to increase size.
      [195207.149216] vmalloc: allocation failure: 37798136 bytes
      [195207.149217] insmod: page allocation failure: order:0, mode:0xd2
      [195207.149220] Pid: 412, comm: insmod Not tainted 3.5.0 #1
      """)
    #expect(report.failures.map(\.cause) == [.addressSpace])
    #expect(report.failures[0].process == "insmod")
  }

  @Test func `of vmalloc for nothing, or for more than there is, are no lack of anything`() throws {
    let nothing = try examine(
      """
      [   14.000008] loader: vmalloc: allocation failure: 0 bytes, mode:0x14000c0(GFP_KERNEL), nodemask=(null)
      [   14.000016] CPU: 0 PID: 1134 Comm: loader Not tainted 4.14.107 #0
      [   14.000036] [<c01b1904>] (warn_alloc) from [<c01de158>] (__vmalloc_node_range+0x228/0x234)
      [   14.000044] [<c01de158>] (__vmalloc_node_range) from [<c010c0b8>] (module_alloc+0x4c/0x54)
      """)
    #expect(nothing.failures.map(\.cause) == [.other])
    #expect(nothing.failures[0].sentence.contains("asked for 0 bytes"))
    let tooMuch = try examine(
      """
      [   14.000008] loader: vmalloc error: size 17179869184, exceeds total pages, mode:0xcc0(GFP_KERNEL), nodemask=(null)
      """)
    #expect(tooMuch.failures.map(\.cause) == [.other])
    #expect(tooMuch.failures[0].sentence.contains("16 GiB"))
  }

  @Test func `of a global shortage have no limit of a group that ran out beside it`() throws {
    let report = try examine(
      """
      make invoked oom-killer: gfp_mask=0x27000c0(GFP_KERNEL_ACCOUNT|__GFP_NOTRACK), order=2, oom_score_adj=0
      CPU: 1 PID: 2911 Comm: make Not tainted 4.7.2-3 #1
      Call Trace:
       dump_stack+0x63/0x81
       out_of_memory+0x3fb/0x490
       __alloc_pages_nodemask+0xeff/0xf40
       copy_process.part.8+0x136/0x1a00
      memory: usage 524288kB, limit 524288kB, failcnt 30141
      """)
    #expect(report.failures.allSatisfy { $0.process != "make" || $0.cause == .unknown })
  }

  @Test func `with the trace of another have none`() throws {
    // A request that may not wait is not a fork's.
    let report = try examine(
      """
      swapper/0: page allocation failure: order:0, mode:0x480020(GFP_ATOMIC), nodemask=(null)
      CPU: 0 PID: 0 Comm: swapper/0 Not tainted 4.19.35 #3
      [<800222a4>] (copy_process.part.47) from [<80023b90>] (do_fork+0xd8/0x42c)
      """)
    #expect(report.failures.map(\.threadStack) == [.no])
  }

  @Test func `whose mode is cut have none that was not printed`() throws {
    for mode in ["0x3000d0\n00030+02:00 CPU: 2 PID: 1764", "0x300=\n0d0", "0x15080c\nruns on"] {
      let failure = try #require(
        try examine("python: page allocation failure: order:1, mode:\(mode)").failures.first)
      #expect(failure.threadStack == .unknown, "\(mode)")
    }
  }

  @Test func `whose zones are all empty lack others, unless only the lowest would do`() throws {
    func cause(_ mode: String) throws -> Cause? {
      try examine(
        """
        modprobe: page allocation failure: order:0, mode:\(mode), nodemask=(null)
        Node 0 DMA free:0kB min:0kB low:0kB high:0kB present:0kB managed:0kB free_cma:0kB
        lowmem_reserve[]: 0 3720 7790 7790
        """
      ).failures.first?.cause
    }
    #expect(try cause("0xcc1(GFP_KERNEL|GFP_DMA)") == .emptyZone)
    #expect(try cause("0xcc0(GFP_KERNEL)") == .unknown)
  }

  @Test func `in which the kernel is sure of no function may be a fork all the same`() throws {
    let text = """
      sshd: page allocation failure. order:1, mode:0xd0
      Pid: 2101, comm: sshd Not tainted 2.6.32-220.el6.i686 #1
      Call Trace:
       [<c04d9b0f>] ? __alloc_pages_nodemask+0x77f/0x940
       [<c04d9d12>] ? __get_free_pages+0x12/0x60
       [<c0451c3e>] ? copy_process+0xde/0x1200
       [<c0452df6>] ? do_fork+0x96/0x430
      Mem-Info:
      active_anon:402 inactive_anon:470 isolated_anon:0
      Normal free:9276kB min:3016kB low:3768kB high:4524kB active_anon:1608kB inactive_anon:1880kB active_file:1360kB inactive_file:1640kB unevictable:0kB isolated(anon):0kB isolated(file):0kB present:880024kB mlocked:0kB dirty:0kB writeback:0kB mapped:760kB shmem:56kB slab_reclaimable:720kB slab_unreclaimable:5680kB kernel_stack:2400kB pagetables:152kB unstable:0kB bounce:0kB writeback_tmp:0kB pages_scanned:0 all_unreclaimable? no
      lowmem_reserve[]: 0 0 0 0
      Normal: 2319*4kB 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB 0*4096kB = 9276kB
      """
    let failure = try #require(try examine(text).failures.first)
    #expect(failure.threadStack == .yes)
    #expect(failure.cause == .fragmentation)
    #expect(failure.stackBytes == 8192)
  }

  @Test func `whose asterisks a tracker has turned into underscores are read`() throws {
    let text = """
      java: page allocation failure. order:3, mode:0x4020
      Pid: 12, comm: java Not tainted 2.6.38-10 #46
      Normal free:2344kB min:1024kB low:1280kB high:1536kB present:13120kB pages_scanned:142 all_unreclaimable? no
      lowmem_reserve[]: 0 0 0 0
      Normal: 486_4kB 46_8kB 2_16kB 0_32kB 0_64kB 0_128kB 0_256kB 0_512kB 0_1024kB 0_2048kB 0_4096kB = 2344kB
      """
    let failure = try #require(try examine(text).failures.first)
    #expect(failure.cause == .fragmentation)
    #expect(failure.largestFreeBlockBytes == 16384)
  }

  @Test func `of a journal with the kernel's name behind the time are read, several in one file`() throws {
    let one = """
      [21161.093413] kernel: worker/3: page allocation failure: order:0, mode:0x800(GFP_NOWAIT), nodemask=(null),cpuset=/,mems_allowed=0
      [21161.093418] kernel: CPU: 3 PID: 77 Comm: worker/3 Not tainted 5.7.2 #1
      [21161.093423] kernel: Node 0 Normal free:14372kB min:16096kB low:20120kB high:24144kB reserved_highatomic:0KB active_anon:1kB inactive_anon:1kB active_file:3kB inactive_file:4kB unevictable:0kB writepending:0kB present:2097152kB managed:2010444kB mlocked:0kB kernel_stack:0kB pagetables:0kB bounce:0kB free_pcp:0kB local_pcp:0kB free_cma:0kB
      [21161.093428] kernel: lowmem_reserve[]: 0 0 0 0
      [21161.093433] kernel: Node 0 Normal: 3593*4kB (UME) 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB 0*4096kB = 14372kB
      [21161.093507] kernel: SLUB: Unable to allocate memory on node -1, gfp=0x900(GFP_NOWAIT|__GFP_ZERO)
      [21161.093513] kernel:   cache: page->ptl, object size: 72, buffer size: 72, default order: 0, min order: 0
      """
    let report = try examine(
      one + "\n" + one.replacing("[2116", with: "[2216").replacing("worker/3", with: "kswapd0"))
    #expect(report.failures.compactMap(\.process) == ["worker/3", "kswapd0"])
    // A request that may not wait may use a quarter of the watermark: there was enough.
    #expect(Set(report.failures.map(\.threadStack)) == [.no])
    #expect(report.failures.filter(\.hasVerdict).count == 2)
  }

  @Test func `between which the kernel counts suppressed ones are read`() throws {
    let report = try examine(
      """
      [133589.275863] __alloc_pages_slowpath: 5571 callbacks suppressed
      [133589.275871] warn_alloc: 3 callbacks suppressed
      [133589.275879] z/0: page allocation failure. order:3, mode:0x4020
      """)
    #expect(report.failures.map(\.order) == [3])
  }

  @Test func `of strict accounting are limits`() throws {
    let report = try examine(
      "[ 12.1] __vm_enough_memory: pid: 812, comm: java, not enough memory for the allocation\n"
        + "[ 12.2] __vm_enough_memory: pid: 812, comm: java, not enough memory for the allocation\n")
    #expect(report.failures.map(\.cause) == [.limit])
    #expect(report.failures[0].count == 2)
    #expect(report.failures[0].sentence.contains("overcommit_memory"))
  }

  @Test func `of a full account are limits, in the words of several programs`() throws {
    for words in [
      "bash: fork: retry: Resource temporarily unavailable", "-bash: fork: Resource temporarily unavailable",
      "sh: line 3: fork: retry: No child processes", "error: failed to clone: Resource temporarily unavailable",
    ] {
      #expect(try examine(words + "\n").failures.map(\.cause) == [.limit], "\(words)")
    }
    for words in [
      "pthread_create failed: EAGAIN", "java.lang.OutOfMemoryError: unable to create new native thread",
      "fork: Cannot allocate memory",
    ] {
      let failure = try #require(try examine(words + "\n").failures.first, "\(words)")
      #expect(failure.cause == .unknown, "\(words)")
      #expect(failure.missing.contains { $0.contains("ulimit") }, "\(words)")
    }
  }

  @Test func `of an order that nothing has are no stacks`() throws {
    let failure = try #require(
      try examine("Xorg: page allocation failure: order:9, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)\n")
        .failures.first)
    #expect(failure.threadStack == .no)
    #expect(failure.cause == .unknown)
  }
}
