/* Convolutions forward and backward to their input: contractions over (channel, tap), without an im2col buffer.
 *
 * A band of output rows of one image is a task. Its input is staged (stage.c), and the micro-kernel reads it in place
 * through a table of offsets, one per (channel, tap), shared by all bands. Vectors run along positions, across the gaps
 * between staged rows, whose sums are computed and dropped; or, where rows are short and channels many, across
 * channels: then the weights are the packed operand, positions the tile's rows, and the sums are transposed on their
 * way out.
 *
 * The data gradient is a convolution once per phase of x: position stride * q + r - padding receives
 * w[o, c, t] * y[o, q - shift(t)] from the taps t that agree with r, so it gathers too. Read next: wgrad.c. */
#include <math.h>
#include <string.h>

#include "convolve.h"

enum {
    MOST_POSITIONS = 256,   /* of an image, for tasks to be panels of weights */
    STAGED_BYTES = 4 << 20, /* what is staged for all of them at once */
    STAGED_CHUNK = 8192     /* elements of that to be copied at a time */
};

/* Along one dimension: how positions of x congruent to r and taps meet y in the data gradient. */
static fb_axis backward(const fb_conv_problem *p, int d, int64_t r) {
    int64_t s = p->stride[d], first = 0, every = 1;
    while (first < s && first < p->kernel[d] && first * p->dilation[d] % s != r) first++;
    while (every * p->dilation[d] % s) every++;
    int found = first < p->kernel[d] && first * p->dilation[d] % s == r;
    int64_t ahead = p->padding[d] - r, low = ahead > 0 ? fb_div_up(ahead, s) : 0;
    int64_t high = p->size[d] + ahead > 0 ? fb_div_up(p->size[d] + ahead, s) : 0;
    fb_axis x = {.taps = found ? (p->kernel[d] - 1 - first) / every + 1 : 0, .first = first, .every = every, .slots = 1,
                 .spacing = 1, .dilation = every * p->dilation[d] / s, .mirrored = 1, .step = 1, .size = p->out[d],
                 .out = fb_max(0, high - low), .scale = s, .origin = s * low - ahead};
    x.reach = x.taps ? (x.taps - 1) * x.dilation : 0;
    x.start = x.reach + (found ? first * p->dilation[d] / s : 0) - low;
    return x;
}

/* ---- how --------------------------------------------------------------------------------------------------- */

/* Of the ways along positions and across channels, the one that leaves fewer lanes idle; tiles of few rows also wait
 * for their own sums. Returns its cost in vectors multiplied and added, what is copied included. */
static double usual_cost(const fb_correlation *q, int *run_across) {
    const fb_axis *x = q->stage.axis;
    static const double speed[] = {0, 0.45, 0.8, 0.9};
    double lanes = (double)q->plan->lanes, k = (double)q->k, m = (double)q->m, n = (double)x[2].out;
    double rows = (double)x[1].out, pitch = (double)(x[2].out + x[2].reach);
    /* All rows at once, or one by one. */
    double along = rows * n / lanes / (double)fb_div_up((int64_t)((rows - 1) * pitch + n), q->plan->lanes);
    along = fmax(along, n / lanes / (double)fb_div_up(x[2].out, q->plan->lanes));
    double across = m / lanes / (double)fb_div_up(q->m, q->plan->lanes) * (x[2].out < 4 ? speed[x[2].out] : 1);
    along *= (q->m < 4 ? speed[q->m] : 1) * k / (k + 4);
    across *= k / (k + 8);
    int better = across > along;
    if (run_across) *run_across = better;
    double inputs = (double)(q->batch * q->groups * q->channels * x[0].size * x[1].size * x[2].size);
    double outputs = (double)(q->batch * q->groups * x[0].out) * rows * n * m;
    return q->work / lanes / (better ? across : along) + 0.2 * inputs + (better ? 0.6 : 0.2) * outputs;
}

static int is_dense(const fb_correlation *q, int64_t rows) {
    return q->out_stride[2] == 1 && (rows == 1 || q->out_stride[1] == q->stage.axis[2].out);
}

