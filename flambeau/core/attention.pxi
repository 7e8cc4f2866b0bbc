# Attention: geometry of tensors to the problem of the C driver (runtime/attention.h).

cdef extern from "attention.h" nogil:
    ctypedef struct fb_attention_plan:
        const fb_contraction *plan
        fb_kernel scores, finish, deltas, gradients
    ctypedef struct fb_attention_problem:
        const void *q
        const void *k
        const void *v
        const void *mask
        const void *g
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
        int64_t y_stride[3]
        int64_t dq_stride[3]
        int64_t dk_stride[3]
        int64_t dv_stride[3]
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


cdef Tensor empty_beside(Tensor x, int64_t width):
    """Room for as many rows as x has, in the order in which x has them: those of all heads may lie side by side."""
    cdef int64_t[4] sizes = [x.dims[0], x.dims[1], x.dims[2], width]
    cdef int64_t[4] strides = [sizes[1] * sizes[2] * width, width, sizes[1] * width, 1]
    if x.count and width and sizes[1] > 1 and sizes[2] > 1 and x.dims[5] < x.dims[6]:
        return empty_strided_c(x.code, 4, sizes, strides)
    return empty(x.code, 4, sizes)


def attention(tuple kernels, tuple given, bint causal, int64_t seed, int64_t call, double scale, double p):
    """(y, lse) of softmax(q kᵀ scale + mask) v, of `given` q, k, v and mask; or with g, y and lse the gradients of q, k
    and v. All but lse have four dimensions; off the tape.
    """
    cdef fb_attention_plan plan
    cdef fb_attention_problem a
    cdef Tensor q, k, v, mask, g, y, lse, dq = None, dk = None, dv = None
    cdef int status
    cdef bint backward = given[4] is not None
    q, k, v, mask, g, y, lse = given
    q, k, v, g, y = rows_contiguous(q), rows_contiguous(k), rows_contiguous(v), rows_contiguous(g), rows_contiguous(y)
    if backward:
        dq, dk, dv = empty_beside(q, q.dims[3]), empty_beside(k, k.dims[3]), empty_beside(v, v.dims[3])
    else:
        y, lse = empty_beside(q, v.dims[3]), empty(q.code, 3, q.dims)
    plan.plan = &product_plan_of(q.code, q.code, None, False, False).plan
    plan.scores, plan.finish = <fb_kernel> <uint64_t> kernels[0], <fb_kernel> <uint64_t> kernels[1]
    plan.deltas, plan.gradients = <fb_kernel> <uint64_t> kernels[2], <fb_kernel> <uint64_t> kernels[3]
    a.q, a.k, a.v = place_in(q, a.q_stride), place_in(k, a.k_stride), place_in(v, a.v_stride)
    a.mask, a.g, a.lse = place_in(mask, a.mask_stride), place_in(g, a.g_stride), place_in(lse, NULL)
    a.y, a.dq = place_in(y, a.y_stride), place_in(dq, a.dq_stride)
    a.dk, a.dv = place_in(dk, a.dk_stride), place_in(dv, a.dv_stride)
    a.batch, a.heads, a.queries, a.width = q.dims[0], q.dims[1], q.dims[2], q.dims[3]
    a.kv_heads, a.keys, a.v_width = k.dims[1], k.dims[2], v.dims[3]
    a.mask_size = 0 if mask is None else ITEMSIZE[mask.code]
    a.causal, a.seed, a.call, a.scale, a.p = causal, seed, call, scale, p
    with nogil:
        status = fb_attention_gradient(&plan, &a) if backward else fb_attention(&plan, &a)
    if status:
        out_of_memory(q.store.total)
    return (dq, dk, dv) if backward else (y, lse)
