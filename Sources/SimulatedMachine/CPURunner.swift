import KernelMachine

final class CPURunner {
  static func run(_ bodies: [(Simulated) throws -> Void], in simulation: Simulation) throws {
    throw SimulationError.hostThreadRefused
  }
  func step() {}
  func waitForOthers() {}
}