/* Rows to compute at once, along positions: those that leave the fewest lanes idle, of what fits in cache. */
static int64_t full_vectors(const fb_correlation *q, int64_t most, int convert) {
    int64_t n = q->stage.axis[2].out, pitch = q->stage.pitch, lanes = q->plan->lanes, best = 1, least = INT64_MAX;
    if (pitch == n && !convert && is_dense(q, most)) return most;
    most = fb_min(most, fb_max(1, FB_L2_BYTES / (q->m * pitch * q->plan->sum_size)));
    for (int64_t part = 1; part <= most; part++) {
        int64_t rest = q->rows % part, vectors = q->rows / part * fb_div_up((part - 1) * pitch + n, lanes);
        if (rest) vectors += fb_div_up((rest - 1) * pitch + n, lanes);
        if (vectors < least) least = vectors, best = part;
    }
    return best;
}

/* Where the sums of a task wait, and in which shape. */
static void place_sums(fb_correlation *q, int64_t part) {
    int64_t size = q->plan->sum_size, n = q->stage.axis[2].out, channels = fb_min(q->m, q->share * q->panel);
    int convert = size != q->plan->operand_size;
    q->part = fb_min(q->rows, part);
    if (q->across) {
        int64_t most = fb_max(FB_L1_BYTES / (q->m * n * size), fb_div_up(2 * q->plan->nr, n));
        if (!q->by_panels) q->part = fb_min(q->part, most);
        q->sums_pitch = fb_round_up(channels, q->plan->lanes);
        q->spread_pitch = convert || !is_dense(q, q->part) ? q->part * n : 0;
    } else {
        q->part = full_vectors(q, q->part, convert);
        if (convert || !is_dense(q, q->part) || (q->part > 1 && q->stage.pitch != n))
            q->sums_pitch = fb_round_up(q->part * q->stage.pitch, q->plan->nr) + 16;
    }
    q->sums_bytes = (size_t)fb_round_up((q->across ? q->part * n : q->m) * q->sums_pitch * size, 64);
    q->fresh_bytes = q->fresh ? (size_t)(FB_KC * q->panel * size) : 0;
    q->scratch_bytes = q->stage_bytes + q->fresh_bytes + q->sums_bytes;
    q->scratch_bytes += (size_t)(channels * q->spread_pitch * size) + 64;
}

/* Few positions and many weights. */
static int has_few_positions(const fb_correlation *q) {
    const fb_axis *x = q->stage.axis;
    return q->panels > 1 && x[1].out * x[2].out <= MOST_POSITIONS &&
           q->m * q->k * q->plan->sum_size >= FB_L2_BYTES;
}

/* Tasks are panels of weights, which each task packs for itself if it is the only one to use them, and all share what
 * is staged. Rows of positions follow each other without a gap, for tall tiles. The phases of a woven row wait for each
 * other, so there each task stages what it needs of both. 0: it takes too much room. */
static int schedule_panels(fb_correlation *q, int is_woven) {
    const fb_axis *x = q->stage.axis;
    fb_stage as_it_is = q->stage;
    int64_t outer = q->batch * q->groups * x[0].out;
    size_t room = 0;
    if (!fb_stage_in_place(&q->stage, q->plan, 0) || q->stage.pitch != x[2].out * q->stage.column) {
        q->stage = as_it_is;
        fb_stage_by_taps(&q->stage);
        fb_stage_copied(&q->stage, x[1].out);
        room = (size_t)fb_round_up(q->channels * q->stage.channel * q->plan->sum_size, 64);
    }
    if (room * (size_t)(is_woven ? 1 : outer) > (is_woven ? 2 * FB_L2_BYTES : STAGED_BYTES)) {
        q->stage = as_it_is;
        return 0;
    }
    q->stage_bytes = is_woven ? room : 0;
    q->image_bytes = room, q->staged_bytes = is_woven ? 0 : room * (size_t)outer;
    q->across = q->by_panels = 1;
    q->rows = x[1].out, q->bands = 1;
    q->share = fb_max(1, q->panels * outer / FB_TASKS);
    q->images_first = q->m * q->k > 4 * q->channels * x[1].size * x[2].size;
    q->fresh = outer == q->groups && !q->shared;
    place_sums(q, q->rows);
    return 1;
}

/* Rows per band: as many as fit in cache, but enough bands for all threads; and no more than `limit`, of which no more
 * than `part` are computed at once. */
