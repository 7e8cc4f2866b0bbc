# Tensor: geometry over a Storage, views, and the ways to and from Python. Operations are attached by `flambeau.ops`.

cdef enum:
    MAXDIM = 64
    INLINE = 5  # dimensions that fit in the object itself

# Python functions the layers above install; each name is called in one place.
hooks = {}


def set_hook(str name, function):
    """Installs the Python function that the core calls where its own knowledge ends."""
    hooks[name] = function


class Size(tuple):
    """A tensor's shape: a tuple of ints with `numel()`."""
    __slots__ = ()

    def numel(self):
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self):
        return f"flambeau.Size({list(self)})"

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return tuple.__new__(Size, found) if type(found) is tuple else found

    def __add__(self, other):
        return tuple.__new__(Size, tuple.__add__(self, tuple(other)))

    def __reduce__(self):
        return Size, (tuple(self),)


class device:
    """Where a tensor's memory is: `device("cpu")`."""
    __slots__ = ("type", "index")

    def __new__(cls, kind="cpu", index=None):
        if isinstance(kind, device):
            return kind
        name, _, number = str(kind).partition(":")
        if name != "cpu" and name != "meta":
            raise RuntimeError(f"device: this build computes on 'cpu', got {kind!r}")
        self = object.__new__(cls)
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", int(number) if number else index)
        return self

    def __setattr__(self, name, value):
        raise AttributeError("a device can't be changed")

    def __repr__(self):
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other):
        return isinstance(other, device) and (self.type, self.index or 0) == (other.type, other.index or 0)

    def __hash__(self):
        return hash((self.type, self.index or 0))

    def __reduce__(self):
        return device, (str(self),)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


CPU = device("cpu")


