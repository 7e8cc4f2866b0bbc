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
        t.store.count = 0
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


def fill_plainly(Tensor x, value):
    """x[...] = a number, off the tape; NotImplemented for what isn't plainly one."""
    cdef PyObject* xs[1]
    if x.code == U64 or not (PyFloat_CheckExact(value) or PyLong_CheckExact(value) or isinstance(value, bool)):
        return NotImplemented
    xs[0] = <PyObject *> value
    pointwise(COPY, xs, 1, (x,), NO_OUTPUT)
    return x


def copy_plainly(Tensor x, source, non_blocking=False):
    """x[...] = a tensor's elements, off the tape; NotImplemented where complex numbers lose their imaginary parts."""
    cdef PyObject* xs[1]
    if not isinstance(source, Tensor) or CATEGORY[(<Tensor> source).code] == 3 and CATEGORY[x.code] != 3:
        return NotImplemented
    xs[0] = <PyObject *> source
    pointwise(COPY, xs, 1, (x,), NO_OUTPUT)
    return x


def clone_plainly(Tensor x):
    """A copy of x in its order of dimensions, off the tape."""
    return clone_contiguous(x) if x.contig and not x.sparse else NotImplemented


def equal_small(Tensor a, Tensor b):
    """Whether two small tensors of one shape and dtype have the same elements; None for others."""
    cdef int64_t i
    if a.code != b.code or CATEGORY[a.code] == 3 or a.code == F16 or a.code == BF16 or not looked_at(a) or not looked_at(b) or not same_shape(a, b):
        return None
    if a.code == F32:
        for i in range(a.count):
            if (<const float *> a.ptr)[i] != (<const float *> b.ptr)[i]:
                return False
        return True
    if a.code == F64:
        for i in range(a.count):
            if (<const double *> a.ptr)[i] != (<const double *> b.ptr)[i]:
                return False
        return True
    return memcmp(a.ptr, b.ptr, a.count * ITEMSIZE[a.code]) == 0


cpdef Tensor converted(Tensor x, DType dtype):
    """x in another dtype, x itself where it has that."""
    cdef Tensor out
    cdef PyObject* xs[1]
    if x.code == dtype.code:
        return x
    if fb_interpreters or x.sparse or not x.contig or CATEGORY[x.code] == 3 or (fb_grad_enabled and requires_grad(x)):
        return hooks["cast"](x, dtype)
    out = empty(dtype.code, x.ndims, x.dims)
    xs[0] = <PyObject *> x
    pointwise(COPY, xs, 1, (out,), NO_OUTPUT)
    return out


cdef Tensor chosen(Tensor x, Tensor index):
    """x[index] for a small result of whole rows at an int64 index or of elements where a mask is true; else None."""
    if index.code == I64:
        return take_rows(x, index) if x.ndims and index.ndims else None
    return compacted(x, index) if index.code == BOOL else None


cdef inline bint looked_at(Tensor x) noexcept:
    """Whether x's elements are so few, and stand so, that they may be gone through here."""
    return not (fb_interpreters or fb_watched or x.sparse or not x.contig or x.count > LOOK_LIMIT)


def compacted(Tensor x, Tensor mask):
    """The elements of a small x, recorded by no one, where a mask of its shape is true; None for any other."""
    cdef int64_t i, total = 0, size = ITEMSIZE[x.code]
    cdef Tensor out
    cdef char *target
    if not looked_at(x) or not looked_at(mask) or mask.code != BOOL or not same_shape(x, mask) or fb_grad_enabled and requires_grad(x):
        return None
    for i in range(mask.count):
        total += mask.ptr[i] != 0
    out = empty(x.code, 1, &total)
    target = out.ptr
    for i in range(mask.count):
        if mask.ptr[i]:
            memcpy(target, x.ptr + i * size, size)
            target += size
    return out


cdef bint is_zero(const char *p, int code) noexcept:
    if code == F32:
        return (<const float *> p)[0] == 0
    if code == F64:
        return (<const double *> p)[0] == 0
    if code == F16 or code == BF16:
        return ((<const uint16_t *> p)[0] & 0x7FFF) == 0
    if code == C64:
        return (<const float *> p)[0] == 0 and (<const float *> p)[1] == 0
    if code == C128:
        return (<const double *> p)[0] == 0 and (<const double *> p)[1] == 0
    for i in range(ITEMSIZE[code]):
        if p[i]:
            return False
    return True


def nonzero_small(Tensor x, bint flat):
    """Where the elements of a small x aren't zero: an index in each row or, `flat`, places in order; None for any other."""
    cdef int64_t[2] sizes
    cdef int64_t i, rest
    cdef int64_t *at
    cdef int d, code = x.code, size = ITEMSIZE[x.code]
    cdef Tensor out
    if not looked_at(x):
        return None
    sizes[0], sizes[1] = 0, x.ndims
    for i in range(x.count):
        sizes[0] += not is_zero(x.ptr + i * size, code)
    out = empty(I64, 1 if flat else 2, sizes)
    at = <int64_t *> out.ptr
    for i in range(x.count):
        if is_zero(x.ptr + i * size, code):
            continue
        if flat:
            at[0] = i
            at += 1
            continue
        rest = i
        for d in range(x.ndims - 1, -1, -1):
            at[d] = rest % x.dims[d]
            rest //= x.dims[d]
        at += x.ndims
    return out


def extent_small(Tensor x):
    """(least, largest) of a small int64 tensor that has elements; None for any other."""
    cdef const int64_t *at = <const int64_t *> x.ptr
    cdef int64_t i, least = INT64_MAX, most = -INT64_MAX - 1
    if x.code != I64 or not x.count or not looked_at(x):
        return None
    for i in range(x.count):
        least = min(least, at[i])
        most = max(most, at[i])
    return least, most


def counted_small(Tensor x, int64_t least):
    """How often each number from 0 on, at least `least` of them, is in a small int64 vector; None for any other."""
    cdef const int64_t *at = <const int64_t *> x.ptr
    cdef int64_t i, size = least
    cdef Tensor out
    if x.code != I64 or x.ndims != 1 or not looked_at(x):
        return None
    for i in range(x.count):
        if at[i] < 0 or at[i] >= MOVE_LIMIT // 8:
            return None
        size = max(size, at[i] + 1)
    if size > MOVE_LIMIT // 8:
        return None
    out = empty(I64, 1, &size)
    memset(out.ptr, 0, size * sizeof(int64_t))
    for i in range(x.count):
        (<int64_t *> out.ptr)[at[i]] += 1
    return out


cpdef bint surely_within(Tensor index, int64_t low, int64_t high) except -1:
    """Whether a small contiguous tensor of int64, int32 or bool is within [low, high); False also where that wasn't asked."""
    if fb_interpreters or index.code != I64 and index.code != I32 and index.code != BOOL or not index.contig or index.sparse or index.count > LOOK_LIMIT:
        return False
    if not integers_within(index.ptr, index.code, index.count, low, high):
        return False
    if fb_watched:
        note_guard(index, low, high)
    return True
