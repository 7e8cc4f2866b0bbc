# Attention: geometry of tensors to the problem of the C driver (runtime/attention.h).

cdef extern from "attention.h" nogil:
    ctypedef struct fb_attention_plan:
        const fb_contraction *plan
        fb_kernel scores, finish, gradients
    ctypedef struct fb_attention_problem:
        const void *q
        const void *k
        const void *v
        const void *mask
        const void *g
        const void *delta
        void *y
        void *lse
        void *dq
        void *dk
        void *dv
        int64_t batch, heads, kv_heads, queries, keys, width, v_width
        int64_t q_stride[3]
        int64_t k_stride[3]
        int64_t v_stride[3]
        int64_t mask_stride[3]
        int64_t g_stride[3]
        int64_t mask_size, causal
        int64_t seed, call
        double scale, p
    int fb_attention(const fb_attention_plan *plan, const fb_attention_problem *p)
    int fb_attention_gradient(const fb_attention_plan *plan, const fb_attention_problem *p)


cdef void *place_in(Tensor t, int64_t *strides):
    """Where a four-dimensional tensor begins, and its strides but the last; NULL for None."""
    if t is None:
        return NULL
    if strides != NULL:
        memcpy(strides, t.dims + 4, 3 * sizeof(int64_t))
    return t.ptr


cdef inline Tensor rows_contiguous(Tensor t):
    return t if t is None or t.dims[7] == 1 or t.dims[3] == 1 else clone_contiguous(t)


def attention(tuple kernels, tuple given, bint causal, int64_t seed, int64_t call, double scale, double p):
    """(y, lse) of softmax(q kᵀ scale + mask) v, of `given` q, k, v and mask; or with g and delta (the sums of g y) the
    gradients of q, k and v. All but lse and delta have four dimensions; off the tape.
    """
    cdef fb_attention_plan plan
    cdef fb_attention_problem a
    cdef Tensor q, k, v, mask, g, delta, y, lse, dq, dk, dv
    cdef int64_t[4] sizes
    cdef int status
    cdef bint backward = given[4] is not None
    q, k, v, mask, g, lse, delta = given
    q, k, v, g = rows_contiguous(q), rows_contiguous(k), rows_contiguous(v), rows_contiguous(g)
    if backward:
        y, dq, dk, dv = None, empty(q.code, 4, q.dims), empty(k.code, 4, k.dims), empty(v.code, 4, v.dims)
    else:
        sizes = [q.dims[0], q.dims[1], q.dims[2], v.dims[3]]
        y, lse, dq, dk, dv = empty(q.code, 4, sizes), empty(q.code, 3, q.dims), None, None, None
    plan.plan = plan_of(q.code, None, False)
    plan.scores, plan.finish = <fb_kernel> <uint64_t> kernels[0], <fb_kernel> <uint64_t> kernels[1]
    plan.gradients = <fb_kernel> <uint64_t> kernels[2]
    a.q, a.k, a.v = place_in(q, a.q_stride), place_in(k, a.k_stride), place_in(v, a.v_stride)
    a.mask, a.g, a.delta = place_in(mask, a.mask_stride), place_in(g, a.g_stride), place_in(delta, NULL)
    a.y, a.lse = place_in(y, NULL), place_in(lse, NULL)
    a.dq, a.dk, a.dv = place_in(dq, NULL), place_in(dk, NULL), place_in(dv, NULL)
    a.batch, a.heads, a.queries, a.width = q.dims[0], q.dims[1], q.dims[2], q.dims[3]
    a.kv_heads, a.keys, a.v_width = k.dims[1], k.dims[2], v.dims[3]
    a.mask_size = 0 if mask is None else ITEMSIZE[mask.code]
    a.causal, a.seed, a.call, a.scale, a.p = causal, seed, call, scale, p
    with nogil:
        status = fb_attention_gradient(&plan, &a) if backward else fb_attention(&plan, &a)
    if status:
        out_of_memory(q.store.total)
    return (dq, dk, dv) if backward else (y, lse)
