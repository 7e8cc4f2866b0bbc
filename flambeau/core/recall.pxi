# Recalled functions: what a function launches for arguments of one kind is written down, then done again at once.
#
# A function qualifies if its arguments' geometry and numbers decide all that it does. Its second call with arguments of
# one kind is watched: every launch is noted with the memory it reads and writes, which is an argument's, was made for the
# call, or was there before. From then on such a call goes from a key to those launches, past all Python between them.
# What can't be noted so (elements read by Python, memory filled by anything but a kernel) leaves the function as it is.

cdef enum:
    RECIPES = 256       # remembered by a function, each at a place that its key's hash decides
    MAXKEY = 256        # words of a key
    MAXARGUMENTS = 16   # tensors among the arguments
    MAXSOURCES = 48     # blocks of memory: arguments, then what is made
    MAXLAUNCHES = 96
    MAXSLOTS = 1536
    MAXPATCHES = 512
    SMALL_ARGUMENT = 1 << 15   # elements: larger arguments are worth Python's way
    SMALL_SCRATCH = 1 << 13    # bytes of scratch memory that is on the stack
    MOST_MEMORY = 1 << 20      # bytes that one call may make
    UNKNOWN = -1        # a launch whose outputs aren't known: memory first seen there is taken to be written by it

cdef enum:
    KEY_END, KEY_NONE, KEY_FALSE, KEY_TRUE, KEY_INT, KEY_FLOAT, KEY_TUPLE, KEY_LIST, KEY_OBJECT, KEY_SLICE, KEY_TENSOR, KEY_AGAIN

cdef struct Launch:
    fb_kernel kernel    # NULL for a guard: `extent` integers that must be within [slots 0, slots 1)
    int64_t extent
    int64_t grain
    int64_t work
    int slot
    int slots
    int patch
    int patches

cdef struct Patch:
    int64_t offset      # bytes from where the source begins
    int slot
    int source


cdef class Watch:
    """What the function that is being watched in this process has launched so far."""
    cdef Launch[96] launches
    cdef int64_t[1536] slots
    cdef Patch[512] patches
    cdef int nlaunches
    cdef int nslots
    cdef int npatches
    cdef int nargs
    cdef PyObject **args
    cdef uint64_t written   # bit i: argument i
    cdef uint64_t touched   # bit i: argument i may have been written
    cdef uint64_t serial    # memory up to this block was there before
    cdef list made          # storages
    cdef list kept          # storages that launches read and nobody writes
    cdef bint lost


cdef Watch WATCH = None

cdef inline void unwatch() noexcept:
    """Something happened that a recipe can't hold."""
    if fb_watched:
        WATCH.lost = True


def unrecalled():
    """What is being done can't be done again from a list of launches."""
    unwatch()


cdef int source_of(Tensor t, int role) except -2:
    """Which block t is in; -1 for one that was there before and stays. `role` 0: t is read; 1: written; UNKNOWN."""
    cdef Watch w = WATCH
    cdef int i
    for i in range(w.nargs):
        if (<Tensor> w.args[i]).store is t.store:
            if role == 1:
                w.written |= (<uint64_t> 1) << i
            elif role < 0:
                w.touched |= (<uint64_t> 1) << i
            return i
    for i in range(len(w.made)):
        if w.made[i] is t.store:
            return w.nargs + i
    if t.store.borrowed:
        w.lost = True
    for store in w.kept:
        if store is t.store:
            w.lost = w.lost or role == 1
            return -1
    if t.store.serial <= w.serial:
        w.lost = w.lost or role == 1
        w.kept.append(t.store)
        return -1
    if role == 0:
        w.lost = True  # nobody was seen filling it
    w.made.append(t.store)
    return w.nargs + <int> len(w.made) - 1


