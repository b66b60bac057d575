// Cures in words.

extension Cure {
  /// What it is, and how it is done.
  var words: String {
    switch self {
    case .singlePageStacks:
      "stacks made of single pages (CONFIG_VMAP_STACK, or KernelStacks), which need no large piece"
    case .growingStacks: "stacks that grow on demand (KernelStacks): one page each at first"
    case .reclaim:
      "giving back caches and moving pages together (drop_caches, compact_memory, a higher min_free_kbytes)"
    case .moreMemory: "more memory, or fewer programs"
    case .smallerReserve: "a smaller reserve for devices (cma= on the kernel's command line)"
    case .raiseLimit: "raising the limit"
    case .addressSpace:
      "a larger range of addresses (vmalloc= on 32-bit machines; for modules, fewer or built-in ones)"
    case .fixOverflow: "less stack in the code that overflowed, or larger stacks"
    case .otherNode: "letting the program use other memory nodes (cpuset.mems, numactl)"
    }
  }
}
