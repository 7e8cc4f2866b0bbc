# Row programs: formulas over the rows and columns of a matrix, each call one launch (and two more for sums over rows).
#
# What a formula is compiled for, dtypes, which arguments are there and which results are wanted, is the key of a short
# list, as it is for an Op. A miss asks hooks["row_miss"]. The formulas are in ops/softmax.py and ops/normalization.py.

cdef enum:
    MAXROW = 10         # arguments of a program
    MAXROWOUT = 4       # results
    KEY_STREAM = 1      # in the key beside the wanted results: stores bypass the caches
    SHARE = 8           # rows that a thread takes at a time at least, and that have one row of scratch between them, …
    SCRATCH = 1 << 20   # … unless rows are longer than this

cdef enum:
    FULL = 0            # one for each row and column
    ROW = 1             # one for each row
    COL = 2             # one for each column
    CHANNEL = 3         # one for each row, repeating: the value of row r stands at r modulo how many there are
    NUMBER = 4

cdef tuple EXTENTS = ("full", "row", "col", "channel", "number")


@cython.final
cdef class RowKernels:
    """What one key of a program needs: kernels over rows, over blocks of rows, and over those blocks' sums."""
    cdef uint64_t key
    cdef uint64_t wanted
    cdef uint64_t by_row
    cdef uint64_t partial
    cdef uint64_t last
    cdef int scratch    # dtype of a kernel's scratch, or -1
    cdef int8_t[4] codes
    cdef int8_t[4] part_codes


