/* What the runtime's own files share and nobody else sees. Read runtime.h first. */
#ifndef FLAMBEAU_RUNTIME_INTERNAL_H
#define FLAMBEAU_RUNTIME_INTERNAL_H

#include "runtime.h"

#define FB_HIDDEN __attribute__((visibility("hidden")))
#define FB_LIKELY(x) __builtin_expect(!!(x), 1)

/* ---- pool.c: for regions whose threads wait for each other ---------------------------------------------------- */

/* fb_parallel_for with a grain of 1, for work that is always worth waking the others. */
FB_HIDDEN void fb_run_together(fb_kernel k, const int64_t *args, int64_t n);

/* Returns once *word isn't `value`: spins for a while if each thread has a processor, then sleeps. Who changes the word
 * wakes the sleepers, at least where it then has the value that they wait for. */
FB_HIDDEN void fb_wait_while(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *sleepers);
FB_HIDDEN void fb_wake_sleepers(_Atomic uint32_t *word, _Atomic uint32_t *sleepers);

/* ---- system.c: what the machine allows this process ---------------------------------------------------------- */

FB_HIDDEN int fb_system_cpus(void);         /* processors by affinity and cgroup, at least 1 */
FB_HIDDEN size_t fb_system_memory(void);    /* bytes: the smaller of RAM + swap and the cgroup's limit */
FB_HIDDEN size_t fb_system_available(void); /* bytes that could be had now without swapping; SIZE_MAX if unknown */

/* ---- heap.c: large blocks, and the segments alloc.c cuts small ones from ------------------------------------- */

#define FB_HUGE_PAGE ((size_t)2 << 20)
#define FB_SMALL_MAX ((size_t)64 << 10) /* up to here alloc.c, above it heap.c */

/* Kernels stream through several blocks at once, and streams at the same offset in their pages evict each other's
 * cache lines, or wait for each other's stores. So neighbours differ by this: 19 lines of 64 bytes, whose first nine
 * multiples are all at least five lines apart modulo a page. */
#define FB_STAGGER ((size_t)19 * 64)

/* All below but lock and unlock want the lock held. It also guards the central part of alloc.c. */
FB_HIDDEN void fb_heap_lock(void);
FB_HIDDEN void fb_heap_unlock(void);
FB_HIDDEN void *fb_heap_alloc(size_t nbytes); /* nbytes > FB_SMALL_MAX */
FB_HIDDEN void fb_heap_free(void *p);
FB_HIDDEN void *fb_heap_map(size_t nbytes); /* a mapping aligned to FB_HUGE_PAGE, counted in `reserved` */
FB_HIDDEN void fb_heap_unmap(void *p, size_t nbytes);
FB_HIDDEN size_t fb_heap_stagger(unsigned blocks); /* where `blocks` blocks FB_STAGGER apart start, within a page */
FB_HIDDEN void fb_heap_trim(void);
FB_HIDDEN void fb_heap_set_limit(size_t nbytes);
FB_HIDDEN void fb_heap_get_stats(fb_memory_stats *out); /* reserved, limit, system_allocs */

/* ---- alloc.c ------------------------------------------------------------------------------------------------- */

FB_HIDDEN void fb_small_trim(void); /* unmaps the segments without a block in use; the lock is held */

#endif
