// Builds one executable of a package for bare-metal AArch64 with `swift build`.

import Foundation

/// The error of a failed build.
public struct BuildError: Error, CustomStringConvertible {
  /// The error, for a reader who has not seen the build run.
  public let description: String

  init(_ description: String) { self.description = description }
}

/// The build of one bare-metal executable of a package.
public struct BareMetalBuild: Sendable {
  /// The folder of the package.
  public var packageRoot: String
  /// The product to build.
  public var product: String
  /// The toolset file, relative to the package's folder; it selects Embedded mode and the linker script.
  public var toolset: String
  /// The scratch folder, relative to the package's folder; different toolsets need different ones.
  public var scratch: String

  /// Makes a build; it does not run yet.
  public init(packageRoot: String, product: String, toolset: String, scratch: String) {
    self.packageRoot = packageRoot
    self.product = product
    self.toolset = toolset
    self.scratch = scratch
  }

  /// The path of the linked file.
  public var executablePath: String { "\(packageRoot)/\(scratch)/aarch64-none-none-elf/release/\(product)" }

  /// Builds the executable, and reads the linked file.
  ///
  /// - Throws: ``BuildError`` or ``ElfError``, or the system's error if the linked file cannot be read.
  public func build() async throws -> ElfFile {
    let toolsetPath = "\(packageRoot)/\(toolset)"
    guard FileManager.default.fileExists(atPath: toolsetPath) else {
      throw BuildError("\(toolsetPath) is missing: it says how \(product) is compiled")
    }
    removeOutdatedExecutable()
    let command = Command(
      "swift",
      [
        "build", "--package-path", packageRoot, "-c", "release", "--triple", "aarch64-none-none-elf",
        "--toolset", toolsetPath, "--scratch-path", "\(packageRoot)/\(scratch)", "--product", product,
      ], in: packageRoot)
    let result: CommandResult
    do {
      result = try await command.run()
    } catch {
      throw BuildError("cannot run `swift build`: \(error)")
    }
    guard result.exitCode == 0 else {
      throw BuildError(
        "building \(product) failed (swift build, exit code \(result.exitCode)):\n\(result.output)\(result.errors)"
      )
    }
    return try ElfFile([UInt8](Data(contentsOf: URL(fileURLWithPath: executablePath))))
  }

  /// Removes the linked file if a toolset or a linker script is newer: `swift build` does not link again for those.
  private func removeOutdatedExecutable() {
    let manager = FileManager.default
    guard let linked = modificationDate(executablePath) else { return }
    let root = URL(fileURLWithPath: packageRoot)
    var inputs = [root.appendingPathComponent("Package.swift").path, "\(packageRoot)/\(toolset)"]
    for folder in ["Toolsets", "Sources", "LinkerScripts"] {
      let files = manager.enumerator(atPath: "\(packageRoot)/\(folder)")
      while let file = files?.nextObject() as? String {
        if file.hasSuffix(".ld") || file.hasSuffix(".lds") {
          inputs.append("\(packageRoot)/\(folder)/\(file)")
        }
      }
    }
    if inputs.contains(where: { modificationDate($0).map { $0 >= linked } ?? false }) {
      try? manager.removeItem(atPath: executablePath)
    }
  }

  private func modificationDate(_ path: String) -> Date? {
    try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
  }
}
