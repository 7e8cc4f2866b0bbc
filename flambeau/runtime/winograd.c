/* Convolutions of 3x3 windows by minimal filtering, forward and backward to their input: 16 products in place of 36.
 *
 * For each of 16 points, a matrix of patches [tile, channel] times one of windows [channel, output channel]. All
 * transforms have channels as lanes, so patches are staged with their channels next to each other, whatever the layout.
 * Where tiles are many, windows are transformed once for all, and a task takes a block of tiles through all three
 * steps; where they are few, or windows many, the patches of a span of tiles are, and a task takes some of the output
 * channels, whose windows it transforms group by group, so that these never go to memory. Which of the two decides
 * about time only: contract.h says what fixes the bits. Read next: winograd_gradient.c. */
#include "winograd.h"

#include <string.h>

#include "convolve.h"

enum {
    BLOCK_TILES = 48,        /* of a task, about: its patches stay in the second-level cache */
    SPAN_BYTES = 16 << 20,   /* of a span's patches */
    WINDOW_BYTES = 8 << 20,  /* of windows that are transformed once for all */
    LEAST_TASKS = 8,
    EMITTED = 2              /* panels whose results are scattered at once */
};

typedef struct {
    const fb_winograd *how;
    fb_squares in;
    fb_images out;
    fb_tiles tiles;
    int64_t channels; /* of the input */
    const char *w;
    int64_t w_in, w_out, w_row, w_column; /* strides of the window: of what is summed over, of the result's channel */
    int mirrored;
    const char *bias;
    int64_t bias_stride;
    int64_t panels, block, blocks, split, splits; /* strips of a block; panels of a task */
    int64_t first, end;                           /* strips of the span */
    int64_t v_group, v_point, u_point, m_row, m_point;
    char *shared; /* v [group][point][tile][FB_GROUP] of a span, or u [panel][point][channel][nr] of all panels */
    size_t v_bytes, u_bytes, m_bytes, patch_bytes, window_bytes, out_bytes;
    atomic_int failed, strange; /* out of memory; some result isn't finite */
} job;

/* ---- tiles -------------------------------------------------------------------------------------------------- */

fb_tiles fb_tiles_of(int64_t batch, int64_t rows, int64_t columns) {
    fb_tiles t = {.batch = batch, .rows = rows, .columns = columns, .down = fb_div_up(rows, 2),
                  .across = fb_div_up(columns, 2)};
    t.pieces = fb_div_up(t.across, FB_GROUP);
    t.piece = fb_div_up(t.across, t.pieces);
    t.pieces = fb_div_up(t.across, t.piece);
    t.strips = batch * t.pieces * t.down;
    return t;
}

int fb_next_strips(const fb_tiles *t, int64_t *s, int64_t end, fb_strips *run) {
    run->tile += run->strips * run->width;
    if (*s >= end) return 0;
    int64_t piece = *s / t->down;
    run->image = piece / t->pieces, run->tx = piece % t->pieces * t->piece, run->ty = *s % t->down;
    run->strips = fb_min(t->down - run->ty, end - *s);
    run->width = fb_min(t->piece, t->across - run->tx);
    *s += run->strips;
    return 1;
}

int64_t fb_tiles_in(const fb_tiles *t, int64_t s, int64_t end) {
    fb_strips run = {0};
    while (fb_next_strips(t, &s, end, &run)) {}
    return run.tile;
}

void fb_transform(fb_kernel kernel, const void *x, int64_t x_step, int64_t x_row, int64_t x_column, void *y,
                  int64_t y_step, int64_t y_row, int64_t y_column, int64_t n, int64_t m) {
    int64_t args[] = {fb_slot(x), fb_slot(y), x_step, x_row, x_column, y_step, y_row, y_column, n, m};
    kernel(args, 0, m);
}

