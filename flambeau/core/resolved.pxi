# Operations that are wholly planned, and functions that resolve to one: the shortest way from a call to its kernels.
#
# A PlannedPrimitive's work is one Plan, so running and recording it need no Python. A Resolved is a public function that
# only checks arguments and decides what operation they come to; that is remembered beside the geometry it follows from.

cdef class PlannedPrimitive(Primitive):
    """A Primitive whose forward is a Plan: `planned` of the arguments; vjp gets ctx.saved and ctx.note as that says."""
    cdef readonly Planned planned

    def __init__(self, str name, forward, vjp, Planned planned, doc=None):
        Primitive.__init__(self, name, forward, vjp, False, doc)
        self.planned = planned

    @property
    def __signature__(self):
        return hooks["parameters"](self.planned.build)

    def __call__(self, *args, **kwargs):
        cdef Given given
        cdef list copies
        if kwargs or fb_interpreters or fb_anomaly or (sparse_met and any_sparse(args)):
            return Primitive.__call__(self, *args, **kwargs)
        copies = []
        return perform(self, self.planned.find(args, &given, copies), &given, NO_OUTPUT)


cdef object perform(Primitive op, Plan plan, Given *given, int pick):
    """Carries a primitive's plan out and records it; `pick` is the number of the one result wanted, or NO_OUTPUT."""
    cdef list made = carry_out(plan, given), edges, nrs
    cdef Node node = None
    cdef Tensor t
    cdef int i
    if fb_grad_enabled and op.vjp is not None:
        for i in range(given.count):
            if requires_grad(<Tensor> given.arguments[i]):
                node = new_node(PYTHON, op.node_name)
                break
    if node is not None:
        edges, nrs = [], []
        for i in range(given.count):
            add_edge(<Tensor> given.arguments[i], edges, nrs)
        node.edges = tuple(edges)
        if nrs:
            node.nrs = tuple(nrs + [0] * (len(edges) - len(nrs)))
        node.vjp = op.vjp
        node.note = plan.note
        if plan.saves:
            save_tensors(node, saved_by(plan, given, made))
        put_behind(node, made if plan.keep == len(made) else made[:plan.keep])
    return returned(plan, made) if pick < 0 else made[pick]


cdef int put_behind(Node node, list outs) except -1:
    """Makes a node what its differentiable outputs come from."""
    cdef Py_ssize_t nr
    cdef Tensor t
    node.nout = len(outs)
    if node.saved is not None:
        own_outputs(node, tuple(outs))
        if fb_saved_hooks:
            pack_saved(node)
    if node.nout > 1:
        node.outputs = tuple([((<Tensor> t).shape, (<Tensor> t).dtype) for t in outs])
    for nr in range(len(outs)):
        t = <Tensor> outs[nr]
        if CATEGORY[t.code] >= 2:
            t.node = node
            t.nr = nr
    return 0


@cython.final
cdef class Resolution:
    """What a call comes to: `op(*args)`; of several results number `pick` alone; and what then(those, *args) makes of it."""
    cdef object op
    cdef tuple args
    cdef int pick
    cdef object then
    cdef Plan plan                 # of a PlannedPrimitive
    cdef int count
    cdef int8_t[MAXPLANNED] order  # which of the function's tensors are the op's, and …
    cdef int8_t[MAXPLANNED] places # … where those stand among its arguments

    def __init__(self, op, *args, int pick=NO_OUTPUT, then=None):
        self.op, self.args, self.pick, self.then = op, args, pick, then

    cdef object follow(self, PyObject **tensors):
        """The result; with the tensors of a later call in place of the first one's, where there are any."""
        cdef Given given
        cdef list copies
        cdef tuple arguments = self.args
        cdef int i
        if self.plan is not None:
            given.count = 0
            copies = []
            for i in range(self.count):
                add_given(&given, <Tensor> tensors[self.order[i]], (<PlannedPrimitive> self.op).planned.strided, copies)
            found = perform(<Primitive> self.op, self.plan, &given, self.pick)
            if self.then is None:
                return found
        if tensors != NULL:
            rest = list(arguments)
            for i in range(self.count):
                rest[self.places[i]] = <object> tensors[self.order[i]]
            arguments = tuple(rest)
        if self.plan is None:
            found = self.op(*arguments)
            found = found if self.pick < 0 else found[self.pick]
        return found if self.then is None else self.then(found, *arguments)

    cdef bint remember(self, tuple given) except -1:
        """Finds the op's tensors among the function's; False where those differ, for then elements may have decided."""
        cdef Given seen
        cdef list copies = [], arguments = list(self.args)
        tensors = [id(x) for x in given if isinstance(x, Tensor)]
        if any([has_tensor(x) for x in given]) or any([has_tensor(x) for x in arguments]):
            return False
        self.count = 0
        for i, x in enumerate(arguments):
            if isinstance(x, Tensor):
                if id(x) not in tensors or self.count == MAXPLANNED:
                    return False
                self.order[self.count] = tensors.index(id(x))
                self.places[self.count] = i
                self.count += 1
        if len({self.order[i] for i in range(self.count)}) < len(set(tensors)):
            return False
        if isinstance(self.op, PlannedPrimitive):
            self.plan = (<PlannedPrimitive> self.op).planned.find(self.args, &seen, copies)
        for i in range(self.count):
            arguments[self.places[i]] = None
        self.args = tuple(arguments)
        return True


