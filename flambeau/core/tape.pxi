# The tape: Nodes that record what an operation saved, and the engine that walks them backwards without recursion.
#
# An edge points to the Node that made an input, or to the input itself if that is a leaf. Nodes are numbered in the order
# of their making, so taking the highest number first is a topological order, and sums of gradients have one order.

cdef enum:
    VIEW_RESHAPE = 0    # backward: reshape to the input's shape
    VIEW_PERMUTE = 1    # backward: the inverse permutation
    VIEW_EXPAND = 2     # backward: sum over what was stretched
    VIEW_PART = 3       # backward: zeros with the gradient written into the same part
    POINTWISE = 4       # backward: another pointwise op
    PYTHON = 5          # backward: a Python function (node, *gradients)
    COPY_SLICES = 6     # an in-place write through a view, seen from the base
    SUM = 7             # backward: the gradient, divided by the count for a mean, over all that was summed
    INLINE_SAVED = 6

cdef uint64_t SEQUENCE = 0
cdef uint64_t RUN = 0


cdef class Node:
    """One recorded operation. Python-level operations get it as `ctx`: attributes may be set on it freely."""
    cdef int kind
    cdef readonly uint64_t seq
    cdef object label           # what errors and repr call it
    cdef tuple edges
    cdef tuple nrs              # output numbers of the edges' nodes; None: all zero
    cdef object vjp             # Vjp for POINTWISE, function for PYTHON, inner Node for COPY_SLICES
    cdef object info            # shapes to sum gradients to, or what a view needs
    cdef tuple saved
    cdef uint32_t *versions
    cdef uint32_t[6] inline_versions
    cdef uint64_t own           # bit i: saved[i] is one of this node's outputs
    cdef bint freed
    cdef int nout
    cdef object outputs         # (shape, dtype) of each output of a PYTHON node with several
    cdef dict meta              # hooks and the forward traceback, where there are any
    # while an engine run is on its way
    cdef uint64_t run
    cdef Tensor g0
    cdef dict gs
    cdef dict __dict__
    cdef object __weakref__

    def __dealloc__(self):
        if self.versions != NULL and self.versions != &self.inline_versions[0]:
            free(self.versions)

    def save(self, *tensors):
        """Keeps tensors for the backward pass; an in-place change of one before then is an error there."""
        save_tensors(self, tensors)

    @property
    def saved(self):
        """The saved tensors (or numbers), checked against in-place changes."""
        return unpack(self)

    @property
    def saved_tensors(self):
        return unpack(self)

    @property
    def needs_input_grad(self):
        return tuple([e is not None for e in self.edges])

    @property
    def next_functions(self):
        nrs = self.nrs if self.nrs is not None else (0,) * len(self.edges)
        return tuple([(hooks["accumulator"](e) if isinstance(e, Tensor) else e, nr)
                      for e, nr in zip(self.edges, nrs)])

    @property
    def metadata(self):
        if self.meta is None:
            self.meta = {}
        return self.meta

    def register_hook(self, hook):
        """Calls hook(grad_inputs, grad_outputs) after this node's backward; may replace grad_inputs."""
        return hooks["add_hook"](self.metadata.setdefault("post", {}), hook)

    def register_prehook(self, hook):
        """Calls hook(grad_outputs) before this node's backward; may replace them."""
        return hooks["add_hook"](self.metadata.setdefault("pre", {}), hook)

    def __repr__(self):
        return f"<{self.node_name()} object at {<uint64_t> <PyObject *> self:#x}>"

    def name(self):
        """The node's name, such as MulBackward0."""
        return self.node_name()

    def node_name(self):
        if self.label is not None:
            return str(self.label)
        return {VIEW_RESHAPE: "ViewBackward0", VIEW_PERMUTE: "PermuteBackward0", VIEW_EXPAND: "ExpandBackward0",
                VIEW_PART: "PartBackward0", COPY_SLICES: "CopySlices", SUM: "SumBackward0"}.get(self.kind, "Node")