cdef class Tensor:
    """An n-dimensional array with a place on the tape.

    `Tensor(2, 3)` makes an uninitialised float tensor of that shape and `Tensor([...])` one of that data, as PyTorch's
    legacy constructor does; `flambeau.tensor` is the usual way.
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
        return size_tuple(self.ndims, self.dims)

    def size(self, dim=None):
        """The shape, or the length of one dimension."""
        if dim is None:
            return size_tuple(self.ndims, self.dims)
        return self.dims[wrap_dim(dim, self.ndims)]

    def stride(self, dim=None):
        """The strides in elements, or one dimension's."""
        if dim is None:
            return to_tuple(self.ndims, self.dims + self.ndims)
        return self.dims[self.ndims + wrap_dim(dim, self.ndims)]

    def storage_offset(self):
        return (self.ptr - self.store.ptr) // ITEMSIZE[self.code]

    def dim(self):
        return self.ndims

    def ndimension(self):
        return self.ndims

    @property
    def ndim(self):
        return self.ndims

    def numel(self):
        return self.count

    def nelement(self):
        return self.count

    def element_size(self):
        return ITEMSIZE[self.code]

    @property
    def itemsize(self):
        return ITEMSIZE[self.code]

    @property
    def nbytes(self):
        return self.count * ITEMSIZE[self.code]

    @property
    def dtype(self):
        return DTYPES[self.code]

    @property
    def device(self):
        return CPU

    @property
    def is_cuda(self):
        return False

    @property
    def is_cpu(self):
        return True

    @property
    def is_sparse(self):
        return False

    @property
    def is_quantized(self):
        return False

    @property
    def is_meta(self):
        return False

    @property
    def is_mps(self):
        return False

    @property
    def layout(self):
        return "strided"

    def get_device(self):
        return -1

    def is_floating_point(self):
        return CATEGORY[self.code] == 2

    def is_complex(self):
        return CATEGORY[self.code] == 3

    def is_signed(self):
        return self.code > U8

    def is_contiguous(self, memory_format=None):
        if memory_format is None or memory_format == "contiguous_format":
            return self.contig
        return hooks["is_contiguous"](self, memory_format)

    def data_ptr(self):
        return <uint64_t> self.ptr

    def untyped_storage(self):
        return self.store

    def storage(self):
        return self.store

    def is_set_to(self, Tensor other):
        return self.ptr == other.ptr and self.shape == other.shape and self.stride() == other.stride()

    @property
    def _version(self):
        return self.store.count

    def _bump_version(self):
        self.store.count += 1

    # ---- place on the tape
    @property
    def requires_grad(self):
        return requires_grad(self)

    @requires_grad.setter
    def requires_grad(self, bint value):
        set_requires_grad(self, value)

    def requires_grad_(self, bint requires_grad=True):
        """Sets whether operations on this leaf are recorded; returns the tensor."""
        set_requires_grad(self, requires_grad)
        return self

    @property
    def is_leaf(self):
        return current_node(self) is None

    @property
    def grad_fn(self):
        return current_node(self)

    @property
    def output_nr(self):
        return self.nr

    @property
    def grad(self):
        return self.grad_tensor

    @grad.setter
    def grad(self, Tensor value):
        if value is not None and not same_shape(value, self):
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
        cdef Node n = current_node(self)
        return n is not None and n.meta is not None and "retain" in n.meta.get("tensors", {}).get(self.nr, {})

    @property
    def _backward_hooks(self):
        return self.backward_hooks

    @_backward_hooks.setter
    def _backward_hooks(self, value):
        self.backward_hooks = value

    def is_inference(self):
        return self.store.inference

    def detach(self):
        """A tensor over the same memory that stands on no tape."""
        return alias(self)

    def detach_(self):
        """Takes this tensor off the tape, in place."""
        if self.base is not None:
            raise RuntimeError("detach_: views can't be detached in place; use detach()")
        self.node = None
        self.nr = 0
        self.wants_grad = False
        return self

    @property
    def data(self):
        """The same memory off the tape, with a count of writes of its own: the tape doesn't notice writes to it."""
        cdef Storage s = borrow_storage(self.store.ptr, self.store.total, self.store)
        return over(s, self.ptr, self.code, self.ndims, self.dims, self.dims + self.ndims)

    @data.setter
    def data(self, Tensor value):
        keep = self.node, self.grad_tensor, self.wants_grad
        become(self, value)
        self.node, self.grad_tensor, self.wants_grad = keep

    def set_(self, Tensor source):
        """Makes this tensor view the memory and geometry of another."""
        become(self, source)
        return self

    # ---- views
    def view(self, *shape):
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

    def reshape(self, *shape):
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

    def view_as(self, Tensor other):
        return self.view(other.shape)

    def reshape_as(self, Tensor other):
        return self.reshape(other.shape)

    def permute(self, *dims):
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

    def transpose(self, dim0, dim1):
        """Two dimensions exchanged."""
        cdef int64_t[64] order
        cdef int a = wrap_dim(dim0, self.ndims), b = wrap_dim(dim1, self.ndims)
        for i in range(self.ndims):
            order[i] = i
        if self.ndims:
            order[a], order[b] = b, a
        return permuted(self, order)

    def t(self):
        """A matrix transposed; a vector or number as it is."""
        if self.ndims > 2:
            raise RuntimeError(f"t: at most 2 dimensions are expected, got {self.ndims}; use x.mT or transpose(dim0, dim1)")
        return transpose_last(self) if self.ndims == 2 else make_view(self, self.ptr, self.ndims, self.dims, self.dims + self.ndims, VIEW_RESHAPE, None)

    @property
    def T(self):
        cdef int64_t[64] order
        for i in range(self.ndims):
            order[i] = self.ndims - 1 - i
        return permuted(self, order)

    @property
    def mT(self):
        if self.ndims < 2:
            raise RuntimeError(f"mT: at least 2 dimensions are needed, got {self.ndims}")
        return transpose_last(self)

    def expand(self, *shape):
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
        return make_view(self, self.ptr, nd, sizes, strides, VIEW_EXPAND, None)

    def expand_as(self, Tensor other):
        return self.expand(other.shape)

    def unsqueeze(self, dim):
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

    def squeeze(self, *dim):
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

    def flatten(self, start_dim=0, end_dim=-1):
        """Dimensions start_dim … end_dim joined into one."""
        cdef int a = wrap_dim(start_dim, self.ndims), b = wrap_dim(end_dim, self.ndims)
        if a > b:
            raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        if self.ndims == 0:
            return self.reshape(1)
        if a == b:
            return self
        cdef int64_t n = 1
        for i in range(a, b + 1):
            n *= self.dims[i]
        s = self.shape
        return self.reshape(tuple(s[:a]) + (n,) + tuple(s[b + 1:]))

    def select(self, dim, index):
        """One index of a dimension, which is dropped."""
        if self.ndims == 0:
            raise IndexError("select: a 0-dimensional tensor has no dimension to select from; use x.item()")
        return select_c(self, wrap_dim(dim, self.ndims), index)

    def narrow(self, dim, start, length):
        """`length` indices of a dimension from `start` on."""
        cdef int d = wrap_dim(dim, self.ndims)
        cdef int64_t n = self.dims[d], a = start, k = length
        if a < -n or a > n:
            raise IndexError(f"narrow: start {a} is out of range for dimension {d} of length {n}")
        if a < 0:
            a += n
        if k < 0 or k > n - a:
            raise RuntimeError(f"narrow: start {a} and length {k} exceed dimension {d} of length {n}")
        return slice_c(self, d, a, a + k, 1)

    def as_strided(self, size, stride, storage_offset=None):
        """The storage under any sizes and strides that stay inside it."""
        return hooks["as_strided"](self, size, stride, storage_offset)

    def contiguous(self, memory_format=None):
        """The tensor itself if its elements stand in order, otherwise a copy in which they do."""
        if memory_format is not None and memory_format not in ("contiguous_format", "preserve_format"):
            return hooks["to_memory_format"](self, memory_format)
        return make_contiguous(self)

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Adds the gradient of self to the `.grad` of every leaf it was computed from."""
        tensor_backward(self, gradient, retain_graph, create_graph, inputs)

    # ---- elements to Python
    def item(self):
        """The only element, as a Python number."""
        if self.count != 1:
            raise RuntimeError(f"item: a tensor with one element is needed, got shape {list(self.shape)}; use tolist()")
        return read_element(self.ptr, self.code)

    def tolist(self):
        """Nested lists of Python numbers; a number for a 0-dimensional tensor."""
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
        return bool(read_element(self.ptr, self.code))

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.count != 1 or CATEGORY[self.code] > 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __complex__(self):
        return complex(self.item())

    def __iter__(self):
        if self.ndims == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(hooks["unbind"](self, 0))

    def __contains__(self, value):
        return bool((self == value).any())

    def __hash__(self):
        return <int64_t> (<size_t> <PyObject *> self >> 4)

    def __repr__(self):
        return hooks["repr"](self)

    def __format__(self, spec):
        return format(self.item(), spec) if self.ndims == 0 and spec else repr(self)

    def __getitem__(self, index):
        cdef Tensor found = basic_index(self, index)
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

    def __releasebuffer__(self, Py_buffer *view):
        free(view.internal)

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


# ---- making tensors
cdef inline int set_dims(Tensor t, int nd) except -1:
    t.ndims = nd
    if nd <= INLINE:
        t.dims = &t.inline_dims[0]
        return 0
    if nd > MAXDIM:
        raise RuntimeError(f"a tensor has at most {MAXDIM} dimensions, got {nd}")
    t.dims = <int64_t *> malloc(2 * nd * sizeof(int64_t))
    if t.dims == NULL:
        t.dims = &t.inline_dims[0]
        t.ndims = 0
        raise MemoryError()
    return 0


cdef inline bint is_contig(int nd, const int64_t *sizes, const int64_t *strides) noexcept:
    cdef int64_t expected = 1
    cdef int i
    for i in range(nd - 1, -1, -1):
        if sizes[i] == 0:
            return True
        if sizes[i] != 1:
            if strides[i] != expected:
                return False
            expected *= sizes[i]
    return True


cdef int64_t count_elements(int nd, const int64_t *sizes, int itemsize) except -1:
    """The product of the sizes; an error for negative ones and for byte counts past 2^63."""
    cdef int64_t n = 1, limit = INT64_MAX // itemsize
    cdef bint empty = False
    cdef int i
    for i in range(nd):
        if sizes[i] < 0:
            raise RuntimeError(f"sizes can't be negative, got {[sizes[j] for j in range(nd)]}")
        if sizes[i] == 0:
            empty = True
    if empty:
        return 0
    for i in range(nd):
        if n > limit // sizes[i]:
            raise RuntimeError(f"a tensor of sizes {[sizes[j] for j in range(nd)]} exceeds 2^63 bytes")
        n *= sizes[i]
    return n


cdef Tensor empty(int code, int nd, const int64_t *sizes):
    """A new contiguous tensor, uninitialised."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int64_t n = count_elements(nd, sizes, ITEMSIZE[code]), stride = 1
    cdef int i
    set_dims(t, nd)
    for i in range(nd - 1, -1, -1):
        t.dims[i] = sizes[i]
        t.dims[nd + i] = stride
        if sizes[i] > 1:
            stride *= sizes[i]
    t.store = new_storage(n * ITEMSIZE[code])
    t.ptr = t.store.ptr
    t.count = n
    t.code = code
    t.contig = True
    return t


