/* recurrent.h: a recurrent layer walked along time, forward and back: RNN, LSTM, GRU.
 *
 * The recurrent weight is packed once for all steps. A step is one parallel region: each task multiplies the states
 * with the weights of its own units and runs a generated kernel (ops/recurrent.py) on what comes out. The bits are those
 * of the same products and cells done step by step.
 */
#ifndef FLAMBEAU_RECURRENT_H
#define FLAMBEAU_RECURRENT_H

#include "contract.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The cell's kernels, over the rows of a batch and n units of each; gates of a unit are `units` apart. Slots:
 *   step      x, s, bias, h, c, lengths, new_h, new_c, n, units, time
 *   gradients x, s, bias, h, c, lengths, g, gh, gc, dx, ds, n, units, time
 *             g is the gradient of this step's output; gh and gc are that of the states after it, and become what the
 *             cell passes to the states before it without the product */
typedef struct {
    const fb_contraction *plan; /* of float or double, without bias or epilogue */
    fb_kernel step, gradients;
} fb_recurrent_plan;

/* Everything is contiguous. NULL: bias, lengths where all sequences are whole, c where the cell has no such state. */
typedef struct {
    const void *x;    /* [steps, rows, gates, units]: the input's part of the gates */
    const void *w;    /* [gates, units, units] */
    const void *bias; /* [gates, units] */
    const void *lengths; /* [rows] of int64: beyond its length a row's state stays as it is */
    void *h, *c;      /* [steps + 1, rows, units]: states; the first in time, or the last if reverse, is given */
    void *s;          /* [steps, rows, gates, units]: h wᵀ */
    const void *g;    /* [steps, rows, units] */
    void *gh, *gc;    /* [rows, units]: gradients of the last states; on return, of the given ones */
    void *dx, *ds;    /* like x and s; the same where the cell only adds them */
    int64_t steps, rows, gates, units, reverse;
} fb_recurrent_problem;

/* Both return 0, or -1 when out of memory. */
int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p);          /* writes s, h, c */
int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p); /* writes dx, ds, gh, gc */

#ifdef __cplusplus
}
#endif

#endif
