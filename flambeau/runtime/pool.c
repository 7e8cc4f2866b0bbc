/* The thread pool: one job at a time, cut into chunks of fixed size that threads pick up by an atomic counter.
 *
 * `state` holds the job's epoch (odd: open) and its next chunk in one word, so a thread claims chunks by a compare and
 * swap that fails if the job it looked at is over; a worker that wakes late can do no harm and nobody waits for it.
 * An idle worker spins as long as jobs have lately followed each other closely, then sleeps on a futex. Chunks are
 * fixed by the caller, so which thread ran which is invisible in the result. Imports internal.h; the measurements
 * behind each choice: docs/design/0002-runtime.md. */
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

#define SPIN_NS 200000      /* the longest an idle worker spins: a few times what waking it costs */
#define PREEMPTED_NS 200000 /* so long between two looks at the clock: another process needs the processor … */
#define PENALTY 64          /* … so the workers don't spin for this many jobs */
#define WORTH_NS 80000      /* while they may not, a job with less work left than this isn't worth waking one */
#define MAX_CHUNKS ((int64_t)1 << 31)

enum { AWAKE, ASLEEP, BEING_WOKEN };

struct worker {
    _Alignas(64) _Atomic uint32_t sleep; /* one of the above; the futex it sleeps on */
    pthread_t thread;
    pid_t id;
    int is_barred; /* the waker took a processor off its affinity, which was `affinity` */
    cpu_set_t affinity;
};

static struct {
    /* The job: written before it opens, read by every worker. */
    _Alignas(64) _Atomic(fb_kernel) kernel;
    _Atomic(const int64_t *) args;
    _Atomic int64_t n, unit, chunks; /* iterations, how many make a chunk, and how many chunks */
    _Atomic int share;               /* a claim takes this fraction of what is left */
    _Atomic int caller_cpu;
    _Atomic int64_t spin_ns; /* how long to spin when it is over */

    _Alignas(64) _Atomic uint64_t state; /* epoch << 32 | next chunk */
    _Alignas(64) _Atomic uint32_t done;  /* chunks finished; the caller sleeps on it */
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic int sleepers;
    _Atomic int penalty; /* jobs for which workers shall not spin */
    _Atomic int stop;

