# Recurrent layers: tensors to the problem of the C driver (runtime/recurrent.h).

cdef extern from "recurrent.h" nogil:
    ctypedef struct fb_recurrent_plan:
        const fb_contraction *plan
        fb_kernel step, gradients
    ctypedef struct fb_recurrent_problem:
        void *x
        void *rest
        const void *w
        const void *bias
        const void *lengths
        void *h
        void *c
        const void *g
        void *gh
        void *gc
        void *dx
        void *ds
        int64_t steps, rows, gates, units, d_row, reverse
    int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p)
    int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p)


cdef void *memory_of(Tensor t, int code, int64_t count) except? NULL:
    """Where a tensor's elements are; it must be contiguous and have as many of that dtype. NULL for None."""
    if t is None:
        return NULL
    if t.code != code or t.count != count or not t.contig:
        raise RuntimeError(
            f"recurrent: expected {count} contiguous elements of {DTYPES[code]}, got {t.dtype} {list(t.shape)}"
        )
    return t.ptr


def recurrent(tuple kernels, tuple given, tuple states, tuple gradients, int64_t gates, bint reverse):
    """Walks a layer along time: `given` x, w, bias, lengths and, going backward, g; `states` h, c, rest; `gradients` gh,
    gc, dx, ds. Off the tape.
    """
    cdef fb_recurrent_plan plan
    cdef fb_recurrent_problem p
    cdef Tensor x = given[0], w = given[1], dx = gradients[2]
    cdef int status, code = x.code
    cdef bint backward = given[4] is not None
    cdef int64_t state, all_gates, all_states
    if x.ndims != 3 or w.ndims != 2 or code not in (F32, F64):
        raise RuntimeError(
            f"recurrent: expected x of 3 dimensions and w of 2, of float32 or float64, got {list(x.shape)} and "
            f"{list(w.shape)} of {x.dtype}"
        )
    plan.plan = plan_of(code, None, False)
    plan.step, plan.gradients = <fb_kernel> <uint64_t> kernels[0], <fb_kernel> <uint64_t> kernels[1]
    p.steps, p.rows, p.gates, p.units, p.reverse, p.d_row = x.dims[0], x.dims[1], gates, w.dims[1], reverse, 0
    if x.dims[2] != gates * p.units:
        raise RuntimeError(f"recurrent: expected {gates} gates of {p.units} units, got {x.dims[2]}")
    state = p.rows * p.units
    p.x, p.w = memory_of(x, code, p.steps * gates * state), memory_of(w, code, gates * p.units * p.units)
    p.bias, p.lengths = memory_of(given[2], code, gates * p.units), memory_of(given[3], I64, p.rows)
    p.h, p.c = memory_of(states[0], code, (p.steps + 1) * state), memory_of(states[1], code, (p.steps + 1) * state)
    p.rest, p.g = memory_of(states[2], code, p.steps * state), memory_of(given[4], code, p.steps * state)
    p.gh, p.gc = memory_of(gradients[0], code, state), memory_of(gradients[1], code, state)
    if backward:
        p.d_row = dx.dims[dx.ndims - 1]
        if p.d_row < gates * p.units:
            raise RuntimeError(f"recurrent: rows of gradients need {gates * p.units} elements, got {p.d_row}")
    p.dx = memory_of(dx, code, p.steps * p.rows * p.d_row)
    p.ds = memory_of(gradients[3], code, p.steps * p.rows * p.d_row)
    with nogil:
        status = fb_recurrent_gradient(&plan, &p) if backward else fb_recurrent(&plan, &p)
    if status:
        out_of_memory(x.store.total)