size_t fb_squares_bytes(const fb_tiles *t, int64_t strips) {
    return (size_t)((2 * fb_min(strips, t->down) + 2) * (2 * t->piece + 2) * FB_GROUP) * sizeof(float);
}

/* What a run's squares meet of some channels, as [row, column, channel] with zeros outside. */
static void stage(const fb_contraction *plan, const fb_squares *x, const fb_strips *run, int64_t c0, int64_t count,
                  char *to) {
    const fb_images *in = &x->images;
    int64_t size = sizeof(float), height = 2 * run->strips + x->overlap, width = 2 * run->width + x->overlap;
    int64_t y0 = 2 * run->ty - x->top, x0 = 2 * run->tx - x->left;
    int64_t left = fb_max(0, x0), columns = fb_min(in->width, x0 + width) - left;
    if (y0 < 0 || y0 + height > in->height || columns < width) memset(to, 0, (size_t)(height * width * count * size));
    for (int64_t y = fb_max(0, y0); columns > 0 && y < fb_min(in->height, y0 + height); y++) {
        int64_t from = run->image * in->image + c0 * in->channel + y * in->row + left * in->column;
        fb_packing p = {fb_at(in->data, from, size), fb_at(to, ((y - y0) * width + left - x0) * count, size), NULL,
                        in->channel, in->column, count, count, columns};
        plan->pack(&p);
    }
}

void fb_transform_squares(const fb_contraction *plan, const fb_tiles *t, const fb_squares *x, int64_t s, int64_t end,
                          int64_t c0, int64_t count, char *v, int64_t point, char *scratch) {
    fb_strips run = {0};
    while (fb_next_strips(t, &s, end, &run)) {
        int64_t width = 2 * run.width + x->overlap, size = sizeof(float);
        stage(plan, x, &run, c0, count, scratch);
        for (int64_t y = 0; y < run.strips; y++)
            fb_transform(x->kernel, fb_at(scratch, 2 * y * width * count, size), 2 * count, width * count, count,
                         fb_at(v, (run.tile + y * run.width) * FB_GROUP, size), FB_GROUP, 4 * point, point, count,
                         run.width);
    }
}

/* ---- the three steps ---------------------------------------------------------------------------------------- */

/* u[point, channel, column] of a panel's windows over channels c0 … c0 + count - 1, at most FB_GROUP. */
static void windows(const job *q, int64_t panel, int64_t c0, int64_t count, char *u, int64_t point, char *scratch) {
    const fb_contraction *plan = &q->how->direct;
    int64_t size = sizeof(float), nr = plan->nr, n = fb_min(nr, q->out.channels - panel * nr);
    const char *w = fb_at(q->w, c0 * q->w_in + panel * nr * q->w_out, size);
    int64_t step = q->mirrored ? -nr : nr, whole = q->w_column == 1 && q->w_row == 3;
    if (whole && q->w_in == 9) {
        fb_packing t = {w, scratch, NULL, q->w_out, 1, nr, n, 9 * count};
        plan->pack(&t);
    } else if (whole) {
        for (int64_t c = 0; c < count; c++) {
            /* Stretches too short and far apart for the hardware to guess the next. */
            const char *next = fb_at(w, (c + 2) * q->w_in, size);
            for (int64_t i = 0; c + 2 < count && i < 9 * n * size; i += 64) __builtin_prefetch(next + i);
            fb_packing t = {fb_at(w, c * q->w_in, size), fb_at(scratch, 9 * c * nr, size), NULL, q->w_out, 1, nr, n, 9};
            plan->pack(&t);
        }
    } else {
        for (int64_t k = 0; k < 9; k++) {
            fb_packing t = {fb_at(w, k / 3 * q->w_row + k % 3 * q->w_column, size), fb_at(scratch, k * nr, size), NULL,
                            q->w_out, q->w_in, 9 * nr, n, count};
            plan->pack(&t);
        }
    }
    fb_transform(q->how->window, fb_at(scratch, q->mirrored ? 8 * nr : 0, size), 9 * nr, 3 * step, step, u, nr,
                 4 * point, point, n, count);
}

