/* The allocator against a model: blocks aligned, disjoint and counted; memory reused, bounded and given back. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static fb_memory_stats stats(void) {
    fb_memory_stats s;
    fb_memory_get_stats(&s);
    return s;
}

struct block {
    unsigned char *p;
    size_t nbytes;
    unsigned char mark;
};

/* Marks ends and one byte per KiB: enough to notice another block in the same place. */
static void fill(struct block b) {
    for (size_t i = 0; i < b.nbytes; i += KIB) b.p[i] = b.mark;
    if (b.nbytes > 0) b.p[b.nbytes - 1] = b.mark;
}

static void check_filled(struct block b) {
    for (size_t i = 0; i < b.nbytes; i += KIB) CHECK(b.p[i] == b.mark);
    if (b.nbytes > 0) CHECK(b.p[b.nbytes - 1] == b.mark);
}

static struct block allocate(size_t nbytes, unsigned char mark) {
    struct block b = {fb_alloc(nbytes), nbytes, mark};
    CHECK(b.p != NULL && (uintptr_t)b.p % 64 == 0);
    fill(b);
    return b;
}

static void release(struct block b) {
    check_filled(b);
    fb_free(b.p, b.nbytes);
}

/* From 0 to 2^max_log2, each power of two as likely as any other, and often a power of two itself. */
static size_t random_size(uint64_t *random, unsigned max_log2) {
    size_t power = (size_t)1 << next_random(random) % max_log2;
    uint64_t what = next_random(random) % 8;
    return what == 0 ? power : what == 1 ? power - 1 : what == 2 ? power + 1 : power + next_random(random) % power;
}

TEST(random_blocks_against_a_model) {
    enum { SLOTS = 300, STEPS = 16000 };
    static struct block slots[SLOTS];
    uint64_t random = 7;
    size_t live = 0, peak = 0;
    for (int step = 0; step < STEPS; step++) {
        struct block *b = &slots[next_random(&random) % SLOTS];
        if (b->p != NULL) {
            release(*b);
            live -= b->nbytes;
            b->p = NULL;
        } else {
            *b = allocate(random_size(&random, next_random(&random) % 32 ? 18 : 24), (unsigned char)step);
            live += b->nbytes;
            if (live > peak) peak = live;
        }
        if (step % 64 == 0 || step > STEPS - 100) {
            fb_memory_stats s = stats();
            CHECK(s.live == live && s.peak == peak && s.reserved >= live);
        }
        if (step % 8000 == 4000) {
            fb_memory_trim();
            fb_memory_reset_peak();
            peak = live;
        }
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].p != NULL) release(slots[i]);
    CHECK(stats().live == 0);
    fb_memory_trim();
    CHECK(stats().reserved == 0);
}

TEST(every_small_size) {
    for (size_t nbytes = 0; nbytes < 70000; nbytes++) {
        struct block a = allocate(nbytes, 1), b = allocate(nbytes, 2);
        if (nbytes % 101 == 0) memset(a.p, 1, nbytes), memset(b.p, 2, nbytes);
        release(a);
        release(b);
    }
    fb_free(NULL, 100);
}

/* Threads leave blocks in a shared place and free what others left there. */
enum { MAILBOXES = 64 };
static struct block mailboxes[MAILBOXES];
static pthread_mutex_t mail_lock = PTHREAD_MUTEX_INITIALIZER;

static void *exchange_blocks(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 15000; i++) {
        struct block mine = allocate(random_size(&random, i % 64 ? 16 : 23), (unsigned char)next_random(&random));
        unsigned box = next_random(&random) % MAILBOXES;
        pthread_mutex_lock(&mail_lock);
        struct block theirs = mailboxes[box];
        mailboxes[box] = mine;
        pthread_mutex_unlock(&mail_lock);
        if (theirs.p != NULL) release(theirs);
        if (i % 5000 == 0) fb_memory_trim();
        if (i % 500 == 0) CHECK(stats().peak > 0);
    }
    return NULL;
}

TEST(blocks_freed_by_other_threads) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, exchange_blocks, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    size_t live = 0;
    for (int i = 0; i < MAILBOXES; i++) live += mailboxes[i].nbytes;
    CHECK(stats().live == live);
    for (int i = 0; i < MAILBOXES; i++)
        if (mailboxes[i].p != NULL) release(mailboxes[i]);
    CHECK(stats().live == 0 && stats().allocs == 4 * 15000);
    fb_memory_trim();
    CHECK(stats().reserved == 0);
}

