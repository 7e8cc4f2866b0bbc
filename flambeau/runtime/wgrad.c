/* The weight gradient of a convolution: w[o, (c, t)] = sum over (n, p) of y[n, o, p] * x[n, c, p + t].
 *
 * K is all output positions of all images, cut into blocks of FB_KC as ever. A task computes the sums of some of the
 * columns (c, t), block by block: it packs the rows of y, stages the rows of x and transposes them into panels. Where
 * columns are too few for all threads, several blocks are computed at a time, each into a part of its own, and the parts
 * are added in order: the result is the same however many that are. Where groups have one channel on both sides:
 * slide.c. Read convolve.c first. */
#include "convolve.h"

enum {
    COLUMNS = 256,        /* of a task */
    ADDITIONS = 65536,    /* of parts, below which one thread does them */
    PARTS_BYTES = 2 << 20 /* what all parts together may take */
};

int64_t fb_row_run(const fb_gradient *q, int64_t k, int64_t most, int64_t at[4]) {
    const int64_t *out = q->p->out;
    at[3] = k % out[2], k /= out[2];
    at[2] = k % out[1], k /= out[1];
    at[1] = k % out[0], at[0] = k / out[0];
    return fb_min(out[2] - at[3], most);
}

void fb_pack_rows(const fb_gradient *q, const char *y, int64_t k0, int64_t kc, char *to) {
    const fb_conv_problem *p = q->p;
    const int64_t *s = p->y_stride;
    /* Whole images are one run where their positions follow each other in memory. */
    int flat = s[4] == 1 && s[3] == p->out[2] && (p->out[0] == 1 || s[2] == p->out[1] * p->out[2]);
    int64_t image = p->out[0] * p->out[1] * p->out[2], at[4];
    for (int64_t k = 0, run; k < kc; k += run) {
        run = fb_row_run(q, k0 + k, kc - k, at);
        if (flat) run = fb_min(image - (k0 + k) % image, kc - k);
        int64_t offset = at[0] * s[0] + at[1] * s[2] + at[2] * s[3] + at[3] * s[4];
        fb_packing t = {fb_at(y, offset, q->plan->operand_size), fb_at(to, k, q->plan->sum_size), NULL, s[4], s[1],
                        FB_KC + 16, run, q->m};
        q->plan->pack(&t);
    }
}

/* Panels [column / nr][k][column % nr] of x for columns j0 … j0 + n - 1. */
static void pack_columns(const fb_gradient *q, const char *x, int64_t j0, int64_t n, int64_t k0, int64_t kc,
                         char *staged, char *to) {
    const fb_contraction *plan = q->plan;
    int64_t size = plan->sum_size, nr = plan->nr;
    int64_t channel = j0 / q->taps, channels = (j0 + n - 1) / q->taps - channel + 1;
    int64_t at[4], image = -1, depth = -1, row = 0;
    const char *from = NULL;
    x = fb_at(x, channel * q->stage.channel_stride, plan->operand_size);
    for (int64_t k = 0, run; k < kc; k += run) {
        run = fb_row_run(q, k0 + k, kc - k, at);
        if (at[0] != image || at[1] != depth || at[2] - row >= q->stage_rows) {
            image = at[0], depth = at[1], row = at[2];
            const char *source = fb_at(x, image * q->p->x_stride[0], plan->operand_size);
            from = fb_stage_fill(&q->stage, plan, source, channels, depth, row, staged);
        }
        const char *here = fb_at(from, (at[2] - row) * q->stage.pitch + at[3], size);
        for (int64_t j = 0; j < n; j += nr) {
            fb_packing t = {here, fb_at(to, j * kc + k * nr, size), q->offsets + (j0 - channel * q->taps) + j, 0, 1, nr,
                            fb_min(nr, n - j), run};
            plan->pack_sums(&t);
        }
    }
}