/* m[point, tile, column] (+)= sum over channels of v[point, tile, channel] * u[point, channel, column], of a panel; v
 * and u are at the first of the channels, which begins a group. */
static void multiply(const job *q, int64_t point, int64_t panel, int64_t tiles, const char *v, const char *u, char *m,
                     int64_t channels, int accumulate) {
    int64_t nr = q->how->direct.nr, size = sizeof(float), v_off[FB_GROUP], u_off[FB_GROUP];
    for (int64_t k = 0; k < FB_GROUP; k++) v_off[k] = k, u_off[k] = k * nr;
    for (int64_t k = 0; k < channels; k += FB_GROUP) {
        fb_tile t = {fb_at(v, point * q->v_point + k / FB_GROUP * q->v_group, size),
                     fb_at(u, point * q->u_point + k * nr, size), fb_at(m, point * q->m_point, size), v_off, u_off,
                     FB_GROUP, q->m_row, tiles, fb_min(nr, q->out.channels - panel * nr),
                     fb_min(FB_GROUP, channels - k), accumulate || k > 0};
        q->how->chains(&t);
    }
}

/* From m, of panels [panel, last), to the result. */
static void emit(job *q, int64_t s, int64_t end, int64_t panel, int64_t last, const char *m, char *scratch) {
    const fb_contraction *plan = &q->how->direct;
    const fb_images *out = &q->out;
    int64_t size = sizeof(float), row = EMITTED * plan->nr, c0 = panel * plan->nr;
    fb_strips run = {0};
    while (fb_next_strips(&q->tiles, &s, end, &run)) {
        int64_t width = 2 * run.width, rows = fb_min(2 * run.strips, q->tiles.rows - 2 * run.ty);
        int64_t columns = fb_min(width, q->tiles.columns - 2 * run.tx);
        for (int64_t c = c0; c < fb_min(out->channels, last * plan->nr); c += row) {
            int64_t n = fb_min(row, fb_min(out->channels, last * plan->nr) - c);
            for (int64_t y = 0; y < run.strips; y++) {
                const char *from = fb_at(m, (run.tile + y * run.width) * q->m_row + c - c0, size);
                fb_transform(q->how->to_tile, from, q->m_row, 4 * q->m_point, q->m_point,
                             fb_at(scratch, 2 * y * width * row, size), 2 * row, width * row, row, n, run.width);
            }
            if (q->how->finish) {
                const char *bias = fb_at(q->bias, c * q->bias_stride, size);
                int64_t args[] = {fb_slot(scratch), fb_slot(scratch), fb_slot(bias), row, row, 0, n, rows * width};
                q->how->finish(args, 0, rows * width);
            }
            if (!fb_all_finite(plan, scratch, rows * width, n, row)) atomic_store(&q->strange, 1);
            char *to = fb_at(out->data, run.image * out->image + c * out->channel + 2 * run.ty * out->row +
                                            2 * run.tx * out->column, size);
            if (columns == width && out->row == width * out->column)
                fb_scatter(plan, scratch, row, to, out->column, out->channel, rows * width, n);
            else
                for (int64_t y = 0; y < rows; y++)
                    fb_scatter(plan, fb_at(scratch, y * width * row, size), row, fb_at(to, y * out->row, size),
                               out->column, out->channel, columns, n);
        }
    }
}

/* ---- many tiles --------------------------------------------------------------------------------------------- */

static void all_windows(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    char *scratch = fb_alloc(q->window_bytes);
    int64_t nr = q->how->direct.nr, parts = fb_div_up(q->channels, FB_GROUP), size = sizeof(float);
    for (int64_t i = begin; scratch && i < end; i++) {
        int64_t panel = i / parts, c = i % parts * FB_GROUP;
        windows(q, panel, c, fb_min(FB_GROUP, q->channels - c),
                fb_at(q->shared, panel * FB_POINTS * q->u_point + c * nr, size), q->u_point, scratch);
    }
    if (!scratch) atomic_store(&q->failed, 1);
    fb_free(scratch, q->window_bytes);
}

