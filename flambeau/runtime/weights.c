/* A convolution's weights in the order they are used in: packed where they don't lie so, and the tables of offsets.
 * Read convolve.c first. */
#include "convolve.h"

enum { ROWS = 8 }; /* of weights to be copied by a task */

void fb_pack_panel(const fb_correlation *q, const char *w, int64_t channel, int64_t k0, int64_t kc, char *to) {
    int64_t in = q->plan->operand_size, last = k0 + kc;
    for (int64_t k = k0, run; k < last; k += run) {
        /* Stretches of equal steps, whole rows of weights as a rule. */
        int64_t step = k + 1 < last ? q->w_off[k + 1] - q->w_off[k] : 1;
        for (run = 1; k + run < last && q->w_off[k + run] - q->w_off[k + run - 1] == step; run++) {}
        const char *from = fb_at(w, channel * q->w_row + q->w_off[k], in);
        fb_packing t = {from, fb_at(to, (k - k0) * q->panel, q->plan->sum_size), NULL, q->w_row, step, q->panel,
                        fb_min(q->panel, q->m - channel), run};
        q->plan->pack(&t);
    }
}

/* Panels [begin, end) of all groups: [(c, t), panel]. */
static void pack_panels(const int64_t *args, int64_t begin, int64_t end) {
    const fb_correlation *q = (const fb_correlation *)(intptr_t)args[0];
    for (int64_t i = begin; i < end; i++) {
        const char *w = fb_at(q->weights, i / q->panels * q->w_group, q->plan->operand_size);
        fb_pack_panel(q, w, i % q->panels * q->panel, 0, q->k, fb_at(q->copy, i * q->panel * q->k, q->plan->sum_size));
    }
}

/* Blocks of rows [begin, end) of all groups: [m, (c, t)]. */
static void copy_rows(const int64_t *args, int64_t begin, int64_t end) {
    const fb_correlation *q = (const fb_correlation *)(intptr_t)args[0];
    int64_t blocks = fb_div_up(q->m, ROWS), pitch = q->k + 16;
    for (int64_t i = begin; i < end; i++) {
        int64_t group = i / blocks, row = i % blocks * ROWS;
        const char *w = fb_at(q->weights, group * q->w_group + row * q->w_row, q->plan->operand_size);
        char *to = fb_at(q->copy, (group * q->m + row) * pitch, q->plan->sum_size);
        fb_packing t = {w, to, q->w_off, 0, q->w_row, pitch, q->k, fb_min(ROWS, q->m - row)};
        q->plan->pack(&t);
    }
}

/* The weights of all groups, packed. */
static void pack_all(fb_correlation *q, int64_t *one_by_one) {
    int64_t args[] = {fb_slot(q)}, count = q->groups * (q->across ? q->panels : fb_div_up(q->m, ROWS));
    fb_kernel kernel = q->across ? pack_panels : copy_rows;
    double elements = (double)q->groups * (double)q->m * (double)q->k;
    fb_parallel_for(kernel, args, count, fb_grain(elements, count));
    for (int64_t k = 0; k < q->k; k++) one_by_one[k] = k;
    q->weights = q->copy, q->w_off = one_by_one, q->w_row = q->k + 16;
    q->w_group = q->across ? q->panels * q->panel * q->k : q->m * q->w_row;
}

/* Where w's elements don't lie together nobody looks. */
int fb_weights_finite(const fb_contraction *plan, const fb_conv_problem *p) {
    int64_t sizes[5] = {p->out_channels, p->in_channels / p->groups, p->kernel[0], p->kernel[1], p->kernel[2]};
    int64_t count = 1;
    for (int d = 4; d >= 0; count *= sizes[d--])
        if (sizes[d] > 1 && p->w_stride[d] != count) return 0;
    int64_t whole = count / plan->nr, rest = count % plan->nr;
    return fb_all_finite(plan, p->w, whole, plan->nr, plan->nr) &&
           fb_all_finite(plan, fb_at(p->w, count - rest, plan->sum_size), 1, rest, rest);
}

int fb_prepare(fb_correlation *q, const fb_conv_problem *p, int64_t w_channel, int by_position) {
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    const int64_t *w_stride = p->w_stride + 2;
    int64_t size = plan->sum_size, k = 0;
    int aliased = q->m * fb_min(q->k, FB_KC) * size > FB_L1_BYTES && q->w_row * size % 1024 == 0;
    int packed = !q->fresh && (q->across || size != plan->operand_size || aliased);
    q->table_bytes = (size_t)(3 * q->k + 1) * sizeof(int64_t);
    q->copy_bytes = packed ? (size_t)(q->groups * fb_round_up(q->m, plan->nr) * (q->k + 16) * size) : 0;
    q->table = fb_alloc(q->table_bytes);
    q->copy = packed ? fb_alloc(q->copy_bytes) : NULL;
    if (!q->table || (packed && !q->copy)) return -1;
    int64_t *w_off = q->table + q->k;
    for (int64_t c = 0; c < q->channels; c++)
        for (int64_t a = 0; a < x[0].taps; a++)
            for (int64_t b = 0; b < x[1].taps; b++)
                for (int64_t d = 0; d < x[2].taps; d++)
                    w_off[k++] = c * w_channel + (x[0].first + a * x[0].every) * w_stride[0] +
                                 (x[1].first + b * x[1].every) * w_stride[1] +
                                 (x[2].first + d * x[2].every) * w_stride[2];
    q->in_off = q->table, q->w_off = w_off;
    if (packed) pack_all(q, w_off + q->k);
    if (!by_position) fb_stage_offsets(&q->stage, q->channels, q->table);
    return 0;
}

void fb_release(fb_correlation *q) {
    fb_free(q->table, q->table_bytes);
    fb_free(q->copy, q->copy_bytes);
}
