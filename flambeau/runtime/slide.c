/* Depthwise convolutions: groups with one channel on both sides, so nothing is summed over channels.
 *
 * The plan brings a kernel for one window over one plane, which needs no staging. Planes of unit column stride are read
 * and written where they lie; those of other layouts and dtypes are copied a vector's worth of channels at a time,
 * which transposes channels-last ones. A weight gradient's sums have an order of their own, in contract.h; without a
 * kernel the micro-kernel computes them, chain by chain. Read wgrad.c first. */
#include <string.h>

#include "convolve.h"

enum { WIDEST = FB_KC * FB_LANES, SLACK = 64 }; /* columns of a block; elements behind a copy, the first is 0 */

/* A tensor [image, channel, depth, height, width]. */
typedef struct {
    const char *data;
    int64_t size[3], stride[5], elements; /* of a channel */
    int direct;                           /* the kernel takes its planes as they are */
} planes;

typedef struct {
    const fb_contraction *plan;
    const fb_conv_problem *p;
    planes in, out;          /* out: the other operand of a weight gradient */
    const char *weights;     /* [channels, taps] */
    char *sums;              /* of a weight gradient, [channels, sums_row] */
    int64_t sums_row;
    int64_t channels, block, blocks, taps;
    size_t in_bytes, out_bytes, scratch_bytes;
    atomic_int failed;
} job;

static planes planes_of(const fb_contraction *plan, void *data, const int64_t *size, const int64_t *stride) {
    planes t = {.data = data, .elements = size[0] * size[1] * size[2]};
    memcpy(t.size, size, sizeof t.size);
    memcpy(t.stride, stride, sizeof t.stride);
    t.direct = plan->slide && plan->operand_size == plan->sum_size && (stride[4] == 1 || size[2] == 1);
    return t;
}

static char *channel_of(const job *q, const planes *t, int64_t image, int64_t channel) {
    return fb_at(t->data, image * t->stride[0] + channel * t->stride[1], q->plan->operand_size);
}

/* Copies channels to [channel, depth, height, width], `pitch` elements apart. */
static void gather(const job *q, const planes *t, int64_t image, int64_t channel, int64_t count, char *to,
                   int64_t pitch) {
    int64_t in = q->plan->operand_size, size = q->plan->sum_size, width = t->size[2], plane = t->size[1] * width;
    const int64_t *s = t->stride;
    int flat = s[3] == width * s[4];
    for (int64_t z = 0; z < t->size[0]; z++) {
        const char *from = channel_of(q, t, image, channel) + z * s[2] * in;
        if (s[1] == 1 && count > 1) {
            for (int64_t y = 0; y < (flat ? 1 : t->size[1]); y++) {
                fb_packing p = {fb_at(from, y * s[3], in), fb_at(to, z * plane + y * width, size), NULL, s[4], 1, pitch,
                                flat ? plane : width, count};
                q->plan->pack(&p);
            }
            continue;
        }
        for (int64_t c = 0; c < count; c++) {
            fb_packing p = {fb_at(from, c * s[1], in), fb_at(to, c * pitch + z * plane, size), NULL, s[4], s[3], width,
                            width, t->size[1]};
            q->plan->pack(&p);
        }
    }
}

/* The window over one plane, as far as both kinds of problems agree. */
static fb_plane plane_of(const job *q) {
    return (fb_plane){.a_row = q->in.direct ? q->in.stride[3] : q->in.size[2], .height = q->in.size[1],
                      .width = q->in.size[2], .top = q->p->padding[1], .left = q->p->padding[2]};
}

static void *scratch_of(job *q) {
    void *scratch = fb_alloc(q->scratch_bytes);
    if (!scratch) atomic_store(&q->failed, 1);
    return scratch;
}

/* ---- forward and backward to the input ----------------------------------------------------------------------- */

/* Bias and conversion of a plane's sums, in place or, where it is direct, row by row. */
static void finish(const job *q, char *sums, int64_t channel) {
    const planes *t = &q->out;
    int64_t row = t->direct ? t->stride[3] : t->size[2], runs = row == t->size[2] ? 1 : t->size[1];
    const char *bias = q->p->bias ? fb_at(q->p->bias, channel * q->p->bias_stride, q->plan->operand_size) : NULL;
    int64_t args[] = {fb_slot(sums), fb_slot(sums), fb_slot(bias), row, row, 0, t->elements / runs, runs};
    q->plan->finish(args, 0, runs);
}

