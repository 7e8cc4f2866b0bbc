/* Staging: a convolution's input, copied to scratch in a layout that micro-kernels read.
 *
 * There the element that a tap of a channel contributes to an output position stands at position + offset, one number
 * per (channel, tap), whatever layout, stride, padding and dilation were. A staged channel has the padding written out
 * and is, along each dimension, in one of three forms:
 *   phases  where the convolution strides, one plane per phase: positions are adjacent, for vectors along them
 *   padded  one plane, positions a stride apart, for elements that are broadcast; copied fastest
 *   taps    one plane per tap, so that rows of positions follow each other without a gap, for small images
 * Bands of rows are staged at a time, so the copy stays in cache; an input without padding is often read where it lies.
 * Read next: convolve.c. */
#include <string.h>

#include "convolve.h"

/* From the first tap's element to this one's. */
static int64_t distance(const fb_axis *x, int64_t tap) {
    return (x->mirrored ? x->taps - 1 - tap : tap) * x->dilation;
}

/* Input elements from one staged element to the next. */
static int64_t unit(const fb_axis *x) { return x->step / x->spacing; }

static int64_t slot_of(const fb_axis *x, int64_t tap) { return tap % x->slots; }

static int64_t phase(const fb_axis *x, int64_t slot) {
    return x->slots == x->taps ? distance(x, slot) : slot * x->dilation % x->step;
}

static int64_t shift_of(const fb_axis *x, int64_t tap) {
    return (distance(x, tap) - phase(x, slot_of(x, tap))) / unit(x);
}

/* Along one dimension: how output positions and taps meet the input in a forward convolution. */
fb_axis fb_axis_forward(const fb_conv_problem *p, int d) {
    fb_axis x = {.taps = p->kernel[d], .every = 1, .dilation = p->dilation[d], .step = p->stride[d],
                 .start = p->padding[d], .size = p->size[d], .out = p->out[d], .scale = 1, .slots = 1, .spacing = 1};
    while (x.slots < x.taps && x.slots * x.dilation % x.step) x.slots++;
    x.reach = (x.taps - 1) * x.dilation / x.step;
    return x;
}

void fb_rows_needed(const fb_axis *y, int64_t row, int64_t rows, int64_t *low, int64_t *high) {
    *low = fb_max(0, y->step * row - y->start);
    *high = fb_max(*low, fb_min(y->size, y->step * (row + rows - 1) + (y->taps - 1) * y->dilation - y->start + 1));
}

int64_t fb_most_rows(const fb_axis *y, int64_t rows) {
    return fb_min(y->size, y->step * (rows - 1) + (y->taps - 1) * y->dilation + 1);
}

/* Staged elements < count of a slot, from output position `from` on, whose input elements exist: [*low, *high). */
static void inside(const fb_axis *x, int64_t slot, int64_t from, int64_t count, int64_t *low, int64_t *high) {
    int64_t first = x->step * from + phase(x, slot) - x->start;
    *low = first < 0 ? fb_div_up(-first, unit(x)) : 0;
    *high = first < x->size ? fb_min(count, fb_div_up(x->size - first, unit(x))) : 0;
}

void fb_stage_padded(fb_stage *s) {
    for (int d = 0; d < 3; d++) {
        fb_axis *x = &s->axis[d];
        x->slots = 1, x->spacing = x->step, x->reach = x->taps ? (x->taps - 1) * x->dilation : 0;
    }
}

void fb_stage_by_taps(fb_stage *s) { s->axis[2].slots = fb_max(1, s->axis[2].taps), s->axis[2].reach = 0; }

void fb_stage_copied(fb_stage *s, int64_t rows) {
    const int64_t positions[3] = {1, rows, s->axis[2].out};
    for (int d = 0; d < 3; d++) s->extent[d] = s->axis[d].spacing * (positions[d] - 1) + 1 + s->axis[d].reach;
    s->plane = s->extent[0] * s->extent[1] * s->extent[2];
    s->channel = s->plane * s->axis[0].slots * s->axis[1].slots * s->axis[2].slots;
    s->pitch = s->axis[1].spacing * s->extent[2];
    s->column = s->axis[2].spacing;
}

int fb_stage_in_place(fb_stage *s, const fb_contraction *plan, int unit) {
    const fb_axis *x = s->axis;
    if (plan->overread || plan->operand_size != plan->sum_size) return 0;
    for (int d = 0; d < 3; d++) {
        int64_t last = x[d].taps ? (x[d].taps - 1) * x[d].dilation : 0;
        if (x[d].start > 0 || x[d].step * (x[d].out - 1) + last - x[d].start >= x[d].size) return 0;
    }
    s->column = x[2].out > 1 ? x[2].step * s->stride[2] : 1;
    s->pitch = x[1].out > 1 ? x[1].step * s->stride[1] : s->column * x[2].out;
    if (unit && (s->column != 1 || s->pitch < x[2].out || s->pitch > 2 * x[2].out + 16)) return 0;
    return s->in_place = 1;
}

/* How far a tap's element is from the position's, along one dimension. */
static int64_t offset_of(const fb_stage *s, int d, int64_t tap, int64_t stride, int64_t phase_stride) {
    const fb_axis *x = &s->axis[d];
    if (s->in_place) return distance(x, tap) * s->stride[d];
    return shift_of(x, tap) * stride + slot_of(x, tap) * phase_stride;
}

