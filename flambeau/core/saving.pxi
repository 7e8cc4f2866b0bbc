# Saved-tensor hooks: what a node keeps in place of a tensor while a program asks for that (autograd/graph.py).
#
# A node is complete, outputs included, when it is packed. A Packed holds what the program's pack hook gave, the unpack
# hook, and where gradients of the unpacked tensor go, so that a backward pass can be differentiated again.

@cython.final
cdef class Packed:
    """In place of a saved tensor: `unpack(what)` gives it back; `edge`, `nr` are its place on the tape."""
    cdef object what, unpack, edge
    cdef int nr


cdef int pack_saved(Node n) except -1:
    """Hands every tensor that n saved to the innermost pack hook."""
    cdef Py_ssize_t i
    cdef list items
    cdef Packed p
    cdef Tensor t
    if n.saved is None:
        return 0
    items = list(n.saved)
    for i in range(len(items)):
        x = items[i]
        p = Packed.__new__(Packed)
        if i < 64 and n.own >> i & 1 and type(x) is tuple:
            x, p.nr = x
        if not isinstance(x, Tensor):
            continue
        t = x
        if not (i < 64 and n.own >> i & 1):  # n's own outputs belong to n; an edge to it would be a cycle
            p.edge = edge_of(t)
            p.nr = t.nr
        p.what, p.unpack = hooks["pack"](t)
        items[i] = p
    n.saved = tuple(items)
    return 0


cdef Tensor unpacked(Node n, Packed p, bint own):
    """The tensor that a pack hook put away, at its place on the tape where a graph of the backward pass is wanted."""
    cdef Tensor t
    cdef Node through
    found = p.unpack(p.what)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"{n.node_name()}: the unpack hook of saved_tensors_hooks must return a tensor, got {type(found).__name__}"
        )
    t = alias(<Tensor> found)
    if not fb_grad_enabled:
        return t
    if own:
        t.node, t.nr = n, p.nr
    elif isinstance(p.edge, Node):
        t.node, t.nr = p.edge, p.nr
    elif p.edge is not None:  # a leaf: through a node that passes gradients on to it
        through = new_node(VIEW_RESHAPE, None)
        through.edges = (p.edge,)
        through.info = size_tuple(t.ndims, t.dims)
        t.node = through
    return t


def change_saved_hooks(int by):
    """Counts active saved-tensor hooks up or down in this thread."""
    global fb_saved_hooks
    fb_saved_hooks += by
