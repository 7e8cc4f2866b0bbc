# Views: new geometry over the same memory, with a tape node where one is due.

cdef Tensor make_view(Tensor self, char *ptr, int nd, const int64_t *sizes, const int64_t *strides, int kind, object how):
    """A view, with a tape node where one is due. `how` is (method name, arguments) for VIEW_PART."""
    cdef Tensor out
    if self.sparse:
        no_memory(self, "a view")
    if fb_interpreters:
        return interpret_view(self, ptr - self.ptr, nd, sizes, strides, kind, how)
    out = over(self.store, ptr, self.code, nd, sizes, strides)
    if fb_grad_enabled:
        record_view(out, self, kind, how)
    else:
        out.base = self.base if self.base is not None else self
        out.view_version = self.store.count
        out.unrecorded = True
    return out


cdef Tensor permuted(Tensor self, const int64_t *order):
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int i
    for i in range(self.ndims):
        sizes[i] = self.dims[order[i]]
        strides[i] = self.dims[self.ndims + order[i]]
    how = to_tuple(self.ndims, order) if fb_interpreters or (fb_grad_enabled and requires_grad(self)) else None
    return make_view(self, self.ptr, self.ndims, sizes, strides, VIEW_PERMUTE, how)


cdef Tensor transpose_last(Tensor self):
    cdef int64_t[64] order
    cdef int i
    for i in range(self.ndims):
        order[i] = i
    order[self.ndims - 1] = self.ndims - 2
    order[self.ndims - 2] = self.ndims - 1
    return permuted(self, order)


cdef Tensor select_c(Tensor self, int d, int64_t index):
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int i, j = 0
    cdef int64_t n = self.dims[d], at = index + n if index < 0 else index
    if at < 0 or at >= n:
        raise IndexError(f"index {index} is out of bounds for dimension {d} with size {n}")
    for i in range(self.ndims):
        if i != d:
            sizes[j] = self.dims[i]
            strides[j] = self.dims[self.ndims + i]
            j += 1
    how = ("select", (d, at)) if fb_interpreters or (fb_grad_enabled and requires_grad(self)) else None
    return make_view(self, self.ptr + at * self.dims[self.ndims + d] * ITEMSIZE[self.code], j, sizes, strides, VIEW_PART, how)


cdef Tensor slice_c(Tensor self, int d, int64_t start, int64_t stop, int64_t step):
    """Indices start, start + step, … below stop (already within bounds) of dimension d."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    memcpy(sizes, self.dims, self.ndims * sizeof(int64_t))
    memcpy(strides, self.dims + self.ndims, self.ndims * sizeof(int64_t))
    sizes[d] = (stop - start + step - 1) // step if stop > start else 0
    strides[d] *= step
    cdef char *ptr = self.ptr if sizes[d] == 0 else self.ptr + start * self.dims[self.ndims + d] * ITEMSIZE[self.code]
    how = ("_slice", (d, start, stop, step)) if fb_interpreters or (fb_grad_enabled and requires_grad(self)) else None
    return make_view(self, ptr, self.ndims, sizes, strides, VIEW_PART, how)


def slice_view(Tensor self, dim, start, stop, step):
    """x[start:stop:step] along one dimension, as a view."""
    cdef int d = wrap_dim(dim, self.ndims)
    a, b, c = slice(start, stop, step).indices(self.dims[d])
    if c < 1:
        raise ValueError(f"slice: step must be positive, got {step}; use flip() to reverse")
    return slice_c(self, d, a, b, c)


def parts_view(Tensor self, int d, list cuts, bint bare):
    """Views of indices cuts[i] … cuts[i + 1] - 1 of a dimension; `bare` ones get their place on the tape elsewhere."""
    cdef Py_ssize_t i, n = len(cuts) - 1
    cdef int64_t a, b
    cdef int64_t[64] sizes
    cdef list views = []
    cdef Tensor out
    memcpy(sizes, self.dims, self.ndims * sizeof(int64_t))
    for i in range(n):
        a, b = cuts[i], cuts[i + 1]
        if a < 0 or max(a, b) > self.dims[d]:
            raise IndexError(f"parts {cuts} exceed dimension {d} of length {self.dims[d]}")
        if not bare:
            views.append(slice_c(self, d, a, max(a, b), 1))
            continue
        sizes[d] = max(a, b) - a
        out = over(self.store, self.ptr + (a * self.dims[self.ndims + d] * ITEMSIZE[self.code] if sizes[d] else 0),
                   self.code, self.ndims, sizes, self.dims + self.ndims)
        out.base = self.base if self.base is not None else self
        out.view_version = self.store.count
        views.append(out)
    return tuple(views)


def diagonal(Tensor self, offset, dim1, dim2):
    """The view of elements with index i in dim1 and i + offset in dim2; it is the last dimension."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int a = wrap_dim(dim1, self.ndims), b = wrap_dim(dim2, self.ndims), d, nd = 0
    cdef int64_t at = integer(offset, "diagonal: offset"), rows, cols, n, start = 0
    if a == b:
        raise RuntimeError(f"diagonal: two different dimensions are needed, got {dim1} and {dim2}")
    rows, cols = self.dims[a], self.dims[b]
    n = max(0, min(rows, cols - at) if at >= 0 else min(rows + at, cols))
    if n:
        start = at * self.dims[self.ndims + b] if at >= 0 else -at * self.dims[self.ndims + a]
    for d in range(self.ndims):
        if d != a and d != b:
            sizes[nd], strides[nd] = self.dims[d], self.dims[self.ndims + d]
            nd += 1
    sizes[nd], strides[nd] = n, self.dims[self.ndims + a] + self.dims[self.ndims + b]
    how = ("diagonal", (at, a, b)) if fb_interpreters or (fb_grad_enabled and requires_grad(self)) else None
    return make_view(self, self.ptr + start * ITEMSIZE[self.code], nd + 1, sizes, strides, VIEW_PART, how)


