"""Batch and instance normalisation: mean and variance over the batch, or over each instance, for each channel.

Imports `module.py`, functional and init. Read next: `normalization.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class _NormBase(Module):
    """Weight, bias and running statistics of one number for each channel."""

    _version = 2
    _dims: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(fb.empty(num_features, **options)) if affine else None)
        self.register_parameter("bias", Parameter(fb.empty(num_features, **options)) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", fb.zeros(num_features, **options) if tracked else None)
        self.register_buffer("running_var", fb.ones(num_features, **options) if tracked else None)
        self.register_buffer("num_batches_tracked", fb.tensor(0, dtype=fb.int64, device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0 and the running variance to 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight and running variance to 1, bias and running mean to 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._dims:
            raise ValueError(f"expected {' or '.join(f'{d}D' for d in self._dims)} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *lists: Any) -> None:
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            # Checkpoints from before the counter existed.
            state_dict[key] = self.num_batches_tracked.detach().clone()
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *lists)


class _BatchNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        running_mean, running_var = self.running_mean, self.running_var
        momentum = 0.0 if self.momentum is None else self.momentum
        training = self.training
        if training and self.track_running_stats:
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if self.momentum is None:  # the plain average of all batches
                    momentum = 1.0 / float(self.num_batches_tracked)
        elif training:
            running_mean = running_var = None
        else:
            training = running_mean is None and running_var is None
        return F.batch_norm(input, running_mean, running_var, self.weight, self.bias, training, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """y = (x - E[x]) / √(Var[x] + eps) γ + β over (N, C) or (N, C, L), statistics for each channel over the rest.

    Training normalises by the batch's statistics (biased variance) and moves the running ones (unbiased variance)
    towards them by `momentum`; evaluation uses the running ones. Ioffe and Szegedy, 2015.

    Args:
        momentum: None makes the running statistics the plain average of all batches.
        affine: learn γ and β.
        track_running_stats: keep running statistics; without, the batch's are used in evaluation too.

    >>> import flambeau as fb
    >>> fb.nn.BatchNorm1d(3)(fb.ones(4, 3)).shape
    flambeau.Size([4, 3])
    """

    _dims = 2, 3


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W); see BatchNorm1d.

    >>> x = fb.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    >>> fb.nn.BatchNorm2d(1)(x).flatten()
    tensor([-1.0000,  1.0000], grad_fn=<ViewBackward0>)
    """

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes (N, C, D, H, W); see BatchNorm1d.

    >>> x = fb.tensor([1.0, 3.0]).view(2, 1, 1, 1, 1)
    >>> fb.nn.BatchNorm3d(1)(x).flatten()
    tensor([-1.0000,  1.0000], grad_fn=<ViewBackward0>)
    """

    _dims = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes; in a single process, that of (N, C, …).

    >>> layer = fb.nn.SyncBatchNorm.convert_sync_batchnorm(fb.nn.Sequential(fb.nn.BatchNorm1d(2)))
    >>> type(layer[0]).__name__
    'SyncBatchNorm'
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None,
        *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The same module with every BatchNorm layer in it replaced by a SyncBatchNorm with its parameters."""
        converted: Module = module
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
            converted = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
            )
            converted.training = module.training
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(converted, name, getattr(module, name))
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class _InstanceNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        unbatched = input.dim() == self._dims[0]
        channels = input.shape[0 if unbatched else 1]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={int(not unbatched)} to match num_features "
                f"({self.num_features}), but got: {channels}."
            )
        output = F.instance_norm(
            input.unsqueeze(0) if unbatched else input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, 0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return output.squeeze(0) if unbatched else output


class InstanceNorm1d(_InstanceNorm):
    """y = (x - E[x]) / √(Var[x] + eps) γ + β, statistics for each channel of each instance of (N, C, L) or (C, L).

    Ulyanov et al., Instance normalization, 2016. γ and β are learnt only with `affine=True`.

    >>> import flambeau as fb
    >>> fb.nn.InstanceNorm1d(3)(fb.ones(2, 3, 4)).shape
    flambeau.Size([2, 3, 4])
    """

    _dims = 2, 3


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images (N, C, H, W) or (C, H, W); see InstanceNorm1d.

    >>> fb.nn.InstanceNorm2d(1)(fb.tensor([[[[1.0, 3.0]]]]))
    tensor([[[[-1.0000,  1.0000]]]])
    """

    _dims = 3, 4


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes (N, C, D, H, W) or (C, D, H, W); see InstanceNorm1d.

    >>> fb.nn.InstanceNorm3d(1)(fb.tensor([[[[[1.0, 3.0]]]]]))
    tensor([[[[[-1.0000,  1.0000]]]]])
    """

    _dims = 4, 5
