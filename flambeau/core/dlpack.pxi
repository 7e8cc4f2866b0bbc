# DLPack: memory passed to and from other libraries in a capsule, without a copy (https://dmlc.github.io/dlpack).
# The structures are those of dlpack.h 1.1; "versioned" ones carry flags, the older ones don't.
from cpython.pycapsule cimport PyCapsule_New, PyCapsule_IsValid, PyCapsule_GetPointer, PyCapsule_SetName

cdef enum:
    DL_CPU = 1
    DL_INT = 0
    DL_UINT = 1
    DL_FLOAT = 2
    DL_BFLOAT = 4
    DL_COMPLEX = 5
    DL_BOOL = 6
    DL_READ_ONLY = 1
    DL_IS_COPIED = 2

cdef struct DLDevice:
    int32_t device_type
    int32_t device_id

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void *data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

cdef struct DLManagedTensor:
    DLTensor dl_tensor
    void *manager_ctx
    void (*deleter)(DLManagedTensor *) noexcept

cdef struct DLPackVersion:
    uint32_t major
    uint32_t minor

cdef struct DLManagedTensorVersioned:
    DLPackVersion version
    void *manager_ctx
    void (*deleter)(DLManagedTensorVersioned *) noexcept
    uint64_t flags
    DLTensor dl_tensor

cdef DLDataType *dl_types = [
    DLDataType(DL_BOOL, 8, 1), DLDataType(DL_UINT, 8, 1), DLDataType(DL_INT, 8, 1), DLDataType(DL_INT, 16, 1),
    DLDataType(DL_INT, 32, 1), DLDataType(DL_INT, 64, 1), DLDataType(DL_FLOAT, 16, 1), DLDataType(DL_BFLOAT, 16, 1),
    DLDataType(DL_FLOAT, 32, 1), DLDataType(DL_FLOAT, 64, 1), DLDataType(DL_COMPLEX, 64, 1),
    DLDataType(DL_COMPLEX, 128, 1), DLDataType(DL_UINT, 16, 1), DLDataType(DL_UINT, 32, 1),
    DLDataType(DL_UINT, 64, 1),
]


# ---- lending
cdef void dl_release(DLManagedTensor *m) noexcept with gil:
    Py_XDECREF(<PyObject *> m.manager_ctx)
    free(m.dl_tensor.shape)
    free(m)


cdef void dl_release_versioned(DLManagedTensorVersioned *m) noexcept with gil:
    Py_XDECREF(<PyObject *> m.manager_ctx)
    free(m.dl_tensor.shape)
    free(m)


cdef void dl_forget(object capsule) noexcept:
    """The capsule goes: what nobody has taken over is released."""
    cdef DLManagedTensor *m
    cdef DLManagedTensorVersioned *v
    if PyCapsule_IsValid(capsule, b"dltensor"):
        m = <DLManagedTensor *> PyCapsule_GetPointer(capsule, b"dltensor")
        m.deleter(m)
    elif PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        v = <DLManagedTensorVersioned *> PyCapsule_GetPointer(capsule, b"dltensor_versioned")
        v.deleter(v)


cdef int dl_describe(DLTensor *out, Tensor t) except -1:
    cdef int64_t *geometry = <int64_t *> malloc((2 * t.ndims + 1) * sizeof(int64_t))
    if geometry == NULL:
        raise MemoryError()
    memcpy(geometry, t.dims, 2 * t.ndims * sizeof(int64_t))
    out.data = t.ptr
    out.device.device_type = DL_CPU
    out.device.device_id = 0
    out.ndim = t.ndims
    out.dtype = dl_types[t.code]
    out.shape = geometry
    out.strides = geometry + t.ndims
    out.byte_offset = 0
    return 0


def dlpack_capsule(Tensor x, bint versioned, bint copied=False):
    """A capsule through which another library uses x's memory; x's storage lives as long as it does."""
    cdef Tensor t = alias(x)
    cdef DLManagedTensor *m
    cdef DLManagedTensorVersioned *v
    announce(LEND, x)
    if x.sparse:
        no_memory(x, "dlpack")
    if requires_grad(x):
        raise BufferError("dlpack: a tensor that requires grad can't lend its memory; use x.detach()")
    if versioned:
        v = <DLManagedTensorVersioned *> malloc(sizeof(DLManagedTensorVersioned))
        if v == NULL:
            raise MemoryError()
        memset(v, 0, sizeof(DLManagedTensorVersioned))
        v.version.major, v.version.minor = 1, 1
        v.flags = DL_IS_COPIED if copied else 0
        v.deleter = dl_release_versioned
        try:
            dl_describe(&v.dl_tensor, t)
            capsule = PyCapsule_New(v, b"dltensor_versioned", dl_forget)
        except:
            free(v.dl_tensor.shape)
            free(v)
            raise
        Py_INCREF(t)
        v.manager_ctx = <PyObject *> t
        return capsule
    m = <DLManagedTensor *> malloc(sizeof(DLManagedTensor))
    if m == NULL:
        raise MemoryError()
    memset(m, 0, sizeof(DLManagedTensor))
    m.deleter = dl_release
    try:
        dl_describe(&m.dl_tensor, t)
        capsule = PyCapsule_New(m, b"dltensor", dl_forget)
    except:
        free(m.dl_tensor.shape)
        free(m)
        raise
    Py_INCREF(t)
    m.manager_ctx = <PyObject *> t
    return capsule


