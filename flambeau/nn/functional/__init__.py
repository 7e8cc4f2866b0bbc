"""torch.nn.functional's names. Functions with a kernel of their own come from `flambeau.ops` as they are; the others
are compositions of tensor functions, in the files here.

Read next: `losses.py` for how a composition looks, `modules/` for the layers around these functions.
"""

from flambeau.nn.functional.activation import (
    alpha_dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    glu,
    gumbel_softmax,
    prelu,
    rrelu,
    rrelu_,
    softmin,
)
from flambeau.nn.functional.attention import multi_head_attention_forward, scaled_dot_product_attention
from flambeau.nn.functional.distance import cosine_similarity, normalize, pairwise_distance
from flambeau.nn.functional.fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from flambeau.nn.functional.linear import bilinear, conv_tbc
from flambeau.nn.functional.losses import (
    cosine_embedding_loss,
    ctc_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    linear_cross_entropy,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from flambeau.nn.functional.normalization import instance_norm, local_response_norm
from flambeau.nn.functional.pooling import (
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d_with_indices,
    max_pool2d_with_indices,
    max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from flambeau.nn.functional.sparse import embedding, embedding_bag, one_hot
from flambeau.nn.functional.vision import (
    affine_grid,
    channel_shuffle,
    fold,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from flambeau.ops import (
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    celu_,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cross_entropy,
    dropout,
    elu,
    elu_,
    gelu,
    group_norm,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    leaky_relu_,
    linear,
    logsigmoid,
    max_pool2d,
    mish,
    mse_loss,
    nll_loss,
    relu,
    relu6,
    relu_,
    rms_norm,
    selu,
    selu_,
    sigmoid,
    silu,
    smooth_l1_loss,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    threshold_,
)  # fmt: skip
from flambeau.ops.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from flambeau.ops.distance import pdist
from flambeau.ops.grid import grid_sample
from flambeau.ops.padding import pad
from flambeau.ops.pooling import avg_pool1d, avg_pool3d, max_pool1d, max_pool3d
from flambeau.ops.softmax import log_softmax, softmax
