/* Large blocks: regions mapped from the system, cut and joined again, or cached whole.
 *
 * Requests are rounded up to a sixteenth of their power of two, so that sizes that nearly agree share blocks. Up to
 * SHARED_MAX they are cut from shared regions (good fit over bins of free blocks, after M. Masmano, I. Ripoll,
 * A. Crespo and J. Real, "TLSF: a new dynamic memory allocator for real-time systems", ECRTS 2004). A larger one gets
 * a region to itself, which is reused whole for requests up to an eighth smaller. Regions wholly free stay cached
 * until the total would exceed what the program has needed at its peak by a quarter, until memory is short, or until
 * trim: then they go back, the longest unused first. Regions are aligned to huge pages and advised as such, since
 * that makes a first touch five times as fast; their blocks start at differing page offsets, since streams at the
 * same offset collide. Everything here runs under one lock. Imports internal.h; alloc.c stands above. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "internal.h"

#define SHARED_MAX ((size_t)4 << 20)     /* above: a region of its own */
#define REGION_MIN ((size_t)4 << 20)     /* the first shared region; later ones grow with what is in use … */
#define REGION_MAX ((size_t)32 << 20)    /* … up to this */
#define SLACK ((size_t)64 << 20)         /* cache allowed on top of a quarter of the peak */
#define HUGE_FROM ((size_t)8 << 20)      /* segments ask for huge pages once this much is in use */
#define PRESSURE_STEP ((size_t)64 << 20) /* after mapping so much, look at the memory that the system has left */
#define SLIVER ((size_t)4 << 10)         /* a remainder below this stays with the block */
#define PAGE ((size_t)4 << 10)

#define STEPS 16         /* bins per power of two */
#define SMALLEST_LOG2 16 /* the first bin is for 64 KiB */
#define BINS ((47 - SMALLEST_LOG2) * STEPS)
#define REUSE_STEPS 2    /* a whole region serves requests this many bins smaller: an eighth */

/* Stands right before the memory it describes. */
struct block {
    size_t size; /* bytes after this header */
    struct region *region;
    struct block *before; /* neighbour in the region, NULL for the first */
    struct block *next, *prev; /* in its bin, while free */
    int is_free;
    char gap[FB_STAGGER - 48];
};
_Static_assert(sizeof(struct block) == FB_STAGGER, "neighbours are that far apart");

struct region {
    char *end;
    size_t mapped;
    struct region *newer, *older; /* in the queue of those wholly free */
    struct block *first;
    int is_whole;                 /* one block, never cut */
};

struct bins {
    struct block *head[BINS];
    uint64_t map[(BINS + 63) / 64]; /* which are not empty */
};

static struct {
    pthread_mutex_t lock;
    struct bins shared, whole;
    struct region *newest, *oldest; /* wholly free regions */
    size_t reserved;                /* mapped */
    size_t used, used_peak;         /* in blocks and in segments */
    size_t limit, machine;
    size_t unchecked; /* mapped since the last look at the system's memory */
    uint64_t system_allocs;
    unsigned stagger;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fb_heap_lock(void) { pthread_mutex_lock(&heap.lock); }
void fb_heap_unlock(void) { pthread_mutex_unlock(&heap.lock); }

/* ---- bins ------------------------------------------------------------------------------------------------------ */

static unsigned log2_of(size_t n) { return 63 - (unsigned)__builtin_clzll(n); }

static size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) & ~(multiple - 1); }

static size_t round_to_bin(size_t n) { return round_up(n, (size_t)1 << (log2_of(n) - 4)); }

/* The last bin whose blocks are no larger than `n`. */
static unsigned bin_of(size_t n) {
    unsigned log2 = log2_of(n);
    return (log2 - SMALLEST_LOG2) * STEPS + (unsigned)(n >> (log2 - 4)) % STEPS;
}

/* Free blocks too small for any request are in no bin: they wait for a neighbour to join. */
static void insert(struct bins *bins, struct block *b) {
    b->is_free = 1;
    if (b->size < FB_SMALL_MAX) return;
    unsigned i = bin_of(b->size);
    b->prev = NULL;
    b->next = bins->head[i];
    if (b->next != NULL) b->next->prev = b;
    bins->head[i] = b;
    bins->map[i / 64] |= UINT64_C(1) << i % 64;
}

