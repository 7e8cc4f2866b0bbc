# The tape: Nodes that record what an operation saved; in-place writes; modes. The engine is in backward.pxi.
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
cdef uint64_t RUNNING = 0  # the run whose node is at work


cdef class Node:
    """One recorded operation. Python-level operations get it as `ctx`: attributes may be set on it freely.

    >>> x = fb.ones(2, requires_grad=True)
    >>> node = (x * 3).sum().grad_fn
    >>> node.name(), [next_node.name() for next_node, _ in node.next_functions]
    ('SumBackward0', ['MulBackward0'])
    """
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
        return hooks["add_hook"](self.metadata, "post", hook)

    def register_prehook(self, hook):
        """Calls hook(grad_outputs) before this node's backward; may replace them."""
        return hooks["add_hook"](self.metadata, "pre", hook)

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
    """Where t's elements are in its base, counted in t's own; a base of another dtype stands at the end."""
    cdef tuple found = (to_tuple(t.ndims, t.dims), to_tuple(t.ndims, t.dims + t.ndims),
                        (t.ptr - base.ptr) // ITEMSIZE[t.code], to_tuple(base.ndims, base.dims + base.ndims))
    return found if t.code == base.code else (*found, DTYPES[base.code])


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
    if k == 0:
        return 0  # nothing that a backward could free: it may run again
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


cdef int check_kept(Node n) except -1:
    if n.freed:
        raise RuntimeError(
            f"backward: what {n.node_name()} saved was freed by an earlier backward through this graph; "
            "pass retain_graph=True to that one to go through it a second time"
        )
    return 0


cdef tuple unpack(Node n):
    cdef Py_ssize_t i
    cdef Tensor t
    cdef list items = None
    check_kept(n)
    if n.saved is None:
        return ()
    for i in range(PyTuple_GET_SIZE(n.saved)):
        x = n.saved[i]
        nr = 0
        if i < 64 and n.own >> i & 1 and type(x) is tuple:
            x, nr = x
        if type(x) is Packed:
            if items is None:
                items = list(n.saved)
            items[i] = unpacked(n, <Packed> x, i < 64 and n.own >> i & 1)
        elif isinstance(x, Tensor):
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


# ---- modes
def is_grad_enabled():
    """Whether operations are being recorded in this thread.

    >>> with fb.no_grad():
    ...     fb.is_grad_enabled()
    False
    """
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
    """Whether inference mode is on in this thread.

    >>> with fb.inference_mode():
    ...     fb.is_inference_mode_enabled()
    True
    """
    return fb_inference != 0


def swap_anomaly(bint value):
    global fb_anomaly
    was = fb_anomaly != 0
    fb_anomaly = value
    return was