def unfolded(Tensor self, dimension, size, step):
    """The view of all windows of `size` elements along a dimension, `step` apart; windows are the last dimension."""
    cdef int64_t[65] sizes
    cdef int64_t[65] strides
    cdef int d = wrap_dim(dimension, self.ndims), nd = self.ndims
    cdef int64_t width = integer(size, "unfold: size"), by = integer(step, "unfold: step")
    cdef int64_t length = self.dims[d] if nd else 1, stride = self.dims[nd + d] if nd else 1
    if width < 0 or width > length:
        raise RuntimeError(f"unfold: a window of {width} doesn't fit dimension {d} of length {length}")
    if by < 1:
        raise RuntimeError(f"unfold: step must be positive, got {by}")
    memcpy(sizes, self.dims, nd * sizeof(int64_t))
    memcpy(strides, self.dims + nd, nd * sizeof(int64_t))
    if nd:
        sizes[d], strides[d] = (length - width) // by + 1, stride * by
    sizes[nd], strides[nd] = width, stride
    how = ("unfold", (d, width, by)) if fb_interpreters or (fb_grad_enabled and requires_grad(self)) else None
    return make_view(self, self.ptr, nd + 1, sizes, strides, VIEW_PART, how)


def moved_dims(Tensor self, source, destination):
    """Dimensions moved to new positions; the others keep their order."""
    cdef int64_t[64] froms
    cdef int64_t[64] tos
    cdef int64_t[64] order
    cdef int n = parse_shape((source,), froms), m = parse_shape((destination,), tos), i, d, at = 0
    cdef uint64_t taken = 0, filled = 0
    cdef bint wrong = n != m
    for i in range(0 if wrong else n):
        froms[i], tos[i] = wrap_dim_c(froms[i], self.ndims), wrap_dim_c(tos[i], self.ndims)
        wrong = wrong or taken >> froms[i] & 1 or filled >> tos[i] & 1
        taken |= (<uint64_t> 1) << froms[i]
        filled |= (<uint64_t> 1) << tos[i]
        order[tos[i]] = froms[i]
    if wrong:
        raise RuntimeError(
            f"movedim: source {source} and destination {destination} must be as many different dimensions"
        )
    if self.ndims == 0:
        return self.permute(())
    for d in range(self.ndims):
        if not taken >> d & 1:
            while filled >> at & 1:
                at += 1
            order[at] = d
            at += 1
    return permuted(self, order)


def turned(Tensor self, dims):
    """self read from its last element in some dimensions: negative strides, for a copy and nothing else; off the tape."""
    cdef int64_t[64] strides
    cdef char *ptr = self.ptr
    cdef int d
    memcpy(strides, self.dims + self.ndims, self.ndims * sizeof(int64_t))
    for d in dims:
        ptr += (self.dims[d] - 1) * strides[d] * ITEMSIZE[self.code]
        strides[d] = -strides[d]
    return over(self.store, ptr, self.code, self.ndims, self.dims, strides)


