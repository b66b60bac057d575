// swift-tools-version: 6.3
// Random input for what a boot loader, a process or a log supplies. A package of its own, so that a sanitizer's flags never come near
// another build. The executables have no `main`: libFuzzer brings it (Scripts/fuzz).
import PackageDescription

let core: Target.Dependency = .product(name: "KernelStacks", package: "KernelStacks")
let inputs: Target.Dependency = .target(name: "FuzzedInputs")

let package = Package(
  name: "Fuzzing",
  platforms: [.macOS(.v26)],
  products: [.library(name: "FuzzedInputs", targets: ["FuzzedInputs"])],
  dependencies: [
    .package(name: "KernelStacks", path: "../.."),
    .package(name: "Kernel", path: "../Kernel"),
  ],
  targets: [
    .target(
      name: "FuzzedInputs",
      dependencies: [
        core, "FuzzedReports", .product(name: "SimulatedMachine", package: "KernelStacks"),
        .product(name: "DeviceTree", package: "Kernel"), .product(name: "Scenarios", package: "Kernel"),
        .product(name: "KernelProcesses", package: "Kernel"),
      ]),
    .executableTarget(name: "FuzzDeviceTree", dependencies: [inputs]),
    .executableTarget(name: "FuzzProgram", dependencies: [inputs]),
    .executableTarget(name: "FuzzCommandLine", dependencies: [inputs]),
    .executableTarget(name: "FuzzSystemCalls", dependencies: [inputs]),
    .executableTarget(name: "FuzzKernelLog", dependencies: [inputs]),
    // The laboratory's FailureReports, under another name: the laboratory depends on this package.
    .target(name: "FuzzedReports"),
  ],
  swiftLanguageModes: [.v6]
)
