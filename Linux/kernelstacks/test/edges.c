// SPDX-License-Identifier: GPL-2.0
/*
 * Exceptions while the stack pointer is at a chosen place of the stack: near the edge of a page that may be missing, or near
 * the stack's end. Registers, ESR_EL1, FAR_EL1 and the stack pointer have to be what they were, wherever that is.
 */

#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>
#include <asm/asm-extable.h>
#include <asm/brk-imm.h>
#include <asm/esr.h>
#include <asm/irq_regs.h>
#include <asm/stack_pointer.h>

#include "test.h"

#define PATTERN(n) (1000 + (n))
#define PATTERNS 18

/* Each of x0 to x17 gets its pattern; x19 keeps the stack pointer, which goes to the place. */
#define BEGIN_AT_PLACE                                                                       \
	"	mov	x19, sp\n	mov	sp, %[place]\n"                                           \
	"	.irp	n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n"                          \
	"	mov	x\\n, #(1000 + \\n)\n	.endr\n"
#define END_AT_PLACE                                                                         \
	"	mov	x21, sp\n	mov	sp, x19\n"                                                \
	"	stp	x0, x1, [%[seen]]\n	stp	x2, x3, [%[seen], #16]\n"                           \
	"	stp	x4, x5, [%[seen], #32]\n	stp	x6, x7, [%[seen], #48]\n"                     \
	"	stp	x8, x9, [%[seen], #64]\n	stp	x10, x11, [%[seen], #80]\n"                   \
	"	stp	x12, x13, [%[seen], #96]\n	stp	x14, x15, [%[seen], #112]\n"                \
	"	stp	x16, x17, [%[seen], #128]\n	str	x21, [%[seen], #144]\n"
#define AT_PLACE_CLOBBERS                                                                    \
	"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", \
	"x17", "x19", "x21", "memory", "cc"

/* What the registers were afterwards. */
struct seen {
	unsigned long x[PATTERNS], sp;
};

static int wrong_patterns(const u64 *x)
{
	int n, wrong = 0;

	for (n = 0; n < PATTERNS; n++)
		wrong += x[n] != PATTERN(n);
	return wrong;
}

static unsigned long place; /* of the thread that has the command */
static int wrong, met;

/* A breakpoint: a probe puts it there. */

extern char kernelstacks_break_place[];

static int see_break(struct kprobe *probe, struct pt_regs *registers)
{
	unsigned long esr = read_sysreg(esr_el1);

	met++;
	wrong += registers->sp != place || ESR_ELx_EC(esr) != ESR_ELx_EC_BRK64 || (esr & 0xffff) != KPROBES_BRK_IMM;
	wrong += wrong_patterns(registers->regs);
	registers->pc += 4;
	return 1;
}

static struct kprobe break_probe = { .addr = (kprobe_opcode_t *)kernelstacks_break_place, .pre_handler = see_break };

static noinline void break_at(struct seen *seen)
{
	asm volatile(BEGIN_AT_PLACE "kernelstacks_break_place:	nop\n" END_AT_PLACE
		     : : [place] "r" (place), [seen] "r" (seen) : AT_PLACE_CLOBBERS);
}

/* An interrupt, which the CPU sends to itself. */

static void see_interrupt(struct irq_work *work)
{
	struct pt_regs *registers = get_irq_regs();

	wrong += registers->sp != place || wrong_patterns(registers->regs);
	WRITE_ONCE(met, 1);
}

static struct irq_work interrupt = IRQ_WORK_INIT_HARD(see_interrupt);

static noinline void be_interrupted_at(struct seen *seen)
{
	local_irq_disable();
	irq_work_queue(&interrupt);
	/* What follows turns interrupts on by an instruction: lockdep has to be told. */
	trace_hardirqs_on();
	asm volatile(BEGIN_AT_PLACE
		     "	msr	daifclr, #2\n"
		     "1:	ldr	w21, [%[met]]\n"
		     "	cbz	w21, 1b\n"
		     "	msr	daifset, #2\n" END_AT_PLACE
		     : : [place] "r" (place), [seen] "r" (seen), [met] "r" (&met) : AT_PLACE_CLOBBERS);
	trace_hardirqs_off();
	local_irq_enable();
}

