// How the running kernel makes stacks.

/// What of a kernel's configuration decides about its stacks.
package struct KernelConfiguration: Equatable, Sendable {
  /// Whether stacks are made of single pages (`CONFIG_VMAP_STACK`); `nil` if unknown.
  package var hasMappedStacks: Bool?
  /// Where that was read.
  package var source: String?

  /// Reads a configuration file.
  init(_ text: [UInt8], source: String) {
    self.source = source
    hasMappedStacks = text.offset(of: "CONFIG_VMAP_STACK=y") != nil
  }

  private init() {}

  /// The configuration of the running kernel: its own copy, the distribution's, or what its symbols show.
  static func read(_ files: inout SystemFiles, release: String) -> KernelConfiguration {
    if let packed = files.read("/proc/config.gz"), let text = Inflate.gunzip(packed) {
      return KernelConfiguration(text, source: "/proc/config.gz")
    }
    for path in [
      "/boot/config-\(release)", "/lib/modules/\(release)/config", "/usr/lib/modules/\(release)/config",
    ] {
      if let text = files.read(path), text.contains("CONFIG_") {
        return KernelConfiguration(text, source: path)
      }
    }
    var result = KernelConfiguration()
    // Only a kernel with such stacks has their cache.
    if let symbols = files.read("/proc/kallsyms"), symbols.contains(" schedule") {
      result.hasMappedStacks =
        symbols.contains("free_vm_stack_cache") || symbols.contains("thread_stack_delayed_free")
      result.source = "/proc/kallsyms"
    } else {
      _ = files.read(
        "/proc/config.gz",
        else: "whether this kernel makes stacks of single pages (CONFIG_VMAP_STACK) is not known")
    }
    return result
  }
}
