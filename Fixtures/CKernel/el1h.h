// The stacks of the kernel at EL1h, for its vectors and for C.
#define KS_STACK_SIZE 0x4000
#define KS_STACK_STRIDE 0x8000
#define KS_STACK_PHASE 0

// What a vector stores: registers, and where the exception was. At EL0 also the thread's stack pointer there.
#define FRAME 288
