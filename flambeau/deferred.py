"""What loads when it is first asked for: functions and Tensor methods of modules that most programs never need.

A table of names only, so that importing flambeau costs nothing for them. Imports core, and what it names when asked.
Read next: `linalg/`, `fft.py`, `special.py`.
"""

from __future__ import annotations

import importlib
from typing import Any

from .core._core import Tensor

# Module -> its functions at the top level; a name with a dot before it is a method of Tensor only.
NAMES = {
    "linalg.aliases": "cholesky .cholesky cholesky_inverse .cholesky_inverse cholesky_solve .cholesky_solve cross "
    ".cross det .det geqrf .geqrf ger inverse .inverse lobpcg logdet .logdet lu .lu lu_solve .lu_solve lu_unpack "
    "matrix_exp .matrix_exp matrix_power .matrix_power orgqr .orgqr ormqr .ormqr pca_lowrank pinverse .pinverse qr .qr "
    "slogdet .slogdet svd .svd svd_lowrank trace .trace triangular_solve .triangular_solve vander vdot .vdot",
    "nn.functional": "adaptive_avg_pool1d adaptive_max_pool1d alpha_dropout avg_pool1d bilinear channel_shuffle "
    "cosine_embedding_loss cosine_similarity ctc_loss embedding_bag feature_alpha_dropout instance_norm max_pool1d "
    "max_pool3d pairwise_distance pixel_shuffle pixel_unshuffle prelu .prelu rrelu triplet_margin_loss",
    "ops.calculus": "cumulative_trapezoid gradient trapezoid trapz",
    "ops.conjugate": "conj .conj is_conj .is_conj is_neg .is_neg resolve_conj .resolve_conj resolve_neg .resolve_neg",
    "ops.copies": "alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy select_copy "
    "slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy "
    "unsafe_chunk unsafe_split unsqueeze_copy view_as_complex_copy view_as_real_copy view_copy",
    "ops.distance": "cdist dist .dist pdist renorm .renorm .renorm_",
    "ops.einsum": "chain_matmul einsum kron .kron",
    "ops.histogram": "corrcoef .corrcoef cov .cov histogramdd",
    "ops.integers": "frexp .frexp gcd .gcd gcd_ .gcd_ lcm .lcm lcm_ .lcm_",
    "ops.nanreductions": "nanmean .nanmean nansum .nansum",
    "ops.spectral": "istft .istft stft .stft",
    "ops.windows": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
    "serialization": "load save",
    "settings": "are_deterministic_algorithms_enabled get_default_device get_deterministic_debug_mode "
    "get_float32_matmul_precision get_num_interop_threads is_anomaly_enabled "
    "is_deterministic_algorithms_warn_only_enabled is_storage is_warn_always_enabled set_anomaly_enabled "
    "set_default_device set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision "
    "set_flush_denormal set_num_interop_threads set_warn_always typename use_deterministic_algorithms",
    "special": "igamma .igamma .igamma_ igammac .igammac .igammac_",
}  # fmt: skip

FUNCTIONS = {name: module for module, names in NAMES.items() for name in names.split() if name[0] != "."}


def load(name: str) -> Any:
    """The function of that name at the top level."""
    return getattr(importlib.import_module(f".{FUNCTIONS[name]}", __package__), name)


def method(module: str, name: str) -> Any:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(f".{module}", __package__), name)(self, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"See :func:`flambeau.{name}`."
    return call


def install() -> None:
    for module, names in NAMES.items():
        for name in names.split():
            if name[0] == ".":
                setattr(Tensor, name[1:], method(module, name[1:]))


install()
