# Dispatch: from an operation and its arguments to a cached kernel, a launch and a tape node.
#
# An Op remembers kernels by what they depend on: the operands' dtypes and kinds, and the layout class (how many
# dimensions are left after merging, how each operand's innermost stride looks), never sizes. A miss asks
# hooks["pointwise_miss"] or hooks["reduce_miss"], which compile and return an address.

cdef enum:
    MAXOPS = 24         # operands plus outputs of one op
    MAXK = 6            # dimensions a kernel loops over itself; more are looped over here
    CHUNK = 16384       # elements of one row that one parallel iteration of a many-dimensional kernel does
    TILE = 64           # columns and …
    BAND = 1024         # … rows of the tiles in which rows and columns are exchanged
    GRAIN = 32768       # elements handed to a thread at a time
    RELEASE = 65536     # elements from which the interpreter lock is given up
    STREAM = 8388608    # output bytes from which stores bypass the caches
    REDUCE_BLOCK = 4096 # as in ir/kernel.py: longer reductions are reductions of reductions
    COLUMNS = 256       # columns a column reduction takes at a time at least, and …
    PAGE = 1024         # … at most, of which every row is about one page of memory
    NO_OUTPUT = -1

# How an operand looks in a key: dtype code; plus 16 for a 0-dimensional tensor; 32 … 35 a Python bool, int, float,
# complex; 63 an attribute left at its default.
cdef enum:
    KEY_ZERO_DIM = 16
    KEY_NUMBER = 32
    KEY_DEFAULT = 63

cdef struct Entry:
    uint64_t k0
    uint64_t k1
    uint64_t k2
    uint64_t layout
    fb_kernel kernel
    int8_t[4] out_codes
    int8_t[24] number_codes
    uint64_t differentiable
    uint64_t vjp_mask
    PyObject *vjp
    PyObject *vjps

ZERO = 0.0


class _Default:
    def __repr__(self):
        return "default"


DEFAULT = _Default()


@cython.final
cdef class Vjp:
    """How a pointwise node goes backward: `op` of (gradients, saved operands) gives the gradients of operands `wrt`.

    `needs` lists what to save: operand i, or output j as (number of operands + j). `route` says which result of op is
    the gradient of wrt[j]; -1 is the arriving gradient itself, and op is None if all are.
    """
    cdef readonly Op op
    cdef readonly tuple needs
    cdef readonly tuple wrt
    cdef readonly tuple route

    def __init__(self, Op op, tuple needs, tuple wrt, tuple route):
        self.op = op
        self.needs = needs
        self.wrt = wrt
        self.route = route


cdef class Op:
    """A pointwise operation: called with tensors and numbers, it broadcasts, promotes, computes and records.

    `attributes` are trailing parameters with defaults, passed to the kernel as numbers. `statics`, where there are
    any, choose among variants of the op and are resolved by hooks["specialise"].
    """
    cdef readonly str name
    cdef readonly int nin
    cdef readonly int nout
    cdef readonly tuple parameters
    cdef readonly tuple statics
    cdef readonly object definition
    cdef readonly str __doc__
    cdef int nargs            # operands and attributes
    cdef str node_name
    cdef Entry **entries      # each in a place of its own: callbacks and other threads may add some meanwhile
    cdef int nentries
    cdef int capacity
    cdef dict __dict__

    def __init__(self, str name, int nin, tuple parameters, int nout, definition, tuple statics=(), doc=None):
        self.name = name
        self.nin = nin
        self.nout = nout
        self.parameters = parameters
        self.nargs = len(parameters)
        self.definition = definition
        self.statics = statics
        self.__doc__ = doc
        self.node_name = name.title().replace("_", "") + "Backward0"
        if self.nargs + nout > MAXOPS:
            raise ValueError(f"{name}: at most {MAXOPS} operands and outputs, got {self.nargs + nout}")

    def __dealloc__(self):
        for i in range(self.nentries):
            Py_XDECREF(self.entries[i].vjp)
            Py_XDECREF(self.entries[i].vjps)
            free(self.entries[i])
        free(self.entries)

    @property
    def __name__(self):
        return self.name

    @property
    def kernels(self):
        """How many kernels this op has cached in this process."""
        return self.nentries

    def __repr__(self):
        return f"<op {self.name}({', '.join(self.parameters)})>"

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def __reduce__(self):
        return op_named, (self.name,)

    def __call__(self, *args, **kwargs):
        cdef PyObject* xs[24]
        cdef PyObject* given[4]
        cdef Py_ssize_t i, k = PyTuple_GET_SIZE(args)
        if self.statics is not None and PyTuple_GET_SIZE(self.statics):
            return hooks["specialise"](self, args, kwargs)
        cdef object out = None
        if k > self.nargs:
            raise TypeError(f"{self.name}: takes {self.nargs} arguments ({', '.join(self.parameters)}), got {k}")
        for i in range(k):
            xs[i] = <PyObject *> PyTuple_GET_ITEM(args, i)
        for i in range(k, self.nargs):
            xs[i] = <PyObject *> DEFAULT
        if kwargs:
            for key, value in kwargs.items():
                if key == "out":
                    out = value
                    continue
                if key not in self.parameters:
                    raise TypeError(f"{self.name}: has no parameter {key!r}; it takes ({', '.join(self.parameters)})")
                i = self.parameters.index(key)
                if i < k:
                    raise TypeError(f"{self.name}: {key!r} is given twice")
                xs[i] = <PyObject *> value
        for i in range(min(self.nin, self.nargs)):
            if <object> xs[i] is DEFAULT:
                raise TypeError(f"{self.name}: argument {self.parameters[i]!r} is missing")
        if out is None:
            return pointwise(self, xs, self.nargs, None, 0)
        return into_out(self, xs, out)

    def into(self, outputs, *args):
        """Computes into existing tensors, off the tape: what a fused optimizer step is made of."""
        cdef PyObject* xs[24]
        cdef Py_ssize_t i
        for i in range(len(args)):
            xs[i] = <PyObject *> args[i]
        for i in range(len(args), self.nargs):
            xs[i] = <PyObject *> DEFAULT
        return pointwise(self, xs, self.nargs, tuple(outputs), NO_OUTPUT)

    def inplace(self, Tensor target, *args, **kwargs):
        """target = op(target, …), written over target."""
        cdef PyObject* xs[24]
        cdef Py_ssize_t i, k = PyTuple_GET_SIZE(args)
        if self.statics is not None and PyTuple_GET_SIZE(self.statics):
            return hooks["specialise_inplace"](self, target, args, kwargs)
        if k + 1 > self.nargs:
            raise TypeError(f"{self.name}_: takes {self.nargs - 1} arguments, got {k}")
        xs[0] = <PyObject *> target
        for i in range(k):
            xs[i + 1] = <PyObject *> PyTuple_GET_ITEM(args, i)
        for i in range(k + 1, self.nargs):
            xs[i] = <PyObject *> DEFAULT
        for key, value in kwargs.items():
            if key not in self.parameters or self.parameters.index(key) <= k:
                raise TypeError(f"{self.name}_: unexpected argument {key!r}; it takes ({', '.join(self.parameters[1:])})")
            xs[<int> self.parameters.index(key)] = <PyObject *> value
        return pointwise(self, xs, self.nargs, (target,), 1)


