// Booting the kernel in QEMU from a test. The kernel is built once in a test process.

import ImageTools
import Testing

/// Boots the kernel with a command line and waits for its end.
///
/// A guest that hangs fails the test by the error that this throws.
func boot(_ commandLine: String, _ configure: (inout Guest) -> Void = { _ in }) async throws -> GuestRun {
  let products = try await KernelBuild.shared.products(for: .cortexA72)
  var guest = Guest(kernel: products.image, initialRAMDisk: products.initProgram, commandLine: commandLine)
  // For a guest that writes a line from time to time, and goes on for ever.
  guest.limits.total = .seconds(1800)
  configure(&guest)
  if guest.cpu != .cortexA72, guest.kernel == products.image {
    guest.kernel = try await KernelBuild.shared.products(for: guest.cpu).image
  }
  return try await guest.run()
}

/// The exit codes of the kernel.
enum ExitCode {
  static let success = 0
  static let failure = 1
  static let panic = 2
}

/// Expects a run that made checks, all of which held.
func expectSuccess(_ run: GuestRun, sourceLocation: SourceLocation = #_sourceLocation) {
  let checks = run.records(ofType: "check")
  #expect(!checks.isEmpty, "no check was made", sourceLocation: sourceLocation)
  let failed = checks.filter { $0["passed"]?.bool != true }.compactMap { $0["name"]?.string }
  #expect(failed == [], sourceLocation: sourceLocation)
  for balance in run.records(ofType: "result").compactMap({ $0["freeFramesEqual"]?.bool }) {
    #expect(balance, "after reclaim fewer or more frames are free", sourceLocation: sourceLocation)
  }
  #expect(
    run.exitCode == ExitCode.success, "\(run.lines.suffix(20).joined(separator: "\n"))",
    sourceLocation: sourceLocation)
}

/// The message of the one error that a run reported.
func errorMessage(_ run: GuestRun) -> String? { run.records(ofType: "error").last?["message"]?.string }
