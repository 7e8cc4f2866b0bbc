/* Steps that follow one another, each cut into blocks: one parallel region for all of them.
 *
 * Nobody waits for a thread that hasn't come: a step is over when its blocks are, whoever ran them. Each member of the
 * team has a share of the blocks, the same in every step, so what they need stays in its cache; it takes blocks from
 * other shares before it waits. Imports internal.h. Read next: recurrent.c, which walks along time this way. */
#include <stdatomic.h>

#include "internal.h"

#define MOST_MEMBERS 64

struct share {
    _Alignas(64) _Atomic int64_t claimed; /* blocks, counted over all steps */
    int64_t first, blocks;
};

typedef struct {
    fb_block_kernel run;
    const int64_t *args;
    int64_t steps, blocks, members;
    _Alignas(64) _Atomic int64_t finished; /* blocks, counted over all steps */
    _Alignas(64) _Atomic int64_t step;     /* the one that is under way */
    _Atomic uint32_t turn, sleepers;       /* its low bits, set after it: who waits for the next step sleeps on them */
    struct share shares[MOST_MEMBERS];
} team;

/* The next block of a share in a step, or -1. No share is behind a step that has begun. */
static int64_t claim(struct share *s, int64_t step) {
    int64_t at = atomic_load_explicit(&s->claimed, memory_order_relaxed);
    while (at < (step + 1) * s->blocks)
        if (atomic_compare_exchange_weak(&s->claimed, &at, at + 1)) return s->first + at - step * s->blocks;
    return -1;
}

static void take_part(const int64_t *args, int64_t begin, int64_t end) {
    (void)end;
    team *t = (team *)(intptr_t)args[0];
    for (int64_t step; (step = atomic_load(&t->step)) < t->steps;) {
        for (int64_t i = 0; i < t->members; i++) {
            struct share *s = &t->shares[(begin + i) % t->members];
            for (int64_t block; (block = claim(s, step)) >= 0;) {
                t->run(t->args, step, block);
                if (atomic_fetch_add(&t->finished, 1) + 1 < (step + 1) * t->blocks) continue;
                atomic_store(&t->step, step + 1);
                atomic_store(&t->turn, (uint32_t)(step + 1));
                fb_wake_sleepers(&t->turn, &t->sleepers);
            }
        }
        fb_wait_while(&t->turn, (uint32_t)step, &t->sleepers);
    }
}

void fb_parallel_steps(fb_block_kernel k, const int64_t *args, int64_t steps, int64_t blocks, int64_t grain) {
    if (blocks <= 0) return;
    int64_t members = fb_num_threads(), useful = grain < blocks ? blocks / grain : 1;
    if (members > useful) members = useful;
    if (members > MOST_MEMBERS) members = MOST_MEMBERS;
    team t = {.run = k, .args = args, .steps = steps, .blocks = blocks, .members = members};
    for (int64_t i = 0; i < members; i++) {
        struct share *s = &t.shares[i];
        s->first = i * blocks / members;
        s->blocks = (i + 1) * blocks / members - s->first;
    }
    int64_t slots[] = {(int64_t)(intptr_t)&t};
    fb_run_together(take_part, slots, members);
}
