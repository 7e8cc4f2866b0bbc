# Tensor as programs see it: geometry over a Storage, its properties and methods. Operations are attached by `flambeau.ops`.

cdef object only_element(Tensor t):
    """The only element, for Python's conversions; these raise ValueError where `item` raises RuntimeError."""
    if t.count != 1:
        raise ValueError(f"only one element tensors can be converted to Python scalars, got shape {list(t.shape)}; use x.tolist()")
    return t.item()


cdef class Tensor:
    """An n-dimensional array with a place on the tape.

    `Tensor(2, 3)` makes an uninitialised float tensor of that shape and `Tensor([...])` one of that data, as PyTorch's
    legacy constructor does; `flambeau.tensor` is the usual way.

    >>> fb.Tensor([[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    cdef Storage store
    cdef char *ptr            # address of the first element
    cdef int64_t *dims        # ndim sizes, then ndim strides in elements
    cdef int64_t[10] inline_dims
    cdef int64_t count        # number of elements
    cdef int ndims
    cdef int code             # dtype
    cdef bint contig
    cdef bint wants_grad      # requires_grad of a leaf
    cdef bint unrecorded      # a view that was made while nothing was recorded
    cdef bint sparse          # no elements of its own, see sparse.pxi; 0-dimensional here whatever its shape
    cdef int nr
    cdef uint32_t view_version
    cdef Node node            # grad_fn, None for a leaf
    cdef Tensor grad_tensor
    cdef Tensor base          # the tensor this is a differentiable view of
    cdef object backward_hooks
    cdef dict __dict__
    cdef object __weakref__

    def __dealloc__(self):
        if self.dims != NULL and self.dims != &self.inline_dims[0]:
            free(self.dims)

    def __init__(self, *args, dtype=None, device=None):
        cdef Tensor made = hooks["legacy_constructor"](args, dtype)
        become(self, made)

    # ---- geometry
    @property
    def shape(self):
        """The length of each dimension, as a `Size`.

        >>> fb.zeros(2, 3).shape
        flambeau.Size([2, 3])
        """
        return size_tuple(self.ndims, self.dims)

    def size(self, dim=None):
        """The shape, or the length of one dimension.

        >>> fb.zeros(2, 3).size(), fb.zeros(2, 3).size(-1)
        (flambeau.Size([2, 3]), 3)
        """
        if dim is None:
            return size_tuple(self.ndims, self.dims)
        return self.dims[wrap_dim(dim, self.ndims)]

    def stride(self, dim=None):
        """The strides in elements, or one dimension's.

        >>> fb.zeros(2, 3).stride(), fb.zeros(2, 3).t().stride()
        ((3, 1), (1, 3))
        """
        if dim is None:
            return to_tuple(self.ndims, self.dims + self.ndims)
        return self.dims[self.ndims + wrap_dim(dim, self.ndims)]

    def storage_offset(self):
        """How many elements of the storage lie before the first one.

        >>> fb.arange(5)[2:].storage_offset()
        2
        """
        return (self.ptr - self.store.ptr) // ITEMSIZE[self.code]

    def dim(self):
        """How many dimensions there are.

        >>> fb.zeros(2, 3).dim()
        2
        """
        return self.ndims

    def ndimension(self):
        """How many dimensions there are; the older name of `dim`.

        >>> fb.zeros(2, 3).ndimension()
        2
        """
        return self.ndims

    @property
    def ndim(self):
        """How many dimensions there are.

        >>> fb.zeros(2, 3).ndim, fb.tensor(1.0).ndim
        (2, 0)
        """
        return self.ndims

    def numel(self):
        """How many elements there are.

        >>> fb.zeros(2, 3).numel()
        6
        """
        return self.count

    def nelement(self):
        """How many elements there are; the older name of `numel`.

        >>> fb.zeros(2, 3).nelement()
        6
        """
        return self.count

    def element_size(self):
        """How many bytes an element takes.

        >>> fb.zeros(3).element_size(), fb.zeros(3, dtype=fb.float16).element_size()
        (4, 2)
        """
        return ITEMSIZE[self.code]

    @property
    def itemsize(self):
        """How many bytes an element takes.

        >>> fb.zeros(3, dtype=fb.float64).itemsize
        8
        """
        return ITEMSIZE[self.code]

    @property
    def nbytes(self):
        """How many bytes all elements take.

        >>> fb.zeros(2, 3).nbytes
        24
        """
        return self.count * ITEMSIZE[self.code]

    @property
    def dtype(self):
        """The type of the elements.

        >>> fb.tensor([1, 2]).dtype
        flambeau.int64
        """
        return DTYPES[self.code]

    @property
    def device(self):
        """Where the elements are.

        >>> fb.ones(1).device
        device(type='cpu')
        """
        return CPU

    @property
    def is_cuda(self):
        """Whether the tensor is on a CUDA device.

        >>> fb.ones(1).is_cuda
        False
        """
        return False

    @property
    def is_cpu(self):
        """Whether the tensor is on the CPU.

        >>> fb.ones(1).is_cpu
        True
        """
        return True

    @property
    def is_sparse(self):
        """Whether the tensor stores coordinates and values (COO).

        >>> fb.ones(1).is_sparse, fb.ones(1).to_sparse().is_sparse
        (False, True)
        """
        return False

    @property
    def is_sparse_csr(self):
        """Whether the tensor is a matrix stored by compressed rows (CSR).

        >>> fb.ones(1, 1).is_sparse_csr, fb.ones(1, 1).to_sparse_csr().is_sparse_csr
        (False, True)
        """
        return False

    @property
    def is_quantized(self):
        """Whether elements stand for others by scale and zero point; no tensor here is so.

        >>> fb.ones(1).is_quantized
        False
        """
        return False

    @property
    def is_meta(self):
        """Whether the tensor has a shape but no elements; no tensor here is so.

        >>> fb.ones(1).is_meta
        False
        """
        return False

    @property
    def is_mps(self):
        """Whether the tensor is on a Metal device.

        >>> fb.ones(1).is_mps
        False
        """
        return False

    @property
    def layout(self):
        """How elements are stored.

        >>> fb.ones(1).layout == fb.strided, fb.ones(1).to_sparse().layout == fb.sparse_coo
        (True, True)
        """
        return hooks["strided"]

    def get_device(self):
        """The index of the tensor's device; -1 for the CPU.

        >>> fb.ones(1).get_device()
        -1
        """
        return -1

    def is_floating_point(self):
        """Whether the dtype is float16, bfloat16, float32 or float64.

        >>> fb.ones(1).is_floating_point(), fb.tensor([1]).is_floating_point()
        (True, False)
        """
        return CATEGORY[self.code] == 2

    def is_complex(self):
        """Whether the dtype is complex.

        >>> fb.tensor([1j]).is_complex()
        True
        """
        return CATEGORY[self.code] == 3

    def is_signed(self):
        """Whether the dtype has negative numbers.

        >>> fb.ones(1, dtype=fb.uint8).is_signed()
        False
        """
        return signed(self.code)

    def is_contiguous(self, memory_format=None):
        """Whether the elements stand in memory in order, without gaps, or in the order of a memory format.

        >>> fb.zeros(2, 3).is_contiguous(), fb.zeros(2, 3).t().is_contiguous()
        (True, False)
        """
        if memory_format is None or memory_format == "contiguous_format":
            return self.contig
        return hooks["is_contiguous"](self, memory_format)

    def data_ptr(self):
        """The address of the first element.

        >>> x = fb.arange(3)
        >>> x[1:].data_ptr() - x.data_ptr()
        8
        """
        unwatch()
        return <uint64_t> self.ptr

    def untyped_storage(self):
        """The block of bytes that the tensor views.

        >>> fb.arange(5)[2:].untyped_storage().nbytes()
        40
        """
        return self.store

    def storage(self):
        """The block of bytes that the tensor views, as `untyped_storage` has it.

        >>> x = fb.arange(3)
        >>> x.storage() is x[1:].storage()
        True
        """
        return self.store

    def is_set_to(self, Tensor other):
        """Whether two tensors view the same memory in the same way.

        >>> x = fb.arange(4)
        >>> x.is_set_to(x.view(4)), x.is_set_to(x.view(2, 2)), x.is_set_to(x.clone())
        (True, False, False)
        """
        return self.ptr == other.ptr and self.shape == other.shape and self.stride() == other.stride()

    @property
    def _version(self):
        return self.store.count

    def _bump_version(self):
        self.store.count += 1

    # ---- place on the tape
    @property
    def requires_grad(self):
        """Whether operations on the tensor are recorded; can be set on leaves of floating or complex dtype.

        >>> x = fb.ones(2)
        >>> x.requires_grad = True
        >>> (x * 2).requires_grad
        True
        """
        return requires_grad(self)

    @requires_grad.setter
    def requires_grad(self, bint value):
        set_requires_grad(self, value)

    def requires_grad_(self, bint requires_grad=True):
        """Sets whether operations on this leaf are recorded; returns the tensor.

        >>> fb.ones(2).requires_grad_()
        tensor([1., 1.], requires_grad=True)
        """
        set_requires_grad(self, requires_grad)
        return self

    @property
    def is_leaf(self):
        """Whether no recorded operation made the tensor, so that `backward` fills its `.grad`.

        >>> x = fb.ones(2, requires_grad=True)
        >>> x.is_leaf, (x * 2).is_leaf
        (True, False)
        """
        return current_node(self) is None

    @property
    def grad_fn(self):
        """The node of the tape that made the tensor; None for a leaf.

        >>> x = fb.ones(2, requires_grad=True)
        >>> x.grad_fn, (x * 2).grad_fn.name()
        (None, 'MulBackward0')
        """
        return current_node(self)

    @property
    def output_nr(self):
        """Which output of its `grad_fn` the tensor is.

        >>> x = fb.ones(2, requires_grad=True)
        >>> [part.output_nr for part in x.unbind()]
        [0, 1]
        """
        return self.nr

    @property
    def grad(self):
        """What `backward` has added up for this leaf; None before. Of the tensor's shape and dtype.

        >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        return self.grad_tensor

    @grad.setter
    def grad(self, Tensor value):
        if value is not None and not fits(value, self):
            raise RuntimeError(f"grad: shape {list(value.shape)} doesn't match the tensor's, {list(self.shape)}")
        if value is not None and value.code != self.code:
            raise RuntimeError(f"grad: dtype {value.dtype} doesn't match the tensor's, {self.dtype}")
        self.grad_tensor = value

    @grad.deleter
    def grad(self):
        self.grad_tensor = None

    @property
    def _base(self):
        return self.base

    def _is_view(self):
        return self.base is not None

    @property
    def retains_grad(self):
        """Whether `retain_grad` asked for this non-leaf's gradient.

        >>> y = fb.ones(2, requires_grad=True) * 3
        >>> y.retain_grad()
        >>> y.retains_grad
        True
        """
        cdef Node n = current_node(self)
        return n is not None and n.meta is not None and "retain" in n.meta.get("tensors", {}).get(self.nr, {})

    @property
    def _backward_hooks(self):
        return self.backward_hooks

    @_backward_hooks.setter
    def _backward_hooks(self, value):
        self.backward_hooks = value

    def is_inference(self):
        """Whether the tensor was made in inference mode.

        >>> with fb.inference_mode():
        ...     x = fb.ones(1)
        >>> x.is_inference()
        True
        """
        return self.store.inference

    def detach(self):
        """A tensor over the same memory that stands on no tape.

        >>> x = fb.ones(2, requires_grad=True)
        >>> x.detach().requires_grad, x.detach().data_ptr() == x.data_ptr()
        (False, True)
        """
        if fb_interpreters:
            return interpret_view(self, 0, self.ndims, self.dims, self.dims + self.ndims, VIEW_DETACH, None)
        return alias(self)

    def detach_(self):
        """Takes this tensor off the tape, in place.

        >>> y = fb.ones(2, requires_grad=True) * 3
        >>> y.detach_().requires_grad
        False
        """
        if self.base is not None:
            raise RuntimeError("detach_: views can't be detached in place; use detach()")
        self.node = None
        self.nr = 0
        self.wants_grad = False
        return self

    @property
    def data(self):
        """The same memory off the tape, with a count of writes of its own: the tape doesn't notice writes to it.

        >>> x = fb.ones(2, requires_grad=True)
        >>> x.data.mul_(5)
        tensor([5., 5.])
        >>> x
        tensor([5., 5.], requires_grad=True)
        """
        return apart(self.detach()) if fb_interpreters else behind(self)

    @data.setter
    def data(self, Tensor value):
        keep = self.node, self.grad_tensor, self.wants_grad
        become(self, value)
        self.node, self.grad_tensor, self.wants_grad = keep

    def set_(self, Tensor source):
        """Makes this tensor view the memory and geometry of another.

        >>> x = fb.zeros(2)
        >>> x.set_(fb.arange(3.0))
        tensor([0., 1., 2.])
        >>> x
        tensor([0., 1., 2.])
        """
        become(self, source)
        return self

    # ---- views
    def view(self, *shape):
        """The same memory under another shape or, given a dtype, another element type; never copies.

        >>> x = fb.arange(6)
        >>> x.view(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
        >>> fb.tensor([1.0]).view(fb.int32)
        tensor([1065353216], dtype=flambeau.int32)
        """
        return viewed(self, shape)

    def reshape(self, *shape):
        """The same elements under another shape; a view where the strides allow, a copy where they don't.

        >>> fb.arange(6).reshape(3, 2).t().reshape(-1)
        tensor([0, 2, 4, 1, 3, 5])
        """
        return reshaped(self, shape)

    def view_as(self, Tensor other):
        """A view under another tensor's shape.

        >>> fb.arange(4).view_as(fb.zeros(2, 2))
        tensor([[0, 1],
                [2, 3]])
        """
        return self.view(other.shape)

    def reshape_as(self, Tensor other):
        """The elements under another tensor's shape; a view where the strides allow.

        >>> fb.arange(4).reshape_as(fb.zeros(2, 2))
        tensor([[0, 1],
                [2, 3]])
        """
        return self.reshape(other.shape)

    def permute(self, *dims):
        """The dimensions in another order.

        >>> fb.zeros(2, 3, 4).permute(2, 0, 1).shape
        flambeau.Size([4, 2, 3])
        """
        return reordered(self, dims)

    def transpose(self, dim0, dim1):
        """Two dimensions exchanged.

        >>> fb.arange(4).reshape(2, 2).transpose(0, 1)
        tensor([[0, 2],
                [1, 3]])
        """
        cdef int64_t[64] order
        cdef int a = wrap_dim(dim0, self.ndims), b = wrap_dim(dim1, self.ndims)
        for i in range(self.ndims):
            order[i] = i
        if self.ndims:
            order[a], order[b] = b, a
        return permuted(self, order)

    def t(self):
        """A matrix transposed; a vector or number as it is.

        >>> fb.arange(4).reshape(2, 2).t()
        tensor([[0, 2],
                [1, 3]])
        """
        if self.ndims > 2:
            raise RuntimeError(f"t: at most 2 dimensions are expected, got {self.ndims}; use x.mT or transpose(dim0, dim1)")
        return transpose_last(self) if self.ndims == 2 else make_view(self, self.ptr, self.ndims, self.dims, self.dims + self.ndims, VIEW_RESHAPE, None)

    @property
    def T(self):
        """All dimensions in reverse order.

        >>> fb.arange(4).reshape(2, 2).T
        tensor([[0, 2],
                [1, 3]])
        """
        cdef int64_t[64] order
        for i in range(self.ndims):
            order[i] = self.ndims - 1 - i
        return permuted(self, order)

    @property
    def mT(self):
        """The last two dimensions exchanged.

        >>> fb.arange(4).reshape(1, 2, 2).mT
        tensor([[[0, 2],
                 [1, 3]]])
        """
        if self.ndims < 2:
            raise RuntimeError(f"mT: at least 2 dimensions are needed, got {self.ndims}")
        return transpose_last(self)

    def expand(self, *shape):
        """Dimensions of length 1 stretched without copying; -1 keeps a length.

        >>> fb.tensor([[1], [2]]).expand(-1, 3)
        tensor([[1, 1, 1],
                [2, 2, 2]])
        """
        return expanded(self, shape)

    def expand_as(self, Tensor other):
        """A view expanded to another tensor's shape.

        >>> fb.tensor([1, 2]).expand_as(fb.zeros(2, 2))
        tensor([[1, 2],
                [1, 2]])
        """
        return self.expand(other.shape)

    def unsqueeze(self, dim):
        """A dimension of length 1 inserted.

        >>> fb.tensor([1, 2]).unsqueeze(1)
        tensor([[1],
                [2]])
        """
        return with_dim(self, dim)

    def squeeze(self, *dim):
        """Dimensions of length 1 dropped: all of them, or those named.

        >>> fb.zeros(1, 3, 1).squeeze().shape, fb.zeros(1, 3, 1).squeeze(0).shape
        (flambeau.Size([3]), flambeau.Size([3, 1]))
        """
        return without_dims(self, dim)

    def flatten(self, start_dim=0, end_dim=-1):
        """Dimensions start_dim … end_dim joined into one.

        >>> fb.arange(4).reshape(2, 2).flatten()
        tensor([0, 1, 2, 3])
        """
        return flattened(self, start_dim, end_dim)

    def select(self, dim, index):
        """One index of a dimension, which is dropped.

        >>> fb.arange(6).reshape(2, 3).select(1, -1)
        tensor([2, 5])
        """
        if self.ndims == 0:
            raise IndexError("select: a 0-dimensional tensor has no dimension to select from; use x.item()")
        return select_c(self, wrap_dim(dim, self.ndims), integer(index, "an index"))

    def narrow(self, dim, start, length):
        """`length` indices of a dimension from `start` on.

        >>> fb.arange(6).narrow(0, 2, 3)
        tensor([2, 3, 4])
        """
        return narrowed(self, dim, start, length)

    def as_strided(self, size, stride, storage_offset=None):
        """The storage under any sizes and strides that stay inside it.

        >>> fb.arange(6).as_strided((2, 2), (3, 1), 1)
        tensor([[1, 2],
                [4, 5]])
        """
        return hooks["as_strided"](self, size, stride, storage_offset)

    def contiguous(self, memory_format=None):
        """The tensor itself if its elements stand in order, otherwise a copy in which they do.

        >>> x = fb.zeros(2, 3)
        >>> x.contiguous() is x, x.t().contiguous().stride()
        (True, (2, 1))
        """
        if memory_format is not None and memory_format not in ("contiguous_format", "preserve_format"):
            return hooks["to_memory_format"](self, memory_format)
        return make_contiguous(self)

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Adds the gradient of self to the `.grad` of every leaf it was computed from.

        >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
        >>> (x ** 3).sum().backward()
        >>> x.grad
        tensor([ 3., 12.])
        """
        tensor_backward(self, gradient, retain_graph, create_graph, inputs)

    # ---- elements to Python
    def item(self):
        """The only element, as a Python number.

        >>> fb.tensor([2.5]).item()
        2.5
        """
        if self.count != 1:
            raise RuntimeError(f"item: a tensor with one element is needed, got shape {list(self.shape)}; use tolist()")
        if fb_interpreters:
            announce(READ, self)
        unwatch()
        return read_element(self.ptr, self.code)

    def tolist(self):
        """Nested lists of Python numbers; a number for a 0-dimensional tensor.

        >>> fb.tensor([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
        """
        if fb_interpreters:
            announce(READ, self)
        unwatch()
        return read_nested(self.ptr, self.code, self.ndims, self.dims, self.dims + self.ndims)

    def __len__(self):
        if self.ndims == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.dims[0]

    def __bool__(self):
        if self.count != 1:
            raise RuntimeError(
                f"bool: the truth of a tensor with {self.count} elements is ambiguous; use .any() or .all()"
            )
        if fb_interpreters:
            announce(READ, self)
        unwatch()
        return bool(read_element(self.ptr, self.code))

    def __float__(self):
        return float(only_element(self))

    def __int__(self):
        return int(only_element(self))

    def __index__(self):
        if self.count != 1 or CATEGORY[self.code] > 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __complex__(self):
        return complex(only_element(self))

    def __iter__(self):
        if self.ndims == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(hooks["unbind"](self, 0))

    def __contains__(self, value):
        if not isinstance(value, (Tensor, int, float, complex)):
            raise RuntimeError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}."
            )
        return bool((self == value).any())

    def __hash__(self):
        return <int64_t> (<size_t> <PyObject *> self >> 4)

    def __repr__(self):
        return hooks["repr"](self)

    def __format__(self, spec):
        if spec and self.ndims:
            raise TypeError(f"a format such as {spec!r} needs a 0-dimensional tensor, got shape {list(self.shape)}; use x.item()")
        # As PyTorch has it: f"{loss}" shows the number, f"{parameter}" the tensor.
        return format(self.item(), spec) if spec or not self.ndims and type(self) is Tensor else repr(self)

    def __getitem__(self, index):
        cdef Tensor found = chosen(self, <Tensor> index) if type(index) is Tensor else None
        if found is None:
            found = basic_index(self, index)
        return hooks["getitem"](self, index) if found is None else found

    def __setitem__(self, index, value):
        cdef Tensor target = basic_index(self, index)
        if target is None:
            hooks["setitem"](self, index, value)
        elif isinstance(value, Tensor):
            copy_into(target, value)
        else:
            hooks["fill"](target, value)

    # ---- memory exchange
    def __getbuffer__(self, Py_buffer *view, int flags):
        fill_buffer(self, view, flags)

    def __reduce_ex__(self, protocol):
        return hooks["reduce"](self, protocol)

    def __deepcopy__(self, memo):
        return hooks["deepcopy"](self, memo)

    # ---- arithmetic: straight to the op, without a Python call in between
    def __add__(self, other): return operate(ADD, self, other)
    def __radd__(self, other): return operate(ADD, other, self)
    def __sub__(self, other): return operate(SUB, self, other)
    def __rsub__(self, other): return operate(SUB, other, self)
    def __mul__(self, other): return operate(MUL, self, other)
    def __rmul__(self, other): return operate(MUL, other, self)
    def __truediv__(self, other): return operate(DIV, self, other)
    def __rtruediv__(self, other): return operate(DIV, other, self)
    def __floordiv__(self, other): return operate(FLOOR_DIVIDE, self, other)
    def __rfloordiv__(self, other): return operate(FLOOR_DIVIDE, other, self)
    def __mod__(self, other): return operate(REMAINDER, self, other)
    def __rmod__(self, other): return operate(REMAINDER, other, self)
    def __pow__(self, other, modulo): return operate(POW, self, other)
    def __rpow__(self, other, modulo): return operate(POW, other, self)
    def __and__(self, other): return operate(AND, self, other)
    def __rand__(self, other): return operate(AND, other, self)
    def __or__(self, other): return operate(OR, self, other)
    def __ror__(self, other): return operate(OR, other, self)
    def __xor__(self, other): return operate(XOR, self, other)
    def __rxor__(self, other): return operate(XOR, other, self)
    def __lshift__(self, other): return operate(SHL, self, other)
    def __rlshift__(self, other): return operate(SHL, other, self)
    def __rshift__(self, other): return operate(SHR, self, other)
    def __rrshift__(self, other): return operate(SHR, other, self)
    def __neg__(self): return operate1(NEG, self)
    def __pos__(self): return self
    def __abs__(self): return operate1(ABS, self)
    def __invert__(self): return operate1(NOT, self)
    def __iadd__(self, other): return operate_into(ADD, self, other)
    def __isub__(self, other): return operate_into(SUB, self, other)
    def __imul__(self, other): return operate_into(MUL, self, other)
    def __itruediv__(self, other): return operate_into(DIV, self, other)
    def __ifloordiv__(self, other): return operate_into(FLOOR_DIVIDE, self, other)
    def __imod__(self, other): return operate_into(REMAINDER, self, other)
    def __ipow__(self, other): return operate_into(POW, self, other)
    def __iand__(self, other): return operate_into(AND, self, other)
    def __ior__(self, other): return operate_into(OR, self, other)
    def __ixor__(self, other): return operate_into(XOR, self, other)
    def __ilshift__(self, other): return operate_into(SHL, self, other)
    def __irshift__(self, other): return operate_into(SHR, self, other)
    def __matmul__(self, other): return hooks["matmul"](self, other)
    def __rmatmul__(self, other): return hooks["matmul"](other, self)

    def __richcmp__(self, other, int op):
        # 0 <, 1 <=, 2 ==, 3 !=, 4 >, 5 >=
        if other is None or isinstance(other, (str, tuple, list, dict)):
            return op == 3 if op in (2, 3) else NotImplemented
        if op in (2, 3) and not operand_like(other) and hasattr(other, "__array__"):
            try:
                other = hooks["array_view"](other)  # Python would compare identities
            except TypeError:
                return NotImplemented
        return operate(LT if op == 0 else LE if op == 1 else EQ if op == 2 else NE if op == 3 else GT if op == 4 else GE,
                       self, other)


# The layers above attach methods to Tensor with setattr, which extension types otherwise refuse.
cdef extern from *:
    """
    #ifdef Py_TPFLAGS_IMMUTABLETYPE
    #define FB_OPEN_TYPE(t) (((PyTypeObject *)(t))->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE)
    #else
    #define FB_OPEN_TYPE(t)
    #endif
    """
    void FB_OPEN_TYPE(PyObject *t)

FB_OPEN_TYPE(<PyObject *> Tensor)
