# Planned calls: what the geometry of tensors and a few parameters decide is thought through once, then remembered.
#
# `build` turns arguments into a Plan: results to allocate, and kernels with their numbers. A call with tensors of the
# same dtypes, shapes and strides and equal parameters goes from one dictionary to the launch.

cdef enum:
    MAXPLANNED = 16     # tensors of a plan: arguments, then results, then scratch
    PLANS = 4096        # plans remembered; one more forgets them all


@cython.final
cdef class Step:
    """One kernel of a plan: `tensors` are counted over arguments, results and scratch; `numbers` come after them.

    `at` says which arguments of the kernel the tensors are, where they aren't the first ones.
    """
    cdef uint64_t address
    cdef int64_t extent
    cdef int64_t grain
    cdef int64_t work
    cdef int ntensors
    cdef int nslots
    cdef int8_t[16] tensors
    cdef int8_t[16] at
    cdef int64_t[80] slots  # numbers, with gaps where tensors go

    def __init__(self, uint64_t address, tensors, tuple numbers, int64_t extent, int64_t grain=1, int64_t work=RELEASE, at=None):
        self.address, self.extent, self.grain, self.work = address, extent, grain, work
        self.ntensors, self.nslots = len(tensors), len(tensors) + len(numbers)
        if self.ntensors > MAXPLANNED or len(numbers) > 64:
            raise ValueError(f"a step has at most {MAXPLANNED} tensors and 64 numbers, got {len(tensors)} and {len(numbers)}")
        places = list(range(self.ntensors)) if at is None else list(at)
        rest = [slot for slot in range(self.nslots) if slot not in places]
        for i in range(self.ntensors):
            self.tensors[i], self.at[i] = tensors[i], places[i]
        for slot, number in zip(rest, numbers):
            write_numbers(self.slots, slot, (number,))


@cython.final
cdef class Plan:
    """`made` are the (shape, dtype) of results and then of scratch, of which the first `keep` (all) are returned.

    Of a primitive: `saves` says which tensors, counted over arguments and results, its vjp gets as ctx.saved, and
    `note` is its ctx.note. `held` are tensors whose addresses are among the numbers of steps.
    """
    cdef tuple steps
    cdef list codes
    cdef int64_t *sizes     # of each of what is made: how many dimensions, and their sizes
    cdef int keep
    cdef readonly tuple saves
    cdef readonly object note
    cdef tuple held

    def __init__(self, made, *steps, int keep=-1, tuple saves=(), note=None, tuple held=()):
        cdef int64_t[64] sizes
        cdef Py_ssize_t at = 0, total = 0
        cdef int nd
        self.steps, self.saves, self.note, self.held = steps, saves, note, held
        self.codes = [dtype_code(dtype) for _, dtype in made]
        self.keep = len(self.codes) if keep < 0 else keep
        for shape, _ in made:
            total += 1 + len(shape)
        self.sizes = <int64_t *> malloc(max(total, 1) * sizeof(int64_t))
        if self.sizes == NULL:
            raise MemoryError()
        for shape, _ in made:
            nd = parse_shape((tuple(shape),), sizes)
            self.sizes[at] = nd
            memcpy(self.sizes + at + 1, sizes, nd * sizeof(int64_t))
            at += 1 + nd

    def __dealloc__(self):
        free(self.sizes)


cdef struct Given:
    PyObject *arguments[MAXPLANNED]  # the tensors of a call, as they were given, and …
    PyObject *tensors[MAXPLANNED]    # … as kernels read them; what a plan makes comes after them
    int count