cdef Tensor empty_strided_c(int code, int nd, const int64_t *sizes, const int64_t *strides):
    """A new tensor whose (dense) strides are given."""
    cdef Tensor t = empty(code, nd, sizes)
    cdef int i
    for i in range(nd):
        t.dims[nd + i] = strides[i]
    t.contig = is_contig(nd, t.dims, t.dims + nd)
    return t


cdef Tensor over(Storage storage, char *ptr, int code, int nd, const int64_t *sizes, const int64_t *strides):
    """A tensor over existing memory."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int64_t n = 1
    cdef int i
    set_dims(t, nd)
    for i in range(nd):
        t.dims[i] = sizes[i]
        t.dims[nd + i] = strides[i]
        n *= sizes[i]
    t.store = storage
    t.ptr = ptr
    t.count = n
    t.code = code
    t.contig = is_contig(nd, sizes, strides)
    return t


cdef inline Tensor alias(Tensor t):
    return over(t.store, t.ptr, t.code, t.ndims, t.dims, t.dims + t.ndims)


cdef int become(Tensor self, Tensor other) except -1:
    """Gives self the memory and geometry of other."""
    if self.dims != NULL and self.dims != &self.inline_dims[0]:
        free(self.dims)
        self.dims = NULL
    set_dims(self, other.ndims)
    memcpy(self.dims, other.dims, 2 * other.ndims * sizeof(int64_t))
    self.store = other.store
    self.ptr = other.ptr
    self.count = other.count
    self.code = other.code
    self.contig = other.contig
    self.base = None
    self.unrecorded = False
    return 0


# ---- tuples, shapes, dimensions
cdef tuple to_tuple(int nd, const int64_t *values):
    cdef tuple out = PyTuple_New(nd)
    cdef object v  # untyped, it would be a C integer and each use a new Python one
    cdef int i
    for i in range(nd):
        v = values[i]
        Py_INCREF(v)
        PyTuple_SET_ITEM(out, i, v)
    return out


cdef inline object size_tuple(int nd, const int64_t *values):
    return tuple.__new__(Size, to_tuple(nd, values))


cdef inline bint same_shape(Tensor a, Tensor b) noexcept:
    return a.ndims == b.ndims and memcmp(a.dims, b.dims, a.ndims * sizeof(int64_t)) == 0


cdef inline int wrap_dim_c(int64_t d, int nd) except -1:
    cdef int n = nd if nd else 1
    if d < -n or d >= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return <int> (d + n if d < 0 else d)


cdef inline int wrap_dim(object dim, int nd) except -1:
    return wrap_dim_c(dim, nd)


cdef int parse_shape(object args, int64_t *out) except -1:
    """Sizes from f(2, 3), f((2, 3)) or f(size); returns how many."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    cdef Py_ssize_t nd = len(args)
    if nd > MAXDIM:
        raise RuntimeError(f"a tensor has at most {MAXDIM} dimensions, got {nd}")
    cdef Py_ssize_t i
    for i in range(nd):
        x = args[i]
        try:
            out[i] = x
        except (TypeError, OverflowError):
            try:
                out[i] = x.__index__()
            except (AttributeError, TypeError):
                raise TypeError(f"sizes must be integers, got {x!r} of type {type(x).__name__}") from None
            except OverflowError:
                raise RuntimeError(f"size {x} doesn't fit in 64 bits") from None
    return <int> nd


