# Reductions: a layout is brought to (outer, length, inner), split into blocks and launched; sum and mean are recorded here.

cdef class Reduction:
    """A reduction over dimensions: `definition` folds elements, the core finds the layout, splits and launches.

    A kernel sees its input as (outer, length, inner): 'row' kernels where inner is 1, 'column' kernels elsewhere;
    lengths over REDUCE_BLOCK are folded block by block ('partial') and then over the blocks ('final').
    """
    cdef readonly str name
    cdef readonly object definition
    cdef readonly int nout
    cdef readonly str __doc__
    cdef dict kernels

    def __init__(self, str name, definition, int nout, doc=None):
        self.name = name
        self.definition = definition
        self.nout = nout
        self.kernels = {}
        self.__doc__ = doc

    def __repr__(self):
        return f"<reduction {self.name}>"

    cdef tuple kernel(self, int code, int out_code, bint column, int stage):
        cdef int key = (code * 16 + out_code + 1) * 8 + column * 4 + stage
        found = self.kernels.get(key)
        if found is None:
            found = hooks["reduce_miss"](self, DTYPES[code], None if out_code < 0 else DTYPES[out_code], column, stage)
            self.kernels[key] = found
        return <tuple> found

    def __call__(self, Tensor x, dims=None, bint keepdim=False, dtype=None, numbers=()):
        """The reduction, off the tape: of every dimension, or of those in `dims`."""
        if x.sparse:
            return sparsely(self, (x, dims, keepdim, dtype, numbers), {}, None, 0)
        if fb_interpreters:
            return interpret(self, (x, dims, keepdim, dtype, numbers), {}, None, 0)
        found = reduce_tensor(self, x, dim_mask(x, dims, self.name), keepdim, -1 if dtype is None else dtype_code(dtype), numbers)
        return found


cdef uint64_t dim_mask(Tensor x, object dims, str name) except? 0xFFFFFFFFFFFFFFFF:
    """Bit d for every dimension to reduce; no dims means all."""
    cdef uint64_t mask = 0, bit
    if dims is None or (isinstance(dims, (tuple, list)) and len(dims) == 0):
        return ((<uint64_t> 1) << x.ndims) - 1 if x.ndims < 64 else <uint64_t> -2
    if PyLong_CheckExact(dims):
        return ((<uint64_t> 1) << wrap_dim(dims, x.ndims)) if x.ndims else (wrap_dim(dims, 0) * 0)
    for d in (dims if isinstance(dims, (tuple, list)) else (dims,)):
        bit = (<uint64_t> 1) << wrap_dim(d, x.ndims)
        if mask & bit:
            raise RuntimeError(f"{name}: dimension {d} appears twice in {dims}")
        mask |= bit
    return mask if x.ndims else 0


