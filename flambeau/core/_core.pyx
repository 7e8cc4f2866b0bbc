# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=True, embedsignature.format=clinic, binding=False, auto_pickle=False, always_allow_keywords=True
"""Everything on the warm path of an eager operation, and nothing else.

One extension in several rooms, each included below:
    dtype.pxi      the dtypes and PyTorch's promotion table
    storage.pxi    memory: a block from the runtime's allocator, or somebody else's
    values.pxi     hooks, Size, device
    tensor.pxi     Tensor as programs see it
    making.pxi     tensors made, shapes and dimensions read
    views.pxi      new geometry over the same memory
    reshaping.pxi  shapes checked and computed for views
    elements.pxi   numbers and nested lists, in and out
    buffers.pxi    memory lent and borrowed
    tape.pxi       Node: what an operation saved; in-place writes; modes
    saving.pxi     saved tensors handed to a program's own hooks
    backward.pxi   the engine that walks the tape
    op.pxi         Op: what is called, and the kernels it remembers
    geometry.pxi   operands broadcast to one shape, dimensions merged
    pointwise.pxi  from an Op and its arguments to a launch and a tape node
    strided.pxi    the same for operands that broadcast or aren't contiguous
    reduce.pxi     reductions: layout, blocks, launch
    rows.pxi       formulas over the rows and columns of a matrix
    planned.pxi    kernels whose launches are remembered by what decides them
    watching.pxi   a function's launches noted
    recall.pxi     functions whose launches are remembered
    retape.pxi     nodes of the tape that are remembered with them
    primitive.pxi  operations written in Python
    interpret.pxi  what an operation becomes while an Interpreter is active
    sparse.pxi     what an operation becomes when an operand is sparse
    resolved.pxi   operations that are wholly planned, and functions that come to one
    contract.pxi   matrix products and convolutions, for the C driver
    moves.pxi      small moves of bytes: zeros, joins, rows; indices looked at
    dlpack.pxi     memory exchanged with other array libraries
    shared.pxi     memory that processes share
A cache miss leaves through one hook to `flambeau.eager`. Imports nothing of flambeau.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_DECREF, Py_REFCNT, Py_XDECREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_FromDouble, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.buffer cimport Py_buffer, PyObject_GetBuffer, PyBuffer_Release, PyBuffer_FillInfo, PyBUF_WRITABLE, PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_ANY_CONTIGUOUS
from libc.stdint cimport int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, INT64_MAX
from libc.stdlib cimport malloc, free, realloc
from libc.string cimport memcpy, memset, memcmp

cdef extern from "runtime.h" nogil:
    ctypedef void (*fb_kernel)(const int64_t *args, int64_t begin, int64_t end)
    void fb_parallel_for(fb_kernel k, const int64_t *args, int64_t n, int64_t grain)
    void fb_call_each(const int64_t *args, int64_t begin, int64_t end)
    int fb_num_threads()
    int fb_set_num_threads(int n)
    void *fb_alloc(size_t nbytes)
    void fb_free(void *p, size_t nbytes)
    ctypedef struct fb_memory_stats:
        size_t live, peak, reserved, limit
        uint64_t allocs, system_allocs
    void fb_memory_get_stats(fb_memory_stats *out)
    void fb_memory_reset_peak()
    void fb_memory_set_limit(size_t nbytes)
    void fb_memory_trim()
    void *fb_code_load(const void *image, size_t nbytes)

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define FB_TLS static _Thread_local __attribute__((tls_model("initial-exec")))
    #else
    #define FB_TLS static _Thread_local
    #endif
    /* The whole state the warm path asks about, per thread. */
    FB_TLS int fb_grad_enabled = 1;
    FB_TLS int fb_inference = 0;
    FB_TLS int fb_interpreters = 0;  /* how many Interpreters are active; zero on the warm path */
    FB_TLS int fb_anomaly = 0;
    FB_TLS int fb_saved_hooks = 0;  /* how many pairs of saved-tensor hooks are active */
    FB_TLS int fb_sourced = 0;  /* whether random numbers come from elsewhere than the default stream */
    FB_TLS int fb_watched = 0;  /* whether launches are noted, see recall.pxi */
    """
    int fb_grad_enabled
    int fb_inference
    int fb_interpreters
    int fb_anomaly
    int fb_saved_hooks
    int fb_sourced
    int fb_watched

include "dtype.pxi"
include "storage.pxi"
include "values.pxi"
include "tensor.pxi"
include "making.pxi"
include "views.pxi"
include "reshaping.pxi"
include "elements.pxi"
include "buffers.pxi"
include "tape.pxi"
include "saving.pxi"
include "backward.pxi"
include "op.pxi"
include "geometry.pxi"
include "pointwise.pxi"
include "strided.pxi"
include "reduce.pxi"
include "rows.pxi"
include "planned.pxi"
include "watching.pxi"
include "recall.pxi"
include "retape.pxi"
include "primitive.pxi"
include "interpret.pxi"
include "sparse.pxi"
include "resolved.pxi"
include "contract.pxi"
include "attention.pxi"
include "recurrent.pxi"
include "moves.pxi"
include "dlpack.pxi"
include "shared.pxi"
