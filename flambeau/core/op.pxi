# Op: an operation as it is called, and the kernels it remembers.
#
# Kernels are remembered by what they depend on: the operands' dtypes and kinds, and the layout class (how many
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
    PyObject *refuse  # called with the op's name and operands before a launch, where it may have to raise

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
            Py_XDECREF(self.entries[i].refuse)
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
        for i in range(min(self.nin, self.nargs)):
            if <object> xs[i] is DEFAULT:
                raise TypeError(f"{self.name}_: argument {self.parameters[i]!r} is missing")
        return pointwise(self, xs, self.nargs, (target,), 1)


cdef class InplaceOp:
    """The in-place form of an Op, as a method of Tensor: x.add_(y)."""
    cdef readonly Op op
    cdef readonly str __name__

    def __init__(self, Op op):
        self.op = op
        self.__name__ = op.name + "_"

    @property
    def __doc__(self):
        return hooks["in_place_doc"](self.op)

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
