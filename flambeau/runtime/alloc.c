/* The allocator's front: small blocks from per-thread caches, large ones from heap.c; and the statistics.
 *
 * A small block belongs to one of 64 size classes, an eighth of a power of two apart. Each thread keeps a short list
 * of free blocks per class, so that allocating and freeing is a few instructions without a lock. Lists are filled
 * from and emptied into spans: 256 KiB that hold blocks of one class, eight to a segment of 2 MiB. A span whose
 * blocks have all come back serves any class, a segment whose spans have goes back to the system on trim. Any thread
 * may free any block. Imports internal.h; read heap.c next.
 *
 * With FLAMBEAU_CHECK_MEMORY set, every block is followed by a guard that is looked at when the block comes back, and
 * starts out as NaNs: what writes past its end stops the program there, what reads before it writes shows. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define CLASSES 64
#define SPAN ((size_t)256 << 10)
#define SEGMENT FB_HUGE_PAGE
#define SPANS (SEGMENT / SPAN)
#define LINE ((size_t)64)
#define HEADER ((size_t)4096) /* of a segment: a page, so that its first span is staggered like the others */

struct node { /* a free block */
    struct node *next;
};

struct span {
    struct node *free;
    char *fresh, *end;        /* never handed out yet */
    unsigned used, size_class; /* blocks out; the class, while the span has one */
    struct span *next, *prev; /* in its class's list, while it has a block to give */
};

struct segment { /* at its own start */
    struct segment *next, *prev;
    unsigned free_spans; /* one bit each */
    struct span spans[SPANS];
};

_Static_assert(sizeof(struct segment) <= HEADER, "the first span starts behind it");

struct list {
    struct node *head;
    unsigned count, most;
};

/* One thread's. The atomics are written by their owner alone and read by who asks for statistics. */
struct cache {
    struct list lists[CLASSES];
    _Atomic int64_t live, high; /* bytes, and their most, since they were last added to the totals */
    _Atomic uint64_t allocs;
    struct cache *next, *prev;
};

#ifdef __GLIBC__
#define FAST_TLS __attribute__((tls_model("initial-exec"))) /* glibc keeps room for this in libraries opened later */
#else
#define FAST_TLS
#endif

static _Thread_local struct cache *mine FAST_TLS;
static pthread_key_t at_thread_exit;

static size_t guard;                       /* bytes behind each block: 0, or GUARD where memory is checked */
static size_t small_max = FB_SMALL_MAX;    /* the largest request that a size class serves along with its guard */
#define GUARD LINE
#define GUARD_BYTE 0xA5

static struct { /* under heap.c's lock */
    struct span *spans[CLASSES];
    struct segment *segments;
    struct cache *caches;
    int64_t live, peak;
    uint64_t allocs;
} central;

/* ---- size classes ---------------------------------------------------------------------------------------------- */

/* 64, 128, …, 1024, then eight to a power of two: 1152, …, 2048, 2304, …, 65536. */
static inline unsigned class_of(size_t nbytes) {
    size_t n = nbytes - (nbytes != 0);
    if (n < 1024) return (unsigned)(n >> 6);
    unsigned log2 = 63 - (unsigned)__builtin_clzll(n);
    return (log2 - 9) * 8 + (unsigned)(n >> (log2 - 3));
}

static size_t class_size(unsigned size_class) {
    if (size_class < 16) return (size_class + 1) * LINE;
    return (size_t)(size_class % 8 + 9) << (size_class / 8 + 5);
}

/* From a page upwards blocks stand a few lines further apart, lest all start at the same offset in their pages. */
static size_t class_stride(unsigned size_class) {
    size_t size = class_size(size_class);
    return size < 4096 ? size : size < 16384 ? size + 5 * LINE : size + FB_STAGGER;
}

/* ---- spans (locked) -------------------------------------------------------------------------------------------- */

static struct segment *segment_of(void *p) { return (struct segment *)((uintptr_t)p & ~(SEGMENT - 1)); }

static struct span *span_of(void *p) { return &segment_of(p)->spans[(uintptr_t)p % SEGMENT / SPAN]; }

static void link_span(struct span *s) {
    struct span **head = &central.spans[s->size_class];
    s->prev = NULL;
    s->next = *head;
    if (s->next != NULL) s->next->prev = s;
    *head = s;
}

static void unlink_span(struct span *s) {
    if (s->next != NULL) s->next->prev = s->prev;
    if (s->prev != NULL) s->prev->next = s->next;
    else central.spans[s->size_class] = s->next;
}

static int has_block(const struct span *s) {
    return s->free != NULL || (size_t)(s->end - s->fresh) >= class_stride(s->size_class);
}

static struct segment *new_segment(void) {
    struct segment *g = fb_heap_map(SEGMENT);
    if (g == NULL) return NULL;
    g->free_spans = (1u << SPANS) - 1;
    g->prev = NULL;
    g->next = central.segments;
    if (g->next != NULL) g->next->prev = g;
    central.segments = g;
    return g;
}

