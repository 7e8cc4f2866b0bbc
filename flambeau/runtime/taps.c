/* Weight gradients tap by tap: for one tap, w[o, c] is a matrix product of y and the x that the tap meets.
 *
 * What the rows of the output meet of x is staged once per block of K, with the channels next to each other or, if y's
 * channels fill the vectors better, as it is and y is transposed. All taps read it through tables that name the
 * positions they meet; those outside x are left out of the sums, which changes nothing as long as y is finite:
 * contract.h. Where it isn't, they meet a zero. Read wgrad.c first. */
#include <math.h>
#include <string.h>

#include "convolve.h"

enum { STAGED_BYTES = 1 << 20 };

/* Positions of a block of K that follow each other in a row of the output. */
typedef struct {
    int64_t k, run, y, x; /* the first in the block, how many, and the element of x that tap 0 meets there */
    int64_t origin;       /* where element (0, 0) of its image is staged, or would be */
} segment;

static int meets_outside(const fb_axis *x) {
    return x->start > 0 || x->step * (x->out - 1) + (x->taps - 1) * x->dilation - x->start >= x->size;
}

/* Cycles per k of a tile: small ones wait for their own sums. */
static double tile_cost(const fb_contraction *plan, int64_t rows, int64_t columns) {
    int64_t vectors = columns <= plan->lanes ? 1 : 2;
    return (double)((rows / 8 * 8 * vectors) + (rows & 4 ? 4 * vectors : 0) + (rows & 2 ? 4 : 0) + (rows & 1 ? 4 : 0)) *
           (double)fb_div_up(columns, plan->nr);
}

void fb_taps_plan(fb_gradient *q) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    const fb_axis *x = q->stage.axis;
    int64_t channels = p->in_channels / p->groups, size = plan->sum_size, positions = x[1].out * x[2].out, met[3] = {0};
    q->way = FB_PACKED;
    if (plan->overread || plan->finish || size != plan->operand_size || x[0].size != 1 || x[0].out != 1 || !q->k ||
        (x[2].size > 1 && p->x_stride[4] != 1 && p->x_stride[1] != 1) ||
        (x[1].size > 1 && p->x_stride[3] != x[2].size * p->x_stride[4]))
        return;
    int64_t rows = fb_most_rows(&x[1], fb_min(x[1].out, (FB_KC - 2 + x[2].out) / x[2].out + 1));
    q->stage_rows = fb_min(p->batch, (FB_KC - 2 + positions) / positions + 1) * rows * x[2].size;

    for (int d = 1; d < 3; d++)
        for (int64_t i = 0; i < x[d].out; i++)
            for (int64_t t = 0; t < x[d].taps; t++) {
                int64_t e = x[d].step * i + t * x[d].dilation - x[d].start;
                met[d] += e >= 0 && e < x[d].size;
            }
    double products = (double)met[1] * (double)met[2] / (double)positions, taps = (double)q->taps;
    /* Of a block of K as a rule: some rows of one image, or all of several. */
    double met_rows = (double)fb_most_rows(&x[1], fb_min(x[1].out, fb_div_up(FB_KC, x[2].out)));
    double images = fmax(1, (double)FB_KC / (double)positions), panels = (double)fb_div_up(channels, plan->nr);
    double staged = met_rows * images * (double)x[2].size / FB_KC * (double)channels;
    double packed = tile_cost(plan, q->m, q->n) + 0.8 * (double)q->n;
    double inputs = products * tile_cost(plan, q->m, channels) + 0.8 * staged +
                    taps * panels * (1 + 0.15 * (double)fb_div_up(q->m, 8));
    panels = (double)fb_div_up(q->m, plan->nr);
    double outputs = products * tile_cost(plan, channels, q->m) + 0.8 * (double)q->m + 0.2 * staged * panels +
                     taps * panels * (1 + 0.15 * (double)fb_div_up(channels, 8));
    if (q->stage_rows * plan->nr * size <= STAGED_BYTES && inputs < packed && inputs <= outputs)
        q->way = FB_ACROSS_INPUTS;
    else if (q->stage_rows * channels * size <= STAGED_BYTES && outputs < packed)
        q->way = FB_ACROSS_OUTPUTS;
    int64_t vectors = q->way == FB_ACROSS_INPUTS ? channels : q->m;
    q->chunk = fb_min(vectors, plan->nr);
    q->chunks = fb_div_up(vectors, q->chunk);
    q->a_bytes = (size_t)fb_round_up((q->way == FB_ACROSS_INPUTS ? q->m * (FB_KC + 16) : FB_KC * plan->nr) * size, 64);
    int64_t width = q->way == FB_ACROSS_INPUTS ? plan->nr : channels;
    q->scratch_bytes = q->a_bytes + (size_t)((q->stage_rows + 16) * width * size);
}

