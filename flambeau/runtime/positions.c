/* Convolutions of small images, one output position of many images after another.
 *
 * All sums of a position meet the same taps, so those that fall outside the images are left out: a sixth of them for
 * 8x8 images and 3x3 taps, half for 5x5 taps in the data gradient of a convolution without padding. That leaves out
 * products of 0, which changes nothing as long as all weights are finite: contract.h.
 *
 * A task takes a group of images, a band of output rows and a share of the channels. With many channels the images are
 * the tile's rows, the channels its columns, as packed for across_channels in convolve.c. With few, the channels are the
 * rows and images the columns, which are interleaved before and parted afterwards. Read convolve.c first. */
#include <math.h>

#include "convolve.h"

enum { SCRATCH_BYTES = 4 << 20, SUMS_BYTES = 1 << 19, TASKS = 12 };

/* The taps that meet the input at an output position: [low, high), in one dimension. */
typedef struct {
    int64_t low, high;
} range;

typedef struct {
    fb_correlation *q;
    int64_t images, groups;       /* images in a group, and how many groups */
    int64_t rows, bands;          /* output rows of a task, bands of an image */
    int64_t share, shares;        /* panels of a task, tasks of a band */
    int64_t column, pitch, plane; /* elements between staged columns, rows and channels */
    int64_t in_image, out_image;  /* across channels: between images, staged and of sums */
    int64_t position;             /* between the sums of two positions */
    const range *y, *x;          /* by position; equal ones next to each other have equal numbers in class_y, class_x */
    const int64_t *class_y, *class_x;
    int64_t classes_x, blocks;
    const int64_t *start, *w_off, *in_off; /* [class, block]: where the tables of that block of K begin */
} job;

static int64_t element(const fb_axis *x, int64_t position, int64_t tap) {
    return x->step * position + (x->mirrored ? x->taps - 1 - tap : tap) * x->dilation - x->start;
}

static range taps_inside(const fb_axis *x, int64_t position) {
    range r = {0, 0};
    for (int64_t t = 0; t < x->taps; t++) {
        int64_t e = element(x, position, t);
        if (e < 0 || e >= x->size) continue;
        if (r.low == r.high) r.low = t;
        r.high = t + 1;
    }
    return r;
}

/* As many as make whole tiles, if those are the images. */
static int64_t images_per_task(const fb_correlation *q, int across) {
    int64_t most = !across ? q->plan->nr : q->plan->lanes * q->plan->sum_size == 64 ? 8 : 12;
    return fb_min(q->batch, most);
}

/* Panels per task, and rows: enough tasks for the threads, and scratch that stays in cache. No rows: it can't. */
static int64_t rows_per_task(const fb_correlation *q, int across, int64_t *share) {
    const fb_axis *x = q->stage.axis;
    int64_t images = across ? images_per_task(q, 1) : q->plan->nr, groups = q->groups * fb_div_up(q->batch, images);
    int64_t wanted = fb_div_up(TASKS, groups), panels = across ? q->panels : 1;
    *share = fb_div_up(panels, fb_min(panels, wanted));
    int64_t rows = fb_div_up(x[1].out, fb_min(x[1].out, fb_div_up(wanted, fb_div_up(panels, *share))));
    int64_t channels = across ? fb_min(q->m, *share * q->panel) : q->m;
    for (;; rows--) {
        int64_t in = q->channels * fb_most_rows(&x[1], rows) * x[2].size, out = channels * rows * x[2].out;
        int64_t size = images * q->plan->sum_size;
        if (rows == 0 || ((in + out) * size <= SCRATCH_BYTES && (rows == 1 || out * size <= SUMS_BYTES))) return rows;
    }
}

