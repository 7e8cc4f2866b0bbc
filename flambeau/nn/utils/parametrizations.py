"""The parametrizations that come along: weight norm, spectral norm, orthogonal matrices.

Imports `parametrize.py` and nn.modules. Read next: `prune.py`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, TypeVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.spectral_norm import as_matrix, output_dim
from flambeau.nn.utils.weight_norm import norm_except, scaled

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return scaled(weight_g, weight_v, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train norm and direction of a weight apart: w = g v / |v|, g `original0` and v `original1`; returns `module`.

    Salimans and Kingma, Weight normalization, 2016. Checkpoints of the old form (`weight_g`, `weight_v`) load too.

    Args:
        dim: the dimension along which each slice has a norm of its own; None for one norm.

    >>> import flambeau as fb
    >>> layer = fb.nn.utils.parametrizations.weight_norm(fb.nn.Linear(3, 2))
    >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters()][1:]
    [('parametrizations.weight.original0', (2, 1)), ('parametrizations.weight.original1', (2, 3))]
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_old_names(state_dict: Any, prefix: str, *others: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(from_old_names)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.dim()}, {weight.dim() - 1}] but got "
                f"{dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps = dim % weight.dim(), eps
        if weight.dim() > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                self.register_buffer(name, F.normalize(matrix.new_empty(size).normal_(0, 1), dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        with fb.no_grad():
            for _ in range(n_power_iterations):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # a later forward changes the buffers before this one's backward
        return weight / fb.vdot(u, matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value, estimated by power iteration in training; returns `module`.

    Miyato et al., Spectral normalization for generative adversarial networks, 2018.

    Args:
        dim: the dimension of the outputs, 0, or 1 for transposed convolutions.

    Raises:
        ValueError: where there is no such parameter, or n_power_iterations isn't positive.

    >>> import flambeau as fb
    >>> layer = fb.nn.utils.parametrizations.spectral_norm(fb.nn.Linear(3, 2))
    >>> bool(fb.linalg.matrix_norm(layer.weight, 2) < 1.01)
    True
    """
    weight = _tensor_of(module, name)
    dim = output_dim(module) if dim is None else dim
    parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _qr(x: Tensor) -> Tensor:
    """The orthogonal factor that belongs to a triangular one with a positive diagonal."""
    q, r = fb.linalg.qr(x)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        n, k = x.shape[-2:]
        if self.orthogonal_map is _OrthMaps.householder:
            below = x.tril(-1)
            q = fb.linalg.householder_product(below, 2.0 / (1.0 + (below * below).sum(-2)))
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            x = x.tril()
            if n != k:
                x = fb.cat([x, x.new_zeros((*x.shape[:-1], n - k))], -1)
            skew = x - x.mH
            if self.orthogonal_map is _OrthMaps.matrix_exp:
                q = fb.linalg.matrix_exp(skew)
            else:
                identity = fb.eye(n, dtype=x.dtype, device=x.device)
                q = fb.linalg.solve(identity - 0.5 * skew, identity + 0.5 * skew)
            q = q[..., :k]
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, q: Tensor) -> Tensor:
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        with fb.no_grad():
            return self._inverse(q)

    def _inverse(self, given: Tensor) -> Tensor:
        wide = given.shape[-2] < given.shape[-1]
        q = given.mT if wide else given
        n, k = q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map is not _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            reflectors, tau = fb.geqrf(q)
            diagonal = reflectors.diagonal(dim1=-2, dim2=-1)
            signs = diagonal.sign()
            diagonal.copy_(fb.where(tau == 0.0, -signs, signs))
            return reflectors.mT if wide else reflectors
        # The base takes over the value, so that the trained part starts at what the map makes the identity of.
        if n != k:
            q = _qr(fb.cat([q, fb.randn(*q.shape[:-1], n - k, dtype=q.dtype, device=q.device)], -1))
        elif bool((q.mH @ q - fb.eye(k, dtype=q.dtype, device=q.device)).abs().amax() <= 10 * k * _eps(q)):
            q = q.clone()
        else:
            q = _qr(q)
        self.base = q
        start = fb.zeros_like(given)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _eps(t: Tensor) -> float:
    return fb.finfo(t.dtype).eps


def orthogonal(
    module: M, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> M:
    """Let a matrix, or a batch of them, have orthonormal columns, or rows where it is wide; returns `module`.

    Args:
        orthogonal_map: how free numbers become such a matrix: "matrix_exp" exp(A) and "cayley"
            (I - A/2)⁻¹ (I + A/2) of a skew A, or "householder", a product of reflections. By default the first for
            square and complex matrices, else the last.
        use_trivialization: multiply by a fixed `base`, the value at the start, so that training starts at the
            identity. Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.

    Raises:
        ValueError: where the tensor isn't a matrix or a batch of them, or for another map.

    >>> import flambeau as fb
    >>> q = fb.nn.utils.parametrizations.orthogonal(fb.nn.Linear(3, 3)).weight
    >>> fb.allclose(q @ q.mT, fb.eye(3), atol=1e-6)
    True
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    chosen = _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization)
    parametrize.register_parametrization(module, name, chosen, unsafe=True)
    return module
