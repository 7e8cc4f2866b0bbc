"""Pruning: a parameter times a mask of zeros and ones, which a method chooses.

Pruning a module's `weight` renames the parameter to `weight_orig`, adds the buffer `weight_mask`, and sets `weight` to
their product before each `forward`, by a hook that is the method itself. Pruning again adds to the mask; the hook is
then a PruningContainer. Imports nn.modules. Read next: `parametrize.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer",
    "RandomStructured", "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned",
    "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip

M = TypeVar("M", bound=Module)


class BasePruningMethod(ABC):
    """A way to choose what is pruned: a subclass sets PRUNING_TYPE and defines `compute_mask`.

    PRUNING_TYPE says what it looks at where something is pruned already: "unstructured", the elements that are left;
    "structured", the slices along `self.dim` in which some are left; "global", everything.

    >>> class Halve(fb.nn.utils.prune.BasePruningMethod):
    ...     PRUNING_TYPE = "unstructured"
    ...     def compute_mask(self, t, default_mask):
    ...         mask = default_mask.clone()
    ...         mask.view(-1)[::2] = 0
    ...         return mask
    >>> layer = fb.nn.Linear(4, 1)
    >>> _ = Halve.apply(layer, "weight")
    >>> layer.weight_mask
    tensor([[0., 1., 0., 1.]])
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` with zeros where, by the importance scores `t`, elements are to go."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune `module`'s parameter `name` by this method, made with the other arguments.

        Args:
            importance_scores: what `compute_mask` looks at, the parameter itself where None.
        """
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        original = getattr(module, name)
        scores = _scores(importance_scores, original, f"parameter {name} of {module}")
        before = {k: h for k, h in module._forward_pre_hooks.items() if _prunes(h, name)}
        if len(before) > 1:
            raise AssertionError(
                f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a "
                "PruningContainer."
            )
        for earlier in before.values():
            container = earlier if isinstance(earlier, PruningContainer) else PruningContainer(earlier)
            container.add_pruning_method(method)
            method = container
        mask = getattr(module, name + "_mask").detach().clone() if before else fb.ones_like(original)
        mask = method.compute_mask(scores, default_mask=mask)
        # Nothing was changed so far, so a method that refuses leaves the module as it was.
        for key in before:
            del module._forward_pre_hooks[key]
        if not before:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A pruned copy of `t`, without a module."""
        scores = _scores(importance_scores, t, "tensor t")
        return t * self.compute_mask(scores, default_mask=fb.ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Make the pruned parameter an ordinary one; what is pruned stays zero."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = pruned.detach()
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _scores(scores: Tensor | None, t: Tensor, what: str) -> Tensor:
    if scores is not None and scores.shape != t.shape:
        raise AssertionError(f"importance_scores should have the same shape as {what}, got {scores.shape} vs {t.shape}")
    return (t if scores is None else scores).detach()


def _prunes(hook: Any, name: str) -> bool:
    return isinstance(hook, BasePruningMethod) and hook._tensor_name == name


class PruningContainer(BasePruningMethod):
    """Several methods for one parameter, one after the other; only the last adds to the mask.

    >>> prune, layer = fb.nn.utils.prune, fb.nn.Linear(2, 1)
    >>> layer = prune.custom_from_mask(layer, "weight", fb.tensor([[1, 0]]))
    >>> layer = prune.custom_from_mask(layer, "weight", fb.tensor([[0, 1]]))
    >>> layer.weight_mask
    tensor([[0., 0.]])
    """

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add a method for the same parameter.

        Raises:
            TypeError: where it isn't a pruning method.
            ValueError: where it is for another parameter.
        """
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to "
                f"PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` with what the last method prunes of what is left."""
        method, mask = self._pruning_methods[-1], default_mask.to(dtype=t.dtype)
        where: Any
        if method.PRUNING_TYPE == "unstructured":
            where = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.'
                )
            _check_dim(t, method.dim)
            dim = method.dim % t.dim()
            kept = default_mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
            where = tuple(kept if d == dim else slice(None) for d in range(t.dim()))
        elif method.PRUNING_TYPE == "global":
            where = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[where] = method.compute_mask(t[where], default_mask=default_mask[where]).to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing: only makes the parameter and the mask.

    >>> prune, layer = fb.nn.utils.prune, fb.nn.Linear(2, 1)
    >>> _ = prune.Identity.apply(layer, "weight")
    >>> layer.weight_mask
    tensor([[1., 1.]])
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str) -> BasePruningMethod:  # type: ignore[override]
        return super().apply(module, name)


class _ByAmount(BasePruningMethod):
    """Prunes a number of elements or slices, or a fraction of all."""

    amount: float

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, (int, float)):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if amount < 0 or (isinstance(amount, float) and amount > 1.0):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount

    def _how_many(self, size: int) -> int:
        if isinstance(self.amount, float):
            return round(self.amount * size)
        if self.amount > size:
            raise ValueError(f"amount={self.amount} should be smaller than the number of parameters to prune={size}")
        return self.amount


class _Unstructured(_ByAmount):
    PRUNING_TYPE = "unstructured"

    def _score(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` with zeros where the score is smallest."""
        count = self._how_many(t.numel())
        mask = default_mask.clone(memory_format=fb.contiguous_format)
        if count:
            mask.view(-1)[self._score(t).reshape(-1).topk(count, largest=False).indices] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes elements at random. Args: `amount`, how many, or a fraction.

    >>> fb.nn.utils.prune.RandomUnstructured(amount=3).prune(fb.ones(4, 2)).sum()
    tensor(5.)
    """

    def _score(self, t: Tensor) -> Tensor:
        return fb.rand(t.shape, device=t.device)

    @classmethod
    def apply(cls, module: Module, name: str, amount: float) -> BasePruningMethod:  # type: ignore[override]
        return super().apply(module, name, amount=amount)


class L1Unstructured(_Unstructured):
    """Prunes the elements nearest to 0. Args: `amount`, how many, or a fraction.

    >>> fb.nn.utils.prune.L1Unstructured(amount=2).prune(fb.tensor([0.1, -3.0, 0.2, 4.0]))
    tensor([ 0., -3.,  0.,  4.])
    """

    def _score(self, t: Tensor) -> Tensor:
        return t.abs()

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: float, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


def _check_dim(t: Tensor, dim: int) -> None:
    if not -t.dim() <= dim < t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


class _Structured(_ByAmount):
    PRUNING_TYPE = "structured"
    dim: int

    def _score(self, t: Tensor) -> Tensor:
        """One number for each slice along `dim`."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` with zeros in the slices along `dim` whose score is smallest."""
        if t.dim() <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.dim()} dims"
            )
        _check_dim(t, self.dim)
        count = self._how_many(t.shape[self.dim])
        if not count:
            return default_mask
        kept = fb.ones(t.shape[self.dim], dtype=t.dtype, device=t.device)
        kept[self._score(t).topk(count, largest=False).indices] = 0
        shape = [1] * t.dim()
        shape[self.dim] = -1
        return kept.reshape(shape) * default_mask.to(dtype=t.dtype)


