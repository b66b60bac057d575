// The run of a scenario on the simulated machine, with the options of the kernel's command line.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// Runs a scenario on a simulated machine.
///
/// - Parameters:
///   - options: the scenario and its options.
///   - line: called with each line of JSON, as the kernel writes it to its console.
/// - Returns: whether the scenario's checks held and no rule of the machine was broken.
/// - Throws: ``SimulatedRunError`` if the machine cannot be set up.
public func runSimulated(
  _ options: ScenarioOptions, line: @escaping (String) -> Void
) throws(SimulatedRunError) -> Bool {
  let console = LineConsole(handler: line)
  let world = try SimulatedWorld(options)
  let passed =
    options.scenario == .bench
    ? try runBenchmark(options, in: world, console: console)
    : try runProcesses(options, in: world, console: console)

  let violations = world.simulation.violations
  var json = JSONWriter(console)
  json.begin("check")
  json.field("name", "no rule of the machine was broken")
  json.field("passed", violations.isEmpty)
  json.end()
  if let first = violations.first { line(errorLine("\(violations.count) rules broken, first: \(first)")) }
  return passed && violations.isEmpty
}

private func runProcesses(
  _ options: ScenarioOptions, in world: SimulatedWorld, console: LineConsole
) throws(SimulatedRunError) -> Bool {
  let objects = try world.makeKernel(options)
  let kernel = SimulatedKernel(
    machine: world.simulation.machine, processes: objects.processes, console: console, image: world.image,
    lends: options.growth == .lent)
  let host = SimulatedHost(kernel: kernel, threads: SimulatedThreads(kernel: kernel, seed: options.seed))
  return withExtendedLifetime(objects) { runScenario(options, in: objects.processes.pointee, host: host) }
}

/// A line as the kernel writes it when it cannot continue.
private func errorLine(_ message: String) -> String {
  let escaped = message.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
  return "{\"type\":\"error\",\"message\":\"\(escaped)\"}"
}
