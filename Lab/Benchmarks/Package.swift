// swift-tools-version: 6.3
// How fast the core is on this computer, beside the same policy in C. A package of its own, so that what it depends on is
// nobody else's: `make bench` builds it where it can.
import PackageDescription

let package = Package(
  name: "Benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(name: "KernelStacks", path: "../.."),
    .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
  ],
  targets: [
    // A link to the folder of the package above, whose own target of these sources is for nobody else.
    .target(name: "HostYardstick", path: "Sources/CYardstick"),
    .executableTarget(
      name: "Core",
      dependencies: [
        "HostYardstick", .product(name: "KernelStacks", package: "KernelStacks"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Core", plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ],
  swiftLanguageModes: [.v6]
)
