// The stacks of the kernel at EL1h, for its vectors and for C.
#define KS_STACK_SIZE 0x4000
#define KS_STACK_STRIDE 0x8000
#define KS_STACK_PHASE 0
