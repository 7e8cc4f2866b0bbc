"""Attention, and the many projections and masks of the multi-head layer around it.

Imports the tensor core. Read next: `ops/attention.py`, what computes it; `modules/attention.py`, the layer.
"""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.core import _core
from flambeau.core.interpreters import together
from flambeau.ops import dropout, linear
from flambeau.ops.attention import attend
from flambeau.ops.padding import pad
from flambeau.ops.primitive import resolved
from flambeau.ops.softmax import softmax


@resolved
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """softmax(Q Kᵀ scale + mask) V, scale = 1 / √E where None.

    Vaswani et al., Attention is all you need, 2017.

    Args:
        query: (…, H, L, E); key: (…, H, S, E); value: (…, H, S, Ev). The result is (…, H, L, Ev).
        attn_mask: boolean, True where attention is allowed, or floating, added to the scores; broadcast to (…, L, S).
        is_causal: query i sees keys 0 … i; not together with attn_mask.
        enable_gqa: key and value may have fewer heads, each shared by a group of queries.

    >>> import flambeau as fb
    >>> q = k = v = fb.zeros(1, 2, 3, 4)
    >>> fb.nn.functional.scaled_dot_product_attention(q, k, v).shape
    flambeau.Size([1, 2, 3, 4])
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention: got both attn_mask and is_causal=True; give one of them")
    if _core.interpreting():
        query, key, value = together(query, key, value)
    if not (query.dtype == key.dtype == value.dtype) or not query.is_floating_point():
        raise RuntimeError(
            "scaled_dot_product_attention: expected query, key and value of one floating dtype, got "
            f"{query.dtype}, {key.dtype} and {value.dtype}"
        )
    scale = 1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale
    return attend(query, key, value, attn_mask, is_causal, scale, dropout_p, enable_gqa)


def _project(
    query: Tensor, key: Tensor, value: Tensor, weights: tuple[Tensor, Tensor, Tensor], bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    biases = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    return q, k, v


def _canonical_mask(mask: Tensor | None, dtype: Any, name: str) -> Tensor | None:
    """A mask to add to the scores: True of a boolean one, which means hidden, becomes -∞."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype != fb.bool:
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    return fb.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None,
    add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor, out_proj_bias: Tensor | None,
    training: bool = True, key_padding_mask: Tensor | None = None, need_weights: bool = True,
    attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Multi-head attention on (L, N, E), (S, N, E), (S, N, E), or the same without N, with all its weights given.

    Boolean masks are True where attention is forbidden. Returns the output and, where `need_weights`, the attention
    weights (N, L, S), or (N, H, L, S) unless `average_attn_weights`. See `nn.MultiheadAttention`.

    >>> attention = fb.nn.MultiheadAttention(4, 2)
    >>> x = fb.ones(3, 1, 4)
    >>> p = attention.in_proj_weight, attention.in_proj_bias, None, None, False, 0.0
    >>> out = attention.out_proj.weight, attention.out_proj.bias
    >>> y, weights = fb.nn.functional.multi_head_attention_forward(x, x, x, 4, 2, *p, *out)
    >>> y.shape, weights[0, 0]
    (flambeau.Size([3, 1, 4]), tensor([0.3333, 0.3333, 0.3333], grad_fn=<PartBackward0>))
    """
    unbatched = query.dim() == 2
    if query.dim() not in (2, 3) or key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError(
            "multi_head_attention_forward: expected query, key and value of 2 or 3 dimensions alike, got "
            f"{query.dim()}, {key.dim()} and {value.dim()}"
        )
    if unbatched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    if embed_dim != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}")
    head_dim = embed_dim // num_heads
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")

    if not use_separate_proj_weight and query is key is value:
        q, k, v = linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        if use_separate_proj_weight:
            weights = q_proj_weight, k_proj_weight, v_proj_weight
        else:
            weights = in_proj_weight.chunk(3)
        q, k, v = _project(query, key, value, weights, in_proj_bias)

    mask = _canonical_mask(attn_mask, q.dtype, "attn_mask")
    hidden_keys = _canonical_mask(key_padding_mask, q.dtype, "key_padding_mask")
    if mask is not None and mask.dim() == 3:
        mask = mask.reshape(batch, num_heads, *mask.shape[1:])
    if bias_k is not None and bias_v is not None:
        k, v = fb.cat([k, bias_k.expand(1, batch, -1)]), fb.cat([v, bias_v.expand(1, batch, -1)])
        mask, hidden_keys = (None if m is None else pad(m, (0, 1)) for m in (mask, hidden_keys))

    def heads(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], batch, num_heads, head_dim).permute(1, 2, 0, 3)

    q = heads(q)
    k = heads(k) if static_k is None else static_k.reshape(batch, num_heads, -1, head_dim)
    v = heads(v) if static_v is None else static_v.reshape(batch, num_heads, -1, head_dim)
    if add_zero_attn:
        zero = k.new_zeros(batch, num_heads, 1, head_dim)
        k, v = fb.cat([k, zero], 2), fb.cat([v, zero], 2)
        mask, hidden_keys = (None if m is None else pad(m, (0, 1)) for m in (mask, hidden_keys))
    if hidden_keys is not None:
        hidden_keys = hidden_keys.reshape(batch, 1, 1, -1)
        mask = hidden_keys if mask is None else mask + hidden_keys

    dropout_p = dropout_p if training else 0.0
    if need_weights:
        scores = (q * (1 / math.sqrt(head_dim))) @ k.mT
        attention = softmax(scores if mask is None else scores + mask, dim=-1)
        if dropout_p > 0:
            attention = dropout(attention, dropout_p)
        output = attention @ v
    else:
        attention = None
        output = scaled_dot_product_attention(q, k, v, mask, dropout_p)
    output = output.permute(2, 0, 1, 3).reshape(length * batch, embed_dim)
    output = linear(output, out_proj_weight, out_proj_bias).reshape(length, batch, -1)
    if attention is not None:
        attention = attention.mean(1) if average_attn_weights else attention
        attention = attention.squeeze(0) if unbatched else attention
    return output.squeeze(1) if unbatched else output, attention
