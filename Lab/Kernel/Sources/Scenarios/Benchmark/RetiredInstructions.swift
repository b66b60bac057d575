// The reading that measurements of single operations begin and end with.

import KernelStacks

/// The instructions that the machine has retired until now; 0 where they are not counted.
///
/// It is always a call. A reading that is inlined at some operations costs less there than around nothing at all, so that
/// what is subtracted for it would be too much.
@inline(never)
public func retiredInstructions<M: MeasuredMachine>(_ machine: M) -> UInt64 { machine.counters.instructions }

/// Begins to count cycles; nothing where the machine counts none.
///
/// Both are always calls, and the number lies in memory meanwhile: so registers, and the instructions counted in between, are the
/// same whether or not cycles are counted.
@inline(never)
func startCycles<M: MeasuredMachine>(_ machine: M) { machine.startCycles() }

/// The cycles since the last ``startCycles(_:)``; `nil` where the machine counts none.
@inline(never)
func cyclesSinceStart<M: MeasuredMachine>(_ machine: M) -> Int? { machine.cyclesSinceStart }