cdef object reduce_tensor(Reduction op, Tensor x, uint64_t mask, bint keepdim, int out_code, tuple numbers):
    cdef int64_t[64] sizes
    cdef int64_t[64] order
    cdef int64_t outer = 1, length = 1, inner = 1, blocks, chunks, grain
    cdef int d, nd = 0, state = 0, kept = 0, i, slot
    cdef bint adjacent = True, column
    cdef Tensor src = x, t
    cdef list outs = [], parts = None
    cdef int64_t[32] args
    cdef tuple k
    for d in range(x.ndims):
        if mask >> d & 1:
            length *= x.dims[d]
            if keepdim:
                sizes[nd] = 1
                nd += 1
            if x.dims[d] != 1:
                if state == 2:
                    adjacent = False
                state = 1
        else:
            sizes[nd] = x.dims[d]
            nd += 1
            if x.dims[d] != 1:
                if state >= 1:
                    state = 2
                    inner *= x.dims[d]
                else:
                    outer *= x.dims[d]
    if not adjacent or not x.contig:
        # Kept dimensions first, reduced ones after them in their own order: the order of summation stays the same.
        for d in range(x.ndims):
            if not mask >> d & 1:
                order[kept] = d
                kept += 1
        i = kept
        for d in range(x.ndims):
            if mask >> d & 1:
                order[i] = d
                i += 1
        if adjacent:
            src = clone_contiguous(alias(x))
        else:
            src = clone_contiguous(permuted(alias(x), order))
            outer *= inner
            inner = 1
    column = inner != 1
    if length == 0:
        hooks["reduce_empty"](op, x.shape)
    blocks = (length + REDUCE_BLOCK - 1) // REDUCE_BLOCK
    chunks = (inner + PAGE - 1) // PAGE
    if outer * blocks * chunks < 4:
        chunks = (inner + COLUMNS - 1) // COLUMNS
    if blocks > 1:
        k = op.kernel(x.code, out_code, column, 1)
        parts = []
        args[0] = <int64_t> src.ptr
        slot = 1
        for code in k[1]:
            t = new_empty((outer, blocks, inner), DTYPES[code])
            parts.append(t)
            args[slot] = <int64_t> t.ptr
            slot += 1
        args[slot] = length
        args[slot + 1] = blocks
        args[slot + 2] = inner
        args[slot + 3] = chunks
        slot += 4
        slot = write_numbers(args, slot, numbers)
        if fb_watched:
            note_slots(<uint64_t> k[0], args, slot, [src, *parts], 1, outer * blocks * chunks, 8 if not column else 1, outer * length * inner)
        run_kernel(<uint64_t> k[0], args, outer * blocks * chunks, 8 if not column else 1, outer * length * inner)
    k = op.kernel(x.code, out_code, column, 2 if blocks > 1 else 0)
    slot = 0
    if parts is None:
        args[0] = <int64_t> src.ptr
        slot = 1
    else:
        for t in parts:
            args[slot] = <int64_t> t.ptr
            slot += 1
    for code in k[1]:
        t = empty(code, nd, sizes)
        outs.append(t)
        args[slot] = <int64_t> t.ptr
        slot += 1
    args[slot] = blocks if parts is not None else length
    args[slot + 1] = length
    args[slot + 2] = inner
    args[slot + 3] = chunks
    slot += 4
    slot = write_numbers(args, slot, numbers)
    length = blocks if parts is not None else length
    if outer * inner:
        grain = max(1, GRAIN // max(1, length * inner // chunks))
        if fb_watched:
            read = [src] if parts is None else parts
            note_slots(<uint64_t> k[0], args, slot, read + outs, <int> len(read), outer * chunks, grain, outer * length * inner)
        run_kernel(<uint64_t> k[0], args, outer * chunks, grain, outer * length * inner)
    return outs[0] if op.nout == 1 else tuple(outs)


def called_as(ctx, input, dim=None, keepdim=False, *, dtype=None, out=None):
    """What sum and mean are called with: `inspect.signature` looks here."""


cdef class LinearReduction:
    """sum and mean: a Reduction whose gradient is spread evenly, recorded without a Python call."""
    cdef readonly str name
    cdef readonly Reduction reduction
    cdef readonly bint divides
    cdef readonly str __doc__
    cdef dict __dict__

    def __init__(self, Reduction reduction, bint divides, doc):
        self.name = reduction.name
        self.reduction = reduction
        self.divides = divides
        self.__doc__ = doc

    @property
    def __name__(self):
        return self.name

    @property
    def __signature__(self):
        return hooks["signature"](called_as)

    def __repr__(self):
        return f"<op {self.name}>"

    def __get__(self, instance, owner):
        return self if instance is None else bind_method(self, instance)

    def __call__(self, Tensor input, dim=None, bint keepdim=False, *, dtype=None, Tensor out=None):
        cdef int code = -1 if dtype is None else dtype_code(dtype), d
        cdef uint64_t mask
        cdef Tensor y
        cdef Node node
        cdef int64_t count = 1
        if input.sparse:
            y = sparsely(self, (input, dim, keepdim), {} if dtype is None else {"dtype": dtype}, None, 0)
            return y if out is None else hooks["store"](out, y)
        if fb_interpreters:
            y = interpret(self, (input, dim, keepdim), {} if dtype is None else {"dtype": dtype}, None, 0)
            return y if out is None else hooks["store"](out, y)
        if self.divides and CATEGORY[input.code if code < 0 else code] < 2:
            raise RuntimeError(f"{self.name}: takes floating or complex tensors, got {input.dtype}; use x.float(), or dtype=")
        mask = dim_mask(input, dim, self.name)
        y = reduce_tensor(self.reduction, input, mask, keepdim, code, ())
        if fb_grad_enabled and requires_grad(input) and CATEGORY[y.code] >= 2:
            node = new_node(SUM, None)
            node.edges = (edge_of(input),)
            if input.nr:
                node.nrs = (input.nr,)
            if self.divides:
                for d in range(input.ndims):
                    if mask >> d & 1:
                        count *= input.dims[d]
            node.info = (to_tuple(input.ndims, input.dims), mask, count if self.divides else None, input.code)
            y.node = node
        if out is not None:
            return hooks["store"](out, y)
        return y


cdef int write_numbers(int64_t *args, int slot, tuple numbers) except -1:
    for x in numbers:
        write_slot(&args[slot], F64 if isinstance(x, float) else I64, x)
        slot += 1
    return slot


cdef int run_kernel(uint64_t address, int64_t *args, int64_t extent, int64_t grain, int64_t work) except -1:
    cdef fb_kernel kernel = <fb_kernel> address
    if work < RELEASE:
        if extent:
            kernel(args, 0, extent)
    else:
        with nogil:
            fb_parallel_for(kernel, args, extent, grain)
    return 0


CALL_EACH = <uint64_t> &fb_call_each  # the kernel that calls a library's routine for each matrix of a batch


def launch(uint64_t address, args, int64_t extent, int64_t grain=1, int64_t work=RELEASE):
    """Runs a kernel: tensors pass their first element's address, ints an i64, floats an f64."""
    cdef int64_t[128] slots
    cdef int n = 0
    cdef Tensor t
    if fb_interpreters:
        interpret(LAUNCH, tuple([x for x in args if isinstance(x, Tensor)]), {}, None, 0)
    if len(args) > 128:
        raise ValueError(f"launch: at most 128 arguments, got {len(args)}")
    for x in args:
        if isinstance(x, Tensor):
            if (<Tensor> x).sparse:
                no_memory(<Tensor> x, "a kernel")
            slots[n] = <int64_t> (<Tensor> x).ptr
        else:
            write_slot(&slots[n], F64 if isinstance(x, float) else I64, x)
        n += 1
    if fb_watched:
        note_launch(address, slots, args, extent, grain, work)
    run_kernel(address, slots, extent, grain, work)
