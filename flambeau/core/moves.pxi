# Small moves of bytes for which a kernel launch per piece would cost more than the move: filling with zero bits,
# joining contiguous tensors, taking rows, looking whether indices are in range. Larger ones are left to kernels, which
# use all threads.

cdef enum:
    MOVE_LIMIT = 1 << 18  # bytes
    LOOK_LIMIT = 1 << 12  # elements


def zeros_tensor(shape, dtype):
    """A contiguous tensor of zeros."""
    cdef int64_t[64] sizes
    cdef int nd = parse_shape((tuple(shape),), sizes)
    cdef Tensor t = empty(dtype_code(dtype), nd, sizes)
    cdef PyObject* xs[1]
    if t.store.total <= MOVE_LIMIT and not fb_watched:
        memset(t.ptr, 0, t.store.total)
    else:
        xs[0] = <PyObject *> ZERO
        pointwise(COPY, xs, 1, (t,), NO_OUTPUT)
    return t


def zero_small(Tensor t):
    """Fills a small contiguous tensor with zeros in place if that isn't to be recorded or watched; else False."""
    if (
        fb_interpreters or fb_watched or t.sparse or not t.contig or t.count * ITEMSIZE[t.code] > MOVE_LIMIT or t.unrecorded
        or t.store.inference or (fb_grad_enabled and requires_grad(t))
    ):
        return False
    memset(t.ptr, 0, t.count * ITEMSIZE[t.code])
    t.store.count += 1
    return True


def join_small(ctx, tensors, dim, bint stacked):
    """Contiguous tensors of one dtype whose shapes fit joined along a dimension, or stacked along a new one.

    None where that isn't what is given, or where there is much to move. A Node is told `parts`: the dimension, the
    tensors' lengths along it, and their dtypes.
    """
    cdef int64_t[64] sizes
    cdef int64_t outer = 1, inner, row, piece, i, length = 0, count = 0, d64
    cdef int nd, d, j
    cdef Tensor out, t, first
    cdef char *at
    if fb_watched or type(tensors) is not list and type(tensors) is not tuple or len(tensors) == 0 or type(dim) is not int:
        return None
    if not isinstance(tensors[0], Tensor):
        return None
    first = tensors[0]
    nd = first.ndims + (1 if stacked else 0)
    d64 = dim
    if nd == 0 or nd > 32 or d64 < -nd or d64 >= nd:
        return None
    d = <int> (d64 + nd if d64 < 0 else d64)
    for x in tensors:
        if not isinstance(x, Tensor):
            return None
        t = x
        if not t.contig or t.code != first.code or t.ndims != first.ndims or not t.count:
            return None
        for j in range(t.ndims):
            if t.dims[j] != first.dims[j] and (stacked or j != d):
                return None
        length += 1 if stacked else t.dims[d]
        count += t.count
    inner = ITEMSIZE[first.code]
    if count * inner > MOVE_LIMIT:
        return None
    for j in range(nd):
        if j < d:
            sizes[j] = first.dims[j]
            outer *= sizes[j]
        elif j == d:
            sizes[j] = length
        else:
            sizes[j] = first.dims[j - 1 if stacked else j]
            inner *= sizes[j]
    row = length * inner
    out = empty(first.code, nd, sizes)
    at = out.ptr
    for x in tensors:
        t = x
        piece = inner if stacked else t.dims[d] * inner
        for i in range(outer):
            memcpy(at + i * row, t.ptr + i * piece, piece)
        at += piece
    if ctx is not UNTAPED:
        ctx.parts = (d, () if stacked else [(<Tensor> x).dims[d] for x in tensors], [DTYPES[first.code]] * len(tensors))
    return out


cdef bint takes_small(Tensor x, Tensor index, int64_t n, int64_t nbytes) except -1:
    """Whether elements of x, recorded by no one, at an index in [0, n) are to be moved here."""
    return (
        not fb_watched and x.contig and not x.sparse and nbytes <= MOVE_LIMIT and not (fb_grad_enabled and requires_grad(x))
        and index.code == I64 and surely_within(index, 0, n)
    )


def take_rows(Tensor x, index, int dim=0):
    """x at index in place of a dimension, for a small result; None where x, index or the size ask for a kernel."""
    cdef int64_t[64] sizes
    cdef int64_t row = ITEMSIZE[x.code], outer = 1, i, o
    cdef int d, e
    cdef Tensor out, places
    cdef const int64_t *at
    cdef char *source = x.ptr
    cdef char *target
    if not isinstance(index, Tensor) or x.ndims < 1 or x.ndims + (<Tensor> index).ndims > 64:
        return None
    places = <Tensor> index
    d = wrap_dim_c(dim, x.ndims)
    for e in range(d):
        sizes[e] = x.dims[e]
        outer *= x.dims[e]
    memcpy(&sizes[d], places.dims, places.ndims * sizeof(int64_t))
    for e in range(d + 1, x.ndims):
        sizes[places.ndims + e - 1] = x.dims[e]
        row *= x.dims[e]
    if not takes_small(x, places, x.dims[d], outer * places.count * row):
        return None
    out = empty(x.code, places.ndims + x.ndims - 1, sizes)
    at = <const int64_t *> places.ptr
    target = out.ptr
    for o in range(outer):
        for i in range(places.count):
            memcpy(target, source + at[i] * row, row)
            target += row
        source += x.dims[d] * row
    return out


def take_along(Tensor x, dim, index):
    """x at index along a dimension, the other dimensions being those of x, for a small result; None for any other."""
    cdef int64_t outer = 1, inner = 1, o, j, length, size = ITEMSIZE[x.code]
    cdef int d, e
    cdef Tensor out, places
    cdef const int64_t *at
    cdef char *source = x.ptr
    cdef char *target
    if not isinstance(index, Tensor) or x.ndims < 1 or (<Tensor> index).ndims != x.ndims:
        return None
    places = <Tensor> index
    d = wrap_dim(dim, x.ndims)
    for e in range(x.ndims):
        if e != d and x.dims[e] != places.dims[e]:
            return None
        if e < d:
            outer *= x.dims[e]
        elif e > d:
            inner *= x.dims[e]
    if not takes_small(x, places, x.dims[d], places.count * size):
        return None
    out = empty(x.code, x.ndims, places.dims)
    at = <const int64_t *> places.ptr
    target = out.ptr
    length = places.dims[d] * inner
    for o in range(outer):
        for j in range(length):
            memcpy(target, source + (at[j] * inner + j % inner) * size, size)
            target += size
        at += length
        source += x.dims[d] * inner * size
    return out


cpdef bint surely_within(Tensor index, int64_t low, int64_t high) except -1:
    """Whether a small contiguous integer tensor holds numbers in [low, high) only; False also where that wasn't asked."""
    if fb_interpreters or index.code != I64 and index.code != I32 or not index.contig or index.sparse or index.count > LOOK_LIMIT:
        return False
    if not integers_within(index.ptr, index.code, index.count, low, high):
        return False
    if fb_watched:
        note_guard(index, low, high)
    return True
