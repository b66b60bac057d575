// kstacks pi: the folder that a Raspberry Pi 3 or 4 boots the kernel from, with the files of its firmware beside, and the image of
// an SD card with all that is in the folder.

import ArgumentParser
import Foundation
import ImageTools

struct PiCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pi", abstract: "Make the folder to be copied to an SD card for a Raspberry Pi 3 or 4.")

  @Option(help: "The kernel's command line.") var commandLine =
    "scenario=fork-churn strategy=growing"
  @Option(help: "The folder. (default: build/pi)") var folder: String?
  @Option(help: "The image of a card with all files of the folder. (default: the folder's name with .img)")
  var image: String?

  func run() async throws {
    guard !commandLine.contains("\n"), commandLine.utf8.count <= 1024 else {
      throw CommandError("the kernel's command line is one line of at most 1024 bytes")
    }
    guard let root = PackageRoot.path else {
      throw CommandError("the package's folder was not found: run this inside a clone of KernelStacks")
    }
    let products: KernelProducts
    do { products = try await KernelBuild.shared.products(for: .cortexA72) } catch {
      throw CommandError("\(error)")
    }
    let folder = folder ?? "\(root)/build/pi"
    do { try Self.write(products, commandLine, to: URL(fileURLWithPath: folder)) } catch {
      throw CommandError("cannot write \(folder): \(error.localizedDescription)")
    }
    Terminal.line(
      "\(ResultFile.displayed(folder)): copy it to an SD card, beside the files of Raspberry Pi's firmware")
    let image = image ?? "\(folder).img"
    do { try Self.writeImage(of: URL(fileURLWithPath: folder), to: URL(fileURLWithPath: image)) } catch {
      throw CommandError(
        "cannot write \(image): \((error as? CardImageError)?.description ?? error.localizedDescription)")
    }
    Terminal.line("\(ResultFile.displayed(image)): such a card, with all that is in the folder")
  }

  /// Writes the image of a card with the files of a folder, in the order of their names; folders in it stay out.
  static func writeImage(of folder: URL, to image: URL) throws {
    let files = try FileManager.default.contentsOfDirectory(
      at: folder, includingPropertiesForKeys: [.isRegularFileKey]
    ).filter { try $0.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true }
    let card = try CardImage(
      files.sorted { $0.lastPathComponent < $1.lastPathComponent }.map {
        CardImage.File(name: $0.lastPathComponent, contents: try Data(contentsOf: $0))
      })
    try Data(card.bytes).write(to: image, options: .atomic)
  }

  /// What the firmware is told: which files to load, and to set up the serial port that the device tree chooses.
  private static let configurationFile = """
    arm_64bit=1
    kernel=kernel8.img
    initramfs init.elf followkernel
    enable_uart=1

    """

  private static func write(_ products: KernelProducts, _ commandLine: String, to folder: URL) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    func write(_ data: Data, _ name: String) throws {
      try data.write(to: folder.appendingPathComponent(name), options: .atomic)
    }
    try write(Data(contentsOf: URL(fileURLWithPath: products.image)), "kernel8.img")
    try write(Data(contentsOf: URL(fileURLWithPath: products.initProgram)), "init.elf")
    try write(Data(configurationFile.utf8), "config.txt")
    try write(Data("\(commandLine)\n".utf8), "cmdline.txt")
  }
}
