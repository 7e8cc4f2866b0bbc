"""Pytrees: nested tuples, lists, dicts and registered containers of leaves, taken apart and put together again.

PyTorch's `torch.utils._pytree` as far as programs use it. Imports nothing. Read next: `func/mapping.py`.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

PyTree = Any

__all__ = [
    "PyTree", "TreeSpec", "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_iter", "tree_leaves",
    "tree_map", "tree_map_", "tree_map_only", "tree_structure", "tree_unflatten",
]  # fmt: skip


class Container(NamedTuple):
    """How containers of one type come apart, into (children, context), and are made again of both."""

    flatten_fn: Callable[[Any], tuple[list[Any], Any]]
    unflatten_fn: Callable[[Iterable[Any], Any], Any]


def named_fields(x: Any) -> tuple[list[Any], Any]:
    return list(x), type(x)


CONTAINERS: dict[Any, Container] = {
    tuple: Container(lambda x: (list(x), None), lambda children, _: tuple(children)),
    list: Container(lambda x: (list(x), None), lambda children, _: list(children)),
    dict: Container(
        lambda x: (list(x.values()), list(x)), lambda children, keys: dict(zip(keys, children, strict=True))
    ),
    OrderedDict: Container(
        lambda x: (list(x.values()), list(x)), lambda children, keys: OrderedDict(zip(keys, children, strict=True))
    ),
    defaultdict: Container(
        lambda x: (list(x.values()), [x.default_factory, list(x)]),
        lambda children, made: defaultdict(made[0], zip(made[1], children, strict=True)),
    ),
    deque: Container(lambda x: (list(x), x.maxlen), lambda children, maxlen: deque(children, maxlen)),
    namedtuple: Container(named_fields, lambda children, kind: kind(*children)),
}


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[list[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    **_: Any,
) -> None:
    """Makes instances of a class containers: flatten_fn(x) -> (children, context), unflatten_fn(children, context)."""
    if cls in CONTAINERS:
        raise ValueError(f"register_pytree_node: {cls.__name__} is registered already")
    CONTAINERS[cls] = Container(flatten_fn, unflatten_fn)


def container_of(x: Any) -> Any:
    """The key of x in CONTAINERS, None for a leaf."""
    kind = type(x)
    if kind in CONTAINERS:
        return kind
    return namedtuple if isinstance(x, tuple) and hasattr(x, "_fields") else None


class TreeSpec:
    """The structure of a tree: what container, with what context and children; a leaf has none."""

    __slots__ = ("children_specs", "context", "num_leaves", "type")

    def __init__(self, type: Any = None, context: Any = None, children_specs: Iterable[TreeSpec] = ()) -> None:
        self.type, self.context, self.children_specs = type, context, list(children_specs)
        self.num_leaves: int = 1 if type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreeSpec):
            return NotImplemented
        mine, theirs = (self.type, self.context), (other.type, other.context)
        return mine == theirs and self.children_specs == other.children_specs

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves))

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context}, [{', '.join(map(repr, self.children_specs))}])"


def tree_flatten(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves in order, and what they were taken from.

    >>> from flambeau.utils._pytree import tree_flatten
    >>> tree_flatten([1, {"a": 2}])
    ([1, 2], TreeSpec(list, None, [*, TreeSpec(dict, ['a'], [*])]))
    """
    leaves: list[Any] = []

    def walk(x: Any) -> TreeSpec:
        kind = None if is_leaf is not None and is_leaf(x) else container_of(x)
        if kind is None:
            leaves.append(x)
            return TreeSpec()
        children, context = CONTAINERS[kind].flatten_fn(x)
        return TreeSpec(kind, context, [walk(c) for c in children])

    spec = walk(tree)
    return leaves, spec


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree of a structure with these leaves. Raises ValueError unless their number fits."""
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten: {treespec} has {treespec.num_leaves} leaves, got {len(given)}")
    rest = iter(given)

    def build(spec: TreeSpec) -> Any:
        if spec.type is None:
            return next(rest)
        return CONTAINERS[spec.type].unflatten_fn([build(c) for c in spec.children_specs], spec.context)

    return build(treespec)


def tree_leaves(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> Iterable[Any]:
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """The tree of func(leaf, *leaves of the other trees at the same place).

    >>> from flambeau.utils._pytree import tree_map
    >>> tree_map(lambda x, y: x + y, (1, [2]), (10, [20]))
    (11, [22])
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for rest in rests:
        found, other = tree_flatten(rest, is_leaf)
        if other != spec:
            raise ValueError(f"tree_map: the trees differ in structure: {spec} and {other}")
        others.append(found)
    return tree_unflatten([func(*xs) for xs in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: PyTree, *rests: PyTree) -> PyTree:
    """Calls func for each leaf and returns the tree itself."""
    tree_map(func, tree, *rests)
    return tree


def tree_map_only(kind: Any, func: Callable[[Any], Any], tree: PyTree) -> PyTree:
    """The tree with func applied to leaves of a type."""
    return tree_map(lambda x: func(x) if isinstance(x, kind) else x, tree)


def tree_all(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return any(map(pred, tree_leaves(tree)))


def broadcast_prefix(prefix: PyTree, spec: TreeSpec, is_leaf: Callable[[PyTree], bool]) -> list[Any] | None:
    """A leaf for each leaf of `spec`, from a tree whose leaves may stand for subtrees; None where they don't fit."""
    if is_leaf(prefix):
        return [prefix] * spec.num_leaves
    kind = container_of(prefix)
    if kind is None or spec.type is not kind:
        return None
    children, context = CONTAINERS[kind].flatten_fn(prefix)
    if context != spec.context or len(children) != len(spec.children_specs):
        return None
    found: list[Any] = []
    for child, below in zip(children, spec.children_specs, strict=True):
        part = broadcast_prefix(child, below, is_leaf)
        if part is None:
            return None
        found += part
    return found
