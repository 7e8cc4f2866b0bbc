"""Linear algebra with torch.linalg's names: LAPACK, as NumPy and SciPy wrap it, with derivatives of any order.

Everything takes batches (leading dimensions) of float32, float64, complex64 and complex128, and `out=` where PyTorch
has it. Read next: `lapack.py` (the bridge), `solving.py`, `factors.py`, `spectra.py`, `products.py`, `norms.py`.
"""

from .determinants import det as det
from .determinants import matrix_exp as matrix_exp
from .determinants import slogdet as slogdet
from .factors import cholesky as cholesky
from .factors import cholesky_ex as cholesky_ex
from .factors import householder_product as householder_product
from .factors import ldl_factor as ldl_factor
from .factors import ldl_factor_ex as ldl_factor_ex
from .factors import ldl_solve as ldl_solve
from .factors import lu as lu
from .factors import lu_factor as lu_factor
from .factors import lu_factor_ex as lu_factor_ex
from .factors import lu_solve as lu_solve
from .factors import qr as qr
from .lapack import LinAlgError as LinAlgError
from .norms import cond as cond
from .norms import matrix_norm as matrix_norm
from .norms import norm as norm
from .norms import vector_norm as vector_norm
from .products import cross as cross
from .products import diagonal as diagonal
from .products import matmul as matmul
from .products import matrix_power as matrix_power
from .products import multi_dot as multi_dot
from .products import vander as vander
from .products import vecdot as vecdot
from .solving import inv as inv
from .solving import inv_ex as inv_ex
from .solving import lstsq as lstsq
from .solving import solve as solve
from .solving import solve_ex as solve_ex
from .solving import solve_triangular as solve_triangular
from .solving import tensorinv as tensorinv
from .solving import tensorsolve as tensorsolve
from .spectra import eig as eig
from .spectra import eigh as eigh
from .spectra import eigvals as eigvals
from .spectra import eigvalsh as eigvalsh
from .spectra import matrix_rank as matrix_rank
from .spectra import pinv as pinv
from .spectra import svd as svd
from .spectra import svdvals as svdvals