cdef inline Node new_node(int kind, object name):
    global SEQUENCE
    cdef Node n = Node.__new__(Node)
    SEQUENCE += 2
    n.seq = SEQUENCE
    n.kind = kind
    n.label = name
    n.nout = 1
    if fb_anomaly:
        n.meta = {"traceback": hooks["traceback"]()}
    return n


cdef inline bint requires_grad(Tensor t):
    return t.wants_grad or t.node is not None or (t.base is not None and current_node(t) is not None)


cdef inline Node current_node(Tensor t):
    if t.base is not None and t.view_version != t.store.count:
        refresh_view(t)
    return t.node


cdef int refresh_view(Tensor t) except -1:
    """The storage was written after t was made: t's history is now a part of its base's."""
    cdef Tensor base = t.base
    cdef Node n
    if not t.unrecorded and (base.wants_grad or base.node is not None):
        n = new_node(VIEW_PART, None)
        # Whoever reads the view may have its number already; all of those are above the base's, and two apart.
        n.seq = base.node.seq + 1 if base.node is not None else 1
        n.edges = (edge_of(base),)
        n.nrs = (base.nr,) if base.nr else None
        n.info = (("_part_of_base", relative_geometry(t, base)), size_tuple(base.ndims, base.dims))
        t.node = n
        t.nr = 0
    t.view_version = t.store.count
    return 0


cdef tuple relative_geometry(Tensor t, Tensor base):
    return (to_tuple(t.ndims, t.dims), to_tuple(t.ndims, t.dims + t.ndims), (t.ptr - base.ptr) // ITEMSIZE[base.code],
            to_tuple(base.ndims, base.dims + base.ndims))


cdef inline object edge_of(Tensor t):
    """Where a gradient for t goes: its Node, t itself if it is a leaf that wants one, else None."""
    cdef Node n = current_node(t)
    return n if n is not None else t if t.wants_grad else None


cdef int set_requires_grad(Tensor t, bint value) except -1:
    if current_node(t) is not None:
        if not value:
            raise RuntimeError("requires_grad: only leaves can be switched off; use x.detach()")
        return 0
    if value and t.store.inference and not fb_inference:
        raise RuntimeError("requires_grad: a tensor made in inference mode can't require grad outside it; use clone() first")
    if value and CATEGORY[t.code] < 2:
        raise RuntimeError(
            f"requires_grad: only floating and complex tensors have gradients, got {DTYPES[t.code]}; use x.float()"
        )
    t.wants_grad = value
    return 0


cdef int record_view(Tensor out, Tensor self, int kind, object how) except -1:
    cdef Node n
    cdef object edge = edge_of(self)
    out.base = self.base if self.base is not None else self
    out.view_version = self.store.count
    if edge is None:
        return 0
    n = new_node(kind, None)
    n.edges = (edge,)
    if self.nr:
        n.nrs = (self.nr,)
    if kind == VIEW_PERMUTE:
        n.info = how
    elif kind == VIEW_PART:
        n.info = (how, size_tuple(self.ndims, self.dims))
    else:
        n.info = size_tuple(self.ndims, self.dims)
    out.node = n
    return 0


cdef int save_tensors(Node n, tuple tensors) except -1:
    cdef Py_ssize_t i, k = PyTuple_GET_SIZE(tensors)
    n.saved = tensors
    if k <= INLINE_SAVED:
        n.versions = &n.inline_versions[0]
    else:
        n.versions = <uint32_t *> malloc(k * sizeof(uint32_t))
        if n.versions == NULL:
            raise MemoryError()
    for i in range(k):
        x = tensors[i]
        if isinstance(x, Tensor):
            if (<Tensor> x).store.inference:
                raise RuntimeError(
                    f"{n.node_name()}: a tensor made in inference mode can't be saved for backward; use clone() outside "
                    "inference mode, or no_grad() instead of it"
                )
            n.versions[i] = (<Tensor> x).store.count
    return 0


