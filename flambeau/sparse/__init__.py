"""flambeau.sparse: tensors that store some of their elements, in COO, CSR and CSC, with PyTorch's names.

>>> i = fb.tensor([[0, 1, 1], [2, 0, 2]])
>>> s = fb.sparse_coo_tensor(i, fb.tensor([3.0, 4.0, 5.0]), (2, 3))
>>> s @ fb.ones(3, 1)
tensor([[3.],
        [9.]])

`structure.py` says which elements are stored, `tensor.py` is the tensor and its two links to the tape, `meanings.py`
what operations mean; all else is made of those. Imports core and ops.
"""

from ..core._core import DTYPES
from ..ops.matmul import mm as dsmm
from ..ops.matmul import mm as spmm
from .construct import (
    Legacy,
    from_scipy,
    sparse_compressed_tensor,
    sparse_coo_tensor,
    sparse_csc_tensor,
    sparse_csr_tensor,
    spdiags,
    to_scipy,
)
from .functions import addmm, hspmm, log_softmax, mm, sampled_addmm, smm, softmax, sspaddmm, sum
from .tensor import SparseTensor

LEGACY = {
    "Float": 8, "Double": 9, "Half": 6, "BFloat16": 7, "Long": 5, "Int": 4, "Short": 3, "Char": 2, "Byte": 1,
}  # fmt: skip
for _name, _code in LEGACY.items():
    globals()[f"{_name}Tensor"] = Legacy(f"{_name}Tensor", DTYPES[_code])

__all__ = [
    "SparseTensor", "addmm", "from_scipy", "hspmm", "log_softmax", "mm", "sampled_addmm", "smm", "softmax",
    "sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spdiags", "sspaddmm",
    "sum", "to_scipy",
]  # fmt: skip
