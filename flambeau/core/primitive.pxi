# Operations written in Python: kernels launched by hand, Primitives with a vjp, custom Functions, optimizer steps.

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
    `writes` says that argument 0 is written in place and returned. `direct`, if there is one, is asked with positional
    arguments in place of forward where nothing is recorded, and may answer NotImplemented.
    """
    cdef readonly str name
    cdef readonly object forward
    cdef readonly object vjp
    cdef readonly bint writes
    cdef readonly object direct
    cdef readonly str __doc__
    cdef str node_name
    cdef dict __dict__

    def __init__(self, str name, forward, vjp, bint writes=False, doc=None, direct=None):
        self.direct = direct
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
        if kwargs and "out" in kwargs:
            out = kwargs.pop("out")
            result = self(*args, **kwargs)
            return result if out is None else hooks["store"](out, result)
        if sparse_met and any_sparse(args):
            return sparsely(self, args, kwargs, (args[0],) if self.writes else None, 0)
        if fb_interpreters:
            return interpret(self, args, kwargs, (args[0],) if self.writes else None, 0)
        if not fb_grad_enabled or self.vjp is None or not any_requires_grad(args):
            if self.writes:
                if (<Tensor?> args[0]).unrecorded or (<Tensor> args[0]).store.inference:
                    check_inplace(<Tensor> args[0], self.name, False)
                (<Tensor> args[0]).store.count += 1
            if self.direct is not None and not kwargs and not fb_anomaly:
                found = PyObject_Call(self.direct, args, NULL)
                if found is not NotImplemented:
                    return found
            return PyObject_Call(self.forward, after(UNTAPED, args), <PyObject *> kwargs if kwargs else NULL)
        if self.writes:
            check_inplace(<Tensor?> args[0], self.name, True)
        return taped_call(new_node(PYTHON, self.node_name), self.forward, self.vjp, args, kwargs, self.writes)


cdef extern from "Python.h":
    object PyObject_Call(object function, object args, PyObject *kwargs)


cdef inline tuple after(object first, tuple rest):
    cdef Py_ssize_t i, n = PyTuple_GET_SIZE(rest)
    cdef tuple out = PyTuple_New(n + 1)
    Py_INCREF(first)
    PyTuple_SET_ITEM(out, 0, first)
    for i in range(n):
        x = <object> PyTuple_GET_ITEM(rest, i)
        Py_INCREF(x)
        PyTuple_SET_ITEM(out, i + 1, x)
    return out


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


cdef int add_edge(Tensor t, list edges, list nrs) except -1:
    """One more input; `nrs` stays empty until one is not the first output of its node."""
    if t.nr:
        nrs.extend([0] * (len(edges) - len(nrs)))
        nrs.append(t.nr)
    edges.append(edge_of(t))
    return 0


def taped_call(Node node, forward, vjp, tuple args, dict kwargs, bint writes):
    """Runs forward(node, *args) unrecorded and puts the node behind its differentiable outputs."""
    global fb_grad_enabled
    cdef list edges = [], nrs = []
    cdef int was = fb_grad_enabled
    cdef Tensor t
    cdef Py_ssize_t nr
    for x in args:
        if isinstance(x, Tensor):
            add_edge(<Tensor> x, edges, nrs)
        elif isinstance(x, (list, tuple)):
            for y in x:
                if isinstance(y, Tensor):
                    add_edge(<Tensor> y, edges, nrs)
    node.edges = tuple(edges)
    if nrs:
        node.nrs = tuple(nrs + [0] * (len(edges) - len(nrs)))
    node.vjp = vjp
    fb_grad_enabled = 0
    try:
        result = PyObject_Call(forward, after(node, args), <PyObject *> kwargs if kwargs else NULL)
    finally:
        fb_grad_enabled = was
    if type(result) is Tensor and not writes:
        t = result
        if node.saved is not None:
            own_outputs(node, (t,))
            if fb_saved_hooks:
                pack_saved(node)
        if CATEGORY[t.code] >= 2:
            t.node = node
            t.nr = 0
        return result
    if writes:
        t = args[0]
        t.store.count += 1
        own_outputs(node, (t,))
        if fb_saved_hooks:
            pack_saved(node)
        rebase(t, node, 0)
        return result
    cdef tuple outs = result if isinstance(result, tuple) else (result,)
    node.nout = len(outs)
    own_outputs(node, outs)
    if fb_saved_hooks:
        pack_saved(node)
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
    """Runs a custom Function: ctx says which inputs are written, which outputs have no gradient, and what to save."""
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
    dirty = [id(x) for x in ctx.dirty_tensors]
    skip = [id(x) for x in ctx.non_differentiable]
    given = {id(x): i for i, x in enumerate(tensors)}
    for x in ctx.dirty_tensors:
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
    if fb_saved_hooks:
        pack_saved(ctx)
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
cdef struct Share:
    int64_t end       # of this tensor's elements in those of all tensors, each counted up to whole cache lines
    int64_t count

cdef enum:
    LINE = 64         # elements, a multiple of any vector: what a piece of a tensor begins at


cdef void run_pieces(const int64_t *args, int64_t begin, int64_t end) noexcept nogil:
    """Elements [begin, end) of all tensors, tensor by tensor: a kernel whose iterations are those of many calls."""
    cdef fb_kernel kernel = <fb_kernel> args[0]
    cdef const Share *shares = <const Share *> args[1]
    cdef const int64_t *slots = <const int64_t *> args[2]
    cdef int64_t width = args[3], low = 0, high = args[4], middle, start, first, last
    while low < high:
        middle = (low + high) // 2
        if shares[middle].end <= begin:
            low = middle + 1
        else:
            high = middle
    while begin < end:
        start = shares[low - 1].end if low else 0
        first = begin - start
        last = min(end - start, shares[low].count)
        if first < last:
            kernel(slots + low * width, first, last)
        begin = shares[low].end
        low += 1


cdef bint alike(PyObject **ts, int n) except -1:
    """Whether n tensors are of one dtype and have the same dense layout, so that element i of each is i further on."""
    cdef int64_t[64] strides
    cdef Tensor t = <Tensor?> <object> ts[0], u
    cdef int i
    if t.sparse or t.ndims and not t.contig and not dense_strides(t, strides):
        return False
    for i in range(1, n):
        u = <Tensor?> <object> ts[i]
        if u.code != t.code or u.sparse or u.ndims != t.ndims or memcmp(u.dims, t.dims, 2 * t.ndims * sizeof(int64_t)):
            return False
    return True


def update_many(Op op, outputs, operands, tuple numbers):
    """op over lists of tensors, element by element of the lists, written into lists of tensors; off the tape.

    Tensors of one dtype whose operands lie alike are one parallel loop over the elements of all of them.
    """
    cdef list lists = [list(o) for o in (*operands, *outputs)]
    cdef list left = list(range(len(lists[0]))), later
    cdef int k = len(operands), j, total = len(lists)
    cdef PyObject *ts[24]
    cdef Py_ssize_t i
    while left:
        later = []
        if fb_interpreters or not update_alike(op, lists, k, numbers, left, later):
            i = left[0]
            for j in range(k):
                ts[j] = <PyObject *> (<list> lists[j])[i]
            for j in range(len(numbers)):
                ts[k + j] = <PyObject *> PyTuple_GET_ITEM(numbers, j)
            pointwise(op, ts, op.nargs, tuple([(<list> lists[j])[i] for j in range(k, total)]), NO_OUTPUT)
            later = left[1:]
        left = later


cdef bint update_alike(Op op, list lists, int k, tuple numbers, list chosen, list later) except -1:
    """Does those of the chosen whose dtype is the first one's, and notes the others; False if the first isn't `alike`."""
    cdef int total = len(lists), n = op.nargs, width = n + total - k + 1, j, q, code
    cdef Py_ssize_t rows = 0, i
    cdef uint64_t[3] keys
    cdef uint64_t layout = 1
    cdef int8_t[24] classes
    cdef PyObject *ts[24]
    cdef PyObject *xs[24]
    cdef int64_t[24] constants
    cdef int64_t[5] args
    cdef int64_t end = 0
    cdef Entry *e = NULL
    cdef Tensor t
    cdef bint fits
    cdef object x
    cdef int64_t *slots
    cdef Share *shares
    for j in range(total):
        ts[j] = <PyObject *> (<list> lists[j])[chosen[0]]
    if not alike(ts, total):
        return False
    code = (<Tensor> <object> ts[0]).code
    keys[0] = <uint64_t> (default_dtype - F32 & 3) << 60
    keys[1] = keys[2] = 0
    for j in range(n):
        x = <object> (ts[j] if j < k else PyTuple_GET_ITEM(numbers, j - k))
        xs[j] = <PyObject *> x
        classes[j] = j < k
        layout |= (<uint64_t> classes[j]) << (4 + 2 * j)
        keys[j // 10] |= (<uint64_t> (code if j < k else number_key(op, x))) << (6 * (j % 10))
    for j in range(total - k):
        classes[n + j] = 1
        layout |= (<uint64_t> 1) << (4 + 2 * (n + j))
        if j < 3:
            layout |= (<uint64_t> (code + 1)) << (52 + 4 * j)
    for j in range(op.nentries):
        e = op.entries[j]
        if e.k0 == keys[0] and e.layout == layout and e.k1 == keys[1] and e.k2 == keys[2]:
            break
    else:
        given = tuple([<object> ts[j] for j in range(k, total)])
        e = miss(op, xs, n, given, keys[0], keys[1], keys[2], layout, 1, classes)
    for j in range(k, n):
        write_slot(&constants[j], e.number_codes[j], <object> xs[j])
    slots = <int64_t *> malloc(len(chosen) * width * sizeof(int64_t))
    shares = <Share *> malloc(len(chosen) * sizeof(Share))
    try:
        if slots == NULL or shares == NULL:
            raise MemoryError()
        for i in chosen:
            for j in range(total):
                ts[j] = <PyObject *> (<list> lists[j])[i]
            t = <Tensor> <object> ts[0]
            fits = t.code == code and alike(ts, total)
            for j in range(k, total):
                for q in range(k):
                    # Written over an operand means over that operand's own elements.
                    if fits and ts[j] != ts[q]:
                        fits = not ranges_overlap(<Tensor> <object> ts[j], <Tensor> <object> ts[q]) or (
                            same_elements(<Tensor> <object> ts[j], <Tensor> <object> ts[q]))
            if not fits:
                later.append(i)
                continue
            for j in range(n):
                slots[rows * width + j] = <int64_t> (<Tensor> <object> ts[j]).ptr if j < k else constants[j]
            for j in range(total - k):
                t = <Tensor> <object> ts[k + j]
                t.store.count += 1
                slots[rows * width + n + j] = <int64_t> t.ptr
            slots[rows * width + width - 1] = t.count
            end += (t.count + LINE - 1) // LINE * LINE
            shares[rows].end = end
            shares[rows].count = t.count
            rows += 1
        args[0], args[1], args[2], args[3], args[4] = <int64_t> e.kernel, <int64_t> shares, <int64_t> slots, width, rows
        with nogil:
            fb_parallel_for(run_pieces, args, end, GRAIN)
    finally:
        free(slots)
        free(shares)
    return rows > 0


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
