"""`torch.nn.attention.flex_attention`: attention whose scores a program changes, element by element.

score_mod(score, b, h, q, k) and mask_mod(b, h, q, k) are functions of one score and its place, mapped over all places
by vmap; so scores are held whole, (B, H, Q, K), as PyTorch holds them where nothing is compiled. Imports func and ops.
Source: Dong et al., Flex Attention: A Programming Model for Generating Optimized Attention Kernels, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau as fb
from flambeau import Tensor

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_DEFAULT_SPARSE_BLOCK_SIZE = 128


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """True everywhere.

    >>> from flambeau.nn.attention.flex_attention import create_mask, noop_mask
    >>> create_mask(noop_mask, 1, 1, 1, 2)
    tensor([[[[True, True]]]])
    """
    return (token_q >= 0) & (token_kv >= 0)


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """The places that all masks have.

    >>> from flambeau.nn.attention.flex_attention import and_masks, create_mask
    >>> both = and_masks(lambda b, h, q, k: q >= k, lambda b, h, q, k: q - k < 2)
    >>> create_mask(both, 1, 1, 3, 3)[0, 0].int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [0, 1, 1]], dtype=flambeau.int32)
    """

    def mask(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        found = mask_mods[0](b, h, q, k)
        for mod in mask_mods[1:]:
            found = found & mod(b, h, q, k)
        return found

    return mask


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """The places that any mask has.

    >>> from flambeau.nn.attention.flex_attention import create_mask, or_masks
    >>> either = or_masks(lambda b, h, q, k: q == k, lambda b, h, q, k: k == 0)
    >>> create_mask(either, 1, 1, 2, 3)[0, 0].int()
    tensor([[1, 0, 0],
            [1, 1, 0]], dtype=flambeau.int32)
    """

    def mask(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        found = mask_mods[0](b, h, q, k)
        for mod in mask_mods[1:]:
            found = found | mod(b, h, q, k)
        return found

    return mask


def mapped(function: Callable[..., Tensor], scores: Tensor | None, sizes: tuple[int, int, int, int]) -> Tensor:
    """function at each place (b, h, q, k), of the score there too where there are scores."""
    first = () if scores is None else (0,)
    for d in range(3, -1, -1):
        function = fb.vmap(function, (*first, *(0 if i == d else None for i in range(4))))
    places = tuple(fb.arange(n) for n in sizes)
    return function(*places) if scores is None else function(scores, *places)


def create_mask(
    mod_fn: MaskMod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None
) -> Tensor:
    """The boolean mask (B, H, Q, K) of a mask function; None for B or H is 1.

    >>> from flambeau.nn.attention.flex_attention import create_mask
    >>> create_mask(lambda b, h, q, k: q >= k, None, None, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    return mapped(mod_fn, None, (B or 1, H or 1, Q_LEN, KV_LEN))


class BlockMask(NamedTuple):
    """Where attention is allowed: the function, and the mask (B, H, Q, K) that it gives.

    >>> from flambeau.nn.attention.flex_attention import create_block_mask, noop_mask
    >>> mask = create_block_mask(noop_mask, 1, 2, 3, 4)
    >>> mask.shape, mask.seq_lengths, mask.sparsity()
    ((1, 2, 3, 4), (3, 4), 0.0)
    """

    mask_mod: MaskMod
    mask: Tensor
    BLOCK_SIZE: tuple[int, int]

    @property
    def seq_lengths(self) -> tuple[int, int]:
        """The numbers of queries and keys."""
        return self.mask.shape[2], self.mask.shape[3]

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, Q, K)."""
        return tuple(self.mask.shape)

    def to_dense(self) -> Tensor:
        """1 for each block in which anything is allowed: (B, H, Q / block, K / block)."""
        rows, columns = self.BLOCK_SIZE
        b, h, q, k = self.mask.shape
        padded = fb.nn.functional.pad(self.mask.to(fb.int32), (0, -k % columns, 0, -q % rows))
        cut = padded.reshape(b, h, padded.shape[2] // rows, rows, padded.shape[3] // columns, columns)
        return cut.amax((3, 5))

    def sparsity(self) -> float:
        """The share of blocks, in percent, in which nothing is allowed."""
        dense = self.to_dense()
        return 100 * (1 - dense.sum().item() / dense.numel())

    def to(self, device: Any) -> BlockMask:
        """The mask itself: it is on the CPU."""
        return self


def create_block_mask(
    mask_mod: MaskMod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, _compile: bool = False, **_: Any,
) -> BlockMask:  # fmt: skip
    """The BlockMask of a mask function; None for B or H is one mask for all of them.

    >>> from flambeau.nn.attention.flex_attention import create_block_mask
    >>> create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256).to_dense()
    tensor([[[[1, 0],
              [1, 1]]]], dtype=flambeau.int32)
    """
    size = BLOCK_SIZE if isinstance(BLOCK_SIZE, tuple) else (BLOCK_SIZE, BLOCK_SIZE)
    return BlockMask(mask_mod, create_mask(mask_mod, B, H, Q_LEN, KV_LEN), size)


class AuxRequest(NamedTuple):
    """What flex_attention returns beside its result: lse, the logarithm of each query's sum, and max_scores.

    >>> from flambeau.nn.attention.flex_attention import AuxRequest
    >>> AuxRequest(lse=True)
    AuxRequest(lse=True, max_scores=False)
    """

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for by an AuxRequest, None for the rest.

    >>> from flambeau.nn.attention.flex_attention import AuxRequest, flex_attention
    >>> q = fb.zeros(1, 1, 1, 4)
    >>> flex_attention(q, q, q, return_aux=AuxRequest(lse=True))[1]
    AuxOutput(lse=tensor([[[0.]]]), max_scores=None)
    """

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, score_mod: ScoreMod | None = None, block_mask: BlockMask | None = None,
    scale: float | None = None, enable_gqa: bool = False, return_lse: bool = False, kernel_options: Any = None,
    *, return_aux: AuxRequest | None = None,
) -> Any:  # fmt: skip
    """softmax(score_mod(Q Kᵀ scale)) V over the places that the mask allows; scale = 1 / √E where None.

    query (B, H, Q, E), key (B, H, K, E), value (B, H, K, Ev); with enable_gqa key and value may have fewer heads. A
    query that sees nothing gives zeros. return_lse: also the logarithm of each query's sum, (B, H, Q). kernel_options
    is PyTorch's and changes nothing. Raises ValueError where shapes don't fit.

    >>> from flambeau.nn.attention.flex_attention import flex_attention
    >>> q = k = v = fb.ones(1, 1, 2, 4)
    >>> flex_attention(q, k, v, lambda score, b, h, i, j: score - (i - j).abs()).shape
    flambeau.Size([1, 1, 2, 4])
    """
    if not query.dim() == key.dim() == value.dim() == 4:
        raise ValueError(
            "flex_attention: query, key and value have 4 dimensions (batch, heads, length, size), got shapes "
            f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
        )
    if key.shape[1] != query.shape[1]:
        if not enable_gqa or query.shape[1] % key.shape[1]:
            raise ValueError(
                f"flex_attention: {query.shape[1]} heads of queries and {key.shape[1]} of keys don't fit; fewer heads "
                "of keys, which divide the others, need enable_gqa=True"
            )
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = mapped(score_mod, scores, tuple(scores.shape)).to(scores.dtype)  # type: ignore[arg-type]
    if block_mask is not None:
        if block_mask.seq_lengths != tuple(scores.shape[2:]):
            raise ValueError(
                f"flex_attention: the mask is for {block_mask.seq_lengths} queries and keys, got "
                f"{tuple(scores.shape[2:])}"
            )
        scores = scores.masked_fill(~block_mask.mask, -math.inf)
    lse = scores.logsumexp(-1)
    weights = (scores - lse[..., None]).exp()
    result = weights.masked_fill(lse[..., None] == -math.inf, 0.0) @ value
    if return_aux is not None:
        return result, AuxOutput(lse if return_aux.lse else None, scores.amax(-1) if return_aux.max_scores else None)
    return (result, lse) if return_lse else result


__all__ = [
    "AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention",
    "noop_mask", "or_masks",
]  # fmt: skip
