/* What the files of convolutions share: stage.c; convolve.c, weights.c, positions.c; wgrad.c, taps.c. Read them in this
 * order. */
#ifndef FLAMBEAU_CONVOLVE_H
#define FLAMBEAU_CONVOLVE_H

#include <stdatomic.h>

#include "contract.h"
#include "internal.h"
#include "tiling.h"

/* One spatial dimension: output position i and tap j meet an input element that is staged at spacing * i + shift(j) in
 * the plane of slot(j); the staged element s of a slot is the input's step / spacing * s + phase(slot) - start. The tap
 * is the kernel's element first + j * every. */
typedef struct {
    int64_t taps, first, every;
    int64_t slots, spacing, dilation, step, start, mirrored;
    int64_t reach;         /* the largest shift */
    int64_t size, out;     /* of the input and the output */
    int64_t origin, scale; /* output position i is the tensor's element origin + i * scale */
} fb_axis;

typedef struct {
    fb_axis axis[3];
    int64_t channel_stride, stride[3]; /* of the input */
    int in_place;                      /* it is read where it lies */
    int64_t pitch, column;             /* from one output row to the next, from one position to the next */
    int64_t extent[3], plane, channel; /* of the copy */
} fb_stage;

/* Weights of all taps in panels, for the phases of a data gradient. */
typedef struct {
    char *copy; /* NULL: none has needed them yet */
    size_t bytes;
} fb_packed_weights;

/* out[n, m, p] = f(sum over (c, t) of weights[m, (c, t)] * input[n, c, p + t], bias[m]), per group. */
typedef struct {
    const fb_contraction *plan;
    fb_stage stage;
    int64_t batch, groups, channels, m, k; /* channels, m: of one group */
    const char *in, *weights, *bias;
    char *out;
    int64_t in_image, in_group, w_group, w_row, bias_stride;
    int64_t out_image, out_channel, out_stride[3];
    const int64_t *w_off, *in_off;
    double work;           /* multiply-adds */
    int across;            /* vectors run along channels */
    int64_t panels, panel; /* across: panels of weights, and their width */
    int64_t share;         /* panels of a task */
    int64_t w_rows;        /* of a panel: k, or more if it is shared */
    fb_packed_weights *shared;
    int by_panels, fresh;  /* tasks are panels of weights of a whole image, and pack these themselves */
    int images_first;      /* tasks go through all images before the next weights, which then stay in cache */
    char *staged;          /* then: all images, each in image_bytes; NULL: a task stages its own */
    int64_t rows, bands;   /* rows staged at once: of a band */
    int64_t part;          /* rows whose sums are computed at once */
    int64_t sums_pitch;    /* elements between the rows of the sums; 0: they are kept in the result */
    int64_t spread_pitch;  /* across: of the transposed sums; 0: transposed straight into the result */
    size_t stage_bytes, fresh_bytes, sums_bytes, scratch_bytes, image_bytes, staged_bytes;
    int64_t *table; /* what w_off and in_off are parts of */
    char *copy;     /* packed weights */
    size_t table_bytes, copy_bytes;
    atomic_int failed;
} fb_correlation;

FB_HIDDEN fb_axis fb_axis_forward(const fb_conv_problem *p, int d);

/* The input rows [*low, *high) that `rows` output rows from `row` on meet; and how many these are at most. */
FB_HIDDEN void fb_rows_needed(const fb_axis *y, int64_t row, int64_t rows, int64_t *low, int64_t *high);
FB_HIDDEN int64_t fb_most_rows(const fb_axis *y, int64_t rows);

/* Other forms than phases, described in stage.c; before what follows. */
FB_HIDDEN void fb_stage_padded(fb_stage *s);
FB_HIDDEN void fb_stage_by_taps(fb_stage *s);

/* Fixes the geometry: a copy for `rows` output rows, or, where possible (else 0), the input itself. With `unit`,
 * positions must be adjacent and rows follow each other without much between them. */
FB_HIDDEN void fb_stage_copied(fb_stage *s, int64_t rows);
FB_HIDDEN int fb_stage_in_place(fb_stage *s, const fb_contraction *plan, int unit);

/* offsets[(c, t)] of the element that tap t of channel c contributes, from that of the first. */
FB_HIDDEN void fb_stage_offsets(const fb_stage *s, int64_t channels, int64_t *offsets);

/* Copies what output rows row… at `depth` need of `channels` channels at `from`; returns where position 0 stands. */
FB_HIDDEN const void *fb_stage_fill(const fb_stage *s, const fb_contraction *plan, const void *from, int64_t channels,
                                    int64_t depth, int64_t row, void *to);

