"""einsum: sums of products over named dimensions, turned into matrix products two operands at a time.

A subscript string is parsed once for each combination of dimensions; pairs are contracted in the order that opt_einsum
finds, or else the greedy one here. All is built on permute, sum, * and `matrix_product`, so derivatives of any order
follow. Imports core and neighbours in ops. Read next: `matmul.py`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..core._core import Tensor
from .arguments import into_out
from .matmul import matrix_product

__all__ = ["chain_matmul", "einsum", "kron"]

Labels = tuple[int, ...]
# Labels are numbers: 0-51 for A-Z and a-z, from 52 on for the dimensions that an ellipsis stands for.
ELLIPSIS = 52


def label_of(letter: str, equation: str) -> int:
    if "A" <= letter <= "Z":
        return ord(letter) - ord("A")
    if "a" <= letter <= "z":
        return ord(letter) - ord("a") + 26
    raise RuntimeError(f"einsum: subscripts are letters and '...', got {letter!r} in {equation!r}")


def split_term(term: str, equation: str) -> tuple[list[int], int | None]:
    """The labels of one operand and the place of its ellipsis."""
    head, dots, tail = term.partition("...")
    if "." in head + tail:
        raise RuntimeError(
            f"einsum: '.' only stands in one ellipsis '...' for each operand, got {term!r} in {equation!r}"
        )
    before = [label_of(c, equation) for c in head]
    return before + [label_of(c, equation) for c in tail], len(before) if dots else None


@functools.lru_cache(1024)
def parse(equation: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of every operand and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [split_term(term, equation) for term in left.split(",")]
    return resolve(terms, split_term(right, equation) if arrow else None, ndims, repr(equation))


def resolve(terms: list, output: Any, ndims: tuple[int, ...], what: str) -> tuple[tuple[Labels, ...], Labels]:
    if len(terms) != len(ndims):
        raise RuntimeError(f"einsum: {what} has subscripts for {len(terms)} operands, got {len(ndims)} operands")
    operands, widest = [], 0
    for i, ((labels, dots), ndim) in enumerate(zip(terms, ndims, strict=True)):
        extra = ndim - len(labels)
        if extra < 0 or (extra and dots is None):
            raise RuntimeError(
                f"einsum: operand {i} has {ndim} dimensions, its subscripts name {len(labels)} in {what}; "
                "'...' stands for those without a name"
            )
        widest = max(widest, extra)
        operands.append((labels, dots, extra))
    # Unnamed dimensions are aligned at the right, as broadcasting does.
    full = tuple(
        (*labels[:dots], *range(ELLIPSIS + widest - extra, ELLIPSIS + widest), *labels[dots:])
        if dots is not None
        else tuple(labels)
        for labels, dots, extra in operands
    )
    unnamed = range(ELLIPSIS, ELLIPSIS + widest)
    counts = Counter(label for labels in full for label in labels)
    if output is None:
        return full, (*unnamed, *sorted(n for n, count in counts.items() if count == 1 and n < ELLIPSIS))
    labels, dots = output
    result = tuple(labels) if dots is None else (*labels[:dots], *unnamed, *labels[dots:])
    for label in result:
        if label not in counts or result.count(label) > 1:
            said = "appears more than once in the output" if label in counts else "of the output is in no operand"
            raise RuntimeError(f"einsum: subscript {name_of(label)!r} {said} of {what}")
    return full, result


def name_of(label: int) -> str:
    return "..." if label >= ELLIPSIS else chr(label + 65 if label < 26 else label + 71)


def parse_sublists(args: Sequence[Any]) -> tuple[list[Tensor], tuple[Labels, ...], Labels]:
    """einsum(x, [0, 1], y, [1, 2], [0, 2]): operands, their labels and the result's."""

    def term(labels: Sequence[Any]) -> tuple[list[int], int | None]:
        dots = [i for i, label in enumerate(labels) if label is Ellipsis]
        names = [label for label in labels if label is not Ellipsis]
        if len(dots) > 1 or any(not 0 <= n < ELLIPSIS for n in names):
            raise RuntimeError(f"einsum: a sublist holds numbers from 0 to 51 and at most one '...', got {labels}")
        return names, dots[0] if dots else None

    operands = list(args[: len(args) // 2 * 2 : 2])
    terms = [term(labels) for labels in args[1::2]]
    output = term(args[-1]) if len(args) % 2 else None
    return operands, *resolve(terms, output, tuple(x.ndim for x in operands), "the sublists")


def without_repeats(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """The diagonal of x over every label that stands more than once."""
    while len(set(labels)) < len(labels):
        label = next(n for n in labels if labels.count(n) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        if x.shape[i] != x.shape[j]:
            raise RuntimeError(
                f"einsum: subscript {name_of(label)!r} is repeated over sizes {x.shape[i]} and {x.shape[j]}"
            )
        x = x.diagonal(0, i, j)
        labels = (*(n for k, n in enumerate(labels) if k not in (i, j)), label)
    return x, labels


def sum_out(x: Tensor, labels: Labels, keep: Any) -> tuple[Tensor, Labels]:
    gone = [d for d, n in enumerate(labels) if n not in keep]
    return (x.sum(gone), tuple(n for n in labels if n in keep)) if gone else (x, labels)


def contract(a: Tensor, la: Labels, b: Tensor, lb: Labels, keep: Any) -> tuple[Tensor, Labels]:
    """Σ a b over the labels of the two that aren't to be kept."""
    # A size of 1 against another is broadcast: the operand that has it says nothing about that label.
    sizes_a, sizes_b = dict(zip(la, a.shape, strict=True)), dict(zip(lb, b.shape, strict=True))
    drop_a = [n for n in la if sizes_a[n] == 1 != sizes_b.get(n, 1)]
    drop_b = [n for n in lb if sizes_b[n] == 1 != sizes_a.get(n, 1)]
    if drop_a:
        a, la = a.squeeze([la.index(n) for n in drop_a]), tuple(n for n in la if n not in drop_a)
    if drop_b:
        b, lb = b.squeeze([lb.index(n) for n in drop_b]), tuple(n for n in lb if n not in drop_b)
    a, la = sum_out(a, la, {*keep, *lb})
    b, lb = sum_out(b, lb, {*keep, *la})
    batch = [n for n in la if n in lb and n in keep]
    summed = [n for n in la if n in lb and n not in keep]
    rows, columns = [n for n in la if n not in lb], [n for n in lb if n not in la]
    labels = (*batch, *rows, *columns)
    if not summed:
        left = a.permute([la.index(n) for n in (*batch, *rows)])
        right = b.permute([lb.index(n) for n in (*batch, *columns)])
        spread = [*range(len(batch)), *(len(batch) + d for d in range(len(rows)))]
        left = left.reshape([left.shape[d] for d in spread] + [1] * len(columns))
        right = right.reshape(list(right.shape[: len(batch)]) + [1] * len(rows) + list(right.shape[len(batch) :]))
        return left * right, labels
    sizes = {**sizes_b, **sizes_a, **{n: sizes_b[n] for n in drop_a}}

    def many(names: Sequence[int]) -> int:
        return math.prod(sizes[n] for n in names)

    left = a.permute([la.index(n) for n in (*batch, *rows, *summed)]).reshape(
        [*(sizes[n] for n in batch), many(rows), many(summed)]
    )
    right = b.permute([lb.index(n) for n in (*batch, *summed, *columns)]).reshape(
        [*(sizes[n] for n in batch), many(summed), many(columns)]
    )
    return matrix_product(left, right).reshape([sizes[n] for n in labels]), labels


@functools.lru_cache(1024)
def path(
    operands: tuple[Labels, ...], shapes: tuple[tuple[int, ...], ...], output: Labels
) -> tuple[tuple[int, int], ...]:
    """Which two operands to contract next, again and again; results go to the end of the list."""
    try:
        import opt_einsum
    except ImportError:
        return greedy(operands, shapes, output)
    interleaved = [part for shape, labels in zip(shapes, operands, strict=True) for part in (shape, list(labels))]
    found = opt_einsum.contract_path(*interleaved, list(output), shapes=True)[0]
    steps = []
    for step in found:
        if len(step) > 2:
            return greedy(operands, shapes, output)
        if len(step) == 2:
            steps.append(tuple(sorted(step)))
    return tuple(steps)


def greedy(
    operands: tuple[Labels, ...], shapes: tuple[tuple[int, ...], ...], output: Labels
) -> tuple[tuple[int, int], ...]:
    """Each time the pair whose product is smallest compared with the two, ties to the least work."""
    sizes: dict[int, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for n, size in zip(labels, shape, strict=True):
            sizes[n] = max(size, sizes.get(n, 1))
    left = [set(labels) for labels in operands]
    steps = []

    def volume(labels: set[int]) -> int:
        return math.prod(sizes[n] for n in labels)

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        i, j = pair
        keep = set(output).union(*(labels for k, labels in enumerate(left) if k not in pair))
        union = left[i] | left[j]
        return volume(union & keep) - volume(left[i]) - volume(left[j]), volume(union)

    while len(left) > 1:
        i, j = min(((i, j) for j in range(len(left)) for i in range(j)), key=cost)
        keep = set(output).union(*(labels for k, labels in enumerate(left) if k not in (i, j)))
        union = (left[i] | left[j]) & keep
        left = [labels for k, labels in enumerate(left) if k not in (i, j)] + [union]
        steps.append((i, j))
    return tuple(steps)


def check_sizes(operands: list[Tensor], labels: tuple[Labels, ...]) -> None:
    sizes: dict[int, int] = {}
    for i, (x, names) in enumerate(zip(operands, labels, strict=True)):
        for n, size in zip(names, x.shape, strict=True):
            if size != 1 and sizes.setdefault(n, size) != size:
                raise RuntimeError(
                    f"einsum: subscript {name_of(n)!r} has size {size} in operand {i}, of shape {tuple(x.shape)}, but "
                    f"{sizes[n]} in one before"
                )


def einsum(*args: Any) -> Tensor:
    """The sum of products that subscripts describe: letters that the result lacks are summed over.

    ``einsum("bik,bkj->bij", x, y)``: y[b, i, j] = Σ_k x[b, i, k] y[b, k, j]. Without ``->`` the result has the letters
    that stand once, in alphabetical order; ``...`` stands for dimensions without a name, which broadcast. Operands may
    be given as tensors and lists of numbers in turn: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.

    >>> x = fb.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> fb.einsum("ij,kj->ik", x, x)
    tensor([[ 5., 11.],
            [11., 25.]])
    >>> fb.einsum("ii", x)
    tensor(5.)
    """
    if len(args) < 2:
        raise ValueError("einsum: needs an equation and at least one operand")
    if isinstance(args[0], Tensor):
        operands, labels, output = parse_sublists(args)
    else:
        operands = list(args[1]) if len(args) == 2 and isinstance(args[1], (list, tuple)) else list(args[1:])
        labels, output = parse(args[0], tuple([x.ndim for x in operands]))
    check_sizes(operands, labels)
    parts = [without_repeats(x, names) for x, names in zip(operands, labels, strict=True)]
    if len(parts) == 1:
        x, names = sum_out(*parts[0], set(output))
    elif len(parts) == 2:
        x, names = contract(*parts[0], *parts[1], output)
    else:
        for i, j in path(tuple(names for _, names in parts), tuple(tuple(x.shape) for x, _ in parts), output):
            second, first = parts.pop(j), parts.pop(i)
            parts.append(contract(*first, *second, {*output, *(n for _, names in parts for n in names)}))
        x, names = parts[0]
    if names == output:
        return x
    return x.permute([names.index(n) for n in output])


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product: every element of input times the whole of other.

    Shapes: (a, b) and (c, d) give (a c, b d); missing dimensions are taken as 1.

    >>> fb.kron(fb.tensor([[1.0, 2.0]]), fb.tensor([[1.0], [3.0]]))
    tensor([[1., 2.],
            [3., 6.]])
    """
    n = max(input.ndim, other.ndim)
    a = input.reshape([1] * (n - input.ndim) + list(input.shape))
    b = other.reshape([1] * (n - other.ndim) + list(other.shape))
    left = a.reshape([size for s in a.shape for size in (s, 1)])
    right = b.reshape([size for s in b.shape for size in (1, s)])
    y = (left * right).reshape([s * t for s, t in zip(a.shape, b.shape, strict=True)])
    return into_out(out, y)


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of several matrices in the order that needs the least work.

    >>> fb.chain_matmul(fb.ones(2, 3), fb.ones(3, 4), fb.ones(4, 1))
    tensor([[12.],
            [12.]])
    """
    from ..linalg.products import multi_dot

    return matrices[0] if len(matrices) == 1 else multi_dot(matrices, out=out)
