"""Dropout layers: random zeros in training, nothing in evaluation.

Imports `module.py` and functional. Read next: `loss.py`.
"""

from __future__ import annotations

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zero each element with probability p and scale the rest by 1 / (1 - p). Hinton et al., 2012.

    >>> import flambeau as fb
    >>> fb.nn.Dropout().eval()(fb.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zero whole channels of (N, C, L) or (C, L) with probability p.

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.Dropout1d()(fb.ones(1, 4, 2))
    tensor([[[2., 2.],
             [0., 0.],
             [2., 2.],
             [0., 0.]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zero whole channels of (N, C, H, W) or (C, H, W) with probability p.

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.Dropout2d()(fb.ones(1, 4, 2, 2)).sum((2, 3))
    tensor([[8., 0., 8., 0.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p.

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.Dropout3d()(fb.ones(1, 4, 1, 2, 2)).sum((2, 3, 4))
    tensor([[8., 0., 8., 0.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks: keeps mean 0 and variance 1. Klambauer et al., 2017.

    >>> _ = fb.manual_seed(0)
    >>> y = fb.nn.AlphaDropout()(fb.randn(10000))
    >>> abs(y.mean().item()) < 0.05, abs(y.std().item() - 1) < 0.05
    (True, True)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels.

    >>> _ = fb.manual_seed(0)
    >>> fb.nn.FeatureAlphaDropout()(fb.ones(1, 4, 2))
    tensor([[[ 1.6656,  1.6656],
             [-0.7792, -0.7792],
             [ 1.6656,  1.6656],
             [-0.7792, -0.7792]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