cdef bint has_tensor(object x) except -1:
    return isinstance(x, (tuple, list)) and any([isinstance(y, Tensor) for y in x])


@cython.final
cdef class Resolved:
    """A function that returns a Resolution, asked once for each geometry of its tensors and its other arguments.

    Where it returns anything else that is the result, and nothing is remembered.
    """
    cdef object function
    cdef tuple names
    cdef tuple defaults     # of the last parameters
    cdef dict known
    cdef dict __dict__

    def __init__(self, function):
        code = function.__code__
        self.function = function
        self.names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
        keywords = function.__kwdefaults__ or {}
        self.defaults = (function.__defaults__ or ()) + tuple([keywords[n] for n in self.names[code.co_argcount:]])
        self.known = {}

    def __repr__(self):
        return f"<function {self.function.__qualname__}>"

    def __reduce__(self):
        return self.function.__qualname__

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def __call__(self, *args, **kwargs):
        cdef Py_ssize_t given = PyTuple_GET_SIZE(args), n = PyTuple_GET_SIZE(self.names), i, j, first
        cdef tuple bound, key
        cdef object part
        cdef Resolution found
        cdef PyObject *tensors[MAXPLANNED]
        cdef int nt = 0
        if fb_interpreters or fb_anomaly or given > n or (sparse_met and any_sparse(args)):
            return self.afresh(args, kwargs)
        bound = args
        j = 0
        if given < n:
            # What isn't plainly bound goes through Python's own binding, which has the error for it.
            first = n - PyTuple_GET_SIZE(self.defaults)
            bound = PyTuple_New(n)
            for i in range(n):
                if i < given:
                    part = <object> PyTuple_GET_ITEM(args, i)
                elif kwargs and self.names[i] in kwargs:
                    part = kwargs[self.names[i]]
                    j += 1
                elif i >= first:
                    part = <object> PyTuple_GET_ITEM(self.defaults, i - first)
                else:
                    return self.afresh(args, kwargs)
                Py_INCREF(part)
                PyTuple_SET_ITEM(bound, i, part)
        if kwargs and j < len(kwargs):
            return self.afresh(args, kwargs)
        key = PyTuple_New(n)
        for i in range(n):
            part = <object> PyTuple_GET_ITEM(bound, i)
            if isinstance(part, Tensor):
                if nt == MAXPLANNED:
                    return self.afresh(args, kwargs)
                tensors[nt] = <PyObject *> part
                nt += 1
                part = look_of(<Tensor> part, fb_grad_enabled and requires_grad(<Tensor> part))
            elif PyFloat_CheckExact(part):
                part = bits_of(part)
            elif type(part) is list:
                part = tuple(<list> part)
            Py_INCREF(part)
            PyTuple_SET_ITEM(key, i, part)
        try:
            found = self.known.get(key)
        except TypeError:  # an argument that can't be told apart
            return self.afresh(args, kwargs)
        if found is None:
            made = self.function(*args, **kwargs)
            if not isinstance(made, Resolution):
                return made
            found = made
            result = found.follow(NULL)
            if found.remember(bound):
                if len(self.known) >= PLANS:
                    self.known.clear()
                self.known[key] = found
            return result
        return found.follow(tensors)

    cdef object afresh(self, tuple args, dict kwargs):
        made = self.function(*args, **kwargs)
        return (<Resolution> made).follow(NULL) if isinstance(made, Resolution) else made
