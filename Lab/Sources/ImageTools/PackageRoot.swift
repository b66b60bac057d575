// The location of the repository's folder.

import Foundation

/// The repository's folder, which holds the library, `Lab` and `build`.
public enum PackageRoot {
  /// Its path, searched upwards from the current directory, then from where the tools were compiled; `nil` if neither has it.
  public static let path: String? = {
    let here = URL(fileURLWithPath: FileManager.default.currentDirectoryPath, isDirectory: true)
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return find(above: here) ?? find(above: source)
  }()

  private static func find(above folder: URL) -> String? {
    var folder = folder.standardizedFileURL
    while true {
      let manifest = folder.appendingPathComponent("Package.swift").path
      let kernel = folder.appendingPathComponent("Lab/Kernel/Sources/BootableKernel").path
      if FileManager.default.fileExists(atPath: manifest), FileManager.default.fileExists(atPath: kernel) {
        return folder.path
      }
      let parent = folder.deletingLastPathComponent().standardizedFileURL
      if parent.path == folder.path { return nil }
      folder = parent
    }
  }
}
