/* Convolutions as contractions: no im2col buffer, only tables of offsets.
 *
 * A band of output rows of one image is a task. Its input is staged: copied once, in scratch that stays in cache, to
 * planes of unit stride with the padding written out and, where the convolution strides, one plane per phase. There the
 * element that tap t of channel c contributes to output p stands at p + offset(c, t) whatever the layout, stride, padding
 * and dilation were, so the micro-kernel reads it in place, and its k runs over a table of offsets. Rows of the band follow
 * each other with the staged pitch: the few sums between them are computed and not stored. An unpadded, unstrided input
 * is not even staged.
 *
 * The data gradient is the same thing once per phase of x: position s * q + r receives w[o, c, t] * y[o, q - shift(t)] from
 * the taps t that agree with r, so it too gathers. The weight gradient's K runs over all output positions; its blocks are
 * computed independently, some at a time, and added in order (wgrad.c). Read contract.h first. */
#include <string.h>

#include "convolve.h"

int64_t fb_axis_slot(const fb_axis *x, int64_t tap) { return tap % x->slots; }

int64_t fb_axis_shift(const fb_axis *x, int64_t tap) {
    return x->mirrored ? (x->taps - 1 - tap) * x->dilation : tap * x->dilation / x->step;
}

static int64_t phase(const fb_axis *x, int64_t slot) { return slot * x->dilation % x->step; }

/* Along one dimension: how output positions and taps meet the input in a forward convolution. */
fb_axis fb_axis_forward(const fb_conv_problem *p, int d) {
    fb_axis x = {.taps = p->kernel[d], .every = 1, .dilation = p->dilation[d], .step = p->stride[d],
                 .start = p->padding[d], .size = p->size[d], .out = p->out[d], .scale = 1};
    x.slots = 1;
    while (x.slots < x.taps && x.slots * x.dilation % x.step) x.slots++;
    x.reach = (x.taps - 1) * x.dilation / x.step;
    return x;
}

/* The same for the gradient at x's positions stride * q + r - padding: y is the input, and only some taps meet it. */
static fb_axis backward(const fb_conv_problem *p, int d, int64_t r) {
    int64_t s = p->stride[d], first = 0, every = 1;
    while (first < s && first < p->kernel[d] && first * p->dilation[d] % s != r) first++;
    while (every * p->dilation[d] % s) every++;
    int found = first < p->kernel[d] && first * p->dilation[d] % s == r;
    int64_t low = fb_max(0, fb_div_up(p->padding[d] - r + s * p->kernel[d], s) - p->kernel[d]);
    int64_t high = p->size[d] + p->padding[d] - r <= 0 ? 0 : fb_div_up(p->size[d] + p->padding[d] - r, s);
    fb_axis x = {.taps = found ? (p->kernel[d] - 1 - first) / every + 1 : 0, .first = first, .every = every, .slots = 1,
                 .dilation = every * p->dilation[d] / s, .mirrored = 1, .step = 1, .size = p->out[d],
                 .out = fb_max(0, high - low), .scale = s, .origin = s * low + r - p->padding[d]};
    x.reach = x.taps ? (x.taps - 1) * x.dilation : 0;
    x.start = x.reach + (found ? first * p->dilation[d] / s : 0) - low;
    return x;
}

/* ---- staging ---------------------------------------------------------------------------------------------------- */

/* Positions q < count whose input element step * (q + from) + phase - start exists: [*low, *high). */
static void inside(const fb_axis *x, int64_t slot, int64_t from, int64_t count, int64_t *low, int64_t *high) {
    int64_t first = x->step * from + phase(x, slot) - x->start;
    *low = first < 0 ? fb_div_up(-first, x->step) : 0;
    *high = first < x->size ? fb_min(count, fb_div_up(x->size - first, x->step)) : 0;
}

