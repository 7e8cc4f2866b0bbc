/* The thread pool: every iteration once, chunk boundaries that no thread count moves, and no way to deadlock it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define N 10000

static int64_t as_slot(const void *p) { return (int64_t)(uintptr_t)p; }

/* args: counters, grain, failures. Counts each iteration and whether the call began on a chunk's boundary. */
static void count_iterations(const int64_t *args, int64_t begin, int64_t end) {
    _Atomic unsigned char *counters = (void *)(uintptr_t)args[0];
    if (begin % args[1] != 0 || begin >= end) atomic_fetch_add((_Atomic int *)(uintptr_t)args[2], 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&counters[i], 1);
}

static void check_coverage(int64_t n, int64_t grain) {
    static _Thread_local _Atomic unsigned char counters[N];
    static _Thread_local _Atomic int failures;
    memset((void *)counters, 0, sizeof counters);
    int64_t args[] = {as_slot((void *)counters), grain, as_slot((void *)&failures)};
    fb_parallel_for(count_iterations, args, n, grain);
    CHECK(failures == 0);
    for (int64_t i = 0; i < N; i++) CHECK(counters[i] == (i < n));
}

TEST(every_iteration_runs_once_in_whole_chunks) {
    const int64_t lengths[] = {0, 1, 2, 63, 64, 65, 128, 129, 1000, 9999, N};
    const int64_t grains[] = {1, 2, 7, 64, 1000, 9999, N, INT64_MAX};
    const int threads[] = {1, 2, 3, 4, 8, 17};
    for (int t = 0; t < 6; t++) {
        CHECK(fb_set_num_threads(threads[t]) == 0);
        CHECK(fb_num_threads() == threads[t]);
        for (int i = 0; i < 11; i++)
            for (int j = 0; j < 8; j++) check_coverage(lengths[i], grains[j]);
    }
    fb_parallel_for(count_iterations, NULL, -5, 1); /* nothing to run: `args` is not looked at */
}

/* args: sum of lengths, grain, failures. */
static void sum_lengths(const int64_t *args, int64_t begin, int64_t end) {
    if (begin % args[1] != 0) atomic_fetch_add((_Atomic int *)(uintptr_t)args[2], 1);
    atomic_fetch_add((_Atomic int64_t *)(uintptr_t)args[0], end - begin);
}

TEST(lengths_beyond_the_chunk_counter) {
    CHECK(fb_set_num_threads(4) == 0);
    const int64_t lengths[] = {(int64_t)1 << 31, ((int64_t)1 << 33) + 7, ((int64_t)1 << 62) + 1, INT64_MAX};
    const int64_t grains[] = {1, 7, 1000003, (int64_t)1 << 40, INT64_MAX - 1};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 5; j++) {
            _Atomic int64_t sum = 0;
            _Atomic int failures = 0;
            int64_t args[] = {as_slot((void *)&sum), grains[j], as_slot((void *)&failures)};
            fb_parallel_for(sum_lengths, args, lengths[i], grains[j]);
            CHECK(sum == lengths[i] && failures == 0);
        }
    }
}

static void spin_ns(int64_t duration) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t start = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
    do clock_gettime(CLOCK_MONOTONIC, &t);
    while (t.tv_sec * INT64_C(1000000000) + t.tv_nsec - start < duration);
}

TEST(jobs_after_pauses_of_every_length) {
    CHECK(fb_set_num_threads(3) == 0);
    uint64_t random = 1;
    for (int i = 0; i < 300; i++) {
        int64_t pause = (int64_t)(next_random(&random) % 1000);
        if (i % 3 == 0) usleep((unsigned)pause);
        else spin_ns(pause * 300);
        check_coverage(1 + (int64_t)(next_random(&random) % N), 1 + (int64_t)(next_random(&random) % 500));
    }
}

/* args: failures, the outer caller's thread. A nested region must be a single call on this very thread. */
static _Thread_local int calls;
static void inner(const int64_t *args, int64_t begin, int64_t end) {
    if (begin != 0 || end != 100) atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
    calls++;
}
static void outer(const int64_t *args, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        int before = calls;
        fb_parallel_for(inner, args, 100, 1);
        if (calls != before + 1) atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
        if (fb_set_num_threads(2) != -1) atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
    }
}

TEST(nested_regions_run_serially) {
    CHECK(fb_set_num_threads(4) == 0);
    _Atomic int failures = 0;
    int64_t args[] = {as_slot((void *)&failures)};
    for (int i = 0; i < 50; i++) fb_parallel_for(outer, args, 64, 1);
    CHECK(failures == 0);
}

static void *call_often(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 150; i++)
        check_coverage(1 + (int64_t)(next_random(&random) % N), 1 + (int64_t)(next_random(&random) % 300));
    return NULL;
}

static void run_callers(int count, void *(*body)(void *)) {
    pthread_t threads[8];
    for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, body, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

TEST(many_callers_at_once) {
    CHECK(fb_set_num_threads(3) == 0);
    run_callers(5, call_often);
}

static void *call_and_resize(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 60; i++) {
        CHECK(fb_set_num_threads(1 + (int)(next_random(&random) % 6)) == 0);
        int size = fb_num_threads();
        CHECK(size >= 1 && size <= 6);
        check_coverage(N, 1 + (int64_t)(next_random(&random) % 300));
    }
    return NULL;
}

TEST(resizing_while_others_call) { run_callers(4, call_and_resize); }

