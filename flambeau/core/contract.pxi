# Matrix products and convolutions: geometry of tensors to the problems of the C driver (runtime/contract.h).

cdef extern from "contract.h" nogil:
    ctypedef struct fb_contraction:
        pass
    ctypedef struct fb_matmul_problem:
        const void *a
        const void *b
        const void *bias
        void *c
        int64_t batch[2]
        int64_t m, n, k
        int64_t a_batch[2]
        int64_t a_m, a_k
        int64_t b_batch[2]
        int64_t b_k, b_n
        int64_t c_batch[2]
        int64_t c_m, c_n
        int64_t bias_batch[2]
        int64_t bias_m, bias_n
        int64_t scale[2]
    ctypedef struct fb_multiplication:
        fb_contraction plan
    ctypedef struct fb_conv_problem:
        void *x
        void *w
        void *y
        const void *bias
        int64_t batch, groups, in_channels, out_channels
        int64_t size[3]
        int64_t out[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t padding[3]
        int64_t dilation[3]
        int64_t x_stride[5]
        int64_t w_stride[5]
        int64_t y_stride[5]
        int64_t bias_stride
    ctypedef struct fb_winograd:
        pass
    int fb_multiply(const fb_multiplication *plan, const fb_matmul_problem *p)
    int fb_conv(const fb_contraction *plan, const fb_conv_problem *p)
    int fb_conv_data_gradient(const fb_contraction *plan, const fb_conv_problem *p)
    int fb_conv_weight_gradient(const fb_contraction *plan, const fb_conv_problem *p)
    int fb_winograd_pays(const fb_conv_problem *p, int gradient)
    int fb_conv_winograd(const fb_winograd *plan, const fb_conv_problem *p, int backward)
    int fb_conv_winograd_gradient(const fb_winograd *plan, const fb_conv_problem *p)

cdef enum:
    SMALL_WORK = 65536  # multiply-adds below which a product keeps the interpreter lock

cdef dict plans = {}


cdef const fb_contraction *plan_of(int code, str bias, bint dots, tuple window=None) except NULL:
    """The plan for a dtype, a kind of bias (None, 'columns', 'rows') and perhaps single rows or the window of a
    depthwise convolution, made on first use."""
    key = (code, bias, dots, window)
    found = plans.get(key)
    if found is None:
        if code == BOOL:
            raise RuntimeError("matmul: not defined for bool; convert with x.to(fb.uint8)")
        # Another thread may have made one meanwhile, and be using it: the first stays.
        found = plans.setdefault(key, hooks["contraction_plan"](DTYPES[code], bias, bool(dots), window))
    return <const fb_contraction *> <char *> <bytes> found


cdef const fb_multiplication *product_plan_of(int code, int result, str bias, bint scaled, bint dots) except NULL:
    """The plan of a matrix product for dtypes, a kind of bias, alpha and beta or not, and perhaps single rows."""
    key = (code, result, bias, scaled, dots)
    found = plans.get(key)
    if found is None:
        if code == BOOL:
            raise RuntimeError("matmul: not defined for bool; convert with x.to(fb.uint8)")
        found = hooks["product_plan"](DTYPES[code], DTYPES[result], bias, bool(scaled), bool(dots))
        found = plans.setdefault(key, found)
    return <const fb_multiplication *> <char *> <bytes> found


cdef const fb_winograd *winograd_plan_of(str what, bint bias) except NULL:
    """The plan of a 3x3 convolution by minimal filtering, or of a gradient of it."""
    key = ("winograd", what, bias)
    found = plans.get(key)
    if found is None:
        found = plans.setdefault(key, hooks["winograd_plan"](what, bool(bias)))
    return <const fb_winograd *> <char *> <bytes> found


cdef int64_t slot_of(int code, double value) noexcept:
    """A number as a kernel's scalar parameter: of float64, or of float32 for narrower ones."""
    cdef int64_t slot = 0
    cdef float narrow = <float> value
    if code == F64:
        memcpy(&slot, &value, 8)
    else:
        memcpy(&slot, &narrow, 4)
    return slot


cdef int FAILED = 0  # products done again that found no memory to work in


cdef void multiply_again(const int64_t *args, int64_t begin, int64_t end) noexcept nogil:
    """A product as a kernel: its plan, then its problem."""
    global FAILED
    if fb_multiply(<const fb_multiplication *> args[0], <const fb_matmul_problem *> (args + 1)):
        FAILED += 1


cdef int note_product(const fb_multiplication *plan, const fb_matmul_problem *p, Tensor a, Tensor b, Tensor bias, Tensor c) except -1:
    cdef int64_t[64] slots
    cdef int[4] places
    cdef PyObject *ts[4]
    cdef int size = sizeof(fb_matmul_problem) // sizeof(int64_t)
    slots[0] = <int64_t> plan
    memcpy(&slots[1], p, size * sizeof(int64_t))
    places[0], places[1], places[2], places[3] = 1, 2, 3 if bias is not None else -1, 4
    ts[0], ts[1], ts[2], ts[3] = <PyObject *> a, <PyObject *> b, <PyObject *> bias, <PyObject *> c
    return note(multiply_again, slots, 1 + size, ts, places, 4, 3, 1, 1, 0)


def matrix_product(Tensor a, Tensor b, Tensor bias=None, result=None, scale=None):
    """a @ b of tensors with at least two dimensions, off the tape; batches broadcast.

    The bias broadcasts to the result. `result` is the dtype, if it isn't that of a; `scale` (alpha, beta) of floating dtypes makes it alpha · a @ b + beta · bias.
    """
    cdef int64_t[64] sizes
    cdef int64_t[64] astep
    cdef int64_t[64] bstep
    cdef int64_t[64] cstep
    cdef int nb = max(a.ndims, b.ndims) - 2, i, d, kept = 0, missing, to = a.code if result is None else (<DType> result).code
    cdef fb_matmul_problem p
    cdef Tensor c
    cdef int64_t na, nbt, leading = 1, r, rest, batches, step
    cdef const fb_multiplication *plan
    cdef int status = 0
    cdef int64_t work
    if a.code != b.code or (bias is not None and bias.code != to):
        raise RuntimeError(
            f"matmul: expected tensors of one dtype, got {a.dtype} and {b.dtype}"
            + ("" if bias is None else f" (bias {bias.dtype})") + "; convert one with x.to(dtype)"
        )
    p.m, p.k = a.dims[a.ndims - 2], a.dims[a.ndims - 1]
    p.n = b.dims[b.ndims - 1]
    if b.dims[b.ndims - 2] != p.k:
        hint = "; did you mean x.mT?" if b.dims[b.ndims - 1] == p.k else ""
        raise RuntimeError(f"matmul: inner sizes differ, {tuple(a.shape)} @ {tuple(b.shape)}{hint}")
    for d in range(nb):
        na = a.dims[d - (nb - a.ndims + 2)] if d >= nb - a.ndims + 2 else 1
        nbt = b.dims[d - (nb - b.ndims + 2)] if d >= nb - b.ndims + 2 else 1
        if na != nbt and na != 1 and nbt != 1:
            raise RuntimeError(f"matmul: batch dimensions don't broadcast, {tuple(a.shape)} @ {tuple(b.shape)}")
        sizes[d] = nbt if na == 1 else na
        astep[d] = 0 if na == 1 else a.dims[a.ndims + d - (nb - a.ndims + 2)]
        bstep[d] = 0 if nbt == 1 else b.dims[b.ndims + d - (nb - b.ndims + 2)]
        cstep[d] = 0
    sizes[nb], sizes[nb + 1] = p.m, p.n
    p.bias = NULL
    p.bias_m = p.bias_n = 0
    if bias is not None:
        missing = nb + 2 - bias.ndims
        for d in range(bias.ndims):
            if missing < 0 or (bias.dims[d] != 1 and bias.dims[d] != sizes[missing + d]):
                raise RuntimeError(
                    f"matmul: what is added has shape {tuple(bias.shape)}, which doesn't broadcast to the product's, "
                    f"{tuple([sizes[i] for i in range(nb + 2)])}"
                )
        if p.n > 1 and (bias.ndims == 0 or bias.dims[bias.ndims - 1] == 1):
            bias = bias.expand((*bias.shape[: max(bias.ndims - 1, 0)], p.n))
        if p.n > 1 and bias.dims[2 * bias.ndims - 1] != 1:
            bias = make_contiguous(bias)
        missing = nb + 2 - bias.ndims
        for d in range(missing, nb + 1):
            step = 0 if bias.dims[d - missing] == 1 else bias.dims[bias.ndims + d - missing]
            if d < nb:
                cstep[d] = step
            else:
                p.bias_m = step
        p.bias_n = 1
    c = empty(to, nb + 2, sizes)
    if c.count == 0:
        return c
    # Merge batch dimensions that run on in all operands; two are left to the driver, more are looped over here.
    for d in range(nb):
        if sizes[d] == 1:
            continue
        if (
            kept and astep[kept - 1] == astep[d] * sizes[d] and bstep[kept - 1] == bstep[d] * sizes[d]
            and cstep[kept - 1] == cstep[d] * sizes[d]
        ):
            sizes[kept - 1] *= sizes[d]
        else:
            sizes[kept] = sizes[d]
            kept += 1
        astep[kept - 1], bstep[kept - 1], cstep[kept - 1] = astep[d], bstep[d], cstep[d]
    p.a_m, p.a_k = a.dims[2 * a.ndims - 2], a.dims[2 * a.ndims - 1]
    p.b_k, p.b_n = b.dims[2 * b.ndims - 2], b.dims[2 * b.ndims - 1]
    p.c_m, p.c_n = p.n, 1
    for i in range(2):
        d = kept - 2 + i
        p.batch[i] = sizes[d] if d >= 0 else 1
        p.a_batch[i] = astep[d] if d >= 0 else 0
        p.b_batch[i] = bstep[d] if d >= 0 else 0
        p.bias_batch[i] = cstep[d] if d >= 0 else 0
        p.scale[i] = 0 if scale is None else slot_of(a.code, scale[i])
    p.c_batch[1] = p.m * p.n
    p.c_batch[0] = p.c_batch[1] * p.batch[1]
    for d in range(kept - 2):
        leading *= sizes[d]
    plan = product_plan_of(a.code, to, None if bias is None else "columns", scale is not None, p.m == 1 or p.n == 1)
    batches = p.batch[0] * p.batch[1]
    work = p.m * p.n * (p.k + 1) * batches
    for r in range(leading):
        rest = r
        p.a, p.b = a.ptr, b.ptr
        p.bias = bias.ptr if bias is not None else NULL
        p.c = c.ptr + r * batches * p.m * p.n * ITEMSIZE[c.code]
        for d in range(kept - 3, -1, -1):
            p.a = <char *> p.a + rest % sizes[d] * astep[d] * ITEMSIZE[a.code]
            p.b = <char *> p.b + rest % sizes[d] * bstep[d] * ITEMSIZE[a.code]
            if bias is not None:
                p.bias = <char *> p.bias + rest % sizes[d] * cstep[d] * ITEMSIZE[to]
            rest //= sizes[d]
        if fb_watched:
            note_product(plan, &p, a, b, bias, c)
        if work < SMALL_WORK:
            status |= fb_multiply(plan, &p)
        else:
            with nogil:
                status |= fb_multiply(plan, &p)
    if status:
        out_of_memory(c.store.total)
    return c


def convolution(str what, Tensor x, Tensor w, Tensor y, Tensor bias, tuple stride, tuple padding, tuple dilation, int64_t groups):
    """Runs one of a convolution's three contractions: 'forward' writes y, 'data' x, 'weight' w. Off the tape.

    x [N, C, …], w [O, C / groups, …] and y [N, O, …] have the same number of spatial dimensions, at most three.
    """
    cdef fb_conv_problem p
    cdef int nd = x.ndims - 2, i, j
    cdef int status
    cdef tuple window = None
    if nd <= 2 and groups == x.dims[1] and groups == w.dims[0]:
        rows = (1,) * (2 - nd)
        kernel = tuple([w.dims[2 + i] for i in range(nd)])
        window = (what, rows + kernel, rows + stride, rows + dilation)
    elif nd and 1 < stride[nd - 1] and (what != "data" or stride[nd - 1] == 2):
        window = ("weave" if what == "data" else "copy", (1, 1), stride[nd - 2 :] if nd > 1 else (1,) + stride, (1, 1))
    cdef const fb_contraction *plan = NULL
    cdef const fb_winograd *filtering = NULL
    if bias is not None and bias.dims[1] != 1:
        bias = make_contiguous(bias)
    p.x, p.w, p.y = x.ptr, w.ptr, y.ptr
    p.bias = NULL
    p.bias_stride = 0
    if bias is not None:
        p.bias = bias.ptr
        p.bias_stride = bias.dims[1]
    p.batch, p.groups = x.dims[0], groups
    p.in_channels, p.out_channels = x.dims[1], w.dims[0]
    for i in range(3):
        j = i - (3 - nd)
        p.size[i] = x.dims[2 + j] if j >= 0 else 1
        p.out[i] = y.dims[2 + j] if j >= 0 else 1
        p.kernel[i] = w.dims[2 + j] if j >= 0 else 1
        p.stride[i] = stride[j] if j >= 0 else 1
        p.padding[i] = padding[j] if j >= 0 else 0
        p.dilation[i] = dilation[j] if j >= 0 else 1
        p.x_stride[2 + i] = x.dims[x.ndims + 2 + j] if j >= 0 else 0
        p.w_stride[2 + i] = w.dims[w.ndims + 2 + j] if j >= 0 else 0
        p.y_stride[2 + i] = y.dims[y.ndims + 2 + j] if j >= 0 else 0
    for i in range(2):
        p.x_stride[i] = x.dims[x.ndims + i]
        p.w_stride[i] = w.dims[w.ndims + i]
        p.y_stride[i] = y.dims[y.ndims + i]
    cdef int which = ("forward", "data", "weight").index(what)
    if x.code == F32 and fb_winograd_pays(&p, which == 2):
        filtering = winograd_plan_of(what, bias is not None)
    else:
        plan = plan_of(x.code, None if bias is None else "rows", False, window)
    with nogil:
        if filtering != NULL and which == 2:
            status = fb_conv_winograd_gradient(filtering, &p)
        elif filtering != NULL:
            status = fb_conv_winograd(filtering, &p, which)
        elif which == 0:
            status = fb_conv(plan, &p)
        elif which == 1:
            status = fb_conv_data_gradient(plan, &p)
        else:
            status = fb_conv_weight_gradient(plan, &p)
    if status:
        out_of_memory(y.store.total)