cdef class InplaceOp:
    """The in-place form of an Op, as a method of Tensor: x.add_(y)."""
    cdef readonly Op op
    cdef readonly str __name__
    cdef readonly str __doc__

    def __init__(self, Op op):
        self.op = op
        self.__name__ = op.name + "_"
        self.__doc__ = f"In-place form of :func:`{op.name}`."

    def __call__(self, Tensor target, *args, **kwargs):
        cdef PyObject* xs[24]
        cdef Op op = self.op
        cdef Py_ssize_t i, k = PyTuple_GET_SIZE(args)
        if kwargs or k + 1 < op.nin or k + 1 > op.nargs or PyTuple_GET_SIZE(op.statics):
            return op.inplace(target, *args, **kwargs)
        xs[0] = <PyObject *> target
        for i in range(k):
            xs[i + 1] = <PyObject *> PyTuple_GET_ITEM(args, i)
        for i in range(k + 1, op.nargs):
            xs[i] = <PyObject *> DEFAULT
        return pointwise(op, xs, op.nargs, (target,), 1)

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)


cdef extern from "Python.h":
    object PyMethod_New(object function, object self)


cdef inline object bind_method(object function, object instance):
    return PyMethod_New(function, instance)


def op_named(name):
    return hooks["op_named"](name)


# The ops behind Tensor's operators; `bind_operators` fills them once the op table is loaded.
cdef Op ADD, SUB, MUL, DIV, FLOOR_DIVIDE, REMAINDER, POW, AND, OR, XOR, SHL, SHR, NEG, ABS, NOT
cdef Op LT, LE, EQ, NE, GT, GE, COPY


def bind_operators(dict ops):
    """Tells Tensor's operators which ops they are."""
    global ADD, SUB, MUL, DIV, FLOOR_DIVIDE, REMAINDER, POW, AND, OR, XOR, SHL, SHR, NEG, ABS, NOT
    global LT, LE, EQ, NE, GT, GE, COPY
    ADD, SUB, MUL, DIV = ops["add"], ops["sub"], ops["mul"], ops["div"]
    FLOOR_DIVIDE, REMAINDER, POW = ops["floor_divide"], ops["remainder"], ops["pow"]
    AND, OR, XOR = ops["bitwise_and"], ops["bitwise_or"], ops["bitwise_xor"]
    SHL, SHR = ops["bitwise_left_shift"], ops["bitwise_right_shift"]
    NEG, ABS, NOT = ops["neg"], ops["abs"], ops["bitwise_not"]
    LT, LE, EQ, NE, GT, GE = ops["lt"], ops["le"], ops["eq"], ops["ne"], ops["gt"], ops["ge"]
    COPY = ops["identity"]


cdef inline bint operand_like(object x):
    return isinstance(x, (Tensor, float, int, complex)) or (hasattr(x, "__float__") and not hasattr(x, "__len__")) or (
        hasattr(x, "__index__") and not hasattr(x, "__len__"))


cdef object operate(Op op, object a, object b):
    """A binary op of two operands, its attributes at their defaults."""
    cdef PyObject* xs[24]
    cdef int i
    if not (isinstance(a, Tensor) and (isinstance(b, Tensor) or PyFloat_CheckExact(b) or PyLong_CheckExact(b))):
        if not operand_like(a) or not operand_like(b):
            return NotImplemented
    xs[0] = <PyObject *> a
    xs[1] = <PyObject *> b
    for i in range(2, op.nargs):
        xs[i] = <PyObject *> DEFAULT
    return pointwise(op, xs, op.nargs, None, 0)


cdef object operate1(Op op, object a):
    cdef PyObject* xs[1]
    xs[0] = <PyObject *> a
    return pointwise(op, xs, 1, None, 0)


cdef object operate_into(Op op, Tensor a, object b):
    cdef PyObject* xs[24]
    cdef int i
    if not operand_like(b):
        return NotImplemented
    xs[0] = <PyObject *> a
    xs[1] = <PyObject *> b
    for i in range(2, op.nargs):
        xs[i] = <PyObject *> DEFAULT
    return pointwise(op, xs, op.nargs, (a,), 1)


cdef object into_out(Op op, PyObject **xs, object out):
    """out=: computes into `out`, which is resized if it is empty; never recorded."""
    cdef Tensor target
    if not isinstance(out, Tensor):
        raise TypeError(f"{op.name}: out must be a tensor, got {type(out).__name__}")
    target = out
    if fb_grad_enabled and requires_grad(target):
        raise RuntimeError(f"{op.name}: out= can't be recorded, but out requires grad; use the plain form")
    for i in range(op.nargs):
        if fb_grad_enabled and isinstance(<object> xs[i], Tensor) and requires_grad(<Tensor> <object> xs[i]):
            raise RuntimeError(f"{op.name}: out= can't be recorded, but an argument requires grad; use the plain form")
    shape = broadcast_shape_of(op, xs, op.nargs)
    if tuple(target.shape) != tuple(shape):
        if target.count:
            raise RuntimeError(f"{op.name}: out has shape {list(target.shape)}, the result {list(shape)}; pass an empty tensor or one of that shape")
        become(target, new_empty(shape, DTYPES[target.code]))
    return pointwise(op, xs, op.nargs, (target,), NO_OUTPUT)


# ---- the geometry of a pointwise operation in general
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


cdef inline int write_slot(int64_t *slot, int code, object x) except -1:
    """A Python number as a kernel argument of dtype `code`."""
    cdef float f
    cdef double d
    cdef char[16] raw
    if code == F32 or code == F16 or code == BF16:
        f = <float> <double> x
        slot[0] = 0
        memcpy(slot, &f, 4)
    elif code == F64:
        d = x
        memcpy(slot, &d, 8)
    elif code == I64:
        try:
            slot[0] = x
        except OverflowError:
            raise RuntimeError(f"{x} doesn't fit in int64") from None
    else:
        write_element(raw, code, x)
        slot[0] = 0
        if code == BOOL or code == U8:
            slot[0] = (<uint8_t *> raw)[0]
        elif code == I8:
            slot[0] = (<int8_t *> raw)[0]
        elif code == I16:
            slot[0] = (<int16_t *> raw)[0]
        elif code == I32:
            slot[0] = (<int32_t *> raw)[0]
        else:
            memcpy(slot, raw, 8)
    return 0