static void take_out(struct bins *bins, struct block *b) {
    b->is_free = 0;
    if (b->size < FB_SMALL_MAX) return;
    unsigned i = bin_of(b->size);
    if (b->next != NULL) b->next->prev = b->prev;
    if (b->prev != NULL) {
        b->prev->next = b->next;
    } else {
        bins->head[i] = b->next;
        if (b->next == NULL) bins->map[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
}

/* A block from the first bin in from..to that has one, or NULL. */
static struct block *find(struct bins *bins, unsigned from, unsigned to) {
    if (to >= BINS) to = BINS - 1;
    for (unsigned word = from / 64; word <= to / 64; word++) {
        uint64_t bits = bins->map[word];
        if (word == from / 64) bits &= ~UINT64_C(0) << from % 64;
        if (bits == 0) continue;
        unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);
        return i <= to ? bins->head[i] : NULL;
    }
    return NULL;
}

/* ---- regions and the system ------------------------------------------------------------------------------------ */

static void queue_free_region(struct region *r) {
    r->newer = NULL;
    r->older = heap.newest;
    if (heap.newest != NULL) heap.newest->newer = r;
    else heap.oldest = r;
    heap.newest = r;
}

static void unqueue_region(struct region *r) {
    if (r->newer != NULL) r->newer->older = r->older;
    else heap.newest = r->older;
    if (r->older != NULL) r->older->newer = r->newer;
    else heap.oldest = r->newer;
}

static int is_wholly_free(const struct region *r) {
    return r->first->is_free && (char *)(r->first + 1) + r->first->size == r->end;
}

static void unmap(void *p, size_t nbytes) {
    munmap(p, nbytes);
    heap.reserved -= nbytes;
}

static void release_oldest(void) {
    struct region *r = heap.oldest;
    unqueue_region(r);
    take_out(r->is_whole ? &heap.whole : &heap.shared, r->first);
    unmap(r, r->mapped);
}

void fb_heap_trim(void) {
    fb_small_trim();
    while (heap.oldest != NULL) release_oldest();
    heap.used_peak = heap.used; /* what the program needed before says no more how much to keep */
}

/* Whether other processes leave less memory than is about to be used. */
static int is_memory_short(size_t nbytes) {
    heap.unchecked += nbytes;
    if (heap.unchecked < PRESSURE_STEP) return 0;
    size_t wanted = nbytes > PRESSURE_STEP ? nbytes : PRESSURE_STEP;
    heap.unchecked = 0;
    return fb_system_available() < wanted + wanted / 8;
}

/* Makes room for `nbytes` more by giving cached memory back; false if the limit or the machine forbids it even so. */
static int make_room(size_t nbytes) {
    if (heap.machine == 0) heap.machine = fb_system_memory();
    size_t ceiling = heap.limit != 0 && heap.limit < heap.machine ? heap.limit : heap.machine;
    if (nbytes > ceiling) return 0;
    size_t peak = heap.used + nbytes > heap.used_peak ? heap.used + nbytes : heap.used_peak;
    size_t most = peak + peak / 4 + SLACK;
    if (most > ceiling) most = ceiling;
    if (heap.reserved + nbytes > most) fb_small_trim();
    while (heap.reserved + nbytes > most && heap.oldest != NULL) release_oldest();
    if (is_memory_short(nbytes)) fb_heap_trim();
    return heap.reserved + nbytes <= ceiling;
}

/* Maps more and cuts off what is not aligned; NULL if the system refuses. */
static void *map_aligned(size_t nbytes, int huge) {
    char *p = mmap(NULL, nbytes + FB_HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    char *aligned = (char *)round_up((uintptr_t)p, FB_HUGE_PAGE);
    size_t before = (size_t)(aligned - p);
    if (before > 0) munmap(p, before);
    munmap(aligned + nbytes, FB_HUGE_PAGE - before);
    if (huge) madvise(aligned, nbytes, MADV_HUGEPAGE);
    return aligned;
}

static void *map(size_t nbytes, int huge) {
    if (!make_room(nbytes)) return NULL;
    void *p = map_aligned(nbytes, huge);
    if (p == NULL) {
        fb_heap_trim();
        p = map_aligned(nbytes, huge);
        if (p == NULL) return NULL;
    }
    heap.reserved += nbytes;
    heap.system_allocs++;
    return p;
}

size_t fb_heap_stagger(unsigned blocks) {
    size_t offset = heap.stagger * FB_STAGGER % PAGE;
    heap.stagger = (heap.stagger + blocks) % (PAGE / 64);
    return offset;
}

static void use(size_t nbytes) {
    heap.used += nbytes;
    if (heap.used > heap.used_peak) heap.used_peak = heap.used;
}

static void start_block(struct block *b, size_t size, struct region *region, struct block *before) {
    b->size = size;
    b->region = region;
    b->before = before;
}

/* A region with one free block of at least `size` bytes, or NULL. */
static struct block *new_region(size_t size, int is_whole) {
    size_t least = round_up(sizeof(struct region) + PAGE + sizeof(struct block) + size, PAGE), mapped = least;
    if (!is_whole) {
        size_t wanted = round_up(heap.used / 4, FB_HUGE_PAGE);
        if (wanted < REGION_MIN) wanted = REGION_MIN;
        if (wanted > REGION_MAX) wanted = REGION_MAX;
        mapped = round_up(least > wanted ? least : wanted, FB_HUGE_PAGE);
    }
    struct region *r = map(mapped, 1);
    if (r == NULL && mapped > least) r = map(mapped = least, 1);
    if (r == NULL) return NULL;
    size_t offset = round_up(sizeof *r, 64) + fb_heap_stagger((unsigned)(mapped / size));
    struct block *b = (struct block *)((char *)r + offset);
    /* A whole region's block is exactly its bin's size, for the next request of that size to find it. */
    start_block(b, is_whole ? size : mapped - offset - sizeof *b, r, NULL);
    *r = (struct region){.end = (char *)(b + 1) + b->size, .mapped = mapped, .first = b, .is_whole = is_whole};
    insert(is_whole ? &heap.whole : &heap.shared, b);
    queue_free_region(r);
    return b;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static struct block *after(struct block *b) {
    char *next = (char *)(b + 1) + b->size;
    return next == b->region->end ? NULL : (struct block *)next;
}

/* Cuts what `b` has beyond `size` off as a free block, if that is worth a block. */
static void split(struct block *b, size_t size) {
    if (b->size < size + sizeof *b + SLIVER) return;
    struct block *rest = (struct block *)((char *)(b + 1) + size);
    start_block(rest, b->size - size - sizeof *b, b->region, b);
    struct block *next = after(b);
    if (next != NULL) next->before = rest;
    b->size = size;
    insert(&heap.shared, rest);
}

/* `b` takes in the block after it. */
static void join(struct block *b) {
    b->size += sizeof *b + after(b)->size;
    struct block *next = after(b);
    if (next != NULL) next->before = b;
}

void *fb_heap_alloc(size_t nbytes) {
    if (nbytes >> 46 != 0) return NULL; /* no machine has it, and below nothing overflows */
    size_t size = round_to_bin(nbytes);
    int is_whole = size > SHARED_MAX;
    struct bins *bins = is_whole ? &heap.whole : &heap.shared;
    unsigned bin = bin_of(size);
    struct block *b = find(bins, bin, is_whole ? bin + REUSE_STEPS : BINS - 1);
    if (b == NULL) b = new_region(size, is_whole);
    if (b == NULL) return NULL;
    if (is_wholly_free(b->region)) unqueue_region(b->region);
    take_out(bins, b);
    if (!is_whole) split(b, size);
    use(b->size);
    return b + 1;
}

void fb_heap_free(void *p) {
    struct block *b = (struct block *)p - 1;
    struct region *r = b->region;
    heap.used -= b->size;
    struct block *next = after(b);
    if (next != NULL && next->is_free) {
        take_out(&heap.shared, next);
        join(b);
    }
    if (b->before != NULL && b->before->is_free) {
        b = b->before;
        take_out(&heap.shared, b);
        join(b);
    }
    insert(r->is_whole ? &heap.whole : &heap.shared, b);
    if (is_wholly_free(r)) queue_free_region(r);
}

void *fb_heap_map(size_t nbytes) {
    /* A small program shall not pay for two megabytes because of its first few bytes. */
    void *p = map(nbytes, heap.used >= HUGE_FROM);
    if (p != NULL) use(nbytes);
    return p;
}

void fb_heap_unmap(void *p, size_t nbytes) {
    heap.used -= nbytes;
    unmap(p, nbytes);
}

void fb_heap_set_limit(size_t nbytes) { heap.limit = nbytes; }

void fb_heap_get_stats(fb_memory_stats *out) {
    out->reserved = heap.reserved;
    out->limit = heap.limit;
    out->system_allocs = heap.system_allocs;
}
