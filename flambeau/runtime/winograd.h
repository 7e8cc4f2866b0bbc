/* What winograd.c and winograd_gradient.c share: patches of the input, transformed. Read contract.h first. */
#ifndef FLAMBEAU_WINOGRAD_H
#define FLAMBEAU_WINOGRAD_H

#include <stdatomic.h>

#include "contract.h"
#include "internal.h"
#include "tiling.h"

enum {
    FB_POINTS = 16, /* products of a tile */
    FB_PAD = 16     /* elements between rows of powers of two, which would evict each other */
};

/* Images in memory: strides in elements. */
typedef struct {
    char *data;
    int64_t channels, height, width;
    int64_t image, channel, row, column;
} fb_images;

/* Tiles of 2 x 2 outputs are numbered image by image, within one piece of columns after another, there row by row. A
 * strip is a row of tiles in a piece. */
typedef struct {
    int64_t batch, rows, columns;  /* of the outputs */
    int64_t down, across;          /* tiles of an image */
    int64_t pieces, piece, strips; /* of an image's columns; tiles across one; strips of all images */
} fb_tiles;

/* Strips below each other of one piece: tile is the first one's number, counted from where the block begins. */
typedef struct {
    int64_t image, ty, tx, strips, width, tile;
} fb_strips;

FB_HIDDEN fb_tiles fb_tiles_of(int64_t batch, int64_t rows, int64_t columns);

/* The strips from *s on, before `end`, that lie below each other; *s and run->tile move on. Start with a run of 0. */
FB_HIDDEN int fb_next_strips(const fb_tiles *t, int64_t *s, int64_t end, fb_strips *run);
FB_HIDDEN int64_t fb_tiles_in(const fb_tiles *t, int64_t s, int64_t end);

FB_HIDDEN void fb_transform(fb_kernel kernel, const void *x, int64_t x_step, int64_t x_row, int64_t x_column, void *y,
                            int64_t y_step, int64_t y_row, int64_t y_column, int64_t n, int64_t m);

/* Squares of an image, one for each tile, that a transform makes into points: of 2 + overlap rows and columns, from row
 * 2 ty - top and column 2 tx - left on. */
typedef struct {
    fb_images images;
    fb_kernel kernel;
    int64_t overlap, top, left;
} fb_squares;

/* v[point, tile, channel] of channels c0 … c0 + count - 1, at most FB_GROUP, which is the step from tile to tile;
 * `point` is that from point to point. Scratch: fb_squares_bytes for so many strips. */
FB_HIDDEN size_t fb_squares_bytes(const fb_tiles *t, int64_t strips);
FB_HIDDEN void fb_transform_squares(const fb_contraction *plan, const fb_tiles *t, const fb_squares *x, int64_t s,
                                    int64_t end, int64_t c0, int64_t count, char *v, int64_t point, char *scratch);

#endif