TEST(blocks_are_reused) {
    const size_t sizes[] = {1,      64,  1000,    64 * KIB, 64 * KIB + 1, 100000,
                            MIB, 3 * MIB, 5 * MIB, 16 * MIB + 1, 100 * MIB};
    for (int i = 0; i < 11; i++) {
        void *p = fb_alloc(sizes[i]);
        fb_free(p, sizes[i]);
        uint64_t before = stats().system_allocs;
        for (int j = 0; j < 100; j++) {
            CHECK(fb_alloc(sizes[i]) == p);
            fb_free(p, sizes[i]);
        }
        CHECK(stats().system_allocs == before);
    }
    /* A slightly smaller request gets the large block too, a much smaller one doesn't. */
    void *p = fb_alloc(200 * MIB);
    fb_free(p, 200 * MIB);
    void *q = fb_alloc(190 * MIB);
    CHECK(p == q);
    fb_free(q, 190 * MIB);
    q = fb_alloc(120 * MIB);
    CHECK(p != q);
    fb_free(q, 120 * MIB);
}

TEST(holes_are_filled_before_more_is_mapped) {
    enum { COUNT = 6000 };
    static struct block blocks[COUNT];
    const size_t sizes[] = {128, 3000, 20 * KIB, 80 * KIB};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < COUNT; j++) blocks[j] = (struct block){fb_alloc(sizes[i]), sizes[i], 0};
        size_t reserved = stats().reserved;
        for (int round = 1; round < 4; round++) {
            for (int j = 0; j < COUNT; j++)
                if (j % 4 != round) fb_free(blocks[j].p, sizes[i]);
            for (int j = 0; j < COUNT; j++)
                if (j % 4 != round) blocks[j].p = fb_alloc(sizes[i]);
            CHECK(stats().reserved == reserved);
        }
        for (int j = 0; j < COUNT; j++) fb_free(blocks[j].p, sizes[i]);
        fb_memory_trim();
        CHECK(stats().reserved == 0);
    }
}

/* What is reserved exceeds what is asked for by little, for each size. */
TEST(rounding_is_bounded) {
    for (size_t nbytes = 65; nbytes < 40 * MIB; nbytes += nbytes / 3) {
        size_t count = 128 * MIB / nbytes;
        if (count > 1000) count = 1000;
        struct block *blocks = malloc(count * sizeof *blocks);
        for (size_t i = 0; i < count; i++) blocks[i] = (struct block){fb_alloc(nbytes), nbytes, 0};
        fb_memory_stats s = stats();
        CHECK(s.live == count * nbytes);
        CHECK(s.reserved <= s.live + s.live / 3 + 34 * MIB);
        for (size_t i = 0; i < count; i++) fb_free(blocks[i].p, nbytes);
        free(blocks);
        fb_memory_trim();
        CHECK(stats().reserved == 0);
    }
}

/* Many different large sizes one after the other: the cache may not pile up. Nothing is touched, so this is cheap. */
TEST(cache_is_bounded_by_the_peak) {
    uint64_t random = 3;
    for (int i = 0; i < 2000; i++) {
        size_t nbytes = MIB + next_random(&random) % (64 * MIB);
        void *p = fb_alloc(nbytes);
        CHECK(p != NULL);
        fb_free(p, nbytes);
        fb_memory_stats s = stats();
        CHECK(s.reserved <= s.peak + s.peak / 2 + 70 * MIB);
    }
    CHECK(stats().system_allocs < 2000); /* and yet it serves */
}

TEST(cache_goes_back_when_the_machine_is_short_of_memory) {
    for (int short_of_memory = 0; short_of_memory < 2; short_of_memory++) {
        void *p[8];
        for (int i = 0; i < 8; i++) p[i] = fb_alloc(64 * MIB);
        for (int i = 0; i < 8; i++) fb_free(p[i], 64 * MIB);
        CHECK(stats().reserved >= 512 * MIB);
        available = short_of_memory ? 100 * MIB : SIZE_MAX;
        struct block b = {fb_alloc(100 * MIB), 100 * MIB, 1}; /* none of the cached ones is large enough */
        CHECK(b.p != NULL);
        if (short_of_memory) CHECK(stats().reserved < 110 * MIB);
        else CHECK(stats().reserved >= 512 * MIB);
        release((fill(b), b));
        fb_memory_trim();
    }
}

