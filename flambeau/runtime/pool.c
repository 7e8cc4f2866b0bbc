/* The thread pool: one job at a time, cut into chunks of fixed size that threads pick up by an atomic counter.
 *
 * `state` holds the job's epoch (odd: open) and its next chunk in one word, so a thread claims chunks by a compare and
 * swap that fails if the job it looked at is over; a worker that wakes late can do no harm and nobody waits for it.
 * An idle worker spins for a while that it learns from the gaps it meets, then sleeps on a futex. Chunks are fixed by
 * the caller, so which thread ran which is invisible in the result. Why so: docs/design/0002-runtime.md. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define SPIN_NS 100000     /* the longest an idle worker spins: about three times what waking it costs */
#define PREEMPTED_NS 20000 /* a gap this long between two looks at the clock: someone else needs the processor */
#define PENALTY 64         /* so many idle periods without spinning follow */
#define MAX_CHUNKS ((int64_t)1 << 31)

static struct {
    /* Read by every worker, written once a job. */
    _Alignas(64) _Atomic(fb_kernel) kernel;
    _Atomic(const int64_t *) args;
    _Atomic int64_t n, unit; /* iterations, and how many of them make a chunk */
    _Atomic int64_t chunks;
    _Atomic int share; /* a claim takes this fraction of what is left */

    _Alignas(64) _Atomic uint64_t state; /* epoch << 32 | next chunk */
    _Alignas(64) _Atomic uint32_t done;  /* chunks finished; the caller sleeps on it */
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t sleepers;
    _Atomic uint32_t alarm; /* workers sleep on it */

    _Alignas(64) _Atomic int busy; /* held by the thread whose job it is, or that changes what follows */
    _Atomic int size;              /* threads wanted, the caller included; 0 = not yet asked for */
    _Atomic int stop;
    _Atomic int spin; /* whether there is a processor for each thread */
    int started;
    pthread_t threads[FB_MAX_THREADS];
} pool;

static _Thread_local int inside; /* this thread is running a chunk, or is a worker */

/* ---- the machine ---------------------------------------------------------------------------------------------- */

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Rounding and flush-to-zero modes are per thread, and a library built with -ffast-math changes them for whichever
 * thread loads it: kernels would depend on the thread they run on. */
