# Small moves of bytes for which a kernel launch per piece would cost more than the move: filling with zero bits,
# joining contiguous tensors, taking rows. Larger ones are left to kernels, which use all threads.

cdef enum:
    MOVE_LIMIT = 1 << 18  # bytes


def zeros_tensor(shape, dtype):
    """A contiguous tensor of zeros."""
    cdef int64_t[64] sizes
    cdef int nd = parse_shape((tuple(shape),), sizes)
    cdef Tensor t = empty(dtype_code(dtype), nd, sizes)
    cdef PyObject* xs[1]
    if t.store.total <= MOVE_LIMIT:
        memset(t.ptr, 0, t.store.total)
    else:
        xs[0] = <PyObject *> ZERO
        pointwise(COPY, xs, 1, (t,), NO_OUTPUT)
    return t


def join_small(tensors, int dim, shape, dtype):
    """Contiguous tensors of one dtype joined along `dim` into `shape`; None where that isn't what is given."""
    cdef int64_t[64] sizes
    cdef int nd = parse_shape((tuple(shape),), sizes), code = dtype_code(dtype), d
    cdef int64_t outer = 1, inner = ITEMSIZE[code], row, piece, i
    cdef Tensor out, t
    cdef char *at
    for d in range(nd):
        if d < dim:
            outer *= sizes[d]
        elif d > dim:
            inner *= sizes[d]
    row = sizes[dim] * inner
    if outer * row > MOVE_LIMIT:
        return None
    for x in tensors:
        t = x
        if not t.contig or t.code != code:
            return None
    out = empty(code, nd, sizes)
    at = out.ptr
    for x in tensors:
        t = x
        piece = t.dims[dim] * inner
        for i in range(outer):
            memcpy(at + i * row, t.ptr + i * piece, piece)
        at += piece
    return out


def take_rows(Tensor x, Tensor index):
    """x[index] along the first dimension for a small result; None where x, index or the size ask for a kernel."""
    cdef int64_t[64] sizes
    cdef int64_t row = ITEMSIZE[x.code], k, i, n
    cdef int d
    cdef Tensor out
    cdef const int64_t *at
    if fb_interpreters or not x.contig or x.ndims < 1 or index.code != I64 or index.ndims != 1 or not index.contig:
        return None
    sizes[0] = index.count
    for d in range(1, x.ndims):
        sizes[d] = x.dims[d]
        row *= x.dims[d]
    if row * index.count > MOVE_LIMIT:
        return None
    n = x.dims[0]
    at = <const int64_t *> index.ptr
    for i in range(index.count):
        if at[i] < 0 or at[i] >= n:
            return None
    out = empty(x.code, x.ndims, sizes)
    for i in range(index.count):
        memcpy(out.ptr + i * row, x.ptr + at[i] * row, row)
    return out