/* to[i * to_row + j * to_column] = from[i * from_row + j]; both hold the operands' dtype. */
FB_HIDDEN void fb_scatter(const fb_contraction *plan, const void *from, int64_t from_row, void *to, int64_t to_row,
                          int64_t to_column, int64_t m, int64_t n);

/* weights.c: whatever a convolution needs before its first task, with the strides of w to tell which of its elements a
 * tap stands for. Returns 0, or -1 when out of memory. Then, to be called in either case, what frees that. */
FB_HIDDEN int fb_prepare(fb_correlation *q, const fb_conv_problem *p, int64_t w_channel, int by_position);
FB_HIDDEN void fb_release(fb_correlation *q);

/* to[k - k0, i]: weight k of channel + i, for one panel of a group's weights w and k0 <= k < k0 + kc. */
FB_HIDDEN void fb_pack_panel(const fb_correlation *q, const char *w, int64_t channel, int64_t k0, int64_t kc, char *to);

/* Whether all weights are finite. Where they don't lie together nobody looks. */
FB_HIDDEN int fb_weights_finite(const fb_contraction *plan, const fb_conv_problem *p);

/* The same position by position (positions.c), provided that all weights are finite. The cost of it, in vectors
 * multiplied and added, is infinite where it is impossible; it also sets `across`, for which weights are to be packed.
 * The second does it and returns 0, or -1 when out of memory. */
FB_HIDDEN double fb_positions_cost(fb_correlation *q);
FB_HIDDEN int fb_correlate_positions(fb_correlation *q);

/* Whether `rows` rows of `columns` elements of the sums' dtype, `pitch` apart, are finite. */
FB_HIDDEN int fb_all_finite(const fb_contraction *plan, const void *data, int64_t rows, int64_t columns, int64_t pitch);

/* The weight gradient: w[o, (c, t)] = sum over (n, p) of y[n, o, p] * x[n, c, p + t]. */
typedef struct {
    const fb_contraction *plan;
    const fb_conv_problem *p;
    fb_stage stage;
    int64_t m, n, taps, k; /* per group: rows, columns (c, t), and what is summed */
    int64_t chunk, chunks; /* columns of a task; tap by tap, channels */
    int64_t parts, first;  /* blocks in flight, and the number of the first */
    int64_t run;           /* blocks of a task, one after another */
    char *sums;            /* of the finished blocks, [groups * m, row] */
    char *part;            /* [parts, groups, m, n]; NULL: blocks come one by one and are added to the sums */
    int64_t sums_row;
    enum { FB_PACKED, FB_ACROSS_INPUTS, FB_ACROSS_OUTPUTS } way;
    const int64_t *offsets; /* of (c, t) in the staged input */
    int64_t stage_rows;     /* tap by tap: positions of a channel, at most */
    size_t a_bytes, panels_bytes, scratch_bytes;
    atomic_int failed;
} fb_gradient;

/* A stretch of K in one row of the output from k on, at most `most`: its length, and [image, z, y, x] of its start. */
FB_HIDDEN int64_t fb_row_run(const fb_gradient *q, int64_t k, int64_t most, int64_t at[4]);

/* y's elements of rows [0, m) of a block of K as [row, FB_KC + 16]. */
FB_HIDDEN void fb_pack_rows(const fb_gradient *q, const char *y, int64_t k0, int64_t kc, char *to);

/* Tap by tap (taps.c), for operands that aren't converted: which way pays, and its scratch; one
 * task's block; and from sums [o, t, c] or [t, c, o] to w. */
FB_HIDDEN void fb_taps_plan(fb_gradient *q);
FB_HIDDEN void fb_taps_block(const fb_gradient *q, int64_t task, int64_t first, char *scratch);
FB_HIDDEN void fb_taps_finish(const fb_gradient *q);

/* Channel by channel (slide.c), where groups have one on both sides: whether the plan has the kernel; a forward
 * convolution or data gradient; and the sums of a weight gradient, [channels, taps], which need no kernel. These return
 * 0, or -1 when out of memory. */
FB_HIDDEN int fb_slides(const fb_contraction *plan, const fb_conv_problem *p);
FB_HIDDEN int fb_slide(const fb_contraction *plan, const fb_conv_problem *p, int backward);
FB_HIDDEN int fb_slide_sums(const fb_contraction *plan, const fb_conv_problem *p, void *sums, int64_t sums_row);

#endif