static void slide_block(const job *q, int64_t task, char *scratch) {
    const fb_contraction *plan = q->plan;
    int64_t size = plan->sum_size, image = task / q->blocks, channel = task % q->blocks * q->block;
    int64_t count = fb_min(q->block, q->channels - channel), pitch = q->out.elements;
    char *sums = scratch + q->in_bytes;
    if (!q->in.direct) gather(q, &q->in, image, channel, count, scratch, q->in.elements);
    fb_plane t = plane_of(q);
    t.rows = q->out.size[1], t.columns = q->out.size[2];
    t.c_row = q->out.direct ? q->out.stride[3] : t.columns;
    for (int64_t c = 0; c < count; c++) {
        t.a = q->in.direct ? channel_of(q, &q->in, image, channel + c) : fb_at(scratch, c * q->in.elements, size);
        t.b = fb_at(q->weights, (channel + c) * q->taps, size);
        t.c = q->out.direct ? channel_of(q, &q->out, image, channel + c) : fb_at(sums, c * pitch, size);
        plan->slide(&t);
        if (plan->finish) finish(q, t.c, channel + c);
    }
    if (q->out.direct) return;
    const int64_t *s = q->out.stride;
    int flat = s[3] == t.columns * s[4];
    pitch = pitch * size / plan->operand_size;
    for (int64_t y = 0; y < (flat ? 1 : t.rows); y++)
        fb_scatter(plan, fb_at(sums, y * t.columns, plan->operand_size), pitch,
                   fb_at(channel_of(q, &q->out, image, channel), y * s[3], plan->operand_size), s[1], s[4], count,
                   flat ? q->out.elements : t.columns);
}

static void slide_blocks(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    char *scratch = scratch_of(q);
    for (int64_t task = begin; scratch && task < end; task++) slide_block(q, task, scratch);
    fb_free(scratch, q->scratch_bytes);
}

int fb_slides(const fb_contraction *plan, const fb_conv_problem *p) {
    return plan->slide && p->groups == p->in_channels && p->groups == p->out_channels && p->size[0] == 1 &&
           p->out[0] == 1 && p->kernel[0] == 1 && p->padding[0] == 0;
}

/* Room for planes that are copied. */
static void plan_blocks(job *q, int64_t slack) {
    int64_t size = q->plan->sum_size;
    q->channels = q->p->groups;
    q->taps = q->p->kernel[0] * q->p->kernel[1] * q->p->kernel[2];
    q->block = q->in.direct && q->out.direct ? 1 : fb_min(q->channels, q->plan->lanes);
    q->blocks = fb_div_up(q->channels, q->block);
    q->in_bytes = q->in.direct ? 0 : (size_t)fb_round_up(q->block * (q->in.elements + slack) * size, 64);
    q->out_bytes = q->out.direct ? 0 : (size_t)fb_round_up(q->block * q->out.elements * size, 64);
    q->scratch_bytes = q->in_bytes + q->out_bytes + 64;
}

static void run(job *q, fb_kernel kernel, int64_t tasks) {
    int64_t args[] = {fb_slot(q)};
    double work = (double)q->p->batch * (double)q->channels * (double)q->taps *
                  (double)(q->p->out[0] * q->p->out[1] * q->p->out[2]);
    if (work < FB_SERIAL_WORK)
        kernel(args, 0, tasks);
    else
        fb_parallel_for(kernel, args, tasks, fb_grain(work, tasks));
}

int fb_slide(const fb_contraction *plan, const fb_conv_problem *p, int backward) {
    const int64_t *s = p->w_stride;
    job q = {.plan = plan, .p = p, .in = planes_of(plan, p->x, p->size, p->x_stride),
             .out = planes_of(plan, p->y, p->out, p->y_stride), .weights = p->w};
    if (backward) {
        planes x = q.in;
        q.in = q.out, q.out = x;
    }
    if (!p->batch || !p->groups || !q.out.elements) return 0;
    plan_blocks(&q, 0);
    int packed = plan->operand_size != plan->sum_size || s[0] != q.taps || s[3] != p->kernel[2] || s[4] != 1;
    size_t copy_bytes = packed ? (size_t)(q.channels * q.taps * plan->sum_size) : 0;
    char *copy = packed ? fb_alloc(copy_bytes) : NULL;
    if (packed && !copy) return -1;
    for (int64_t c = 0; packed && c < q.channels; c++) {
        fb_packing t = {fb_at(p->w, c * s[0], plan->operand_size), fb_at(copy, c * q.taps, plan->sum_size), NULL, s[4],
                        s[3], p->kernel[2], p->kernel[2], p->kernel[1]};
        plan->pack(&t);
    }
    if (packed) q.weights = copy;
    run(&q, slide_blocks, p->batch * q.blocks);
    fb_free(copy, copy_bytes);
    return atomic_load(&q.failed) ? -1 : 0;
}

/* ---- backward to the weights --------------------------------------------------------------------------------- */

