"""einsum: sums of products over named dimensions, turned into matrix products two operands at a time.

An equation is planned once for each combination of shapes; pairs are contracted in the order that opt_einsum
finds, or else the greedy one here. All is built on permute, sum, * and `matrix_product`, so derivatives of any order
follow. Imports core and neighbours in ops. Read next: `matmul.py`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core._core import Tensor
from .arguments import into_out
from .matmul import matrix_product
from .recall import recalled

__all__ = ["chain_matmul", "einsum", "kron"]

Labels = tuple[int, ...]
Shape = tuple[int, ...]
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


def parse(equation: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of every operand and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [split_term(term, equation) for term in left.split(",")]
    return resolve(terms, split_term(right, equation) if arrow else None, ndims, repr(equation))


def resolve(terms: Sequence[Any], output: Any, ndims: tuple[int, ...], what: str) -> tuple[tuple[Labels, ...], Labels]:
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


def parse_sublists(args: Sequence[Any]) -> tuple[list[Tensor], tuple]:
    """einsum(x, [0, 1], y, [1, 2], [0, 2]): operands, and the labels and ellipses of all and of the result."""

    def term(labels: Sequence[Any]) -> tuple[Labels, int | None]:
        dots = [i for i, label in enumerate(labels) if label is Ellipsis]
        names = tuple(label for label in labels if label is not Ellipsis)
        if len(dots) > 1 or any(not 0 <= n < ELLIPSIS for n in names):
            raise RuntimeError(f"einsum: a sublist holds numbers from 0 to 51 and at most one '...', got {labels}")
        return names, dots[0] if dots else None

    terms = tuple(term(labels) for labels in args[1::2])
    return list(args[: len(args) // 2 * 2 : 2]), (terms, term(args[-1]) if len(args) % 2 else None)


def diagonals_of(labels: Labels, shape: Shape) -> tuple[list[tuple[int, int]], Labels, Shape]:
    """Which diagonals to take, one after another, so that every label stands once."""
    pairs = []
    while len(set(labels)) < len(labels):
        label = next(n for n in labels if labels.count(n) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        if shape[i] != shape[j]:
            raise RuntimeError(f"einsum: subscript {name_of(label)!r} is repeated over sizes {shape[i]} and {shape[j]}")
        pairs.append((i, j))
        others = [k for k in range(len(labels)) if k not in (i, j)]
        labels, shape = (*(labels[k] for k in others), label), (*(shape[k] for k in others), shape[i])
    return pairs, labels, shape


class Layout(NamedTuple):
    """How one operand is brought into the form that its step needs; None: it has that already."""

    summed: list[int]
    order: list[int] | None
    shape: Shape | None

    def __call__(self, x: Tensor) -> Tensor:
        if self.summed:
            x = x.sum(self.summed, dtype=x.dtype)
        if self.order is not None:
            x = x.permute(self.order)
        return x if self.shape is None else x.reshape(self.shape)


def layout(labels: Labels, shape: Shape, gone: Any, order: Sequence[int], dropped: Any, final: Sequence[int]) -> Layout:
    """Labels `gone` are summed; the rest come in `order`, then the `dropped` ones of size 1, and get a final shape."""
    summed = [d for d, n in enumerate(labels) if n in gone]
    kept = [n for n in labels if n not in gone]
    places = [kept.index(n) for n in (*order, *dropped)]
    sizes = dict(zip(labels, shape, strict=True))
    same = tuple(final) == tuple(sizes[n] for n in (*order, *dropped))
    return Layout(summed, None if places == sorted(places) else places, None if same else tuple(final))


class Step(NamedTuple):
    """The contraction of two operands, at places i < j of the list; the result goes to its end."""

    i: int
    j: int
    left: Layout
    right: Layout
    kind: str
    shape: Shape


def step_of(i: int, j: int, la: Labels, sa: Shape, lb: Labels, sb: Shape, keep: Any) -> tuple[Step, Labels, Shape]:
    """Σ a b over the labels of the two that aren't to be kept."""
    sizes_a, sizes_b = dict(zip(la, sa, strict=True)), dict(zip(lb, sb, strict=True))
    # A size of 1 against another is broadcast: the operand that has it says nothing about that label.
    drop_a = [n for n in la if sizes_a[n] == 1 != sizes_b.get(n, 1)]
    drop_b = [n for n in lb if sizes_b[n] == 1 != sizes_a.get(n, 1)]
    in_a, in_b = [n for n in la if n not in drop_a], [n for n in lb if n not in drop_b]
    gone_a = [n for n in in_a if n not in keep and n not in in_b]
    gone_b = [n for n in in_b if n not in keep and n not in in_a]
    batch = [n for n in in_a if n in in_b and n in keep]
    summed = [n for n in in_a if n in in_b and n not in keep]
    rows = [n for n in in_a if n in keep and n not in in_b]
    columns = [n for n in in_b if n in keep and n not in in_a]
    sizes = {**{n: sizes_a[n] for n in in_a}, **{n: sizes_b[n] for n in in_b}}

    def each(*names: int) -> list[int]:
        return [sizes[n] for n in names]

    def many(names: Sequence[int]) -> int:
        return math.prod(each(*names))

    labels = (*batch, *rows, *columns)
    before = each(*batch)
    if summed and (rows or columns):
        kind = "product"
        left = layout(la, sa, gone_a, (*batch, *rows, *summed), drop_a, [*before, many(rows), many(summed)])
        right = layout(lb, sb, gone_b, (*batch, *summed, *columns), drop_b, [*before, many(summed), many(columns)])
    elif summed:
        kind = "sum"
        left = layout(la, sa, gone_a, (*batch, *summed), drop_a, [*before, many(summed)])
        right = layout(lb, sb, gone_b, (*batch, *summed), drop_b, [*before, many(summed)])
    else:
        kind = "elements"
        left = layout(la, sa, gone_a, (*batch, *rows), drop_a, [*before, *each(*rows), *[1] * len(columns)])
        right = layout(lb, sb, gone_b, (*batch, *columns), drop_b, [*before, *[1] * len(rows), *each(*columns)])
    return Step(i, j, left, right, kind, tuple(each(*labels))), labels, tuple(each(*labels))


