"""Multi-head attention.

Imports `module.py`, functional and init. Read next: `transformer.py`.
"""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class NonDynamicallyQuantizableLinear(Linear):
    """The output projection of attention; named so that `repr` reads as PyTorch's."""


class MultiheadAttention(Module):
    """Concat(head₁, …) Wᴼ, headᵢ = softmax(Q Wᵢᵠ (K Wᵢᴷ)ᵀ / √d) V Wᵢⱽ. Vaswani et al., 2017.

    Args:
        batch_first: inputs and outputs are (N, L, E) rather than (L, N, E).
        add_bias_kv: a learnt key and value more; add_zero_attn: a key and value of zeros more.
        kdim, vdim: features of keys and values, embed_dim where None.

    >>> import flambeau as fb
    >>> x = fb.ones(3, 2, 8)
    >>> [t.shape for t in fb.nn.MultiheadAttention(8, 2)(x, x, x)]
    [flambeau.Size([3, 2, 8]), flambeau.Size([2, 3, 3])]
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be greater than 0, got {embed_dim} and {num_heads} instead")
        if embed_dim % num_heads:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.head_dim, self.add_zero_attn = embed_dim // num_heads, add_zero_attn
        options = {"device": device, "dtype": dtype}

        def empty(*shape: int) -> Parameter:
            return Parameter(fb.empty(shape, **options))

        same = self._qkv_same_embed_dim
        for name, features in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if same else empty(embed_dim, features))
        self.register_parameter("in_proj_weight", empty(3 * embed_dim, embed_dim) if same else None)
        self.register_parameter("in_proj_bias", empty(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, **options)
        for name in ("bias_k", "bias_v"):
            setattr(self, name, empty(1, 1, embed_dim) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Attend; boolean masks are True where attention is forbidden.

        Args:
            key_padding_mask: (N, S), keys to ignore.
            attn_mask: (L, S) or (N · heads, L, S).
            is_causal: a hint that `attn_mask` is the causal mask.

        Returns the output (L, N, E) and the weights (N, L, S), averaged over heads, or None without `need_weights`.
        """
        transposed = self.batch_first and query.dim() == 3
        if transposed:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        output, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias,
            self.bias_k, self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias,
            training=self.training, key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim, q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight, v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return output.transpose(0, 1) if transposed else output, weights
