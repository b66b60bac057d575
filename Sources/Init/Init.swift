#if hasFeature(Embedded)
#else
  @main struct Stub { static func main() {} }
#endif