cdef int infer_shape(str name, Tensor t, int nd, int64_t *sizes) except -1:
    """Replaces a -1 by the length that fits, and checks the element count."""
    cdef int64_t known = 1
    cdef int i, hole = -1
    for i in range(nd):
        if sizes[i] == -1:
            if hole >= 0:
                raise RuntimeError(f"{name}: only one size can be -1, got {[sizes[j] for j in range(nd)]}")
            hole = i
        elif sizes[i] < 0:
            raise RuntimeError(f"{name}: sizes can't be negative, got {[sizes[j] for j in range(nd)]}")
        elif sizes[i] and known > INT64_MAX // sizes[i]:
            raise RuntimeError(f"{name}: sizes {[sizes[j] for j in range(nd)]} exceed 2^63 elements")
        else:
            known *= sizes[i]
    if hole >= 0 and known > 0 and t.count % known == 0:
        sizes[hole] = t.count // known
        return 0
    if hole >= 0 and known == 0 and t.count == 0:
        raise RuntimeError(f"{name}: -1 is ambiguous for an empty tensor of shape {list(t.shape)}; give the length")
    if hole >= 0 or known != t.count:
        raise RuntimeError(
            f"{name}: shape {[sizes[j] for j in range(nd)]} is invalid for {t.count} elements (shape {list(t.shape)})"
        )
    return 0


