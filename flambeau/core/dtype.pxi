# The dtypes and PyTorch's promotion table. A dtype is an int code in C and one DType object in Python.

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
         "complex64", "complex128", "uint16", "uint32", "uint64")

cdef enum:
    BOOL = 0
    U8 = 1
    I8 = 2
    I16 = 3
    I32 = 4
    I64 = 5
    F16 = 6
    BF16 = 7
    F32 = 8
    F64 = 9
    C64 = 10
    C128 = 11
    U16 = 12
    U32 = 13
    U64 = 14
    NDTYPES = 15  # a code and one more fit in four bits of a key

cdef int8_t[15] ITEMSIZE
ITEMSIZE[:] = [1, 1, 1, 2, 4, 8, 2, 2, 4, 8, 8, 16, 2, 4, 8]
# Category, as promotion orders them: 0 bool, 1 integer, 2 floating, 3 complex.
cdef int8_t[15] CATEGORY
CATEGORY[:] = [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 1, 1, 1]
cdef int8_t[15][15] PROMOTE
cdef int default_dtype = F32


cdef inline bint signed(int code) noexcept:
    return code != BOOL and code != U8 and code < U16


@cython.final
cdef class DType:
    """A tensor's element type, such as `flambeau.float32`.

    >>> fb.float16.itemsize, fb.float16.is_floating_point, fb.complex64.to_real()
    (2, True, flambeau.float32)
    """
    cdef readonly int code
    cdef readonly str name
    cdef readonly str ir
    cdef readonly int itemsize

    def __init__(self, int code, str name, str ir):
        self.code = code
        self.name = name
        self.ir = ir
        self.itemsize = ITEMSIZE[code]

    @property
    def is_floating_point(self):
        return CATEGORY[self.code] == 2

    @property
    def is_complex(self):
        return CATEGORY[self.code] == 3

    @property
    def is_signed(self):
        return signed(self.code)

    def to_real(self):
        """The dtype of the parts of a complex dtype; a real dtype itself."""
        return DTYPES[F32 if self.code == C64 else F64 if self.code == C128 else self.code]

    def to_complex(self):
        """The complex dtype whose parts have this one."""
        return DTYPES[C128 if self.code in (F64, C128) else C64]

    def __repr__(self):
        return package + "." + self.name

    def __reduce__(self):
        return dtype_named, (self.name,)


DTYPES = tuple(
    DType(code, name, ir)
    for code, (name, ir) in enumerate(
        zip(NAMES, ("bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "c64", "c128",
                   "u16", "u32", "u64"))
    )
)
_BY_NAME = {d.name: d for d in DTYPES}
_BY_NAME.update(half=DTYPES[F16], float=DTYPES[F32], double=DTYPES[F64], short=DTYPES[I16], int=DTYPES[I32],
                long=DTYPES[I64], cfloat=DTYPES[C64], cdouble=DTYPES[C128])
# Python's own types are accepted wherever a dtype is.
_BY_TYPE = {float: DTYPES[F64], int: DTYPES[I64], bool: DTYPES[BOOL], complex: DTYPES[C128]}


def dtype_named(str name):
    return _BY_NAME[name]


cdef int promote_rule(int a, int b):
    """PyTorch's table, and among integers the array API standard's where PyTorch has none; -1 where neither has."""
    cdef int narrower
    if a == b:
        return a
    if CATEGORY[a] != CATEGORY[b]:
        if CATEGORY[a] > CATEGORY[b]:
            a, b = b, a
        return C128 if a == F64 and b == C64 else b
    if CATEGORY[a] == 1 and signed(a) != signed(b):
        if signed(a):
            a, b = b, a
        narrower = ITEMSIZE[a]
        if ITEMSIZE[b] > narrower:
            return b
        return I16 if narrower == 1 else I32 if narrower == 2 else I64 if narrower == 4 else -1
    if (a == F16 and b == BF16) or (a == BF16 and b == F16):
        return F32
    return a if ITEMSIZE[a] > ITEMSIZE[b] else b


cdef int _i, _j
for _i in range(NDTYPES):
    for _j in range(NDTYPES):
        PROMOTE[_i][_j] = promote_rule(_i, _j)


cdef int promoted(int a, int b) except -1:
    if PROMOTE[a][b] < 0:
        raise RuntimeError(f"{DTYPES[a].name} and {DTYPES[b].name} have no common dtype; convert one with x.to(dtype)")
    return PROMOTE[a][b]


cdef inline int dtype_code(object dtype) except -1:
    """The code of a DType, or of a Python type that stands for one."""
    if type(dtype) is DType:
        return (<DType> dtype).code
    found = _BY_TYPE.get(dtype) if isinstance(dtype, type) else None
    if found is None:
        raise TypeError(f"dtype must be a flambeau dtype such as flambeau.float32, got {dtype!r}")
    return (<DType> found).code


def promote_types(a, b):
    """The dtype that holds the values of both; uint64 and a signed integer have none.

    >>> import flambeau as fb
    >>> fb.promote_types(fb.int32, fb.float16)
    flambeau.float16
    """
    return DTYPES[promoted(dtype_code(a), dtype_code(b))]


def get_default_dtype():
    """The floating dtype that Python floats become.

    >>> fb.get_default_dtype()
    flambeau.float32
    """
    return DTYPES[default_dtype]


def set_default_dtype(dtype):
    """Sets the floating dtype that Python floats become: float16, bfloat16, float32 or float64.

    >>> fb.set_default_dtype(fb.float64)
    >>> fb.tensor(1.5).dtype
    flambeau.float64
    >>> fb.set_default_dtype(fb.float32)
    """
    global default_dtype
    cdef int code = dtype_code(dtype)
    if CATEGORY[code] != 2:
        raise TypeError(f"set_default_dtype: a floating dtype is needed, got {dtype!r}")
    default_dtype = code


cdef int python_dtype(object x) except -1:
    """The dtype a Python number takes on its own."""
    if isinstance(x, bool):
        return BOOL
    if isinstance(x, int):
        return I64
    if isinstance(x, float):
        return default_dtype
    if isinstance(x, complex):
        return C128 if default_dtype == F64 else C64
    if hasattr(x, "__index__"):
        return I64
    if hasattr(x, "__float__"):
        return default_dtype
    raise TypeError(f"a tensor or a number is needed, got {type(x).__name__}")