cdef int own_outputs(Node n, tuple outputs) except -1:
    """A saved output is held as an alias without history, or node and output would keep each other alive."""
    cdef Py_ssize_t i
    if n.saved is None:
        return 0
    cdef list items = None
    for i in range(min(PyTuple_GET_SIZE(n.saved), <Py_ssize_t> 64)):
        x = n.saved[i]
        for nr, out in enumerate(outputs):
            if x is out and x is not None:
                if items is None:
                    items = list(n.saved)
                items[i] = (alias(<Tensor> out), nr) if nr else alias(<Tensor> out)
                n.own |= (<uint64_t> 1) << i
    if items is not None:
        n.saved = tuple(items)
    return 0


cdef tuple unpack(Node n):
    cdef Py_ssize_t i
    cdef Tensor t
    cdef list items = None
    if n.freed:
        raise RuntimeError(
            f"backward: what {n.node_name()} saved was freed by an earlier backward through this graph; "
            "pass retain_graph=True to that one to go through it again"
        )
    if n.saved is None:
        return ()
    for i in range(PyTuple_GET_SIZE(n.saved)):
        x = n.saved[i]
        nr = 0
        if i < 64 and n.own >> i & 1 and type(x) is tuple:
            x, nr = x
        if isinstance(x, Tensor):
            t = x
            if t.store.count != n.versions[i]:
                raise RuntimeError(
                    f"backward: a tensor that {n.node_name()} saved was modified by an in-place operation: "
                    f"{DTYPES[t.code].name} {list(t.shape)} is at version {t.store.count}, expected {n.versions[i]}; "
                    "use the out-of-place form or clone() first (flambeau.autograd.set_detect_anomaly(True) shows the line)"
                )
            if i < 64 and n.own >> i & 1:
                t = alias(t)
                if fb_grad_enabled:
                    t.node = n
                    t.nr = nr
                if items is None:
                    items = list(n.saved)
                items[i] = t
    return n.saved if items is None else tuple(items)


# ---- in-place operations
cdef int check_inplace(Tensor t, str name, bint recording) except -1:
    """Before an in-place write that the tape would have to record, or that its leaves forbid."""
    if t.store.inference and not fb_inference:
        raise RuntimeError(
            f"{name}: a tensor made in inference mode can't be changed in place outside it; use clone() first"
        )
    if not fb_grad_enabled:
        return 0
    if t.wants_grad and t.node is None:
        raise RuntimeError(
            f"{name}: a leaf that requires grad can't be changed in place; use flambeau.no_grad(), or the out-of-place form"
        )
    if t.unrecorded and (<PyObject *> t.base).ob_refcnt == 1:
        t.base = None  # nobody else sees what this is a view of
        t.unrecorded = False
    if t.unrecorded and (recording or requires_grad(t.base)):
        raise RuntimeError(
            f"{name}: a view that was made in no_grad mode can't be changed in place where changes are recorded; make the "
            "view outside no_grad(), or change it inside"
        )
    if t.base is not None and t.base.wants_grad and t.base.node is None:
        raise RuntimeError(
            f"{name}: a view of a leaf that requires grad can't be changed in place; use flambeau.no_grad(), or the "
            "out-of-place form"
        )
    return 0


