# Making tensors in C, and what shapes and dimensions given from Python mean.

cdef inline int set_dims(Tensor t, int nd) except -1:
    t.ndims = nd
    if nd <= INLINE:
        t.dims = &t.inline_dims[0]
        return 0
    if nd > MAXDIM:
        raise RuntimeError(f"a tensor has at most {MAXDIM} dimensions, got {nd}")
    t.dims = <int64_t *> malloc(2 * nd * sizeof(int64_t))
    if t.dims == NULL:
        t.dims = &t.inline_dims[0]
        t.ndims = 0
        raise MemoryError()
    return 0


cdef inline bint is_contig(int nd, const int64_t *sizes, const int64_t *strides) noexcept:
    cdef int64_t expected = 1
    cdef int i
    for i in range(nd - 1, -1, -1):
        if sizes[i] == 0:
            return True
        if sizes[i] != 1:
            if strides[i] != expected:
                return False
            expected *= sizes[i]
    return True


cdef int64_t count_elements(int nd, const int64_t *sizes, int itemsize) except -1:
    """The product of the sizes; an error for negative ones and for byte counts past 2^63."""
    cdef int64_t n = 1, limit = INT64_MAX // itemsize
    cdef bint empty = False
    cdef int i
    for i in range(nd):
        if sizes[i] < 0:
            raise RuntimeError(f"sizes can't be negative, got {[sizes[j] for j in range(nd)]}")
        if sizes[i] == 0:
            empty = True
    if empty:
        return 0
    for i in range(nd):
        if n > limit // sizes[i]:
            raise RuntimeError(f"a tensor of sizes {[sizes[j] for j in range(nd)]} exceeds 2^63 bytes")
        n *= sizes[i]
    return n


cdef Tensor empty(int code, int nd, const int64_t *sizes):
    """A new contiguous tensor, uninitialised."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int64_t n = count_elements(nd, sizes, ITEMSIZE[code]), stride = 1
    cdef int i
    set_dims(t, nd)
    for i in range(nd - 1, -1, -1):
        t.dims[i] = sizes[i]
        t.dims[nd + i] = stride
        if sizes[i] > 1:
            stride *= sizes[i]
    t.store = new_storage(n * ITEMSIZE[code])
    t.ptr = t.store.ptr
    t.count = n
    t.code = code
    t.contig = True
    return t


cdef Tensor empty_strided_c(int code, int nd, const int64_t *sizes, const int64_t *strides):
    """A new tensor whose (dense) strides are given."""
    cdef Tensor t = empty(code, nd, sizes)
    cdef int i
    for i in range(nd):
        t.dims[nd + i] = strides[i]
    t.contig = is_contig(nd, t.dims, t.dims + nd)
    return t


cdef Tensor over(Storage storage, char *ptr, int code, int nd, const int64_t *sizes, const int64_t *strides):
    """A tensor over existing memory."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int64_t n = 1
    cdef int i
    set_dims(t, nd)
    for i in range(nd):
        t.dims[i] = sizes[i]
        t.dims[nd + i] = strides[i]
        n *= sizes[i]
    t.store = storage
    t.ptr = ptr
    t.count = n
    t.code = code
    t.contig = is_contig(nd, sizes, strides)
    return t


cdef inline Tensor alias(Tensor t):
    if t.sparse:
        return t.detach()
    return over(t.store, t.ptr, t.code, t.ndims, t.dims, t.dims + t.ndims)


cdef int become(Tensor self, Tensor other) except -1:
    """Gives self the memory and geometry of other."""
    if other.sparse and not self.sparse:
        no_memory(other, "set_")
    if self.dims != NULL and self.dims != &self.inline_dims[0]:
        free(self.dims)
        self.dims = NULL
    set_dims(self, other.ndims)
    memcpy(self.dims, other.dims, 2 * other.ndims * sizeof(int64_t))
    self.store = other.store
    self.ptr = other.ptr
    self.count = other.count
    self.code = other.code
    self.contig = other.contig
    self.base = None
    self.unrecorded = False
    if fb_interpreters and hasattr(self, "_physical"):
        delattr(self, "_physical")  # what vmap ties to the memory that self had
    return 0


# ---- tuples, shapes, dimensions
cdef tuple to_tuple(int nd, const int64_t *values):
    cdef tuple out = PyTuple_New(nd)
    cdef object v  # untyped, it would be a C integer and each use a new Python one
    cdef int i
    for i in range(nd):
        v = values[i]
        Py_INCREF(v)
        PyTuple_SET_ITEM(out, i, v)
    return out


cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject *kind, Py_ssize_t n)