cdef inline int number_key(object x) except -1:
    if PyFloat_CheckExact(x):
        return KEY_NUMBER + 2
    if isinstance(x, bool):
        return KEY_NUMBER
    if isinstance(x, int):
        return KEY_NUMBER + 1
    if isinstance(x, complex):
        return KEY_NUMBER + 3
    if hasattr(x, "__index__"):
        return KEY_NUMBER + 1
    if hasattr(x, "__float__"):
        return KEY_NUMBER + 2
    raise TypeError(f"a tensor or a number is needed, got {type(x).__name__}")


cdef Entry *miss(Op op, PyObject **xs, int n, tuple given, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t layout, int k, int8_t *classes) except NULL:
    """Asks for the kernel, and remembers it."""
    cdef Entry *e
    cdef Entry **grown
    cdef int i
    keys = []
    for i in range(n):
        keys.append(<int> ((k0 if i < 10 else k1 if i < 20 else k2) >> (6 * (i % 10)) & 63))
    address, out_codes, number_codes, differentiable = hooks["pointwise_miss"](
        op, tuple(keys), tuple([classes[i] for i in range(n + op.nout)]), k, bool(layout >> 3 & 1),
        None if given is None else tuple([DTYPES[(<Tensor> o).code] for o in given]))
    if op.nentries == op.capacity:
        grown = <Entry **> realloc(op.entries, (2 * op.capacity + 2) * sizeof(Entry *))
        if grown == NULL:
            raise MemoryError()
        op.entries = grown
        op.capacity = 2 * op.capacity + 2
    e = <Entry *> malloc(sizeof(Entry))
    if e == NULL:
        raise MemoryError()
    memset(e, 0, sizeof(Entry))
    e.k0, e.k1, e.k2, e.layout = k0, k1, k2, layout
    e.kernel = <fb_kernel> <uint64_t> address
    for i in range(op.nout):
        e.out_codes[i] = out_codes[i]
    for i in range(n):
        e.number_codes[i] = number_codes[i]
    e.differentiable = differentiable
    op.entries[op.nentries] = e
    op.nentries += 1
    return e


cdef Vjp vjp_of(Op op, Entry *e, uint64_t mask, int n):
    """How to go backward for these operands; made once per entry and set of operands."""
    cdef object found
    if e.vjp != NULL and e.vjp_mask == mask:
        return <Vjp> e.vjp
    if e.vjps == NULL:
        table = {}
        Py_INCREF(table)
        e.vjps = <PyObject *> table
    found = (<dict> e.vjps).get(mask)
    if found is None:
        keys = tuple([<int> ((e.k0 if i < 10 else e.k1 if i < 20 else e.k2) >> (6 * (i % 10)) & 63) for i in range(n)])
        found = hooks["vjp"](op, keys, mask)
        (<dict> e.vjps)[mask] = found
    Py_INCREF(found)
    Py_XDECREF(e.vjp)
    e.vjp = <PyObject *> found
    e.vjp_mask = mask
    return <Vjp> found


cdef object with_complex_numbers(Op op, PyObject **xs, int n, tuple given, int mode):
    """Complex numbers as 0-dimensional tensors: a kernel's argument has room for 8 bytes only."""
    cdef PyObject* operands[24]
    cdef list keep = []
    cdef bint wide = default_dtype == F64
    cdef int i
    for x in ([] if given is None else list(given)) + [<object> xs[i] for i in range(n)]:
        if isinstance(x, Tensor) and (<Tensor> x).code in (F64, C128):
            wide = True
    for i in range(n):
        operands[i] = xs[i]
        if i < op.nin and isinstance(<object> xs[i], complex):
            number = from_nested(<object> xs[i], DTYPES[C128 if wide else C64])
            keep.append(number)
            operands[i] = <PyObject *> number
    return pointwise(op, operands, n, given, mode)


