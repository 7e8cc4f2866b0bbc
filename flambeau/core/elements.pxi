# Elements to and from Python: numbers, nested lists, and the factories the rest is built on.

cdef inline float half_to_float(uint16_t h) noexcept:
    cdef uint32_t sign = (<uint32_t> h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023, bits
    cdef float out
    if exponent == 31:
        bits = sign | 0x7F800000 | mantissa << 13
    elif exponent:
        bits = sign | (exponent + 112) << 23 | mantissa << 13
    else:
        out = mantissa * 5.9604644775390625e-08
        return -out if sign else out
    memcpy(&out, &bits, 4)
    return out


cdef inline float bfloat_to_float(uint16_t h) noexcept:
    cdef uint32_t bits = <uint32_t> h << 16
    cdef float out
    memcpy(&out, &bits, 4)
    return out


cdef inline uint16_t float_to_bfloat(float x) noexcept:
    cdef uint32_t bits
    memcpy(&bits, &x, 4)
    if x != x:
        return 0x7FC0
    return <uint16_t> ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


cdef inline uint16_t float_to_half(float x) noexcept:
    cdef uint32_t bits, sign, magnitude, shift, rest
    cdef int exponent
    memcpy(&bits, &x, 4)
    sign = bits >> 16 & 0x8000
    magnitude = bits & 0x7FFFFFFF
    if magnitude > 0x7F800000:
        return <uint16_t> (sign | 0x7E00)
    if magnitude >= 0x477FF000:
        return <uint16_t> (sign | 0x7C00)
    if magnitude < 0x33000001:
        return <uint16_t> sign
    exponent = <int> (magnitude >> 23)
    if exponent < 113:
        shift = 126 - exponent
        rest = (magnitude & 0x7FFFFF) | 0x800000
        bits = rest >> shift
        rest &= (<uint32_t> 1 << shift) - 1
        if rest > <uint32_t> 1 << (shift - 1) or (rest == <uint32_t> 1 << (shift - 1) and bits & 1):
            bits += 1
        return <uint16_t> (sign | bits)
    bits = magnitude - (<uint32_t> 112 << 23)
    return <uint16_t> (sign | (bits + 0xFFF + (bits >> 13 & 1)) >> 13)


# Complex numbers cross by their parts: as C's double complex, 0 + inf·i would have the real part 0·inf, which is nan.
cdef extern from "Python.h":
    object PyComplex_FromDoubles(double real, double imag)
    double PyComplex_RealAsDouble(object z)
    double PyComplex_ImagAsDouble(object z)

cdef object PYTHON_COMPLEX = complex


cdef object read_element(const char *p, int code):
    if code == F32:
        return <double> (<float *> p)[0]
    if code == F64:
        return (<double *> p)[0]
    if code == I64:
        return (<int64_t *> p)[0]
    if code == BOOL:
        return p[0] != 0
    if code == I32:
        return (<int32_t *> p)[0]
    if code == U8:
        return (<uint8_t *> p)[0]
    if code == I8:
        return (<int8_t *> p)[0]
    if code == I16:
        return (<int16_t *> p)[0]
    if code == U16:
        return (<uint16_t *> p)[0]
    if code == U32:
        return (<uint32_t *> p)[0]
    if code == U64:
        return (<uint64_t *> p)[0]
    if code == F16:
        return <double> half_to_float((<uint16_t *> p)[0])
    if code == BF16:
        return <double> bfloat_to_float((<uint16_t *> p)[0])
    if code == C64:
        return PyComplex_FromDoubles((<float *> p)[0], (<float *> p)[1])
    return PyComplex_FromDoubles((<double *> p)[0], (<double *> p)[1])


cdef object read_nested(const char *p, int code, int nd, const int64_t *sizes, const int64_t *strides):
    if nd == 0:
        return read_element(p, code)
    cdef int64_t i, step = strides[0] * ITEMSIZE[code]
    cdef list out = PyList_New(sizes[0])
    cdef object x
    for i in range(sizes[0]):
        if nd > 1:
            x = read_nested(p + i * step, code, nd - 1, sizes + 1, strides + 1)
        elif code == F32:
            x = PyFloat_FromDouble((<const float *> (p + i * step))[0])
        else:
            x = read_element(p + i * step, code)
        Py_INCREF(x)
        PyList_SET_ITEM(out, i, x)
    return out


cdef int write_element(char *p, int code, object x) except -1:
    """Stores a Python number as the dtype, wrapping and converting as C does."""
    cdef int64_t i
    cdef double d
    cdef object z
    if CATEGORY[code] == 2:
        d = x
        if code == F32:
            (<float *> p)[0] = <float> d
        elif code == F64:
            (<double *> p)[0] = d
        elif code == F16:
            (<uint16_t *> p)[0] = float_to_half(<float> d)
        else:
            (<uint16_t *> p)[0] = float_to_bfloat(<float> d)
    elif code == BOOL:
        p[0] = 1 if x else 0
    elif CATEGORY[code] == 3:
        z = PYTHON_COMPLEX(x)
        if code == C64:
            (<float *> p)[0] = <float> PyComplex_RealAsDouble(z)
            (<float *> p)[1] = <float> PyComplex_ImagAsDouble(z)
        else:
            (<double *> p)[0] = PyComplex_RealAsDouble(z)
            (<double *> p)[1] = PyComplex_ImagAsDouble(z)
    else:
        if isinstance(x, float):
            if x != x or x in (float("inf"), -float("inf")):
                raise RuntimeError(f"{x} has no value as {DTYPES[code].name}")
            x = int(x)
        try:
            i = x if code != U64 or x < 0 else <int64_t> <uint64_t> x
        except OverflowError:
            raise RuntimeError(f"{x} doesn't fit in {DTYPES[code].name}") from None
        if code == I64 or code == U64:
            (<int64_t *> p)[0] = i
        elif code == I32 or code == U32:
            (<int32_t *> p)[0] = <int32_t> i
        elif code == U8:
            (<uint8_t *> p)[0] = <uint8_t> i
        elif code == I8:
            (<int8_t *> p)[0] = <int8_t> i
        else:
            (<int16_t *> p)[0] = <int16_t> i
    return 0


cdef int fill_nested(object data, int code, int nd, const int64_t *sizes, char **p) except -1:
    cdef Py_ssize_t n
    if nd == 0:
        write_element(p[0], code, data.item() if isinstance(data, Tensor) else data)
        p[0] += ITEMSIZE[code]
        return 0
    n = len(data)
    if n != sizes[0]:
        raise ValueError(f"tensor: nested sequences differ in length, expected {sizes[0]}, got {n}")
    for x in data:
        fill_nested(x, code, nd - 1, sizes + 1, p)
    return 0


def from_nested(data, dtype=None):
    """A new tensor of nested sequences of numbers; the dtype follows the numbers if it isn't given."""
    cdef int64_t[64] sizes
    cdef int nd = 0, code
    cdef Tensor out
    cdef char *p
    level = data
    while isinstance(level, (list, tuple, range)) or (hasattr(level, "__len__") and hasattr(level, "__getitem__") and not
                                                      (isinstance(level, Tensor) and (<Tensor> level).ndims == 0)
                                                      and getattr(level, "ndim", 1) != 0):
        if isinstance(level, (str, bytes, dict)):
            raise TypeError(f"tensor: nested sequences of numbers are needed, got {type(level).__name__}")
        if nd == MAXDIM:
            raise ValueError(f"tensor: more than {MAXDIM} levels of nesting")
        sizes[nd] = len(level)
        nd += 1
        if len(level) == 0:
            break
        level = level[0]
    code = infer_dtype(data, nd) if dtype is None else dtype_code(dtype)
    out = empty(code, nd, sizes)
    p = out.ptr
    if out.count or nd == 0:
        fill_nested(data, code, nd, sizes, &p)
    if fb_watched:
        WATCH.kept.append(out.store)
    return out


cdef int infer_dtype(object data, int nd) except -1:
    cdef int code = -1, other
    if nd == 0:
        if isinstance(data, Tensor):
            return (<Tensor> data).code
        # NumPy's scalars and 0-dimensional arrays say what they are; float64 ones are Python floats too.
        known = None if type(data) in (float, int, bool) else _BY_NAME.get(getattr(getattr(data, "dtype", None), "name", None))
        return python_dtype(data) if known is None else (<DType> known).code
    for x in data:
        other = infer_dtype(x, nd - 1)
        code = other if code < 0 else promoted(code, other)
        if code == C128:
            break
    return default_dtype if code < 0 else code


# ---- factories the rest is built on
def new_empty(shape, dtype):
    """An uninitialised contiguous tensor."""
    cdef int64_t[64] sizes
    cdef int nd = parse_shape((tuple(shape),), sizes)
    return empty(dtype_code(dtype), nd, sizes)


def new_empty_strided(shape, stride, dtype):
    """An uninitialised tensor with the given strides over a storage just large enough."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = parse_shape((tuple(shape),), sizes), code = dtype_code(dtype)
    cdef int64_t span = 1, n
    if parse_shape((tuple(stride),), strides) != nd:
        raise RuntimeError(f"empty_strided: {nd} sizes need {nd} strides, got {list(shape)} and {list(stride)}")
    n = count_elements(nd, sizes, ITEMSIZE[code])
    for i in range(nd):
        if strides[i] < 0 or (sizes[i] > 1 and strides[i] > (INT64_MAX // 16 - span) // (sizes[i] - 1)):
            raise RuntimeError(f"empty_strided: sizes {list(shape)} and strides {list(stride)} overflow")
        if sizes[i] > 1:
            span += strides[i] * (sizes[i] - 1)
    cdef Storage s = new_storage(span * ITEMSIZE[code] if n else 0)
    return over(s, s.ptr, code, nd, sizes, strides)


def make_subclass(cls, Tensor data, bint requires_grad=False):
    """A tensor of a subclass of Tensor over the same memory."""
    cdef Tensor t = cls.__new__(cls) if cls.__new__ is Tensor.__new__ else Tensor.__new__(cls)
    become(t, data)
    if requires_grad:
        set_requires_grad(t, True)
    return t