static struct span *new_span(unsigned size_class) {
    struct segment *g = central.segments;
    while (g != NULL && g->free_spans == 0) g = g->next;
    if (g == NULL && (g = new_segment()) == NULL) return NULL;
    unsigned i = (unsigned)__builtin_ctz(g->free_spans);
    g->free_spans &= ~(1u << i);
    struct span *s = &g->spans[i];
    char *start = (char *)g + i * SPAN, *end = start + SPAN;
    if (i == 0) start += HEADER;
    start += fb_heap_stagger((unsigned)(SPAN / class_stride(size_class)));
    *s = (struct span){.fresh = start, .end = end, .size_class = size_class};
    link_span(s);
    return s;
}

static struct node *take_block(unsigned size_class) {
    struct span *s = central.spans[size_class];
    if (s == NULL && (s = new_span(size_class)) == NULL) return NULL;
    struct node *block = s->free;
    if (block != NULL) {
        s->free = block->next;
    } else {
        block = (struct node *)s->fresh;
        s->fresh += class_stride(size_class);
    }
    s->used++;
    if (!has_block(s)) unlink_span(s);
    return block;
}

static void give_block(struct node *block) {
    struct span *s = span_of(block);
    if (!has_block(s)) link_span(s);
    block->next = s->free;
    s->free = block;
    if (--s->used > 0) return;
    unlink_span(s);
    struct segment *g = segment_of(block);
    g->free_spans |= 1u << (s - g->spans);
}

void fb_small_trim(void) {
    for (struct segment *g = central.segments, *next; g != NULL; g = next) {
        next = g->next;
        if (g->free_spans != (1u << SPANS) - 1) continue;
        if (g->next != NULL) g->next->prev = g->prev;
        if (g->prev != NULL) g->prev->next = g->next;
        else central.segments = g->next;
        fb_heap_unmap(g, SEGMENT);
    }
}

/* ---- statistics ------------------------------------------------------------------------------------------------ */

static inline int64_t read_counter(const _Atomic int64_t *counter) {
    return atomic_load_explicit((_Atomic int64_t *)counter, memory_order_relaxed);
}

static inline void count(struct cache *c, int64_t nbytes) {
    int64_t live = read_counter(&c->live) + nbytes;
    atomic_store_explicit(&c->live, live, memory_order_relaxed);
    if (live > read_counter(&c->high)) atomic_store_explicit(&c->high, live, memory_order_relaxed);
}

static inline void count_alloc(struct cache *c, size_t nbytes) {
    count(c, (int64_t)nbytes);
    uint64_t allocs = atomic_load_explicit(&c->allocs, memory_order_relaxed);
    atomic_store_explicit(&c->allocs, allocs + 1, memory_order_relaxed);
}

static void count_central(int64_t nbytes) {
    central.live += nbytes;
    if (central.live > central.peak) central.peak = central.live;
}

/* Adds a thread's counts to the totals (locked). */
static void fold(struct cache *c) {
    int64_t high = central.live + read_counter(&c->high);
    if (high > central.peak) central.peak = high;
    central.live += read_counter(&c->live);
    central.allocs += atomic_load_explicit(&c->allocs, memory_order_relaxed);
    atomic_store_explicit(&c->live, 0, memory_order_relaxed);
    atomic_store_explicit(&c->high, 0, memory_order_relaxed);
    atomic_store_explicit(&c->allocs, 0, memory_order_relaxed);
}

/* ---- per-thread caches ----------------------------------------------------------------------------------------- */

static void empty_list(struct list *list, unsigned down_to) {
    while (list->count > down_to) {
        struct node *block = list->head;
        list->head = block->next;
        list->count--;
        give_block(block);
    }
}

static void empty_cache(struct cache *c) {
    for (unsigned i = 0; i < CLASSES; i++) empty_list(&c->lists[i], 0);
}

static void drop_cache(void *cache) {
    struct cache *c = cache;
    mine = NULL;
    fb_heap_lock();
    empty_cache(c);
    fold(c);
    if (c->next != NULL) c->next->prev = c->prev;
    if (c->prev != NULL) c->prev->next = c->next;
    else central.caches = c->next;
    fb_heap_unlock();
    free(c);
}

/* This thread's cache, made if it has none; NULL when there is no memory even for that. */
static struct cache *my_cache(void) {
    if (mine != NULL) return mine;
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL || pthread_setspecific(at_thread_exit, c) != 0) {
        free(c);
        return NULL;
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        size_t most = FB_SMALL_MAX / class_size(i);
        c->lists[i].most = most < 4 ? 4 : most > 256 ? 256 : (unsigned)most;
    }
    fb_heap_lock();
    c->next = central.caches;
    if (c->next != NULL) c->next->prev = c;
    central.caches = c;
    fb_heap_unlock();
    return mine = c;
}

