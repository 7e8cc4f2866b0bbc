"""Statistics of several variables at once: histograms over several dimensions, covariance, correlation.

Imports core and neighbours in ops. Read next: `search.py` (histc, histogram), `reduce.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import _core
from ..core._core import Tensor
from .arguments import return_type
from .matmul import conj, matmul
from .table import TABLE

__all__ = ["corrcoef", "cov", "histogramdd"]

histogramdd_result = return_type("histogramdd", "hist bin_edges")


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """How many points fall into each cell of a grid. Shape (…, D): a histogram of D dimensions, D vectors of edges.

    bins is a number, D numbers, or D vectors of edges; range holds the D lowest and highest values in turn. The last
    bin of a dimension includes its right edge.

    >>> fb.histogramdd(fb.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), bins=[2, 2]).hist
    tensor([[0., 1.],
            [1., 1.]])
    """
    import numpy as np

    if input.ndim < 2 or not input.is_floating_point():
        raise RuntimeError(f"histogramdd: takes floating points (…, D), got {input.dtype} {tuple(input.shape)}")
    points = input.detach().reshape(-1, input.shape[-1]).numpy()
    count = points.shape[1]
    each = [bins] * count if isinstance(bins, int) else list(bins)
    if len(each) != count:
        raise RuntimeError(f"histogramdd: {len(each)} bins for {count} dimensions")
    if isinstance(each[0], Tensor):
        edges = [b.detach().numpy() for b in each]
    else:
        bounds = [
            (float(points[:, d].min()), float(points[:, d].max())) if len(points) else (0.0, 1.0)
            for d in np.arange(count)
        ]
        if range is not None:
            bounds = [(range[2 * d], range[2 * d + 1]) for d in np.arange(count)]
        # One value alone stands in the middle of a range of 1.
        bounds = [(low - 0.5, high + 0.5) if low == high else (low, high) for low, high in bounds]
        edges = [np.linspace(low, high, n + 1, dtype=points.dtype) for (low, high), n in zip(bounds, each, strict=True)]
    weights = None if weight is None else weight.detach().reshape(-1).numpy()
    hist, _ = np.histogramdd(points, edges, weights=weights, density=density)
    found = _core.from_buffer(np.ascontiguousarray(hist, points.dtype))[0]
    return histogramdd_result(found, tuple(_core.from_buffer(np.ascontiguousarray(e, points.dtype))[0] for e in edges))


def weights_of(name: str, w: Tensor | None, count: int, integers: bool) -> Tensor | None:
    if w is None:
        return None
    if w.ndim > 1 or w.numel() != count or w.is_floating_point() == integers:
        kind = "integers" if integers else "floating numbers"
        raise RuntimeError(f"cov: {name} must be {count} {kind}, got {w.dtype} {tuple(w.shape)}")
    if bool((w < 0).any()):
        raise RuntimeError(f"cov: {name} must not be negative")
    return w


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables in rows, observed in columns: Σ w (x − x̄)(y − ȳ)* / (Σ w − correction).

    fweights says how often each observation counts, aweights how much. Shape (V, N): (V, V); (N): ().

    >>> fb.cov(fb.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: takes a matrix or a vector, got shape {tuple(input.shape)}")
    x = input if input.is_floating_point() or input.is_complex() else input.to(_core.get_default_dtype())
    x = x.reshape(1, -1) if x.ndim < 2 else x
    count = x.shape[1]
    f = weights_of("fweights", fweights, count, True)
    a = weights_of("aweights", aweights, count, False)
    real = x.dtype.to_real() if x.is_complex() else x.dtype
    w = f.to(real) if f is not None else None
    if a is not None:
        w = a.to(real) if w is None else w * a.to(real)
    if w is None:
        centred, weighted, freedom = x - x.mean(1, True), None, float(count - correction)
        norm: Any = max(freedom, 0.0)
    else:
        total = w.sum()
        if not bool(total != 0):
            raise RuntimeError("cov: the weights sum to zero, so they can't be normalised")
        centred = x - (x * w).sum(1, True) / total
        weighted = centred * w
        norm = total if correction == 0 or a is None else total - correction * (w * a.to(real)).sum() / total
        norm = TABLE["clamp_min"](norm - correction if a is None else norm, 0.0)
    y = matmul(centred if weighted is None else weighted, conj(centred.mT))
    y = y * (1 / norm if norm else float("inf")) if w is None else y / norm
    return y.reshape(()) if y.numel() == 1 and input.ndim < 2 else y.squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables in rows, observed in columns: cov_ij / √(cov_ii cov_jj).

    >>> fb.corrcoef(fb.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(input)
    if c.ndim == 0:
        return c / c
    d = c.diagonal()
    size = TABLE["sqrt"](d.real if d.is_complex() else d)
    y = c / size.unsqueeze(1) / size.unsqueeze(0)
    return y if y.is_complex() else TABLE["clamp"](y, -1.0, 1.0)
