# Memory lent and borrowed: the buffer protocol both ways, and raw pointers (DLPack, shared memory).

cdef const char *buffer_format(int code) noexcept:
    if code == BOOL: return b"?"
    if code == U8: return b"B"
    if code == I8: return b"b"
    if code == I16: return b"h"
    if code == I32: return b"i"
    if code == I64: return b"q"
    if code == F16: return b"e"
    if code == F32: return b"f"
    if code == F64: return b"d"
    if code == C64: return b"Zf"
    if code == C128: return b"Zd"
    if code == U16: return b"H"
    if code == U32: return b"I"
    if code == U64: return b"Q"
    return NULL


cdef int fill_buffer(Tensor t, Py_buffer *view, int flags) except -1:
    cdef const char *form = buffer_format(t.code)
    cdef Py_ssize_t *geometry
    cdef int i
    view.obj = None
    if t.sparse:
        no_memory(t, "the buffer protocol")
    if form == NULL:
        raise BufferError(f"{t.dtype} has no buffer format; use x.float(), or x.view(flambeau.int16) for the bits")
    if requires_grad(t):
        raise BufferError("a tensor that requires grad can't lend its memory; use x.detach()")
    # Who doesn't ask for strides takes the memory as one piece in C's order, and so do some who do.
    if not t.contig and (flags & PyBUF_STRIDES != PyBUF_STRIDES or flags & (PyBUF_C_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES):
        raise BufferError("the tensor isn't contiguous; use x.contiguous()")
    unwatch()
    if fb_interpreters:
        interpret(LEND, (t,), {}, None, 0)
    geometry = <Py_ssize_t *> malloc((2 * t.ndims + 1) * sizeof(Py_ssize_t))
    if geometry == NULL:
        raise MemoryError()
    for i in range(t.ndims):
        geometry[i] = t.dims[i]
        geometry[t.ndims + i] = t.dims[t.ndims + i] * ITEMSIZE[t.code]
    view.internal = geometry
    view.buf = t.ptr
    view.obj = t.store  # the memory is lent, whatever becomes of the tensor
    view.len = t.count * ITEMSIZE[t.code]
    view.itemsize = ITEMSIZE[t.code]
    view.readonly = 0
    view.format = <char *> form if flags & PyBUF_FORMAT else NULL
    view.ndim = t.ndims
    view.shape = geometry if flags & PyBUF_ND else NULL
    view.strides = geometry + t.ndims if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    view.suboffsets = NULL
    return 0


@cython.final
cdef class Lent:
    """Holds another object's buffer for as long as a storage uses it."""
    cdef Py_buffer view

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef dict _FORMATS = {"?": BOOL, "B": U8, "b": I8, "h": I16, "i": I32, "l": I64, "q": I64, "e": F16, "f": F32,
                      "d": F64, "Zf": C64, "Zd": C128, "F": C64, "D": C128, "H": U16, "I": U32, "L": U64, "Q": U64}


def from_buffer(obj):
    """A tensor over the memory of an object with the buffer protocol; shape, strides and dtype are its own."""
    cdef Lent lent = Lent.__new__(Lent)
    cdef bint writable = True
    try:
        PyObject_GetBuffer(obj, &lent.view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_STRIDES)
    except (BufferError, ValueError):
        writable = False
        PyObject_GetBuffer(obj, &lent.view, PyBUF_FORMAT | PyBUF_STRIDES)
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef str form = lent.view.format.decode() if lent.view.format != NULL else "B"
    cdef int i
    if form[:1] in (">", "!") and lent.view.itemsize > 1:
        raise ValueError(f"from_buffer: the elements {form!r} have another byte order; use array.astype(array.dtype.newbyteorder('='))")
    code = _FORMATS.get(form.lstrip("@=<>!"))
    if code is None:
        raise TypeError(f"from_buffer: element format {form!r} has no flambeau dtype; convert it first")
    if lent.view.ndim > MAXDIM:
        raise ValueError(f"from_buffer: at most {MAXDIM} dimensions, got {lent.view.ndim}")
    for i in range(lent.view.ndim):
        sizes[i] = lent.view.shape[i]
        if lent.view.strides[i] % lent.view.itemsize:
            raise ValueError("from_buffer: strides must be multiples of the element size; copy the array first")
        strides[i] = lent.view.strides[i] // lent.view.itemsize
        if strides[i] < 0 and sizes[i] > 1:
            raise ValueError("from_buffer: negative strides can't be viewed; use array.copy()")
        if sizes[i] <= 1 and strides[i] < 0:
            strides[i] = 1
    cdef size_t span = lent.view.itemsize if lent.view.len else 0
    for i in range(lent.view.ndim):
        if span and sizes[i] > 1:
            span += (sizes[i] - 1) * strides[i] * lent.view.itemsize
    cdef Storage s = borrow_storage(lent.view.buf, span, lent)
    return over(s, s.ptr, code, lent.view.ndim, sizes, strides), writable


def from_pointer(uint64_t address, shape, strides, dtype, owner):
    """A tensor over raw memory that `owner` keeps alive (DLPack, shared memory)."""
    cdef int64_t[64] sizes
    cdef int64_t[64] steps
    cdef int nd = parse_shape((tuple(shape),), sizes), code = dtype_code(dtype)
    cdef int64_t span = 1, n = count_elements(nd, sizes, ITEMSIZE[code])
    parse_shape((tuple(strides),), steps)
    for i in range(nd):
        if sizes[i] > 1:
            span += steps[i] * (sizes[i] - 1)
    cdef Storage s = borrow_storage(<void *> address, span * ITEMSIZE[code] if n else 0, owner)
    return over(s, s.ptr, code, nd, sizes, steps)
