"""Padding layers: constant, zero, reflection, replication, circular, for 1, 2 and 3 dimensions.

Imports `module.py` and functional. Read next: `conv.py`.
"""

from __future__ import annotations

from typing import ClassVar

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.ops.arguments import Size, ntuple


class _PadNd(Module):
    _n: ClassVar[int]
    _mode: ClassVar[str] = "constant"

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._n, "padding")

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPadNd):
    """Extend the last dimension by `value`: padding (left, right).

    >>> import flambeau as fb
    >>> fb.nn.ConstantPad1d((1, 0), 9.0)(fb.ones(1, 2))
    tensor([[9., 1., 1.]])
    """

    _n = 1


class ConstantPad2d(_ConstantPadNd):
    """Extend the last two dimensions by `value`: padding (left, right, top, bottom).

    >>> fb.nn.ConstantPad2d((1, 0, 0, 1), 9.0)(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[9., 1., 2.],
             [9., 3., 4.],
             [9., 9., 9.]]])
    """

    _n = 2


class ConstantPad3d(_ConstantPadNd):
    """Extend the last three dimensions by `value`: padding (left, right, top, bottom, front, back).

    >>> fb.nn.ConstantPad3d((1, 1, 0, 0, 0, 0), 9.0)(fb.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    tensor([[[[9., 1., 2., 9.]]]])
    """

    _n = 3


class ZeroPad1d(_ZeroPadNd):
    """Extend the last dimension by zeros: padding (left, right).

    >>> fb.nn.ZeroPad1d((1, 2))(fb.tensor([[1.0, 2.0, 3.0]]))
    tensor([[0., 1., 2., 3., 0., 0.]])
    """

    _n = 1


class ZeroPad2d(_ZeroPadNd):
    """Extend the last two dimensions by zeros: padding (left, right, top, bottom).

    >>> fb.nn.ZeroPad2d((1, 0, 0, 1))(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[0., 1., 2.],
             [0., 3., 4.],
             [0., 0., 0.]]])
    """

    _n = 2


class ZeroPad3d(_ZeroPadNd):
    """Extend the last three dimensions by zeros: padding (left, right, top, bottom, front, back).

    >>> fb.nn.ZeroPad3d((1, 1, 0, 0, 0, 0))(fb.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    tensor([[[[0., 1., 2., 0.]]]])
    """

    _n = 3


class ReflectionPad1d(_PadNd):
    """Extend the last dimension by its reflection, without the edge: padding (left, right).

    >>> fb.nn.ReflectionPad1d((2, 1))(fb.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2.]])
    """

    _n, _mode = 1, "reflect"


class ReflectionPad2d(_PadNd):
    """Extend the last two dimensions by their reflection, without the edge: padding (left, right, top, bottom).

    >>> fb.nn.ReflectionPad2d((1, 0, 0, 1))(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 1., 2.],
             [4., 3., 4.],
             [2., 1., 2.]]])
    """

    _n, _mode = 2, "reflect"


class ReflectionPad3d(_PadNd):
    """Extend the last three dimensions by their reflection: padding (left, right, top, bottom, front, back).

    >>> fb.nn.ReflectionPad3d((1, 1, 0, 0, 0, 0))(fb.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    tensor([[[[2., 1., 2., 1.]]]])
    """

    _n, _mode = 3, "reflect"


class ReplicationPad1d(_PadNd):
    """Extend the last dimension by its edges' values: padding (left, right).

    >>> fb.nn.ReplicationPad1d((2, 1))(fb.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 1., 2., 3., 3.]])
    """

    _n, _mode = 1, "replicate"


class ReplicationPad2d(_PadNd):
    """Extend the last two dimensions by their edges' values: padding (left, right, top, bottom).

    >>> fb.nn.ReplicationPad2d((1, 0, 0, 1))(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[1., 1., 2.],
             [3., 3., 4.],
             [3., 3., 4.]]])
    """

    _n, _mode = 2, "replicate"


class ReplicationPad3d(_PadNd):
    """Extend the last three dimensions by their edges' values: padding (left, right, top, bottom, front, back).

    >>> fb.nn.ReplicationPad3d((1, 1, 0, 0, 0, 0))(fb.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    tensor([[[[1., 1., 2., 2.]]]])
    """

    _n, _mode = 3, "replicate"


class CircularPad1d(_PadNd):
    """Extend the last dimension round the circle: padding (left, right).

    >>> fb.nn.CircularPad1d((2, 1))(fb.tensor([[1.0, 2.0, 3.0]]))
    tensor([[2., 3., 1., 2., 3., 1.]])
    """

    _n, _mode = 1, "circular"


class CircularPad2d(_PadNd):
    """Extend the last two dimensions round the circle: padding (left, right, top, bottom).

    >>> fb.nn.CircularPad2d((1, 0, 0, 1))(fb.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 1., 2.],
             [4., 3., 4.],
             [2., 1., 2.]]])
    """

    _n, _mode = 2, "circular"


class CircularPad3d(_PadNd):
    """Extend the last three dimensions round the circle: padding (left, right, top, bottom, front, back).

    >>> fb.nn.CircularPad3d((1, 1, 0, 0, 0, 0))(fb.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    tensor([[[[2., 1., 2., 1.]]]])
    """

    _n, _mode = 3, "circular"