/* Stages what a block meets of n channels of x and lists its segments. Returns how many these are. Element `stage_rows`
 * of each channel is 0. */
static int64_t stage(const fb_gradient *q, const char *x, int64_t k0, int64_t kc, int64_t n, char *to, segment *list) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    const fb_axis *axis = q->stage.axis;
    int64_t size = plan->sum_size, width = axis[2].size, at[4], count = 0, staged = 0, origin = 0;
    int64_t pitch = q->stage_rows + 16; /* of a channel, across outputs */
    for (int64_t k = 0; k < kc; count++) {
        int64_t run = fb_row_run(q, k0 + k, kc - k, at);
        if (!k || !(at[2] | at[3])) {
            int64_t low, high, left = kc - k - run;
            int64_t rows = fb_min(axis[1].out - at[2], 1 + fb_div_up(left, axis[2].out));
            fb_rows_needed(&axis[1], at[2], rows, &low, &high);
            origin = staged - low * width;
            const char *from = fb_at(x, at[0] * p->x_stride[0] + low * p->x_stride[3], size);
            int64_t elements = (high - low) * width;
            fb_packing t = {from, fb_at(to, staged * plan->nr, size), NULL, p->x_stride[1], p->x_stride[4], plan->nr, n,
                            elements};
            if (q->way == FB_ACROSS_OUTPUTS)
                t = (fb_packing){from, fb_at(to, staged, size), NULL, p->x_stride[4], p->x_stride[1], pitch, elements,
                                 n};
            if (elements > 0) plan->pack(&t);
            staged += elements;
        }
        list[count] = (segment){k, run, axis[1].step * at[2] - axis[1].start, axis[2].step * at[3] - axis[2].start,
                                origin};
        k += run;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t zero = q->way == FB_ACROSS_OUTPUTS ? i * pitch + q->stage_rows : q->stage_rows * plan->nr + i;
        memset(fb_at(to, zero, size), 0, (size_t)size);
    }
    return count;
}

/* Tables for a tap that is dy rows and dx columns from the first: where y's and x's elements are, those outside x only
 * if `all`. Returns their length. */
static int64_t fill_tables(const fb_gradient *q, const segment *list, int64_t count, int64_t dy, int64_t dx, int all,
                           int64_t y_step, int64_t x_step, int64_t *y_off, int64_t *x_off) {
    const fb_axis *axis = q->stage.axis;
    int64_t entries = 0, height = axis[1].size, width = axis[2].size, step = axis[2].step;
    int64_t zero = q->stage_rows * x_step;
    for (int64_t s = 0; s < count; s++) {
        int64_t y = list[s].y + dy, x = list[s].x + dx, low = 0, high = list[s].run;
        if (x < 0) low = fb_min(high, fb_div_up(-x, step));
        if (x + step * (high - 1) >= width) high = fb_max(low, x < width ? fb_div_up(width - x, step) : 0);
        if (y < 0 || y >= height) high = low;
        for (int64_t i = 0; all && i < low; i++) y_off[entries] = (list[s].k + i) * y_step, x_off[entries++] = zero;
        int64_t from = (list[s].origin + y * width + x) * x_step;
        for (int64_t i = low; i < high; i++) {
            y_off[entries] = (list[s].k + i) * y_step;
            x_off[entries++] = from + i * step * x_step;
        }
        for (int64_t i = high; all && i < list[s].run; i++)
            y_off[entries] = (list[s].k + i) * y_step, x_off[entries++] = zero;
    }
    return entries;
}

