"""The fast path of a DataLoader: batches of tensors are gathered whole instead of stacked from samples.

Taken where the result is the same by construction: a TensorDataset (or Subsets of one, or a plain tensor or array)
whose indexing nobody has overridden, with the default collation. Imports flambeau when called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .collate import default_collate
from .dataset import Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler


def arrays(dataset: Any) -> tuple[list[Any], Any, bool] | None:
    """(tensors, indices into them or None, whether samples are tuples) of a dataset that is nothing but tensors."""
    import flambeau as fb

    if type(dataset) is TensorDataset:
        return list(dataset.tensors), None, True
    if type(dataset) is fb.Tensor and dataset.dim():
        return [dataset], None, False
    if type(dataset).__module__ == "numpy" and getattr(dataset, "ndim", None) and dataset.dtype.kind in "biufc":
        return [fb.as_tensor(dataset)], None, False
    if type(dataset) is Subset and (below := arrays(dataset.dataset)) is not None:
        tensors, inner, tuples = below
        # Negative and too large indices are left to the ordinary path and its errors.
        if len(dataset.indices) and not 0 <= min(dataset.indices) <= max(dataset.indices) < len(dataset.dataset):  # type: ignore[arg-type]
            return None
        indices = fb.as_tensor(dataset.indices, dtype=fb.int64)
        return tensors, indices if inner is None else inner[indices], tuples
    return None


def gatherer(loader: Any) -> Callable[[int], Iterator[Any]] | None:
    """A function from the number of batches to skip to the batches, or None where the fast path doesn't apply."""
    sampler, grouping = loader.sampler, loader.batch_sampler
    if type(grouping) is not BatchSampler or grouping.sampler is not sampler:
        return None
    if loader.collate_fn is not default_collate or (loader.num_workers and loader.worker_init_fn is not None):
        return None
    if type(sampler) not in (SequentialSampler, RandomSampler) or sampler.data_source is not loader.dataset:
        return None
    found = arrays(loader.dataset)
    if found is None or any(t.requires_grad for t in found[0]):
        return None
    tensors, indices, tuples = found
    size, drop_last = grouping.batch_size, grouping.drop_last

    def batches(skip: int) -> Iterator[Any]:
        order = sampler.order() if type(sampler) is RandomSampler else None
        n = len(loader.sampler)
        if order is None:
            order = indices
        elif indices is not None:
            order = indices[order]
        stop = n - n % size if drop_last else n
        for begin in range(skip * size, stop, size):
            end = min(begin + size, n)
            if order is None:
                batch = [t[begin:end].clone() for t in tensors]
            else:
                chosen = order[begin:end]
                batch = [t.index_select(0, chosen) for t in tensors]
            yield batch if tuples else batch[0]

    return batches
