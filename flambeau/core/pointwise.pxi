# Running a pointwise op: key, cached kernel, launch, tape node. `pointwise` is the warm path for contiguous operands of
# one shape, `general` in strided.pxi for all others; a miss asks hooks["pointwise_miss"].

cdef inline int write_slot(int64_t *slot, int code, object x) except -1:
    """A Python number as a kernel argument of dtype `code`."""
    cdef float f
    cdef double d
    cdef char[16] raw
    if code == F32 or code == F16 or code == BF16:
        f = <float> <double> x
        slot[0] = 0
        memcpy(slot, &f, 4)
    elif code == F64:
        d = x
        memcpy(slot, &d, 8)
    elif code == I64:
        try:
            slot[0] = x
        except OverflowError:
            raise RuntimeError(f"{x} doesn't fit in int64") from None
    else:
        write_element(raw, code, x)
        slot[0] = 0
        if code == BOOL or code == U8:
            slot[0] = (<uint8_t *> raw)[0]
        elif code == I8:
            slot[0] = (<int8_t *> raw)[0]
        elif code == I16:
            slot[0] = (<int16_t *> raw)[0]
        elif code == I32:
            slot[0] = (<int32_t *> raw)[0]
        elif code == U16:
            slot[0] = (<uint16_t *> raw)[0]
        elif code == U32:
            slot[0] = (<uint32_t *> raw)[0]
        else:
            memcpy(slot, raw, 8)
    return 0


cdef inline int number_key(Op op, object x) except -1:
    if PyFloat_CheckExact(x):
        return KEY_NUMBER + 2
    if isinstance(x, bool):
        return KEY_NUMBER
    if isinstance(x, int):
        return KEY_NUMBER + 1
    if isinstance(x, complex):
        return KEY_NUMBER + 3
    if hasattr(x, "__index__"):
        return KEY_NUMBER + 1
    if hasattr(x, "__float__"):
        return KEY_NUMBER + 2
    raise TypeError(
        f"{op.name}: ({', '.join(op.parameters)}) are tensors or numbers, got {type(x).__name__}; use flambeau.tensor(data)"
    )


cdef Entry *miss(Op op, PyObject **xs, int n, tuple given, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t layout, int k, int8_t *classes) except NULL:
    """Asks for the kernel, and remembers it."""
    cdef Entry *e
    cdef Entry **grown
    cdef int i
    keys = []
    for i in range(n):
        keys.append(<int> ((k0 if i < 10 else k1 if i < 20 else k2) >> (6 * (i % 10)) & 63))
    address, out_codes, number_codes, differentiable, refuse = hooks["pointwise_miss"](
        op, tuple(keys), tuple([classes[i] for i in range(n + op.nout)]), k, bool(layout >> 3 & 1),
        None if given is None else tuple([DTYPES[(<Tensor> o).code] for o in given]))
    if op.nentries == op.capacity:
        grown = <Entry **> realloc(op.entries, (2 * op.capacity + 2) * sizeof(Entry *))
        if grown == NULL:
            raise MemoryError()
        op.entries = grown
        op.capacity = 2 * op.capacity + 2
    e = <Entry *> malloc(sizeof(Entry))
    if e == NULL:
        raise MemoryError()
    memset(e, 0, sizeof(Entry))
    e.k0, e.k1, e.k2, e.layout = k0, k1, k2, layout
    e.kernel = <fb_kernel> <uint64_t> address
    for i in range(op.nout):
        e.out_codes[i] = out_codes[i]
    for i in range(n):
        e.number_codes[i] = number_codes[i]
    e.differentiable = differentiable
    if refuse is not None:
        Py_INCREF(refuse)
        e.refuse = <PyObject *> refuse
    op.entries[op.nentries] = e
    op.nentries += 1
    return e


cdef Vjp vjp_of(Op op, Entry *e, uint64_t mask, int n):
    """How to go backward for these operands; made once per entry and set of operands."""
    cdef object found
    if e.vjp != NULL and e.vjp_mask == mask:
        return <Vjp> e.vjp
    if e.vjps == NULL:
        table = {}
        Py_INCREF(table)
        e.vjps = <PyObject *> table
    found = (<dict> e.vjps).get(mask)
    if found is None:
        keys = tuple([<int> ((e.k0 if i < 10 else e.k1 if i < 20 else e.k2) >> (6 * (i % 10)) & 63) for i in range(n)])
        found = hooks["vjp"](op, keys, mask)
        (<dict> e.vjps)[mask] = found
    Py_INCREF(found)
    Py_XDECREF(e.vjp)
    e.vjp = <PyObject *> found
    e.vjp_mask = mask
    return <Vjp> found


