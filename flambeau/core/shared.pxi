# Memory that processes share: blocks without a name, known by their descriptor, gone with the last process that maps them.

cdef extern from *:
    """
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <unistd.h>
    #include <fcntl.h>
    """
    int memfd_create(const char *name, unsigned int flags)
    int ftruncate(int fd, int64_t length)
    int close(int fd)
    void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)
    int munmap(void *address, size_t length)
    int MFD_CLOEXEC, PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE, MAP_NORESERVE
    void *MAP_FAILED

from weakref import ref as weakref

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object kind)


@cython.final
cdef class SharedMemory:
    """A block that other processes can map too, as an object with the buffer protocol.

    Without `fd` a new block of zeros, which takes memory only where it is written; with it, the block of that
    descriptor, which belongs to this object from then on. `private` maps what is there for reading; writes are seen in
    this process alone.
    """
    cdef char *ptr
    cdef readonly size_t nbytes
    cdef readonly int fd
    cdef object storage  # a weak reference to the one that tensors in this process view
    cdef object before   # what held the contents until they moved here, where somebody may still be using that
    cdef object __weakref__

    def __cinit__(self, size_t nbytes, int fd=-1, bint private=False):
        cdef void *p
        self.fd = memfd_create(b"flambeau", MFD_CLOEXEC) if fd < 0 else fd
        if self.fd < 0:
            PyErr_SetFromErrno(OSError)
        if fd < 0 and ftruncate(self.fd, nbytes):
            PyErr_SetFromErrno(OSError)
        if nbytes:
            p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, (MAP_PRIVATE if private else MAP_SHARED) | MAP_NORESERVE, self.fd, 0)
            if p == MAP_FAILED:
                PyErr_SetFromErrno(OSError)
            self.ptr = <char *> p
        self.nbytes = nbytes

    def __dealloc__(self):
        if self.ptr != NULL:
            munmap(self.ptr, self.nbytes)
        if self.fd >= 0:
            close(self.fd)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.ptr, self.nbytes, 0, flags)

    def __len__(self):
        return self.nbytes

    def close(self):
        """Closes the descriptor, so that the block can't be handed on; it stays mapped."""
        if self.fd >= 0:
            close(self.fd)
        self.fd = -1

    def tensor(self):
        """The block's bytes, as a tensor; all of them in a process view one storage."""
        cdef int64_t size = self.nbytes
        cdef int64_t step = 1
        cdef Storage s = None if self.storage is None else self.storage()
        if s is None:
            s = borrow_storage(self.ptr, self.nbytes, self)
            self.storage = weakref(s)
        return over(s, self.ptr, U8, 1, &size, &step)


cdef Storage root_of(Storage s):
    while isinstance(s.owner, Storage):
        s = <Storage> s.owner
    return s


def shared_memory(Tensor t):
    """The SharedMemory that a tensor lies in, or None."""
    cdef object owner = root_of(t.store).owner
    return owner if isinstance(owner, SharedMemory) else None


def move_to_shared_memory(Tensor t, bint keep):
    """Moves the memory that a tensor views, with every tensor that views it, to a new SharedMemory.

    `keep` holds on to the old block, for when another thread may be computing with it.
    """
    cdef Storage root = root_of(t.store), old, s
    cdef list storages = [root], tensors = []
    cdef SharedMemory m
    cdef int64_t by
    cdef Tensor x
    if Py_REFCNT(root) == 3 and root is t.store:  # held by the tensor, by `root` and by the list: no need to search
        tensors.append(t)
    else:
        find_holders(storages, tensors)
    m = SharedMemory(root.total if root.total else 1)
    memcpy(m.ptr, root.ptr, root.total)
    by = m.ptr - root.ptr
    old = Storage.__new__(Storage)
    old.ptr, old.total, old.serial, old.owner, old.borrowed = root.ptr, root.total, root.serial, root.owner, root.borrowed
    root.owner, root.borrowed, root.serial = m, True, 0
    m.storage = weakref(root)
    if keep:
        m.before = old
    for s in storages:
        s.ptr += by
    for x in tensors:
        x.ptr += by
    return m


cdef int find_holders(list storages, list tensors) except -1:
    """Adds the storages that borrow from the first, and the tensors over any of them; nothing else may hold one."""
    import gc
    cdef Storage s
    cdef int at = 0
    cdef Py_ssize_t found
    while at < len(storages):
        s = <Storage> storages[at]
        found = 0
        for holder in gc.get_referrers(s):
            if isinstance(holder, Tensor) and (<Tensor> holder).store is s:
                tensors.append(holder)
                found += 1
            elif isinstance(holder, Storage) and (<Storage> holder).owner is s:
                storages.append(holder)
                found += 1
        holder = None
        # Besides those: `s`, the list, and for the first its caller.
        if Py_REFCNT(s) != found + 2 + (at == 0):
            raise RuntimeError(
                "share_memory_: something other than tensors uses the tensor's memory (a NumPy array or other buffer, or "
                "its storage); share it first and call numpy() then, or share x.clone()"
            )
        at += 1
    return 0