static void schedule(fb_correlation *q, int64_t limit, int64_t part) {
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    int64_t size = plan->sum_size, outer = q->batch * q->groups * x[0].out;
    usual_cost(q, &q->across);
    int in_place = fb_stage_in_place(&q->stage, plan, !q->across);
    if (q->across && !in_place) fb_stage_padded(&q->stage);
    int64_t wanted = q->work < FB_SERIAL_WORK ? 1 : fb_div_up(FB_TASKS, outer);
    /* Rounded down across channels, where short bands cost little; full vectors along positions want several rows. */
    q->rows = q->across ? fb_max(1, x[1].out / wanted) : fb_div_up(x[1].out, fb_min(x[1].out, wanted));
    q->rows = fb_min(limit, q->rows);
    for (;; q->rows = fb_div_up(q->rows, 2)) {
        if (!in_place) fb_stage_copied(&q->stage, q->rows);
        q->stage_bytes = in_place ? 0 : (size_t)fb_round_up((q->channels * q->stage.channel + plan->nr) * size, 64);
        if (q->rows == 1 || q->stage_bytes <= FB_L2_BYTES) break;
    }
    q->bands = fb_div_up(x[1].out, q->rows);
    q->share = q->panels;
    place_sums(q, part);
}

/* ---- a band ------------------------------------------------------------------------------------------------- */

/* sums[m, y * gap + p] of some output rows. */
typedef struct {
    char *data; /* NULL: the result has them already */
    int64_t pitch, gap;
} sums_view;

/* Where a task's operands are, beside its input: image, group, depth, the first of its rows and channels. */
typedef struct {
    int64_t outer, row, depth, rows;
    int64_t channel, channels;
    const char *weights, *bias, *from;
    char *out; /* at row 0 */
} place;

static place place_of(const fb_correlation *q, int64_t task) {
    const fb_axis *x = q->stage.axis;
    int64_t in = q->plan->operand_size, row = task % q->bands * q->rows, outers = q->batch * q->groups * x[0].out;
    int64_t shares = fb_div_up(q->panels, q->share), outer = task / q->bands / shares, share = task / q->bands % shares;
    if (q->images_first) outer = task / q->bands % outers, share = task / q->bands / outers;
    int64_t channel = share * q->share * q->panel, depth = outer % x[0].out;
    int64_t group = outer / x[0].out % q->groups, image = outer / x[0].out / q->groups, m = group * q->m + channel;
    return (place){
        .outer = outer, .row = row, .depth = depth, .rows = fb_min(q->rows, x[1].out - row),
        .channel = channel, .channels = fb_min(q->share * q->panel, q->m - channel),
        .weights = fb_at(q->weights, group * q->w_group, q->fresh ? in : q->plan->sum_size),
        .bias = q->bias ? fb_at(q->bias, m * q->bias_stride, in) : NULL,
        .from = fb_at(q->in, image * q->in_image + group * q->in_group, in),
        .out = fb_at(q->out, image * q->out_image + m * q->out_channel + depth * q->out_stride[0], in),
    };
}

static void finish(const fb_correlation *q, const place *at, void *sums, void *c, int64_t sums_row, int64_t c_row,
                   int64_t n) {
    int64_t args[] = {fb_slot(sums), fb_slot(c), fb_slot(at->bias), sums_row, c_row, q->bias_stride, n, at->channels};
    q->plan->finish(args, 0, at->channels);
}

/* A row's sums, finished in place: narrower elements keep the addresses of their rows, which are then as many of theirs
 * apart as this returns. */
static int64_t finish_row(const fb_correlation *q, const place *at, char *from, int64_t pitch) {
    const fb_contraction *plan = q->plan;
    if (!plan->finish) return pitch;
    int64_t row = pitch * plan->sum_size / plan->operand_size;
    finish(q, at, from, from, pitch, row, q->stage.axis[2].out);
    return row;
}

