/* What contract.c and convolve.c share: sizes that decide about time, never about results, and a little arithmetic. */
#ifndef FLAMBEAU_TILING_H
#define FLAMBEAU_TILING_H

#include <stdint.h>

enum {
    FB_SERIAL_WORK = 400000, /* multiply-adds below which waking another thread costs more than it saves */
    FB_STEP_WORK = 200000,   /* the same for threads that are awake and meet after each step of many */
    FB_TASKS = 24,           /* parts a large problem is cut into, so that threads end together */
    FB_L1_BYTES = 16384,     /* blocks up to this size stay in the first-level cache whatever their strides */
    FB_L2_BYTES = 393216,    /* what a task's blocks may take together of the second-level cache */
    FB_STACK_BYTES = 16384   /* scratch up to this size needs no allocation */
};

/* Whether 3x3 windows are filtered minimally, which does decide about bits (contract.h), and so follows from shapes. */
enum {
    FB_FEWEST_CHANNELS = 16, /* on either side */
    FB_TILE_COST = 90,       /* of a channel's transforms, for each tile: in multiply-adds of one lane */
    FB_WINDOW_COST = 130,    /* of a window's gradient */
    FB_LEAST_GAIN = 125      /* percent */
};

static inline int64_t fb_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fb_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t fb_div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t fb_round_up(int64_t a, int64_t b) { return fb_div_up(a, b) * b; }
static inline char *fb_at(const void *p, int64_t index, int64_t size) { return (char *)p + index * size; }
static inline int64_t fb_slot(const void *p) { return (int64_t)(intptr_t)p; }

/* How many tasks make a chunk worth handing to a thread. */
static inline int64_t fb_grain(double work, int64_t tasks) {
    return 1 + (int64_t)(FB_SERIAL_WORK / 4 / (work / (double)tasks + 1));
}

#endif
