// ks_vmalloc, ks_vfree and the figures of the vmalloc area.
#if hasFeature(Embedded)
  import KernelMachine
  import KernelPageFrames
  import KernelStacksCHeader
  import KernelVirtualMemory

  /// A permanent C string as a `StaticString`.
  ///
  /// Why the cast is sound: (1) `StaticString` is frozen: address, length, flags, of which bit 1 says that the text has no
  /// bytes above 127; (2) the caller promises that the text stays; (3) its bytes are only written out, never decoded.
  ///
  /// Text longer than ``longestCaller`` is cut off.
  private func staticString(_ text: UnsafePointer<CChar>?) -> StaticString {
    guard let text else { return "C" }
    var count = 0
    while count < longestCaller, text[count] != 0 { count &+= 1 }
    return unsafeBitCast((UInt(bitPattern: text), UInt(bitPattern: count), UInt8(2)), to: StaticString.self)
  }

  private var longestCaller: Int { 255 }

  @c @implementation func ks_vmalloc(
    _ size: Int, _ alignment: Int, _ nodeNumber: Int32, _ caller: UnsafePointer<CChar>!,
    _ error: UnsafeMutablePointer<ks_error>!
  ) -> UnsafeMutableRawPointer! {
    do throws(CInterfaceError) {
      let area = try CMemory.ownArea()
      let node = try node(nodeNumber, count: CFrames().nodeCount)
      do throws(VmallocError) {
        return try area.pointee.vmalloc(
          size: size, alignment: alignment, node: node, caller: staticString(caller), frames: CFrames()
        ).pointer
      } catch let refusal { _ = report(refusal, to: error) }
    } catch let interfaceError { _ = report(interfaceError, to: error) }
    return nil
  }

  @c @implementation func ks_vfree(
    _ address: UnsafeMutableRawPointer!, _ error: UnsafeMutablePointer<ks_error>!
  ) -> ks_code {
    do throws(CInterfaceError) {
      let area = try CMemory.ownArea()
      do throws(VmallocError) {
        try area.pointee.vfree(VirtualAddress(UInt(bitPattern: address)), frames: CFrames())
        return KS_OK
      } catch let refusal { return reportMisuse(refusal, to: error) }
    } catch let interfaceError { return report(interfaceError, to: error) }
  }

  @c @implementation func ks_vmalloc_flush() -> Int {
    CMemory.area?.pointee.flush(frames: CFrames()) ?? 0
  }

  @c @implementation func ks_vmalloc_figures_now() -> ks_vmalloc_figures {
    var result = ks_vmalloc_figures()
    guard let area = CMemory.area else { return result }
    let figures = area.pointee.figures
    result.areas = UInt64(figures.areas)
    result.mapped_pages = UInt64(figures.mappedPages)
    result.retired_areas = UInt64(figures.retiredAreas)
    result.retired_pages = UInt64(figures.retiredPages)
    result.table_frames = UInt64(figures.tableFrames)
    result.record_frames = UInt64(figures.recordFrames)
    return result
  }

  @c @implementation func ks_write_vmallocinfo(_ put: ks_put!, _ context: UnsafeMutableRawPointer!) {
    guard let area = CMemory.area, let put else { return }
    var sink = CPutSink(put: put, context: context)
    area.pointee.writeListing(to: &sink)
  }
#endif
