// swift-tools-version: 6.3
// A kernel that gets its stacks from KernelStacks, as somebody else's package would.
import PackageDescription

let package = Package(
  name: "ConsumerKernel",
  platforms: [.macOS(.v26)],
  products: [.executable(name: "Kernel", targets: ["Kernel"])],
  dependencies: [
    .package(url: "https://github.com/KernelStacks/KernelStacks", from: "0.1.0")
  ],
  targets: [
    .target(name: "Board"),
    .target(name: "Machine", dependencies: ["Board", .product(name: "KernelStacks", package: "KernelStacks")]),
    .executableTarget(
      name: "Kernel",
      dependencies: ["Board", "Machine", .product(name: "KernelStacks", package: "KernelStacks")]),
  ],
  swiftLanguageModes: [.v6]
)
