/* The weight gradient of 3x3 convolutions by minimal filtering: for each of 16 points a product of y's tiles and x's
 * patches, [o, tile] times [tile, c], whose sums become windows at last.
 *
 * Tiles are taken a span at a time, whose points stay in the last-level cache; then each task adds the products of one
 * point and some output channels. Groups of tiles are whole strips, so that a span's end is a group's. Read winograd.c
 * first. */
#include <string.h>

#include "convolve.h"
#include "winograd.h"

enum {
    SPAN_BYTES = 2 << 20, /* of the points of a span, about */
    BLOCK_TILES = 48,     /* transformed by a task, about */
    WINDOW_ROWS = 8       /* output channels whose windows a task makes */
};

typedef struct {
    const fb_winograd *how;
    const fb_conv_problem *p;
    fb_squares x, y;
    fb_tiles tiles;
    int64_t channels, m;
    int64_t group, span, first, end; /* strips of a group and of a span; those of this span */
    int64_t block, blocks;           /* strips of a task, and tasks of a span */
    int64_t point;                   /* from point to point of v, which is [c / FB_GROUP + o / FB_GROUP][point][tile] */
    int64_t m_row, m_point;
    char *v, *sums; /* sums: [point][o][c] */
    size_t scratch_bytes, window_bytes;
    atomic_int failed, strange;
} job;

static void *channel_group(const job *q, int64_t index) {
    return fb_at(q->v, index * FB_POINTS * q->point, sizeof(float));
}

static void squares(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    int64_t of_x = fb_div_up(q->channels, FB_GROUP), groups = of_x + fb_div_up(q->m, FB_GROUP), size = sizeof(float);
    char *scratch = fb_alloc(q->scratch_bytes);
    for (int64_t i = begin; scratch && i < end; i++) {
        int64_t index = i % groups, s = q->first + i / groups * q->block, at = fb_tiles_in(&q->tiles, q->first, s);
        int64_t c = (index < of_x ? index : index - of_x) * FB_GROUP;
        const fb_squares *from = index < of_x ? &q->x : &q->y;
        fb_transform_squares(&q->how->direct, &q->tiles, from, s, fb_min(q->end, s + q->block), c,
                             fb_min(FB_GROUP, from->images.channels - c),
                             fb_at(channel_group(q, index), at * FB_GROUP, size), q->point, scratch);
    }
    if (!scratch) atomic_store(&q->failed, 1);
    fb_free(scratch, q->scratch_bytes);
}

/* One point of one group of output channels each. */
static void products(const int64_t *args, int64_t begin, int64_t end) {
    const job *q = (const job *)(intptr_t)args[0];
    int64_t of_x = fb_div_up(q->channels, FB_GROUP), of_y = fb_div_up(q->m, FB_GROUP), size = sizeof(float);
    int64_t nr = q->how->direct.nr, off[FB_GROUP];
    for (int64_t k = 0; k < FB_GROUP; k++) off[k] = k * FB_GROUP;
    for (int64_t i = begin; i < end; i++) {
        int64_t point = i / of_y, o = i % of_y * FB_GROUP;
        const char *y = fb_at(channel_group(q, of_x + i % of_y), point * q->point, size);
        for (int64_t c = 0, n; c < q->channels; c += n) {
            n = fb_min(fb_min(nr, FB_GROUP - c % FB_GROUP), q->channels - c);
            const char *x = fb_at(channel_group(q, c / FB_GROUP), point * q->point + c % FB_GROUP, size);
            char *sums = fb_at(q->sums, point * q->m_point + o * q->m_row + c, size);
            for (int64_t s = q->first, tile = 0, k; s < q->end; s += q->group, tile += k) {
                k = fb_tiles_in(&q->tiles, s, fb_min(q->end, s + q->group));
                fb_tile t = {fb_at(y, tile * FB_GROUP, size), fb_at(x, tile * FB_GROUP, size), sums, off, off, 1,
                             q->m_row, fb_min(FB_GROUP, q->m - o), n, k, s > 0};
                q->how->chains(&t);
            }
        }
    }
}

static void windows(const int64_t *args, int64_t begin, int64_t end) {
    job *q = (job *)(intptr_t)args[0];
    const fb_contraction *plan = &q->how->direct;
    const int64_t *w = q->p->w_stride, size = sizeof(float), c = q->channels;
    char *scratch = fb_alloc(q->window_bytes);
    int64_t flat = w[3] == 3 * w[4];
    for (int64_t i = begin; scratch && i < end; i++) {
        int64_t o = i * WINDOW_ROWS, rows = fb_min(WINDOW_ROWS, q->m - o);
        fb_transform(q->how->to_window, fb_at(q->sums, o * q->m_row, size), q->m_row, 4 * q->m_point, q->m_point,
                     scratch, 9 * c, 3 * c, c, c, rows);
        if (!fb_all_finite(plan, scratch, 9 * rows, c, c)) atomic_store(&q->strange, 1);
        for (int64_t r = 0; r < rows * (flat ? 1 : 3); r++) {
            int64_t row = flat ? r : r / 3, a = flat ? 0 : r % 3;
            fb_scatter(plan, fb_at(scratch, (row * 9 + a * 3) * c, size), c,
                       fb_at(q->p->w, (o + row) * w[0] + a * w[3], size), w[4], w[1], flat ? 9 : 3, c);
        }
    }
    if (!scratch) atomic_store(&q->failed, 1);
    fb_free(scratch, q->window_bytes);
}