void fb_stage_offsets(const fb_stage *s, int64_t channels, int64_t *offsets) {
    const fb_axis *x = s->axis;
    const int64_t *e = s->extent;
    int64_t taps = x[0].taps * x[1].taps * x[2].taps, k = 0;
    for (int64_t a = 0; a < x[0].taps; a++)
        for (int64_t b = 0; b < x[1].taps; b++)
            for (int64_t c = 0; c < x[2].taps; c++)
                offsets[k++] = offset_of(s, 0, a, e[1] * e[2], x[1].slots * x[2].slots * s->plane) +
                               offset_of(s, 1, b, e[2], x[2].slots * s->plane) + offset_of(s, 2, c, 1, s->plane);
    for (; k < channels * taps; k++) offsets[k] = offsets[k - taps] + (s->in_place ? s->channel_stride : s->channel);
}

const void *fb_stage_fill(const fb_stage *s, const fb_contraction *plan, const void *from, int64_t channels,
                          int64_t depth, int64_t row, void *to) {
    const fb_axis *x = s->axis;
    int64_t in = plan->operand_size, size = plan->sum_size;
    if (s->in_place)
        return fb_at(from, (x[0].step * depth - x[0].start) * s->stride[0] +
                               (x[1].step * row - x[1].start) * s->stride[1] - x[2].start * s->stride[2], in);
    int combed = plan->comb && in == size && unit(&x[2]) > 1 && unit(&x[1]) == x[1].step && s->stride[2] == 1;
    combed &= x[0].size == 1 && s->extent[0] == 1;
    if (!combed) memset(to, 0, (size_t)(channels * s->channel * size));
    int64_t slots = x[0].slots * x[1].slots * x[2].slots;
    for (int64_t slot = 0; slot < slots; slot++) {
        int64_t at[3] = {slot / x[2].slots / x[1].slots, slot / x[2].slots % x[1].slots, slot % x[2].slots};
        int64_t base[3] = {depth, row, 0}, low[3], high[3], step[3];
        const char *source = from;
        for (int64_t c = 0; combed && c < channels; c++) {
            fb_plane t = {.a = fb_at(from, c * s->channel_stride, in),
                          .c = fb_at(to, slot * s->plane + c * s->channel, size), .a_row = s->stride[1],
                          .c_row = s->extent[2], .height = x[1].size, .width = x[2].size, .rows = s->extent[1],
                          .columns = s->extent[2], .top = x[1].start - phase(&x[1], at[1]) - x[1].step * row,
                          .left = x[2].start - phase(&x[2], at[2])};
            plan->comb(&t);
        }
        if (combed) continue;
        for (int d = 0; d < 3; d++) {
            inside(&x[d], at[d], base[d], s->extent[d], &low[d], &high[d]);
            int64_t first = x[d].step * base[d] + unit(&x[d]) * low[d] + phase(&x[d], at[d]) - x[d].start;
            source += first * s->stride[d] * in;
            step[d] = unit(&x[d]) * s->stride[d];
        }
        int64_t rows = high[1] - low[1], columns = high[2] - low[2];
        if (rows <= 0 || columns <= 0) continue;
        for (int64_t z = low[0]; z < high[0]; z++) {
            char *target = fb_at(to, slot * s->plane + (z * s->extent[1] + low[1]) * s->extent[2] + low[2], size);
            const char *slice = source + (z - low[0]) * step[0] * in;
            if (s->channel_stride == 1 && channels > 1)
                for (int64_t y = 0; y < rows; y++) {
                    fb_packing t = {fb_at(slice, y * step[1], in), fb_at(target, y * s->extent[2], size), NULL, step[2],
                                    1, s->channel, columns, channels};
                    plan->pack(&t);
                }
            else
                for (int64_t c = 0; c < channels; c++) {
                    fb_packing t = {fb_at(slice, c * s->channel_stride, in), fb_at(target, c * s->channel, size), NULL,
                                    step[2], step[1], s->extent[2], columns, rows};
                    plan->pack(&t);
                }
        }
    }
    return to;
}

void fb_scatter(const fb_contraction *plan, const void *from, int64_t from_row, void *to, int64_t to_row,
                int64_t to_column, int64_t m, int64_t n) {
    int64_t size = plan->operand_size;
    if (size == plan->sum_size && (to_column == 1 || to_row == 1)) {
        fb_packing t = {from, to, NULL, 1, from_row, to_row, n, m};
        if (to_column != 1) t = (fb_packing){from, to, NULL, from_row, 1, to_column, m, n};
        plan->pack(&t);
        return;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            memcpy(fb_at(to, i * to_row + j * to_column, size), fb_at(from, i * from_row + j, size), (size_t)size);
}


int fb_all_finite(const fb_contraction *plan, const void *data, int64_t rows, int64_t columns, int64_t pitch) {
    /* Sums of products with 0 are 0 or, where an element isn't finite, NaN. */
    static const double zero = 0;
    static const int64_t none[FB_KC];
    _Alignas(64) char sums[64 * sizeof(double)], zeros[64 * sizeof(double)] = {0};
    int64_t off[FB_KC], size = plan->sum_size;
    for (int64_t k = 0; k < fb_min(rows, FB_KC); k++) off[k] = k * pitch;
    for (int64_t i = 0; i < rows; i += FB_KC)
        for (int64_t j = 0; j < columns; j += plan->nr) {
            int64_t n = fb_min(plan->nr, columns - j);
            const char *b = fb_at(data, i * pitch + j, size);
            fb_tile t = {&zero, b, sums, none, off, 0, 0, 1, n, fb_min(FB_KC, rows - i), 0};
            plan->micro(&t);
            if (memcmp(sums, zeros, (size_t)(n * size)) != 0) return 0;
        }
    return 1;
}
