// swift-tools-version: 6.3
import PackageDescription

let internalChecks: [SwiftSetting] = [.define("INTERNAL_CHECKS", .when(traits: ["InternalChecks"]))]

// Whoever imports the umbrella also names the modules behind it: their inlinable bodies are compiled into the importer,
// and the umbrella's own file does not change when they do, so it alone would not cause the importer to be built again.
let core: [Target.Dependency] = [
  "KernelStacks", "KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks",
  "KernelScheduling",
]

let package = Package(
  name: "KernelStacks",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "KernelStacks", targets: ["KernelStacks"]),
    .executable(name: "kstacks", targets: ["kstacks"]),
    .executable(name: "BootableKernel", targets: ["BootableKernel"]),
    .executable(name: "Init", targets: ["Init"]),
  ],
  traits: [
    .trait(name: "Tools", description: "The kstacks command and what it depends on."),
    .trait(name: "InternalChecks", description: "Invariant checks after every operation of the core modules."),
    .default(enabledTraits: ["Tools"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
  ],
  targets: [
    // The core: compiles unchanged for a host and in Embedded mode.
    .target(name: "KernelMachine"),
    .target(name: "KernelPageFrames", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(name: "KernelVirtualMemory", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(name: "KernelThreadStacks", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(name: "KernelScheduling", dependencies: ["KernelMachine", "KernelThreadStacks"]),
    .target(
      name: "KernelStacks",
      dependencies: [
        "KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks", "KernelScheduling",
      ]),

    // The machines, and what runs on either.
    .target(name: "SeededRandom"),
    .target(name: "SimulatedMachine", dependencies: ["KernelMachine", "SeededRandom"]),
    .target(name: "CAArch64"),
    .target(name: "CYardstick", dependencies: ["CAArch64"]),
    .target(name: "AArch64Machine", dependencies: ["KernelMachine", "CAArch64"]),
    .target(name: "UserPrograms", dependencies: ["SeededRandom"]),
    .target(name: "Scenarios", dependencies: core + ["SeededRandom", "UserPrograms"]),
    .target(
      name: "SimulatedScenarios",
      dependencies: core + ["SeededRandom", "UserPrograms", "Scenarios", "SimulatedMachine"]),

    // The bootable kernel and the first program it runs at EL0.
    .target(name: "KernelAssembly"),
    .executableTarget(
      name: "BootableKernel",
      dependencies: core + [
        "AArch64Machine", "CAArch64", "CYardstick", "KernelAssembly", "Scenarios", "UserPrograms",
      ]),
    .executableTarget(name: "Init", dependencies: ["UserPrograms", "CAArch64"]),

    // The C interface: a header, and the core behind it as a static library (Scripts/build-c-library).
    .target(name: "KernelStacksCHeader"),
    .target(
      name: "KernelStacksC",
      dependencies: [
        "KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks", "AArch64Machine",
        "CAArch64", "KernelStacksCHeader",
      ]),

    // The host command.
    .target(
      name: "ImageTools",
      dependencies: [
        .product(name: "Subprocess", package: "swift-subprocess", condition: .when(traits: ["Tools"]))
      ]),
    .target(
      name: "Figures",
      dependencies: [
        "ImageTools",
        .product(name: "Mustache", package: "swift-mustache", condition: .when(traits: ["Tools"])),
      ]),
    .executableTarget(
      name: "kstacks",
      dependencies: core + [
        "ImageTools", "Figures", "Scenarios", "SimulatedScenarios",
        .product(name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: ["Tools"])),
      ]),

    // Tests.
    .testTarget(name: "KernelMachineTests", dependencies: ["KernelMachine"]),
    .testTarget(name: "AArch64MachineTests", dependencies: ["AArch64Machine", "KernelMachine"]),
    .testTarget(
      name: "KernelPageFramesTests",
      dependencies: ["KernelMachine", "KernelPageFrames", "SimulatedMachine", "SeededRandom"]),
    .testTarget(
      name: "KernelVirtualMemoryTests",
      dependencies: core + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "KernelThreadStacksTests", dependencies: core + ["SimulatedMachine", "SeededRandom", "HostStorm"]),
    .testTarget(
      name: "KernelSchedulingTests", dependencies: core + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(name: "VerifyTests", dependencies: core + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "SimulatedMachineTests", dependencies: core + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .target(name: "TestSupport", dependencies: core + ["SimulatedMachine"], path: "Tests/TestSupport"),
    .testTarget(
      name: "ScenarioTests",
      dependencies: core + [
        "Scenarios", "SimulatedScenarios", "SimulatedMachine", "SeededRandom", "UserPrograms",
      ]),
    .executableTarget(name: "HostStorm", dependencies: core + ["Scenarios"], path: "Tests/HostStorm"),
    .testTarget(name: "LinuxTests"),
    .testTarget(name: "ToolTests", dependencies: ["ImageTools", "Figures", "kstacks", "SimulatedScenarios"]),
    .testTarget(name: "FiguresTests", dependencies: ["ImageTools", "Figures"]),
    .testTarget(name: "BootableKernelTests", dependencies: ["ImageTools"]),
    .testTarget(name: "PackageTests", dependencies: ["ImageTools"]),
  ],
  swiftLanguageModes: [.v6]
)
