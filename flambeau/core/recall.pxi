# Recalled functions: what a function launches for arguments of one kind is written down, then done again at once.
#
# A function qualifies if its arguments' geometry and numbers decide all that it does. Its second call with arguments of
# one kind is watched (watching.pxi), and a Recipe made of the notes, with the nodes that went onto the tape (retape.pxi).
# From then on such a call goes from a key to the launches, past all Python between them.

@cython.final
cdef class Outcome:
    """A tensor that a call returns or saves: an argument, a view of one, or of what was made; and its place on the tape."""
    cdef int argument       # or -1
    cdef bint whole         # the argument itself
    cdef int source         # of what is made and kept
    cdef int node           # of the recipe, or -1
    cdef int nr
    cdef int64_t offset
    cdef int code
    cdef int nd
    cdef int64_t count
    cdef bint contig
    cdef int64_t[10] dims


@cython.final
cdef class Recipe:
    """The launches for arguments of one kind. Without launches and results: such a call was seen, or can't be noted."""
    cdef bytes key
    cdef list held          # strings and dtypes that the key has the addresses of
    cdef bint hopeless
    cdef Launch *launches
    cdef int64_t *slots
    cdef Patch *patches
    cdef int nlaunches
    cdef int nargs
    cdef int nmade
    cdef uint64_t written
    cdef int64_t[48] sizes  # of what is made
    cdef int64_t[48] at     # where it is in the scratch memory; -1: it is returned
    cdef int64_t scratch
    cdef list kept
    cdef object kind        # type of the result
    cdef tuple outcomes
    cdef tuple nodes        # NodeRecipes

    def __dealloc__(self):
        free(self.launches)
        free(self.slots)
        free(self.patches)


cdef object refused = object()  # what `redo` gives where a guard doesn't hold


cdef object redo(Recipe r, PyObject **ts, bint poisoned):
    """Does what the recipe says with these arguments; `refused` where they don't fit. `poisoned`: new memory is filled."""
    global FAILED
    cdef char *base[48]
    cdef int64_t[1536] slots
    cdef char[8192 + 64] stack
    cdef char *scratch = NULL
    cdef Storage store, spare = None
    cdef list stores = [], nodes = None
    cdef int i, j, n
    cdef Launch *a
    cdef Patch *p
    cdef Tensor t
    cdef Stream stream
    for i in range(r.nargs):
        t = <Tensor> ts[i]
        base[i] = t.ptr
        if r.written >> i & 1:
            if t.unrecorded or t.store.inference:
                return refused
    if r.scratch > SMALL_SCRATCH:
        spare = new_storage(r.scratch)
        scratch = spare.ptr
    elif r.scratch:
        scratch = <char *> ((<uint64_t> &stack[0] + 63) & ~(<uint64_t> 63))
    if poisoned and r.scratch:
        memset(scratch, 0xA5, r.scratch)
    for i in range(r.nmade):
        if r.at[i] >= 0:
            base[r.nargs + i] = scratch + r.at[i]
            continue
        store = new_storage(r.sizes[i])
        if poisoned and r.sizes[i]:
            memset(store.ptr, 0xA5, r.sizes[i])
        stores.append(store)
        base[r.nargs + i] = store.ptr
    for i in range(r.nlaunches):
        a = &r.launches[i]
        memcpy(slots, &r.slots[a.slot], a.slots * sizeof(int64_t))
        for j in range(a.patch, a.patch + a.patches):
            p = &r.patches[j]
            slots[p.slot] = <int64_t> (base[p.source] + p.offset)
        if a.drawn >= 0:
            stream = current_stream()
            slots[a.drawn], slots[a.drawn + 1] = <int64_t> stream._seed, <int64_t> stream.calls
            stream.calls += 1
        if a.kernel == NULL:
            if not integers_within(<char *> slots[0], <int> slots[3], a.extent, slots[1], slots[2]):
                return refused
        elif a.work < RELEASE:
            a.kernel(slots, 0, a.extent)
        else:
            with nogil:
                fb_parallel_for(a.kernel, slots, a.extent, a.grain)
    if FAILED:
        FAILED = 0
        out_of_memory(r.sizes[0])
    for i in range(r.nargs):
        if r.written >> i & 1:
            (<Tensor> ts[i]).store.count += 1
    if r.nodes is not None:
        nodes = retaped(r, ts, stores)
    if r.kind is Tensor:
        return shown(<Outcome> PyTuple_GET_ITEM(r.outcomes, 0), ts, stores, nodes)
    n = <int> PyTuple_GET_SIZE(r.outcomes)
    if n == 0:
        return None if r.kind is None else r.kind()
    if r.kind is list:
        return [shown(<Outcome> x, ts, stores, nodes) for x in r.outcomes]
    found = PyType_GenericAlloc(<PyTypeObject *> r.kind, n)
    for i in range(n):
        x = shown(<Outcome> PyTuple_GET_ITEM(r.outcomes, i), ts, stores, nodes)
        Py_INCREF(x)
        PyTuple_SET_ITEM(found, i, x)
    return found


