// swift-tools-version: 6.3
// A kernel that does nothing yet.
import PackageDescription

let package = Package(
  name: "ConsumerKernel",
  platforms: [.macOS(.v26)],
  products: [.executable(name: "Kernel", targets: ["Kernel"])],
  targets: [
    .target(name: "Board"),
    .executableTarget(name: "Kernel", dependencies: ["Board"]),
  ],
  swiftLanguageModes: [.v6]
)
