// SwiftPM requires an `@main`; the kernel begins in boot.S, which calls `kernelBoot`.
#if hasFeature(Embedded)
  @main struct Entry { static func main() {} }
#else
  @main struct Stub { static func main() {} }
#endif