    _Alignas(64) _Atomic int busy; /* held by the thread whose job it is, or that changes what follows */
    _Atomic int size;              /* threads wanted, the caller included; 0 = not yet asked for */
    _Atomic int roomy;             /* there is a processor for each thread */
    _Atomic int started;
    int64_t idle_since;
    struct worker workers[FB_MAX_THREADS];
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

/* Claims one `share`-th of the chunks left in the job that `state` shows and runs them. False if none was left. */
static int take_some(uint64_t state, int share) {
    uint32_t epoch = epoch_of(state);
    do {
        /* Read before the claim: that it succeeds proves the job open, hence these its own. Acquire, for whoever sees
         * a field of the next job must then see that this one is closed. */
        fb_kernel kernel = atomic_load_explicit(&pool.kernel, memory_order_acquire);
        const int64_t *args = atomic_load_explicit(&pool.args, memory_order_acquire);
        int64_t n = atomic_load_explicit(&pool.n, memory_order_acquire);
        int64_t unit = atomic_load_explicit(&pool.unit, memory_order_acquire);
        int64_t chunks = atomic_load_explicit(&pool.chunks, memory_order_acquire);
        int64_t first = (uint32_t)state;
        if (first >= chunks) return 0;
        int64_t count = (chunks - first) / share;
        if (count < 1) count = 1;
        if (!atomic_compare_exchange_weak_explicit(&pool.state, &state, state + (uint64_t)count, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        int64_t last = first + count;
        kernel(args, first * unit, last == chunks ? n : last * unit);
        uint32_t before = atomic_fetch_add(&pool.done, (uint32_t)count);
        if (before + (uint32_t)count == (uint32_t)chunks) fb_wake_sleepers(&pool.done, &pool.caller_sleeps);
        return 1;
    } while (epoch_of(state) == epoch);
    return 0;
}

/* Runs what is left of the job that `state` shows, together with whoever else does. */
static void take_part(uint64_t state) {
    uint32_t epoch = epoch_of(state);
    int share = atomic_load_explicit(&pool.share, memory_order_relaxed);
    while (epoch_of(state) == epoch && take_some(state, share))
        state = atomic_load_explicit(&pool.state, memory_order_acquire);
}

void fb_wait_while(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *sleepers) {
    if (atomic_load_explicit(&pool.roomy, memory_order_relaxed)) {
        int64_t start = now_ns();
        do {
            for (int i = 0; i < 16; i++) {
                if (atomic_load(word) != value) return;
                relax();
            }
        } while (now_ns() - start < SPIN_NS);
    }
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == value) futex_wait(word, value);
    atomic_fetch_sub(sleepers, 1);
}

void fb_wake_sleepers(_Atomic uint32_t *word, _Atomic uint32_t *sleepers) {
    if (atomic_load(sleepers) > 0) futex_wake(word, INT_MAX);
}

/* ---- waking --------------------------------------------------------------------------------------------------- */

/* Left to itself, the scheduler often puts a woken thread on the processor of its waker, in the waker's place, and
 * leaves it there for milliseconds. So keep it off this processor and the caller's; it lifts that when it runs. */
static void bar_from_busy_cpus(struct worker *w) {
    w->is_barred = 0;
    if (!atomic_load_explicit(&pool.roomy, memory_order_relaxed)) return;
    if (sched_getaffinity(w->id, sizeof w->affinity, &w->affinity) != 0) return;
    cpu_set_t allowed = w->affinity;
    int here = sched_getcpu(), callers = atomic_load_explicit(&pool.caller_cpu, memory_order_relaxed);
    if (here >= 0 && here < CPU_SETSIZE) CPU_CLR((unsigned)here, &allowed);
    if (callers >= 0 && callers < CPU_SETSIZE) CPU_CLR((unsigned)callers, &allowed);
    w->is_barred = CPU_COUNT(&allowed) > 0 && sched_setaffinity(w->id, sizeof allowed, &allowed) == 0;
}

static void wake_one(void) {
    for (int i = 0; i < pool.started && atomic_load(&pool.sleepers) > 0; i++) {
        struct worker *w = &pool.workers[i];
        uint32_t expected = ASLEEP;
        if (!atomic_compare_exchange_strong(&w->sleep, &expected, BEING_WOKEN)) continue;
        atomic_fetch_sub(&pool.sleepers, 1);
        bar_from_busy_cpus(w);
        atomic_store(&w->sleep, AWAKE);
        futex_wake(&w->sleep, 1);
        return;
    }
}

/* ---- a worker ------------------------------------------------------------------------------------------------- */

/* There is a job that the worker has not yet seen the end of, or it shall stop. */
static int has_news(uint32_t seen) {
    uint64_t state = atomic_load(&pool.state);
    return (is_open(state) && epoch_of(state) != seen) || atomic_load(&pool.stop);
}

static int spin_for_news(uint32_t seen) {
    int64_t limit = atomic_load_explicit(&pool.spin_ns, memory_order_relaxed);
    if (limit == 0) return has_news(seen);
    int64_t start = now_ns(), last = start, t = start;
    while (t - start < limit) {
        for (int i = 0; i < 16; i++) {
            if (has_news(seen)) return 1;
            relax();
        }
        last = t;
        t = now_ns();
        if (t - last > PREEMPTED_NS) {
            atomic_store_explicit(&pool.penalty, PENALTY, memory_order_relaxed);
            break;
        }
    }
    return has_news(seen);
}

static void sleep_until_woken(struct worker *me, uint32_t seen) {
    atomic_fetch_add(&pool.sleepers, 1);
    atomic_store(&me->sleep, ASLEEP);
    uint32_t expected = ASLEEP;
    /* Whoever brings news looks at `sleepers` afterwards: either it sees this one, or this one sees the news. */
    if (has_news(seen) && atomic_compare_exchange_strong(&me->sleep, &expected, AWAKE)) {
        atomic_fetch_sub(&pool.sleepers, 1);
        return;
    }
    for (uint32_t sleep; (sleep = atomic_load(&me->sleep)) != AWAKE;) futex_wait(&me->sleep, sleep);
    if (me->is_barred) sched_setaffinity(0, sizeof me->affinity, &me->affinity);
    /* Each one woken wakes two more: the caller pays for one only. */
    for (int i = 0; i < 2 && has_news(seen); i++) wake_one();
}

static void *work(void *worker) {
    struct worker *me = worker;
    me->id = (pid_t)syscall(SYS_gettid);
    inside = 1;
    uint32_t seen = 0;
    while (!atomic_load(&pool.stop)) {
        uint64_t state = atomic_load(&pool.state);
        if (is_open(state) && epoch_of(state) != seen) {
            take_part(state);
            seen = epoch_of(state);
        }
        if (!spin_for_news(seen)) sleep_until_woken(me, seen);
    }
    return NULL;
}

/* ---- the pool ------------------------------------------------------------------------------------------------- */

static void start_workers(int size) {
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; pool.started < size - 1; pool.started++) {
        struct worker *w = &pool.workers[pool.started];
        atomic_store(&w->sleep, AWAKE);
        if (pthread_create(&w->thread, NULL, work, w) != 0) break;
        pthread_setname_np(w->thread, "flambeau");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool.started < size - 1) atomic_store(&pool.size, pool.started + 1); /* the system gives no more threads */
    atomic_store(&pool.roomy, pool.started + 1 <= fb_system_cpus());
}

static void stop_workers(void) {
    atomic_store(&pool.stop, 1);
    while (atomic_load(&pool.sleepers) > 0) wake_one();
    for (int i = 0; i < pool.started; i++) pthread_join(pool.workers[i].thread, NULL);
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
    for (uint32_t done; (done = atomic_load(&pool.done)) != chunks;)
        fb_wait_while(&pool.done, done, &pool.caller_sleeps);
}

/* Runs one chunk alone and tells whether the others would take long enough for a sleeper to be of use. */
static int is_long(uint64_t open, int64_t chunks) {
    int64_t start = now_ns();
    take_some(open, INT_MAX);
    return (now_ns() - start) * (chunks - 1) > WORTH_NS;
}

static void run_job(fb_kernel k, const int64_t *args, int64_t n, int64_t grain, int known_long, int size) {
    if (pool.started != size - 1) start_workers(size);
    int64_t grains = n / grain + (n % grain != 0);
    int64_t unit = grain * (grains / MAX_CHUNKS + 1); /* more chunks than the counter holds: several count as one */
    int64_t chunks = n / unit + (n % unit != 0);

    /* Jobs that lately came closely one after the other will go on doing so. */
    int64_t gap = now_ns() - pool.idle_since;
    int penalty = atomic_load_explicit(&pool.penalty, memory_order_relaxed);
    if (penalty > 0) atomic_store_explicit(&pool.penalty, penalty - 1, memory_order_relaxed);
    int may_spin = penalty == 0 && atomic_load_explicit(&pool.roomy, memory_order_relaxed);
    int64_t spin_ns = atomic_load_explicit(&pool.spin_ns, memory_order_relaxed) / 2;
    if (gap < SPIN_NS) spin_ns = SPIN_NS;
    atomic_store_explicit(&pool.spin_ns, may_spin ? spin_ns : 0, memory_order_relaxed);

    uint32_t epoch = epoch_of(atomic_load_explicit(&pool.state, memory_order_relaxed));
    atomic_store_explicit(&pool.kernel, k, memory_order_release);
    atomic_store_explicit(&pool.args, args, memory_order_release);
    atomic_store_explicit(&pool.n, n, memory_order_release);
    atomic_store_explicit(&pool.unit, unit, memory_order_release);
    atomic_store_explicit(&pool.chunks, chunks, memory_order_release);
    atomic_store_explicit(&pool.share, 2 * size, memory_order_relaxed);
    atomic_store_explicit(&pool.caller_cpu, sched_getcpu(), memory_order_relaxed);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    uint64_t open = (uint64_t)(epoch + 1) << 32;
    atomic_store(&pool.state, open);

    /* Waking one costs as much as a small job. It is well spent if the worker then spins and finds the next job
     * awake, or if this is the first job in a long while. */
    if (atomic_load(&pool.sleepers) > 0 && (known_long || may_spin || gap > SPIN_NS || is_long(open, chunks)))
        wake_one();
    take_part(open);
    wait_until_done((uint32_t)chunks);
    atomic_store_explicit(&pool.state, (uint64_t)(epoch + 2) << 32, memory_order_release);
    pool.idle_since = now_ns();
}

static void run(fb_kernel k, const int64_t *args, int64_t n, int64_t grain, int known_long) {
    if (n <= 0) return;
    uint64_t mode = fp_get();
    if (mode != FP_DEFAULT) fp_set(FP_DEFAULT);
    if (n <= grain || grain < 1 || inside || fb_num_threads() == 1 || atomic_exchange(&pool.busy, 1)) {
        k(args, 0, n);
    } else {
        inside = 1;
        run_job(k, args, n, grain, known_long, fb_num_threads());
        inside = 0;
        atomic_store_explicit(&pool.busy, 0, memory_order_release);
    }
    if (mode != FP_DEFAULT) fp_set(mode);
}

void fb_parallel_for(fb_kernel k, const int64_t *args, int64_t n, int64_t grain) { run(k, args, n, grain, 0); }

void fb_run_together(fb_kernel k, const int64_t *args, int64_t n) { run(k, args, n, 1, 1); }
