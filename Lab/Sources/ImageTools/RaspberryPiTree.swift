// The device tree of a Raspberry Pi 3 B, which QEMU's board needs and does not have.
//
// It is made of Linux's sources, as Debian packages them, by Scripts/raspi-tree; nothing of it is part of this repository.

import Foundation

/// Why there is no device tree, in one line.
public struct DeviceTreeMissing: Error, CustomStringConvertible {
  /// The reason.
  public let description: String
}

/// The device tree of a Raspberry Pi 3 B.
public enum RaspberryPiTree {
  /// Makes the tree, unless it is there already.
  ///
  /// - Returns: its path.
  /// - Throws: ``DeviceTreeMissing`` if the sources or a tool are missing.
  public static func path() async throws -> String {
    guard let root = PackageRoot.path else {
      throw DeviceTreeMissing(
        description: "the package's folder was not found: run this inside a clone of KernelStacks")
    }
    let path = "\(root)/build/raspi3b.dtb"
    if FileManager.default.fileExists(atPath: path) { return path }
    try FileManager.default.createDirectory(atPath: "\(root)/build", withIntermediateDirectories: true)
    let result = try await Command("\(root)/Scripts/raspi-tree", [path]).run()
    guard result.exitCode == 0 else {
      let lines = result.errors.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
      throw DeviceTreeMissing(description: lines.last { !$0.isEmpty } ?? "Scripts/raspi-tree failed")
    }
    return path
  }
}
