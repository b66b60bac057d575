// The umbrella module: one import for a kernel that uses the whole allocator.

@_exported import KernelMachine
@_exported import KernelPageFrames
@_exported import KernelScheduling
@_exported import KernelThreadStacks
@_exported import KernelVirtualMemory