cdef object with_complex_numbers(Op op, PyObject **xs, int n, tuple given, int mode):
    """Complex numbers as 0-dimensional tensors: a kernel's argument has room for 8 bytes only."""
    cdef PyObject* operands[24]
    cdef list keep = []
    cdef bint wide = default_dtype == F64
    cdef int i
    for x in ([] if given is None else list(given)) + [<object> xs[i] for i in range(n)]:
        if isinstance(x, Tensor) and (<Tensor> x).code in (F64, C128):
            wide = True
    for i in range(n):
        operands[i] = xs[i]
        if isinstance(<object> xs[i], complex):
            number = from_nested(<object> xs[i], DTYPES[C128 if wide else C64])
            keep.append(number)
            operands[i] = <PyObject *> number
    return pointwise(op, operands, n, given, mode)


cdef object pointwise(Op op, PyObject **xs, int n, tuple given, int mode):
    """Runs a pointwise op. `given` holds existing outputs; mode 1 records an in-place write to given[0] (operand 0)."""
    cdef int i, j, nd = 0, k = 1, key, nout = op.nout
    cdef uint64_t[3] keys
    cdef uint64_t layout, mask = 0, given_bits = 0
    cdef Tensor t, full = None, out
    cdef bint simple = True, broadcasts = False, grads = fb_grad_enabled
    cdef int64_t count = 1
    cdef int8_t[24] classes
    cdef Entry *e = NULL
    cdef object x
    cdef tuple saved_target = None
    if fb_interpreters:
        return interpret(op, tuple([<object> xs[i] for i in range(n)]), {}, given, mode)
    # The default dtype decides what integers become: it is part of the key.
    keys[0] = <uint64_t> (default_dtype - F32 & 3) << 60
    keys[1] = keys[2] = 0
    for i in range(n):
        x = <object> xs[i]
        if isinstance(x, Tensor):
            t = <Tensor> x
            key = t.code
            if t.ndims == 0:
                if t.sparse:
                    return sparsely(op, tuple([<object> xs[i] for i in range(n)]), {}, given, mode)
                key |= KEY_ZERO_DIM
                classes[i] = 0
                broadcasts = True
            else:
                classes[i] = 1
                if full is None:
                    full = t
                    simple = simple and t.contig
                elif simple and not (t.contig and same_shape(full, t)):
                    simple = False
            if grads and requires_grad(t):
                mask |= (<uint64_t> 1) << i
        elif x is DEFAULT:
            key = KEY_DEFAULT
            classes[i] = 0
        else:
            key = number_key(op, x)
            if key == KEY_NUMBER + 3:
                return with_complex_numbers(op, xs, n, given, mode)
            classes[i] = 0
        keys[i // 10] |= (<uint64_t> key) << (6 * (i % 10))
    if given is not None:
        if mode == 1:
            check_inplace(<Tensor> given[0], op.name, mask != 0)
        for j in range(len(given)):
            t = given[j]
            if t.sparse:
                return sparsely(op, tuple([<object> xs[i] for i in range(n)]), {}, given, mode)
            for i in range(n):
                if simple and isinstance(<object> xs[i], Tensor) and ranges_overlap(t, <Tensor> <object> xs[i]):
                    simple = same_elements(t, <Tensor> <object> xs[i])
            if j < 3:
                given_bits |= (<uint64_t> (t.code + 1)) << (52 + 4 * j)
            if simple and not (t.contig and (same_shape(t, full) if full is not None else t.ndims == 0)):
                simple = False
    if not simple:
        return general(op, xs, n, given, mode, keys, given_bits, mask, classes)
    if full is not None:
        count = full.count
        nd = full.ndims
    layout = 1 | given_bits
    for i in range(n):
        layout |= (<uint64_t> classes[i]) << (4 + 2 * i)
    for j in range(nout):
        classes[n + j] = 1
        layout |= (<uint64_t> 1) << (4 + 2 * (n + j))
    if count * 4 >= STREAM:
        layout |= 8
    for i in range(op.nentries):
        e = op.entries[i]
        if e.k0 == keys[0] and e.layout == layout and e.k1 == keys[1] and e.k2 == keys[2]:
            break
    else:
        e = miss(op, xs, n, given, keys[0], keys[1], keys[2], layout, 1, classes)
    if e.refuse != NULL and count:
        (<object> e.refuse)(op.name, *[<object> xs[i] for i in range(n)])
    mask &= e.differentiable
    cdef Vjp v = None
    if mask and mode != NO_OUTPUT:
        v = vjp_of(op, e, mask, n)
        if mode == 1 and v is not None and 0 in v.needs:
            saved_target = (snapshot(<Tensor> given[0]),)
    # ---- launch
    cdef int64_t[32] args
    cdef int slot = 0
    for i in range(n):
        x = <object> xs[i]
        if isinstance(x, Tensor):
            args[slot] = <int64_t> (<Tensor> x).ptr
        elif x is DEFAULT:
            continue
        else:
            write_slot(&args[slot], e.number_codes[i], x)
        slot += 1
    cdef PyObject* outs[4]
    cdef list made = None
    if given is not None:
        for j in range(nout):
            t = given[j]
            t.store.count += 1
            args[slot] = <int64_t> t.ptr
            slot += 1
        out = given[0]
    elif nout == 1:
        out = empty(e.out_codes[0], nd, full.dims if full is not None else NULL)
        args[slot] = <int64_t> out.ptr
        slot += 1
    else:
        made = []
        out = None
        for j in range(nout):
            t = empty(e.out_codes[j], nd, full.dims if full is not None else NULL)
            made.append(t)
            args[slot] = <int64_t> t.ptr
            slot += 1
    args[slot] = count
    if fb_watched:
        note_pointwise(e, args, slot + 1, xs, n, given, made, out, nout, count, GRAIN, count)
    if count <= GRAIN:
        e.kernel(args, 0, count)
    elif count < RELEASE:
        fb_parallel_for(e.kernel, args, count, GRAIN)
    else:
        with nogil:
            fb_parallel_for(e.kernel, args, count, GRAIN)
    # ---- record
    if v is not None:
        record_pointwise(op, v, xs, n, out, made, mode, saved_target, broadcasts and nd > 0)
    return out if made is None else tuple(made)


cdef Tensor snapshot(Tensor t):
    """A copy of what is about to be overwritten, at t's place on the tape: higher derivatives pass through it."""
    cdef Tensor out = copy_of(alias(t))
    out.node = current_node(t)
    out.nr = t.nr
    return out


cdef int record_pointwise(Op op, Vjp v, PyObject **xs, int n, Tensor out, list made, int mode, tuple saved_target, bint broadcasts) except -1:
    cdef Node node = new_node(POINTWISE, op.node_name)
    cdef Py_ssize_t i, k = PyTuple_GET_SIZE(v.needs), w = PyTuple_GET_SIZE(v.wrt)
    cdef int which
    cdef tuple saved = PyTuple_New(k), edges = PyTuple_New(w)
    cdef object x
    cdef list nrs = None, shapes = None
    cdef Tensor t
    node.vjp = v
    node.nout = op.nout
    for i in range(k):
        which = v.needs[i]
        if which < n:
            x = <object> xs[which]
            if mode == 1 and which == 0:
                x = saved_target[0]
        else:
            x = out if made is None else made[which - n]
        Py_INCREF(x)
        PyTuple_SET_ITEM(saved, i, x)
    for i in range(w):
        t = <Tensor> <object> xs[<int> v.wrt[i]]
        x = edge_of(t)
        Py_INCREF(x)
        PyTuple_SET_ITEM(edges, i, x)
        if t.nr:
            if nrs is None:
                nrs = [0] * w
            nrs[i] = t.nr
        if broadcasts and not same_shape(t, out if made is None else made[0]):
            if shapes is None:
                shapes = [None] * w
            shapes[i] = size_tuple(t.ndims, t.dims)
    node.edges = edges
    if nrs is not None:
        node.nrs = tuple(nrs)
    if shapes is not None:
        node.info = tuple(shapes)
    save_tensors(node, saved)
    if made is None:
        for i in range(k):
            if <int> v.needs[i] >= n:
                own_outputs(node, (out,))
                break
    if fb_saved_hooks:
        pack_saved(node)
    if mode == 1:
        rebase(out, node, (<tuple> v.wrt).index(0) if 0 in v.wrt else -1)
    elif made is None:
        out.node = node
    else:
        for i in range(len(made)):
            if made[i] is not None:
                t = made[i]
                t.node = node
                t.nr = <int> i
    return 0


cdef bint ranges_overlap(Tensor a, Tensor b) noexcept:
    """Whether two tensors may share an element."""
    cdef int64_t end_a = 0, end_b = 0
    cdef int i
    if a.count == 0 or b.count == 0:
        return False
    for i in range(a.ndims):
        end_a += (a.dims[i] - 1) * a.dims[a.ndims + i]
    for i in range(b.ndims):
        end_b += (b.dims[i] - 1) * b.dims[b.ndims + i]
    return a.ptr < b.ptr + (end_b + 1) * ITEMSIZE[b.code] and b.ptr < a.ptr + (end_a + 1) * ITEMSIZE[a.code]


cdef inline bint same_elements(Tensor a, Tensor b) noexcept:
    """Whether element i of one is element i of the other, for every i."""
    return a.ptr == b.ptr and a.ndims == b.ndims and memcmp(a.dims, b.dims, 2 * a.ndims * sizeof(int64_t)) == 0 and (
        ITEMSIZE[a.code] == ITEMSIZE[b.code])
