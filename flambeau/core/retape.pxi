# Nodes made again: the part of the tape that a recalled call adds, between its arguments and its results.

@cython.final
cdef class NodeRecipe:
    """A Node as it is made for each call."""
    cdef int kind
    cdef int nout
    cdef uint64_t own
    cdef object label
    cdef object vjp
    cdef object info
    cdef object outputs
    cdef dict attributes
    cdef tuple saved        # Outcomes, (Outcome, number of an output), and what isn't a tensor
    cdef tuple edges        # a node of the recipe; -1 - i for argument i; None
    cdef tuple nrs


cdef dict numbered_nodes(tuple parts, Watch w):
    """id -> (number, Node) of the nodes that were made between the arguments and these results; None if that can't be."""
    cdef dict seen = {}
    cdef list left = [], found
    cdef Node n
    for x in parts:
        if isinstance(x, Tensor) and not (<Tensor> x).sparse:
            left.append(current_node(<Tensor> x))
    while left:
        e = left.pop()
        if e is None or id(e) in seen or not isinstance(e, Node):
            continue
        n = <Node> e
        if n.seq <= w.sequence:
            continue
        if type(n) is not Node or n.kind == COPY_SLICES or n.meta is not None or len(seen) == 32:
            return None
        seen[id(n)] = n
        left.extend(n.edges)
    found = sorted(seen.values(), key=seq_of)
    return {id(n): (i, n) for i, n in enumerate(found)}


def seq_of(Node n):
    return n.seq


cdef tuple node_recipes(Recipe r, Watch w, dict places):
    cdef list found = []
    for _, n in places.values():
        recipe = node_recipe(r, w, places, <Node> n)
        if recipe is None:
            return None
        found.append(recipe)
    return tuple(found)


cdef NodeRecipe node_recipe(Recipe r, Watch w, dict places, Node n):
    cdef NodeRecipe made = NodeRecipe.__new__(NodeRecipe)
    cdef list edges = [], nrs = [], saved = []
    cdef int i, matches
    if getattr(n.vjp, "__closure__", None) is not None or has_tensors(vars(n)) or has_tensors(n.info):
        return None
    made.kind, made.nout, made.own = n.kind, n.nout, n.own
    made.label, made.vjp, made.info, made.outputs = n.label, n.vjp, n.info, n.outputs
    made.attributes = dict(vars(n)) or None
    for k, e in enumerate(n.edges):
        nr = n.nrs[k] if n.nrs is not None else 0
        if e is None:
            edges.append(None)
        elif id(e) in places:
            edges.append(places[id(e)][0])
        else:
            matches = 0
            for i in range(w.nargs):
                if w.edges[i] is e and (<Tensor> w.args[i]).nr == nr:
                    matches += 1
                    found = i
            if matches != 1:
                return None
            edges.append(-1 - found)
        nrs.append(nr)
    made.edges, made.nrs = tuple(edges), tuple(nrs)
    for x in n.saved or ():
        if isinstance(x, Tensor):
            x = described(<Tensor> x, r, w, places)
            if x is None:
                return None
        elif type(x) is tuple and len(x) == 2 and isinstance(x[0], Tensor):
            first = described(<Tensor> x[0], r, w, places)
            if first is None:
                return None
            x = (first, x[1])
        elif type(x) is Packed or has_tensors(x):
            return None
        saved.append(x)
    made.saved = tuple(saved) if n.saved is not None else None
    return made


cdef bint has_tensors(object x) except -1:
    """Whether there is a tensor in x, or something that may hide one."""
    if x is None or isinstance(x, (int, float, complex, str, DType, device)):
        return False
    if isinstance(x, (tuple, list)):
        return any([has_tensors(y) for y in x])
    if isinstance(x, dict):
        return any([has_tensors(y) for y in x.values()])
    return True


cdef list retaped(Recipe r, PyObject **ts, list stores):
    """The nodes of a call, each behind those before it."""
    cdef list nodes = []
    cdef NodeRecipe made
    cdef Node n
    cdef Tensor t
    cdef tuple edges, saved
    cdef list nrs
    cdef int i, at, count
    for made in r.nodes:
        n = new_node(made.kind, made.label)
        n.nout, n.own, n.vjp, n.info, n.outputs = made.nout, made.own, made.vjp, made.info, made.outputs
        if made.attributes is not None:
            vars(n).update(made.attributes)
        count = <int> PyTuple_GET_SIZE(made.edges)
        edges, nrs = PyTuple_New(count), None
        for i in range(count):
            x = <object> PyTuple_GET_ITEM(made.edges, i)
            nr = <object> PyTuple_GET_ITEM(made.nrs, i)
            if x is not None:
                at = x
                if at >= 0:
                    x = nodes[at]
                else:
                    t = <Tensor> ts[-1 - at]
                    x, nr = edge_of(t), t.nr
            Py_INCREF(x)
            PyTuple_SET_ITEM(edges, i, x)
            if nr:
                if nrs is None:
                    nrs = [0] * count
                nrs[i] = nr
        n.edges = edges
        if nrs is not None:
            n.nrs = tuple(nrs)
        nodes.append(n)
        if made.saved is not None:
            count = <int> PyTuple_GET_SIZE(made.saved)
            saved = PyTuple_New(count)
            for i in range(count):
                x = <object> PyTuple_GET_ITEM(made.saved, i)
                if type(x) is Outcome:
                    x = shown(<Outcome> x, ts, stores, nodes)
                elif type(x) is tuple and PyTuple_GET_SIZE(x) and type(x[0]) is Outcome:
                    x = (shown(<Outcome> x[0], ts, stores, nodes), x[1])
                Py_INCREF(x)
                PyTuple_SET_ITEM(saved, i, x)
            save_tensors(n, saved)
    return nodes
