# The geometry of a pointwise operation in general: operands broadcast to one shape, dimensions sorted and merged until
# a kernel has as few loops as can be.

cdef struct Geometry:
    int nd
    int64_t[64] sizes
    int64_t strides[24][64]  # per operand and output, in elements


cdef object broadcast_error(Op op, PyObject **xs, int n):
    shapes = [list((<Tensor> <object> xs[i]).shape) for i in range(n) if isinstance(<object> xs[i], Tensor)]
    raise RuntimeError(
        f"{op.name}: shapes {' and '.join(map(str, shapes))} don't broadcast: the sizes of a dimension must match, "
        "counted from the last, or be 1"
    )


cdef int broadcast(Op op, PyObject **xs, int n, int64_t *sizes) except -1:
    """The common shape; returns its number of dimensions."""
    cdef int nd = 0, i, d, lead
    cdef Tensor t
    for i in range(n):
        if isinstance(<object> xs[i], Tensor):
            nd = max(nd, (<Tensor> <object> xs[i]).ndims)
    for d in range(nd):
        sizes[d] = 1
    for i in range(n):
        if isinstance(<object> xs[i], Tensor):
            t = <Tensor> <object> xs[i]
            lead = nd - t.ndims
            for d in range(t.ndims):
                if t.dims[d] != 1 and t.dims[d] != sizes[lead + d]:
                    if sizes[lead + d] != 1:
                        broadcast_error(op, xs, n)
                    sizes[lead + d] = t.dims[d]
    return nd


cdef tuple broadcast_shape_of(Op op, PyObject **xs, int n):
    cdef int64_t[64] sizes
    cdef int nd = broadcast(op, xs, n, sizes)
    return to_tuple(nd, sizes)


def broadcast_shapes(*shapes):
    """The shape that tensors of these shapes broadcast to.

    >>> import flambeau as fb
    >>> fb.broadcast_shapes((3, 1), (4,))
    flambeau.Size([3, 4])
    """
    out = []
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        out = [1] * (len(shape) - len(out)) + out
        for d in range(1, len(shape) + 1):
            if shape[-d] != 1 and shape[-d] != out[-d]:
                if out[-d] != 1:
                    raise RuntimeError(f"broadcast_shapes: {' and '.join(str(list(s)) if not isinstance(s, int) else str(s) for s in shapes)} don't broadcast")
                out[-d] = shape[-d]
    return Size(out)


cdef inline void operand_strides(Tensor t, int nd, int64_t *out) noexcept:
    cdef int lead = nd - t.ndims, d
    for d in range(lead):
        out[d] = 0
    for d in range(t.ndims):
        out[lead + d] = 0 if t.dims[d] == 1 else t.dims[t.ndims + d]


cdef bint dense_strides(Tensor t, int64_t *strides) noexcept:
    """Whether t's elements fill its memory without gaps or overlap; if so, its strides made canonical."""
    cdef int64_t expected = 1
    cdef int i, j, best
    cdef uint64_t done = 0
    for i in range(t.ndims):
        best = -1
        for j in range(t.ndims):
            if not done >> j & 1 and (best < 0 or t.dims[t.ndims + j] < t.dims[t.ndims + best]
                                      or (t.dims[t.ndims + j] == t.dims[t.ndims + best] and t.dims[j] <= t.dims[best] and j > best)):
                best = j
        done |= (<uint64_t> 1) << best
        if t.dims[best] != 1:
            if t.dims[t.ndims + best] != expected:
                return False
            expected *= t.dims[best]
        strides[best] = t.dims[t.ndims + best]
    return True


cdef void coalesce(Geometry *g, int nops, int order_by) noexcept:
    """Sorts dimensions by one operand's strides, drops those of length 1 and merges neighbours that run on."""
    cdef int i, j, d, kept = 0
    cdef int[64] order
    cdef int64_t[64] old
    cdef bint merge
    for d in range(g.nd):
        if g.sizes[d] != 1:
            i = kept
            while i > 0 and g.strides[order_by][order[i - 1]] < g.strides[order_by][d]:
                order[i] = order[i - 1]
                i -= 1
            order[i] = d
            kept += 1
    memcpy(old, g.sizes, g.nd * sizeof(int64_t))
    for i in range(kept):
        g.sizes[i] = old[order[i]]
    for j in range(nops):
        memcpy(old, g.strides[j], g.nd * sizeof(int64_t))
        for i in range(kept):
            g.strides[j][i] = old[order[i]]
    if kept == 0:
        g.nd = 0
        return
    d = 0
    for i in range(1, kept):
        merge = True
        for j in range(nops):
            if g.strides[j][d] != g.strides[j][i] * g.sizes[i]:
                merge = False
                break
        if merge:
            g.sizes[d] *= g.sizes[i]
        else:
            d += 1
            g.sizes[d] = g.sizes[i]
        for j in range(nops):
            g.strides[j][d] = g.strides[j][i]
    g.nd = d + 1


cdef void bring_inwards(Geometry *g, int nops, int order_by) noexcept:
    """Where an operand isn't contiguous along the last dimension, puts the one along which it is before that."""
    cdef int i, j, d, last = g.nd - 1
    cdef int64_t size, stride
    for i in range(nops):
        if g.strides[i][last] <= 1 or i == order_by:
            continue
        for d in range(last):
            if g.strides[i][d] == 1:
                if d < last - 1:
                    size = g.sizes[d]
                    g.sizes[d] = g.sizes[last - 1]
                    g.sizes[last - 1] = size
                    for j in range(nops):
                        stride = g.strides[j][d]
                        g.strides[j][d] = g.strides[j][last - 1]
                        g.strides[j][last - 1] = stride
                return