@cython.final
cdef class Planned:
    """A function off the tape whose work is a Plan: `build(*arguments)` is asked once for each geometry.

    Tensors that aren't contiguous are copied before, unless plans are `strided`. Errors of build aren't remembered.
    """
    cdef readonly object build
    cdef readonly bint strided
    cdef dict plans

    def __init__(self, build, bint strided=False):
        self.build, self.strided, self.plans = build, strided, {}

    def __repr__(self):
        return f"<planned {self.build.__name__}>"

    def __call__(self, *args):
        cdef Given given
        cdef list copies = []
        cdef Plan plan = self.find(args, &given, copies)
        return returned(plan, carry_out(plan, &given))

    def carried_out(self, ctx, tuple args):
        """The results of a primitive; ctx is given what its plan says."""
        cdef Given given
        cdef list copies = []
        cdef Plan plan = self.find(args, &given, copies)
        cdef list made = carry_out(plan, &given)
        ctx.note = plan.note
        if plan.saves:
            ctx.save(*saved_by(plan, &given, made))
        return returned(plan, made)

    cdef Plan find(self, tuple args, Given *given, list copies):
        """The plan for these arguments; `given` is filled with their tensors, which `copies` keeps alive."""
        cdef Py_ssize_t n = PyTuple_GET_SIZE(args), i
        cdef tuple key = PyTuple_New(n)
        cdef object part
        cdef Tensor t
        given.count = 0
        for i in range(n):
            part = <object> PyTuple_GET_ITEM(args, i)
            if isinstance(part, Tensor):
                t = add_given(given, <Tensor> part, self.strided, copies)
                part = look_of(t, False)
            elif PyFloat_CheckExact(part):
                part = bits_of(part)
            Py_INCREF(part)
            PyTuple_SET_ITEM(key, i, part)
        found = self.plans.get(key)
        if found is None:
            if len(self.plans) >= PLANS:
                self.plans.clear()
            found = self.plans[key] = self.build(*args)
        return <Plan?> found


cdef extern from "Python.h":
    object PyBytes_FromStringAndSize(const char *v, Py_ssize_t n)


cdef inline object look_of(Tensor t, bint recorded):
    """What a plan depends on of a tensor: dtype, sizes and strides; and whether what happens to it is `recorded`."""
    cdef int64_t[65 + 64] looks
    looks[0] = t.code | <int64_t> recorded << 8
    memcpy(&looks[1], t.dims, 2 * t.ndims * sizeof(int64_t))
    return PyBytes_FromStringAndSize(<char *> looks, (1 + 2 * t.ndims) * sizeof(int64_t))


cdef inline object bits_of(object x):
    """A float as what tells it from integers, and one zero from the other."""
    cdef char[9] bits
    cdef double value = x
    bits[0] = 1
    memcpy(&bits[1], &value, sizeof(double))
    return PyBytes_FromStringAndSize(bits, 9)


cdef Tensor add_given(Given *given, Tensor t, bint strided, list copies):
    if given.count == MAXPLANNED:
        raise ValueError(f"a plan has at most {MAXPLANNED} tensors")
    given.arguments[given.count] = <PyObject *> t
    if t.sparse:
        no_memory(t, "a kernel")
    if not (strided or t.contig):
        t = clone_contiguous(t)
        copies.append(t)
    given.tensors[given.count] = <PyObject *> t
    given.count += 1
    return t


cdef list carry_out(Plan plan, Given *given):
    """Allocates what the plan makes, runs its steps and returns all that was made."""
    cdef int64_t[96] slots
    cdef int64_t *sizes = plan.sizes
    cdef int i, nt = given.count, count = len(plan.codes)
    cdef list made = PyList_New(count)
    cdef Step step
    cdef Tensor t
    if nt + count > MAXPLANNED:
        raise ValueError(f"a plan has at most {MAXPLANNED} tensors, got {nt + count}")
    for i in range(count):
        t = empty(plan.codes[i], <int> sizes[0], sizes + 1)
        sizes += 1 + sizes[0]
        Py_INCREF(t)
        PyList_SET_ITEM(made, i, t)
        given.tensors[nt + i] = <PyObject *> t
    if fb_interpreters:
        interpret(LAUNCH, tuple([<object> given.tensors[i] for i in range(nt + count)]), {}, None, 0)
    for step in plan.steps:
        memcpy(slots, step.slots, step.nslots * sizeof(int64_t))
        for i in range(step.ntensors):
            slots[step.at[i]] = <int64_t> (<Tensor> given.tensors[step.tensors[i]]).ptr
        if fb_watched and step.extent:
            note_step(plan, step, slots, given.tensors, nt)
        if step.extent:
            run_kernel(step.address, slots, step.extent, step.grain, step.work)
    return made


cdef inline object returned(Plan plan, list made):
    return made[0] if plan.keep == 1 else tuple(made[:plan.keep])


cdef tuple saved_by(Plan plan, Given *given, list made):
    cdef int at
    cdef list saved = []
    for at in plan.saves:
        saved.append(<object> given.arguments[at] if at < given.count else made[at - given.count])
    return tuple(saved)
