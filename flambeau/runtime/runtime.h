/* The C runtime of flambeau: a thread pool, a caching allocator, executable memory and counter-based random numbers.
 *
 * Plain C11 over POSIX threads and Linux, without dependencies: the Cython core is built on it, and exported programs
 * carry it along. Each concept has its file: pool.c, steps.c, alloc.c (small blocks) over heap.c (large ones), code.c, philox.c,
 * and system.c for what the machine allows. Every function may be called from any thread, and after a fork. */
#ifndef FLAMBEAU_RUNTIME_H
#define FLAMBEAU_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- threads: pool.c, steps.c ----------------------------------------------------------------------------------------- */

/* Iterations [begin, end) of a kernel's outermost parallel loop; one 8-byte slot of `args` per parameter. */
typedef void (*fb_kernel)(const int64_t *args, int64_t begin, int64_t end);

/* Runs iterations [0, n) in chunks of `grain`, the last one perhaps shorter. A call of `k` gets one chunk or several
 * consecutive ones, so `begin` is a multiple of `grain` however many threads there are. Returns when all are done.
 * Runs as a single call on the calling thread if n <= grain, inside another parallel region, or while another thread
 * is using the pool. Here kernels see the default floating-point environment, whatever the calling thread's is. */
void fb_parallel_for(fb_kernel k, const int64_t *args, int64_t n, int64_t grain);

/* One block of one step. */
typedef void (*fb_block_kernel)(const int64_t *args, int64_t step, int64_t block);

/* Runs steps [0, steps) one after the other, each in blocks [0, blocks) that run in any order and at once; a block sees
 * what all earlier steps wrote. A thread keeps to the same blocks, `grain` or more of them, from step to step as long as
 * the others keep up. Returns when all are done. Runs on the calling thread alone where fb_parallel_for does, too. */
void fb_parallel_steps(fb_block_kernel k, const int64_t *args, int64_t steps, int64_t blocks, int64_t grain);

/* Threads that take part in fb_parallel_for, the caller included. At first FLAMBEAU_NUM_THREADS, or the processors
 * that affinity and cgroup leave to this process. */
int fb_num_threads(void);

/* Sets that number. Returns 0, or -1 (and changes nothing) if n is not in 1..FB_MAX_THREADS or from inside a kernel. */
int fb_set_num_threads(int n);
#define FB_MAX_THREADS 1024

/* A kernel of iterations that call a library's routine, one for each matrix of a batch: each.c. */
#define FB_EACH_PARAMETERS 15
void fb_call_each(const int64_t *args, int64_t begin, int64_t end);

/* ---- memory: alloc.c, heap.c --------------------------------------------------------------------------------- */

/* At least `nbytes` bytes aligned to 64, uninitialised; never NULL for 0. NULL when out of memory or over the limit. */
void *fb_alloc(size_t nbytes);

/* Gives back what fb_alloc(nbytes) returned, on any thread; `nbytes` must be the same. NULL is ignored. */
void fb_free(void *p, size_t nbytes);

typedef struct {
    size_t live;            /* bytes asked for and not yet freed */
    size_t peak;            /* the most that `live` has been since the start or fb_memory_reset_peak */
    size_t reserved;        /* bytes of address space held from the system: live, rounding and cache */
    size_t limit;           /* what fb_memory_set_limit set; 0 = none */
    uint64_t allocs;        /* calls of fb_alloc that succeeded */
    uint64_t system_allocs; /* mappings asked from the system */
} fb_memory_stats;

/* `peak` is exact while one thread allocates; each further one can put it off by what its lists hold, 5 MiB at most. */
void fb_memory_get_stats(fb_memory_stats *out);
void fb_memory_reset_peak(void);
void fb_memory_set_limit(size_t bytes); /* on `reserved`; 0 = none. Nothing that is live is taken away. */
void fb_memory_trim(void);              /* gives the system back all cached memory that can be given back */

/* ---- code: code.c -------------------------------------------------------------------------------------------- */

/* A private, executable, page-aligned copy of `image`; NULL if the system refuses. Never writable and executable. */
void *fb_code_load(const void *image, size_t nbytes);
void fb_code_unload(void *p, size_t nbytes);

/* ---- random numbers: philox.c -------------------------------------------------------------------------------- */

/* Philox4x32-10: four 32-bit random numbers as a function of key and counter. */
void fb_philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

#ifdef __cplusplus
}
#endif

#endif