/* `rows` output rows to the result. */
static void emit(const fb_correlation *q, const place *at, sums_view sums, char *out, int64_t rows) {
    const fb_contraction *plan = q->plan;
    int64_t n = q->stage.axis[2].out;
    for (int64_t y = 0; y < rows; y++) {
        char *from = fb_at(sums.data, y * sums.gap, plan->sum_size);
        char *to = fb_at(out, y * q->out_stride[1], plan->operand_size);
        if (plan->finish && q->out_stride[2] == 1) {
            finish(q, at, from, to, sums.pitch, q->out_channel, n);
            continue;
        }
        int64_t row = finish_row(q, at, from, sums.pitch);
        fb_scatter(plan, from, row, to, q->out_channel, q->out_stride[2], at->channels, n);
    }
}

/* Vectors along positions. */
static sums_view along_positions(const fb_correlation *q, const place *at, const char *from, char *out, int64_t rows,
                                 char *scratch) {
    const fb_contraction *plan = q->plan;
    int64_t size = plan->sum_size, columns = (rows - 1) * q->stage.pitch + q->stage.axis[2].out, k0 = 0;
    char *sums = q->sums_pitch ? scratch : out;
    int64_t pitch = q->sums_pitch ? q->sums_pitch : q->out_channel;
    do {
        int64_t kc = fb_min(FB_KC, q->k - k0);
        for (int64_t j = 0; j < columns; j += plan->nr) {
            fb_tile t = {at->weights, fb_at(from, j, size), fb_at(sums, j, size), q->w_off + k0, q->in_off + k0,
                         q->w_row, pitch, q->m, fb_min(plan->nr, columns - j), kc, k0 > 0};
            plan->micro(&t);
        }
        k0 += kc;
    } while (k0 < q->k);
    if (q->sums_pitch) return (sums_view){sums, pitch, q->stage.pitch};
    if (plan->finish) finish(q, at, out, out, q->out_channel, q->out_channel, columns);
    return (sums_view){0};
}

/* Vectors across channels: sums[p, m]. */
static sums_view across_channels(const fb_correlation *q, const place *at, const char *from, char *out, int64_t rows,
                                 char *scratch) {
    const fb_contraction *plan = q->plan;
    int64_t size = plan->sum_size, n = q->stage.axis[2].out, m = at->channels, fresh_off[FB_KC], k0 = 0;
    char *fresh = scratch, *sums = scratch + q->fresh_bytes;
    /* Rows without a gap are one. */
    int64_t runs = q->stage.pitch == n * q->stage.column ? 1 : rows, run = rows * n / runs;
    for (int64_t k = 0; k < fb_min(q->k, FB_KC); k++) fresh_off[k] = k * q->panel;
    do {
        int64_t kc = fb_min(FB_KC, q->k - k0);
        for (int64_t j = 0; j < m; j += q->panel) {
            const char *weights = q->fresh ? fresh : fb_at(at->weights, (at->channel + j) * q->w_rows, size);
            const int64_t *w_off = q->fresh ? fresh_off : q->w_off + k0;
            if (q->fresh) fb_pack_panel(q, at->weights, at->channel + j, k0, kc, fresh);
            for (int64_t y = 0; y < runs; y++) {
                fb_tile t = {fb_at(from, y * q->stage.pitch, size), weights,
                             fb_at(sums, y * run * q->sums_pitch + j, size), q->in_off + k0, w_off,
                             q->stage.column, q->sums_pitch, run, fb_min(q->panel, m - j), kc, k0 > 0};
                plan->micro(&t);
            }
        }
        k0 += kc;
    } while (k0 < q->k);
    if (!plan->finish && size == plan->operand_size && q->out_channel == 1) {
        for (int64_t y = 0; y < rows; y++)
            fb_scatter(plan, fb_at(sums, y * n * q->sums_pitch, size), q->sums_pitch,
                       fb_at(out, y * q->out_stride[1], size), q->out_stride[2], 1, n, m);
        return (sums_view){0};
    }
    char *spread = q->spread_pitch ? sums + q->sums_bytes : out;
    int64_t pitch = q->spread_pitch ? q->spread_pitch : q->out_channel;
    fb_packing t = {sums, spread, NULL, q->sums_pitch, 1, pitch, rows * n, m};
    plan->pack_sums(&t);
    if (q->spread_pitch) return (sums_view){spread, pitch, n};
    if (plan->finish) finish(q, at, out, out, pitch, pitch, rows * n);
    return (sums_view){0};
}