static void block(job *q, int64_t task, char *v) {
    int64_t s = task / q->splits * q->block, end = fb_min(q->tiles.strips, s + q->block), size = sizeof(float);
    int64_t first = task % q->splits * q->split, last = fb_min(q->panels, first + q->split), nr = q->how->direct.nr;
    int64_t tiles = fb_tiles_in(&q->tiles, s, end);
    char *m = v + q->v_bytes, *scratch = m + q->m_bytes;
    for (int64_t c = 0; c < q->channels; c += FB_GROUP)
        fb_transform_squares(&q->how->direct, &q->tiles, &q->in, s, end, c, fb_min(FB_GROUP, q->channels - c),
                             fb_at(v, c / FB_GROUP * q->v_group, size), q->v_point, scratch);
    for (int64_t point = 0; point < FB_POINTS; point++)
        for (int64_t panel = first; panel < last; panel++)
            multiply(q, point, panel, tiles, v, fb_at(q->shared, panel * FB_POINTS * q->u_point, size),
                     fb_at(m, (panel - first) * nr, size), q->channels, 0);
    emit(q, s, end, first, last, m, scratch);
}

static void blocks(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    size_t bytes = q->v_bytes + q->m_bytes + (q->patch_bytes > q->out_bytes ? q->patch_bytes : q->out_bytes);
    char *scratch = fb_alloc(bytes);
    for (int64_t task = begin; scratch && task < end; task++) block(q, task, scratch);
    if (!scratch) atomic_store(&q->failed, 1);
    fb_free(scratch, bytes);
}

/* ---- few tiles ---------------------------------------------------------------------------------------------- */

static void all_patches(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    char *scratch = fb_alloc(q->patch_bytes);
    int64_t parts = fb_div_up(q->channels, FB_GROUP), size = sizeof(float);
    for (int64_t i = begin; scratch && i < end; i++) {
        int64_t s = q->first + i / parts * q->block, c = i % parts * FB_GROUP;
        int64_t at = c / FB_GROUP * q->v_group + fb_tiles_in(&q->tiles, q->first, s) * FB_GROUP;
        fb_transform_squares(&q->how->direct, &q->tiles, &q->in, s, fb_min(q->end, s + q->block), c,
                             fb_min(FB_GROUP, q->channels - c), fb_at(q->shared, at, size), q->v_point, scratch);
    }
    if (!scratch) atomic_store(&q->failed, 1);
    fb_free(scratch, q->patch_bytes);
}

