/* recurrent.h: a recurrent layer walked along time, forward and back: RNN, LSTM, GRU.
 *
 * One parallel region walks all steps (fb_parallel_steps). A block has a few units and rows: it multiplies the states
 * with the weights of its own units, which were packed once and stay in the cache of the thread that has the block, and
 * runs a generated kernel (ops/recurrent.py) on what comes out. The bits are those of the same products and cells done
 * step by step.
 */
#ifndef FLAMBEAU_RECURRENT_H
#define FLAMBEAU_RECURRENT_H

#include "contract.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The cell's kernels, over the rows of a batch and n units of each. Gates of a unit are `units` apart, in s `s_gate`;
 * rows of dx and ds are `d_row` apart. Slots:
 *   step      x, s, bias, h, c, lengths, new_h, new_c, kept, rest, n, units, s_gate, time
 *             kept may be x: what the gradients need of each gate, and in rest what doesn't fit there
 *   gradients kept, rest, h, c, lengths, g, gh, gc, dx, ds, n, units, d_row, time
 *             g is the gradient of this step's output; gh and gc are that of the states after it, and become what the
 *             cell passes to the states before it without the product */
typedef struct {
    const fb_contraction *plan; /* of float or double, without bias or epilogue */
    fb_kernel step, gradients;
} fb_recurrent_plan;

/* All but dx and ds is contiguous. NULL: bias, lengths where all sequences are whole, c and rest where the cell has no
 * such thing. */
typedef struct {
    void *x;          /* [steps, rows, gates, units]: the input's part of the gates; forward, becomes what is kept */
    void *rest;       /* [steps, rows, units] */
    const void *w;    /* [gates, units, units] */
    const void *bias; /* [gates, units] */
    const void *lengths; /* [rows] of int64: beyond its length a row's state stays as it is */
    void *h, *c;      /* [steps + 1, rows, units]: states; the first in time, or the last if reverse, is given */
    const void *g;    /* [steps, rows, units] */
    void *gh, *gc;    /* [rows, units]: gradients of the last states; on return, of the given ones */
    void *dx, *ds;    /* [steps, rows, d_row]: gradients of x and of h wᵀ, the same where the cell only adds them */
    int64_t steps, rows, gates, units, d_row, reverse;
} fb_recurrent_problem;

/* Both return 0, or -1 when out of memory. */
int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p);          /* writes x, rest, h, c */
int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p); /* writes dx, ds, gh, gc */

#ifdef __cplusplus
}
#endif

#endif
