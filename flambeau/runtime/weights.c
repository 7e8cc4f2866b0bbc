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
        char *to = fb_at(q->copy, i * q->panel * q->w_rows, q->plan->sum_size);
        fb_pack_panel(q, w, i % q->panels * q->panel, 0, q->w_rows, to);
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

static void pack_panels_of(fb_correlation *q) {
    int64_t args[] = {fb_slot(q)}, count = q->groups * q->panels;
    fb_parallel_for(pack_panels, args, count, fb_grain((double)count * (double)(q->panel * q->w_rows), count));
}

/* The weights of all groups, packed. */
static void pack_all(fb_correlation *q, int64_t *one_by_one) {
    if (q->across) {
        pack_panels_of(q);
    } else {
        int64_t args[] = {fb_slot(q)}, count = q->groups * fb_div_up(q->m, ROWS);
        fb_parallel_for(copy_rows, args, count, fb_grain((double)count * (double)(ROWS * q->k), count));
    }
    for (int64_t k = 0; k < q->k; k++) one_by_one[k] = q->across ? k * q->panel : k;
    q->weights = q->copy, q->w_off = one_by_one, q->w_row = q->k + 16;
    q->w_group = q->across ? q->panels * q->panel * q->k : q->m * q->w_row;
}

/* Where the elements of w stand that (channel, tap) mean, in a layout with these steps. */
static void list_weights(const fb_correlation *q, int64_t channel, const int64_t step[3], int64_t *w_off) {
    const fb_axis *x = q->stage.axis;
    int64_t k = 0;
    for (int64_t c = 0; c < q->channels; c++)
        for (int64_t a = 0; a < x[0].taps; a++)
            for (int64_t b = 0; b < x[1].taps; b++)
                for (int64_t d = 0; d < x[2].taps; d++)
                    w_off[k++] = c * channel + (x[0].first + a * x[0].every) * step[0] +
                                 (x[1].first + b * x[1].every) * step[1] + (x[2].first + d * x[2].every) * step[2];
}

/* Packs all taps, once, where this correlation is a phase of several and needs some. */
static int share_weights(fb_correlation *q, const fb_conv_problem *p, int64_t w_channel) {
    fb_packed_weights *all = q->shared;
    const int64_t *kernel = p->kernel;
    int64_t taps = kernel[0] * kernel[1] * kernel[2];
    q->w_rows = q->channels * taps;
    if (!all->copy) {
        size_t table_bytes = (size_t)q->w_rows * sizeof(int64_t);
        int64_t *table = fb_alloc(table_bytes);
        all->bytes = (size_t)(q->groups * q->panels * q->panel * q->w_rows * q->plan->sum_size);
        all->copy = table ? fb_alloc(all->bytes) : NULL;
        if (!all->copy) {
            fb_free(table, table_bytes);
            return -1;
        }
        fb_correlation whole = *q;
        for (int d = 0; d < 3; d++) whole.stage.axis[d] = (fb_axis){.taps = kernel[d], .every = 1};
        list_weights(&whole, w_channel, p->w_stride + 2, table);
        whole.w_off = table, whole.copy = all->copy;
        pack_panels_of(&whole);
        fb_free(table, table_bytes);
    }
    const int64_t step[3] = {kernel[1] * kernel[2] * q->panel, kernel[2] * q->panel, q->panel};
    list_weights(q, taps * q->panel, step, q->table + q->k);
    q->weights = all->copy, q->w_group = q->panels * q->panel * q->w_rows;
    return 0;
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
    int64_t size = plan->sum_size, *w_off;
    int aliased = q->m * fb_min(q->k, FB_KC) * size > FB_L1_BYTES && q->w_row * size % 1024 == 0;
    int shared = q->across && q->shared, packed = q->across || size != plan->operand_size || aliased;
    packed &= !q->fresh && !shared;
    q->table_bytes = (size_t)(3 * q->k + 1) * sizeof(int64_t);
    q->copy_bytes = packed ? (size_t)(q->groups * fb_round_up(q->m, plan->nr) * (q->k + 16) * size) : 0;
    q->table = fb_alloc(q->table_bytes);
    q->copy = packed ? fb_alloc(q->copy_bytes) : NULL;
    if (!q->table || (packed && !q->copy)) return -1;
    q->in_off = q->table, q->w_off = w_off = q->table + q->k, q->w_rows = q->k;
    if (!by_position) fb_stage_offsets(&q->stage, q->channels, q->table);
    if (shared) return share_weights(q, p, w_channel);
    list_weights(q, w_channel, p->w_stride + 2, w_off);
    if (packed) pack_all(q, w_off + q->k);
    return 0;
}

void fb_release(fb_correlation *q) {
    fb_free(q->table, q->table_bytes);
    fb_free(q->copy, q->copy_bytes);
}