static void panels(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    size_t bytes = q->u_bytes + q->m_bytes + (q->window_bytes > q->out_bytes ? q->window_bytes : q->out_bytes);
    int64_t tiles = fb_tiles_in(&q->tiles, q->first, q->end);
    char *u = fb_alloc(bytes), *m = u + q->u_bytes, *scratch = m + q->m_bytes;
    for (int64_t panel = begin; u && panel < end; panel++) {
        for (int64_t c = 0; c < q->channels; c += FB_GROUP) {
            int64_t count = fb_min(FB_GROUP, q->channels - c);
            const char *v = fb_at(q->shared, c / FB_GROUP * q->v_group, sizeof(float));
            windows(q, panel, c, count, u, q->u_point, scratch);
            for (int64_t point = 0; point < FB_POINTS; point++)
                multiply(q, point, panel, tiles, v, u, m, count, c > 0);
        }
        emit(q, q->first, q->end, panel, panel + 1, m, scratch);
    }
    if (!u) atomic_store(&q->failed, 1);
    fb_free(u, bytes);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static int64_t padded(int64_t row) { return fb_round_up(row, FB_PAD) + FB_PAD; }

static void run(fb_kernel kernel, job *q, int64_t tasks, int serial) {
    int64_t args[] = {fb_slot(q)};
    if (serial)
        kernel(args, 0, tasks);
    else
        fb_parallel_for(kernel, args, tasks, 1);
}

static int compute(job *q) {
    int64_t tiles = q->tiles.batch * q->tiles.down * q->tiles.across, nr = q->how->direct.nr, size = sizeof(float);
    int64_t parts = fb_div_up(q->channels, FB_GROUP);
    int serial = (double)tiles * FB_POINTS * (double)q->channels * (double)q->out.channels < FB_SERIAL_WORK;
    q->panels = fb_div_up(q->out.channels, nr);
    int64_t of_windows = FB_POINTS * q->panels * padded(q->channels * nr) * size;
    int64_t of_strip = FB_POINTS * parts * FB_GROUP * q->tiles.piece * size;
    int64_t spans = fb_div_up(q->tiles.strips, fb_max(1, SPAN_BYTES / of_strip));
    int few = of_windows > WINDOW_BYTES || (spans == 1 && tiles <= 2 * q->out.channels);
    int64_t span = few ? fb_div_up(q->tiles.strips, spans) : q->tiles.strips;
    q->block = fb_div_up(span, fb_div_up(span, fb_max(1, BLOCK_TILES / q->tiles.piece)));
    q->blocks = fb_div_up(span, q->block);
    q->split = few ? 1 : fb_div_up(q->panels, fb_min(q->panels, fb_div_up(LEAST_TASKS, q->blocks)));
    q->splits = fb_div_up(q->panels, q->split);

    int64_t most = (few ? span : q->block) * q->tiles.piece;
    q->v_point = most * FB_GROUP + FB_PAD, q->v_group = FB_POINTS * q->v_point;
    q->m_row = padded(q->split * nr), q->m_point = most * q->m_row + FB_PAD;
    q->u_point = padded((few ? FB_GROUP : q->channels) * nr);
    q->v_bytes = (size_t)(parts * q->v_group * size), q->m_bytes = (size_t)(FB_POINTS * q->m_point * size);
    q->u_bytes = (size_t)(FB_POINTS * q->u_point * (few ? 1 : q->panels) * size);
    q->patch_bytes = fb_squares_bytes(&q->tiles, q->block);
    q->window_bytes = (size_t)(9 * FB_GROUP * nr * size);
    q->out_bytes = (size_t)(4 * fb_min(most, q->tiles.down * q->tiles.piece) * EMITTED * nr * size);

    size_t bytes = few ? q->v_bytes : q->u_bytes;
    if (!(q->shared = fb_alloc(bytes))) return -1;
    if (!few) {
        run(all_windows, q, q->panels * parts, serial);
        run(blocks, q, q->blocks * q->splits, serial);
    }
    for (; few && q->first < q->tiles.strips && !atomic_load(&q->failed); q->first = q->end) {
        q->end = fb_min(q->tiles.strips, q->first + span);
        run(all_patches, q, fb_div_up(q->end - q->first, q->block) * parts, serial);
        run(panels, q, q->panels, serial);
    }
    fb_free(q->shared, bytes);
    return atomic_load(&q->failed) ? -1 : 0;
}

/* Tiles with an element that isn't finite become those of `direct`, a dense copy of the result's shape. */
static void replace(const fb_images *out, int64_t batch, const float *direct) {
    for (int64_t plane = 0; plane < batch * out->channels; plane++, direct += out->height * out->width) {
        int64_t start = plane / out->channels * out->image + plane % out->channels * out->channel;
        float *to = (float *)(void *)out->data + start;
        for (int64_t y = 0; y < out->height; y += 2)
            for (int64_t x = 0; x < out->width; x += 2) {
                int64_t rows = fb_min(2, out->height - y), columns = fb_min(2, out->width - x);
                float sum = 0;
                for (int64_t i = 0; i < rows * columns; i++)
                    sum += 0 * to[(y + i / columns) * out->row + (x + i % columns) * out->column];
                for (int64_t i = 0; sum != 0 && i < rows * columns; i++)
                    to[(y + i / columns) * out->row + (x + i % columns) * out->column] =
                        direct[(y + i / columns) * out->width + x + i % columns];
            }
    }
}

static int repair(const job *q, const fb_conv_problem *p, int backward) {
    const fb_images *out = &q->out;
    size_t bytes = (size_t)(p->batch * out->channels * out->height * out->width) * sizeof(float);
    fb_conv_problem dense = *p;
    int64_t *stride = backward ? dense.x_stride : dense.y_stride;
    void *direct = fb_alloc(bytes);
    if (!direct) return -1;
    stride[4] = 1, stride[3] = out->width, stride[2] = stride[1] = out->width * out->height;
    stride[0] = stride[1] * out->channels;
    *(backward ? &dense.x : &dense.y) = direct;
    int failed = (backward ? fb_conv_data_gradient : fb_conv)(&q->how->direct, &dense);
    if (!failed) replace(out, p->batch, direct);
    fb_free(direct, bytes);
    return failed;
}

int fb_conv_winograd(const fb_winograd *how, const fb_conv_problem *p, int backward) {
    const int64_t *x = p->x_stride, *y = p->y_stride, *w = p->w_stride;
    fb_images images[] = {{p->x, p->in_channels, p->size[1], p->size[2], x[0], x[1], x[3], x[4]},
                          {p->y, p->out_channels, p->out[1], p->out[2], y[0], y[1], y[3], y[4]}};
    int64_t top = backward ? 2 - p->padding[1] : p->padding[1], left = backward ? 2 - p->padding[2] : p->padding[2];
    job q = {.how = how, .in = {images[backward], how->patch, 2, top, left}, .channels = images[backward].channels,
             .out = images[!backward], .w = p->w, .w_in = w[!backward],
             .w_out = w[backward], .w_row = w[3], .w_column = w[4], .mirrored = backward, .bias = p->bias,
             .bias_stride = p->bias_stride};
    q.tiles = fb_tiles_of(p->batch, q.out.height, q.out.width);
    if (!q.tiles.strips || !q.out.channels) return 0;
    if (compute(&q)) return -1;
    return atomic_load(&q.strange) ? repair(&q, p, backward) : 0;
}

/* Pairs of an output position and a tap that meets an element, along one dimension. */
static int64_t products(const fb_conv_problem *p, int d) {
    int64_t count = 0;
    for (int64_t t = 0; t < 3; t++)
        count += fb_max(0, fb_min(p->out[d], p->size[d] + p->padding[d] - t) - fb_max(0, p->padding[d] - t));
    return count;
}

int fb_winograd_pays(const fb_conv_problem *p, int gradient) {
    static const int64_t kernel[3] = {1, 3, 3};
    double in = (double)p->in_channels, out = (double)p->out_channels, batch = gradient ? (double)p->batch : 1;
    int few = fb_min(p->in_channels, p->out_channels) < FB_FEWEST_CHANNELS;
    if (few || p->groups != 1 || p->size[0] != 1 || p->padding[0]) return 0;
    for (int d = 0; d < 3; d++)
        if (p->kernel[d] != kernel[d] || p->stride[d] != 1 || p->dilation[d] != 1 || p->padding[d] > 2) return 0;
    double tiles = batch * (double)fb_div_up(p->out[1], 2) * (double)fb_div_up(p->out[2], 2);
    double filtered = tiles * (FB_POINTS * in * out + FB_TILE_COST * (in + out)) + gradient * FB_WINDOW_COST * in * out;
    return batch * (double)products(p, 1) * (double)products(p, 2) * in * out * 100 >= filtered * FB_LEAST_GAIN;
}