/* A store to the memory of the user: of a page that is not there yet, or where there never is one. */

static unsigned long user_address;

static int see_fault(struct kprobe *probe, struct pt_regs *registers)
{
	if (current->stack != (void *)(place & ~(THREAD_SIZE - 1)) || registers->regs[1] != user_address)
		return 0;
	met++;
	wrong += !(registers->regs[2] & FAULT_FLAG_WRITE);
	return 0;
}

static struct kprobe fault_probe = { .symbol_name = "handle_mm_fault", .pre_handler = see_fault };

static noinline unsigned long store_at(struct seen *seen, unsigned long address)
{
	unsigned long is_refused = 0;

	uaccess_ttbr0_enable();
	asm volatile(BEGIN_AT_PLACE
		     "1:	sttr	x17, [%[address]]\n"
		     "2:\n" END_AT_PLACE
		     "	b	4f\n"
		     "3:	mov	%[is_refused], #1\n"
		     "	b	2b\n"
		     "4:\n"
		     _ASM_EXTABLE_UACCESS(1b, 3b)
		     : [is_refused] "+r" (is_refused)
		     : [place] "r" (place), [seen] "r" (seen), [address] "r" (address) : AT_PLACE_CLOBBERS);
	uaccess_ttbr0_disable();
	return is_refused;
}

static int store_to_absent_page(struct seen *seen)
{
	unsigned long page = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	unsigned long stored = 0;

	if (IS_ERR_VALUE(page))
		return page;
	user_address = page + (place & (PAGE_SIZE - 8));
	wrong += store_at(seen, user_address);
	if (get_user(stored, (unsigned long __user *)user_address) || stored != PATTERN(17))
		wrong++;
	return vm_munmap(page, PAGE_SIZE);
}

/* The store whose address is furthest below the stack pointer. It is done, and then looked at. */
static noinline void push_at(struct seen *seen)
{
	asm volatile(BEGIN_AT_PLACE
		     "	stp	x16, x17, [sp, #-512]!\n"
		     "	mov	x16, #0\n	mov	x17, #0\n"
		     "	ldp	x16, x17, [sp]\n	add	sp, sp, #512\n" END_AT_PLACE
		     : : [place] "r" (place), [seen] "r" (seen) : AT_PLACE_CLOBBERS);
	met = 1;
}

static int prepare(void)
{
	static bool is_prepared;
	int error;

	if (is_prepared)
		return 0;
	error = register_kprobe(&fault_probe) ?: register_kprobe(&break_probe);
	is_prepared = !error;
	return error;
}

int kernelstacks_meet_exception(unsigned int kind, unsigned int offset)
{
	struct seen seen = {};
	int error = prepare();

	place = (unsigned long)task_stack_page(current) + offset;
	if (error || place % 16 || place > current_stack_pointer - 256)
		return error ?: -EINVAL;
	wrong = met = 0;
	switch (kind) {
	case MEET_BREAK:
		break_at(&seen);
		break;
	case MEET_INTERRUPT:
		be_interrupted_at(&seen);
		break;
	case MEET_USER_FAULT:
		error = store_to_absent_page(&seen);
		break;
	case MEET_REFUSED_FAULT:
		met = store_at(&seen, 16);
		break;
	case MEET_PUSH:
		push_at(&seen);
		break;
	default:
		return -EINVAL;
	}
	wrong += met != 1 || seen.sp != place;
	wrong += wrong_patterns((const u64 *)seen.x);
	if (!wrong)
		return error;
	pr_err("kernelstacks: BUG: an exception of kind %u at 0x%x: met %d, %d registers are wrong\n", kind, offset, met, wrong);
	return -EIO;
}
