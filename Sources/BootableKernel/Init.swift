#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly

  @main struct Entry { static func main() {} }

  @c func kernelBoot(_ deviceTree: UInt, _ imageBase: UInt) {
    ca_semihosting_exit(7)
  }
#else
  @main struct Stub { static func main() {} }
#endif