/* The sums of rows [row, row + rows) of a place, from what is staged. */
static sums_view compute(const fb_correlation *q, const place *at, const char *staged, int64_t row, int64_t rows,
                         char *scratch) {
    const char *from = fb_at(staged, (row - at->row) * q->stage.pitch, q->plan->sum_size);
    char *out = fb_at(at->out, row * q->out_stride[1], q->plan->operand_size);
    return (q->across ? across_channels : along_positions)(q, at, from, out, rows, scratch);
}

static void band(const fb_correlation *q, int64_t task, char *scratch) {
    place at = place_of(q, task);
    const char *staged = at.from;
    if (q->staged)
        staged = q->staged + (size_t)at.outer * q->image_bytes;
    else if (q->k)
        staged = fb_stage_fill(&q->stage, q->plan, at.from, q->channels, at.depth, at.row, scratch);
    for (int64_t row = at.row; row < at.row + at.rows; row += q->part) {
        int64_t rows = fb_min(q->part, at.row + at.rows - row);
        sums_view sums = compute(q, &at, staged, row, rows, scratch + q->stage_bytes);
        if (sums.data) emit(q, &at, sums, fb_at(at.out, row * q->out_stride[1], q->plan->operand_size), rows);
    }
}

static void bands(const int64_t *args, int64_t begin, int64_t end) {
    fb_correlation *q = (fb_correlation *)(intptr_t)args[0];
    char *scratch = fb_alloc(q->scratch_bytes);
    if (!scratch) {
        atomic_store(&q->failed, 1);
        return;
    }
    for (int64_t task = begin; task < end; task++) band(q, task, scratch);
    fb_free(scratch, q->scratch_bytes);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

/* How much there is to do; 0 if nothing. */
static int measure(fb_correlation *q) {
    const fb_axis *x = q->stage.axis;
    int64_t positions = x[0].out * x[1].out * x[2].out;
    q->k = q->channels * x[0].taps * x[1].taps * x[2].taps;
    q->panel = q->m <= q->plan->lanes ? q->plan->lanes : q->plan->nr;
    q->panels = fb_div_up(q->m, q->panel);
    q->work = (double)q->batch * (double)q->groups * (double)q->m * (double)positions * (double)q->k;
    return q->batch && q->groups && q->m && positions;
}

static void run(fb_kernel kernel, void *job, const fb_correlation *q, double work) {
    int64_t args[] = {fb_slot(job)}, tasks = q->batch * q->groups * q->stage.axis[0].out * q->bands;
    tasks *= fb_div_up(q->panels, q->share);
    if (work < FB_SERIAL_WORK)
        kernel(args, 0, tasks);
    else
        fb_parallel_for(kernel, args, tasks, fb_grain(work, tasks));
}

/* Stages channels of all images, groups and depths, of which there are args[2] parts each. */
static void stage_parts(const int64_t *args, int64_t begin, int64_t end) {
    const fb_correlation *q = (const fb_correlation *)(intptr_t)args[0];
    const fb_stage *s = &q->stage;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / args[2], channel = i % args[2] * args[1];
        place at = place_of(q, q->images_first ? outer : outer * fb_div_up(q->panels, q->share));
        fb_stage_fill(s, q->plan, fb_at(at.from, channel * s->channel_stride, q->plan->operand_size),
                      fb_min(args[1], q->channels - channel), at.depth, 0,
                      fb_at(q->staged + (size_t)outer * q->image_bytes, channel * s->channel, q->plan->sum_size));
    }
}

static void stage_all(fb_correlation *q) {
    int64_t together = fb_max(1, STAGED_CHUNK / q->stage.channel), parts = fb_div_up(q->channels, together);
    int64_t args[] = {fb_slot(q), together, parts};
    fb_parallel_for(stage_parts, args, q->batch * q->groups * q->stage.axis[0].out * parts, 1);
}

