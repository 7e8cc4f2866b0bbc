# What surrounds a Tensor: the hooks of the layers above, Size (a shape) and device (a place).

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