cdef Tensor shown(Outcome o, PyObject **ts, list stores, list nodes):
    cdef Tensor t, whole
    if o.whole:
        return <Tensor> ts[o.argument]
    t = Tensor.__new__(Tensor)
    set_dims(t, o.nd)
    memcpy(t.dims, o.dims, 2 * o.nd * sizeof(int64_t))
    t.count, t.code, t.contig = o.count, o.code, o.contig
    if o.argument >= 0:
        whole = <Tensor> ts[o.argument]
        t.store, t.ptr = whole.store, whole.ptr + o.offset
        t.base = whole.base if whole.base is not None else whole
        t.view_version = t.store.count
        t.unrecorded = not fb_grad_enabled
    else:
        t.store = <Storage> stores[o.source]
        t.ptr = t.store.ptr + o.offset
    if o.node >= 0:
        t.node, t.nr = <Node> nodes[o.node], o.nr
    return t


@cython.final
cdef class Recalled:
    """A function whose launches depend on its arguments' geometry and numbers alone, and are recalled.

    Calls that an interpreter watches, and those whose arguments are large or of kinds that can't be compared at once,
    go to the function itself.
    """
    cdef readonly object function
    cdef list recipes
    cdef dict __dict__

    def __init__(self, function):
        self.function = function
        self.recipes = [None] * RECIPES

    def __repr__(self):
        return f"<recalled {self.function.__name__}>"

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def recalls(self, *args, **kwargs):
        """Whether a call with such arguments would be recalled."""
        cdef int64_t[256] words
        cdef PyObject *ts[16]
        cdef int nts = 0, n = key_of_call(args, kwargs, words, ts, &nts)
        cdef Recipe r = self.recipes[hash_of(words, n)] if n else None
        return r is not None and r.outcomes is not None and same_key(r, words, n)

    def __call__(self, *args, **kwargs):
        cdef int64_t[256] words
        cdef PyObject *ts[16]
        cdef int nts = 0, n
        cdef int place
        cdef Recipe r
        if fb_interpreters or fb_watched or fb_anomaly or fb_saved_hooks:
            return self.function(*args, **kwargs)
        n = key_of_call(args, kwargs, words, ts, &nts)
        if n == 0:
            return self.function(*args, **kwargs)
        place = hash_of(words, n)
        r = <Recipe> PyList_GET_ITEM(self.recipes, place)
        if r is None or not same_key(r, words, n):
            r = Recipe.__new__(Recipe)
            r.key = PyBytes_FromStringAndSize(<char *> words, n * sizeof(int64_t))
            r.held = held_by((args, tuple(kwargs), tuple(kwargs.values())), [])
            self.recipes[place] = r
        elif r.outcomes is not None:
            found = redo(r, ts, False)
            if found is not refused:
                return found
        elif not r.hopeless:
            return learn(self, r, args, kwargs, ts, nts)
        return self.function(*args, **kwargs)


cdef extern from "Python.h":
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t i)
    char *PyBytes_AS_STRING(object raw)
    Py_ssize_t PyBytes_GET_SIZE(object raw)


cdef inline bint same_key(Recipe r, const int64_t *words, int n) noexcept:
    return PyBytes_GET_SIZE(r.key) == n * 8 and memcmp(PyBytes_AS_STRING(r.key), words, n * sizeof(int64_t)) == 0


cdef inline int hash_of(const int64_t *words, int n) noexcept:
    cdef uint64_t h = 0x9E3779B97F4A7C15ULL
    cdef int i
    for i in range(n):
        h = (h ^ <uint64_t> words[i]) * 0xFF51AFD7ED558CCDULL
        h ^= h >> 32
    return <int> (h % RECIPES)


cdef int key_of_call(tuple args, dict kwargs, int64_t *words, PyObject **ts, int *nts) except -1:
    """What decides a call's launches, in words, and its tensors; 0 where there is more to it."""
    cdef int n = 1
    cdef Py_ssize_t i
    words[0] = default_dtype | fb_grad_enabled << 8
    for i in range(PyTuple_GET_SIZE(args)):
        n = key_of_value(<object> PyTuple_GET_ITEM(args, i), words, n, ts, nts)
        if n == 0:
            return 0
    if kwargs:
        for name, value in kwargs.items():
            if name == "out" and value is not None or n + 2 > MAXKEY:
                return 0
            words[n], words[n + 1] = KEY_END, <int64_t> <PyObject *> name
            n = key_of_value(value, words, n + 2, ts, nts)
            if n == 0:
                return 0
    return n


