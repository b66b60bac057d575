// swift-tools-version: 6.3
// The laboratory: the command that runs workloads in QEMU or on the simulated machine, and measures them, and its pages.
import PackageDescription

let core: Target.Dependency = .product(name: "KernelStacks", package: "KernelStacks")
let simulated: Target.Dependency = .product(name: "SimulatedMachine", package: "KernelStacks")
let random: Target.Dependency = .product(name: "SeededRandom", package: "KernelStacks")
let deviceTree: Target.Dependency = .product(name: "DeviceTree", package: "Kernel")
let processes: Target.Dependency = .product(name: "KernelProcesses", package: "Kernel")
let scenarios: Target.Dependency = .product(name: "Scenarios", package: "Kernel")

let package = Package(
  name: "Lab",
  platforms: [.macOS(.v26)],
  products: [.executable(name: "kstacks", targets: ["kstacks"])],
  traits: [
    .trait(name: "InternalChecks", description: "Invariant checks after every operation of the core modules.")
  ],
  dependencies: [
    .package(
      name: "KernelStacks", path: "..",
      traits: [.trait(name: "InternalChecks", condition: .when(traits: ["InternalChecks"]))]),
    .package(name: "Kernel", path: "Kernel"),
    .package(name: "Fuzzing", path: "Fuzzing"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
  ],
  targets: [
    .target(name: "SimulatedScenarios", dependencies: [core, simulated, random, processes, scenarios]),
    .target(
      name: "ImageTools", dependencies: [.product(name: "Subprocess", package: "swift-subprocess")]),
    .target(
      name: "Figures", dependencies: ["ImageTools", .product(name: "Mustache", package: "swift-mustache")]),
    // Why a fork failed: reports of failed allocations, read and judged.
    .target(name: "FailureReports"),
    .executableTarget(
      name: "kstacks",
      dependencies: [
        core, scenarios, "ImageTools", "Figures", "SimulatedScenarios", "FailureReports",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // A storm on threads of the host, which Thread Sanitizer watches.
    .executableTarget(name: "HostStorm", dependencies: [core, scenarios], path: "Tests/HostStorm"),

    // Tests.
    .testTarget(name: "HostStormTests", dependencies: [core, "HostStorm"]),
    .testTarget(
      name: "ScenarioTests",
      dependencies: [
        core, simulated, random, processes, scenarios, "SimulatedScenarios", "FailureReports",
      ]),
    .testTarget(
      name: "ToolTests",
      dependencies: ["ImageTools", "Figures", "kstacks", "SimulatedScenarios", "FailureReports"]),
    .testTarget(
      name: "FailureReportsTests", dependencies: ["FailureReports", random], exclude: ["CleanLogs", "Reports"]),
    .testTarget(name: "FiguresTests", dependencies: ["ImageTools", "Figures"]),
    .target(name: "DeviceTreeSamples", path: "Tests/DeviceTreeSamples"),
    .testTarget(name: "DeviceTreeTests", dependencies: [core, random, deviceTree, "DeviceTreeSamples"]),
    .testTarget(
      name: "FuzzedInputTests",
      dependencies: [
        core, processes, "ImageTools", .product(name: "FuzzedInputs", package: "Fuzzing"),
      ]),
    .testTarget(
      name: "BootableKernelTests", dependencies: ["DeviceTreeSamples", "ImageTools"]),
    .testTarget(name: "PackageTests", dependencies: [core, "ImageTools"]),
  ],
  swiftLanguageModes: [.v6]
)