static void run(fb_kernel kernel, job *q, int64_t tasks, int serial) {
    int64_t args[] = {fb_slot(q)};
    if (serial)
        kernel(args, 0, tasks);
    else
        fb_parallel_for(kernel, args, tasks, 1);
}

/* Windows with an element that isn't finite become those of the direct gradient. */
static int repair(const job *q) {
    const fb_conv_problem *p = q->p;
    const int64_t *w = p->w_stride;
    int64_t count = q->m * q->channels;
    fb_conv_problem dense = *p;
    float *direct = fb_alloc((size_t)(9 * count) * sizeof(float)), *to = p->w;
    if (!direct) return -1;
    dense.w = direct;
    dense.w_stride[0] = 9 * q->channels, dense.w_stride[1] = 9, dense.w_stride[2] = 9;
    dense.w_stride[3] = 3, dense.w_stride[4] = 1;
    int failed = fb_conv_weight_gradient(&q->how->direct, &dense);
    for (int64_t i = 0; !failed && i < count; i++) {
        float *window = to + i / q->channels * w[0] + i % q->channels * w[1], sum = 0;
        for (int64_t t = 0; t < 9; t++) sum += 0 * window[t / 3 * w[3] + t % 3 * w[4]];
        for (int64_t t = 0; sum != 0 && t < 9; t++) window[t / 3 * w[3] + t % 3 * w[4]] = direct[9 * i + t];
    }
    fb_free(direct, (size_t)(9 * count) * sizeof(float));
    return failed;
}

int fb_conv_winograd_gradient(const fb_winograd *how, const fb_conv_problem *p) {
    const int64_t *x = p->x_stride, *y = p->y_stride;
    job q = {.how = how, .p = p, .channels = p->in_channels, .m = p->out_channels,
             .tiles = fb_tiles_of(p->batch, p->out[1], p->out[2]),
             .x = {{p->x, p->in_channels, p->size[1], p->size[2], x[0], x[1], x[3], x[4]}, how->patch, 2, p->padding[1],
                   p->padding[2]},
             .y = {{p->y, p->out_channels, p->out[1], p->out[2], y[0], y[1], y[3], y[4]}, how->tile, 0, 0, 0}};
    int64_t groups = fb_div_up(q.channels, FB_GROUP) + fb_div_up(q.m, FB_GROUP), size = sizeof(float);
    if (!q.channels || !q.m) return 0;
    q.group = FB_GROUP / q.tiles.piece;
    int64_t bytes = groups * FB_POINTS * q.group * q.tiles.piece * FB_GROUP * size;
    q.span = fb_min(fb_max(1, SPAN_BYTES / bytes) * q.group, fb_max(1, q.tiles.strips));
    q.block = fb_min(q.span, fb_max(1, BLOCK_TILES / q.tiles.piece));
    q.point = q.span * q.tiles.piece * FB_GROUP + FB_PAD;
    q.m_row = q.channels + FB_PAD, q.m_point = q.m * q.m_row + FB_PAD;
    q.scratch_bytes = fb_squares_bytes(&q.tiles, q.block);
    q.window_bytes = (size_t)((WINDOW_ROWS * 9 * q.channels + how->direct.nr) * size);
    size_t v_bytes = (size_t)(groups * FB_POINTS * q.point * size), m_bytes = (size_t)(FB_POINTS * q.m_point * size);
    q.v = fb_alloc(v_bytes), q.sums = fb_alloc(m_bytes);
    if (!q.v || !q.sums) atomic_store(&q.failed, 1);
    else if (!q.tiles.strips) memset(q.sums, 0, m_bytes);
    double work = (double)q.tiles.strips * (double)q.tiles.piece * FB_POINTS * (double)q.channels * (double)q.m;
    int serial = work < FB_SERIAL_WORK;
    for (; q.first < q.tiles.strips && !atomic_load(&q.failed); q.first = q.end) {
        q.end = fb_min(q.tiles.strips, q.first + q.span);
        q.blocks = fb_div_up(q.end - q.first, q.block);
        run(squares, &q, q.blocks * groups, serial);
        if (!atomic_load(&q.failed)) run(products, &q, FB_POINTS * fb_div_up(q.m, FB_GROUP), serial);
    }
    if (!atomic_load(&q.failed)) run(windows, &q, fb_div_up(q.m, WINDOW_ROWS), serial);
    fb_free(q.v, v_bytes);
    fb_free(q.sums, m_bytes);
    if (atomic_load(&q.failed)) return -1;
    return atomic_load(&q.strange) ? repair(&q) : 0;
}
