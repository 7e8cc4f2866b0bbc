# What Tensor's methods of geometry do: shapes checked, sizes and strides computed, a view made.

cdef object viewed(Tensor self, tuple shape):
    """The same memory under another shape or, given a dtype, another element type; never copies."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    if len(shape) == 1 and isinstance(shape[0], DType):
        return hooks["view_dtype"](self, shape[0])
    cdef int nd = parse_shape(shape, sizes)
    infer_shape("view", self, nd, sizes)
    if not view_strides(self, nd, sizes, strides):
        raise RuntimeError(
            f"view: shape {list(self.shape)} with strides {list(self.stride())} can't become "
            f"{[sizes[i] for i in range(nd)]} without a copy; use reshape(...), or contiguous() first"
        )
    return make_view(self, self.ptr, nd, sizes, strides, VIEW_RESHAPE, None)


cdef Tensor reshaped(Tensor self, tuple shape):
    """The same elements under another shape; a view where the strides allow, a copy where they don't."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = parse_shape(shape, sizes)
    infer_shape("reshape", self, nd, sizes)
    cdef Tensor src = self
    if not view_strides(src, nd, sizes, strides):
        src = make_contiguous(self)
        view_strides(src, nd, sizes, strides)
    return make_view(src, src.ptr, nd, sizes, strides, VIEW_RESHAPE, None)


cdef Tensor reordered(Tensor self, tuple dims):
    """The dimensions in another order."""
    cdef int64_t[64] order
    cdef int nd = parse_shape(dims, order)
    cdef uint64_t seen = 0
    if nd != self.ndims:
        raise RuntimeError(f"permute: {self.ndims} dimensions are needed for shape {list(self.shape)}, got {nd}")
    for i in range(nd):
        order[i] = wrap_dim_c(order[i], nd)
        if seen >> order[i] & 1:
            raise RuntimeError(f"permute: dimension {order[i]} is named twice")
        seen |= (<uint64_t> 1) << order[i]
    return permuted(self, order)


cdef Tensor expanded(Tensor self, tuple shape):
    """Dimensions of length 1 stretched without copying; -1 keeps a length."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = parse_shape(shape, sizes)
    cdef int lead = nd - self.ndims
    if lead < 0:
        raise RuntimeError(f"expand: {nd} sizes are too few for shape {list(self.shape)}")
    for i in range(nd):
        if i < lead:
            if sizes[i] < 0:
                raise RuntimeError(f"expand: -1 can't stand for the new dimension {i}")
            strides[i] = 0
        elif sizes[i] == -1 or sizes[i] == self.dims[i - lead]:
            sizes[i] = self.dims[i - lead]
            strides[i] = self.dims[self.ndims + i - lead]
        elif self.dims[i - lead] == 1 and sizes[i] >= 0:
            strides[i] = 0
        else:
            raise RuntimeError(
                f"expand: dimension {i} has length {self.dims[i - lead]} and can't become {sizes[i]}; "
                f"got {[sizes[j] for j in range(nd)]} for shape {list(self.shape)}"
            )
    count_elements(nd, sizes, 1)
    return make_view(self, self.ptr, nd, sizes, strides, VIEW_EXPAND, None)


cdef Tensor with_dim(Tensor self, dim):
    """A dimension of length 1 inserted."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = self.ndims, d = wrap_dim(dim, nd + 1), i, j = 0
    for i in range(nd + 1):
        if i == d:
            sizes[i] = 1
            strides[i] = self.dims[j] * self.dims[nd + j] if j < nd else 1
        else:
            sizes[i] = self.dims[j]
            strides[i] = self.dims[nd + j]
            j += 1
    return make_view(self, self.ptr, nd + 1, sizes, strides, VIEW_RESHAPE, None)


cdef Tensor without_dims(Tensor self, tuple dim):
    """Dimensions of length 1 dropped: all of them, or those named."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = 0, i
    cdef uint64_t drop = 0
    if dim:
        for d in (dim[0] if len(dim) == 1 and isinstance(dim[0], (tuple, list)) else dim):
            drop |= (<uint64_t> 1) << wrap_dim(d, self.ndims)
    else:
        drop = ~(<uint64_t> 0)
    for i in range(self.ndims):
        if not (self.dims[i] == 1 and drop >> i & 1):
            sizes[nd] = self.dims[i]
            strides[nd] = self.dims[self.ndims + i]
            nd += 1
    return make_view(self, self.ptr, nd, sizes, strides, VIEW_RESHAPE, None)


cdef Tensor flattened(Tensor self, start_dim, end_dim):
    """Dimensions start_dim … end_dim joined into one."""
    cdef int a = wrap_dim(start_dim, self.ndims), b = wrap_dim(end_dim, self.ndims)
    if a > b:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if self.ndims == 0:
        return self.reshape(1)
    if a == b:
        return self
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int i, nd = self.ndims - (b - a)
    cdef Tensor src = self
    memcpy(sizes, self.dims, (a + 1) * sizeof(int64_t))
    for i in range(a + 1, b + 1):
        sizes[a] *= self.dims[i]
    for i in range(b + 1, self.ndims):
        sizes[i - b + a] = self.dims[i]
    if not view_strides(src, nd, sizes, strides):
        src = make_contiguous(self)
        view_strides(src, nd, sizes, strides)
    return make_view(src, src.ptr, nd, sizes, strides, VIEW_RESHAPE, None)


cdef Tensor narrowed(Tensor self, dim, start, length):
    """`length` indices of a dimension from `start` on."""
    cdef int d = wrap_dim(dim, self.ndims)
    cdef int64_t n = self.dims[d], a = integer(start, "start"), k = integer(length, "length")
    if a < -n or a > n:
        raise IndexError(f"narrow: start {a} is out of range for dimension {d} of length {n}")
    if a < 0:
        a += n
    if k < 0 or k > n - a:
        raise RuntimeError(f"narrow: start {a} and length {k} exceed dimension {d} of length {n}")
    return slice_c(self, d, a, a + k, 1)