void fb_stage_geometry(fb_stage *s, int64_t rows) {
    s->extent[0] = 1 + s->axis[0].reach;
    s->extent[1] = rows + s->axis[1].reach;
    s->extent[2] = s->axis[2].out + s->axis[2].reach;
    s->plane = s->extent[0] * s->extent[1] * s->extent[2];
    s->channel = s->plane * s->axis[0].slots * s->axis[1].slots * s->axis[2].slots;
    s->pitch = s->extent[2];
}

/* Whether the input can be read where it lies; then sets the geometry accordingly. */
int fb_stage_in_place(fb_stage *s, const fb_contraction *plan) {
    if (plan->overread || plan->operand_size != plan->sum_size || s->stride[2] != 1) return 0;
    for (int d = 0; d < 3; d++) {
        const fb_axis *x = &s->axis[d];
        if (x->step != 1 || x->start > 0 || x->out - 1 + x->reach - x->start >= x->size) return 0;
    }
    if (s->axis[1].out > 1 && (s->stride[1] < s->axis[2].out || s->stride[1] > 2 * s->axis[2].out + 16)) return 0;
    s->in_place = 1;
    s->pitch = s->axis[1].out > 1 ? s->stride[1] : s->axis[2].out;
    return 1;
}

/* offsets[(c, t)] of taps in the staged (or in-place) input. */
void fb_stage_offsets(const fb_stage *s, int64_t channels, int64_t *offsets) {
    const fb_axis *x = s->axis;
    int64_t taps = x[0].taps * x[1].taps * x[2].taps, k = 0;
    int64_t strides[3] = {s->extent[1] * s->extent[2], s->extent[2], 1}, channel = s->channel;
    if (s->in_place) {
        memcpy(strides, s->stride, sizeof strides);
        channel = s->channel_stride;
    }
    for (int64_t a = 0; a < x[0].taps; a++)
        for (int64_t b = 0; b < x[1].taps; b++)
            for (int64_t c = 0; c < x[2].taps; c++, k++) {
                int64_t slot = (fb_axis_slot(&x[0], a) * x[1].slots + fb_axis_slot(&x[1], b)) * x[2].slots + fb_axis_slot(&x[2], c);
                offsets[k] = fb_axis_shift(&x[0], a) * strides[0] + fb_axis_shift(&x[1], b) * strides[1] +
                             fb_axis_shift(&x[2], c) * strides[2] + slot * s->plane;
            }
    for (k = taps; k < channels * taps; k++) offsets[k] = offsets[k - taps] + channel;
}

