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
            return self.forward(UNTAPED, *args, **kwargs) if kwargs else self.forward(UNTAPED, *args)
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
        result = forward(node, *args, **kwargs) if kwargs else forward(node, *args)
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