cdef int rebase(Tensor t, Node n, int self_edge) except -1:
    """t was written in place by the operation that n records; n's edge `self_edge` (-1: none) is t's former history."""
    cdef Tensor base = t.base
    cdef Node slices
    cdef list edges, nrs
    if base is None:
        keeper = None if t.node is None or t.node.meta is None else t.node.meta.get("tensors", {}).get(t.nr, {}).pop("retain", None)
        t.node = n
        t.nr = 0
        t.wants_grad = False
        if keeper is not None:
            hook_site(t)["retain"] = keeper
        return 0
    slices = new_node(COPY_SLICES, None)
    slices.vjp = n
    slices.info = (relative_geometry(t, base), size_tuple(base.ndims, base.dims), self_edge)
    edges = [edge_of(base)]
    nrs = [base.nr]
    for i, e in enumerate(n.edges):
        if i != self_edge:
            edges.append(e)
            nrs.append(n.nrs[i] if n.nrs is not None else 0)
    slices.edges = tuple(edges)
    slices.nrs = tuple(nrs)
    base.node = slices
    base.nr = 0
    t.view_version = t.store.count - 1
    return 0


# ---- the engine
@cython.final
cdef class Heap:
    """Nodes by descending sequence number."""
    cdef list items

    def __cinit__(self):
        self.items = []

    cdef int push(self, Node n) except -1:
        cdef Py_ssize_t i, parent
        self.items.append(n)
        i = len(self.items) - 1
        while i:
            parent = (i - 1) >> 1
            if (<Node> self.items[parent]).seq >= n.seq:
                break
            self.items[i] = self.items[parent]
            i = parent
        self.items[i] = n
        return 0

    cdef Node pop(self):
        cdef Node top, last = self.items.pop()
        cdef Py_ssize_t i = 0, child, size = len(self.items)
        if size == 0:
            return last
        top = self.items[0]
        while True:
            child = 2 * i + 1
            if child >= size:
                break
            if child + 1 < size and (<Node> self.items[child + 1]).seq > (<Node> self.items[child]).seq:
                child += 1
            if (<Node> self.items[child]).seq <= last.seq:
                break
            self.items[i] = self.items[child]
            i = child
        self.items[i] = last
        return top


cdef inline int deposit(Heap heap, uint64_t run, Node n, int nr, Tensor g) except -1:
    """Adds g to what node n has received for its output nr; queues n on the first."""
    if n.run != run:
        n.run = run
        n.g0 = None
        n.gs = None
        heap.push(n)
    if nr == 0:
        n.g0 = g if n.g0 is None else operate(ADD, n.g0, g)
    else:
        if n.gs is None:
            n.gs = {}
        n.gs[nr] = operate(ADD, n.gs[nr], g) if nr in n.gs else g
    return 0


cdef Tensor fit(Tensor g, Tensor t, str what):
    """A gradient for t in t's shape and dtype; broadcast dimensions are summed."""
    if not same_shape(g, t):
        g = hooks["sum_to"](g, size_tuple(t.ndims, t.dims), what)
    if g.code != t.code:
        g = hooks["cast"](g, DTYPES[t.code])
    return g


cdef int accumulate(Tensor leaf, object g_object, bint create_graph) except -1:
    """leaf.grad += g. A gradient that nobody else holds becomes .grad itself."""
    cdef Tensor g = fit(<Tensor> g_object, leaf, "gradient of a leaf")
    if leaf.backward_hooks is not None:
        g = run_tensor_hooks(leaf.backward_hooks, g)
    if leaf.grad_tensor is None:
        if create_graph:
            leaf.grad_tensor = g
        elif (g.contig and g.base is None and not g.store.borrowed
              and (<PyObject *> g.store).ob_refcnt == 1 and Py_REFCNT(g) <= 2 and g.store.total == <size_t> (g.count * ITEMSIZE[g.code])):
            leaf.grad_tensor = alias(g)
        else:
            leaf.grad_tensor = copy_of(alias(g))
    elif create_graph:
        leaf.grad_tensor = operate(ADD, leaf.grad_tensor, g)
    else:
        operate_into(ADD, leaf.grad_tensor, g)
    if leaf.backward_hooks is not None and "post_accumulate" in leaf.backward_hooks:
        for hook in list(leaf.backward_hooks["post_accumulate"].values()):
            hook(leaf)
    return 0


