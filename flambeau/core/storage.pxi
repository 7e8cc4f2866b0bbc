# Memory: a block from the runtime's allocator, or memory that some other object keeps alive.


class OutOfMemoryError(RuntimeError):
    """An allocation could not be served; the process and every tensor in it are unharmed.

    >>> try:
    ...     fb.empty(1 << 60)
    ... except fb.OutOfMemoryError:
    ...     print("too much")
    too much
    """


@cython.final
@cython.freelist(64)
cdef class Storage:
    """A flat block of bytes that tensors view, and the count of writes to it.

    `version` rises with every in-place write; the tape compares it with the version it saw when it saved a tensor.
    """
    cdef char *ptr
    cdef size_t total
    cdef uint32_t count
    cdef readonly uint64_t serial  # rises with every block; 0 for borrowed memory
    cdef object owner
    cdef bint inference         # made in inference mode: never part of a recorded operation
    cdef bint borrowed          # the garbage collector may clear `owner` before __dealloc__ runs
    cdef object __weakref__

    def __dealloc__(self):
        if not self.borrowed and self.ptr != NULL:
            fb_free(self.ptr, self.total)

    def nbytes(self):
        return self.total

    def size(self):
        return self.total

    def __len__(self):
        return self.total

    def data_ptr(self):
        unwatch()
        return <uint64_t> self.ptr

    @property
    def _cdata(self):
        return <uint64_t> self.ptr

    @property
    def version(self):
        return self.count

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.ptr, self.total, 0, flags)

    def __releasebuffer__(self, Py_buffer *view):
        free(view.internal)  # a tensor's geometry, where the buffer was asked of one (buffers.pxi)

    def __repr__(self):
        return f"Storage({self.total} bytes at {<uint64_t> self.ptr:#x})"


def human_bytes(n):
    """A byte count for people: 1.5 GiB.

    >>> from flambeau.core._core import human_bytes
    >>> human_bytes(1536)
    '1.5 KiB'
    """
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if n < 1024 or unit == "EiB":
            return f"{n} bytes" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1024


cdef out_of_memory(size_t nbytes):
    cdef fb_memory_stats s
    fb_memory_get_stats(&s)
    limit = f", limit {human_bytes(s.limit)}" if s.limit else ""
    raise OutOfMemoryError(
        f"out of memory: tried to allocate {human_bytes(nbytes)}; {human_bytes(s.live)} are in live tensors, "
        f"{human_bytes(s.reserved)} reserved from the system{limit}; use smaller tensors or free some"
    )


cdef uint64_t BLOCKS = 0


def last_serial():
    """The serial number of the block allocated last."""
    return BLOCKS


cdef Storage new_storage(size_t nbytes):
    global BLOCKS
    cdef Storage s = Storage.__new__(Storage)
    BLOCKS += 1
    s.serial = BLOCKS
    s.total = nbytes
    s.inference = fb_inference
    if nbytes:
        s.ptr = <char *> fb_alloc(nbytes)
        if s.ptr == NULL:
            s.total = 0
            out_of_memory(nbytes)
    return s


cdef Storage borrow_storage(void *ptr, size_t nbytes, object owner):
    cdef Storage s = Storage.__new__(Storage)
    s.ptr = <char *> ptr
    s.total = nbytes
    s.owner = owner
    s.borrowed = True
    return s


def memory_stats():
    """Bytes of the caching allocator: live in tensors, their peak, reserved from the system, and counts of calls.

    >>> before = fb.memory_stats()["live"]
    >>> x = fb.zeros(1024)
    >>> fb.memory_stats()["live"] - before
    4096
    """
    cdef fb_memory_stats s
    fb_memory_get_stats(&s)
    return {"live": s.live, "peak": s.peak, "reserved": s.reserved, "limit": s.limit, "allocs": s.allocs,
            "system_allocs": s.system_allocs}


def reset_peak_memory_stats():
    """Lets the peak of `memory_stats` begin again at what is live now.

    >>> x = fb.ones(1000, 1000)
    >>> del x
    >>> before = fb.memory_stats()["peak"]
    >>> fb.reset_peak_memory_stats()
    >>> before - fb.memory_stats()["peak"] >= 4_000_000
    True
    """
    fb_memory_reset_peak()


def set_memory_limit(nbytes):
    """The most bytes the allocator may reserve; 0 lifts the limit.

    >>> fb.set_memory_limit(1 << 40)
    >>> fb.memory_stats()["limit"] == 1 << 40
    True
    >>> fb.set_memory_limit(0)
    """
    cdef int64_t limit = integer(nbytes, "a memory limit")
    if limit < 0:
        raise RuntimeError(f"set_memory_limit: a number of bytes is needed, got {nbytes}")
    fb_memory_set_limit(limit)


def empty_cache():
    """Returns the allocator's unused memory to the system.

    >>> fb.empty_cache()
    """
    fb_memory_trim()


def get_num_threads():
    """How many threads kernels run on.

    >>> fb.get_num_threads() >= 1
    True
    """
    return fb_num_threads()


def set_num_threads(n):
    """Sets how many threads kernels run on; results don't depend on it.

    >>> before = fb.get_num_threads()
    >>> fb.set_num_threads(1)
    >>> fb.get_num_threads()
    1
    >>> fb.set_num_threads(before)
    """
    cdef int64_t count = integer(n, "a number of threads")
    if count < 1 or count > 65536:
        raise RuntimeError(f"set_num_threads: at least one thread is needed and at most 65536, got {n}")
    fb_set_num_threads(<int> count)


def load_code(const uint8_t[::1] image):
    """Copies machine code to executable memory, for the life of the process, and returns its address."""
    cdef void *p = fb_code_load(&image[0], image.shape[0])
    if p == NULL:
        raise OutOfMemoryError("load_code: the system gave no executable memory")
    return <uint64_t> p
