# What surrounds a Tensor: the hooks of the layers above, Size (a shape) and device (a place).

cdef enum:
    MAXDIM = 64
    INLINE = 5  # dimensions that fit in the object itself

# Python functions the layers above install; each name is called in one place.
hooks = {}


def set_hook(str name, function):
    """Installs the Python function that the core calls where its own knowledge ends."""
    hooks[name] = function


# What types and dtypes say they belong to: `flambeau run` says torch, whose programs compare such strings.
cdef str package = "flambeau"


def package_name():
    return package


def set_package_name(str name):
    """Names the package in what dtypes, sizes and types of tensors print."""
    global package
    package = name


class Size(tuple):
    """A tensor's shape: a tuple of ints with `numel()`.

    >>> fb.Size([2, 3]) == (2, 3), fb.Size([2, 3]).numel()
    (True, 6)
    """
    __slots__ = ()

    def numel(self):
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self):
        return f"{package}.Size({list(self)})"

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return tuple.__new__(Size, found) if type(found) is tuple else found

    def __add__(self, other):
        return tuple.__new__(Size, tuple.__add__(self, tuple(other)))

    def __reduce__(self):
        return Size, (tuple(self),)


# Programs name devices before they ask whether there are any.
DEVICE_TYPES = frozenset(("cpu", "cuda", "fpga", "hip", "hpu", "ipu", "lazy", "maia", "meta", "mkldnn", "mps", "mtia",
                          "opencl", "opengl", "privateuseone", "ve", "vulkan", "xla", "xpu"))


class device:
    """A place by name, such as `device("cpu")`; tensors are on "cpu".

    >>> fb.device("cuda:1")
    device(type='cuda', index=1)
    """
    __slots__ = ("type", "index")

    def __new__(cls, kind="cpu", index=None, *, type=None):
        kind = kind if type is None else type
        if isinstance(kind, device):
            return kind
        if isinstance(kind, int) and not isinstance(kind, bool):
            kind = f"cuda:{kind}"
        name, colon, number = kind.partition(":") if isinstance(kind, str) else ("", "", "")
        if name not in DEVICE_TYPES or (colon and not number.isdecimal()):
            raise RuntimeError(f"device: a name such as 'cpu' or 'cuda:0' is expected, got {kind!r}")
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