/* In cycles: multiply-adds of a vector, what tiles cost beside these, and copying in and out. */
static double cost(const fb_correlation *q, double products, int across) {
    static const double waiting[] = {1.05, 2, 1.2, 1.1}; /* images lie far apart, in cache and pages */
    const fb_axis *x = q->stage.axis;
    int64_t share, lanes = q->plan->lanes, images = images_per_task(q, across), rows = rows_per_task(q, across, &share);
    if (!rows || (!across && q->batch < lanes)) return INFINITY;
    int64_t tall = across ? images : q->m, groups = fb_div_up(q->batch, images), bands = fb_div_up(x[1].out, rows);
    double outputs = (double)(q->groups * q->m * q->batch) * (double)(x[1].out * x[2].out);
    int64_t staged = bands * fb_most_rows(&x[1], rows) * x[2].size * (across ? fb_div_up(q->panels, share) : 1);
    double inputs = (double)(q->groups * q->channels * q->batch) * (double)staged;
    double vectors = (double)(across ? fb_div_up(q->m, lanes) * q->batch : fb_div_up(q->batch, lanes) * q->m);
    double tiles = across ? (double)(groups * fb_div_up(q->m, q->plan->nr)) : (double)(groups * fb_div_up(q->m, 8));
    tiles *= (double)(q->groups * x[1].out * x[2].out * fb_div_up(q->k, FB_KC));
    return products * vectors * waiting[tall < 4 ? tall : 0] + 40 * tiles + (across ? 0.2 : 0.7) * inputs +
           (across ? 0.6 : 1.0) * outputs;
}

double fb_positions_cost(fb_correlation *q) {
    const fb_axis *x = q->stage.axis;
    const fb_contraction *plan = q->plan;
    int64_t met[3] = {0};
    if (plan->overread || plan->operand_size != plan->sum_size || x[0].size != 1 || x[0].out != 1 || !q->k ||
        (x[2].size > 1 && q->stage.stride[2] != 1) || (x[1].size > 1 && q->stage.stride[1] != x[2].size) ||
        (x[2].out > 1 && q->out_stride[2] != 1) || (x[1].out > 1 && q->out_stride[1] != x[2].out))
        return INFINITY;
    for (int d = 0; d < 3; d++)
        for (int64_t i = 0; i < x[d].out; i++) {
            range r = taps_inside(&x[d], i);
            met[d] += r.high - r.low;
        }
    double products = (double)(q->groups * q->channels) * (double)met[0] * (double)met[1] * (double)met[2];
    double across = cost(q, products, 1), interleaved = cost(q, products, 0);
    q->across = across < interleaved;
    return q->across ? across : interleaved;
}

/* The sums of output rows [row, row + rows): [m, position, image], or across `channels` channels from `channel` on
 * [image, position, channel]. */
static void compute(const job *j, const char *staged, char *sums, int64_t group, int64_t channel, int64_t channels,
                    int64_t row, int64_t rows, int64_t first_row, int64_t images) {
    const fb_correlation *q = j->q;
    const fb_contraction *plan = q->plan;
    const fb_axis *x = q->stage.axis;
    int64_t size = plan->sum_size, n = x[2].out;
    for (int64_t c = 0; c < channels; c += q->across ? q->panel : channels) {
        const char *weights = fb_at(q->weights, group * q->w_group + (channel + c) * q->w_rows, size);
        /* Block by block, so that its weights and inputs stay in cache over all positions. */
        for (int64_t b = 0; b < j->blocks; b++)
            for (int64_t i = 0; i < rows * n; i++) {
                int64_t oy = row + i / n, ox = i % n;
                const int64_t *start = j->start + (j->class_y[oy] * j->classes_x + j->class_x[ox]) * j->blocks + b;
                const char *at = fb_at(staged, (x[1].step * oy - x[1].start - first_row) * j->pitch +
                                                   (x[2].step * ox - x[2].start) * j->column, size);
                char *to = fb_at(sums, i * j->position + c, size);
                const int64_t *w_off = j->w_off + start[0], *in_off = j->in_off + start[0];
                int64_t k = start[1] - start[0];
                fb_tile t = {weights, at, to, w_off, in_off, q->w_row, rows * n * j->position, q->m, images, k, b > 0};
                if (q->across)
                    t = (fb_tile){at, weights, to, in_off, w_off, j->in_image, j->out_image, images,
                                  fb_min(q->panel, channels - c), k, b > 0};
                plan->micro(&t);
            }
    }
}