cdef Tensor run_tensor_hooks(dict which, Tensor g):
    for hook in list(which.get("hooks", {}).values()):
        new = hook(g)
        if new is not None:
            if not isinstance(new, Tensor) or not same_shape(new, g):
                raise RuntimeError(f"a tensor hook must return None or a gradient of shape {list(g.shape)}, got {new!r:.80}")
            g = new
    return g


cdef object pointwise_backward(Node n, tuple grads):
    cdef Vjp v = n.vjp
    cdef tuple saved = unpack(n), result, out
    cdef PyObject* xs[24]
    cdef Py_ssize_t i, k = 0
    cdef int from_op
    cdef object g
    if v.op is None:
        result = ()
    else:
        for i in range(PyTuple_GET_SIZE(grads)):
            g = <object> PyTuple_GET_ITEM(grads, i)
            xs[k] = <PyObject *> g if g is not None else <PyObject *> ZERO
            k += 1
        for i in range(PyTuple_GET_SIZE(saved)):
            xs[k] = <PyObject *> PyTuple_GET_ITEM(saved, i)
            k += 1
        found = pointwise(v.op, xs, <int> k, None, 0)
        result = <tuple> found if type(found) is tuple else (found,)
        if n.info is None and PyTuple_GET_SIZE(result) == PyTuple_GET_SIZE(v.wrt):
            return result
        found = None
    out = PyTuple_New(PyTuple_GET_SIZE(v.wrt))
    for i in range(PyTuple_GET_SIZE(v.wrt)):
        from_op = v.route[i]
        g = grads[0] if from_op < 0 else result[from_op]
        # An operand that was broadcast: its gradient is summed back to its shape.
        if n.info is not None and n.info[i] is not None:
            g = hooks["sum_to"](g, n.info[i], n.label)
        Py_INCREF(g)
        PyTuple_SET_ITEM(out, i, g)
    return out


cdef Tensor spread(Tensor g, tuple info):
    """A reduced gradient over the shape it was reduced from: info is (shape, mask of dimensions, divisor, dtype)."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef tuple shape = info[0]
    cdef uint64_t mask = info[1]
    cdef int d, nd = <int> PyTuple_GET_SIZE(shape), kept = 0
    cdef bint keepdim = g.ndims == nd
    if info[2] is not None:
        g = operate(DIV, g, info[2])
    if <int> info[3] != g.code:
        g = hooks["cast"](g, DTYPES[<int> info[3]])
    if not keepdim and (fb_interpreters or (fb_grad_enabled and requires_grad(g))):
        g = g.reshape([1 if mask >> d & 1 else shape[d] for d in range(nd)])
        keepdim = True
    for d in range(nd):
        sizes[d] = shape[d]
        if mask >> d & 1:
            strides[d] = 0
            kept += keepdim
        else:
            strides[d] = g.dims[g.ndims + kept]
            kept += 1
    return make_view(g, g.ptr, nd, sizes, strides, VIEW_EXPAND, None)


cdef object run_node(Node n, tuple grads):
    """The gradients of n's inputs."""
    cdef int64_t[64] order
    cdef Tensor g
    cdef tuple how
    if n.kind == POINTWISE:
        return pointwise_backward(n, grads)
    if n.kind == PYTHON:
        return n.vjp(n, *grads)
    if n.kind == COPY_SLICES:
        return hooks["copy_slices_vjp"](n, grads[0])
    g = grads[0]
    if n.kind == SUM:
        return spread(g, n.info)
    if n.kind == VIEW_RESHAPE:
        return g.reshape(n.info)
    if n.kind == VIEW_PERMUTE:
        how = n.info
        for i in range(PyTuple_GET_SIZE(how)):
            order[<int64_t> how[i]] = i
        return permuted(g, order)
    if n.kind == VIEW_EXPAND:
        return hooks["sum_to"](g, n.info, "expand")
    return hooks["part_vjp"](g, n.info[0], n.info[1])