/* A block of the class, with half a list of more for the cache (locked). */
static void *refill(struct cache *c, unsigned size_class) {
    void *p = take_block(size_class);
    if (p == NULL || c == NULL) return p;
    struct list *list = &c->lists[size_class];
    while (list->count < list->most / 2) {
        /* Only what is at hand: mapping more is for a request, not for stock. */
        struct span *s = central.spans[size_class];
        if (s == NULL) break;
        struct node *block = take_block(size_class);
        block->next = list->head;
        list->head = block;
        list->count++;
    }
    return p;
}

/* ---- checked memory -------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void *with_guard(char *p, size_t nbytes) {
    memset(p, 0xFF, nbytes);
    memset(p + nbytes, GUARD_BYTE, GUARD);
    return p;
}

static __attribute__((noinline)) void check_guard(const unsigned char *p, size_t nbytes) {
    for (size_t i = 0; i < GUARD; i++) {
        if (p[nbytes + i] == GUARD_BYTE) continue;
        fprintf(stderr, "flambeau: byte %zu after a block of %zu bytes has been written\n", i, nbytes);
        abort();
    }
}

/* ---- the interface --------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void *alloc_slow(size_t nbytes) {
    if (nbytes > SIZE_MAX - GUARD) return NULL;
    struct cache *c = my_cache();
    fb_heap_lock();
    if (c != NULL) fold(c);
    void *p = nbytes > small_max ? fb_heap_alloc(nbytes + guard) : refill(c, class_of(nbytes + guard));
    if (p != NULL) {
        count_central((int64_t)nbytes);
        central.allocs++;
    }
    fb_heap_unlock();
    return guard && p != NULL ? with_guard(p, nbytes) : p;
}

static __attribute__((noinline)) void free_slow(void *p, size_t nbytes) {
    struct cache *c = my_cache();
    fb_heap_lock();
    if (c != NULL) fold(c);
    count_central(-(int64_t)nbytes);
    if (nbytes > small_max) {
        fb_heap_free(p);
    } else {
        give_block(p);
        if (c != NULL) {
            struct list *list = &c->lists[class_of(nbytes + guard)];
            empty_list(list, list->most / 2);
        }
    }
    fb_heap_unlock();
}

void *fb_alloc(size_t nbytes) {
    struct cache *c = mine;
    if (FB_LIKELY(nbytes <= small_max && c != NULL)) {
        struct list *list = &c->lists[class_of(nbytes + guard)];
        struct node *block = list->head;
        if (FB_LIKELY(block != NULL)) {
            list->head = block->next;
            list->count--;
            count_alloc(c, nbytes);
            return FB_LIKELY(guard == 0) ? (void *)block : with_guard((char *)block, nbytes);
        }
    }
    return alloc_slow(nbytes);
}

void fb_free(void *p, size_t nbytes) {
    if (p == NULL) return;
    if (guard != 0) check_guard(p, nbytes);
    struct cache *c = mine;
    if (FB_LIKELY(nbytes <= small_max && c != NULL)) {
        struct list *list = &c->lists[class_of(nbytes + guard)];
        if (FB_LIKELY(list->count < list->most)) {
            struct node *block = p;
            block->next = list->head;
            list->head = block;
            list->count++;
            count(c, -(int64_t)nbytes);
            return;
        }
    }
    free_slow(p, nbytes);
}

/* Bytes live in all threads (locked); another thread may be changing its part at this moment. */
static int64_t live_everywhere(void) {
    int64_t live = central.live;
    for (struct cache *c = central.caches; c != NULL; c = c->next) live += read_counter(&c->live);
    return live;
}

void fb_memory_get_stats(fb_memory_stats *out) {
    fb_heap_lock();
    if (mine != NULL) fold(mine);
    int64_t live = live_everywhere();
    uint64_t allocs = central.allocs;
    for (struct cache *c = central.caches; c != NULL; c = c->next)
        allocs += atomic_load_explicit(&c->allocs, memory_order_relaxed);
    if (live > central.peak) central.peak = live;
    *out = (fb_memory_stats){.live = (size_t)live, .peak = (size_t)central.peak, .allocs = allocs};
    fb_heap_get_stats(out);
    fb_heap_unlock();
}

void fb_memory_reset_peak(void) {
    fb_heap_lock();
    if (mine != NULL) fold(mine);
    central.peak = live_everywhere();
    fb_heap_unlock();
}

void fb_memory_set_limit(size_t bytes) {
    fb_heap_lock();
    fb_heap_set_limit(bytes);
    fb_heap_unlock();
}

void fb_memory_trim(void) {
    fb_heap_lock();
    if (mine != NULL) empty_cache(mine);
    fb_heap_trim();
    fb_heap_unlock();
}

/* A fork happens with the lock held, so the child finds everything whole. Caches of threads that the child does not
 * have are lost to it, with what they held. */
__attribute__((constructor)) static void set_up(void) {
    const char *check = getenv("FLAMBEAU_CHECK_MEMORY");
    if (check != NULL && *check != 0 && *check != '0') {
        guard = GUARD;
        small_max = FB_SMALL_MAX - GUARD;
    }
    pthread_key_create(&at_thread_exit, drop_cache);
    pthread_atfork(fb_heap_lock, fb_heap_unlock, fb_heap_unlock);
}