#if defined(__x86_64__)
#include <immintrin.h>
#define FP_DEFAULT 0x1f80
static uint64_t fp_get(void) { return _mm_getcsr() & 0xffc0; } /* without the sticky exception flags */
static void fp_set(uint64_t mode) { _mm_setcsr((unsigned)mode); }
static void relax(void) { _mm_pause(); }
#elif defined(__aarch64__)
#define FP_DEFAULT 0
static uint64_t fp_get(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void fp_set(uint64_t mode) { __asm__ volatile("msr fpcr, %0" ::"r"(mode)); }
static void relax(void) { __asm__ volatile("isb" ::: "memory"); }
#else
#define FP_DEFAULT 0
static uint64_t fp_get(void) { return FP_DEFAULT; }
static void fp_set(uint64_t mode) { (void)mode; }
static void relax(void) { sched_yield(); }
#endif

/* ---- a job ---------------------------------------------------------------------------------------------------- */

static uint32_t epoch_of(uint64_t state) { return (uint32_t)(state >> 32); }
static int is_open(uint64_t state) { return epoch_of(state) & 1; }

/* Claims and runs chunks of the job that `state` shows until none is left. */
static void take_part(uint64_t state) {
    uint32_t epoch = epoch_of(state);
    while (epoch_of(state) == epoch) {
        /* Read before the claim: that it succeeds proves the job open, hence these its own. */
        fb_kernel kernel = atomic_load_explicit(&pool.kernel, memory_order_relaxed);
        const int64_t *args = atomic_load_explicit(&pool.args, memory_order_relaxed);
        int64_t n = atomic_load_explicit(&pool.n, memory_order_relaxed);
        int64_t unit = atomic_load_explicit(&pool.unit, memory_order_relaxed);
        int64_t chunks = atomic_load_explicit(&pool.chunks, memory_order_relaxed);
        int share = atomic_load_explicit(&pool.share, memory_order_relaxed);
        int64_t first = (uint32_t)state;
        if (first >= chunks) return;
        int64_t count = (chunks - first) / share;
        if (count < 1) count = 1;
        if (!atomic_compare_exchange_weak_explicit(&pool.state, &state, state + (uint64_t)count, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        int64_t last = first + count;
        kernel(args, first * unit, last == chunks ? n : last * unit);
        uint32_t before = atomic_fetch_add(&pool.done, (uint32_t)count);
        if (before + (uint32_t)count == (uint32_t)chunks && atomic_load(&pool.caller_sleeps)) futex_wake(&pool.done, 1);
        state = atomic_load_explicit(&pool.state, memory_order_acquire);
    }
}

/* ---- a worker ------------------------------------------------------------------------------------------------- */

struct patience {
    int64_t spin_ns;
    int penalty;
};

/* There is a job that the worker has not yet seen the end of. */
static int has_news(uint32_t seen) {
    uint64_t state = atomic_load_explicit(&pool.state, memory_order_acquire);
    return (is_open(state) && epoch_of(state) != seen) || atomic_load_explicit(&pool.stop, memory_order_acquire);
}

/* Spins for at most `limit_ns` and tells whether there was news; a preemption ends it and is remembered. */
static int spin_for_news(uint32_t seen, int64_t start, int64_t limit_ns, struct patience *patience) {
    for (int64_t last = start, t = start; t - start < limit_ns; last = t) {
        for (int i = 0; i < 16; i++) {
            if (has_news(seen)) return 1;
            relax();
        }
        t = now_ns();
        if (t - last > PREEMPTED_NS) {
            patience->penalty = PENALTY;
            return 0;
        }
    }
    return 0;
}

static void wait_for_news(uint32_t seen, struct patience *patience) {
    int64_t start = now_ns();
    int may_spin = atomic_load_explicit(&pool.spin, memory_order_relaxed);
    if (may_spin && patience->penalty > 0) patience->penalty--, may_spin = 0;
    if (may_spin && spin_for_news(seen, start, patience->spin_ns, patience)) {
        patience->spin_ns = SPIN_NS;
        return;
    }
    atomic_fetch_add(&pool.sleepers, 1);
    for (;;) {
        uint32_t alarm = atomic_load(&pool.alarm);
        uint64_t state = atomic_load(&pool.state);
        if ((is_open(state) && epoch_of(state) != seen) || atomic_load(&pool.stop)) break;
        futex_wait(&pool.alarm, alarm);
    }
    atomic_fetch_sub(&pool.sleepers, 1);
    patience->spin_ns = now_ns() - start < SPIN_NS ? SPIN_NS : patience->spin_ns / 2;
}

static void *worker(void *unused) {
    (void)unused;
    inside = 1;
    fp_set(FP_DEFAULT);
    struct patience patience = {SPIN_NS, 0};
    uint32_t seen = 0;
    while (!atomic_load_explicit(&pool.stop, memory_order_acquire)) {
        uint64_t state = atomic_load_explicit(&pool.state, memory_order_acquire);
        if (is_open(state) && epoch_of(state) != seen) {
            take_part(state);
            seen = epoch_of(state);
        }
        wait_for_news(seen, &patience);
    }
    return NULL;
}

/* ---- the pool ------------------------------------------------------------------------------------------------- */

static void wake_workers(int count) {
    if (atomic_load(&pool.sleepers) == 0) return;
    atomic_fetch_add(&pool.alarm, 1);
    futex_wake(&pool.alarm, count);
}

static void start_workers(int size) {
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.started < size - 1 && pthread_create(&pool.threads[pool.started], NULL, worker, NULL) == 0) {
        pthread_setname_np(pool.threads[pool.started], "flambeau");
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store(&pool.spin, pool.started + 1 <= fb_system_cpus());
    if (pool.started < size - 1) atomic_store(&pool.size, pool.started + 1); /* the system gives no more threads */
}

static void stop_workers(void) {
    atomic_store(&pool.stop, 1);
    wake_workers(INT_MAX);
    for (int i = 0; i < pool.started; i++) pthread_join(pool.threads[i], NULL);
    pool.started = 0;
    atomic_store(&pool.stop, 0);
}

static int initial_size(void) {
    const char *text = getenv("FLAMBEAU_NUM_THREADS");
    if (text != NULL) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end != text && *end == '\0' && n >= 1 && n <= FB_MAX_THREADS) return (int)n;
    }
    int n = fb_system_cpus();
    return n < FB_MAX_THREADS ? n : FB_MAX_THREADS;
}

int fb_num_threads(void) {
    int size = atomic_load_explicit(&pool.size, memory_order_relaxed);
    if (FB_LIKELY(size > 0)) return size;
    int first = initial_size();
    /* Another thread may have set a size meanwhile: then that one holds. */
    return atomic_compare_exchange_strong(&pool.size, &size, first) ? first : size;
}

int fb_set_num_threads(int n) {
    if (n < 1 || n > FB_MAX_THREADS || inside) return -1;
    while (atomic_exchange(&pool.busy, 1)) nanosleep(&(struct timespec){0, 50000}, NULL);
    if (pool.started > n - 1) stop_workers();
    atomic_store(&pool.size, n);
    atomic_store(&pool.busy, 0);
    return 0;
}

/* In a forked child this thread is the only one; workers come back with the next job. */
static void after_fork_in_child(void) {
    pool.started = 0;
    atomic_store(&pool.state, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.caller_sleeps, 0);
    atomic_store(&pool.stop, 0);
    atomic_store(&pool.busy, 0);
}

__attribute__((constructor)) static void set_up(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/* The caller has no chunk left to claim; others may still be running theirs. */
static void wait_until_done(uint32_t chunks) {
    if (atomic_load_explicit(&pool.spin, memory_order_relaxed)) {
        int64_t start = now_ns(), last = start, t = start;
        do {
            for (int i = 0; i < 16; i++) {
                if (atomic_load_explicit(&pool.done, memory_order_acquire) == chunks) return;
                relax();
            }
            last = t;
            t = now_ns();
        } while (t - start < SPIN_NS && t - last < PREEMPTED_NS);
    }
    atomic_store(&pool.caller_sleeps, 1);
    for (uint32_t done; (done = atomic_load(&pool.done)) != chunks;) futex_wait(&pool.done, done);
    atomic_store(&pool.caller_sleeps, 0);
}

static void run_job(fb_kernel k, const int64_t *args, int64_t n, int64_t grain, int size) {
    if (pool.started != size - 1) start_workers(size);
    int64_t grains = n / grain + (n % grain != 0);
    int64_t grouped = grains / MAX_CHUNKS + 1; /* more chunks than fit the counter: several count as one */
    int64_t unit = grain * grouped;
    int64_t chunks = n / unit + (n % unit != 0);

    uint32_t epoch = epoch_of(atomic_load_explicit(&pool.state, memory_order_relaxed));
    atomic_store_explicit(&pool.kernel, k, memory_order_relaxed);
    atomic_store_explicit(&pool.args, args, memory_order_relaxed);
    atomic_store_explicit(&pool.n, n, memory_order_relaxed);
    atomic_store_explicit(&pool.unit, unit, memory_order_relaxed);
    atomic_store_explicit(&pool.chunks, chunks, memory_order_relaxed);
    atomic_store_explicit(&pool.share, 2 * (pool.started + 1), memory_order_relaxed);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    uint64_t open = (uint64_t)(epoch + 1) << 32;
    atomic_store(&pool.state, open);
    wake_workers(chunks - 1 < pool.started ? (int)(chunks - 1) : pool.started);

    take_part(open);
    wait_until_done((uint32_t)chunks);
    atomic_store_explicit(&pool.state, (uint64_t)(epoch + 2) << 32, memory_order_release);
}

void fb_parallel_for(fb_kernel k, const int64_t *args, int64_t n, int64_t grain) {
    if (n <= 0) return;
    uint64_t mode = fp_get();
    if (mode != FP_DEFAULT) fp_set(FP_DEFAULT);
    int size = fb_num_threads();
    if (n <= grain || grain < 1 || inside || size == 1 || atomic_exchange(&pool.busy, 1)) {
        k(args, 0, n);
    } else {
        inside = 1;
        run_job(k, args, n, grain, size);
        inside = 0;
        atomic_store_explicit(&pool.busy, 0, memory_order_release);
    }
    if (mode != FP_DEFAULT) fp_set(mode);
}