cdef int note(fb_kernel kernel, const int64_t *slots, int nslots, PyObject **ts, const int *places, int n, int outputs, int64_t extent, int64_t grain, int64_t work) except -1:
    """A launch: ts[i] is the tensor whose address, or that of one of its elements, is in slots[places[i]]."""
    cdef Watch w = WATCH
    cdef Launch *a
    cdef Tensor t
    cdef int i, source
    if w.lost or w.nlaunches == MAXLAUNCHES or w.nslots + nslots > MAXSLOTS or w.npatches + n > MAXPATCHES:
        w.lost = True
        return 0
    a = &w.launches[w.nlaunches]
    a.kernel, a.extent, a.grain, a.work = kernel, extent, grain, work
    a.slot, a.slots, a.patch, a.patches = w.nslots, nslots, w.npatches, 0
    memcpy(&w.slots[w.nslots], slots, nslots * sizeof(int64_t))
    for i in range(n):
        if places[i] < 0:
            continue
        t = <Tensor> ts[i]
        source = source_of(t, UNKNOWN if outputs < 0 else i >= outputs)
        if source < 0:
            continue
        if w.nargs + len(w.made) > MAXSOURCES:
            w.lost = True
            return 0
        w.patches[w.npatches].slot = places[i]
        w.patches[w.npatches].source = source
        w.patches[w.npatches].offset = slots[places[i]] - (
            <int64_t> (<Tensor> w.args[source]).ptr if source < w.nargs else <int64_t> t.store.ptr)
        w.npatches += 1
        a.patches += 1
    w.nslots += nslots
    w.nlaunches += 1
    return 0


cdef int note_pointwise(Entry *e, const int64_t *args, int nslots, PyObject **xs, int n, tuple given, list made, Tensor out, int nout, int64_t extent, int64_t grain, int64_t work) except -1:
    """A launch for operands xs and nout outputs, whose addresses are in the first slots of args."""
    cdef PyObject *ts[24]
    cdef int[24] places
    cdef int i, slot = 0
    for i in range(n):
        ts[i] = xs[i]
        places[i] = slot if isinstance(<object> xs[i], Tensor) else -1
        if <object> xs[i] is not DEFAULT:
            slot += 1
    for i in range(nout):
        ts[n + i] = <PyObject *> (given[i] if given is not None else out if made is None else made[i])
        places[n + i] = slot + i
    return note(e.kernel, args, nslots, ts, places, n + nout, n, extent, grain, work)


cdef int note_slots(uint64_t address, const int64_t *slots, int nslots, list tensors, int outputs, int64_t extent, int64_t grain, int64_t work) except -1:
    """A launch whose first slots are the addresses of tensors."""
    cdef PyObject *ts[64]
    cdef int[64] places
    cdef int i, n = <int> len(tensors)
    if n > 64:
        WATCH.lost = True
        return 0
    for i in range(n):
        ts[i], places[i] = <PyObject *> tensors[i], i
    return note(<fb_kernel> address, slots, nslots, ts, places, n, outputs, extent, grain, work)


cdef int note_launch(uint64_t address, const int64_t *slots, args, int64_t extent, int64_t grain, int64_t work) except -1:
    """What `launch` is asked for, which doesn't say what is written."""
    cdef PyObject *ts[128]
    cdef int[128] places
    cdef int i = 0, n = 0
    for x in args:
        if isinstance(x, Tensor):
            ts[n], places[n] = <PyObject *> x, i
            n += 1
        i += 1
    return note(<fb_kernel> address, slots, i, ts, places, n, UNKNOWN, extent, grain, work)


cdef int note_step(Plan plan, Step step, const int64_t *slots, PyObject **ts, int arguments) except -1:
    """A step of a plan, of whose tensors the first ones are arguments."""
    cdef PyObject *mine[16]
    cdef int[16] places
    cdef int i, n = 0, outputs = 0
    for made in (False, True):
        for i in range(step.ntensors):
            if (step.tensors[i] >= arguments) == made:
                mine[n], places[n] = ts[step.tensors[i]], step.at[i]
                n += 1
        outputs = outputs if made else n
    WATCH.kept.append(plan)
    if not plan.keep:
        outputs = UNKNOWN  # what makes nothing writes an argument
    return note(<fb_kernel> step.address, slots, step.nslots, mine, places, n, outputs, step.extent, step.grain, step.work)


