// The part of QEMU's plugin interface that the model uses, version 1 (QEMU 4.2 to 8.1).
#ifndef PLUGIN_INTERFACE_H
#define PLUGIN_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLUGIN_EXPORT __attribute__((visibility("default")))
#define PLUGIN_INTERFACE_VERSION 1

typedef uint64_t plugin_id;
typedef uint32_t memory_information;

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;

struct plugin_information {
  const char *target;
  struct {
    int least, current;
  } version;
  bool is_whole_machine;
  struct {
    int cpus, most_cpus;
  } machine;
};

enum plugin_registers { PLUGIN_NO_REGISTERS };
enum plugin_accesses { PLUGIN_LOADS_AND_STORES = 3 };

typedef void (*translation_callback)(plugin_id, struct qemu_plugin_tb *);
typedef void (*execution_callback)(unsigned int cpu, void *context);
typedef void (*access_callback)(unsigned int cpu, memory_information, uint64_t address, void *context);
typedef void (*end_callback)(plugin_id, void *context);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translation_callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, execution_callback, enum plugin_registers, void *context);
void qemu_plugin_register_vcpu_mem_cb(
    struct qemu_plugin_insn *, access_callback, enum plugin_registers, enum plugin_accesses, void *context);
bool qemu_plugin_mem_is_store(memory_information);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(memory_information, uint64_t address);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
void qemu_plugin_register_atexit_cb(plugin_id, end_callback, void *context);

#endif