cdef bint view_strides(Tensor t, int nd, const int64_t *sizes, int64_t *strides) noexcept:
    """Strides that make `sizes` a view of t; False where only a copy can."""
    cdef int i, d
    cdef int64_t step, have, need
    if t.count == 0 or t.contig:
        step = 1
        for i in range(nd - 1, -1, -1):
            strides[i] = step
            if sizes[i] > 1:
                step *= sizes[i]
        return True
    # Walk both shapes from the back; each run of t's dimensions that is contiguous in itself serves some new ones.
    i = nd - 1
    d = t.ndims - 1
    while d >= 0:
        step = t.dims[t.ndims + d]
        have = t.dims[d]
        while d > 0 and (t.dims[d - 1] == 1 or t.dims[t.ndims + d - 1] == have * step or have == 1):
            if have == 1:
                step = t.dims[t.ndims + d - 1]
            d -= 1
            have *= t.dims[d]
        need = 1
        while i >= 0 and (need < have or sizes[i] == 1):
            strides[i] = step * need
            need *= sizes[i]
            i -= 1
        if need != have:
            return False
        d -= 1
    return i < 0


# ---- views and their place on the tape
cdef Tensor make_view(Tensor self, char *ptr, int nd, const int64_t *sizes, const int64_t *strides, int kind, object how):
    """A view, with a tape node where one is due. `how` is (method name, arguments) for VIEW_PART."""
    cdef Tensor out
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


cdef Tensor basic_index(Tensor self, object index):
    """The view for integers, slices, None and …; None where the index holds anything else."""
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
                if step < 1:
                    raise ValueError(f"slice: step must be positive, got {step}; use flip() to reverse")
                if start != 0 or stop != out.dims[d] or step != 1:
                    out = slice_c(out, d, start, stop, step)
            d += 1
        else:
            out = select_c(out, d, x.__index__())
    if out is self:
        out = make_view(self, self.ptr, self.ndims, self.dims, self.dims + self.ndims, VIEW_RESHAPE, None)
    return out


