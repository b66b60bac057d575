// swift-tools-version: 6.3
// What boots: the kernel and the first program it runs at EL0, with the workloads, which run on the simulated machine too.
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
    // Processes, and what they ask of a kernel.
    .target(name: "SystemCallInterface"),
    .target(name: "KernelProcesses", dependencies: [core, "SystemCallInterface"]),

    // Workloads that run on either machine.
    .target(name: "UserPrograms", dependencies: [random, "SystemCallInterface"]),
    .target(name: "Scenarios", dependencies: [core, random, "KernelProcesses", "UserPrograms"]),

    // What a boot loader tells about the board.
    .target(name: "DeviceTree", dependencies: [core]),

    // Only for bare metal. CYardstick is the same policy in C, which the allocator is measured against.
    .target(name: "KernelAssembly"),
    .target(name: "CYardstick", dependencies: [instructions]),
    .executableTarget(
      name: "BootableKernel",
      dependencies: [
        core, arm64, "CYardstick", "DeviceTree", "KernelAssembly", "KernelProcesses", "Scenarios",
        "SystemCallInterface", "UserPrograms",
      ]),
    .executableTarget(name: "Init", dependencies: [instructions, "SystemCallInterface", "UserPrograms"]),
  ],
  swiftLanguageModes: [.v6]
)
