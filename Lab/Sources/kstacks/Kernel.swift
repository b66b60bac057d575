// The kernel that a run boots.

import Figures
import ImageTools

/// Builds the kernel as step 1 of a run, and prints its largest stack frame and the guard.
func buildKernel(for cpu: Guest.CPU, steps: Steps) async throws(CommandError) -> KernelProducts {
  guard Guest.isQemuInstalled else { throw CommandError("\(GuestError.qemuMissing)") }
  let what = "build the kernel"
  steps.begin(1, what)
  do {
    let products = try await KernelBuild.shared.products(for: cpu)
    let frame = products.largestFrame?.byteCount ?? 0
    steps.end(
      1, what,
      "largest stack frame \(grouped(frame)) bytes, least guard \(grouped(KernelBuild.guardMinimum)) bytes")
    return products
  } catch {
    steps.abandon()
    throw CommandError("\(error)")
  }
}
