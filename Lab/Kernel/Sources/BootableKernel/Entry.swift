// SwiftPM requires an `@main`; the kernel begins in boot.S, which calls `kernelBoot`.
@main struct Entry { static func main() {} }
