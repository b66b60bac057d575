// swift-tools-version: 6.3
import PackageDescription

let internalChecks: [SwiftSetting] = [.define("INTERNAL_CHECKS", .when(traits: ["InternalChecks"]))]

// The umbrella comes with the modules behind it: their bodies are compiled into the importer, and the umbrella's own
// file does not change when they do, so it alone would not cause the importer to be built again.
let core = [
  "KernelStacks", "KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks",
  "KernelScheduling",
]
let coreAsDependency = core.map { Target.Dependency.target(name: $0) }

let package = Package(
  name: "KernelStacks",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "KernelStacks", targets: core),
    .library(name: "AArch64Machine", targets: ["AArch64Machine", "CAArch64"]),
    .library(name: "CAArch64", targets: ["CAArch64"]),
    .library(name: "SimulatedMachine", targets: ["SimulatedMachine"]),
    .library(name: "SeededRandom", targets: ["SeededRandom"]),
  ],
  traits: [
    .trait(name: "InternalChecks", description: "Invariant checks after every operation of the core modules.")
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

    // The machines that it runs on.
    .target(name: "CAArch64"),
    .target(name: "AArch64Machine", dependencies: ["KernelMachine", "CAArch64"]),
    .target(name: "SeededRandom"),
    .target(name: "SimulatedMachine", dependencies: ["KernelMachine", "SeededRandom"]),

    // The C interface: a header, and the core behind it as a static library (Scripts/build-c-library).
    .target(name: "KernelStacksCHeader"),
    .target(
      name: "KernelStacksC",
      dependencies: [
        "KernelMachine", "KernelPageFrames", "KernelVirtualMemory", "KernelThreadStacks", "AArch64Machine",
        "CAArch64", "KernelStacksCHeader",
      ]),

    // Tests.
    .testTarget(name: "KernelMachineTests", dependencies: ["KernelMachine"]),
    .testTarget(
      name: "AArch64MachineTests",
      dependencies: ["AArch64Machine", "KernelMachine", "LockHarness", "SimulatedMachine"]),
    .target(name: "LockHarness", path: "Tests/LockHarness"),
    .testTarget(
      name: "KernelPageFramesTests",
      dependencies: ["KernelMachine", "KernelPageFrames", "SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "KernelVirtualMemoryTests",
      dependencies: coreAsDependency + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "KernelThreadStacksTests",
      dependencies: coreAsDependency + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "KernelSchedulingTests",
      dependencies: coreAsDependency + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "VerifyTests",
      dependencies: coreAsDependency + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .testTarget(
      name: "SimulatedMachineTests",
      dependencies: coreAsDependency + ["SimulatedMachine", "SeededRandom", "TestSupport"]),
    .target(
      name: "TestSupport", dependencies: coreAsDependency + ["SimulatedMachine"], path: "Tests/TestSupport"),
    .testTarget(name: "LinuxTests"),
  ],
  swiftLanguageModes: [.v6]
)