TEST(sizes_out_of_range_are_refused) {
    int size = fb_num_threads();
    CHECK(fb_set_num_threads(0) == -1 && fb_set_num_threads(-3) == -1);
    CHECK(fb_set_num_threads(FB_MAX_THREADS + 1) == -1);
    CHECK(fb_num_threads() == size);
}

TEST(no_more_threads_from_the_system) {
    CHECK(fb_set_num_threads(8) == 0);
    thread_budget = 2;
    check_coverage(N, 10);
    CHECK(fb_num_threads() == 3);
    check_coverage(N, 10);
    CHECK(fb_set_num_threads(1) == 0);
    thread_budget = 0;
    CHECK(fb_set_num_threads(5) == 0);
    check_coverage(N, 10);
    CHECK(fb_num_threads() == 1);
}

static pthread_t main_thread;
/* args: failures, workers seen. */
static void check_signal_mask(const int64_t *args, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    spin_ns(20000);
    if (pthread_equal(pthread_self(), main_thread)) return;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (!sigismember(&mask, SIGINT) || !sigismember(&mask, SIGTERM))
        atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
    atomic_fetch_add((_Atomic int *)(uintptr_t)args[1], 1);
}

TEST(workers_take_part_and_leave_signals_to_the_program) {
    main_thread = pthread_self();
    CHECK(fb_set_num_threads(4) == 0);
    _Atomic int failures = 0, workers = 0;
    int64_t args[] = {as_slot((void *)&failures), as_slot((void *)&workers)};
    while (workers == 0) fb_parallel_for(check_signal_mask, args, 64, 1);
    CHECK(failures == 0);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGINT));
}

static cpu_set_t processors;
/* args: calls, calls on a thread whose affinity is what the program's is. */
static void check_affinity(const int64_t *args, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    cpu_set_t here;
    if (sched_getaffinity(0, sizeof here, &here) != 0) return;
    atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
    if (CPU_EQUAL(&here, &processors)) atomic_fetch_add((_Atomic int *)(uintptr_t)args[1], 1);
    spin_ns(2000);
}

/* Waking keeps a worker off some processors, but for that moment alone. */
TEST(workers_keep_the_affinity_of_the_program) {
    CHECK(sched_getaffinity(0, sizeof processors, &processors) == 0);
    _Atomic int all = 0, equal = 0;
    int64_t args[] = {as_slot((void *)&all), as_slot((void *)&equal)};
    for (int i = 0; i < 200; i++) {
        usleep(i % 4 * 200);
        fb_parallel_for(check_affinity, args, 64, 1);
    }
    CHECK(all > 0 && equal == all);
}

#if defined(__x86_64__)
#include <immintrin.h>
#define FLUSH_TO_ZERO 0x8040u
static unsigned get_mode(void) { return _mm_getcsr() & 0xffc0; }
static void set_mode(unsigned mode) { _mm_setcsr(mode); }
#define DEFAULT_MODE 0x1f80u
#else
#define FLUSH_TO_ZERO 0u
#define DEFAULT_MODE 0u
static unsigned get_mode(void) { return 0; }
static void set_mode(unsigned mode) { (void)mode; }
#endif

/* args: failures. */
static void check_mode(const int64_t *args, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    if (get_mode() != DEFAULT_MODE) atomic_fetch_add((_Atomic int *)(uintptr_t)args[0], 1);
}

TEST(kernels_see_the_default_floating_point_environment) {
    set_mode(DEFAULT_MODE | FLUSH_TO_ZERO);
    CHECK(fb_set_num_threads(4) == 0);
    _Atomic int failures = 0;
    int64_t args[] = {as_slot((void *)&failures)};
    for (int i = 0; i < 100; i++) fb_parallel_for(check_mode, args, 100, 1);
    fb_parallel_for(check_mode, args, 1, 1);
    CHECK(failures == 0);
    CHECK(get_mode() == (DEFAULT_MODE | FLUSH_TO_ZERO));
    set_mode(DEFAULT_MODE);
}

static _Atomic int keep_going = 1;

static void *call_and_allocate_until_told(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed;
    while (keep_going) {
        check_coverage(N, 1 + (int64_t)(next_random(&random) % 300));
        size_t nbytes = (size_t)(next_random(&random) % 200000);
        fb_free(fb_alloc(nbytes), nbytes);
    }
    return NULL;
}

/* Children are forked while other threads are inside the pool and the allocator, and use both. */
TEST(fork_at_any_time) {
    CHECK(fb_set_num_threads(3) == 0);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, call_and_allocate_until_told, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 25; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int j = 0; j < 3; j++) check_coverage(N, 16);
            for (size_t nbytes = 1; nbytes < (size_t)8 << 20; nbytes *= 3) {
                char *p = fb_alloc(nbytes);
                CHECK(p != NULL);
                p[nbytes - 1] = 1;
                fb_free(p, nbytes);
            }
            _Atomic int failures = 0, workers = 0;
            int64_t args[] = {as_slot((void *)&failures), as_slot((void *)&workers)};
            main_thread = pthread_self();
            while (workers == 0) fb_parallel_for(check_signal_mask, args, 64, 1);
            CHECK(fb_num_threads() == 3 && fb_set_num_threads(2) == 0);
            check_coverage(N, 16);
            fb_memory_trim();
            pid_t grandchild = fork();
            if (grandchild == 0) {
                check_coverage(N, 16);
                _exit(0);
            }
            int status;
            CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        check_coverage(N, 16);
    }
    keep_going = 0;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

TEST(print_num_threads) { printf("%d\n", fb_num_threads()); }
