// swift-tools-version: 6.3
// The bootable kernel, the first program at EL0, and the workloads, which also run on the simulated machine.
import PackageDescription

let core: Target.Dependency = .product(name: "KernelStacks", package: "KernelStacks")
let arm64: Target.Dependency = .product(name: "AArch64Machine", package: "KernelStacks")
let instructions: Target.Dependency = .product(name: "CAArch64", package: "KernelStacks")
let random: Target.Dependency = .product(name: "SeededRandom", package: "KernelStacks")

let package = Package(
  name: "Kernel",
  platforms: [.macOS(.v26)],
  products: [
    .executable(name: "BootableKernel", targets: ["BootableKernel"]),
    .executable(name: "Init", targets: ["Init"]),
    .library(name: "KernelProcesses", targets: ["KernelProcesses", "SystemCallInterface"]),
    .library(name: "Scenarios", targets: ["Scenarios", "UserPrograms"]),
    .library(name: "DeviceTree", targets: ["DeviceTree"]),
  ],
  dependencies: [.package(name: "KernelStacks", path: "../..")],
  targets: [
    // Processes, and their system calls.
    .target(name: "SystemCallInterface"),
    .target(name: "KernelProcesses", dependencies: [core, "SystemCallInterface"]),

    // Text of command lines and device trees.
    .target(name: "ByteText"),

    // Workloads for both machines.
    .target(name: "UserPrograms", dependencies: [random, "SystemCallInterface"]),
    .target(name: "Scenarios", dependencies: [core, random, "ByteText", "KernelProcesses", "UserPrograms"]),

    // The board, as its device tree describes it.
    .target(name: "DeviceTree", dependencies: [core, "ByteText"]),

    // For bare metal only: `kstacks` builds them with Toolsets/, and no host can. CYardstick is the same policy in C, as a
    // reference for the allocator's instruction counts.
    .target(name: "KernelAssembly"),
    .target(name: "CYardstick", dependencies: [instructions]),
    .executableTarget(
      name: "BootableKernel",
      dependencies: [
        core, arm64, "ByteText", "CYardstick", "DeviceTree", "KernelAssembly", "KernelProcesses", "Scenarios",
        "SystemCallInterface", "UserPrograms",
      ]),
    .executableTarget(name: "Init", dependencies: [instructions, "SystemCallInterface", "UserPrograms"]),
  ],
  swiftLanguageModes: [.v6]
)