/* Input rows of a group of images to where compute reads them. */
static void stage(const job *j, const char *from, char *to, int64_t rows, int64_t images) {
    const fb_correlation *q = j->q;
    int64_t size = q->plan->sum_size, row = q->stage.axis[2].size, plane = rows * row * j->column;
    int whole = q->stage.channel_stride == rows * row && j->plane == plane;
    int64_t runs = whole ? 1 : q->channels, run = rows * row * (whole ? q->channels : 1);
    for (int64_t c = 0; c < runs; c++) {
        fb_packing t = {fb_at(from, c * q->stage.channel_stride, size), fb_at(to, c * j->plane, size), NULL,
                        q->in_image, 1, j->images, images, run};
        if (q->across)
            t = (fb_packing){t.from, t.to, NULL, 1, q->in_image, j->in_image, run, images};
        q->plan->pack(&t);
    }
}

/* A band's sums to the result. */
static void emit(const job *j, char *sums, char *out, const char *bias, int64_t channels, int64_t positions,
                 int64_t images) {
    const fb_correlation *q = j->q;
    const fb_contraction *plan = q->plan;
    int64_t size = plan->sum_size, columns = positions * j->position;
    if (q->across) {
        for (int64_t i = 0; i < images; i++) {
            char *to = fb_at(out, i * q->out_image, size);
            fb_packing t = {fb_at(sums, i * j->out_image, size), to, NULL, j->position, 1, q->out_channel, positions,
                            channels};
            plan->pack(&t);
            int64_t args[] = {fb_slot(to), fb_slot(to), fb_slot(bias), q->out_channel, q->out_channel, q->bias_stride,
                              positions, channels};
            if (plan->finish) plan->finish(args, 0, channels);
        }
        return;
    }
    int64_t args[] = {fb_slot(sums), fb_slot(sums), fb_slot(bias), columns, columns, q->bias_stride, columns, q->m};
    if (plan->finish) plan->finish(args, 0, q->m);
    int whole = q->out_channel == positions;
    int64_t runs = whole ? 1 : q->m, run = positions * (whole ? q->m : 1);
    for (int64_t c = 0; c < runs; c++) {
        fb_packing t = {fb_at(sums, c * columns, size), fb_at(out, c * q->out_channel, size), NULL, j->position, 1,
                        q->out_image, run, images};
        plan->pack(&t);
    }
}

static void task(const job *j, int64_t number, char *scratch) {
    const fb_correlation *q = j->q;
    const fb_axis *x = q->stage.axis;
    int64_t size = q->plan->sum_size, low, high;
    int64_t row = number % j->bands * j->rows, rows = fb_min(j->rows, x[1].out - row);
    number /= j->bands;
    int64_t channel = number % j->shares * j->share * q->panel, group = number / j->shares % q->groups;
    int64_t channels = q->across ? fb_min(j->share * q->panel, q->m - channel) : q->m;
    int64_t image = number / j->shares / q->groups * j->images;
    int64_t images = fb_min(j->images, q->batch - image), m = group * q->m + channel;
    fb_rows_needed(&x[1], row, rows, &low, &high);
    const char *from = fb_at(q->in, image * q->in_image + group * q->in_group + low * x[2].size, size);
    char *to = fb_at(q->out, image * q->out_image + m * q->out_channel + row * q->out_stride[1], size);
    stage(j, from, scratch, high - low, images);
    compute(j, scratch, scratch + q->stage_bytes, group, channel, channels, row, rows, low, images);
    emit(j, scratch + q->stage_bytes, to, q->bias ? fb_at(q->bias, m * q->bias_stride, size) : NULL, channels,
         rows * x[2].out, images);
}

static void tasks(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    char *scratch = fb_alloc(j->q->scratch_bytes);
    if (!scratch) {
        atomic_store(&j->q->failed, 1);
        return;
    }
    for (int64_t i = begin; i < end; i++) task(j, i, scratch);
    fb_free(scratch, j->q->scratch_bytes);
}