class RandomStructured(_Structured):
    """Prunes whole slices along `dim` at random. Args: `amount`, how many, or a fraction.

    >>> fb.nn.utils.prune.RandomStructured(amount=1, dim=0).prune(fb.ones(3, 2)).sum()
    tensor(4.)
    """

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _score(self, t: Tensor) -> Tensor:
        return fb.rand(t.shape[self.dim])

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: float, dim: int = -1
    ) -> BasePruningMethod:
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """Prunes the slices along `dim` with the smallest n-norm. Args: `amount`, how many, or a fraction.

    >>> fb.nn.utils.prune.LnStructured(amount=1, n=2, dim=0).prune(fb.tensor([[0.1, 0.2], [3.0, 4.0]]))
    tensor([[0., 0.],
            [3., 4.]])
    """

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.n, self.dim = n, dim

    def _score(self, t: Tensor) -> Tensor:
        dim = self.dim % t.dim()
        return t.norm(p=self.n, dim=[d for d in range(t.dim()) if d != dim])

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is 0.

    >>> prune, layer = fb.nn.utils.prune, fb.nn.Linear(2, 1)
    >>> _ = prune.CustomFromMask.apply(layer, "weight", mask=fb.tensor([[1, 0]]))
    >>> layer.weight_mask
    tensor([[1., 0.]])
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` times the given mask."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"mask: expected shape {default_mask.shape}, got {self.mask.shape}")
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor) -> BasePruningMethod:  # type: ignore[override]
        return super().apply(module, name, mask=mask)


def identity(module: M, name: str) -> M:
    """Make the parameter a pruned one without pruning anything; returns `module`.

    >>> layer = fb.nn.utils.prune.identity(fb.nn.Linear(2, 1), "weight")
    >>> sorted(name for name, _ in layer.named_parameters()), layer.weight_mask
    (['bias', 'weight_orig'], tensor([[1., 1.]]))
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: M, name: str, amount: float) -> M:
    """Prune elements at random: `amount` of them, or that fraction; returns `module`.

    >>> layer = fb.nn.utils.prune.random_unstructured(fb.nn.Linear(4, 4), "weight", amount=0.25)
    >>> layer.weight_mask.sum()
    tensor(12.)
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: M, name: str, amount: float, importance_scores: Tensor | None = None) -> M:
    """Prune the elements nearest to 0: `amount` of them, or that fraction; returns `module`.

    >>> import flambeau as fb
    >>> layer = fb.nn.utils.prune.l1_unstructured(fb.nn.Linear(4, 2), "weight", amount=3)
    >>> int((layer.weight == 0).sum()), sorted(layer.state_dict())
    (3, ['bias', 'weight_mask', 'weight_orig'])
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: M, name: str, amount: float, dim: int) -> M:
    """Prune whole slices along `dim` at random: `amount` of them, or that fraction; returns `module`.

    >>> layer = fb.nn.utils.prune.random_structured(fb.nn.Linear(2, 4), "weight", amount=0.5, dim=0)
    >>> layer.weight_mask.sum(1).sort().values
    tensor([0., 0., 2., 2.])
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: M, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> M:
    """Prune the slices along `dim` with the smallest n-norm; returns `module`.

    >>> layer = fb.nn.Linear(2, 2)
    >>> layer.weight.data = fb.tensor([[0.1, 0.2], [3.0, 4.0]])
    >>> fb.nn.utils.prune.ln_structured(layer, "weight", amount=1, n=2, dim=0).weight_mask
    tensor([[0., 0.],
            [1., 1.]])
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: M, name: str, mask: Tensor) -> M:
    """Prune where `mask` is 0; returns `module`.

    >>> layer = fb.nn.utils.prune.custom_from_mask(fb.nn.Linear(2, 1), "weight", fb.tensor([[1, 0]]))
    >>> layer.weight[0, 1].item() == 0
    True
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None, **kwargs: Any,
) -> None:  # fmt: skip
    """Prune several parameters as if they were one, each being a pair (module, name).

    Args:
        pruning_method: an unstructured one, made with `kwargs`.
        importance_scores: by pair; the parameter itself where there is none.

    Raises:
        TypeError: where `parameters` or `importance_scores` are of a wrong type, or the method is structured.

    >>> prune, a, b = fb.nn.utils.prune, fb.nn.Linear(2, 2), fb.nn.Linear(2, 2)
    >>> _ = fb.nn.init.constant_(a.weight, 0.1), fb.nn.init.constant_(b.weight, 5.0)
    >>> prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=0.5)
    >>> a.weight_mask.sum().item(), b.weight_mask.sum().item()
    (0.0, 4.0)
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    method._tensor_name = "all of them"
    places = list(parameters)
    tensors = [getattr(module, name) for module, name in places]
    with fb.no_grad():
        flat = parameters_to_vector([scores.get(place, t) for place, t in zip(places, tensors, strict=True)])
        masks = [getattr(m, name + "_mask", fb.ones_like(t)) for (m, name), t in zip(places, tensors, strict=True)]
        mask = PruningContainer(method).compute_mask(flat, parameters_to_vector(masks))
    for (module, name), part in zip(places, mask.split([t.numel() for t in tensors]), strict=True):
        custom_from_mask(module, name, part.reshape(getattr(module, name).shape))


def remove(module: M, name: str) -> M:
    """Make a pruned parameter an ordinary one, zeros included; returns `module`. ValueError where it isn't pruned.

    >>> layer = fb.nn.utils.prune.custom_from_mask(fb.nn.Linear(2, 1), "weight", fb.tensor([[1, 0]]))
    >>> layer = fb.nn.utils.prune.remove(layer, "weight")
    >>> type(layer.weight).__name__, layer.weight[0, 1].item() == 0
    ('Parameter', True)
    """
    for key, hook in module._forward_pre_hooks.items():
        if _prunes(hook, name):
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether something in the module's tree is pruned.

    >>> layer = fb.nn.Linear(2, 1)
    >>> fb.nn.utils.prune.is_pruned(layer), fb.nn.utils.prune.is_pruned(fb.nn.utils.prune.identity(layer, "weight"))
    (False, True)
    """
    return any(isinstance(h, BasePruningMethod) for m in module.modules() for h in m._forward_pre_hooks.values())