static void block(const fb_gradient *q, int64_t task, int64_t first, char *scratch) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    int64_t size = plan->sum_size, in = plan->operand_size, nr = plan->nr;
    int64_t chunk = task % q->chunks, group = task / q->chunks % p->groups, part = task / q->chunks / p->groups;
    int64_t j0 = chunk * q->chunk, n = fb_min(q->chunk, q->n - j0);
    int64_t k0 = (first + part) * FB_KC, kc = fb_min(FB_KC, q->k - k0);
    char *panels = scratch + q->a_bytes, *staged = panels + q->panels_bytes;
    char *c = q->part ? fb_at(q->part, (part * p->groups + group) * q->m * q->n, size)
                      : fb_at(q->sums, group * q->m * q->sums_row, size);
    int64_t c_row = q->part ? q->n : q->sums_row, a_off[FB_KC], b_off[FB_KC];
    for (int64_t k = 0; k < kc; k++) a_off[k] = k, b_off[k] = k * nr;
    fb_pack_rows(q, fb_at(p->y, group * q->m * p->y_stride[1], in), k0, kc, scratch);
    const char *x = fb_at(p->x, group * (p->in_channels / p->groups) * p->x_stride[1], in);
    pack_columns(q, x, j0, n, k0, kc, staged, panels);
    for (int64_t j = 0; j < n; j += nr) {
        fb_tile t = {scratch, fb_at(panels, j * kc, size), fb_at(c, j0 + j, size), a_off, b_off, FB_KC + 16, c_row,
                     q->m, fb_min(nr, n - j), kc, !q->part && first > 0};
        plan->micro(&t);
    }
}

static void blocks(const int64_t *args, int64_t begin, int64_t end) {
    fb_gradient *q = (fb_gradient *)(intptr_t)args[0];
    char *scratch = fb_alloc(q->scratch_bytes);
    if (!scratch) {
        atomic_store(&q->failed, 1);
        return;
    }
    for (int64_t task = begin; task < end; task++)
        for (int64_t first = q->first; first < q->first + q->run; first++)
            (q->way == FB_PACKED ? block : fb_taps_block)(q, task, first, scratch);
    fb_free(scratch, q->scratch_bytes);
}

#define ADD_PARTS(type, sums, part, stride, count)                                  \
    for (int64_t r = 0; r < (count); r++)                                           \
        for (int64_t e = 0; e < q->n; e++) {                                        \
            type v = ((const type *)(part))[r * (stride) + e];                      \
            ((type *)(sums))[e] = r || q->first ? ((type *)(sums))[e] + v : v;      \
        }

/* Rows [begin, end) of the sums: adds the parts, in order. */
static void add_parts(const int64_t *args, int64_t begin, int64_t end) {
    fb_gradient *q = (fb_gradient *)(intptr_t)args[0];
    int64_t size = q->plan->sum_size, stride = q->p->groups * q->m * q->n, count = args[1];
    for (int64_t row = begin; row < end; row++) {
        char *sums = fb_at(q->sums, row * q->sums_row, size), *part = fb_at(q->part, row * q->n, size);
        if (size == 4) {
            ADD_PARTS(float, sums, part, stride, count)
        } else {
            ADD_PARTS(double, sums, part, stride, count)
        }
    }
}

/* From sums of their own to w: converted, and to wherever w's strides say. */
static void finish(const fb_gradient *q) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    int64_t rows = p->groups * q->m, row = q->sums_row * plan->sum_size / plan->operand_size;
    if (plan->finish) {
        int64_t args[] = {fb_slot(q->sums), fb_slot(q->sums), 0, q->sums_row, row, 0, q->n, rows};
        plan->finish(args, 0, rows);
    }
    for (int64_t c = 0, j = 0; c < p->in_channels / p->groups; c++)
        for (int64_t z = 0; z < p->kernel[0]; z++)
            for (int64_t y = 0; y < p->kernel[1]; y++, j += p->kernel[2]) {
                int64_t to = c * p->w_stride[1] + z * p->w_stride[2] + y * p->w_stride[3], size = plan->operand_size;
                fb_scatter(plan, fb_at(q->sums, j, size), row, fb_at(p->w, to, size), p->w_stride[0], p->w_stride[4],
                           rows, p->kernel[2]);
            }
}

/* Whether the elements of w that belong to one output channel follow each other as columns do. */
static int is_dense(const fb_conv_problem *p, int64_t channels) {
    int64_t sizes[4] = {channels, p->kernel[0], p->kernel[1], p->kernel[2]}, expected = 1;
    for (int d = 3; d >= 0; expected *= sizes[d--])
        if (sizes[d] > 1 && p->w_stride[1 + d] != expected) return 0;
    return 1;
}