# ---- elements
cdef inline float half_to_float(uint16_t h) noexcept:
    cdef uint32_t sign = (<uint32_t> h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023, bits
    cdef float out
    if exponent == 31:
        bits = sign | 0x7F800000 | mantissa << 13
    elif exponent:
        bits = sign | (exponent + 112) << 23 | mantissa << 13
    else:
        out = mantissa * 5.9604644775390625e-08
        return -out if sign else out
    memcpy(&out, &bits, 4)
    return out


cdef inline float bfloat_to_float(uint16_t h) noexcept:
    cdef uint32_t bits = <uint32_t> h << 16
    cdef float out
    memcpy(&out, &bits, 4)
    return out


cdef inline uint16_t float_to_bfloat(float x) noexcept:
    cdef uint32_t bits
    memcpy(&bits, &x, 4)
    if x != x:
        return 0x7FC0
    return <uint16_t> ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


cdef inline uint16_t float_to_half(float x) noexcept:
    cdef uint32_t bits, sign, magnitude, shift, rest
    cdef int exponent
    memcpy(&bits, &x, 4)
    sign = bits >> 16 & 0x8000
    magnitude = bits & 0x7FFFFFFF
    if magnitude > 0x7F800000:
        return <uint16_t> (sign | 0x7E00)
    if magnitude >= 0x477FF000:
        return <uint16_t> (sign | 0x7C00)
    if magnitude < 0x33000001:
        return <uint16_t> sign
    exponent = <int> (magnitude >> 23)
    if exponent < 113:
        shift = 126 - exponent
        rest = (magnitude & 0x7FFFFF) | 0x800000
        bits = rest >> shift
        rest &= (<uint32_t> 1 << shift) - 1
        if rest > <uint32_t> 1 << (shift - 1) or (rest == <uint32_t> 1 << (shift - 1) and bits & 1):
            bits += 1
        return <uint16_t> (sign | bits)
    bits = magnitude - (<uint32_t> 112 << 23)
    return <uint16_t> (sign | (bits + 0xFFF + (bits >> 13 & 1)) >> 13)


cdef object read_element(const char *p, int code):
    if code == F32:
        return <double> (<float *> p)[0]
    if code == F64:
        return (<double *> p)[0]
    if code == I64:
        return (<int64_t *> p)[0]
    if code == BOOL:
        return p[0] != 0
    if code == I32:
        return (<int32_t *> p)[0]
    if code == U8:
        return (<uint8_t *> p)[0]
    if code == I8:
        return (<int8_t *> p)[0]
    if code == I16:
        return (<int16_t *> p)[0]
    if code == F16:
        return <double> half_to_float((<uint16_t *> p)[0])
    if code == BF16:
        return <double> bfloat_to_float((<uint16_t *> p)[0])
    if code == C64:
        return complex((<float *> p)[0], (<float *> p)[1])
    return complex((<double *> p)[0], (<double *> p)[1])


cdef object read_nested(const char *p, int code, int nd, const int64_t *sizes, const int64_t *strides):
    if nd == 0:
        return read_element(p, code)
    cdef int64_t i, step = strides[0] * ITEMSIZE[code]
    return [read_nested(p + i * step, code, nd - 1, sizes + 1, strides + 1) for i in range(sizes[0])]


cdef int write_element(char *p, int code, object x) except -1:
    """Stores a Python number as the dtype, wrapping and converting as C does."""
    cdef int64_t i
    cdef double d
    cdef double complex z
    if CATEGORY[code] == 2:
        d = x
        if code == F32:
            (<float *> p)[0] = <float> d
        elif code == F64:
            (<double *> p)[0] = d
        elif code == F16:
            (<uint16_t *> p)[0] = float_to_half(<float> d)
        else:
            (<uint16_t *> p)[0] = float_to_bfloat(<float> d)
    elif code == BOOL:
        p[0] = 1 if x else 0
    elif CATEGORY[code] == 3:
        z = x
        if code == C64:
            (<float *> p)[0] = <float> z.real
            (<float *> p)[1] = <float> z.imag
        else:
            (<double *> p)[0] = z.real
            (<double *> p)[1] = z.imag
    else:
        if isinstance(x, float):
            if x != x or x in (float("inf"), -float("inf")):
                raise RuntimeError(f"{x} has no value as {DTYPES[code].name}")
            x = int(x)
        try:
            i = x
        except OverflowError:
            raise RuntimeError(f"{x} doesn't fit in {DTYPES[code].name}") from None
        if code == I64:
            (<int64_t *> p)[0] = i
        elif code == I32:
            (<int32_t *> p)[0] = <int32_t> i
        elif code == U8:
            (<uint8_t *> p)[0] = <uint8_t> i
        elif code == I8:
            (<int8_t *> p)[0] = <int8_t> i
        else:
            (<int16_t *> p)[0] = <int16_t> i
    return 0


cdef int fill_nested(object data, int code, int nd, const int64_t *sizes, char **p) except -1:
    cdef Py_ssize_t n
    if nd == 0:
        write_element(p[0], code, data.item() if isinstance(data, Tensor) else data)
        p[0] += ITEMSIZE[code]
        return 0
    n = len(data)
    if n != sizes[0]:
        raise ValueError(f"tensor: nested sequences differ in length, expected {sizes[0]}, got {n}")
    for x in data:
        fill_nested(x, code, nd - 1, sizes + 1, p)
    return 0


def from_nested(data, dtype=None):
    """A new tensor of nested sequences of numbers; the dtype follows the numbers if it isn't given."""
    cdef int64_t[64] sizes
    cdef int nd = 0, code
    cdef Tensor out
    cdef char *p
    level = data
    while isinstance(level, (list, tuple, range)) or (hasattr(level, "__len__") and hasattr(level, "__getitem__") and not
                                                      (isinstance(level, Tensor) and (<Tensor> level).ndims == 0)
                                                      and getattr(level, "ndim", 1) != 0):
        if isinstance(level, (str, bytes, dict)):
            raise TypeError(f"tensor: nested sequences of numbers are needed, got {type(level).__name__}")
        if nd == MAXDIM:
            raise ValueError(f"tensor: more than {MAXDIM} levels of nesting")
        sizes[nd] = len(level)
        nd += 1
        if len(level) == 0:
            break
        level = level[0]
    code = infer_dtype(data, nd) if dtype is None else dtype_code(dtype)
    out = empty(code, nd, sizes)
    p = out.ptr
    if out.count or nd == 0:
        fill_nested(data, code, nd, sizes, &p)
    return out


cdef int infer_dtype(object data, int nd) except -1:
    cdef int code = -1, other
    if nd == 0:
        return (<Tensor> data).code if isinstance(data, Tensor) else python_dtype(data)
    for x in data:
        other = infer_dtype(x, nd - 1)
        code = other if code < 0 else PROMOTE[code][other]
        if code == C128:
            break
    return default_dtype if code < 0 else code


# ---- factories the rest is built on
def new_empty(shape, dtype):
    """An uninitialised contiguous tensor."""
    cdef int64_t[64] sizes
    cdef int nd = parse_shape((tuple(shape),), sizes)
    return empty(dtype_code(dtype), nd, sizes)


def new_empty_strided(shape, stride, dtype):
    """An uninitialised tensor with the given strides over a storage just large enough."""
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef int nd = parse_shape((tuple(shape),), sizes), code = dtype_code(dtype)
    cdef int64_t span = 1, n
    if parse_shape((tuple(stride),), strides) != nd:
        raise RuntimeError(f"empty_strided: {nd} sizes need {nd} strides, got {list(shape)} and {list(stride)}")
    n = count_elements(nd, sizes, ITEMSIZE[code])
    for i in range(nd):
        if strides[i] < 0 or (sizes[i] > 1 and strides[i] > (INT64_MAX // 16 - span) // (sizes[i] - 1)):
            raise RuntimeError(f"empty_strided: sizes {list(shape)} and strides {list(stride)} overflow")
        if sizes[i] > 1:
            span += strides[i] * (sizes[i] - 1)
    cdef Storage s = new_storage(span * ITEMSIZE[code] if n else 0)
    return over(s, s.ptr, code, nd, sizes, strides)


def make_subclass(cls, Tensor data, bint requires_grad=False):
    """A tensor of a subclass of Tensor over the same memory."""
    cdef Tensor t = cls.__new__(cls) if cls.__new__ is Tensor.__new__ else Tensor.__new__(cls)
    become(t, data)
    if requires_grad:
        set_requires_grad(t, True)
    return t


# ---- the buffer protocol, both ways
cdef const char *buffer_format(int code) noexcept:
    if code == BOOL: return b"?"
    if code == U8: return b"B"
    if code == I8: return b"b"
    if code == I16: return b"h"
    if code == I32: return b"i"
    if code == I64: return b"q"
    if code == F16: return b"e"
    if code == F32: return b"f"
    if code == F64: return b"d"
    if code == C64: return b"Zf"
    if code == C128: return b"Zd"
    return NULL


cdef int fill_buffer(Tensor t, Py_buffer *view, int flags) except -1:
    cdef const char *form = buffer_format(t.code)
    cdef Py_ssize_t *geometry
    cdef int i
    view.obj = None
    if form == NULL:
        raise BufferError(f"{t.dtype} has no buffer format; use x.float(), or x.view(flambeau.int16) for the bits")
    if requires_grad(t):
        raise BufferError("a tensor that requires grad can't lend its memory; use x.detach()")
    if not t.contig and not flags & PyBUF_STRIDES:
        raise BufferError("the tensor isn't contiguous; use x.contiguous()")
    if fb_interpreters:
        interpret(LEND, (t,), {}, None, 0)
    geometry = <Py_ssize_t *> malloc((2 * t.ndims + 1) * sizeof(Py_ssize_t))
    if geometry == NULL:
        raise MemoryError()
    for i in range(t.ndims):
        geometry[i] = t.dims[i]
        geometry[t.ndims + i] = t.dims[t.ndims + i] * ITEMSIZE[t.code]
    view.internal = geometry
    view.buf = t.ptr
    view.obj = t
    view.len = t.count * ITEMSIZE[t.code]
    view.itemsize = ITEMSIZE[t.code]
    view.readonly = 0
    view.format = <char *> form if flags & PyBUF_FORMAT else NULL
    view.ndim = t.ndims
    view.shape = geometry if flags & PyBUF_ND else NULL
    view.strides = geometry + t.ndims if flags & PyBUF_STRIDES else NULL
    view.suboffsets = NULL
    return 0


@cython.final
cdef class Lent:
    """Holds another object's buffer for as long as a storage uses it."""
    cdef Py_buffer view

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef dict _FORMATS = {"?": BOOL, "B": U8, "b": I8, "h": I16, "i": I32, "l": I64, "q": I64, "e": F16, "f": F32,
                      "d": F64, "Zf": C64, "Zd": C128, "F": C64, "D": C128}


def from_buffer(obj):
    """A tensor over the memory of an object with the buffer protocol; shape, strides and dtype are its own."""
    cdef Lent lent = Lent.__new__(Lent)
    cdef bint writable = True
    try:
        PyObject_GetBuffer(obj, &lent.view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_STRIDES)
    except (BufferError, ValueError):
        writable = False
        PyObject_GetBuffer(obj, &lent.view, PyBUF_FORMAT | PyBUF_STRIDES)
    cdef int64_t[64] sizes
    cdef int64_t[64] strides
    cdef str form = lent.view.format.decode() if lent.view.format != NULL else "B"
    cdef int i
    code = _FORMATS.get(form.lstrip("@=<"))
    if code is None:
        raise TypeError(f"from_buffer: element format {form!r} has no flambeau dtype; convert it first")
    if lent.view.ndim > MAXDIM:
        raise ValueError(f"from_buffer: at most {MAXDIM} dimensions, got {lent.view.ndim}")
    for i in range(lent.view.ndim):
        sizes[i] = lent.view.shape[i]
        if lent.view.strides[i] % lent.view.itemsize:
            raise ValueError("from_buffer: strides must be multiples of the element size; copy the array first")
        strides[i] = lent.view.strides[i] // lent.view.itemsize
        if strides[i] < 0 and sizes[i] > 1:
            raise ValueError("from_buffer: negative strides can't be viewed; use array.copy()")
        if sizes[i] <= 1 and strides[i] < 0:
            strides[i] = 1
    cdef size_t span = lent.view.itemsize if lent.view.len else 0
    for i in range(lent.view.ndim):
        if span and sizes[i] > 1:
            span += (sizes[i] - 1) * strides[i] * lent.view.itemsize
    cdef Storage s = borrow_storage(lent.view.buf, span, lent)
    return over(s, s.ptr, code, lent.view.ndim, sizes, strides), writable


def from_pointer(uint64_t address, shape, strides, dtype, owner):
    """A tensor over raw memory that `owner` keeps alive (DLPack, shared memory)."""
    cdef int64_t[64] sizes
    cdef int64_t[64] steps
    cdef int nd = parse_shape((tuple(shape),), sizes), code = dtype_code(dtype)
    cdef int64_t span = 1, n = count_elements(nd, sizes, ITEMSIZE[code])
    parse_shape((tuple(strides),), steps)
    for i in range(nd):
        if sizes[i] > 1:
            span += steps[i] * (sizes[i] - 1)
    cdef Storage s = borrow_storage(<void *> address, span * ITEMSIZE[code] if n else 0, owner)
    return over(s, s.ptr, code, nd, sizes, steps)