cdef object pointwise(Op op, PyObject **xs, int n, tuple given, int mode):
    """Runs a pointwise op. `given` holds existing outputs; mode 1 records an in-place write to given[0] (operand 0)."""
    cdef int i, j, nd = 0, k = 1, key, nout = op.nout
    cdef uint64_t[3] keys
    cdef uint64_t layout, mask = 0, given_bits = 0
    cdef Tensor t, full = None, out
    cdef bint simple = True, broadcasts = False, grads = fb_grad_enabled
    cdef int64_t count = 1
    cdef int8_t[24] classes
    cdef Entry *e = NULL
    cdef object x
    cdef tuple saved_target = None
    if fb_interpreters:
        return interpret(op, tuple([<object> xs[i] for i in range(n)]), {}, given, mode)
    # The default dtype decides what integers become: it is part of the key.
    keys[0] = <uint64_t> (default_dtype - F32 & 3) << 60
    keys[1] = keys[2] = 0
    for i in range(n):
        x = <object> xs[i]
        if isinstance(x, Tensor):
            t = <Tensor> x
            key = t.code
            if t.ndims == 0:
                key |= KEY_ZERO_DIM
                classes[i] = 0
                broadcasts = True
            else:
                classes[i] = 1
                if full is None:
                    full = t
                    simple = simple and t.contig
                elif simple and not (t.contig and same_shape(full, t)):
                    simple = False
            if grads and requires_grad(t):
                mask |= (<uint64_t> 1) << i
        elif x is DEFAULT:
            key = KEY_DEFAULT
            classes[i] = 0
        else:
            key = number_key(x)
            if key == KEY_NUMBER + 3 and i < op.nin:
                return with_complex_numbers(op, xs, n, given, mode)
            classes[i] = 0
        keys[i // 10] |= (<uint64_t> key) << (6 * (i % 10))
    if given is not None:
        if mode == 1:
            check_inplace(<Tensor> given[0], op.name, mask != 0)
        for j in range(len(given)):
            t = given[j]
            for i in range(n):
                if simple and isinstance(<object> xs[i], Tensor) and ranges_overlap(t, <Tensor> <object> xs[i]):
                    simple = same_elements(t, <Tensor> <object> xs[i])
            if j < 3:
                given_bits |= (<uint64_t> (t.code + 1)) << (52 + 4 * j)
            if simple and not (t.contig and (same_shape(t, full) if full is not None else t.ndims == 0)):
                simple = False
    if not simple:
        return general(op, xs, n, given, mode, keys, given_bits, mask, classes)
    if full is not None:
        count = full.count
        nd = full.ndims
    layout = 1 | given_bits
    for i in range(n):
        layout |= (<uint64_t> classes[i]) << (4 + 2 * i)
    for j in range(nout):
        classes[n + j] = 1
        layout |= (<uint64_t> 1) << (4 + 2 * (n + j))
    if count * 4 >= STREAM:
        layout |= 8
    for i in range(op.nentries):
        e = op.entries[i]
        if e.k0 == keys[0] and e.layout == layout and e.k1 == keys[1] and e.k2 == keys[2]:
            break
    else:
        e = miss(op, xs, n, given, keys[0], keys[1], keys[2], layout, 1, classes)
    mask &= e.differentiable
    cdef Vjp v = None
    if mask and mode != NO_OUTPUT:
        v = vjp_of(op, e, mask, n)
        if mode == 1 and v is not None and 0 in v.needs:
            saved_target = (snapshot(<Tensor> given[0]),)
    # ---- launch
    cdef int64_t[32] args
    cdef int slot = 0
    for i in range(n):
        x = <object> xs[i]
        if isinstance(x, Tensor):
            args[slot] = <int64_t> (<Tensor> x).ptr
        elif x is DEFAULT:
            continue
        else:
            write_slot(&args[slot], e.number_codes[i], x)
        slot += 1
    cdef PyObject* outs[4]
    cdef list made = None
    if given is not None:
        for j in range(nout):
            t = given[j]
            t.store.count += 1
            args[slot] = <int64_t> t.ptr
            slot += 1
        out = given[0]
    elif nout == 1:
        out = empty(e.out_codes[0], nd, full.dims if full is not None else NULL)
        args[slot] = <int64_t> out.ptr
        slot += 1
    else:
        made = []
        out = None
        for j in range(nout):
            t = empty(e.out_codes[j], nd, full.dims if full is not None else NULL)
            made.append(t)
            args[slot] = <int64_t> t.ptr
            slot += 1
    args[slot] = count
    if count <= GRAIN:
        e.kernel(args, 0, count)
    elif count < RELEASE:
        fb_parallel_for(e.kernel, args, count, GRAIN)
    else:
        with nogil:
            fb_parallel_for(e.kernel, args, count, GRAIN)
    # ---- record
    if v is not None:
        record_pointwise(op, v, xs, n, out, made, mode, saved_target, broadcasts and nd > 0)
    return out if made is None else tuple(made)


cdef Tensor snapshot(Tensor t):
    """A copy of what is about to be overwritten, at t's place on the tape: higher derivatives pass through it."""
    cdef Tensor out = copy_of(alias(t))
    out.node = current_node(t)
    out.nr = t.nr
    return out


cdef int record_pointwise(Op op, Vjp v, PyObject **xs, int n, Tensor out, list made, int mode, tuple saved_target, bint broadcasts) except -1:
    cdef Node node = new_node(POINTWISE, op.node_name)
    cdef Py_ssize_t i, k = PyTuple_GET_SIZE(v.needs), w = PyTuple_GET_SIZE(v.wrt)
    cdef int which
    cdef tuple saved = PyTuple_New(k), edges = PyTuple_New(w)
    cdef object x
    cdef list nrs = None, shapes = None
    cdef Tensor t
    node.vjp = v
    node.nout = op.nout
    for i in range(k):
        which = v.needs[i]
        if which < n:
            x = <object> xs[which]
            if mode == 1 and which == 0:
                x = saved_target[0]
        else:
            x = out if made is None else made[which - n]
        Py_INCREF(x)
        PyTuple_SET_ITEM(saved, i, x)
    for i in range(w):
        t = <Tensor> <object> xs[<int> v.wrt[i]]
        x = edge_of(t)
        Py_INCREF(x)
        PyTuple_SET_ITEM(edges, i, x)
        if t.nr:
            if nrs is None:
                nrs = [0] * w
            nrs[i] = t.nr
        if broadcasts and not same_shape(t, out if made is None else made[0]):
            if shapes is None:
                shapes = [None] * w
            shapes[i] = size_tuple(t.ndims, t.dims)
    node.edges = edges
    if nrs is not None:
        node.nrs = tuple(nrs)
    if shapes is not None:
        node.info = tuple(shapes)
    save_tensors(node, saved)
    if made is None:
        for i in range(k):
            if <int> v.needs[i] >= n:
                own_outputs(node, (out,))
                break
    if mode == 1:
        rebase(out, node, (<tuple> v.wrt).index(0) if 0 in v.wrt else -1)
    elif made is None:
        out.node = node
    else:
        for i in range(len(made)):
            if made[i] is not None:
                t = made[i]
                t.node = node
                t.nr = <int> i
    return 0


cdef bint ranges_overlap(Tensor a, Tensor b) noexcept:
    """Whether two tensors may share an element."""
    cdef int64_t end_a = 0, end_b = 0
    cdef int i
    if a.count == 0 or b.count == 0:
        return False
    for i in range(a.ndims):
        end_a += (a.dims[i] - 1) * a.dims[a.ndims + i]
    for i in range(b.ndims):
        end_b += (b.dims[i] - 1) * b.dims[b.ndims + i]
    return a.ptr < b.ptr + (end_b + 1) * ITEMSIZE[b.code] and b.ptr < a.ptr + (end_a + 1) * ITEMSIZE[a.code]


cdef inline bint same_elements(Tensor a, Tensor b) noexcept:
    """Whether element i of one is element i of the other, for every i."""
    return a.ptr == b.ptr and a.ndims == b.ndims and memcmp(a.dims, b.dims, 2 * a.ndims * sizeof(int64_t)) == 0 and (
        ITEMSIZE[a.code] == ITEMSIZE[b.code])


cdef object general(Op op, PyObject **xs, int n, tuple given, int mode, uint64_t *keys, uint64_t given_bits, uint64_t mask, int8_t *classes):
    """The same as `pointwise` for operands that broadcast or aren't contiguous."""
    cdef Geometry g
    cdef PyObject* operands[24]
    cdef list keep = []
    cdef int nd, i, j, d, k, nout = op.nout, lead, total = n + nout
    cdef int64_t[64] sizes
    cdef int64_t[64] out_strides
    cdef uint64_t layout
    cdef int64_t rows, inner, repeat, extent, grain
    cdef Tensor t, u, out = None
    cdef list made = None
    cdef Entry *e = NULL
    cdef Vjp v = None
    cdef tuple saved_target = None
    cdef bint preserved = False, strided = False
    nd = broadcast(op, xs, n, sizes)
    for i in range(n):
        operands[i] = xs[i]
    if given is not None:
        for j in range(nout):
            t = given[j]
            lead = t.ndims - nd
            if lead < 0:
                raise RuntimeError(f"{op.name}: the result has shape {[sizes[d] for d in range(nd)]}, which doesn't fit the output's, {list(t.shape)}")
            for d in range(t.ndims):
                if d >= lead and t.dims[d] != sizes[d - lead] and sizes[d - lead] != 1:
                    raise RuntimeError(f"{op.name}: the result has shape {[sizes[q] for q in range(nd)]}, which doesn't fit the output's, {list(t.shape)}")
                if t.dims[t.ndims + d] == 0 and t.dims[d] > 1:
                    raise RuntimeError(f"{op.name}: several elements of the output share one memory location (an expanded tensor); use clone() first")
            for i in range(n):
                if isinstance(<object> xs[i], Tensor):
                    u = <Tensor> <object> xs[i]
                    if ranges_overlap(t, u) and not same_elements(t, u):
                        # Read everything before anything is written.
                        u = copy_of(alias(u))
                        keep.append(u)
                        operands[i] = <PyObject *> u
        t = given[0]
        nd = t.ndims
        memcpy(sizes, t.dims, nd * sizeof(int64_t))
    g.nd = nd
    memcpy(g.sizes, sizes, nd * sizeof(int64_t))
    for i in range(n):
        if isinstance(<object> operands[i], Tensor):
            operand_strides(<Tensor> <object> operands[i], nd, g.strides[i])
        else:
            for d in range(nd):
                g.strides[i][d] = 0
    if given is not None:
        for j in range(nout):
            operand_strides(<Tensor> given[j], nd, g.strides[n + j])
    else:
        # A dense operand of the full shape lends the result its order of dimensions, as PyTorch has it.
        for i in range(n):
            if isinstance(<object> operands[i], Tensor):
                t = <Tensor> <object> operands[i]
                if t.ndims == nd and memcmp(t.dims, sizes, nd * sizeof(int64_t)) == 0 and dense_strides(t, out_strides):
                    preserved = True
                    break
        if not preserved:
            inner = 1
            for d in range(nd - 1, -1, -1):
                out_strides[d] = inner
                if sizes[d] > 1:
                    inner *= sizes[d]
        for j in range(nout):
            for d in range(nd):
                g.strides[n + j][d] = 0 if sizes[d] == 1 else out_strides[d]
    coalesce(&g, total, n)
    if g.nd == 0:
        g.nd = 1
        g.sizes[0] = 1
        for i in range(total):
            g.strides[i][0] = 0 if i < n else 1
    bring_inwards(&g, total, n)
    # ---- layout class: 0 broadcast, 1 contiguous, 2 strided, 3 contiguous along the dimension before
    k = min(g.nd, MAXK)
    for i in range(total):
        if g.strides[i][g.nd - 1] == 0 and i < n:
            classes[i] = 0
        elif g.strides[i][g.nd - 1] == 1 or g.sizes[g.nd - 1] == 1:
            classes[i] = 1
        else:
            classes[i] = 3 if k > 1 and g.strides[i][g.nd - 2] == 1 else 2
            strided = True
    layout = <uint64_t> k | given_bits
    for i in range(total):
        layout |= (<uint64_t> classes[i]) << (4 + 2 * i)
    inner = g.sizes[g.nd - 1]
    rows = 1
    for d in range(g.nd - k, g.nd - 1):
        rows *= g.sizes[d]
    repeat = 1
    for d in range(g.nd - k):
        repeat *= g.sizes[d]
    # Of short rows few cache lines are written whole.
    if rows * inner * 4 >= STREAM and inner >= TILE:
        layout |= 8
    for i in range(op.nentries):
        e = op.entries[i]
        if e.k0 == keys[0] and e.layout == layout and e.k1 == keys[1] and e.k2 == keys[2]:
            break
    else:
        e = miss(op, xs, n, given, keys[0], keys[1], keys[2], layout, k, classes)
    mask &= e.differentiable
    if mask and mode != NO_OUTPUT:
        v = vjp_of(op, e, mask, n)
        if mode == 1 and v is not None and 0 in v.needs:
            saved_target = (snapshot(<Tensor> given[0]),)
    # ---- arguments: operands, outputs, sizes, and strides unless every one is 0 or 1
    cdef int64_t[192] args
    cdef int[24] slots
    cdef int slot = 0
    cdef object x
    for i in range(n):
        x = <object> operands[i]
        slots[i] = -1
        if isinstance(x, Tensor):
            slots[i] = slot
            args[slot] = <int64_t> (<Tensor> x).ptr
        elif x is DEFAULT:
            continue
        else:
            write_slot(&args[slot], e.number_codes[i], x)
        slot += 1
    if nout > 1:
        made = []
    for j in range(nout):
        slots[n + j] = slot
        if given is not None:
            t = given[j]
            t.store.count += 1
        else:
            t = empty_strided_c(e.out_codes[j], nd, sizes, out_strides)
            if nout > 1:
                made.append(t)
        if j == 0:
            out = t
        args[slot] = <int64_t> t.ptr
        slot += 1
    for d in range(k):
        args[slot] = g.sizes[g.nd - k + d]
        slot += 1
    if k > 1 or strided:
        for i in range(total):
            if slots[i] >= 0:
                for d in range(k):
                    args[slot] = g.strides[i][g.nd - k + d]
                    slot += 1
    if inner and rows and repeat:
        if k == 1:
            extent, grain = inner, GRAIN
        elif strided:
            extent = rows // g.sizes[g.nd - 2] * ((g.sizes[g.nd - 2] + BAND - 1) // BAND) * ((inner + TILE - 1) // TILE)
            grain = max(1, GRAIN // (min(inner, <int64_t> TILE) * min(g.sizes[g.nd - 2], <int64_t> BAND)))
        else:
            extent = rows * ((inner + CHUNK - 1) // CHUNK)
            grain = max(1, GRAIN // min(inner, <int64_t> CHUNK))
        run_repeated(e, args, &g, slots, total, op.nout, n, k, repeat, extent, grain, made, given, out, operands)
    if v is not None:
        record_pointwise(op, v, xs, n, out, made, mode, saved_target, True)
    return out if made is None or given is not None else tuple(made)


cdef int run_repeated(Entry *e, int64_t *args, Geometry *g, int *slots, int total, int nout, int n, int k, int64_t repeat, int64_t extent, int64_t grain, list made, tuple given, Tensor out, PyObject **operands) except -1:
    """Launches once, or once for each index of the leading dimensions a kernel doesn't loop over."""
    cdef int64_t r, rest, at
    cdef int d, i, size
    cdef int64_t[24] base
    if repeat == 1:
        if extent <= grain:
            e.kernel(args, 0, extent)
        else:
            with nogil:
                fb_parallel_for(e.kernel, args, extent, grain)
        return 0
    for i in range(total):
        if slots[i] >= 0:
            base[i] = args[slots[i]]
    for r in range(repeat):
        for i in range(total):
            if slots[i] < 0:
                continue
            if i < n:
                size = ITEMSIZE[(<Tensor> <object> operands[i]).code]
            elif given is not None:
                size = ITEMSIZE[(<Tensor> given[i - n]).code]
            else:
                size = ITEMSIZE[(out if made is None else <Tensor> made[i - n]).code]
            rest = r
            at = 0
            for d in range(g.nd - k - 1, -1, -1):
                at += rest % g.sizes[d] * g.strides[i][d]
                rest //= g.sizes[d]
            args[slots[i]] = base[i] + at * size
        fb_parallel_for(e.kernel, args, extent, grain)
    return 0


# ---- copies
cdef Tensor copy_of(Tensor t):
    """A new contiguous copy, recorded like any op."""
    cdef PyObject* xs[1]
    cdef Tensor out
    if t.contig:
        xs[0] = <PyObject *> t
        return pointwise(COPY, xs, 1, None, 0)
    if not fb_grad_enabled or not requires_grad(t):
        out = empty(t.code, t.ndims, t.dims)
        xs[0] = <PyObject *> t
        return pointwise(COPY, xs, 1, (out,), NO_OUTPUT)
    return hooks["contiguous"](t)


cdef Tensor make_contiguous(Tensor t):
    return t if t.contig else copy_of(t)


cdef int copy_into(Tensor target, Tensor source) except -1:
    """target[...] = source, cast and broadcast, recorded as an in-place write."""
    hooks["copy_"](target, source)
    return 0


def plain_copy(Tensor target, Tensor source):
    """target[...] = source, off the tape."""
    cdef PyObject* xs[1]
    xs[0] = <PyObject *> source
    pointwise(COPY, xs, 1, (target,), NO_OUTPUT)


def clone_contiguous(Tensor t):
    """A contiguous copy, off the tape."""
    cdef PyObject* xs[1]
    cdef Tensor out = empty(t.code, t.ndims, t.dims)
    xs[0] = <PyObject *> t
    pointwise(COPY, xs, 1, (out,), NO_OUTPUT)
    return out


# ---- reductions
cdef class Reduction:
    """A reduction over dimensions: `definition` folds elements, the core finds the layout, splits and launches.

    A kernel sees its input as (outer, length, inner): 'row' kernels where inner is 1, 'column' kernels elsewhere;
    lengths over REDUCE_BLOCK are folded block by block ('partial') and then over the blocks ('final').
    """
    cdef readonly str name
    cdef readonly object definition
    cdef readonly int nout
    cdef readonly str __doc__
    cdef dict kernels

    def __init__(self, str name, definition, int nout, doc=None):
        self.name = name
        self.definition = definition
        self.nout = nout
        self.kernels = {}
        self.__doc__ = doc

    def __repr__(self):
        return f"<reduction {self.name}>"

    cdef tuple kernel(self, int code, int out_code, bint column, int stage):
        cdef int key = (code * 16 + out_code + 1) * 8 + column * 4 + stage
        found = self.kernels.get(key)
        if found is None:
            found = hooks["reduce_miss"](self, DTYPES[code], None if out_code < 0 else DTYPES[out_code], column, stage)
            self.kernels[key] = found
        return <tuple> found

    def __call__(self, Tensor x, dims=None, bint keepdim=False, dtype=None, numbers=()):
        """The reduction, off the tape: of every dimension, or of those in `dims`."""
        if fb_interpreters:
            return interpret(self, (x, dims, keepdim, dtype, numbers), {}, None, 0)
        found = reduce_tensor(self, x, dim_mask(x, dims, self.name), keepdim, -1 if dtype is None else dtype_code(dtype), numbers)
        return found


cdef uint64_t dim_mask(Tensor x, object dims, str name) except? 0xFFFFFFFFFFFFFFFF:
    """Bit d for every dimension to reduce; no dims means all."""
    cdef uint64_t mask = 0, bit
    if dims is None or (isinstance(dims, (tuple, list)) and len(dims) == 0):
        return ((<uint64_t> 1) << x.ndims) - 1 if x.ndims < 64 else <uint64_t> -2
    if PyLong_CheckExact(dims):
        return ((<uint64_t> 1) << wrap_dim(dims, x.ndims)) if x.ndims else (wrap_dim(dims, 0) * 0)
    for d in (dims if isinstance(dims, (tuple, list)) else (dims,)):
        bit = (<uint64_t> 1) << wrap_dim(d, x.ndims)
        if mask & bit:
            raise RuntimeError(f"{name}: dimension {d} appears twice in {dims}")
        mask |= bit
    return mask if x.ndims else 0


cdef object reduce_tensor(Reduction op, Tensor x, uint64_t mask, bint keepdim, int out_code, tuple numbers):
    cdef int64_t[64] sizes
    cdef int64_t[64] order
    cdef int64_t outer = 1, length = 1, inner = 1, blocks, chunks
    cdef int d, nd = 0, state = 0, kept = 0, i, slot
    cdef bint adjacent = True, column
    cdef Tensor src = x, t
    cdef list outs = [], parts = None
    cdef int64_t[32] args
    cdef tuple k
    for d in range(x.ndims):
        if mask >> d & 1:
            length *= x.dims[d]
            if keepdim:
                sizes[nd] = 1
                nd += 1
            if x.dims[d] != 1:
                if state == 2:
                    adjacent = False
                state = 1
        else:
            sizes[nd] = x.dims[d]
            nd += 1
            if x.dims[d] != 1:
                if state >= 1:
                    state = 2
                    inner *= x.dims[d]
                else:
                    outer *= x.dims[d]
    if not adjacent or not x.contig:
        # Kept dimensions first, reduced ones after them in their own order: the order of summation stays the same.
        for d in range(x.ndims):
            if not mask >> d & 1:
                order[kept] = d
                kept += 1
        i = kept
        for d in range(x.ndims):
            if mask >> d & 1:
                order[i] = d
                i += 1
        if adjacent:
            src = clone_contiguous(alias(x))
        else:
            src = clone_contiguous(permuted(alias(x), order))
            outer *= inner
            inner = 1
    column = inner != 1
    if length == 0:
        hooks["reduce_empty"](op, x.shape)
    blocks = (length + REDUCE_BLOCK - 1) // REDUCE_BLOCK
    chunks = (inner + PAGE - 1) // PAGE
    if outer * blocks * chunks < 4:
        chunks = (inner + COLUMNS - 1) // COLUMNS
    if blocks > 1:
        k = op.kernel(x.code, out_code, column, 1)
        parts = []
        args[0] = <int64_t> src.ptr
        slot = 1
        for code in k[1]:
            t = new_empty((outer, blocks, inner), DTYPES[code])
            parts.append(t)
            args[slot] = <int64_t> t.ptr
            slot += 1
        args[slot] = length
        args[slot + 1] = blocks
        args[slot + 2] = inner
        args[slot + 3] = chunks
        slot += 4
        slot = write_numbers(args, slot, numbers)
        run_kernel(<uint64_t> k[0], args, outer * blocks * chunks, 8 if not column else 1, outer * length * inner)
    k = op.kernel(x.code, out_code, column, 2 if blocks > 1 else 0)
    slot = 0
    if parts is None:
        args[0] = <int64_t> src.ptr
        slot = 1
    else:
        for t in parts:
            args[slot] = <int64_t> t.ptr
            slot += 1
    for code in k[1]:
        t = empty(code, nd, sizes)
        outs.append(t)
        args[slot] = <int64_t> t.ptr
        slot += 1
    args[slot] = blocks if parts is not None else length
    args[slot + 1] = length
    args[slot + 2] = inner
    args[slot + 3] = chunks
    slot += 4
    slot = write_numbers(args, slot, numbers)
    length = blocks if parts is not None else length
    if outer * inner:
        run_kernel(<uint64_t> k[0], args, outer * chunks, max(1, GRAIN // max(1, length * inner // chunks)), outer * length * inner)
    return outs[0] if op.nout == 1 else tuple(outs)


cdef class LinearReduction:
    """sum and mean: a Reduction whose gradient is spread evenly, recorded without a Python call."""
    cdef readonly str name
    cdef readonly Reduction reduction
    cdef readonly bint divides
    cdef readonly str __doc__
    cdef dict __dict__

    def __init__(self, Reduction reduction, bint divides, doc):
        self.name = reduction.name
        self.reduction = reduction
        self.divides = divides
        self.__doc__ = doc

    @property
    def __name__(self):
        return self.name

    def __repr__(self):
        return f"<op {self.name}>"

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def __call__(self, Tensor input, dim=None, bint keepdim=False, *, dtype=None, Tensor out=None):
        cdef int code = -1 if dtype is None else dtype_code(dtype), d
        cdef uint64_t mask
        cdef Tensor y
        cdef Node node
        cdef int64_t count = 1
        if fb_interpreters:
            y = interpret(self, (input, dim, keepdim), {} if dtype is None else {"dtype": dtype}, None, 0)
            return y if out is None else hooks["store"](out, y)
        if self.divides and CATEGORY[input.code if code < 0 else code] < 2:
            raise RuntimeError(f"{self.name}: takes floating or complex tensors, got {input.dtype}; use x.float(), or dtype=")
        mask = dim_mask(input, dim, self.name)
        y = reduce_tensor(self.reduction, input, mask, keepdim, code, ())
        if fb_grad_enabled and requires_grad(input) and CATEGORY[y.code] >= 2:
            node = new_node(SUM, None)
            node.edges = (edge_of(input),)
            if input.nr:
                node.nrs = (input.nr,)
            if self.divides:
                for d in range(input.ndims):
                    if mask >> d & 1:
                        count *= input.dims[d]
            node.info = (to_tuple(input.ndims, input.dims), mask, count if self.divides else None, input.code)
            y.node = node
        if out is not None:
            return hooks["store"](out, y)
        return y


cdef int write_numbers(int64_t *args, int slot, tuple numbers) except -1:
    for x in numbers:
        write_slot(&args[slot], F64 if isinstance(x, float) else I64, x)
        slot += 1
    return slot


cdef int run_kernel(uint64_t address, int64_t *args, int64_t extent, int64_t grain, int64_t work) except -1:
    cdef fb_kernel kernel = <fb_kernel> address
    if work < RELEASE:
        if extent:
            kernel(args, 0, extent)
    else:
        with nogil:
            fb_parallel_for(kernel, args, extent, grain)
    return 0


def launch(uint64_t address, args, int64_t extent, int64_t grain=1, int64_t work=RELEASE):
    """Runs a kernel: tensors pass their first element's address, ints an i64, floats an f64."""
    cdef int64_t[128] slots
    cdef int n = 0
    cdef Tensor t
    if fb_interpreters:
        interpret(LAUNCH, tuple([x for x in args if isinstance(x, Tensor)]), {}, None, 0)
    if len(args) > 128:
        raise ValueError(f"launch: at most 128 arguments, got {len(args)}")
    for x in args:
        if isinstance(x, Tensor):
            slots[n] = <int64_t> (<Tensor> x).ptr
        else:
            write_slot(&slots[n], F64 if isinstance(x, float) else I64, x)
        n += 1
    run_kernel(address, slots, extent, grain, work)


# ---- operations in Python
@cython.final
cdef class Untaped:
    """Stands in for a Node where nothing is recorded: takes what an operation wants saved, and forgets it."""

    def save(self, *tensors):
        pass

    def __setattr__(self, name, value):
        pass


UNTAPED = Untaped()


cdef class Primitive:
    """An operation written in Python: `forward(ctx, *args)` computes, `vjp(ctx, *gradients)` goes backward.

    Positional tensor arguments, and tensors in a positional list, are what gradients are returned for, in order.
    `writes` says that argument 0 is written in place and returned.
    """
    cdef readonly str name
    cdef readonly object forward
    cdef readonly object vjp
    cdef readonly bint writes
    cdef readonly str __doc__
    cdef str node_name
    cdef dict __dict__

    def __init__(self, str name, forward, vjp, bint writes=False, doc=None):
        self.name = name
        self.forward = forward
        self.vjp = vjp
        self.writes = writes
        self.__doc__ = doc
        self.node_name = name.title().replace("_", "") + "Backward0"

    @property
    def __name__(self):
        return self.name

    @property
    def __signature__(self):
        return hooks["signature"](self.forward)

    def __repr__(self):
        return f"<op {self.name}>"

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def __call__(self, *args, **kwargs):
        if fb_interpreters:
            return interpret(self, args, kwargs, (args[0],) if self.writes else None, 0)
        if not fb_grad_enabled or self.vjp is None or not any_requires_grad(args):
            if self.writes:
                if (<Tensor?> args[0]).unrecorded or (<Tensor> args[0]).store.inference:
                    check_inplace(<Tensor> args[0], self.name, False)
                (<Tensor> args[0]).store.count += 1
            return self.forward(UNTAPED, *args, **kwargs)
        if self.writes:
            check_inplace(<Tensor?> args[0], self.name, True)
        return taped_call(new_node(PYTHON, self.node_name), self.forward, self.vjp, args, kwargs, self.writes)


cdef bint any_requires_grad(tuple args):
    for x in args:
        if isinstance(x, Tensor):
            if requires_grad(<Tensor> x):
                return True
        elif isinstance(x, (list, tuple)):
            for y in x:
                if isinstance(y, Tensor) and requires_grad(<Tensor> y):
                    return True
    return False


def taped_call(Node node, forward, vjp, tuple args, dict kwargs, bint writes):
    """Runs forward(node, *args) unrecorded and puts the node behind its differentiable outputs."""
    global fb_grad_enabled
    cdef list edges = [], nrs = []
    cdef bint any_nr = False
    cdef int was = fb_grad_enabled
    cdef Tensor t
    for x in args:
        for y in (x if isinstance(x, (list, tuple)) else (x,)):
            if isinstance(y, Tensor):
                edges.append(edge_of(<Tensor> y))
                nrs.append((<Tensor> y).nr)
                any_nr = any_nr or (<Tensor> y).nr != 0
    node.edges = tuple(edges)
    if any_nr:
        node.nrs = tuple(nrs)
    node.vjp = vjp
    fb_grad_enabled = 0
    try:
        result = forward(node, *args, **kwargs)
    finally:
        fb_grad_enabled = was
    if writes:
        t = args[0]
        t.store.count += 1
        own_outputs(node, (t,))
        rebase(t, node, 0)
        return result
    cdef tuple outs = result if isinstance(result, tuple) else (result,)
    node.nout = len(outs)
    own_outputs(node, outs)
    if node.nout > 1:
        node.outputs = tuple([(o.shape, o.dtype) if isinstance(o, Tensor) else None for o in outs])
    for nr, o in enumerate(outs):
        if isinstance(o, Tensor) and CATEGORY[(<Tensor> o).code] >= 2:
            t = o
            t.node = node
            t.nr = nr
    return result


def output_infos(Node node):
    return node.outputs


def set_output(Node node, Tensor t, int nr):
    """Makes t output nr of node (custom Functions place their own outputs)."""
    t.node = node
    t.nr = nr


def rebase_history(Tensor t, Node node, int self_edge):
    """t was written in place by what node records (custom Functions that mark an input dirty)."""
    rebase(t, node, self_edge)


def make_node(kind, str name):
    """A node of a Python class derived from Node, numbered now."""
    global SEQUENCE
    cdef Node n = kind.__new__(kind)
    SEQUENCE += 2
    n.seq = SEQUENCE
    n.kind = PYTHON
    n.label = name
    n.nout = 1
    if fb_anomaly:
        n.meta = {"traceback": hooks["traceback"]()}
    return n


def apply_function(Node ctx, forward, vjp, tuple tensors):
    """Runs a custom Function: `ctx.dirty`, `ctx.undifferentiable` and `ctx.to_save` say how its outputs are recorded."""
    global fb_grad_enabled
    cdef int was = fb_grad_enabled
    cdef bint record = was and any_requires_grad(tensors)
    cdef Tensor t
    ctx.edges = tuple([edge_of(<Tensor> x) if record else None for x in tensors])
    ctx.nrs = tuple([(<Tensor> x).nr for x in tensors])
    ctx.vjp = vjp
    before = [(<Tensor> x).store.count for x in tensors]
    fb_grad_enabled = 0
    try:
        result = forward(ctx, *tensors)
    finally:
        fb_grad_enabled = was
    if not record:
        return result
    cdef bint single = not isinstance(result, tuple)
    cdef list outs = [result] if single else list(result)
    dirty = [id(x) for x in ctx.dirty]
    skip = [id(x) for x in ctx.undifferentiable]
    given = {id(x): i for i, x in enumerate(tensors)}
    for x in ctx.dirty:
        if id(x) not in given:
            raise RuntimeError(f"{ctx.node_name()}: mark_dirty takes inputs that forward changed in place, got another tensor")
        check_inplace(<Tensor> x, ctx.node_name(), True)
        if before[given[id(x)]] == (<Tensor> x).store.count:
            (<Tensor> x).store.count += 1
    for i, o in enumerate(outs):
        if isinstance(o, Tensor) and id(o) in given and id(o) not in dirty:
            outs[i] = alias(<Tensor> o)  # an input returned as it is becomes an output of its own
    ctx.nout = len(outs)
    saved = getattr(ctx, "to_save", None)
    if saved is not None:
        ctx.to_save = None
        returned = {id(r): i for i, r in enumerate([result] if single else result) if id(r) not in given}
        save_tensors(ctx, tuple([outs[returned[id(x)]] if id(x) in returned else x for x in saved]))
    own_outputs(ctx, tuple(outs))
    ctx.outputs = tuple([(o.shape, o.dtype) if isinstance(o, Tensor) else None for o in outs])
    for nr, o in enumerate(outs):
        if not isinstance(o, Tensor) or id(o) in skip or CATEGORY[(<Tensor> o).code] < 2:
            continue
        t = o
        if id(o) in dirty:
            rebase(t, ctx, given[id(o)])
            if t.base is None:
                t.nr = nr
        else:
            t.node = ctx
            t.nr = nr
    return outs[0] if single else tuple(outs)


# ---- optimizer steps
def update_many(Op op, outputs, operands, tuple numbers):
    """op over lists of tensors, element by element of the lists, written into lists of tensors; off the tape."""
    cdef PyObject* xs[24]
    cdef Py_ssize_t i, j, n = len(operands[0]), k = len(operands)
    cdef list ins = [list(o) for o in operands], outs = [list(o) for o in outputs]
    cdef tuple given
    for j in range(len(numbers)):
        xs[k + j] = <PyObject *> PyTuple_GET_ITEM(numbers, j)
    for i in range(n):
        for j in range(k):
            xs[j] = <PyObject *> (<list> ins[j])[i]
        given = tuple([(<list> o)[i] for o in outs])
        pointwise(op, xs, op.nargs, given, NO_OUTPUT)


def count_up(steps):
    """Adds 1 to each 0-dimensional float32 tensor; returns the new values."""
    cdef Tensor t
    cdef list out = []
    for t in steps:
        if t.code != F32 or t.count != 1:
            raise TypeError(f"step counts must be float32 tensors of one element, got {t.dtype} {list(t.shape)}")
        if fb_interpreters:
            operate_into(ADD, t, 1.0)
        else:
            (<float *> t.ptr)[0] += 1
            t.store.count += 1
        out.append(<double> (<float *> t.ptr)[0])
    return out