cdef int note_placed(uint64_t address, const int64_t *slots, int nslots, list read, list made, int64_t extent, int64_t grain, int64_t work) except -1:
    """A launch whose tensors, those it reads and those it makes, come with the slots that their addresses are in."""
    cdef PyObject *ts[64]
    cdef int[64] places
    cdef int i = 0
    for t, slot in read + made:
        ts[i], places[i] = <PyObject *> t, slot
        i += 1
    return note(<fb_kernel> address, slots, nslots, ts, places, i, <int> len(read), extent, grain, work)


cdef int note_guard(Tensor t, int64_t low, int64_t high) except -1:
    """Later calls may go on only where t's integers, too, are within [low, high)."""
    cdef int64_t[4] slots
    cdef int[1] places
    cdef PyObject *ts[1]
    if WATCH.written:
        WATCH.lost = True  # who finds an argument changed half-way can't begin again
    slots[0], slots[1], slots[2], slots[3] = <int64_t> t.ptr, low, high, t.code
    places[0] = 0
    ts[0] = <PyObject *> t
    return note(NULL, slots, 4, ts, places, 1, 1, t.count, 1, 0)


cdef bint integers_within(const char *p, int code, int64_t count, int64_t low, int64_t high) noexcept:
    cdef int64_t i, least = low, most = high - 1
    if code == I64:
        for i in range(count):
            least = min(least, (<const int64_t *> p)[i])
            most = max(most, (<const int64_t *> p)[i])
    else:
        for i in range(count):
            least = min(least, <int64_t> (<const int32_t *> p)[i])
            most = max(most, <int64_t> (<const int32_t *> p)[i])
    return least >= low and most < high


@cython.final
cdef class Outcome:
    """One tensor that a function returns: an argument, or a view of what was made."""
    cdef int source
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

    def __dealloc__(self):
        free(self.launches)
        free(self.slots)
        free(self.patches)


cdef object refused = object()  # what `redo` gives where a guard doesn't hold


cdef object redo(Recipe r, PyObject **ts, bint poisoned):
    """Does what the recipe says with these arguments; `refused` where they don't fit. `poisoned`: new memory is filled."""
    cdef char *base[48]
    cdef int64_t[1536] slots
    cdef char[8192 + 64] stack
    cdef char *scratch = NULL
    cdef Storage store, spare = None
    cdef list stores = []
    cdef int i, j, n
    cdef Launch *a
    cdef Patch *p
    cdef Tensor t
    for i in range(r.nargs):
        t = <Tensor> ts[i]
        base[i] = t.ptr
        if r.written >> i & 1:
            if t.unrecorded or t.store.inference:
                return refused
            for j in range(r.nargs):
                if j != i and (<Tensor> ts[j]).store is t.store:
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
        if a.kernel == NULL:
            if not integers_within(<char *> slots[0], <int> slots[3], a.extent, slots[1], slots[2]):
                return refused
        elif a.work < RELEASE:
            a.kernel(slots, 0, a.extent)
        else:
            with nogil:
                fb_parallel_for(a.kernel, slots, a.extent, a.grain)
    for i in range(r.nargs):
        if r.written >> i & 1:
            (<Tensor> ts[i]).store.count += 1
    if r.kind is Tensor:
        return shown(<Outcome> PyTuple_GET_ITEM(r.outcomes, 0), ts, stores)
    n = <int> PyTuple_GET_SIZE(r.outcomes)
    if r.kind is list:
        return [shown(<Outcome> x, ts, stores) for x in r.outcomes]
    found = PyType_GenericAlloc(<PyTypeObject *> r.kind, n)
    for i in range(n):
        x = shown(<Outcome> PyTuple_GET_ITEM(r.outcomes, i), ts, stores)
        Py_INCREF(x)
        PyTuple_SET_ITEM(found, i, x)
    return found


cdef Tensor shown(Outcome o, PyObject **ts, list stores):
    cdef Tensor t
    if o.source < 0:
        return <Tensor> ts[-1 - o.source]
    t = Tensor.__new__(Tensor)
    set_dims(t, o.nd)
    memcpy(t.dims, o.dims, 2 * o.nd * sizeof(int64_t))
    t.store = <Storage> stores[o.source]
    t.ptr = t.store.ptr + o.offset
    t.count, t.code, t.contig = o.count, o.code, o.contig
    return t