def run_inner(Node n, grads):
    """The gradients of a node's inputs, by hand (CopySlices runs the node that wrote the view)."""
    found = run_node(n, tuple(grads))
    return found if type(found) is tuple else (found,)


def inner_node(Node n):
    return n.vjp


def node_info(Node n):
    return n.info


cdef set nodes_towards(list roots, set targets):
    """The nodes on a way from the roots to a target (a Node or a leaf, by id)."""
    cdef set seen = set(), needed = set()
    cdef list stack = list(roots), order = []
    cdef Node n
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        order.append(n)
        for e in n.edges:
            if isinstance(e, Node) and e not in seen:
                stack.append(e)
    order.sort(key=lambda m: m.seq)
    for m in order:
        if id(m) in targets:
            needed.add(m)
            continue
        for e in (<Node> m).edges:
            if e is not None and ((isinstance(e, Node) and e in needed) or id(e) in targets):
                needed.add(m)
                break
    return needed


def run_backward(list tensors, list grads, bint keep_graph, bint create_graph, inputs=None):
    """Sends `grads` back from `tensors`: into the leaves' .grad, or with `inputs` into a returned list."""
    global RUN, fb_grad_enabled
    cdef Heap heap = Heap()
    cdef uint64_t run
    cdef Node n
    cdef Tensor t, g
    cdef tuple gs, found
    cdef int nr, was = fb_grad_enabled
    cdef Py_ssize_t i
    cdef dict captured = None, wanted = None
    cdef set needed = None
    RUN += 1
    run = RUN
    if inputs is not None:
        captured = {}
        wanted = {}
        for t in inputs:
            n = current_node(t)
            wanted.setdefault(id(t) if n is None else id(n), []).append(0 if n is None else t.nr)
        needed = nodes_towards([current_node(x) for x in tensors if current_node(<Tensor> x) is not None], set(wanted))
    fb_grad_enabled = create_graph
    try:
        for i in range(len(tensors)):
            t = tensors[i]
            n = current_node(t)
            if n is not None:
                deposit(heap, run, n, t.nr, <Tensor> grads[i])
            elif wanted is None:
                accumulate(t, grads[i], create_graph)
            elif id(t) in wanted:
                capture(captured, (id(t), 0), grads[i])
        while heap.items:
            n = heap.pop()
            if n.run != run:
                raise RuntimeError("backward: another backward() is already walking this graph; run them one after the other")
            if n.nout == 1:
                gs = (n.g0,)
            else:
                gs = tuple([n.g0 if nr == 0 else (n.gs.get(nr) if n.gs is not None else None) for nr in range(n.nout)])
            n.g0 = None
            n.gs = None
            n.run = 0
            if n.meta is not None:
                gs = before_node(n, gs)
            if wanted is not None:
                if id(n) in wanted:
                    for nr in wanted[id(n)]:
                        if gs[nr] is not None:
                            captured[(id(n), nr)] = gs[nr]
                if n not in needed:
                    continue
            result = run_node(n, gs) if n.meta is None else run_traced(n, gs)
            found = <tuple> result if type(result) is tuple else tuple(result) if type(result) is list else (result,)
            result = None
            if n.meta is not None:
                found = after_node(n, found, gs)
            gs = None
            if not keep_graph and n.saved is not None:
                n.saved = None
                n.freed = True
            if PyTuple_GET_SIZE(found) != PyTuple_GET_SIZE(n.edges):
                raise RuntimeError(
                    f"{n.node_name()}: backward returned {len(found)} gradients for {len(n.edges)} inputs"
                )
            for i in range(PyTuple_GET_SIZE(n.edges)):
                e = n.edges[i]
                if e is None or <object> PyTuple_GET_ITEM(found, i) is None:
                    continue
                if isinstance(e, Node):
                    deposit(heap, run, <Node> e, <int> n.nrs[i] if n.nrs is not None else 0,
                            <Tensor?> <object> PyTuple_GET_ITEM(found, i))
                elif wanted is None:
                    accumulate(<Tensor> e, <object> PyTuple_GET_ITEM(found, i), create_graph)
                elif id(e) in wanted:
                    capture(captured, (id(e), 0), fit(<Tensor> <object> PyTuple_GET_ITEM(found, i), <Tensor> e, "gradient"))
            found = None
    finally:
        fb_grad_enabled = was
    if inputs is None:
        return None
    out = []
    for t in inputs:
        n = current_node(t)
        found_g = captured.get((id(t), 0) if n is None else (id(n), t.nr))
        if found_g is not None and n is None and t.backward_hooks is not None:
            found_g = run_tensor_hooks(t.backward_hooks, found_g)
        out.append(found_g)
    return out


