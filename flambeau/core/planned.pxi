# Planned calls: what the geometry of tensors and a few parameters decide is thought through once, then remembered.
#
# `build` turns arguments into a Plan: results to allocate, and kernels with their numbers. A call with tensors of the
# same dtypes, shapes and strides and equal parameters goes from one dictionary to the launch.

cdef enum:
    MAXPLANNED = 16     # tensors of a plan: arguments, then results, then scratch
    PLANS = 4096        # plans remembered; one more forgets them all


@cython.final
cdef class Step:
    """One kernel of a plan: `tensors` are counted over arguments, results and scratch; `numbers` come after them."""
    cdef uint64_t address
    cdef int64_t extent
    cdef int64_t grain
    cdef int64_t work
    cdef int ntensors
    cdef int nnumbers
    cdef int8_t[16] tensors
    cdef int64_t[64] numbers

    def __init__(self, uint64_t address, tensors, tuple numbers, int64_t extent, int64_t grain=1, int64_t work=RELEASE):
        self.address, self.extent, self.grain, self.work = address, extent, grain, work
        self.ntensors, self.nnumbers = len(tensors), len(numbers)
        if self.ntensors > MAXPLANNED or self.nnumbers > 64:
            raise ValueError(f"a step has at most {MAXPLANNED} tensors and 64 numbers, got {len(tensors)} and {len(numbers)}")
        for i, place in enumerate(tensors):
            self.tensors[i] = place
        write_numbers(self.numbers, 0, numbers)


@cython.final
cdef class Plan:
    """`made` are the (shape, dtype) of results and then of scratch, of which the first `keep` (all) are returned."""
    cdef tuple steps
    cdef list shapes
    cdef list codes
    cdef int keep

    def __init__(self, made, *steps, int keep=-1):
        self.steps = steps
        self.shapes = [tuple(shape) for shape, _ in made]
        self.codes = [dtype_code(dtype) for _, dtype in made]
        self.keep = len(self.shapes) if keep < 0 else keep


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
        cdef Py_ssize_t n = PyTuple_GET_SIZE(args), i
        cdef tuple key = PyTuple_New(n)
        cdef object part
        cdef Tensor t
        cdef PyObject *ts[MAXPLANNED]
        cdef int64_t[65] looks
        cdef int nt = 0
        cdef list copies = None
        for i in range(n):
            part = <object> PyTuple_GET_ITEM(args, i)
            if isinstance(part, Tensor):
                t = <Tensor> part
                if t.sparse:
                    no_memory(t, "a kernel")
                if not (self.strided or t.contig):
                    t = clone_contiguous(t)
                    if copies is None:
                        copies = []
                    copies.append(t)
                if nt == MAXPLANNED:
                    raise ValueError(f"a plan has at most {MAXPLANNED} tensors")
                ts[nt] = <PyObject *> t
                nt += 1
                looks[0] = t.code
                memcpy(&looks[1], t.dims, 2 * t.ndims * sizeof(int64_t))
                part = PyBytes_FromStringAndSize(<char *> looks, (1 + 2 * t.ndims) * sizeof(int64_t))
            Py_INCREF(part)
            PyTuple_SET_ITEM(key, i, part)
        found = self.plans.get(key)
        if found is None:
            if len(self.plans) >= PLANS:
                self.plans.clear()
            found = self.plans[key] = self.build(*args)
        return carry_out(<Plan?> found, ts, nt)


cdef extern from "Python.h":
    object PyBytes_FromStringAndSize(const char *v, Py_ssize_t n)


cdef object carry_out(Plan plan, PyObject **ts, int nt):
    cdef int64_t[96] slots
    cdef int64_t[64] sizes
    cdef int i, nd, count = len(plan.shapes)
    cdef list made = PyList_New(count)
    cdef Step step
    cdef Tensor t
    cdef tuple shape
    if nt + count > MAXPLANNED:
        raise ValueError(f"a plan has at most {MAXPLANNED} tensors, got {nt + count}")
    for i in range(count):
        shape = <tuple> plan.shapes[i]
        nd = parse_shape((shape,), sizes)
        t = empty(plan.codes[i], nd, sizes)
        Py_INCREF(t)
        PyList_SET_ITEM(made, i, t)
        ts[nt + i] = <PyObject *> t
    if fb_interpreters:
        interpret(LAUNCH, tuple([<object> ts[i] for i in range(nt + count)]), {}, None, 0)
    for step in plan.steps:
        for i in range(step.ntensors):
            slots[i] = <int64_t> (<Tensor> ts[step.tensors[i]]).ptr
        memcpy(&slots[step.ntensors], step.numbers, step.nnumbers * sizeof(int64_t))
        if step.extent:
            run_kernel(step.address, slots, step.extent, step.grain, step.work)
    return made[0] if plan.keep == 1 else tuple(made[:plan.keep])