static int correlate(fb_correlation *q, const fb_conv_problem *p, int64_t w_channel) {
    if (!measure(q)) return 0;
    int by_position = fb_positions_cost(q) < usual_cost(q, NULL) && fb_weights_finite(q->plan, p);
    if (!by_position && !(has_few_positions(q) && schedule_panels(q, 0))) schedule(q, INT64_MAX, INT64_MAX);
    int failed = fb_prepare(q, p, w_channel, by_position);
    if (!failed && q->staged_bytes) {
        q->staged = fb_alloc(q->staged_bytes);
        failed = !q->staged;
        if (!failed) stage_all(q);
    }
    if (!failed && by_position)
        failed = fb_correlate_positions(q);
    else if (!failed)
        run(bands, q, q, q->work);
    fb_free(q->staged, q->staged_bytes);
    fb_release(q);
    return failed || atomic_load(&q->failed) ? -1 : 0;
}

/* Two phases of a row of the data gradient, for even and odd elements. One without taps is zeros. */
typedef struct {
    fb_correlation q[2];
    int zero[2];
    int64_t columns; /* of both together */
    size_t zero_bytes;
} woven;

static void weave_band(const woven *w, const fb_correlation *lead, int64_t task, char *scratch) {
    const fb_contraction *plan = lead->plan;
    place at[2];
    const char *staged[2] = {NULL, NULL};
    char *rest[2], *zeros = scratch;
    scratch += w->zero_bytes;
    for (int i = 0; i < 2; i++) {
        const fb_correlation *q = &w->q[i];
        if (w->zero[i]) continue;
        at[i] = place_of(q, task);
        staged[i] = at[i].from;
        if (q->k) staged[i] = fb_stage_fill(&q->stage, plan, at[i].from, q->channels, at[i].depth, at[i].row, scratch);
        rest[i] = scratch + q->stage_bytes;
        scratch += q->scratch_bytes;
    }
    place to = place_of(lead, task);
    for (int64_t row = to.row; row < to.row + to.rows; row += lead->part) {
        int64_t rows = fb_min(lead->part, to.row + to.rows - row);
        sums_view sums[2] = {{zeros, 0, 0}, {zeros, 0, 0}};
        for (int i = 0; i < 2; i++)
            if (!w->zero[i]) sums[i] = compute(&w->q[i], &at[i], staged[i], row, rows, rest[i]);
        for (int64_t y = 0; y < rows; y++) {
            fb_plane t = {.c = fb_at(to.out, (row + y) * lead->out_stride[1], plan->operand_size),
                          .c_row = lead->out_channel, .rows = to.channels, .columns = w->columns};
            char *from[2];
            int64_t pitch[2];
            for (int i = 0; i < 2; i++) {
                from[i] = fb_at(sums[i].data, y * sums[i].gap, plan->sum_size);
                pitch[i] = w->zero[i] ? 0 : finish_row(&w->q[i], &at[i], from[i], sums[i].pitch);
            }
            t.a = from[0], t.b = from[1], t.a_row = pitch[0], t.b_row = pitch[1];
            plan->comb(&t);
        }
    }
}

static void weave_bands(const int64_t *args, int64_t begin, int64_t end) {
    woven *w = (woven *)(intptr_t)args[0];
    fb_correlation *lead = &w->q[w->zero[0] && !w->zero[1]];
    size_t bytes = w->zero_bytes + (w->zero[0] ? 0 : w->q[0].scratch_bytes) + (w->zero[1] ? 0 : w->q[1].scratch_bytes);
    char *scratch = fb_alloc(bytes);
    if (!scratch) {
        atomic_store(&lead->failed, 1);
        return;
    }
    memset(scratch, 0, w->zero_bytes);
    for (int64_t task = begin; task < end; task++) weave_band(w, lead, task, scratch);
    fb_free(scratch, bytes);
}