cdef int key_of_value(object x, int64_t *words, int n, PyObject **ts, int *nts) except -1:
    cdef Tensor t
    cdef double d
    cdef int i
    if n + 4 > MAXKEY:
        return 0
    if isinstance(x, Tensor):
        t = <Tensor> x
        if t.sparse or t.ndims > INLINE or t.count > SMALL_ARGUMENT or nts[0] == MAXARGUMENTS or n + 6 + 2 * t.ndims > MAXKEY:
            return 0
        for i in range(nts[0]):
            if ts[i] == <PyObject *> t:
                words[n], words[n + 1] = KEY_AGAIN, i
                return n + 2
        for i in range(nts[0]):
            if (<Tensor> ts[i]).store is t.store:
                words[n], words[n + 1] = KEY_SHARED | <int64_t> i << 8, t.ptr - (<Tensor> ts[i]).ptr
                n += 2
                break
        ts[nts[0]] = <PyObject *> t
        nts[0] += 1
        words[n] = KEY_TENSOR | <int64_t> t.code << 8 | <int64_t> t.ndims << 16
        if fb_grad_enabled and requires_grad(t):
            words[n] |= 1 << 24
        words[n + 1] = <int64_t> (<PyObject *> t).ob_type
        memcpy(&words[n + 2], t.dims, 2 * t.ndims * sizeof(int64_t))
        return n + 2 + 2 * t.ndims
    if PyLong_CheckExact(x):
        words[n] = KEY_INT
        try:
            words[n + 1] = x
        except OverflowError:
            return 0
        return n + 2
    if x is None or x is False or x is True:
        words[n] = KEY_NONE if x is None else KEY_TRUE if x else KEY_FALSE
        return n + 1
    if PyFloat_CheckExact(x):
        words[n] = KEY_FLOAT
        d = x
        memcpy(&words[n + 1], &d, sizeof(double))
        return n + 2
    if isinstance(x, (tuple, list)):
        words[n] = (KEY_LIST if isinstance(x, list) else KEY_TUPLE) | <int64_t> len(x) << 8
        n += 1
        for y in x:
            n = key_of_value(y, words, n, ts, nts)
            if n == 0:
                return 0
        return n
    if type(x) is str or type(x) is DType:
        words[n], words[n + 1] = KEY_OBJECT, <int64_t> <PyObject *> x
        return n + 2
    if type(x) is slice:
        words[n] = KEY_SLICE
        return key_of_value((x.start, x.stop, x.step), words, n + 1, ts, nts)
    if x is Ellipsis:
        words[n] = KEY_END
        return n + 1
    return 0


cdef list held_by(object x, list held):
    """The objects whose addresses are in a key."""
    if isinstance(x, (tuple, list)):
        for y in x:
            held_by(y, held)
    elif type(x) is str or type(x) is DType:
        held.append(x)
    elif isinstance(x, Tensor):
        held.append(type(x))
    return held


cdef object learn(Recalled self, Recipe r, tuple args, dict kwargs, PyObject **ts, int nts):
    """Calls the function and notes what it does."""
    global WATCH, fb_watched
    cdef Watch w
    cdef int i
    cdef list stores
    cdef uint32_t[MAXARGUMENTS] versions
    if WATCH is not None:
        return self.function(*args, **kwargs)
    w = Watch.__new__(Watch)
    w.nargs, w.args, w.serial, w.made, w.kept = nts, ts, BLOCKS, [], []
    w.outcomes = []
    w.sequence, w.edges = SEQUENCE, [edge_of(<Tensor> ts[i]) if fb_grad_enabled else None for i in range(nts)]
    stores = [(<Tensor> ts[i]).store for i in range(nts)]
    for i in range(nts):
        versions[i] = (<Storage> stores[i]).count
    WATCH = w
    fb_watched = 1
    try:
        result = self.function(*args, **kwargs)
    finally:
        fb_watched = 0
        WATCH = None
    # Of what launches may have written, that which was: its version says so.
    w.touched = 0
    for i in range(nts):
        if (<Tensor> ts[i]).store is not stores[i]:
            w.lost = True
        elif (<Storage> stores[i]).count != versions[i]:
            w.touched |= (<uint64_t> 1) << i
    r.hopeless = True
    if not w.lost and write_down(r, w, result) and (r.written or w.random or agrees(redo(r, ts, True), result)):
        r.hopeless = False
    else:
        r.outcomes = None
    return result


