/* contract.h: matrix products and convolutions, forward and both gradients, over generated kernels.
 *
 * One driver serves every dtype and every machine: it blocks, packs, splits the work over threads (fb_parallel_for) and
 * calls the kernels of a plan through pointers. codegen/contraction.py generates them for this machine; an exported
 * program brings its own, in C. Needs only runtime.h; memory comes from fb_alloc. Read next: contract.c (products),
 * convolve.c (convolutions), docs/design/0005-contraction.md.
 *
 * The bits of a result's element depend on its own products alone: K is cut into blocks of FB_KC, a block's sum is a
 * chain of fused multiply-adds from +0 in ascending k, the blocks' sums are added in order to +0, bias and activation
 * come last. Sizes, batch, tile, strides, number of threads and target don't enter. No sum is -0, so a product of 0 and
 * a finite number may be left out. (K counts words: those of bf16 have two operands in fb_multiply, below.)
 *
 * One kind of sum has blocks of another shape: the weight gradient where groups have one channel on both sides, in
 * floating point. FB_LANES chains run side by side, one per output column modulo FB_LANES; a block is as many whole rows
 * of an image as give a chain at most FB_KC products (of a longer row, FB_KC * FB_LANES columns). Each chain's blocks
 * are added in order to +0, and at last the chains in pairs: lane l and l + 8, then l + 4, l + 2, l + 1.
 */
#ifndef FLAMBEAU_CONTRACT_H
#define FLAMBEAU_CONTRACT_H

#include "runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FB_KC 256   /* length of a block of K: part of every result's meaning */
#define FB_LANES 16 /* chains of a weight gradient without channels to sum over; also part of the meaning */

/* c[i, j] (+)= sum over k of a[i * a_row + a_off[k]] * b[j + b_off[k]] for i < m, j < n <= nr, k <= FB_KC.
 * Offsets and strides count elements of the sums' dtype. The sum is added to c, or to +0 if accumulate = 0. */
typedef struct {
    const void *a, *b;
    void *c;
    const int64_t *a_off, *b_off;
    int64_t a_row, c_row;
    int64_t m, n, k, accumulate;
} fb_tile;
typedef void (*fb_micro_kernel)(const fb_tile *);

/* to[k * to_k + i] = from[off[i] + k * from_k] for i < m, k < n, converted to the sums' dtype; where off is NULL,
 * i * from_i stands for off[i]. `from` and `to` don't overlap. */
typedef struct {
    const void *from;
    void *to;
    const int64_t *off;
    int64_t from_i, from_k, to_k;
    int64_t m, n;
} fb_packing;
typedef void (*fb_pack_kernel)(const fb_packing *);

/* `dots` reads whole rows of b, for one row of c (m = 1) and any n:
 *   c[j] (+)= sum over k of a[a_off[k]] * b[j * a_row + k]    if b_off is NULL
 *   c[j] (+)= sum over k of a[a_off[k]] * b[j + k * a_row]    else; then b_off is room for n sums. */

/* A window of one geometry over one plane of `height` rows of `width` columns, both strides of columns 1. Elements
 * outside the plane count as 0. For r < rows, j < columns and taps t = (ty, tx):
 *   forward  c[r, j] = sum over t of b[t] * a[r * stride + ty * dilation - top, j * stride + tx * dilation - left]
 *   data     c[r, j] = sum over t of b[t] * a[(r + top - ty * dilation) / stride, …], where both divide
 *   weight   c[t, l] += the chain over (r, j), j modulo FB_LANES = l, of b[r, j] * a[… as in forward]
 * b is [taps] in the first two; in the last c is [taps, FB_LANES]. `top` and `left` may be negative but in `data`.
 * Without products, and without the sizes of a window:
 *   copy     c[r, j] = a[r * stride - top, j * stride - left]
 *   weave    c[r, 2 * j] = a[r, j], c[r, 2 * j + 1] = b[r, j], for columns below `columns` */
typedef struct {
    const void *a, *b;
    void *c;
    int64_t a_row, b_row, c_row;
    int64_t height, width, rows, columns, top, left;
} fb_plane;
typedef void (*fb_slide_kernel)(const fb_plane *);

/* What codegen.contraction.plan fills: twelve 8-byte slots. `finish`, if any, is the epilogue as an fb_kernel over rows
 * of a block of sums, with the slots (sums, c, bias, sums_row, c_row, bias_row, n, m):
 *   c[i * c_row + j] = f(sums[i * sums_row + j], bias[i * bias_row + j]) for j < n    with a bias along columns
 *   c[i * c_row + j] = f(sums[i * sums_row + j], bias[i * bias_row])                  with a bias along rows
 * where c may be the sums themselves. A plan without bias ignores the slots; NULL stands for f(sum) = sum. */
typedef struct {
    int64_t operand_size; /* bytes of an element of a, b, c and bias */
    int64_t sum_size;     /* bytes of an element of the sums; if it differs, operands are converted while packed */
    int64_t nr;           /* widest tile */
    int64_t lanes;        /* elements of a vector */
    int64_t overread;     /* 1: the micro-kernel reads nr elements of b (lanes, if n <= lanes) whatever n is */
    fb_micro_kernel micro;
    fb_micro_kernel dots; /* one row, below; or NULL */
    fb_pack_kernel pack, pack_sums; /* from operands to sums, from sums to sums */
    fb_kernel finish;
    fb_slide_kernel slide; /* of sums; NULL, or for the one depthwise contraction and the one window the plan is for */
    fb_slide_kernel comb;  /* of operands; NULL, or, in a strided contraction, copy; weave, if it is a data gradient */
} fb_contraction;