void fb_taps_block(const fb_gradient *q, int64_t task, int64_t first, char *scratch) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    const fb_axis *axis = q->stage.axis;
    int64_t size = plan->sum_size, nr = plan->nr, channels = p->in_channels / p->groups;
    int inputs = q->way == FB_ACROSS_INPUTS;
    int64_t chunk = task % q->chunks, group = task / q->chunks % p->groups, part = task / q->chunks / p->groups;
    int64_t j0 = chunk * q->chunk, n = fb_min(q->chunk, (inputs ? channels : q->m) - j0);
    int64_t k0 = (first + part) * FB_KC, kc = fb_min(FB_KC, q->k - k0), y_off[FB_KC], x_off[FB_KC];
    segment list[FB_KC];
    char *staged = scratch + q->a_bytes;
    char *sums = q->part ? fb_at(q->part, (part * p->groups + group) * q->m * q->n, size)
                         : fb_at(q->sums, group * q->m * q->n, size);
    const char *y = fb_at(p->y, group * q->m * p->y_stride[1], size);
    const char *x = fb_at(p->x, (group * channels + (inputs ? j0 : 0)) * p->x_stride[1], size);
    int64_t count = stage(q, x, k0, kc, inputs ? n : channels, staged, list);
    if (inputs) {
        fb_pack_rows(q, y, k0, kc, scratch);
    } else {
        y = fb_at(y, j0 * p->y_stride[1], size);
        for (int64_t s = 0; s < count; s++) {
            int64_t at[4], run = fb_row_run(q, k0 + list[s].k, list[s].run, at);
            int64_t offset = at[0] * p->y_stride[0] + at[2] * p->y_stride[3] + at[3] * p->y_stride[4];
            fb_packing t = {fb_at(y, offset, size), fb_at(scratch, list[s].k * nr, size), NULL, p->y_stride[1],
                            p->y_stride[4], nr, n, run};
            plan->pack(&t);
        }
    }
    int outside = meets_outside(&axis[1]) || meets_outside(&axis[2]);
    int finite = outside && (inputs ? fb_all_finite(plan, scratch, q->m, kc, FB_KC + 16)
                                    : fb_all_finite(plan, scratch, kc, n, nr));
    int64_t entries = 0;
    for (int64_t t = 0; t < q->taps; t++) {
        int64_t dy = t / axis[2].taps * axis[1].dilation, dx = t % axis[2].taps * axis[2].dilation, shift = 0;
        if (!outside) shift = (dy * axis[2].size + dx) * (inputs ? nr : 1);
        if (outside || !t)
            entries = fill_tables(q, list, count, dy, dx, outside && !finite, inputs ? 1 : nr, inputs ? nr : 1, y_off,
                                  x_off);
        const char *b = fb_at(staged, shift, size);
        fb_tile tile = {scratch, b, fb_at(sums, t * channels + j0, size), y_off, x_off, FB_KC + 16, q->taps * channels,
                        q->m, n, entries, !q->part && first > 0};
        if (!inputs)
            tile = (fb_tile){b, scratch, fb_at(sums, t * channels * q->m + j0, size), x_off, y_off, q->stage_rows + 16,
                             q->m, channels, n, entries, !q->part && first > 0};
        plan->micro(&tile);
    }
}

void fb_taps_finish(const fb_gradient *q) {
    const fb_conv_problem *p = q->p;
    int64_t size = q->plan->sum_size, channels = p->in_channels / p->groups;
    int64_t rows = p->kernel[1], columns = p->kernel[2];
    int64_t merged = rows == 1 || columns == 1 || p->w_stride[3] == columns * p->w_stride[4];
    int64_t stretches = merged ? 1 : rows, taps = q->taps / stretches;
    int64_t w_tap = columns > 1 ? p->w_stride[4] : merged ? p->w_stride[3] : 1;
    for (int64_t s = 0; s < stretches; s++) {
        char *w = fb_at(p->w, s * p->w_stride[3], size);
        if (q->way == FB_ACROSS_INPUTS)
            for (int64_t o = 0; o < p->groups * q->m; o++)
                fb_scatter(q->plan, fb_at(q->sums, o * q->n + s * taps * channels, size), channels,
                           fb_at(w, o * p->w_stride[0], size), w_tap, p->w_stride[1], taps, channels);
        else
            for (int64_t g = 0; g < p->groups; g++)
                for (int64_t c = 0; c < channels; c++)
                    fb_scatter(q->plan, fb_at(q->sums, g * q->m * q->n + (s * taps * channels + c) * q->m, size),
                               channels * q->m, fb_at(w, g * q->m * p->w_stride[0] + c * p->w_stride[1], size), w_tap,
                               p->w_stride[0], taps, q->m);
    }
}