/* The tables of all classes of positions; returns how many entries they have. Without tables it only counts. */
static int64_t fill_tables(const job *j, int64_t *start, int64_t *w_off, int64_t *in_off) {
    const fb_correlation *q = j->q;
    const fb_axis *x = q->stage.axis;
    int64_t entries = 0, number = 0;
    for (int64_t oy = 0; oy < x[1].out; oy++)
        for (int64_t ox = 0; ox < x[2].out; ox++) {
            if ((oy && j->class_y[oy] == j->class_y[oy - 1]) || (ox && j->class_x[ox] == j->class_x[ox - 1])) continue;
            range ys = j->y[oy], xs = j->x[ox];
            int64_t end = 0; /* of the block of K */
            for (int64_t c = 0; c < q->channels; c++)
                for (int64_t ty = ys.low; ty < ys.high; ty++)
                    for (int64_t tx = xs.low; tx < xs.high; tx++, entries++) {
                        if (!start) continue;
                        int64_t k = (c * x[1].taps + ty) * x[2].taps + tx;
                        for (; k >= end; end += FB_KC) start[number++] = entries;
                        w_off[entries] = q->w_off[k];
                        in_off[entries] = c * j->plane + (element(&x[1], 0, ty) + x[1].start) * j->pitch +
                                          (element(&x[2], 0, tx) + x[2].start) * j->column;
                    }
            if (start)
                for (; end < q->k; end += FB_KC) start[number++] = entries;
        }
    if (start) start[number] = entries;
    return entries;
}

static int64_t classify(const fb_axis *x, range *taps, int64_t *class) {
    for (int64_t i = 0; i < x->out; i++) {
        taps[i] = taps_inside(x, i);
        class[i] = i ? class[i - 1] + (taps[i].low != taps[i - 1].low || taps[i].high != taps[i - 1].high) : 0;
    }
    return class[x->out - 1] + 1;
}

int fb_correlate_positions(fb_correlation *q) {
    const fb_axis *x = q->stage.axis;
    int64_t size = q->plan->sum_size, entries;
    job j = {.q = q, .blocks = fb_div_up(q->k, FB_KC)};
    j.rows = rows_per_task(q, q->across, &j.share);
    j.bands = fb_div_up(x[1].out, j.rows);
    j.shares = q->across ? fb_div_up(q->panels, j.share) : 1;
    j.images = q->across ? images_per_task(q, 1) : q->plan->nr;
    j.groups = fb_div_up(q->batch, j.images);
    j.column = q->across ? 1 : j.images;
    j.pitch = x[2].size * j.column;
    j.plane = fb_most_rows(&x[1], j.rows) * j.pitch;
    j.position = q->across ? fb_min(q->m, j.share * q->panel) : j.images;
    /* Not a multiple of a page, or images would evict each other. */
    j.in_image = q->channels * j.plane + 16;
    j.out_image = j.rows * x[2].out * j.position + 16;
    q->stage_bytes = (size_t)fb_round_up((q->across ? j.images * j.in_image : q->channels * j.plane) * size, 64);
    q->scratch_bytes = q->stage_bytes + (size_t)((q->across ? j.images * j.out_image : q->m * j.out_image) * size);

    size_t class_bytes = (size_t)(x[1].out + x[2].out) * (sizeof(range) + sizeof(int64_t));
    range *y_taps = fb_alloc(class_bytes), *x_taps = y_taps + x[1].out;
    if (!y_taps) return -1;
    int64_t *class_y = (int64_t *)(x_taps + x[2].out), *class_x = class_y + x[1].out;
    j.y = y_taps, j.x = x_taps, j.class_y = class_y, j.class_x = class_x;
    int64_t classes = classify(&x[1], y_taps, class_y);
    j.classes_x = classify(&x[2], x_taps, class_x);
    classes *= j.classes_x;
    entries = fill_tables(&j, NULL, NULL, NULL);
    size_t table_bytes = (size_t)(classes * j.blocks + 1 + 2 * entries) * sizeof(int64_t);
    int64_t *start = fb_alloc(table_bytes);
    if (start) {
        int64_t *w_off = start + classes * j.blocks + 1, *in_off = w_off + entries;
        fill_tables(&j, start, w_off, in_off);
        j.start = start, j.w_off = w_off, j.in_off = in_off;
        int64_t args[] = {fb_slot(&j)}, count = j.groups * q->groups * j.shares * j.bands;
        if (q->work < FB_SERIAL_WORK)
            tasks(args, 0, count);
        else
            fb_parallel_for(tasks, args, count, 1);
    }
    fb_free(start, table_bytes);
    fb_free(y_taps, class_bytes);
    return start ? 0 : -1;
}