def trailing(Tensor self, tuple shape):
    """How many elements the last dimensions have if `shape` is their lengths, else -1."""
    cdef Py_ssize_t i, n = PyTuple_GET_SIZE(shape)
    cdef int64_t count = 1
    if n > self.ndims:
        return -1
    for i in range(n):
        if self.dims[self.ndims - n + i] != shape[i]:
            return -1
        count *= self.dims[self.ndims - n + i]
    return count


def part_view(Tensor self, size, stride, int64_t offset, how):
    """A view at element `offset` from self's first, whose (method, arguments) say how to make it again."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = parse_shape((tuple(size),), sizes)
    parse_shape((tuple(stride),), strides)
    return make_view(self, self.ptr + offset * ITEMSIZE[self.code], nd, sizes, strides, VIEW_PART, how)


def raw_view(Tensor self, dtype, size, stride, int64_t offset):
    """A tensor over self's storage at `offset` elements of `dtype` from its start; off the tape, bounds checked."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int code = dtype_code(dtype), nd = parse_shape((tuple(size),), sizes)
    cdef int64_t first = offset, last = offset
    if parse_shape((tuple(stride),), strides) != nd:
        raise RuntimeError(f"as_strided: {nd} sizes need {nd} strides, got {list(size)} and {list(stride)}")
    if count_elements(nd, sizes, ITEMSIZE[code]) > 0:
        for i in range(nd):
            if strides[i] < 0:
                raise RuntimeError(f"as_strided: strides can't be negative, got {list(stride)}")
            if sizes[i] > 1 and strides[i] > (INT64_MAX // 16 - last) // (sizes[i] - 1):
                raise RuntimeError(f"as_strided: sizes {list(size)} and strides {list(stride)} overflow")
            last += strides[i] * (sizes[i] - 1)
        if first < 0 or (last + 1) * ITEMSIZE[code] > <int64_t> self.store.total:
            raise RuntimeError(
                f"as_strided: sizes {list(size)}, strides {list(stride)} and offset {offset} reach element {last} of a "
                f"storage of {self.store.total // ITEMSIZE[code]}"
            )
    return over(self.store, self.store.ptr + offset * ITEMSIZE[code], code, nd, sizes, strides)


def shown_by(Tensor out, Tensor self):
    """out, over self's memory in another dtype, as a view of self: a write to either is seen in the other's history."""
    if out.store is self.store:
        out.base = self.base if self.base is not None else self
        out.view_version = self.store.count
        out.unrecorded = not fb_grad_enabled
    return out


cdef Tensor basic_index(Tensor self, object index):
    """The view for integers, slices, None and …; None where the index holds anything else, or a slice runs backwards."""
    cdef Tensor out = self
    cdef int d = 0, consumed = 0, i
    cdef Py_ssize_t start, stop, step
    if PyLong_CheckExact(index):
        if self.ndims == 0:
            raise IndexError("invalid index of a 0-dim tensor; use x.item()")
        return select_c(self, 0, index)
    cdef tuple items = index if type(index) is tuple else (index,)
    for x in items:
        if x is None or x is Ellipsis:
            continue
        if isinstance(x, slice) or (isinstance(x, int) and not isinstance(x, bool)):
            consumed += 1
        elif isinstance(x, Tensor) and (<Tensor> x).ndims == 0 and CATEGORY[(<Tensor> x).code] == 1:
            if fb_interpreters and hasattr(x, "_physical"):
                return None  # one number for each sample of vmap
            consumed += 1
        elif not isinstance(x, (Tensor, list, tuple, bool)) and hasattr(x, "__index__") and not hasattr(x, "ndim"):
            consumed += 1
        else:
            return None
    if consumed > self.ndims:
        raise IndexError(f"too many indices for tensor of dimension {self.ndims}: got {consumed}")
    for x in items:
        if x is None:
            out = out.unsqueeze(d)
            d += 1
        elif x is Ellipsis:
            d += self.ndims - consumed
        elif isinstance(x, slice):
            if x.start is not None or x.stop is not None or x.step is not None:
                start, stop, step = x.indices(out.dims[d])
                if step < 0:
                    return None  # no view runs backwards
                if start != 0 or stop != out.dims[d] or step != 1:
                    out = slice_c(out, d, start, stop, step)
            d += 1
        else:
            out = select_c(out, d, x.__index__())
    if out is self:
        out = make_view(self, self.ptr, self.ndims, self.dims, self.dims + self.ndims, VIEW_RESHAPE, None)
    return out