cdef object size_tuple(int nd, const int64_t *values):
    """The values as a Size, made in place: tuple.__new__ would copy a tuple made before."""
    cdef object out = PyType_GenericAlloc(<PyTypeObject *> Size, nd), v
    cdef int i
    for i in range(nd):
        v = values[i]
        Py_INCREF(v)
        PyTuple_SET_ITEM(out, i, v)
    return out


cdef inline bint same_shape(Tensor a, Tensor b) noexcept:
    return a.ndims == b.ndims and memcmp(a.dims, b.dims, a.ndims * sizeof(int64_t)) == 0


cdef inline bint fits(Tensor a, Tensor b) except -1:
    """Whether the shapes are the same, of sparse tensors too."""
    return a.shape == b.shape if a.sparse or b.sparse else same_shape(a, b)


cdef inline int wrap_dim_c(int64_t d, int nd) except -1:
    cdef int n = nd if nd else 1
    if d < -n or d >= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return <int> (d + n if d < 0 else d)


cdef inline int wrap_dim(object dim, int nd) except -1:
    return wrap_dim_c(integer(dim, "a dimension"), nd)


def wrap(dim, int ndim):
    """dim counted from the front. Raises IndexError unless there is such a dimension."""
    return wrap_dim(dim, ndim)


cdef int64_t integer(object x, str what) except? -1:
    """x as a whole number: an int or what has __index__, never a float."""
    if not PyLong_CheckExact(x):
        if not hasattr(x, "__index__"):
            raise TypeError(f"{what} must be an integer, got {x!r:.80} of type {type(x).__name__}")
        x = x.__index__()
    try:
        return x
    except OverflowError:
        raise RuntimeError(f"{what} of {x} doesn't fit in 64 bits") from None


cdef int parse_shape(object args, int64_t *out) except -1:
    """Sizes from f(2, 3), f((2, 3)) or f(size); returns how many."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    cdef Py_ssize_t nd = len(args)
    if nd > MAXDIM:
        raise RuntimeError(f"a tensor has at most {MAXDIM} dimensions, got {nd}")
    cdef Py_ssize_t i
    for i in range(nd):
        out[i] = integer(args[i], "a size")
    return <int> nd


cdef int infer_shape(str name, Tensor t, int nd, int64_t *sizes) except -1:
    """Replaces a -1 by the length that fits, and checks the element count."""
    cdef int64_t known = 1
    cdef int i, hole = -1
    for i in range(nd):
        if sizes[i] == -1:
            if hole >= 0:
                raise RuntimeError(f"{name}: only one size can be -1, got {[sizes[j] for j in range(nd)]}")
            hole = i
        elif sizes[i] < 0:
            raise RuntimeError(f"{name}: sizes can't be negative, got {[sizes[j] for j in range(nd)]}")
        elif sizes[i] and known > INT64_MAX // sizes[i]:
            raise RuntimeError(f"{name}: sizes {[sizes[j] for j in range(nd)]} exceed 2^63 elements")
        else:
            known *= sizes[i]
    if hole >= 0 and known > 0 and t.count % known == 0:
        sizes[hole] = t.count // known
        return 0
    if hole >= 0 and known == 0 and t.count == 0:
        raise RuntimeError(f"{name}: -1 is ambiguous for an empty tensor of shape {list(t.shape)}; give the length")
    if hole >= 0 or known != t.count:
        raise RuntimeError(
            f"{name}: shape {[sizes[j] for j in range(nd)]} is invalid for {t.count} elements (shape {list(t.shape)})"
        )
    return 0


cdef bint view_strides(Tensor t, int nd, const int64_t *sizes, int64_t *strides) noexcept:
    """Strides that make `sizes` a view of t; False where only a copy can."""
    cdef int i, d
    cdef int64_t step, have, need
    if t.count == 0 or t.contig:
        step = 1
        for i in range(nd - 1, -1, -1):
            strides[i] = step
            if sizes[i] > 1:
                step *= sizes[i]
        return True
    # Walk both shapes from the back; each run of t's dimensions that is contiguous in itself serves some new ones.
    i = nd - 1
    d = t.ndims - 1
    while d >= 0:
        step = t.dims[t.ndims + d]
        have = t.dims[d]
        while d > 0 and (t.dims[d - 1] == 1 or t.dims[t.ndims + d - 1] == have * step or have == 1):
            if have == 1:
                step = t.dims[t.ndims + d - 1]
            d -= 1
            have *= t.dims[d]
        need = 1
        while i >= 0 and (need < have or sizes[i] == 1):
            strides[i] = step * need
            need *= sizes[i]
            i -= 1
        if need != have:
            return False
        d -= 1
    return i < 0