class Plan(NamedTuple):
    """All that einsum does to operands of certain shapes."""

    diagonals: list[list[tuple[int, int]]]
    steps: list[Step]
    summed: list[int]
    order: list[int] | None


@functools.lru_cache(4096)
def plan(terms: Any, shapes: tuple[Shape, ...]) -> Plan:
    """The plan for an equation, or for what sublists say."""
    ndims = tuple(map(len, shapes))
    if isinstance(terms, str):
        labels, output = parse(terms, ndims)
    else:
        named, result = terms
        labels, output = resolve(named, result, ndims, "the sublists")
    check_sizes(labels, shapes)
    found = [diagonals_of(names, tuple(shape)) for names, shape in zip(labels, shapes, strict=True)]
    parts = [(names, shape) for _, names, shape in found]
    steps = []
    for i, j in path(tuple(names for names, _ in parts), tuple(shape for _, shape in parts), output):
        second, first = parts.pop(j), parts.pop(i)
        step, *part = step_of(i, j, *first, *second, {*output, *(n for names, _ in parts for n in names)})
        steps.append(step)
        parts.append((part[0], part[1]))
    names, _ = parts[0]
    summed = [d for d, n in enumerate(names) if n not in output]
    names = tuple(n for n in names if n in output)
    return Plan(
        [pairs for pairs, _, _ in found], steps, summed, None if names == output else [names.index(n) for n in output]
    )


def contract(step: Step, a: Tensor, b: Tensor) -> Tensor:
    a, b = step.left(a), step.right(b)
    if step.kind == "elements":
        return a * b
    y = matrix_product(a, b) if step.kind == "product" else (a * b).sum(-1, dtype=a.dtype)
    return y if y.shape == step.shape else y.reshape(step.shape)


def path(
    operands: tuple[Labels, ...], shapes: tuple[tuple[int, ...], ...], output: Labels
) -> tuple[tuple[int, int], ...]:
    """Which two operands to contract next, again and again; results go to the end of the list."""
    if len(operands) < 3:
        return ((0, 1),) * (len(operands) - 1)
    try:
        import opt_einsum
    except ImportError:
        return greedy(operands, shapes, output)
    terms = ["".join(map(opt_einsum.get_symbol, labels)) for labels in (*operands, output)]
    equation = ",".join(terms[:-1]) + "->" + terms[-1]
    found = opt_einsum.contract_path(equation, *shapes, shapes=True)[0]
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


def check_sizes(labels: tuple[Labels, ...], shapes: tuple[Shape, ...]) -> None:
    sizes: dict[int, int] = {}
    for i, (names, shape) in enumerate(zip(labels, shapes, strict=True)):
        for n, size in zip(names, shape, strict=True):
            if size != 1 and sizes.setdefault(n, size) != size:
                raise RuntimeError(
                    f"einsum: subscript {name_of(n)!r} has size {size} in operand {i}, of shape {tuple(shape)}, but "
                    f"{sizes[n]} in one before"
                )


@recalled
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
    terms: Any
    if isinstance(args[0], Tensor):
        operands, terms = parse_sublists(args)
    else:
        terms = args[0]
        operands = list(args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:])
    made = plan(terms, tuple([x.shape for x in operands]))
    for i, pairs in enumerate(made.diagonals):
        for pair in pairs:
            operands[i] = operands[i].diagonal(0, *pair)
    for step in made.steps:
        second, first = operands.pop(step.j), operands.pop(step.i)
        operands.append(contract(step, first, second))
    x = operands[0]
    if made.summed:
        x = x.sum(made.summed, dtype=x.dtype)
    return x if made.order is None else x.permute(made.order)


@recalled
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
    shape = [s * t for s, t in zip(a.shape, b.shape, strict=True)]
    left = a.reshape([size for s in a.shape for size in (s, 1)])
    right = b.reshape([size for s in b.shape for size in (1, s)])
    if n > 1:
        # Rows of the result are products of whole rows: each factor's last dimension is written out, which is little.
        left, right = (x.expand((*x.shape[:-2], a.shape[-1], b.shape[-1])).flatten(-2) for x in (left, right))
    y = (left * right).reshape(shape)
    return into_out(out, y)


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of several matrices in the order that needs the least work.

    >>> fb.chain_matmul(fb.ones(2, 3), fb.ones(3, 4), fb.ones(4, 1))
    tensor([[12.],
            [12.]])
    """
    from ..linalg.products import multi_dot

    return matrices[0] if len(matrices) == 1 else multi_dot(matrices, out=out)
