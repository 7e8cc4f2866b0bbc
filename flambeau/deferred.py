"""What loads when it is first asked for: functions, methods of Tensor and the core's hooks, by module.

Tables of names only, so that importing flambeau costs nothing for what a program never uses. A module that loads puts
its methods and hooks in their places itself. Imports core, and what it names when asked.
Read next: `ops/__init__.py` (what loads at once), `linalg/`, `fft.py`, `special.py`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .core import _core
from .core._core import Tensor

# Module -> its functions at the top level; a name with a dot before it is an attribute of Tensor.
NAMES = {
    "amp.autocast_mode": "autocast clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype "
    "get_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled "
    "set_autocast_cache_enabled set_autocast_dtype set_autocast_enabled",
    "amp.grad_scaler": "GradScaler",
    "array_api.tensor": ".__array_namespace__ .to_device",
    "control": "cond while_loop",
    "mapped": "from_file",
    "ops.adaptive": "adaptive_avg_pool2d",
    "ops.segments": "segment_reduce",
    "_printing": "get_printoptions set_printoptions",
    "dlpack": "from_dlpack to_dlpack .__dlpack__ .__dlpack_device__",
    "func.mapping": "vmap",
    "linalg.aliases": "cholesky .cholesky cholesky_inverse .cholesky_inverse cholesky_solve .cholesky_solve cross "
    ".cross det .det geqrf .geqrf ger .ger inverse .inverse lobpcg logdet .logdet lu .lu lu_solve .lu_solve lu_unpack "
    "matrix_exp .matrix_exp matrix_power .matrix_power orgqr .orgqr ormqr .ormqr pca_lowrank pinverse .pinverse qr .qr "
    "slogdet .slogdet svd .svd svd_lowrank trace .trace triangular_solve .triangular_solve vander vdot .vdot",
    "multiprocessing.sharing": ".is_shared .share_memory_",
    "nn.compiled": "compile",
    "nn.functional": "adaptive_avg_pool1d adaptive_max_pool1d alpha_dropout avg_pool1d bilinear channel_shuffle "
    "conv_tbc cosine_embedding_loss cosine_similarity ctc_loss embedding_bag feature_alpha_dropout instance_norm "
    "max_pool1d max_pool1d_with_indices max_pool3d pairwise_distance pixel_shuffle pixel_unshuffle prelu .prelu rrelu "
    "rrelu_ triplet_margin_loss",
    "ops.calculus": "cumulative_trapezoid gradient trapezoid trapz",
    "ops.calls": "allclose .allclose aminmax .aminmax can_cast celu clamp .clamp .clamp_ clip .clip .clip_ div .div "
    ".div_ .divide .divide_ elu equal .equal .fill_diagonal_ hardsigmoid hardswish hardtanh is_complex "
    "is_floating_point is_same_size is_tensor leaky_relu masked_fill .masked_fill .masked_fill_ max .max min .min "
    "mish numel polygamma relu relu6 relu_ result_type selu silu threshold where .where",
    "ops.conjugate": "conj .conj is_conj .is_conj is_neg .is_neg resolve_conj .resolve_conj resolve_neg .resolve_neg",
    "ops.convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "ops.conversions": ".__array__ .__array_priority__ .__array_wrap__ .__copy__ .__reversed__ .bfloat16 .bool .byte "
    ".cuda .cdouble .cfloat .char .cpu .double .float .half .int .long .numpy .short .to .type .type_as",
    "ops.copies": "alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy select_copy "
    "slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy "
    "unsafe_chunk unsafe_split unsqueeze_copy view_as_complex_copy view_as_real_copy view_copy",
    "ops.distributions": "bernoulli .bernoulli .bernoulli_ .cauchy_ .exponential_ .geometric_ .log_normal_ normal "
    ".normal_ .random_ .uniform_",
    "ops.distance": "cdist dist .dist pdist renorm .renorm .renorm_",
    "ops.einsum": "chain_matmul einsum kron .kron",
    "ops.gather": "bincount .bincount embedding gather .gather index_add .index_add .index_add_ index_copy .index_copy "
    ".index_copy_ index_fill .index_fill .index_fill_ index_select .index_select one_hot .put_ scatter .scatter "
    ".scatter_ scatter_add .scatter_add .scatter_add_ take .take take_along_dim .take_along_dim",
    "ops.histogram": "corrcoef .corrcoef cov .cov histogramdd",
    "ops.indexing": "index_put .index_put index_put_ .index_put_",
    "ops.integers": "frexp .frexp gcd .gcd gcd_ .gcd_ lcm .lcm lcm_ .lcm_",
    "ops.joining": "block_diag cat chunk .chunk column_stack concat concatenate dsplit .dsplit dstack hsplit .hsplit "
    "hstack row_stack split .split stack tensor_split .tensor_split unbind .unbind vsplit .vsplit vstack",
    "ops.losses": "binary_cross_entropy binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss "
    "smooth_l1_loss",
    "ops.masks": "argwhere .argwhere masked_scatter .masked_scatter .masked_scatter_ masked_select .masked_select "
    "nonzero .nonzero nonzero_static .nonzero_static",
    "ops.matmul": "_int_mm addbmm .addbmm .addbmm_ addmm .addmm .addmm_ addmv .addmv .addmv_ addr .addr .addr_ baddbmm "
    ".baddbmm .baddbmm_ bmm .bmm dot .dot inner .inner linear matmul .matmul mm .mm mv .mv outer .outer tensordot",
    "ops.memory_format": "channels_last channels_last_3d contiguous_format memory_format preserve_format",
    "ops.methods": ".apply_ .as_strided_ celu_ .const_data_ptr detach .dim_order elu_ empty_permuted fill get_device "
    "hardtanh_ is_inference "
    "is_nonzero .is_nonzero .is_pinned is_signed leaky_relu_ .map_ multinomial .multinomial "
    ".new_empty_strided .pin_memory put .put range .resize_ .resize_as_ selu_ .split_with_sizes .squeeze_ "
    ".sum_to_size .swapaxes_ .swapdims_ .t_ threshold_ .transpose_ .unsafe_chunk .unsafe_split .unsqueeze_",
    "ops.nanreductions": "nanmean .nanmean nansum .nansum",
    "ops.normalization": "batch_norm group_norm layer_norm rms_norm",
    "ops.padding": "pad",
    "ops.pooling": "avg_pool2d max_pool2d",
    "ops.poisson": "poisson",
    "ops.random": "Generator default_generator dropout get_rng_state initial_seed manual_seed rand rand_like randint "
    "randint_like randn randn_like randperm seed set_rng_state",
    "ops.ranges": "arange eye linspace logspace",
    "ops.rearrange": "flip .flip fliplr .fliplr flipud .flipud .repeat repeat_interleave .repeat_interleave roll "
    ".roll rot90 .rot90 tile .tile unravel_index",
    "ops.reduce": "all .all amax .amax amin .amin any .any argmax .argmax argmin .argmin count_nonzero .count_nonzero "
    "mean .mean norm .norm prod .prod std .std std_mean sum .sum var .var var_mean",
    "ops.scan": "cummax .cummax cummin .cummin cumprod .cumprod .cumprod_ cumsum .cumsum .cumsum_ diff .diff "
    "logcumsumexp .logcumsumexp",
    "ops.scatter_reduce": "index_reduce .index_reduce .index_reduce_ scatter_reduce .scatter_reduce .scatter_reduce_",
    "ops.search": "bucketize .bucketize histc .histc histogram .histogram isin .isin searchsorted",
    "ops.shape": ".H adjoint .adjoint as_strided as_strided_scatter .as_strided_scatter atleast_1d atleast_2d "
    "atleast_3d broadcast_tensors broadcast_to "
    ".broadcast_to cartesian_prod combinations diagonal .diagonal diagonal_scatter .diagonal_scatter flatten imag "
    ".imag .mH meshgrid moveaxis .moveaxis movedim .movedim narrow narrow_copy .narrow_copy permute ravel .ravel real "
    ".real reshape select select_scatter .select_scatter slice_scatter .slice_scatter squeeze swapaxes .swapaxes "
    "swapdims .swapdims t transpose unflatten .unflatten .unfold unsqueeze view_as_complex view_as_real",
    "ops.softmax": "cross_entropy log_softmax .log_softmax logsumexp .logsumexp nll_loss softmax .softmax",
    "ops.sorting": "argsort .argsort kthvalue .kthvalue median .median mode .mode msort .msort nanmedian .nanmedian "
    "nanquantile .nanquantile quantile .quantile sort .sort topk .topk",
    "ops.spectral": "istft .istft stft .stft",
    "ops.triangles": "diag .diag diag_embed .diag_embed diagflat .diagflat tril .tril .tril_ tril_indices triu .triu "
    ".triu_ triu_indices",
    "ops.unique": "unique .unique unique_consecutive .unique_consecutive",
    "ops.windows": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
    "serialization": "load save",
    "settings": "are_deterministic_algorithms_enabled get_default_device get_deterministic_debug_mode "
    "get_float32_matmul_precision get_num_interop_threads is_anomaly_enabled "
    "is_deterministic_algorithms_warn_only_enabled is_storage is_warn_always_enabled set_anomaly_enabled "
    "set_default_device set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision "
    "set_flush_denormal set_num_interop_threads set_warn_always typename use_deterministic_algorithms",
    "sparse": "dsmm hspmm smm sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor spmm "
    "sspaddmm",
    "sparse.convert": "._coalesced_ ._indices ._nnz ._values .ccol_indices ccol_indices_copy .coalesce .col_indices "
    "col_indices_copy .crow_indices crow_indices_copy .dense_dim .indices indices_copy .is_coalesced .row_indices "
    "row_indices_copy .sparse_dim .sparse_mask .sparse_resize_ .sparse_resize_and_clear_ .to_dense .to_sparse "
    ".to_sparse_coo .to_sparse_csc .to_sparse_csr .values values_copy",
    "sparse.functions": ".hspmm .smm .sspaddmm",
    "special": "igamma .igamma .igamma_ igammac .igammac .igammac_",
    "types": "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor "
    "ShortTensor finfo iinfo",
}  # fmt: skip

EACH = (  # of these there is `_foreach_` with each name, and with it and an underscore
    "abs acos add addcdiv addcmul asin atan ceil clamp_max clamp_min cos cosh div erf erfc exp expm1 floor frac lerp "
    "lgamma log log10 log1p log2 maximum minimum mul neg pow reciprocal round rsqrt sigmoid sign sin sinh sqrt sub tan "
    "tanh trunc"
)
NAMES["foreach"] = " ".join(f"_foreach_{name} _foreach_{name}_" for name in EACH.split())
NAMES["foreach"] += " _foreach_clone _foreach_copy_ _foreach_max _foreach_mm _foreach_norm _foreach_powsum"
NAMES["foreach"] += " _foreach_zero_"

# Module -> the hooks it sets (`_core.set_hook`).
HOOKS = {
    "autograd.anomaly": "check_anomaly traceback",
    "eager.kernels": "compile contraction_plan pointwise_miss product_plan reduce_miss vjp",
    "eager.programs": "row_miss",
    "ops.conversions": "deepcopy reduce",
    "ops.indexing": "getitem setitem",
    "ops.joining": "unbind",
    "ops.matmul": "matmul store",
    "ops.memory_format": "is_contiguous to_memory_format",
    "ops.reduce": "reduce_empty",
}

FUNCTIONS = {name: module for module, names in NAMES.items() for name in names.split() if name[0] != "."}


def module(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)


def load(name: str) -> Any:
    """The function of that name at the top level."""
    return getattr(module(FUNCTIONS[name]), name)


class Late:
    """Stands in Tensor for an attribute of a module that isn't loaded, and gives way to it on first use."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def settle(self) -> None:
        found = module(self.module)
        if Tensor.__dict__[self.name] is self:  # the module has a function of that name, and is no more than that
            setattr(Tensor, self.name, getattr(found, self.name))

    def __get__(self, instance: Tensor | None, owner: type) -> Any:
        self.settle()
        return getattr(owner if instance is None else instance, self.name)

    def __set__(self, instance: Tensor, value: Any) -> None:
        self.settle()
        setattr(instance, self.name, value)


def late_hook(where: str, name: str) -> Any:
    """A hook that loads the module which sets the real one."""

    def first(*args: Any, **kwargs: Any) -> Any:
        module(where)
        return _core.hooks[name](*args, **kwargs)

    return first


def install() -> None:
    """Puts what stands in for modules that aren't loaded into Tensor and the core's hooks."""
    for where, names in NAMES.items():
        if f"{__package__}.{where}" not in sys.modules:
            for name in names.split():
                if name[0] == ".":
                    setattr(Tensor, name[1:], Late(where, name[1:]))
    for where, names in HOOKS.items():
        if f"{__package__}.{where}" not in sys.modules:
            for name in names.split():
                _core.set_hook(name, late_hook(where, name))
