/* attention.h: softmax(q kᵀ scale + mask) v and its gradients, in memory linear in the number of keys.
 *
 * The products go through the micro-kernel of a contraction plan, the softmax through kernels that ops/attention.py
 * generates; an exported program brings its own. Keys are taken in blocks of FB_KEYS, queries in blocks of FB_QUERIES:
 * both are part of every result's meaning, as a row's running maximum, its sum and its weighted values are carried from
 * block to block in ascending order. Batch, heads, number of threads and how queries are dealt out to them are not.
 * Source: Dao et al., FlashAttention (2022), and Milakov & Gimelshein, Online normalizer calculation (2018).
 */
#ifndef FLAMBEAU_ATTENTION_H
#define FLAMBEAU_ATTENTION_H

#include "contract.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FB_KEYS 256
#define FB_QUERIES 64

/* Over the rows of a block of scores; s is the product q kᵀ, row by row `pitch` elements apart, n of them in use.
 * A row sees its first `limit` + row keys of the block. Slots:
 *   scores    s, mask, most, total, sums, n, limit, pitch, mask_row, width, element, element_row, seed, call, scale, p
 *             s becomes exp(s scale + mask - most), or 0 where dropped; most and total are brought up to date, and the
 *             `width` weighted values in sums are rescaled
 *   finish    sums, most, total, y, lse, width, y_row: y = sums / total, lse = most + log total
 *   deltas    g, y, delta, width, g_row, y_row: delta = the sum of g y
 *   gradients s, g, mask, lse, delta, n, limit, pitch, mask_row, element, element_row, seed, call, scale, p
 *             s becomes the weights, g = ∂/∂weights becomes ∂/∂(q kᵀ) */
typedef struct {
    const fb_contraction *plan; /* of float or double, without bias or epilogue */
    fb_kernel scores, finish, deltas, gradients;
} fb_attention_plan;

/* q [batch, heads, queries, width], k and v [batch, kv_heads, keys, width or v_width], mask [batch, heads, queries,
 * keys], y and g [batch, heads, queries, v_width], dq, dk, dv like q, k, v: strides of all but the last dimension, in
 * elements; along it they are contiguous. What is written fills its memory, in whatever order; lse [batch, heads,
 * queries] is contiguous. */
typedef struct {
    const void *q, *k, *v, *mask, *g;
    void *y, *lse, *dq, *dk, *dv;
    int64_t batch, heads, kv_heads, queries, keys, width, v_width;
    int64_t q_stride[3], k_stride[3], v_stride[3], mask_stride[3], g_stride[3], y_stride[3];
    int64_t dq_stride[3], dk_stride[3], dv_stride[3];
    int64_t mask_size, causal; /* bytes of an element of mask; query i sees keys 0 … i */
    int64_t seed, call;
    double scale, p; /* p: the probability with which a weight is dropped, the others being divided by 1 - p */
} fb_attention_problem;

/* Both return 0, or -1 when out of memory. */
int fb_attention(const fb_attention_plan *plan, const fb_attention_problem *p);          /* writes y and lse */
int fb_attention_gradient(const fb_attention_plan *plan, const fb_attention_problem *p); /* reads y, lse; writes dq, dk, dv */

#ifdef __cplusplus
}
#endif

#endif