@cython.final
cdef class Recalled:
    """A function whose launches depend on its arguments' geometry and numbers alone, and are recalled.

    Calls whose arguments are recorded, watched by an interpreter, large, or of kinds that can't be compared at once go
    to the function itself.
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
        if fb_interpreters or fb_watched or fb_anomaly:
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
    words[0] = default_dtype
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
        if t.sparse or t.ndims > INLINE or t.count > SMALL_ARGUMENT or nts[0] == MAXARGUMENTS or n + 4 + 2 * t.ndims > MAXKEY:
            return 0
        if fb_grad_enabled and requires_grad(t):
            return 0
        for i in range(nts[0]):
            if ts[i] == <PyObject *> t:
                words[n], words[n + 1] = KEY_AGAIN, i
                return n + 2
        ts[nts[0]] = <PyObject *> t
        nts[0] += 1
        words[n] = KEY_TENSOR | <int64_t> t.code << 8 | <int64_t> t.ndims << 16
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
    cdef int i, j
    if WATCH is not None:
        return self.function(*args, **kwargs)
    for i in range(nts):
        for j in range(i):
            if (<Tensor> ts[i]).store is (<Tensor> ts[j]).store:
                return self.function(*args, **kwargs)
    w = Watch.__new__(Watch)
    w.nargs, w.args, w.serial, w.made, w.kept = nts, ts, BLOCKS, [], []
    WATCH = w
    fb_watched = 1
    try:
        result = self.function(*args, **kwargs)
    finally:
        fb_watched = 0
        WATCH = None
    r.hopeless = True
    if not w.lost and write_down(r, w, result) and (r.written or agrees(redo(r, ts, True), result)):
        r.hopeless = False
    else:
        r.outcomes = None
    return result


cdef bint write_down(Recipe r, Watch w, object result) except -1:
    """Puts what was noted into the recipe; False where the result isn't made of it."""
    cdef tuple parts = (result,) if isinstance(result, Tensor) else tuple(result) if isinstance(result, (tuple, list)) else None
    cdef list outcomes = []
    cdef int64_t total = 0
    cdef int i, returned = 0
    cdef Outcome o
    cdef Tensor t
    cdef Storage store
    if parts is None or w.nargs + len(w.made) > MAXSOURCES:
        return False
    r.kind = type(result)
    r.nargs, r.nmade, r.nlaunches, r.written = w.nargs, <int> len(w.made), w.nlaunches, w.written
    for i in range(r.nmade):
        r.sizes[i], r.at[i] = (<Storage> w.made[i]).total, 0
    for x in parts:
        if type(x) is not Tensor:
            return False
        t = <Tensor> x
        if t.sparse or requires_grad(t) or t.ndims > INLINE:
            return False
        o = Outcome.__new__(Outcome)
        for i in range(w.nargs):
            if w.args[i] == <PyObject *> t:
                r.written |= w.touched & (<uint64_t> 1) << i
                o.source = -1 - i
                break
        else:
            for i in range(r.nmade):
                if w.made[i] is t.store:
                    break
            else:
                return False
            o.source, o.offset, o.code, o.nd = i, t.ptr - t.store.ptr, t.code, t.ndims
            o.count, o.contig = t.count, t.contig
            memcpy(o.dims, t.dims, 2 * t.ndims * sizeof(int64_t))
            r.at[i] = -1
        outcomes.append(o)
    for i in range(r.nmade):
        total += r.sizes[i]
        if r.at[i] >= 0:
            r.at[i] = r.scratch
            r.scratch += (r.sizes[i] + 63) & ~63
            continue
        for o in outcomes:
            if o.source == i:
                o.source = returned + MAXSOURCES
        returned += 1
    if total > MOST_MEMORY:
        return False
    for o in outcomes:
        if o.source >= MAXSOURCES:
            o.source -= MAXSOURCES
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