/* Both at once, so that every row is written in one go. */
static int correlate_woven(woven *w, const fb_conv_problem *p) {
    const fb_contraction *plan = w->q[0].plan;
    int failed = 0;
    for (int i = 0; i < 2; i++) w->zero[i] = !measure(&w->q[i]) || (!w->q[i].k && !plan->finish);
    int first = w->zero[0] && !w->zero[1], both = !w->zero[0] && !w->zero[1];
    fb_correlation *lead = &w->q[first], *other = &w->q[!first];
    if (!measure(lead)) return 0;
    fb_stage stages[2] = {lead->stage, other->stage};
    int few = has_few_positions(lead) || (both && has_few_positions(other));
    if (!few || !schedule_panels(lead, 1) || (both && !schedule_panels(other, 1))) {
        lead->stage = stages[0], other->stage = stages[1];
        lead->by_panels = other->by_panels = 0;
        schedule(lead, INT64_MAX, INT64_MAX);
        for (int turn = 0; both && turn < 2; turn++) {
            schedule(other, lead->rows, lead->part);
            schedule(lead, other->rows, other->part);
        }
    }
    other->images_first = lead->images_first;
    w->columns = p->size[2];
    w->zero_bytes = (size_t)fb_round_up((w->columns + plan->nr) * plan->sum_size, 64);
    for (int i = 0; i < 2; i++)
        if (!w->zero[i]) failed |= fb_prepare(&w->q[i], p, p->w_stride[0], 0);
    if (!failed) run(weave_bands, w, lead, w->q[0].work + w->q[1].work);
    fb_release(&w->q[0]);
    fb_release(&w->q[1]);
    return failed || atomic_load(&lead->failed) ? -1 : 0;
}

int fb_conv(const fb_contraction *plan, const fb_conv_problem *p) {
    if (fb_slides(plan, p)) return fb_slide(plan, p, 0);
    fb_correlation q = {
        .plan = plan, .batch = p->batch, .groups = p->groups, .in = p->x, .weights = p->w, .bias = p->bias, .out = p->y,
        .channels = p->in_channels / p->groups, .m = p->out_channels / p->groups, .bias_stride = p->bias_stride,
        .in_image = p->x_stride[0], .w_row = p->w_stride[0], .out_image = p->y_stride[0], .out_channel = p->y_stride[1],
    };
    q.in_group = q.channels * p->x_stride[1];
    q.w_group = q.m * p->w_stride[0];
    q.stage.channel_stride = p->x_stride[1];
    for (int d = 0; d < 3; d++) {
        q.stage.axis[d] = fb_axis_forward(p, d);
        q.stage.stride[d] = p->x_stride[2 + d];
        q.out_stride[d] = p->y_stride[2 + d];
    }
    return correlate(&q, p, p->w_stride[1]);
}

/* A phase of the data gradient: elements of x that are congruent to `at` modulo the stride. */
static fb_correlation phase_of(const fb_contraction *plan, const fb_conv_problem *p, const int64_t at[3],
                               fb_packed_weights *shared) {
    fb_correlation q = {
        .plan = plan, .batch = p->batch, .groups = p->groups, .in = p->y, .weights = p->w, .bias = p->bias,
        .channels = p->out_channels / p->groups, .m = p->in_channels / p->groups, .bias_stride = p->bias_stride,
        .shared = p->stride[0] * p->stride[1] * p->stride[2] > 1 ? shared : NULL,
        .in_image = p->y_stride[0], .w_row = p->w_stride[1], .out_image = p->x_stride[0],
        .out_channel = p->x_stride[1],
    };
    int64_t origin = 0;
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
    return q;
}

int fb_conv_data_gradient(const fb_contraction *plan, const fb_conv_problem *p) {
    if (fb_slides(plan, p)) return fb_slide(plan, p, 1);
    int failed = 0;
    fb_packed_weights shared = {0};
    for (int64_t z = 0; z < p->stride[0]; z++)
        for (int64_t y = 0; y < p->stride[1]; y++) {
            /* Elements next to each other, or a channel apart, take turns. */
            if (plan->comb && p->stride[2] == 2 && p->x_stride[4] == 1) {
                woven w = {.q = {phase_of(plan, p, (int64_t[]){z, y, 0}, &shared),
                                 phase_of(plan, p, (int64_t[]){z, y, 1}, &shared)}};
                if (w.q[0].stage.axis[2].origin == 1) {
                    fb_correlation odd = w.q[0];
                    w.q[0] = w.q[1], w.q[1] = odd;
                }
                w.q[1].out = w.q[0].out;
                failed |= correlate_woven(&w, p);
                continue;
            }
            for (int64_t x = 0; x < p->stride[2]; x++) {
                fb_correlation q = phase_of(plan, p, (int64_t[]){z, y, x}, &shared);
                failed |= correlate(&q, p, p->w_stride[0]);
            }
        }
    fb_free(shared.copy, shared.bytes);
    return failed;
}