@cython.final
cdef class RowProgram:
    """`formula` over a matrix: called with its arguments, it computes results, off the tape.

    `inputs` are (name, extent), `outputs` (extent, whose dtype). The matrix is the first argument: its columns are its
    last dimension, or `cols` elements in order; all dimensions before are rows.
    """
    cdef readonly str name
    cdef readonly object formula
    cdef readonly tuple inputs
    cdef readonly tuple outputs
    cdef int nin
    cdef int nout
    cdef int8_t[10] extents
    cdef int8_t[4] out_extents
    cdef list entries

    def __init__(self, str name, formula, tuple inputs, tuple outputs):
        self.name, self.formula, self.inputs, self.outputs = name, formula, inputs, outputs
        self.nin, self.nout = len(inputs), len(outputs)
        if self.nin > MAXROW or self.nout > MAXROWOUT:
            raise ValueError(f"{name}: at most {MAXROW} arguments and {MAXROWOUT} results, got {self.nin} and {self.nout}")
        for i in range(self.nin):
            self.extents[i] = EXTENTS.index(inputs[i][1])
        for i in range(self.nout):
            self.out_extents[i] = EXTENTS.index(outputs[i][0])
        self.entries = []

    def __repr__(self):
        return f"<row program {self.name}>"

    def __call__(self, *values, int64_t cols=-1, tuple wanted=None):
        """The results, None for those that `wanted` says aren't; a program of one result returns it alone."""
        cdef Tensor x = <Tensor?> values[0], t
        cdef int64_t[32] args
        cdef int64_t[1] size
        cdef int64_t rows = 1, have, want, channels = 0
        cdef uint64_t key = 0, wants = 0
        cdef int i, slot = 0
        cdef RowKernels e
        cdef list keep = None, outs, read = None, made = None
        if fb_watched:
            read, made = [], []
        if PyTuple_GET_SIZE(values) != self.nin:
            raise TypeError(f"{self.name}: takes {self.nin} arguments, got {len(values)}")
        if fb_interpreters:
            return hooks["row_program"](self, values, cols, wanted)
        if cols < 0:
            cols = x.dims[x.ndims - 1] if x.ndims else 1
            for i in range(x.ndims - 1):
                rows *= x.dims[i]
        else:
            rows = x.count // cols if cols else 0
        for i in range(self.nin):
            value = <object> PyTuple_GET_ITEM(values, i)
            if isinstance(value, Tensor):
                t = <Tensor> value
                if not t.contig:
                    t = clone_contiguous(t)
                    if keep is None:
                        keep = []
                    keep.append(t)
                have = t.count
                if self.extents[i] == CHANNEL:
                    channels = have
                    want = have if have and rows % have == 0 else rows
                else:
                    want = rows * cols if self.extents[i] == FULL else rows if self.extents[i] == ROW else cols
                if have != want:
                    raise RuntimeError(
                        f"{self.name}: {self.inputs[i][0]} has {have} elements, expected {want} beside {rows} rows of {cols}"
                    )
                args[slot] = <int64_t> t.ptr
                if read is not None:
                    read.append((t, slot))
                slot += 1
                key = key << 6 | t.code
            elif value is None:
                key = key << 6 | KEY_DEFAULT
            elif PyFloat_CheckExact(value):
                write_slot(&args[slot], F64, value)
                slot += 1
                key = key << 6 | (KEY_NUMBER + 2)
            else:
                write_slot(&args[slot], I64, value)
                slot += 1
                key = key << 6 | (KEY_NUMBER + 1)
        if wanted is None:
            wants = (1 << self.nout) - 1
        else:
            for i in range(self.nout):
                wants |= <uint64_t> (1 if wanted[i] else 0) << i
        # Of short rows few cache lines are written whole.
        wants = wants << 1 | (KEY_STREAM if rows * cols * 4 >= STREAM and cols >= TILE else 0)
        for e in self.entries:
            if e.key == key and e.wanted == wants:
                break
        else:
            e = self.miss(values, key, wants)
        outs = [None] * self.nout
        for i in range(self.nout):
            if wants >> (i + 1) & 1:
                if self.out_extents[i] == FULL:
                    t = empty(e.codes[i], x.ndims, x.dims)
                else:
                    size[0] = rows if self.out_extents[i] == ROW else cols
                    t = empty(e.codes[i], 1, size)
                outs[i] = t
        if e.by_row:
            i = self.place_outputs(outs, args, slot, False, made)
            args[i], args[i + 1] = rows, cols
            i += 2
            if channels:
                args[i] = channels
                i += 1
            have = max(1, GRAIN // max(1, cols))
            if e.scratch >= 0:
                have = max(have, SHARE if cols < SCRATCH else 1)
                size[0] = (rows + have - 1) // have * cols
                t = empty(e.scratch, 1, size)
                args[i], args[i + 1] = <int64_t> t.ptr, have
                if made is not None:
                    made.append((t, i))
                i += 2
            if rows:
                if made is not None:
                    note_placed(e.by_row, args, i, read, made, rows, have, rows * cols)
                run_kernel(e.by_row, args, rows, have, rows * cols)
        if e.partial:
            self.sum_columns(e, outs, args, slot, rows, cols, channels, read)
        return outs[0] if self.nout == 1 else tuple(outs)

    cdef int place_outputs(self, list outs, int64_t *args, int slot, bint column, list made) except -1:
        cdef int i
        for i in range(self.nout):
            if outs[i] is not None and (self.out_extents[i] == COL) == column:
                args[slot] = <int64_t> (<Tensor> outs[i]).ptr
                if made is not None:
                    made.append((outs[i], slot))
                slot += 1
        return slot

    cdef int sum_columns(self, RowKernels e, list outs, int64_t *args, int slot, int64_t rows, int64_t cols, int64_t channels, list read) except -1:
        """Sums over rows: block by block, then over the blocks."""
        cdef int64_t blocks = (rows + REDUCE_BLOCK - 1) // REDUCE_BLOCK, chunks
        cdef int64_t[2] size
        cdef int64_t[16] finals
        cdef list parts = [], made = None if read is None else []
        cdef int i, n = 0
        cdef Tensor t
        chunks = (cols + PAGE - 1) // PAGE if blocks * cols >= 4 * PAGE else (cols + COLUMNS - 1) // COLUMNS
        size[0], size[1] = blocks, cols
        for i in range(self.nout):
            if outs[i] is not None and self.out_extents[i] == COL:
                t = empty(e.part_codes[i], 2, size)
                parts.append(t)
                args[slot] = finals[n] = <int64_t> t.ptr
                slot += 1
                n += 1
        args[slot], args[slot + 1], args[slot + 2], args[slot + 3] = rows, cols, chunks, channels
        if made is not None:
            sums = [(t, i) for i, t in enumerate(parts)]
            note_placed(e.partial, args, slot + 4, read, [(t, slot - n + i) for t, i in sums], blocks * chunks, 1, rows * cols)
        run_kernel(e.partial, args, blocks * chunks, 1, rows * cols)
        n = self.place_outputs(outs, finals, n, True, made)
        finals[n], finals[n + 1], finals[n + 2] = blocks, cols, chunks
        if made is not None:
            note_placed(e.last, finals, n + 3, sums, made, chunks, 1, blocks * cols)
        return run_kernel(e.last, finals, chunks, 1, blocks * cols)

    cdef RowKernels miss(self, tuple values, uint64_t key, uint64_t wants):
        cdef RowKernels e = RowKernels.__new__(RowKernels)
        dtypes = tuple([(<Tensor> v).dtype if isinstance(v, Tensor) else None if v is None else type(v) for v in values])
        wanted = tuple([bool(wants >> (i + 1) & 1) for i in range(self.nout)])
        e.by_row, e.partial, e.last, e.scratch, codes, part_codes = hooks["row_miss"](self, dtypes, wanted, bool(wants & KEY_STREAM))
        for i in range(self.nout):
            e.codes[i], e.part_codes[i] = codes[i], part_codes[i]
        e.key, e.wanted = key, wants
        self.entries.append(e)
        return e