# ---- borrowing
@cython.final
cdef class DLHeld:
    """Keeps another library's memory until the storage that views it goes, then calls its deleter."""
    cdef DLManagedTensor *old
    cdef DLManagedTensorVersioned *versioned

    def __dealloc__(self):
        if self.old != NULL and self.old.deleter != NULL:
            self.old.deleter(self.old)
        if self.versioned != NULL and self.versioned.deleter != NULL:
            self.versioned.deleter(self.versioned)


def from_dlpack_capsule(capsule):
    """A tensor over the memory a capsule lends, and whether it may be written to; the capsule is used up."""
    cdef DLHeld held = DLHeld.__new__(DLHeld)
    cdef DLManagedTensor *m = NULL
    cdef DLManagedTensorVersioned *v = NULL
    cdef DLTensor *d
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int64_t span = 1, n
    cdef int code = -1, i
    cdef bint writable = True
    cdef char *first
    if PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        v = <DLManagedTensorVersioned *> PyCapsule_GetPointer(capsule, b"dltensor_versioned")
        if v.version.major != 1:
            raise BufferError(f"from_dlpack: version {v.version.major}.{v.version.minor} of DLPack isn't known; 1.x is")
        writable = not v.flags & DL_READ_ONLY
        d = &v.dl_tensor
    elif PyCapsule_IsValid(capsule, b"dltensor"):
        m = <DLManagedTensor *> PyCapsule_GetPointer(capsule, b"dltensor")
        d = &m.dl_tensor
    else:
        raise RuntimeError("from_dlpack: the capsule holds no tensor, or was used before; ask the producer for a new one")
    if d.device.device_type != DL_CPU:
        raise BufferError(f"from_dlpack: memory of the CPU is needed, got device type {d.device.device_type}")
    for i in range(NDTYPES):
        if dl_types[i].code == d.dtype.code and dl_types[i].bits == d.dtype.bits and d.dtype.lanes == 1:
            code = i
    if code < 0:
        raise BufferError(
            f"from_dlpack: element type (code {d.dtype.code}, {d.dtype.bits} bits, {d.dtype.lanes} lanes) has no flambeau "
            "dtype; convert it first"
        )
    if d.ndim < 0 or d.ndim > MAXDIM:
        raise BufferError(f"from_dlpack: at most {MAXDIM} dimensions, got {d.ndim}")
    for i in range(d.ndim - 1, -1, -1):
        sizes[i] = d.shape[i]
        strides[i] = d.strides[i] if d.strides != NULL else span
        if d.strides == NULL:
            span *= max(sizes[i], <int64_t> 1)
        if strides[i] < 0 and sizes[i] > 1:
            raise BufferError("from_dlpack: negative strides can't be viewed; copy the array first")
        if sizes[i] <= 1 and strides[i] < 0:
            strides[i] = 1
    n = count_elements(d.ndim, sizes, ITEMSIZE[code])
    span = 1
    for i in range(d.ndim):
        if sizes[i] > 1:
            span += (sizes[i] - 1) * strides[i]
    first = <char *> d.data + d.byte_offset
    if n and <uint64_t> first % min(ITEMSIZE[code], 8):
        raise BufferError(f"from_dlpack: memory at {<uint64_t> first:#x} isn't aligned to {DTYPES[code]}; copy the array first")
    cdef Storage s = borrow_storage(first, span * ITEMSIZE[code] if n else 0, held)
    out = over(s, s.ptr, code, d.ndim, sizes, strides)
    # From here on the memory is ours to give back; before, the capsule gives it back.
    if v != NULL:
        PyCapsule_SetName(capsule, b"used_dltensor_versioned")
        held.versioned = v
    else:
        PyCapsule_SetName(capsule, b"used_dltensor")
        held.old = m
    return out, writable