cdef int capture(dict captured, key, g) except -1:
    captured[key] = operate(ADD, captured[key], g) if key in captured else g
    return 0


cdef tuple before_node(Node n, tuple gs):
    """Hooks on the node's outputs and on the node itself, and retained gradients."""
    cdef dict on = n.meta.get("tensors")
    if on is not None:
        items = list(gs)
        for nr, which in on.items():
            if items[nr] is not None:
                items[nr] = run_tensor_hooks(which, items[nr])
                keeper = which.get("retain")
                if keeper is not None and keeper() is not None:
                    (<Tensor> keeper()).grad_tensor = items[nr] if (<Tensor> keeper()).grad_tensor is None else operate(
                        ADD, (<Tensor> keeper()).grad_tensor, items[nr])
        gs = tuple(items)
    for hook in list(n.meta.get("pre", {}).values()):
        new = hook(gs)
        if new is not None:
            gs = new if type(new) is tuple else (new,)
    return gs


cdef tuple after_node(Node n, tuple found, tuple gs):
    for hook in list(n.meta.get("post", {}).values()):
        new = hook(found, gs)
        if new is not None:
            found = new if type(new) is tuple else (new,)
    if "traceback" in n.meta:
        hooks["check_anomaly"](n, found)
    return found


cdef object run_traced(Node n, tuple gs):
    try:
        return run_node(n, gs)
    except Exception as error:
        if "traceback" in n.meta:
            error.add_note(f"the forward call of {n.node_name()} was here:\n{n.meta['traceback']}")
        raise


cdef int tensor_backward(Tensor self, gradient, retain_graph, bint create_graph, inputs) except -1:
    """Tensor.backward: a scalar without further wishes goes straight to the engine."""
    cdef Tensor one
    if gradient is None and inputs is None and self.count == 1 and CATEGORY[self.code] == 2 and requires_grad(self):
        one = empty(self.code, self.ndims, self.dims)
        write_element(one.ptr, one.code, 1)
        run_backward([self], [one], create_graph if retain_graph is None else retain_graph, create_graph)
    else:
        hooks["backward"](self, gradient, retain_graph, create_graph, inputs)
    return 0


def hook_site(Tensor t):
    """The dict that holds a tensor's hooks: its own for a leaf, its node's for the output of an operation."""
    cdef Node n = current_node(t)
    if n is None:
        if t.backward_hooks is None:
            t.backward_hooks = {}
        return t.backward_hooks
    return n.metadata.setdefault("tensors", {}).setdefault(t.nr, {})


# ---- modes
def is_grad_enabled():
    """Whether operations are being recorded in this thread."""
    return fb_grad_enabled != 0


def swap_grad_enabled(bint value):
    """Sets recording in this thread and returns what it was."""
    global fb_grad_enabled
    was = fb_grad_enabled != 0
    fb_grad_enabled = value
    return was


def swap_inference(bint value):
    global fb_inference
    was = fb_inference != 0
    fb_inference = value
    return was


def is_inference_mode_enabled():
    return fb_inference != 0


def swap_anomaly(bint value):
    global fb_anomaly
    was = fb_anomaly != 0
    fb_anomaly = value
    return was
