// The first program at EL0: it runs the program whose number the kernel put into x0, and exits with its result.
import CAArch64
import UserPrograms

// The linker makes `userEntry` the entry point; SwiftPM also requires an `@main`.
@main struct Entry { static func main() {} }

/// The entry point of the first process: the kernel has set the stack pointer, and the arguments are in x0 to x2.
@c func userEntry(_ number: UInt64, _ seed: UInt64, _ operations: Int) {
  let kernel = ProcessorCalls()
  guard let program = UserProgram(rawValue: number) else { kernel.exit(-2) }
  kernel.exit(runProgram(ProgramArguments(program, seed: seed, operations: operations), on: kernel))
}
