// The location of the running build's products.

import Foundation

/// The folder that the running executable or test bundle was built into.
public enum BuildProducts {
  /// The path of a file in that folder, or in the nearest folder above that has it; `nil` if none has.
  public static func path(of name: String) -> String? {
    let start = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    // A test bundle on macOS is run by a program of the toolchain: then the package's build folder is searched.
    let built = PackageRoot.path.map { URL(fileURLWithPath: $0).appendingPathComponent("Lab/.build/debug/x") }
    for var folder in [start, built].compactMap({ $0 }) {
      for _ in 0..<5 {
        folder.deleteLastPathComponent()
        let candidate = folder.appendingPathComponent(name).path
        if FileManager.default.fileExists(atPath: candidate) { return candidate }
      }
    }
    return nil
  }
}
