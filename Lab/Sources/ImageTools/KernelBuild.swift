// The build of the bootable kernel and its EL0 program, and of the kernel's flat image.

import Foundation

/// The files that a guest boots from.
public struct KernelProducts: Sendable {
  /// The kernel as a flat arm64 image.
  public var image: String
  /// The EL0 program, an ELF file.
  public var initProgram: String
  /// The kernel as the linker wrote it, with symbols.
  public var elf: String
  /// The kernel's largest stack frame.
  public var largestFrame: StackFrame?
}

/// The build of the bootable kernel: once per process for each kind of CPU, and in one process at a time.
public actor KernelBuild {
  /// The one build of this process.
  public static let shared = KernelBuild()

  /// The smallest guard below a stack, in bytes.
  ///
  /// No stack frame of the kernel may be larger.
  public static let guardMinimum = 4096

  private var tasks: [Guest.CPU: Task<KernelProducts, any Error>] = [:]

  /// Builds all that is out of date, once per process, and returns the paths of the files.
  ///
  /// The kernel for `max` has the single-instruction atomics of FEAT_LSE; the other runs on every CPU.
  ///
  /// - Throws: ``BuildError``, ``ElfError``, or ``FrameTooLarge`` if a stack frame could step over a guard.
  public func products(for cpu: Guest.CPU) async throws -> KernelProducts {
    if let task = tasks[cpu] { return try await task.value }
    let task = Task { try await Self.build(cpu) }
    tasks[cpu] = task
    return try await task.value
  }

  private static func build(_ cpu: Guest.CPU) async throws -> KernelProducts {
    let suffix = cpu == .max ? "-lse" : ""
    guard let root = PackageRoot.path else {
      throw BuildError("the package's folder was not found: run this inside a clone of KernelStacks")
    }
    let folder = "\(root)/build"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let lock = try await FileLock("\(folder)/.kernel-build.lock")
    defer { withExtendedLifetime(lock) {} }

    let kernelBuild = BareMetalBuild(
      packageRoot: "\(root)/Lab/Kernel", product: "BootableKernel", toolset: "Toolsets/kernel\(suffix).json",
      scratch: ".build-kernel\(suffix)")
    let initBuild = BareMetalBuild(
      packageRoot: "\(root)/Lab/Kernel", product: "Init", toolset: "Toolsets/init.json",
      scratch: ".build-init")
    let kernel = try await kernelBuild.build()
    let program = try await initBuild.build()

    let scan = PrologueScan(kernel)
    try scan.check(guardByteCount: guardMinimum)
    let products = KernelProducts(
      image: "\(folder)/kernel\(suffix).img", initProgram: "\(folder)/init.elf",
      elf: kernelBuild.executablePath, largestFrame: scan.frames.first)
    try write(FlatImage(kernel).bytes, to: products.image)
    try write(program.bytes, to: products.initProgram)
    return products
  }

  /// Replaces a file atomically: a starting guest reads the old one or the new one.
  private static func write(_ bytes: [UInt8], to path: String) throws {
    let url = URL(fileURLWithPath: path)
    if let old = try? Data(contentsOf: url), old.elementsEqual(bytes) { return }
    try Data(bytes).write(to: url, options: .atomic)
  }
}
