# The engine: gradients sent back along the tape, from the newest node to the oldest, without recursion.

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


cdef inline Tensor plus(Tensor a, Tensor b):
    """a + b, of which a sparse one can only be added to a dense one."""
    return operate(ADD, b, a) if a.sparse > b.sparse else operate(ADD, a, b)


cdef inline int deposit(Heap heap, uint64_t run, Node n, int nr, Tensor g) except -1:
    """Adds g to what node n has received for its output nr; queues n on the first."""
    if n.run != run:
        n.run = run
        n.g0 = None
        n.gs = None
        heap.push(n)
    if nr == 0:
        n.g0 = g if n.g0 is None else plus(n.g0, g)
    else:
        if n.gs is None:
            n.gs = {}
        n.gs[nr] = plus(n.gs[nr], g) if nr in n.gs else g
    return 0


cdef Tensor fit(Tensor g, Tensor t, str what):
    """A gradient for t in t's shape and dtype; broadcast dimensions are summed."""
    if not fits(g, t):
        g = hooks["sum_to"](g, size_tuple(t.ndims, t.dims), what)
    if g.code != t.code:
        g = hooks["cast"](g, DTYPES[t.code])
    return g


cdef inline Tensor off_tape(Tensor g):
    """A gradient as it is handed out where no graph is wanted."""
    if fb_interpreters and hooks["differentiating"]():
        return hooks["off_tape"](g)
    return g if g.node is None else alias(g)


cdef int accumulate(Tensor leaf, object g_object, bint create_graph) except -1:
    """leaf.grad += g. A gradient that nobody else holds becomes .grad itself."""
    cdef Tensor g = fit(<Tensor> g_object, leaf, "gradient of a leaf")
    if leaf.backward_hooks is not None:
        g = run_tensor_hooks(leaf.backward_hooks, g)
    if not create_graph:
        g = off_tape(g)
    if leaf.grad_tensor is None:
        if create_graph or g.sparse:
            leaf.grad_tensor = g if create_graph else g.detach()
        elif (g.contig and g.base is None and not g.store.borrowed
              and (<PyObject *> g.store).ob_refcnt == 1 and Py_REFCNT(g) <= 2 and g.store.total == <size_t> (g.count * ITEMSIZE[g.code])):
            leaf.grad_tensor = alias(g)
        else:
            leaf.grad_tensor = copy_of(alias(g))
    elif create_graph or leaf.grad_tensor.sparse > g.sparse:
        leaf.grad_tensor = plus(leaf.grad_tensor, g)
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
            if not isinstance(new, Tensor) or not fits(new, g):
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
        check_kept(n)
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


def current_run():
    """Tells the engine's runs apart, for a backward rule that leaves something for a later node of the same run."""
    return RUNNING


def run_inner(Node n, grads):
    """The gradients of a node's inputs, by hand (CopySlices runs the node that wrote the view)."""
    found = run_node(n, tuple(grads))
    return found if type(found) is tuple else (found,)


def inner_node(Node n):
    return n.vjp


def node_info(Node n):
    return n.info


cdef set nodes_towards(list roots, set targets):
    """The nodes that lead from the roots to a target (a Node or a leaf, by id); a target does if another lies behind it."""
    cdef set seen = set(), needed = set(), ways = set()
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
        for e in (<Node> m).edges:
            if e is not None and (e in ways if isinstance(e, Node) else id(e) in targets):
                needed.add(m)
                ways.add(m)
                break
        if id(m) in targets:
            ways.add(m)
    return needed


def run_backward(list tensors, list grads, bint keep_graph, bint create_graph, inputs=None):
    """Sends `grads` back from `tensors`: into the leaves' .grad, or with `inputs` into a returned list."""
    global RUN, RUNNING, fb_grad_enabled
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
    # An interpreter that differentiates needs backward rules as they are where they are differentiated again.
    fb_grad_enabled = create_graph or (fb_interpreters and hooks["differentiating"]())
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
            RUNNING = run  # said for each node: a backward rule may run the engine itself
            result = run_node(n, gs) if n.meta is None else run_traced(n, gs)
            found = <tuple> result if type(result) is tuple else tuple(result) if type(result) is list else (result,)
            result = None
            if n.meta is not None:
                found = after_node(n, found, gs)
            gs = None
            if not keep_graph:
                if n.kind == COPY_SLICES:
                    n.vjp = None  # the node that wrote the view, and what it saved
                    n.freed = True
                elif n.saved is not None:
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
        out.append(found_g if create_graph or found_g is None else off_tape(<Tensor> found_g))
    return out


cdef int capture(dict captured, key, g) except -1:
    captured[key] = plus(captured[key], g) if key in captured else g
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
    if gradient is None and inputs is None and self.count == 1 and CATEGORY[self.code] == 2 and requires_grad(self) and not fb_interpreters:
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
