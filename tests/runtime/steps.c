/* Steps in blocks: each block of each step once, none before all of the step before, whoever takes part. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define MOST 100

typedef struct {
    int64_t steps, blocks;
    _Atomic int64_t runs[MOST]; /* of each block */
    int64_t sums[2][MOST];      /* plain memory: what a step writes the next one reads */
    _Atomic int64_t failures;
} record;

static int64_t as_slot(const void *p) { return (int64_t)(uintptr_t)p; }

/* Pascal's triangle, so to say: every block adds up all that the step before wrote. */
static void add_up(const int64_t *args, int64_t step, int64_t block) {
    record *r = (record *)(uintptr_t)args[0];
    if (atomic_fetch_add(&r->runs[block], 1) != step) atomic_fetch_add(&r->failures, 1);
    uint64_t sum = (uint64_t)block;
    for (int64_t i = 0; step && i < r->blocks; i++) sum = sum * 3 + (uint64_t)r->sums[(step - 1) % 2][i];
    r->sums[step % 2][block] = (int64_t)sum;
    if (args[1] && (step + block) % 7 == 0) nanosleep(&(struct timespec){0, 20000}, NULL);
}

static int64_t outcome(int64_t steps, int64_t blocks, int64_t grain, int pauses) {
    record r = {.steps = steps, .blocks = blocks};
    int64_t args[] = {as_slot(&r), pauses};
    fb_parallel_steps(add_up, args, steps, blocks, grain);
    CHECK(r.failures == 0);
    for (int64_t i = 0; i < MOST; i++) CHECK(r.runs[i] == (i < blocks ? steps : 0));
    return steps && blocks ? r.sums[(steps - 1) % 2][blocks - 1] : 0;
}

TEST(every_block_of_every_step_runs_once_and_in_turn) {
    const int threads[] = {1, 2, 3, 4, 7, 8, 17, 70};
    const int64_t sizes[][2] = {{0, 5}, {1, 1}, {1, 8}, {50, 1}, {50, 2}, {40, 7}, {30, 8}, {20, 64}, {10, MOST}, {3, 0}};
    for (int i = 0; i < 10; i++) {
        CHECK(fb_set_num_threads(1) == 0);
        int64_t alone = outcome(sizes[i][0], sizes[i][1], 1, 0);
        for (int t = 0; t < 8; t++) {
            CHECK(fb_set_num_threads(threads[t]) == 0);
            for (int64_t grain = 1; grain <= 1000; grain *= 10)
                CHECK(outcome(sizes[i][0], sizes[i][1], grain, 0) == alone);
        }
    }
}

TEST(a_slow_member_is_helped_out) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t alone = outcome(100, 8, 1, 0);
    CHECK(fb_set_num_threads(4) == 0);
    for (int i = 0; i < 20; i++) CHECK(outcome(100, 8, 1, 1) == alone);
}

static void nested(const int64_t *args, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        if (outcome(20, 8, 1, 0) != args[0]) _exit(1);
}

TEST(steps_inside_a_parallel_region) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t args[] = {outcome(20, 8, 1, 0)};
    CHECK(fb_set_num_threads(4) == 0);
    for (int i = 0; i < 20; i++) fb_parallel_for(nested, args, 16, 1);
}

static void for_inside(const int64_t *args, int64_t step, int64_t block) {
    (void)step, (void)block;
    fb_parallel_for(nested, args, 2, 1);
}

TEST(a_parallel_region_inside_a_step) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t args[] = {outcome(20, 8, 1, 0)};
    CHECK(fb_set_num_threads(3) == 0);
    fb_parallel_steps(for_inside, args, 10, 6, 1);
}

static void *many_times(void *alone) {
    for (int i = 0; i < 100; i++) CHECK(outcome(30, 8, 1, 0) == *(int64_t *)alone);
    return NULL;
}

TEST(steps_of_several_threads_at_once) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t alone = outcome(30, 8, 1, 0);
    CHECK(fb_set_num_threads(3) == 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, many_times, &alone) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

TEST(steps_where_the_system_gives_no_threads) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t alone = outcome(30, 8, 1, 0);
    CHECK(fb_set_num_threads(8) == 0);
    thread_budget = 2;
    CHECK(outcome(30, 8, 1, 0) == alone);
}

static void has_default_rounding(const int64_t *args, int64_t step, int64_t block) {
    (void)step, (void)block;
    volatile float smallest = 1e-38f;
    if (smallest / 4 == 0) atomic_fetch_add((_Atomic int64_t *)(uintptr_t)args[0], 1);
}

#if defined(__x86_64__)
#include <immintrin.h>
TEST(steps_see_the_default_floating_point_environment) {
    _Atomic int64_t failures = 0;
    int64_t args[] = {as_slot((void *)&failures)};
    _mm_setcsr(_mm_getcsr() | 0x8040); /* flush to zero */
    for (int n = 1; n < 4; n++) {
        CHECK(fb_set_num_threads(n) == 0);
        fb_parallel_steps(has_default_rounding, args, 5, 4, 1);
        fb_parallel_steps(has_default_rounding, args, 5, 1, 1);
    }
    CHECK(failures == 0 && (_mm_getcsr() & 0x8040) == 0x8040);
}
#endif

TEST(steps_after_a_fork) {
    CHECK(fb_set_num_threads(1) == 0);
    int64_t alone = outcome(30, 8, 1, 0);
    CHECK(fb_set_num_threads(3) == 0);
    CHECK(outcome(30, 8, 1, 0) == alone);
    pid_t child = fork();
    if (child == 0) _exit(outcome(30, 8, 1, 0) != alone);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(outcome(30, 8, 1, 0) == alone);
}
