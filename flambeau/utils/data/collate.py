"""Making one batch of a list of samples: numbers and arrays become tensors, tensors are stacked, containers kept.

The rules are PyTorch's `default_collate` and `default_convert`. Imports flambeau and NumPy when called.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch of samples of one structure: tensors and arrays stacked, numbers as one tensor, dicts and tuples by item.

    Floats become float64 and integers int64, as in PyTorch; strings and bytes stay a list; a tuple becomes a list.

    >>> import flambeau as fb
    >>> fb.utils.data.default_collate([{"x": 1}, {"x": 2}])
    {'x': tensor([1, 2])}
    """
    import flambeau as fb

    first = batch[0]
    kind = type(first)
    if isinstance(first, fb.Tensor):
        if any(t.shape != first.shape for t in batch):
            at = next(i for i, t in enumerate(batch) if t.shape != first.shape)
            raise RuntimeError(
                f"default_collate: sample {at} of the batch has shape {tuple(batch[at].shape)}, the first has "
                f"{tuple(first.shape)}; pass a collate_fn that pads, or batch_size=1"
            )
        return fb.stack(list(batch))
    if kind.__module__ == "numpy":
        import numpy as np

        if isinstance(first, np.ndarray) and first.dtype.kind in "USOV":
            raise TypeError(f"default_collate: arrays of {first.dtype} can't become tensors; convert them first")
        if kind is np.ndarray:
            return default_collate([fb.as_tensor(x) for x in batch])
        return fb.as_tensor(np.array(batch))
    if isinstance(first, float):
        return fb.tensor(batch, dtype=fb.float64)
    if isinstance(first, int):
        return fb.tensor(batch)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return rebuilt(first, {key: default_collate([d[key] for d in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(x) != len(first) for x in batch):
            lengths = sorted({len(x) for x in batch})
            raise RuntimeError(f"default_collate: samples have different numbers of items {lengths}; pass a collate_fn")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        if isinstance(first, tuple):
            return kind(*columns) if hasattr(first, "_fields") else columns
        return rebuilt(first, columns)
    raise TypeError(
        f"default_collate: takes tensors, arrays, numbers, strings, dicts and lists, got a {kind.__name__}; "
        "pass a collate_fn"
    )


def default_convert(data: Any) -> Any:
    """One sample with its arrays and NumPy scalars as tensors; the rest as it is.

    >>> import numpy
    >>> fb.utils.data.default_convert({"x": numpy.array([1, 2]), "name": "a"})
    {'x': tensor([1, 2]), 'name': 'a'}
    """
    import flambeau as fb

    kind = type(data)
    if isinstance(data, fb.Tensor | str | bytes):
        return data
    if kind.__module__ == "numpy":
        unconvertible = getattr(getattr(data, "dtype", None), "kind", "O") in "USOV"
        return data if unconvertible else fb.as_tensor(data)
    if isinstance(data, Mapping):
        return rebuilt(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        items = [default_convert(x) for x in data]
        return kind(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence):
        return rebuilt(data, [default_convert(x) for x in data])
    return data


def rebuilt(like: Any, content: Any) -> Any:
    """content as the type of `like`, or as a plain dict or list where that type can't be made of it."""
    try:
        if isinstance(like, MutableMapping | MutableSequence) and type(like) not in (dict, list):
            import copy

            clone = copy.copy(like)
            clone.clear()
            clone.update(content) if isinstance(content, dict) else clone.extend(content)  # type: ignore[union-attr]
            return clone
        return type(like)(content) if not isinstance(like, range) else content
    except TypeError:
        return content