cdef bint write_down(Recipe r, Watch w, object result) except -1:
    """Puts what was noted into the recipe; False where the result isn't made of it."""
    cdef tuple parts = () if result is None else (result,) if isinstance(result, Tensor) else tuple(result) if isinstance(result, (tuple, list)) else None
    cdef list outcomes = []
    cdef dict places
    cdef int64_t total = 0
    cdef int i, kept = 0
    cdef int[48] renumbered
    cdef Outcome o
    if parts is None or w.nargs + len(w.made) > MAXSOURCES:
        return False
    r.nargs, r.nmade, r.nlaunches, r.written = w.nargs, <int> len(w.made), w.nlaunches, w.written
    if result is None:
        r.written |= w.touched
        if not r.written:
            return False
    r.kind = None if result is None else type(result)
    for i in range(r.nmade):
        r.sizes[i], r.at[i] = (<Storage> w.made[i]).total, 0
    places = numbered_nodes(parts, w)
    if places is None:
        return False
    for x in parts:
        o = described(x, r, w, places) if type(x) is Tensor else None
        if o is None:
            return False
        if o.whole:
            r.written |= w.touched & (<uint64_t> 1) << o.argument
        outcomes.append(o)
    if places:
        r.nodes = node_recipes(r, w, places)
        if r.nodes is None or r.written:
            return False
    for i in range(r.nargs):
        if fb_grad_enabled and edge_of(<Tensor> w.args[i]) is not w.edges[i]:
            return False  # an argument's own history has changed
    for i in range(r.nmade):
        total += r.sizes[i]
        if r.at[i] >= 0:
            r.at[i] = r.scratch
            r.scratch += (r.sizes[i] + 63) & ~63
        else:
            renumbered[i] = kept
            kept += 1
    if total > MOST_MEMORY:
        return False
    for o in w.outcomes:
        if o.argument < 0:
            o.source = renumbered[o.source]
    r.launches = <Launch *> malloc(max(1, w.nlaunches) * sizeof(Launch))
    r.slots = <int64_t *> malloc(max(1, w.nslots) * sizeof(int64_t))
    r.patches = <Patch *> malloc(max(1, w.npatches) * sizeof(Patch))
    if r.launches == NULL or r.slots == NULL or r.patches == NULL:
        raise MemoryError()
    memcpy(r.launches, w.launches, w.nlaunches * sizeof(Launch))
    memcpy(r.slots, w.slots, w.nslots * sizeof(int64_t))
    memcpy(r.patches, w.patches, w.npatches * sizeof(Patch))
    r.kept = w.kept
    r.outcomes = tuple(outcomes)
    return True


cdef Outcome described(Tensor t, Recipe r, Watch w, dict places):
    """Where a tensor that a call returned or saved is; None where that can't be said."""
    cdef Outcome o = Outcome.__new__(Outcome)
    cdef Node node
    cdef int i
    o.argument = o.node = -1
    for i in range(w.nargs):
        if w.args[i] == <PyObject *> t:
            o.argument, o.whole = i, True
            return o
    if t.sparse or t.ndims > INLINE or t.wants_grad:
        return None
    for i in range(r.nmade):
        if w.made[i] is t.store:
            o.source, o.offset = i, t.ptr - t.store.ptr
            r.at[i] = -1
            break
    else:
        for i in range(w.nargs):
            if (<Tensor> w.args[i]).store is t.store:
                o.argument, o.offset = i, t.ptr - (<Tensor> w.args[i]).ptr
                break
        else:
            return None
    o.code, o.nd, o.count, o.contig = t.code, t.ndims, t.count, t.contig
    memcpy(o.dims, t.dims, 2 * t.ndims * sizeof(int64_t))
    node = current_node(t)
    if node is not None:
        if id(node) not in places:
            return None
        o.node, o.nr = places[id(node)][0], t.nr
    w.outcomes.append(o)
    return o


cdef bint agrees(object again, object result) except -1:
    """Whether the same was computed from memory full of something else."""
    cdef Tensor a, b
    if again is refused:
        return False
    for x, y in zip((again,) if isinstance(again, Tensor) else again, (result,) if isinstance(result, Tensor) else result):
        a, b = clone_contiguous(<Tensor> x), clone_contiguous(<Tensor> y)
        if a.count != b.count or memcmp(a.ptr, b.ptr, a.count * ITEMSIZE[a.code]):
            return False
    return True
