# Watching a function: every launch is noted with the memory it reads and writes, which is an argument's, was made for
# the call, or was there before. What can't be noted so (elements read by Python, memory filled by anything but a kernel)
# makes the notes useless, which they say of themselves. Random numbers are launches that draw from a Stream.

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
    KEY_END, KEY_NONE, KEY_FALSE, KEY_TRUE, KEY_INT, KEY_FLOAT, KEY_TUPLE, KEY_LIST, KEY_OBJECT, KEY_SLICE, KEY_TENSOR, KEY_AGAIN, KEY_SHARED

cdef struct Launch:
    fb_kernel kernel    # NULL for a guard: `extent` integers that must be within [slots 0, slots 1)
    int64_t extent
    int64_t grain
    int64_t work
    int slot
    int slots
    int patch
    int patches
    int drawn           # the slot of a seed, before that of a call; -1 where nothing is random

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
    cdef uint64_t sequence  # and so were nodes up to this one
    cdef list edges         # of the arguments
    cdef list outcomes      # tensors described so far
    cdef list made          # storages
    cdef list kept          # storages that launches read and nobody writes
    cdef bint random        # whether a launch draws
    cdef bint lost


cdef Watch WATCH = None

cdef inline void unwatch() noexcept:
    """Something happened that a recipe can't hold."""
    if fb_watched:
        WATCH.lost = True


cdef class Stream:
    """A seed, and how many calls have drawn random numbers from it."""
    cdef public uint64_t _seed
    cdef public uint64_t calls

    def draw(self):
        """(seed, call) for the next call, as int64 values."""
        unwatch()
        self.calls += 1
        return <int64_t> self._seed, <int64_t> (self.calls - 1)


cdef Stream DEFAULT_STREAM = None


def set_default_stream(Stream stream):
    """What calls draw from where no other source is set in their thread."""
    global DEFAULT_STREAM
    DEFAULT_STREAM = stream


def set_sourced(bint value):
    """Whether calls in this thread ask hooks["stream"] what they draw from."""
    global fb_sourced
    fb_sourced = value


cdef inline Stream current_stream():
    return <Stream?> hooks["stream"]() if fb_sourced else DEFAULT_STREAM


def launch_drawn(uint64_t address, tuple tensors, Stream stream, tuple numbers, int64_t extent, int64_t grain, int64_t work):
    """`launch` of a kernel whose parameters are tensors, a seed and a call, then numbers."""
    cdef Watch w = WATCH
    if stream is None:
        stream = current_stream()
    stream.calls += 1
    launch(address, (*tensors, <int64_t> stream._seed, <int64_t> stream.calls - 1, *numbers), extent, grain, work)
    if fb_watched and not w.lost:
        w.launches[w.nlaunches - 1].drawn = <int> len(tensors)
        w.random = True


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
    a.slot, a.slots, a.patch, a.patches, a.drawn = w.nslots, nslots, w.npatches, 0, -1
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
    elif code == BOOL:
        for i in range(count):
            least = min(least, <int64_t> (<const uint8_t *> p)[i])
            most = max(most, <int64_t> (<const uint8_t *> p)[i])
    else:
        for i in range(count):
            least = min(least, <int64_t> (<const int32_t *> p)[i])
            most = max(most, <int64_t> (<const int32_t *> p)[i])
    return least >= low and most < high
