# Sparse tensors as the core knows them: a Tensor of a Python class that holds indices and values, and no elements here.
#
# In C such a tensor is a 0-dimensional zero with the flag `sparse`, so that stray reads are harmless and the pointwise
# path, which looks twice at 0-dimensional operands anyway, meets the flag at no cost to others. Whatever is asked of it
# goes, as a Call, to hooks["sparse"]: flambeau/sparse/meanings.py.

cdef bint sparse_met = False  # whether this process has made one


def make_sparse(cls, dtype):
    """An empty shell of a class derived from Tensor, whose elements its own attributes describe."""
    global sparse_met
    cdef Tensor t = Tensor.__new__(cls)
    become(t, zeros_tensor((), dtype))
    t.sparse = sparse_met = True
    return t


cdef bint any_sparse(tuple args):
    for x in args:
        if isinstance(x, Tensor):
            if (<Tensor> x).sparse:
                return True
        elif isinstance(x, (list, tuple)):
            for y in x:
                if isinstance(y, Tensor) and (<Tensor> y).sparse:
                    return True
    return False


cdef object sparsely(object op, tuple args, dict kwargs, tuple writes, int mode):
    """The operation as sparse tensors understand it."""
    cdef Call call = Call.__new__(Call)
    call.op, call.args, call.kwargs, call.writes, call.mode = op, args, kwargs, writes, mode
    return hooks["sparse"](call)


cdef int no_memory(Tensor t, str what) except -1:
    raise RuntimeError(f"{what}: a {t.layout} tensor has no strided memory; use to_dense()")
