# Interpreters: while one is active in this thread, an operation becomes a Call and goes to Python before it runs.
#
# What arrives there: an Op, Primitive, LinearReduction or Reduction; a View; or an Effect, which is no operation but
# something an interpreter that follows values through memory has to know of. See core/interpreters.py.

@cython.final
cdef class View:
    """The kind of a view, by name: reshape, permute, expand, select, _slice, diagonal, …"""
    cdef readonly str name

    def __init__(self, str name):
        self.name = name

    def __repr__(self):
        return f"<view {self.name}>"


@cython.final
cdef class Effect:
    """What happens beside operations: a kernel launched by hand, memory lent to NumPy, elements read by Python."""
    cdef readonly str name

    def __init__(self, str name):
        self.name = name

    def __repr__(self):
        return f"<effect {self.name}>"


LAUNCH = Effect("launch")  # args: the tensors a kernel reads or writes
LEND = Effect("lend")      # args: the tensor
READ = Effect("read")      # args: the tensor whose elements become Python numbers
CHECK = Effect("check")    # args: the tensor whose elements decide whether an argument is valid; gives all that it stands for
DRAW = Effect("draw")      # args: the tensor that random numbers will fill; gives the one to fill in its stead
cdef dict VIEWS = {}

cdef enum:
    VIEW_DETACH = 64  # the same tensor off the tape
    VIEW_APART = 65   # the same memory behind a Storage of its own, and so without what is known of the other


@cython.final
cdef class Call:
    """An operation about to run: `op` of `args` and `kwargs`; `writes` are the tensors it overwrites, or None.

    Called, it runs as whatever interpreters are active then understand it, in the end eagerly.
    """
    cdef readonly object op
    cdef readonly tuple args
    cdef readonly dict kwargs
    cdef readonly tuple writes
    cdef readonly int mode  # of a pointwise operation that writes: 1 where that is recorded
    cdef tuple geometry

    def __call__(self):
        cdef PyObject* xs[24]
        cdef Py_ssize_t i
        if self.geometry is not None:
            return view_again(self)
        if isinstance(self.op, Op):
            for i in range(PyTuple_GET_SIZE(self.args)):
                xs[i] = <PyObject *> PyTuple_GET_ITEM(self.args, i)
            return pointwise(<Op> self.op, xs, <int> PyTuple_GET_SIZE(self.args), self.writes, self.mode)
        if isinstance(self.op, Effect):
            return announce(<Effect> self.op, *self.args)
        return self.op(*self.args, **self.kwargs)


cdef object interpret(object op, tuple args, dict kwargs, tuple writes, int mode):
    if sparse_met and any_sparse(args):
        return sparsely(op, args, kwargs, writes, mode)
    cdef Call call = Call.__new__(Call)
    call.op, call.args, call.kwargs, call.writes, call.mode = op, args, kwargs, writes, mode
    return hooks["interpret"](call)


def announce(Effect effect, *tensors):
    """Tells interpreters of an effect; what they put in place of the first tensor, or that itself."""
    return interpret(effect, tensors, {}, None, 0) if fb_interpreters else tensors[0] if tensors else None


cdef Tensor interpret_view(Tensor self, int64_t offset, int nd, const int64_t *sizes, const int64_t *strides, int kind, object how):
    cdef Call call = Call.__new__(Call)
    cdef str name
    shape, steps = to_tuple(nd, sizes), to_tuple(nd, strides)
    call.geometry = (offset, shape, steps, kind, how)
    if kind == VIEW_DETACH or kind == VIEW_APART:
        name, args = "detach" if kind == VIEW_DETACH else "_apart", ()
    elif kind == VIEW_PART:
        # A part without a name is described by where its elements are.
        name, args = how if how is not None else (
            "_part_of_base", (shape, steps, offset // ITEMSIZE[self.code], to_tuple(self.ndims, self.dims + self.ndims)))
    else:
        name = "reshape" if kind == VIEW_RESHAPE else "permute" if kind == VIEW_PERMUTE else "expand"
        args = (how if kind == VIEW_PERMUTE else shape,)
    if name not in VIEWS:
        VIEWS[name] = View(name)
    call.op, call.args, call.kwargs = VIEWS[name], (self, *args), {}
    return hooks["interpret"](call)


cdef Tensor view_again(Call call):
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef Tensor base = call.args[0]
    offset, shape, steps, kind, how = call.geometry
    if kind == VIEW_DETACH:
        return base.detach()
    if kind == VIEW_APART:
        return apart(base)
    parse_shape((shape,), sizes)
    parse_shape((steps,), strides)
    return make_view(base, base.ptr + <int64_t> offset, <int> len(shape), sizes, strides, kind, how)


def apart(Tensor t):
    """t as a tensor that interpreters tell from t: the same memory behind another Storage, recorded as a view is."""
    cdef Tensor out
    cdef Node n
    cdef object edge
    if fb_interpreters:
        return interpret_view(t, 0, t.ndims, t.dims, t.dims + t.ndims, VIEW_APART, None)
    out = behind(t)
    edge = edge_of(t) if fb_grad_enabled else None
    if edge is not None:
        n = new_node(VIEW_RESHAPE, None)
        n.edges = (edge,)
        if t.nr:
            n.nrs = (t.nr,)
        n.info = size_tuple(t.ndims, t.dims)
        out.node = n
    return out


def behind(Tensor t):
    """t's memory behind another Storage, off the tape, which no interpreter hears of."""
    return over(borrow_storage(t.store.ptr, t.store.total, t.store), t.ptr, t.code, t.ndims, t.dims, t.dims + t.ndims)


def same(Tensor t):
    """Another handle of t, off the tape, which no interpreter hears of."""
    return alias(t)


def interpret_whole(op, tuple args):
    """Hands a custom Function to the innermost interpreter as one operation."""
    return interpret(op, args, {}, None, 0)


def interpreting():
    """Whether an Interpreter is active in this thread."""
    return fb_interpreters != 0


def change_interpreters(int by):
    """Counts active Interpreters up or down; while there are any, operations leave the warm path."""
    global fb_interpreters
    fb_interpreters += by