/* c[b, m, n] = f(sum over k of a[b, m, k] * b[b, k, n], bias[b, m, n]), strides in elements; 0 broadcasts.
 * c has stride 1 along n or, failing that, along m: that dimension is the columns', and along it bias has stride 1 in a
 * plan for a bias along columns, 0 in one along rows. */
typedef struct {
    const void *a, *b, *bias;
    void *c;
    int64_t batch[2], m, n, k;
    int64_t a_batch[2], a_m, a_k;
    int64_t b_batch[2], b_k, b_n;
    int64_t c_batch[2], c_m, c_n;
    int64_t bias_batch[2], bias_m, bias_n;
    int64_t scale[2]; /* two more slots for the epilogue, after m */
} fb_matmul_problem;

/* A plan for products whose operands differ from its sums in more than width. A word is as wide as a sum.
 *
 * group  operands along k that share a word of a and of b, which the micro-kernel multiplies and adds at once; `pack`
 *        gathers them into words, to[k / group * to_k + i], with zeros after the last. A block of K has FB_KC words.
 * parts  2 for complex numbers, whose element is two words of a. `pack` then makes of a b = x + yi the words (x, y) in
 *        row 2k and (-y, x) in row 2k + 1; m and n count words, from_i and from_k elements.
 * starts 1: after a panel's last row `pack` writes another, of sums, which the micro-kernel starts from in place of +0.
 * Bias and result are of result_size bytes (complex: each part is). */
typedef struct {
    int64_t result_size, group, parts, starts;
    int64_t floating;      /* whether sums are floating numbers */
    fb_pack_kernel pack_a; /* for a, if that is copied; where it isn't `pack` and group > 1, a always is */
    fb_contraction plan;
} fb_multiplication;

/* x [batch, in_channels, size…], w [out_channels, in_channels / groups, kernel…], y [batch, out_channels, out…], any
 * strides, in elements, with three spatial dimensions (sizes of 1 in front for fewer):
 *   y[n, o, p] = f(sum over (c, t) of w[o, c, t] * x[n, c of o's group, p * stride - padding + t * dilation], bias[o])
 * with x = 0 outside. `padding` is the leading one; the trailing one follows from `out`. A bias needs a plan for a bias
 * along rows; it has one element per channel of y in fb_conv, of x in fb_conv_data_gradient, and none elsewhere. */
typedef struct {
    void *x, *w, *y;
    const void *bias;
    int64_t batch, groups, in_channels, out_channels;
    int64_t size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t x_stride[5], w_stride[5], y_stride[5], bias_stride;
} fb_conv_problem;

/* Windows of 3 x 3, stride 1, in float32, by minimal filtering (winograd.c): a tile of 2 x 2 results y of a window w
 * over a patch d of 4 x 4 is y = At [(G w Gt) * (Bt d B)] A, and the window's gradient Gt [(A g At) * (Bt d B)] G.
 * Tiles start at each even row and column of the result; what is outside counts as 0. Each transform goes down the
 * columns first: codegen/contraction_winograd.py has their sums. Of the products * over channels (o in a data gradient)
 * or tiles, FB_CHAIN in turn are a chain of fused multiply-adds from +0, the chains of a group are added in order to
 * +0, and groups in order to +0. A group has FB_GROUP channels; or of tiles, which are numbered by image, piece, row
 * and column, where pieces cut an image's columns evenly into as few as have at most FB_GROUP, as many whole rows of a
 * piece as have at most FB_GROUP. Bias comes last. A tile of which any element isn't finite is what the direct
 * contraction makes of it, and so is a window's gradient. */
#define FB_CHAIN 16
#define FB_GROUP 64

/* Slots of a transform: x, y, x_step, x_row, x_column, y_step, y_row, y_column, n, m; y[i, a, b, j] of x[i, a, b, j]
 * for i < m, j < n, where a counts rows, b columns, i steps and j elements. NULL are `window` and `to_tile` for a
 * gradient of w, `tile` and `to_window` for the others. */
typedef struct {
    fb_contraction direct;
    fb_micro_kernel chains; /* `micro` for k <= FB_GROUP */
    fb_kernel patch, window, to_tile, tile, to_window;
    fb_kernel finish; /* as in `direct`, with a bias along columns */
} fb_winograd;

/* Each returns 0, or -1 when out of memory; the result's content is then undefined. */
int fb_matmul(const fb_contraction *plan, const fb_matmul_problem *p);
int fb_multiply(const fb_multiplication *plan, const fb_matmul_problem *p);
int fb_conv(const fb_contraction *plan, const fb_conv_problem *p);                 /* writes y */
int fb_conv_data_gradient(const fb_contraction *plan, const fb_conv_problem *p);   /* writes x; K = (o, t) */
int fb_conv_weight_gradient(const fb_contraction *plan, const fb_conv_problem *p); /* writes w; K = (n, p) */
int fb_conv_winograd(const fb_winograd *plan, const fb_conv_problem *p, int backward); /* writes y or, backward, x */
int fb_conv_winograd_gradient(const fb_winograd *plan, const fb_conv_problem *p);      /* writes w */

/* Whether these are to be used, w's gradient or the others: by shapes alone, of one image unless it's w's gradient. */
int fb_winograd_pays(const fb_conv_problem *p, int gradient);


#ifdef __cplusplus
}
#endif

#endif
