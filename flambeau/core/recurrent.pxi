# Recurrent layers: tensors to the problem of the C driver (runtime/recurrent.h).

cdef extern from "recurrent.h" nogil:
    ctypedef struct fb_recurrent_plan:
        const fb_contraction *plan
        fb_kernel step, gradients
    ctypedef struct fb_recurrent_problem:
        const void *x
        const void *w
        const void *bias
        const void *lengths
        void *h
        void *c
        void *s
        const void *g
        void *gh
        void *gc
        void *dx
        void *ds
        int64_t steps, rows, gates, units, reverse
    int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p)
    int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p)


cdef inline void *memory_of(Tensor t):
    return NULL if t is None else t.ptr


def recurrent(tuple kernels, tuple given, tuple states, tuple gradients, int64_t gates, bint reverse):
    """Walks a layer along time: `given` x, w, bias, lengths and, going backward, g; `states` h, c, s; `gradients` gh,
    gc, dx, ds. All contiguous; off the tape.
    """
    cdef fb_recurrent_plan plan
    cdef fb_recurrent_problem p
    cdef Tensor x = given[0], w = given[1]
    cdef int status
    cdef bint backward = given[4] is not None
    plan.plan = plan_of(x.code, None, False)
    plan.step, plan.gradients = <fb_kernel> <uint64_t> kernels[0], <fb_kernel> <uint64_t> kernels[1]
    p.x, p.w, p.bias = x.ptr, w.ptr, memory_of(given[2])
    p.lengths, p.g = memory_of(given[3]), memory_of(given[4])
    p.h, p.c, p.s = memory_of(states[0]), memory_of(states[1]), memory_of(states[2])
    p.gh, p.gc = memory_of(gradients[0]), memory_of(gradients[1])
    p.dx, p.ds = memory_of(gradients[2]), memory_of(gradients[3])
    p.steps, p.rows, p.gates, p.units, p.reverse = x.dims[0], x.dims[1], gates, w.dims[1], reverse
    with nogil:
        status = fb_recurrent_gradient(&plan, &p) if backward else fb_recurrent(&plan, &p)
    if status:
        out_of_memory(x.store.total)
