// SPDX-License-Identifier: GPL-2.0
/*
 * Memory in pieces, exactly: every free page is pinned with an unmovable allocation, so that compaction cannot heal
 * what follows; then, of each two neighbouring blocks of the asked order, one is freed.
 *
 *      frames   0 1 2 3 | 4 5 6 7 | 8 9 ...        order 1
 *               . . # #   # # . .   . .            . free   # pinned
 */

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "test.h"

static unsigned long *pinned; /* one bit for each frame */
static unsigned long first_frame, frame_count;

/* SplitMix64 (Steele, Lea, Flood 2014). */
static u64 next_random(u64 *state)
{
	u64 word = *state += 0x9e3779b97f4a7c15;

	word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
	word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
	return word ^ (word >> 31);
}

/* Pins all blocks of this order and above that can be had; whether there were any. */
static bool pin_all(gfp_t flags, unsigned int order)
{
	bool have_been = false;
	struct page *page;

	drain_all_pages(NULL);
	while ((page = alloc_pages(flags | __GFP_NOWARN, order))) {
		split_page(page, order);
		bitmap_set(pinned, page_to_pfn(page) - first_frame, 1 << order);
		have_been = true;
	}
	return have_been;
}

static void release(unsigned long frame)
{
	__clear_bit(frame, pinned);
	__free_page(pfn_to_page(first_frame + frame));
}

static bool all_pinned(unsigned long frame, unsigned long count)
{
	return find_next_zero_bit(pinned, frame + count, frame) == frame + count;
}

int kernelstacks_fragment(unsigned int order, u64 seed, char *result)
{
	unsigned long block = 1UL << order, frame, offset, chosen;

	if (order > 5)
		return -EINVAL;
	if (pinned)
		return -EBUSY;
	first_frame = ALIGN_DOWN(PHYS_PFN(memblock_start_of_DRAM()), 2 * block);
	frame_count = max_pfn - first_frame;
	pinned = vzalloc(BITS_TO_LONGS(frame_count) * sizeof(long));
	if (!pinned)
		return -ENOMEM;
	kernelstacks_settle();
	/* Without regard to watermarks, and without waking what would reclaim or kill; twice, for what CPUs held back. */
	pin_all(__GFP_MEMALLOC, 0);
	pin_all(__GFP_MEMALLOC, 0);
	for (frame = 0; frame + 2 * block <= frame_count; frame += 2 * block) {
		if (!all_pinned(frame, 2 * block))
			continue;
		chosen = frame + (next_random(&seed) & 1) * block;
		for (offset = 0; offset < block; offset++)
			release(chosen + offset);
	}
	/*
	 * Larger blocks may appear later: the stack of a thread that ends, a slab that reclaim gives back, what compaction
	 * heals. All that fork could get in these ways is got here, and pinned; also what the last attempt leaves, which fails.
	 */
	msleep(200);
	kernelstacks_settle();
	do
		pin_all(GFP_KERNEL | __GFP_RETRY_MAYFAIL, order + 1);
	while (pin_all(__GFP_MEMALLOC, order + 1));
	return kernelstacks_figures(result);
}

int kernelstacks_release(void)
{
	unsigned long frame;

	if (!pinned)
		return -ENOENT;
	for_each_set_bit(frame, pinned, frame_count)
		release(frame);
	vfree(pinned);
	pinned = NULL;
	return 0;
}
