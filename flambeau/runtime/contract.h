/* contract.h: matrix products and convolutions, forward and both gradients, over generated micro-kernels.
 *
 * One driver serves every dtype and every machine: it blocks, packs, splits the work over threads (fb_parallel_for) and
 * calls the kernels of a plan through pointers. codegen/contraction.py generates them for this machine; an exported
 * program brings its own, in C. Needs only runtime.h; memory comes from fb_alloc. Read next: contract.c,
 * docs/design/0005-contraction.md.
 *
 * An output element's bits depend on its own products alone: K is cut into blocks of FB_KC, a block's sum is a chain of
 * fused multiply-adds from +0 in ascending k, the blocks' sums are added in order to the first, bias and activation come
 * last. Sizes, batch, tile, strides, thread count and target don't enter.
 */
#ifndef FLAMBEAU_CONTRACT_H
#define FLAMBEAU_CONTRACT_H

#include "runtime.h"

#define FB_KC 256 /* length of a block of K; part of every result's meaning */

/* One tile: c[i, j] (+)= sum over k of a[i * a_row + a_off[k]] * b[j + b_off[k]], 1 <= m <= mr, 1 <= n <= nr, k >= 0.
 * Offsets and strides count elements of the sums' dtype. With accumulate = 0 the sum is stored, with 1 added to c. */
typedef struct {
    const void *a, *b;
    void *c;
    const int64_t *a_off, *b_off;
    int64_t a_row, c_row;
    int64_t m, n, k, accumulate;
} fb_tile;
typedef void (*fb_micro_kernel)(const fb_tile *);

/* to[k * to_k + i] = (sums' dtype) from[i * from_i + k * from_k], i < m, k < n; where off is given, off[i] replaces
 * i * from_i. `from` holds the operands' dtype, `to` the sums'. */
typedef struct {
    const void *from;
    void *to;
    const int64_t *off;
    int64_t from_i, from_k, to_k;
    int64_t m, n;
} fb_packing;
typedef void (*fb_pack_kernel)(const fb_packing *);

/* What codegen.contraction.plan(dtype, epilogue) fills: ten 8-byte slots. `finish` and `finish_bias` are epilogues over
 * rows [begin, end) of a block of sums, as fb_kernels with the slots (sums, c, bias, sums_row, c_row, bias_row, bias_col, n):
 * c[i, j] = f(sums[i, j], bias[i * bias_row + j * bias_col]), c possibly the sums themselves. NULL: nothing to do / no bias. */
typedef struct {
    int64_t operand_size; /* bytes of an element of a, b, c, bias */
    int64_t sum_size;     /* bytes of an element of the sums; equal to operand_size unless operands are converted */
    int64_t mr, nr;       /* largest tile */
    int64_t lanes;        /* elements of a vector: nr is a multiple */
    int64_t overread;     /* 1: the micro-kernel reads nr elements of b whatever n is */
    fb_micro_kernel micro;
    fb_pack_kernel pack;
    fb_kernel finish, finish_bias;
} fb_contraction;

/* c[b, m, n] = f(sum over k of a[b, m, k] * b[b, k, n], bias[b, m, n]); strides in elements, 0 broadcasts. c must have
 * stride 1 along n or along m, and bias, where not NULL, 0 or 1 along the same. */
typedef struct {
    const void *a, *b, *bias;
    void *c;
    int64_t batch[2], m, n, k;
    int64_t a_batch[2], a_m, a_k;
    int64_t b_batch[2], b_k, b_n;
    int64_t c_batch[2], c_m, c_n;
    int64_t bias_batch[2], bias_m, bias_n;
} fb_matmul_problem;

/* x [batch, in_channels, size…], w [out_channels, in_channels / groups, kernel…], y [batch, out_channels, out…] with
 * three spatial dimensions (depth, height, width; leading ones of size 1 serve 1-d and 2-d); any strides, in elements:
 *   y[n, o, p] = f(sum over (c, t) of w[o, c, t] * x[n, group * in_channels / groups + c, p * stride - padding + t * dilation], bias[o])
 * where x is 0 outside. Padding may differ from side to side: `padding` is the leading one, the trailing follows from out. */
typedef struct {
    void *x, *w, *y;
    const void *bias; /* per channel of the result, stride bias_stride, or NULL; not used by the weight gradient */
    int64_t batch, groups, in_channels, out_channels;
    int64_t size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t x_stride[5], w_stride[5], y_stride[5], bias_stride;
} fb_conv_problem;

/* Each returns 0, or -1 when out of memory (nothing is then known of the output). */
int fb_matmul(const fb_contraction *plan, const fb_matmul_problem *p);
int fb_conv(const fb_contraction *plan, const fb_conv_problem *p);                 /* writes y */
int fb_conv_data_gradient(const fb_contraction *plan, const fb_conv_problem *p);   /* writes x from w and y; sums over (o, t) */
int fb_conv_weight_gradient(const fb_contraction *plan, const fb_conv_problem *p); /* writes w from x and y; sums over (n, p) */

#endif
