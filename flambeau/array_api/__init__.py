"""The Python array API standard, version 2024.12, over flambeau's tensors: what `x.__array_namespace__()` returns.

>>> xp = fb.ones(2).__array_namespace__()
>>> xp.sum(xp.asarray([True, True]), dtype=xp.float32)
tensor(2.)

Programs written for the standard run on tensors unchanged. Most functions are flambeau's under other names; where
PyTorch's meaning differs from the standard's (0-dimensional promotion, `std`'s correction, `sort`'s result, axes) the
function here is the standard's. Loads when it is first asked for. Read next: `dtypes.py`, then the file of the
function in question.
Source: https://data-apis.org/array-api/2024.12/.
"""

from typing import TYPE_CHECKING, Any

from ..types import e, inf, nan, pi
from . import elementwise, fft, linalg
from .creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .dtypes import (
    astype,
    can_cast,
    complex64,
    complex128,
    finfo,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .dtypes import bool_ as bool
from .info import array_namespace_info as __array_namespace_info__
from .linalg import matmul, tensordot, vecdot
from .manipulation import (
    argmax,
    argmin,
    argsort,
    broadcast_arrays,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    nonzero,
    permute_dims,
    repeat,
    reshape,
    roll,
    searchsorted,
    sort,
    squeeze,
    stack,
    take,
    take_along_axis,
    tile,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
    unstack,
    where,
)
from .statistics import (
    all,
    any,
    count_nonzero,
    cumulative_prod,
    cumulative_sum,
    diff,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)

__array_api_version__ = "2024.12"
newaxis = None
globals().update(elementwise.FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_internal = {
    "Any",
    "TYPE_CHECKING",
    "creation",
    "dtypes",
    "elementwise",
    "info",
    "manipulation",
    "statistics",
    "tensor",
}
__all__ = [name for name in sorted(globals()) if not name.startswith("_") and name not in _internal]
