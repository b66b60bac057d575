// One run of a scenario with one strategy on one machine.

#if Tools
  import ImageTools

  /// What is run, checked against the shared list of scenarios and options.
  struct RunPlan: Sendable {
    /// The least memory that the kernel, its EL0 program and the device tree fit in with something left to measure.
    static let leastMemoryByteCount = 32 << 20

    var words: [String]
    var scenario: String
    var strategy: String
    var memoryByteCount = 128 << 20
    var cpuCount = 1
    var nodeCount = 1
    var cpu: Guest.CPU
    var timeLimit: Int
    var machine: MachineChoice

    /// Checks all options.
    init(_ words: [String], cpu: Guest.CPU, timeLimit: Int, machine: MachineChoice) throws(CommandError) {
      self.words = words
      self.cpu = cpu
      self.timeLimit = timeLimit
      self.machine = machine
      var values: [String: String] = [:]
      for word in words {
        let parts = word.split(separator: "=", maxSplits: 1)
        values[String(parts[0])] = String(parts[1])
      }
      scenario = values["scenario"]!
      strategy = values["strategy"]!
      if !ScenarioCatalogue.scenarios.contains(where: { $0.name == values["scenario"] }) {
        throw CommandError(
          "there is no scenario \(scenario); scenarios: "
            + ScenarioCatalogue.scenarios.map(\.name).joined(separator: " "))
      }
      if let text = values["memory"] {
        guard let size = MemorySize(text) else {
          throw CommandError("memory cannot be \(text); it takes a size such as 128M")
        }
        memoryByteCount = size.byteCount
      }
      if let text = values["cpus"] {
        guard let count = Int(text) else { throw CommandError("cpus cannot be \(text)") }
        cpuCount = count
      }
      if let text = values["numa-nodes"] {
        guard let count = Int(text) else { throw CommandError("numa-nodes cannot be \(text)") }
        nodeCount = count
      }
      try checkMachine()
    }

    private func checkMachine() throws(CommandError) {
      if memoryByteCount < Self.leastMemoryByteCount {
        throw CommandError(
          "\(readable(byteCount: memoryByteCount)) of memory is too little: the kernel needs at least "
            + "\(readable(byteCount: Self.leastMemoryByteCount)) (--memory \(Self.leastMemoryByteCount >> 20)M)"
        )
      }
      guard machine == .qemu else { return }
      if memoryByteCount % (1 << 20) != 0 {
        throw CommandError("the memory of a machine in QEMU is a whole number of MiB")
      }
      if nodeCount > 2 { throw CommandError("the kernel in QEMU has 1 or 2 NUMA nodes, not \(nodeCount)") }
      if cpuCount > 8 { throw CommandError("the kernel in QEMU has 1 to 8 CPUs, not \(cpuCount)") }
    }

    /// What the kernel is told; memory, CPUs and nodes it learns from the device tree.
    var kernelCommandLine: String {
      words.filter { word in
        !["memory=", "cpus=", "numa-nodes="].contains { word.hasPrefix($0) }
      }.joined(separator: " ")
    }
  }
#endif
