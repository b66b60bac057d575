// ks_init_with_frames and ks_init_with_addresses: the kernel's functions are tried before they are relied on.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelStacksCHeader

  @c @implementation func ks_init_with_frames(
    _ configuration: UnsafePointer<ks_configuration>!, _ frames: UnsafePointer<ks_frame_functions>!,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let configuration = try begin(configuration)
      let area = try vmallocRange(configuration)
      try useKernelFrames(frames, configuration, beside: area)
      makeArea(area)
      return finish(configuration)
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  @c @implementation func ks_init_with_addresses(
    _ configuration: UnsafePointer<ks_configuration>!, _ frames: UnsafePointer<ks_frame_functions>!,
    _ addresses: UnsafePointer<ks_address_functions>!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let configuration = try begin(configuration)
      guard let addresses else { throw .nullArgument("the table of address functions") }
      guard addresses.pointee.reserve != nil else {
        throw .nullArgument("the function that reserves addresses")
      }
      guard addresses.pointee.entry != nil else { throw .nullArgument("the function that finds an entry") }
      try useKernelFrames(frames, configuration, beside: 0..<0)
      ks_state().pointee.kernel_addresses = addresses.pointee
      ks_state().pointee.addresses = .kernel
      return finish(configuration)
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  /// Has frames come from the kernel's functions, after a look at these and at one frame.
  ///
  /// Why the use of the CPUs' records is sound: the caller promises that there is one for each CPU, and that they stay.
  private func useKernelFrames(
    _ functions: UnsafePointer<ks_frame_functions>?, _ configuration: UnsafePointer<ks_configuration>,
    beside area: Range<UInt>
  ) throws(CInterfaceError) {
    guard let functions else { throw .nullArgument("the table of frame functions") }
    guard functions.pointee.allocate != nil else { throw .nullArgument("the function that allocates a frame") }
    guard functions.pointee.free != nil else { throw .nullArgument("the function that frees a frame") }
    let nodeCount = Int(functions.pointee.node_count)
    guard nodeCount >= 1, nodeCount <= 64 else { throw .nodeCount(nodeCount) }
    guard nodeCount == 1 || functions.pointee.node_of != nil else {
      throw .nullArgument("the function that knows a frame's node")
    }
    let cpuCount = configuration.pointee.cpu_count
    guard let records = configuration.pointee.cpu_records ?? ks_built_in_cpu_records(cpuCount) else {
      throw .nullArgument("the pointer to the CPUs' records")
    }
    guard UInt(bitPattern: records) & 7 == 0 else { throw .unalignedRecords(UInt(bitPattern: records)) }
    if let total = functions.pointee.total?(functions.pointee.context) {
      guard total > 0, total <= 1 &<< 36 else { throw .frameCount(total) }
    }
    try tryFrame(functions.pointee, beside: area)
    ks_state().pointee.kernel_frames = functions.pointee
    ks_state().pointee.frames = .kernel(nodeCount: nodeCount)
    useCPURecords(records, count: Int(cpuCount))
  }

  /// Takes a frame, looks at it, and gives it back.
  private func tryFrame(_ functions: ks_frame_functions, beside area: Range<UInt>) throws(CInterfaceError) {
    let physical = functions.allocate(functions.context, KS_ANY_NODE, !functions.leaves_clearing, true)
    if physical == 0 { throw .noKernelFrame }
    // What is no frame is not given back.
    guard isFrame(physical) else { throw .notAFrame(UInt(physical)) }
    let mistake = mistake(inFirst: physical, functions, beside: area)
    functions.free(functions.context, physical)
    if let mistake { throw mistake }
  }

  private func mistake(
    inFirst physical: UInt64, _ functions: ks_frame_functions, beside area: Range<UInt>
  ) -> CInterfaceError? {
    do throws(CInterfaceError) { try checkMapped(UInt(physical)) } catch { return error }
    if area.contains(UInt(physical) &+ CMachine().linearMapOffset) {
      return .linearMapInVmalloc(UInt(physical) &+ CMachine().linearMapOffset)
    }
    if !functions.leaves_clearing, !isZero(physical) { return .frameNotCleared(UInt(physical)) }
    if let function = functions.node_of {
      let node = function(functions.context, physical)
      guard node >= 0, node < Int32(functions.node_count) else {
        return .unknownNode(Int(node), count: Int(functions.node_count))
      }
    }
    return nil
  }
#endif
