// swift-tools-version: 6.3
import PackageDescription

let internalChecks: [SwiftSetting] = [.define("INTERNAL_CHECKS", .when(traits: ["InternalChecks"]))]

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
  ],
  targets: [
    // The core: compiles unchanged for a host and in Embedded mode.
    .target(name: "KernelMachine", swiftSettings: internalChecks),
    .target(name: "KernelPageFrames", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(name: "KernelVirtualMemory", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(name: "KernelThreadStacks", dependencies: ["KernelMachine"], swiftSettings: internalChecks),
    .target(
      name: "KernelStacks",
      dependencies: ["KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks"]),

    // The machines, and what runs on either.
    .target(name: "SeededRandom"),
    .target(name: "SimulatedMachine", dependencies: ["KernelMachine", "SeededRandom"]),
    .target(name: "CAArch64"),
    .target(name: "AArch64Machine", dependencies: ["KernelMachine", "CAArch64"]),
    .target(name: "UserPrograms", dependencies: ["SeededRandom"]),
    .target(name: "Scenarios", dependencies: ["KernelStacks", "SeededRandom", "UserPrograms"]),
    .target(
      name: "SimulatedScenarios",
      dependencies: ["KernelStacks", "SeededRandom", "UserPrograms", "Scenarios", "SimulatedMachine"]),

    // The bootable kernel and the first program it runs at EL0.
    .target(name: "KernelAssembly"),
    .executableTarget(
      name: "BootableKernel",
      dependencies: ["KernelStacks", "AArch64Machine", "CAArch64", "KernelAssembly", "Scenarios"]),
    .executableTarget(name: "Init", dependencies: ["UserPrograms", "CAArch64"]),

    // The host command.
    .target(
      name: "ImageTools",
      dependencies: [
        .product(name: "Subprocess", package: "swift-subprocess", condition: .when(traits: ["Tools"]))
      ]),
    .executableTarget(
      name: "kstacks",
      dependencies: [
        "ImageTools", "Scenarios", "SimulatedScenarios", "SimulatedMachine", "KernelStacks", "UserPrograms",
        .product(name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: ["Tools"])),
      ]),

    // Tests.
    .testTarget(name: "KernelMachineTests", dependencies: ["KernelMachine"]),
    .testTarget(
      name: "KernelPageFramesTests", dependencies: ["KernelPageFrames", "SimulatedMachine", "SeededRandom"]),
    .testTarget(
      name: "KernelVirtualMemoryTests", dependencies: ["KernelStacks", "SimulatedMachine", "SeededRandom"]),
    .testTarget(
      name: "KernelThreadStacksTests", dependencies: ["KernelStacks", "SimulatedMachine", "SeededRandom"]),
    .testTarget(
      name: "SimulatedMachineTests", dependencies: ["KernelStacks", "SimulatedMachine", "SeededRandom"]),
    .testTarget(
      name: "ScenarioTests",
      dependencies: [
        "KernelStacks", "Scenarios", "SimulatedScenarios", "SimulatedMachine", "SeededRandom", "UserPrograms",
      ]),
    .testTarget(name: "ToolTests", dependencies: ["ImageTools", "kstacks"]),
    .testTarget(name: "BootableKernelTests", dependencies: ["ImageTools"]),
    .testTarget(name: "PackageTests", dependencies: ["ImageTools"]),
  ],
  swiftLanguageModes: [.v6]
)
