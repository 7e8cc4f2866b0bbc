"""Layers that find the sizes of their parameters at the first call, from the input they get.

`LazyModuleMixin` is for layers of one's own; the layers below are the linear, convolution and normalisation layers
without their first argument. After its first call a layer is an ordinary one: its class changes. Imports those
layers. Read next: `module.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from flambeau.nn.modules.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from flambeau.ops.arguments import Size

if TYPE_CHECKING:
    _Base = Module  # what the mixin is mixed into
else:
    _Base = object


class LazyModuleMixin(_Base):
    """Stands before a Module among the bases of a class with uninitialized parameters.

    Define `initialize_parameters(*args, **kwargs)`, which gets the first call's arguments and materializes the
    parameters, and set `cls_to_become`, the class that the module has from then on. A module that loads initialized
    parameters takes their shapes.
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._take_shapes)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes and first values, from the arguments of the first call."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether any parameter or buffer of this module still has no shape."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))

    def _take_shapes(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            loaded = state_dict.get(prefix + name)
            if is_lazy(tensor) and loaded is not None and not is_lazy(loaded):
                with fb.no_grad():
                    tensor.materialize(loaded.shape)

    def _infer_parameters(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        module.initialize_parameters(*args, **kwargs)
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {type(self).__name__} has not been fully initialized")
        for hook in ("_initialize_hook", "_load_hook"):
            getattr(module, hook).remove()
            delattr(module, hook)
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


def _uninitialized(wanted: bool, device: Any, dtype: Any) -> UninitializedParameter | None:
    return UninitializedParameter(device=device, dtype=dtype) if wanted else None


class _LazyWeights(LazyModuleMixin):
    """Layers with a weight, and perhaps a bias, that depend on the number of input features."""

    _features: ClassVar[str]

    def _wait(self, bias: bool, device: Any, dtype: Any) -> None:
        self.weight: Any = _uninitialized(True, device, dtype)
        self.bias: Any = _uninitialized(bias, device, dtype)

    def _weight_shape(self, features: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _count(self, input: Tensor) -> int:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they have a shape."""
        if not self.has_uninitialized_params() and getattr(self, self._features):
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        """Give weight and bias the shapes that fit the input."""
        features = self._count(input)
        setattr(self, self._features, features)
        if self.has_uninitialized_params():
            with fb.no_grad():
                self.weight.materialize(self._weight_shape(features))
                if self.bias is not None:
                    self.bias.materialize((self._outputs(),))
                self.reset_parameters()

    def _outputs(self) -> int:
        raise NotImplementedError


class LazyLinear(_LazyWeights, Linear):
    """`Linear` whose `in_features` is the last size of its first input.

    >>> import flambeau as fb
    >>> layer = fb.nn.LazyLinear(3)
    >>> layer(fb.ones(2, 5)).shape
    flambeau.Size([2, 3])
    >>> layer
    Linear(in_features=5, out_features=3, bias=True)
    """

    cls_to_become = Linear
    _features = "in_features"

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, False, device, dtype)
        self._wait(bias, device, dtype)

    def _count(self, input: Tensor) -> int:
        return input.shape[-1]

    def _weight_shape(self, features: int) -> tuple[int, ...]:
        return self.out_features, features

    def _outputs(self) -> int:
        return self.out_features


class _LazyConvNd(_LazyWeights):
    _features = "in_channels"

    def __init__(
        self, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, out_channels, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self._wait(bias, device, dtype)

    def _count(self, input: Tensor) -> int:
        n = self._n
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input "
                f"of size: {tuple(input.shape)}"
            )
        channels = input.shape[-n - 1]
        if channels % self.groups:
            raise ValueError(f"in_channels must be divisible by groups, got {channels} and {self.groups}")
        return channels

    def _weight_shape(self, features: int) -> tuple[int, ...]:
        a, b = (features, self.out_channels) if self.transposed else (self.out_channels, features)
        return a, b // self.groups, *self.kernel_size

    def _outputs(self) -> int:
        return self.out_channels


class _LazyConvTransposeNd(_LazyConvNd):
    def __init__(
        self, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
        groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super(_LazyConvNd, self).__init__(
            0, out_channels, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode,
            device, dtype,
        )  # fmt: skip
        self._wait(bias, device, dtype)


class LazyConv1d(_LazyConvNd, Conv1d):
    """`Conv1d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConv1d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([4, 2, 3]))
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvNd, Conv2d):
    """`Conv2d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConv2d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([4, 2, 3, 3]))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvNd, Conv3d):
    """`Conv3d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConv3d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5, 5, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([4, 2, 3, 3, 3]))
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTransposeNd, ConvTranspose1d):
    """`ConvTranspose1d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConvTranspose1d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([2, 4, 3]))
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTransposeNd, ConvTranspose2d):
    """`ConvTranspose2d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConvTranspose2d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([2, 4, 3, 3]))
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTransposeNd, ConvTranspose3d):
    """`ConvTranspose3d` whose `in_channels` is that of its first input.

    >>> layer = fb.nn.LazyConvTranspose3d(4, 3)
    >>> y = layer(fb.ones(1, 2, 5, 5, 5))
    >>> layer.in_channels, layer.weight.shape
    (2, flambeau.Size([2, 4, 3, 3, 3]))
    """

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin):
    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = _uninitialized(affine, device, dtype)
        self.bias = _uninitialized(affine and bias, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = fb.tensor(0, dtype=fb.int64, device=device)

    def reset_parameters(self) -> None:
        """Set weight and running variance to 1, bias and running mean to 0, once they have a shape."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        """Give parameters and running statistics one number for each channel of the input."""
        self._check_input_dim(input)
        self.num_features = self._channels(input)
        if self.has_uninitialized_params():
            with fb.no_grad():
                for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                    if tensor is not None:
                        tensor.materialize((self.num_features,))
                self.reset_parameters()

    def _channels(self, input: Tensor) -> int:
        return input.shape[1]


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """`BatchNorm1d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyBatchNorm1d()
    >>> y = layer(fb.ones(2, 3, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """`BatchNorm2d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyBatchNorm2d()
    >>> y = layer(fb.ones(2, 3, 5, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """`BatchNorm3d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyBatchNorm3d()
    >>> y = layer(fb.ones(2, 3, 5, 5, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = BatchNorm3d


class _LazyInstanceNorm(_LazyNorm):
    def _channels(self, input: Tensor) -> int:
        return input.shape[0 if input.dim() == self._dims[0] else 1]


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """`InstanceNorm1d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyInstanceNorm1d()
    >>> y = layer(fb.ones(2, 3, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """`InstanceNorm2d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyInstanceNorm2d()
    >>> y = layer(fb.ones(2, 3, 5, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """`InstanceNorm3d` whose `num_features` is the number of channels of its first input.

    >>> layer = fb.nn.LazyInstanceNorm3d()
    >>> y = layer(fb.ones(2, 3, 5, 5, 5))
    >>> layer.num_features
    3
    """

    cls_to_become = InstanceNorm3d
