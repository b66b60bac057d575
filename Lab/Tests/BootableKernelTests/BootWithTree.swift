// Boots with a device tree made by hand.
//
// QEMU corrects device trees that it is given, so these reach the kernel another way: a few instructions, loaded beside the
// kernel, put the address of a tree into x0 and jump to the kernel's entry.
//
//   0x40080000 kernel   0x46000000 instructions   0x46100000 tree   0x47fff000 last page of RAM

import DeviceTreeSamples
import Foundation
import ImageTools

/// A boot with a tree of its own.
struct BootWithTree {
  /// The tree's bytes.
  var bytes: [UInt8]
  /// The address at which they are loaded.
  var address: UInt64 = 0x4610_0000
  /// The address that the kernel is told, if it is another.
  var toldAddress: UInt64?
  /// The address at which the kernel is loaded, if not QEMU's.
  var imageAddress: UInt64?
  /// Instructions to execute before the kernel.
  var before: [UInt32] = []
  /// Further changes of the machine.
  var configure: (inout Guest) -> Void = { _ in }

  /// The kernel's first instruction.
  static var entry: UInt64 { 0x4008_0000 }

  /// Makes a boot with a tree of these bytes.
  init(bytes: [UInt8]) { self.bytes = bytes }

  /// Makes a boot with a tree whose root has these nodes.
  init(_ nodes: [DeviceTreeNode], reservations: [(UInt64, UInt64)] = []) {
    let root = DeviceTreeNode("", [("#address-cells", cells(2)), ("#size-cells", cells(2))], nodes)
    bytes = flattenedDeviceTree(root, reservations: reservations)
  }

  /// Boots, and waits for the end.
  func run() async throws -> GuestRun {
    let folder = FileManager.default.temporaryDirectory.appending(path: "kernel-tree-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let tree = folder.appending(path: "tree.dtb")
    let stub = folder.appending(path: "stub.bin")
    try Data(bytes).write(to: tree)
    let told = toldAddress ?? address
    let entry = imageAddress ?? Self.entry
    //  +0 ldr x0, +16   +4 ldr x1, +20   +8 br x1   +12 nop   +16 tree   +24 entry of the kernel
    let words =
      before + (before.count % 2 == 0 ? [] : [0xd503_201f]) + [
        0x5800_0080, 0x5800_00a1, 0xd61f_0020, 0xd503_201f, UInt32(told & 0xffff_ffff), UInt32(told >> 32),
        UInt32(entry & 0xffff_ffff), UInt32(entry >> 32),
      ]
    try words.withUnsafeBytes { try Data($0).write(to: stub) }
    return try await boot("") {
      $0.initialRAMDisk = nil
      $0.extraArguments = [
        "-device", "loader,file=\(tree.path),addr=\(address),force-raw=on",
        "-device", "loader,file=\(stub.path),addr=0x46000000,force-raw=on,cpu-num=0",
      ]
      if let imageAddress {
        $0.extraArguments += ["-device", "loader,file=\($0.kernel),addr=\(imageAddress),force-raw=on"]
      }
      configure(&$0)
    }
  }
}