static void plan_packed(fb_gradient *q) {
    const fb_contraction *plan = q->plan;
    const fb_conv_problem *p = q->p;
    int64_t channels = p->in_channels / p->groups, size = plan->sum_size;
    q->stage_rows = fb_min(p->out[1], FB_KC / fb_max(1, p->out[2]) + 2);
    if (!fb_stage_in_place(&q->stage, plan, 1)) fb_stage_copied(&q->stage, q->stage_rows);
    q->chunk = fb_min(fb_round_up(q->n, plan->nr), COLUMNS / plan->nr * plan->nr);
    q->chunks = fb_div_up(q->n, q->chunk);
    int64_t staged_channels = fb_min(channels, (q->chunk - 2 + q->taps) / q->taps + 1);
    q->a_bytes = (size_t)fb_round_up(q->m * (FB_KC + 16) * size, 64);
    q->panels_bytes = (size_t)(q->chunk * FB_KC * size);
    q->scratch_bytes = q->a_bytes + q->panels_bytes + 64;
    if (!q->stage.in_place) q->scratch_bytes += (size_t)(staged_channels * q->stage.channel * size);
}

int fb_conv_weight_gradient(const fb_contraction *plan, const fb_conv_problem *p) {
    fb_gradient q = {.plan = plan, .p = p, .m = p->out_channels / p->groups};
    int64_t channels = p->in_channels / p->groups, size = plan->sum_size;
    q.taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    q.n = channels * q.taps;
    q.k = p->batch * p->out[0] * p->out[1] * p->out[2];
    if (!p->groups || !q.m || !q.n) return 0;
    double work = (double)p->groups * (double)q.m * (double)q.n * (double)q.k;
    int channelwise = q.m == 1 && channels == 1;

    q.stage.channel_stride = p->x_stride[1];
    for (int d = 0; d < 3; d++) {
        q.stage.axis[d] = fb_axis_forward(p, d);
        q.stage.stride[d] = p->x_stride[2 + d];
    }
    if (!channelwise) fb_taps_plan(&q);
    if (q.way == FB_PACKED) plan_packed(&q);

    int64_t count = channelwise ? 0 : fb_max(1, fb_div_up(q.k, FB_KC)), rows = p->groups * q.m, part = rows * q.n * size;
    int alone = fb_num_threads() == 1 || p->groups * q.chunks >= 2 * fb_num_threads();
    q.run = alone ? fb_max(1, count) : 1;
    q.parts = alone ? 1 : fb_min(count, fb_max(1, PARTS_BYTES / part));
    int dense = q.way == FB_PACKED && size == plan->operand_size && !plan->finish && is_dense(p, channels);
    q.sums_row = dense ? p->w_stride[0] : q.n;
    size_t sums_bytes = dense ? 0 : (size_t)part, parts_bytes = q.parts > 1 ? (size_t)(q.parts * part) : 0;
    size_t offsets_bytes = (size_t)q.n * sizeof(int64_t);
    int64_t *offsets = fb_alloc(offsets_bytes);
    q.sums = dense ? p->w : fb_alloc(sums_bytes);
    q.part = parts_bytes ? fb_alloc(parts_bytes) : NULL;
    if (!offsets || !q.sums || (parts_bytes && !q.part)) {
        atomic_store(&q.failed, 1);
    } else {
        if (q.way == FB_PACKED) fb_stage_offsets(&q.stage, channels, offsets);
        q.offsets = offsets;
        if (channelwise && fb_slide_sums(plan, p, q.sums, q.sums_row)) atomic_store(&q.failed, 1);
    }
    for (; q.first < count && !atomic_load(&q.failed); q.first += q.parts * q.run) {
        int64_t now = fb_min(q.parts, count - q.first), tasks = now * p->groups * q.chunks;
        int64_t args[] = {fb_slot(&q), now};
        if (work < FB_SERIAL_WORK)
            blocks(args, 0, tasks);
        else
            fb_parallel_for(blocks, args, tasks, fb_grain(work * (double)(now * q.run) / (double)count, tasks));
        if (q.part) fb_parallel_for(add_parts, args, rows, fb_max(1, ADDITIONS / (now * q.n)));
    }
    if (q.way != FB_PACKED && !atomic_load(&q.failed))
        fb_taps_finish(&q);
    else if (!dense && !atomic_load(&q.failed))
        finish(&q);
    fb_free(offsets, offsets_bytes);
    if (!dense) fb_free(q.sums, sums_bytes);
    fb_free(q.part, parts_bytes);
    return atomic_load(&q.failed) ? -1 : 0;
}