TEST(streams_start_at_different_page_offsets) {
    const size_t sizes[] = {4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, MIB, 4 * MIB, 8 * MIB, 64 * MIB};
    for (int i = 0; i < 8; i++) {
        enum { STREAMS = 8 };
        void *p[STREAMS];
        for (int j = 0; j < STREAMS; j++) p[j] = fb_alloc(sizes[i]);
        for (int j = 0; j < STREAMS; j++)
            for (int k = 0; k < j; k++) {
                uintptr_t apart = ((uintptr_t)p[j] - (uintptr_t)p[k]) % 4096;
                CHECK(apart >= 256 && apart <= 4096 - 64);
            }
        for (int j = 0; j < STREAMS; j++) fb_free(p[j], sizes[i]);
    }
}

TEST(impossible_sizes_give_null) {
    const size_t sizes[] = {(size_t)1 << 45, (size_t)1 << 46, ((size_t)1 << 47) - 1, (size_t)1 << 47, (size_t)1 << 62,
                            ((size_t)1 << 62) + 1, (size_t)1 << 63, SIZE_MAX / 2, SIZE_MAX - 63, SIZE_MAX};
    for (int i = 0; i < 10; i++) CHECK(fb_alloc(sizes[i]) == NULL);
    CHECK(stats().live == 0 && stats().allocs == 0);
    release(allocate(100, 1));
}

/* Run with FLAMBEAU_CHECK_MEMORY, where the guard behind a block is looked at when it comes back. */
static void write_past(size_t nbytes, size_t by) {
    unsigned char *p = fb_alloc(nbytes);
    for (size_t i = 0; i < nbytes; i++) CHECK(p[i] == 0xFF);
    memset(p, 0, nbytes);
    CHECK(stats().live == nbytes);
    p[nbytes + by]++;
    fb_free(p, nbytes);
}

TEST(write_past_a_small_block) { write_past(100, 3); }
TEST(write_past_a_block_that_fills_its_class) { write_past(128, 0); }
TEST(write_past_the_largest_small_block) { write_past(64 * KIB, 63); }
TEST(write_past_a_large_block) { write_past(10 * MIB, 63); }

TEST(checked_blocks_used_within_bounds) {
    for (size_t nbytes = 0; nbytes < 200000; nbytes = nbytes * 9 / 8 + 1) {
        struct block a = allocate(nbytes, 1), b = allocate(nbytes, 2);
        release(a);
        release(b);
    }
    CHECK(fb_alloc(SIZE_MAX) == NULL && fb_alloc(SIZE_MAX - 63) == NULL && fb_alloc(SIZE_MAX - 64) == NULL);
    CHECK(stats().live == 0);
}

/* Takes blocks of `nbytes` until there are no more, frees them and tells how many bytes they had. */
static size_t exhaust(size_t nbytes) {
    enum { MOST = 4096 };
    static struct block blocks[MOST];
    size_t count = 0;
    for (; count < MOST; count++) {
        blocks[count] = (struct block){fb_alloc(nbytes), nbytes, (unsigned char)count};
        if (blocks[count].p == NULL) break;
        fill(blocks[count]);
    }
    CHECK(count < MOST);
    fb_memory_stats s = stats();
    CHECK(s.live == count * nbytes);
    CHECK(s.limit == 0 || s.reserved <= s.limit);
    for (size_t i = 0; i < count; i++) release(blocks[i]);
    CHECK(stats().live == 0);
    return count * nbytes;
}

/* Each size in turn gets nearly all there is, though the one before has left it all cached. */
static void exhaust_by_turns(size_t all) {
    const size_t sizes[] = {6 * MIB, 100 * KIB, 20 * KIB, 3 * MIB, 15 * MIB, 48 * KIB};
    for (int i = 0; i < 6; i++) CHECK(exhaust(sizes[i]) > all / 2);
}

TEST(limit_is_kept_and_process_stays_usable) {
    fb_memory_set_limit(48 * MIB);
    CHECK(stats().limit == 48 * MIB);
    exhaust_by_turns(48 * MIB);
    CHECK(fb_alloc(49 * MIB) == NULL);
    fb_memory_set_limit(0);
    release(allocate(100 * MIB, 1));
    struct block b = allocate(20 * MIB, 2);
    fb_memory_set_limit(MIB); /* below what is live */
    CHECK(fb_alloc(8 * MIB) == NULL);
    release(b);
}

TEST(system_refusal_trims_and_leaves_process_usable) {
    map_budget = 48 * MIB;
    exhaust_by_turns(48 * MIB);
    fb_memory_trim();
    int64_t all = map_budget;
    CHECK(all == 48 * MIB); /* every byte that was mapped has been unmapped */
    map_budget = 0;
    CHECK(fb_alloc(1) == NULL && fb_alloc(MIB) == NULL && fb_alloc(100 * MIB) == NULL);
    map_budget = all;
    release(allocate(1, 1));
    release(allocate(MIB, 1));
}
