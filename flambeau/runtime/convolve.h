/* What stage.c, convolve.c and wgrad.c share: how a convolution's input is staged. Read stage.c first. */
#ifndef FLAMBEAU_CONVOLVE_H
#define FLAMBEAU_CONVOLVE_H

#include <stdatomic.h>

#include "contract.h"
#include "internal.h"
#include "tiling.h"

/* One spatial dimension: output position i and tap j meet input element step * (i + shift(j)) + phase(slot(j)) - start,
 * staged at i + shift(j) in the plane of slot(j). The tap is the kernel's element first + j * every. */
typedef struct {
    int64_t taps, first, every;
    int64_t slots, dilation, step, start, mirrored;
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

FB_HIDDEN fb_axis fb_axis_forward(const fb_conv_problem *p, int d);

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

#endif
