# Pointwise ops over operands that broadcast or aren't contiguous, and the copies made of such.

cdef object general(Op op, PyObject **xs, int n, tuple given, int mode, uint64_t *keys, uint64_t given_bits, uint64_t mask, int8_t *classes):
    """The same as `pointwise` for operands that broadcast or aren't contiguous."""
    cdef Geometry g
    cdef PyObject* operands[24]
    cdef list keep = []
    cdef int nd, i, j, d, k, nout = op.nout, lead, total = n + nout
    cdef int64_t[64] sizes
    cdef int64_t[64] out_strides
    cdef uint64_t layout
    cdef int64_t rows, inner, repeat, extent, grain
    cdef Tensor t, u, out = None
    cdef list made = None
    cdef Entry *e = NULL
    cdef Vjp v = None
    cdef tuple saved_target = None
    cdef bint preserved = False, strided = False
    nd = broadcast(op, xs, n, sizes)
    for i in range(n):
        operands[i] = xs[i]
    if given is not None:
        for j in range(nout):
            t = given[j]
            lead = t.ndims - nd
            if lead < 0:
                raise RuntimeError(f"{op.name}: the result has shape {[sizes[d] for d in range(nd)]}, which doesn't fit the output's, {list(t.shape)}")
            for d in range(t.ndims):
                if d >= lead and t.dims[d] != sizes[d - lead] and sizes[d - lead] != 1:
                    raise RuntimeError(f"{op.name}: the result has shape {[sizes[q] for q in range(nd)]}, which doesn't fit the output's, {list(t.shape)}")
                if t.count and t.dims[t.ndims + d] == 0 and t.dims[d] > 1:
                    raise RuntimeError(f"{op.name}: several elements of the output share one memory location (an expanded tensor); use clone() first")
            for i in range(n):
                if isinstance(<object> xs[i], Tensor):
                    u = <Tensor> <object> xs[i]
                    if ranges_overlap(t, u) and not same_elements(t, u):
                        # Read everything before anything is written.
                        u = copy_of(alias(u))
                        keep.append(u)
                        operands[i] = <PyObject *> u
        t = given[0]
        nd = t.ndims
        memcpy(sizes, t.dims, nd * sizeof(int64_t))
    g.nd = nd
    memcpy(g.sizes, sizes, nd * sizeof(int64_t))
    for i in range(n):
        if isinstance(<object> operands[i], Tensor):
            operand_strides(<Tensor> <object> operands[i], nd, g.strides[i])
        else:
            for d in range(nd):
                g.strides[i][d] = 0
    if given is not None:
        for j in range(nout):
            operand_strides(<Tensor> given[j], nd, g.strides[n + j])
    else:
        # A dense operand of the full shape lends the result its order of dimensions, as PyTorch has it.
        for i in range(n):
            if isinstance(<object> operands[i], Tensor):
                t = <Tensor> <object> operands[i]
                if t.ndims == nd and memcmp(t.dims, sizes, nd * sizeof(int64_t)) == 0 and dense_strides(t, out_strides):
                    preserved = True
                    break
        if not preserved:
            inner = 1
            for d in range(nd - 1, -1, -1):
                out_strides[d] = inner
                if sizes[d] > 1:
                    inner *= sizes[d]
        for j in range(nout):
            for d in range(nd):
                g.strides[n + j][d] = 0 if sizes[d] == 1 else out_strides[d]
    coalesce(&g, total, n)
    if g.nd == 0:
        g.nd = 1
        g.sizes[0] = 1
        for i in range(total):
            g.strides[i][0] = 0 if i < n else 1
    bring_inwards(&g, total, n)
    # ---- layout class: 0 broadcast, 1 contiguous, 2 strided, 3 contiguous along the dimension before
    k = min(g.nd, MAXK)
    for i in range(total):
        if g.strides[i][g.nd - 1] == 0 and i < n:
            classes[i] = 0
        elif g.strides[i][g.nd - 1] == 1 or g.sizes[g.nd - 1] == 1:
            classes[i] = 1
        else:
            classes[i] = 3 if k > 1 and g.strides[i][g.nd - 2] == 1 else 2
            strided = True
    layout = <uint64_t> k | given_bits
    for i in range(total):
        layout |= (<uint64_t> classes[i]) << (4 + 2 * i)
    inner = g.sizes[g.nd - 1]
    rows = 1
    for d in range(g.nd - k, g.nd - 1):
        rows *= g.sizes[d]
    repeat = 1
    for d in range(g.nd - k):
        repeat *= g.sizes[d]
    # Of short rows few cache lines are written whole.
    if rows * inner * 4 >= STREAM and inner >= TILE:
        layout |= 8
    for i in range(op.nentries):
        e = op.entries[i]
        if e.k0 == keys[0] and e.layout == layout and e.k1 == keys[1] and e.k2 == keys[2]:
            break
    else:
        e = miss(op, xs, n, given, keys[0], keys[1], keys[2], layout, k, classes)
    if e.refuse != NULL and inner and rows and repeat:
        (<object> e.refuse)(op.name, *[<object> xs[i] for i in range(n)])
    mask &= e.differentiable
    if mask and mode != NO_OUTPUT:
        v = vjp_of(op, e, mask, n)
        if mode == 1 and v is not None and 0 in v.needs:
            saved_target = (snapshot(<Tensor> given[0]),)
    # ---- arguments: operands, outputs, sizes, and strides unless every one is 0 or 1
    cdef int64_t[192] args
    cdef int[24] slots
    cdef int slot = 0
    cdef object x
    for i in range(n):
        x = <object> operands[i]
        slots[i] = -1
        if isinstance(x, Tensor):
            slots[i] = slot
            args[slot] = <int64_t> (<Tensor> x).ptr
        elif x is DEFAULT:
            continue
        else:
            write_slot(&args[slot], e.number_codes[i], x)
        slot += 1
    if nout > 1:
        made = []
    for j in range(nout):
        slots[n + j] = slot
        if given is not None:
            t = given[j]
            t.store.count += 1
        else:
            t = empty_strided_c(e.out_codes[j], nd, sizes, out_strides)
            if nout > 1:
                made.append(t)
        if j == 0:
            out = t
        args[slot] = <int64_t> t.ptr
        slot += 1
    for d in range(k):
        args[slot] = g.sizes[g.nd - k + d]
        slot += 1
    if k > 1 or strided:
        for i in range(total):
            if slots[i] >= 0:
                for d in range(k):
                    args[slot] = g.strides[i][g.nd - k + d]
                    slot += 1
    if inner and rows and repeat:
        if k == 1:
            extent, grain = inner, GRAIN
        elif strided:
            extent = rows // g.sizes[g.nd - 2] * ((g.sizes[g.nd - 2] + BAND - 1) // BAND) * ((inner + TILE - 1) // TILE)
            grain = max(1, GRAIN // (min(inner, <int64_t> TILE) * min(g.sizes[g.nd - 2], <int64_t> BAND)))
        else:
            extent = rows * ((inner + CHUNK - 1) // CHUNK)
            grain = max(1, GRAIN // min(inner, <int64_t> CHUNK))
        run_repeated(e, args, slot, &g, slots, total, op.nout, n, k, repeat, extent, grain, made, given, out, operands)
    if v is not None:
        record_pointwise(op, v, xs, n, out, made, mode, saved_target, True)
    return out if made is None or given is not None else tuple(made)


cdef int run_repeated(Entry *e, int64_t *args, int nslots, Geometry *g, int *slots, int total, int nout, int n, int k, int64_t repeat, int64_t extent, int64_t grain, list made, tuple given, Tensor out, PyObject **operands) except -1:
    """Launches once, or once for each index of the leading dimensions a kernel doesn't loop over."""
    cdef int64_t r, rest, at
    cdef int d, i, size
    cdef int64_t[24] base
    if repeat == 1:
        if fb_watched:
            note_pointwise(e, args, nslots, operands, n, given, made, out, nout, extent, grain, RELEASE if extent > grain else 0)
        if extent <= grain:
            e.kernel(args, 0, extent)
        else:
            with nogil:
                fb_parallel_for(e.kernel, args, extent, grain)
        return 0
    for i in range(total):
        if slots[i] >= 0:
            base[i] = args[slots[i]]
    for r in range(repeat):
        for i in range(total):
            if slots[i] < 0:
                continue
            if i < n:
                size = ITEMSIZE[(<Tensor> <object> operands[i]).code]
            elif given is not None:
                size = ITEMSIZE[(<Tensor> given[i - n]).code]
            else:
                size = ITEMSIZE[(out if made is None else <Tensor> made[i - n]).code]
            rest = r
            at = 0
            for d in range(g.nd - k - 1, -1, -1):
                at += rest % g.sizes[d] * g.strides[i][d]
                rest //= g.sizes[d]
            args[slots[i]] = base[i] + at * size
        if fb_watched:
            note_pointwise(e, args, nslots, operands, n, given, made, out, nout, extent, grain, RELEASE if extent > grain else 0)
        fb_parallel_for(e.kernel, args, extent, grain)
    return 0


# ---- copies
cdef Tensor copy_of(Tensor t):
    """A new contiguous copy, recorded like any op."""
    cdef PyObject* xs[1]
    cdef Tensor out
    if t.contig:
        xs[0] = <PyObject *> t
        return pointwise(COPY, xs, 1, None, 0)
    if not fb_interpreters and (not fb_grad_enabled or not requires_grad(t)):
        out = empty(t.code, t.ndims, t.dims)
        xs[0] = <PyObject *> t
        return pointwise(COPY, xs, 1, (out,), NO_OUTPUT)
    return hooks["contiguous"](t)


cdef Tensor make_contiguous(Tensor t):
    return t if t.contig else copy_of(t)


cdef int copy_into(Tensor target, Tensor source) except -1:
    """target[...] = source, cast and broadcast, recorded as an in-place write."""
    hooks["copy_"](target, source)
    return 0


def plain_copy(Tensor target, Tensor source):
    """target[...] = source, off the tape."""
    cdef PyObject* xs[1]
    xs[0] = <PyObject *> source
    pointwise(COPY, xs, 1, (target,), NO_OUTPUT)


def clone_contiguous(Tensor t):
    """A contiguous copy, off the tape."""
    cdef PyObject* xs[1]
    cdef Tensor out = empty(t.code, t.ndims, t.dims)
    xs[0] = <PyObject *> t
    pointwise(COPY, xs, 1, (out,), NO_OUTPUT)
    return out