/* Copies what output rows row… at depth `depth` need of `channels` channels at `from`; returns where p = 0 stands. */
const void *fb_stage_fill(const fb_stage *s, const fb_contraction *plan, const void *from, int64_t channels, int64_t depth,
                          int64_t row, void *to) {
    const fb_axis *x = s->axis;
    int64_t in = plan->operand_size, size = plan->sum_size;
    if (s->in_place)
        return fb_at(from, (depth - x[0].start) * s->stride[0] + (row - x[1].start) * s->stride[1] - x[2].start, in);
    memset(to, 0, (size_t)(channels * s->channel * size));
    int64_t slots = x[0].slots * x[1].slots * x[2].slots;
    for (int64_t slot = 0; slot < slots; slot++) {
        int64_t at[3] = {slot / x[2].slots / x[1].slots, slot / x[2].slots % x[1].slots, slot % x[2].slots};
        int64_t base[3] = {depth, row, 0}, low[3], high[3], step[3];
        const char *source = from;
        for (int d = 0; d < 3; d++) {
            inside(&x[d], at[d], base[d], s->extent[d], &low[d], &high[d]);
            source += (x[d].step * (base[d] + low[d]) + phase(&x[d], at[d]) - x[d].start) * s->stride[d] * in;
            step[d] = x[d].step * s->stride[d];
        }
        int64_t rows = high[1] - low[1], columns = high[2] - low[2];
        if (rows <= 0 || columns <= 0) continue;
        for (int64_t z = low[0]; z < high[0]; z++) {
            char *target = fb_at(to, slot * s->plane + (z * s->extent[1] + low[1]) * s->extent[2] + low[2], size);
            const char *slice = source + (z - low[0]) * step[0] * in;
            if (s->channel_stride == 1 && channels > 1)
                for (int64_t y = 0; y < rows; y++) {
                    fb_packing t = {fb_at(slice, y * step[1], in), fb_at(target, y * s->extent[2], size), NULL, step[2], 1,
                                    s->channel, columns, channels};
                    plan->pack(&t);
                }
            else
                for (int64_t c = 0; c < channels; c++) {
                    fb_packing t = {fb_at(slice, c * s->channel_stride, in), fb_at(target, c * s->channel, size), NULL, step[2],
                                    step[1], s->extent[2], columns, rows};
                    plan->pack(&t);
                }
        }
    }
    return to;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

void fb_scatter(const fb_contraction *plan, const void *from, int64_t from_row, void *to, int64_t to_row, int64_t to_column,
                int64_t m, int64_t n) {
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

/* ---- forward and data gradient ---------------------------------------------------------------------------------- */

/* y[n, m, p] = f(sum over (c, t) of weights[m, (c, t)] * input[n, c, p + t], bias[m]), per group. */
typedef struct {
    const fb_contraction *plan;
    fb_stage stage;
    int64_t batch, groups, channels, m, k; /* channels, m: of one group */
    const char *in, *weights, *bias;
    char *out;
    int64_t in_image, in_group, w_group, w_row, bias_stride;
    int64_t out_image, out_channel, out_stride[3];
    const int64_t *w_off, *in_off;
    int64_t rows, bands, pitch; /* of a band: output rows; of the sums: elements between rows, 0 = kept in the result */
    size_t stage_bytes, scratch_bytes;
    atomic_int failed;
} correlation;

static void emit(const correlation *q, char *sums, const char *bias, char *out, int64_t rows) {
    const fb_contraction *plan = q->plan;
    int64_t n = q->stage.axis[2].out, column = q->out_stride[2];
    if (!q->pitch) {
        int64_t args[] = {fb_slot(out), fb_slot(out), fb_slot(bias), q->out_channel, q->out_channel, q->bias_stride, rows * n, q->m};
        if (plan->finish) plan->finish(args, 0, q->m);
        return;
    }
    for (int64_t y = 0; y < rows; y++) {
        char *from = fb_at(sums, y * q->stage.pitch, plan->sum_size), *to = fb_at(out, y * q->out_stride[1], plan->operand_size);
        int64_t row = q->pitch;
        if (plan->finish) {
            char *c = column == 1 ? to : from;
            /* In place, narrower elements keep the rows' addresses. */
            int64_t c_row = column == 1 ? q->out_channel : q->pitch * plan->sum_size / plan->operand_size;
            int64_t args[] = {fb_slot(from), fb_slot(c), fb_slot(bias), row, c_row, q->bias_stride, n, q->m};
            plan->finish(args, 0, q->m);
            if (column == 1) continue;
            row = c_row;
        }
        fb_scatter(plan, from, row, to, q->out_channel, column, q->m, n);
    }
}

static void band(const correlation *q, int64_t task, char *scratch) {
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    int64_t in = plan->operand_size, size = plan->sum_size;
    int64_t row = task % q->bands * q->rows, depth = task / q->bands % x[0].out;
    int64_t group = task / q->bands / x[0].out % q->groups, image = task / q->bands / x[0].out / q->groups;
    int64_t rows = fb_min(q->rows, x[1].out - row), columns = (rows - 1) * q->stage.pitch + x[2].out;
    const char *weights = fb_at(q->weights, group * q->w_group, size);
    const char *bias = fb_at(q->bias, group * q->m * q->bias_stride, in);
    char *out = fb_at(q->out, image * q->out_image + group * q->m * q->out_channel + depth * q->out_stride[0] +
                                  row * q->out_stride[1], in);
    char *sums = q->pitch ? scratch + q->stage_bytes : out;
    const void *from = fb_stage_fill(&q->stage, plan, fb_at(q->in, image * q->in_image + group * q->in_group, in), q->channels,
                                     depth, row, scratch);
    int64_t k0 = 0;
    do {
        int64_t kc = fb_min(FB_KC, q->k - k0);
        for (int64_t j = 0; j < columns; j += plan->nr) {
            fb_tile t = {weights, fb_at(from, j, size), fb_at(sums, j, size), q->w_off + k0, q->in_off + k0, q->w_row,
                         q->pitch ? q->pitch : q->out_channel, q->m, fb_min(plan->nr, columns - j), kc, k0 > 0};
            plan->micro(&t);
        }
        k0 += kc;
    } while (k0 < q->k);
    emit(q, sums, bias, out, rows);
}

static void bands(const int64_t *args, int64_t begin, int64_t end) {
    correlation *q = (correlation *)(intptr_t)args[0];
    char *scratch = fb_alloc(q->scratch_bytes);
    if (!scratch) {
        atomic_store(&q->failed, 1);
        return;
    }
    for (int64_t task = begin; task < end; task++) band(q, task, scratch);
    fb_free(scratch, q->scratch_bytes);
}

/* Rows per band: as many as fit in cache, but enough bands for all threads. */
static void schedule(correlation *q, double work) {
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    int64_t size = plan->sum_size, outer = q->batch * q->groups * x[0].out;
    int in_place = fb_stage_in_place(&q->stage, plan);
    int64_t wanted = work < FB_SERIAL_WORK ? 1 : fb_div_up(FB_TASKS, outer);
    q->rows = fb_div_up(x[1].out, fb_min(x[1].out, wanted));
    for (;; q->rows = fb_div_up(q->rows, 2)) {
        if (!in_place) fb_stage_geometry(&q->stage, q->rows);
        int64_t columns = fb_round_up(q->rows * q->stage.pitch, plan->nr);
        int dense = q->rows == 1 || (q->stage.pitch == x[2].out && q->out_stride[1] == x[2].out);
        q->pitch = size == plan->operand_size && q->out_stride[2] == 1 && dense ? 0 : columns + 16;
        q->stage_bytes = in_place ? 0 : (size_t)fb_round_up((q->channels * q->stage.channel + plan->nr) * size, 64);
        q->scratch_bytes = q->stage_bytes + (size_t)(q->m * q->pitch * size) + 64;
        if (q->rows == 1 || q->scratch_bytes <= FB_L2_BYTES) break;
    }
    q->bands = fb_div_up(x[1].out, q->rows);
}

/* Tables, a copy of the weights where they can't be read in place, then all bands. */
static int correlate(correlation *q, int64_t w_channel, const int64_t *w_stride) {
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    int64_t taps = x[0].taps * x[1].taps * x[2].taps, size = plan->sum_size;
    int64_t positions = x[0].out * x[1].out * x[2].out, tasks;
    q->k = q->channels * taps;
    if (!q->batch || !q->groups || !q->m || !positions) return 0;
    double work = (double)q->batch * (double)q->groups * (double)q->m * (double)positions * (double)q->k;
    schedule(q, work);

    int copied = size != plan->operand_size || (q->m * fb_min(q->k, FB_KC) * size > FB_L1_BYTES && q->w_row * size % 1024 == 0);
    int64_t pitch = q->k + 16;
    size_t table_bytes = (size_t)(3 * q->k + 1) * sizeof(int64_t);
    size_t copy_bytes = copied ? (size_t)(q->groups * q->m * pitch * size) : 0;
    int64_t *table = fb_alloc(table_bytes);
    char *copy = copied ? fb_alloc(copy_bytes) : NULL;
    if (!table || (copied && !copy)) {
        fb_free(table, table_bytes);
        fb_free(copy, copy_bytes);
        return -1;
    }
    int64_t *in_off = table, *w_off = table + q->k, *run = table + 2 * q->k, k = 0;
    fb_stage_offsets(&q->stage, q->channels, in_off);
    for (int64_t c = 0; c < q->channels; c++)
        for (int64_t a = 0; a < x[0].taps; a++)
            for (int64_t b = 0; b < x[1].taps; b++)
                for (int64_t d = 0; d < x[2].taps; d++, k++)
                    w_off[k] = c * w_channel + (x[0].first + a * x[0].every) * w_stride[0] +
                               (x[1].first + b * x[1].every) * w_stride[1] + (x[2].first + d * x[2].every) * w_stride[2];
    q->in_off = in_off, q->w_off = w_off;
    if (copied) {
        for (int64_t g = 0; g < q->groups; g++) {
            fb_packing t = {fb_at(q->weights, g * q->w_group, plan->operand_size), fb_at(copy, g * q->m * pitch, size), w_off, 0,
                            q->w_row, pitch, q->k, q->m};
            plan->pack(&t);
        }
        for (k = 0; k < q->k; k++) run[k] = k;
        q->weights = copy, q->w_row = pitch, q->w_group = q->m * pitch, q->w_off = run;
    }
    tasks = q->batch * q->groups * x[0].out * q->bands;
    int64_t args[] = {fb_slot(q)};
    if (work < FB_SERIAL_WORK)
        bands(args, 0, tasks);
    else
        fb_parallel_for(bands, args, tasks, fb_grain(work, tasks));
    fb_free(table, table_bytes);
    fb_free(copy, copy_bytes);
    return atomic_load(&q->failed) ? -1 : 0;
}

int fb_conv(const fb_contraction *plan, const fb_conv_problem *p) {
    correlation q = {
        .plan = plan, .batch = p->batch, .groups = p->groups, .in = p->x, .weights = p->w, .bias = p->bias, .out = p->y,
        .channels = p->in_channels / p->groups, .m = p->out_channels / p->groups,
        .in_image = p->x_stride[0], .w_row = p->w_stride[0], .bias_stride = p->bias_stride,
        .out_image = p->y_stride[0], .out_channel = p->y_stride[1],
    };
    q.in_group = q.channels * p->x_stride[1];
    q.w_group = q.m * p->w_stride[0];
    q.stage.channel_stride = p->x_stride[1];
    for (int d = 0; d < 3; d++) {
        q.stage.axis[d] = fb_axis_forward(p, d);
        q.stage.stride[d] = p->x_stride[2 + d];
        q.out_stride[d] = p->y_stride[2 + d];
    }
    return correlate(&q, p->w_stride[1], p->w_stride + 2);
}

int fb_conv_data_gradient(const fb_contraction *plan, const fb_conv_problem *p) {
    int failed = 0;
    for (int64_t r = 0; r < p->stride[0] * p->stride[1] * p->stride[2]; r++) {
        correlation q = {
            .plan = plan, .batch = p->batch, .groups = p->groups, .in = p->y, .weights = p->w, .bias = p->bias,
            .channels = p->out_channels / p->groups, .m = p->in_channels / p->groups,
            .in_image = p->y_stride[0], .w_row = p->w_stride[1], .bias_stride = p->bias_stride,
            .out_image = p->x_stride[0], .out_channel = p->x_stride[1],
        };
        int64_t at[3] = {r / p->stride[2] / p->stride[1], r / p->stride[2] % p->stride[1], r % p->stride[2]}, origin = 0;
        q.in_group = q.channels * p->y_stride[1];
        q.w_group = q.channels * p->w_stride[0];
        q.stage.channel_stride = p->y_stride[1];
        for (int d = 0; d < 3; d++) {
            q.stage.axis[d] = backward(p, d, at[d]);
            q.stage.stride[d] = p->y_stride[2 + d];
            q.out_stride[d] = q.stage.axis[d].scale * p->x_stride[2 + d];
            origin += q.stage.axis[d].origin * p->x_stride[2 + d];
        }
        q.out = fb_at(p->x, origin, plan->operand_size);
        failed |= correlate(&q, p->w_stride[0], p->w_stride + 2);
    }
    return failed;
}
