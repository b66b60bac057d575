// The per-CPU and machine-wide words that the machine handle reads: static, so that access takes no look-up.
#include "CAArch64.h"

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

_Alignas(64) struct ca_cpu ca_cpus[CA_MAXIMUM_CPUS];
struct ca_machine ca_machine_state;

#endif