static double value_at(const void *p, int64_t i, int64_t size) {
    return size == 4 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void add_to(void *p, int64_t i, double x, int64_t size) {
    if (size == 4)
        ((float *)p)[i] += (float)x;
    else
        ((double *)p)[i] += x;
}

/* What the kernel does, for rows [row, row + rows) of [depth, height] and columns from `first` on. x's copy ends with
 * a zero. */
static void chains(const job *q, const char *x, const char *y, char *sums, int64_t row, int64_t rows, int64_t first,
                   int64_t columns) {
    const fb_conv_problem *p = q->p;
    int64_t size = q->plan->sum_size, y_off[FB_KC], x_off[FB_KC];
    for (int64_t t = 0; t < q->taps; t++)
        for (int64_t lane = 0; lane < fb_min(columns, FB_LANES); lane++) {
            int64_t k = 0, tap[3] = {t / p->kernel[2] / p->kernel[1], t / p->kernel[2] % p->kernel[1], t % p->kernel[2]};
            for (int64_t r = row; r < row + rows; r++)
                for (int64_t j = first + lane; j < first + columns; j += FB_LANES, k++) {
                    int64_t at[3] = {r / p->out[1], r % p->out[1], j}, inside = 1, element = 0;
                    for (int d = 0; d < 3; d++) {
                        int64_t e = at[d] * p->stride[d] - p->padding[d] + tap[d] * p->dilation[d];
                        inside &= e >= 0 && e < p->size[d];
                        element = element * p->size[d] + e;
                    }
                    y_off[k] = r * p->out[2] + j;
                    x_off[k] = inside ? element : q->in.elements;
                }
            double chain[SLACK];
            fb_tile tile = {y, x, chain, y_off, x_off, 0, 0, 1, 1, k, 0};
            q->plan->micro(&tile);
            add_to(sums, t * FB_LANES + lane, value_at(chain, 0, size), size);
        }
}

/* One image's products of a channel, added to sums [taps, FB_LANES] block by block. */
static void add_image(const job *q, const char *x, const char *y, char *sums) {
    const fb_conv_problem *p = q->p;
    int64_t size = q->plan->sum_size, width = p->out[2], height = p->out[0] * p->out[1];
    int64_t most = fb_max(1, FB_KC / fb_div_up(fb_min(width, WIDEST), FB_LANES));
    fb_plane t = plane_of(q);
    t.a = x, t.c = sums, t.b_row = q->out.direct ? q->out.stride[3] : width;
    for (int64_t row = 0; row < height; row += most)
        for (int64_t first = 0; first < width; first += WIDEST) {
            int64_t rows = fb_min(most, height - row), columns = fb_min(WIDEST, width - first);
            if (!fb_slides(q->plan, p)) {
                chains(q, x, y, sums, row, rows, first, columns);
                continue;
            }
            t.b = fb_at(y, row * t.b_row + first, size), t.rows = rows, t.columns = columns;
            t.top = p->padding[1] - row * p->stride[1], t.left = p->padding[2] - first * p->stride[2];
            q->plan->slide(&t);
        }
}

static void sum_block(const job *q, int64_t task, char *scratch) {
    int64_t size = q->plan->sum_size, channel = task * q->block, count = fb_min(q->block, q->channels - channel);
    int64_t lanes = q->taps * FB_LANES, x_pitch = q->in.elements + SLACK;
    char *y_copy = scratch + q->in_bytes, *sums = y_copy + q->out_bytes;
    memset(sums, 0, (size_t)(count * lanes * size));
    if (!q->in.direct)
        for (int64_t c = 0; c < count; c++)
            memset(fb_at(scratch, c * x_pitch + q->in.elements, size), 0, (size_t)(SLACK * size));
    for (int64_t image = 0; image < q->p->batch; image++) {
        if (!q->in.direct) gather(q, &q->in, image, channel, count, scratch, x_pitch);
        if (!q->out.direct) gather(q, &q->out, image, channel, count, y_copy, q->out.elements);
        for (int64_t c = 0; c < count; c++)
            add_image(q, q->in.direct ? channel_of(q, &q->in, image, channel + c) : fb_at(scratch, c * x_pitch, size),
                      q->out.direct ? channel_of(q, &q->out, image, channel + c)
                                    : fb_at(y_copy, c * q->out.elements, size),
                      fb_at(sums, c * lanes, size));
    }
    for (int64_t i = 0; i < count * q->taps; i++) {
        char *lane = fb_at(sums, i * FB_LANES, size);
        for (int64_t half = FB_LANES / 2; half; half /= 2)
            for (int64_t l = 0; l < half; l++) add_to(lane, l, value_at(lane, l + half, size), size);
        memcpy(fb_at(q->sums, (channel + i / q->taps) * q->sums_row + i % q->taps, size), lane, (size_t)size);
    }
}

static void sum_blocks(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    char *scratch = scratch_of(q);
    for (int64_t task = begin; scratch && task < end; task++) sum_block(q, task, scratch);
    fb_free(scratch, q->scratch_bytes);
}

int fb_slide_sums(const fb_contraction *plan, const fb_conv_problem *p, void *sums, int64_t sums_row) {
    job q = {.plan = plan, .p = p, .in = planes_of(plan, p->x, p->size, p->x_stride),
             .out = planes_of(plan, p->y, p->out, p->y_stride), .sums = sums, .sums_row = sums_row};
    if (!fb_slides(plan, p)) q.in.direct = q.out.direct = 0;
    plan_blocks(&q, SLACK);
    q.scratch_bytes += (size_t)(q.block * q.taps * FB_LANES * plan->sum_size);
    run(&q, sum_blocks, q.blocks);
    return atomic_load(&q.failed) ? -1 : 0;
}
