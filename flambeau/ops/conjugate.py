"""Conjugation under PyTorch's names. Here it is carried out at once: no tensor has a conjugate bit to resolve.

Imports core and neighbours in ops. Read next: `pointwise_complex.py`.
"""

from __future__ import annotations

from ..core._core import Tensor
from .matmul import conj as conjugate

__all__ = ["conj", "is_conj", "is_neg", "resolve_conj", "resolve_neg"]


def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself.

    >>> fb.conj(fb.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return conjugate(input)


def resolve_conj(input: Tensor) -> Tensor:
    """x itself: conjugation isn't deferred here.

    >>> fb.resolve_conj(fb.tensor([1 + 2j]).conj())
    tensor([1.-2.j])
    """
    return input


def resolve_neg(input: Tensor) -> Tensor:
    """x itself: negation isn't deferred here.

    >>> fb.resolve_neg(fb.tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    """
    return input


def is_conj(input: Tensor) -> bool:
    """False: conjugation isn't deferred here.

    >>> fb.is_conj(fb.tensor([1 + 2j]).conj())
    False
    """
    return False


def is_neg(input: Tensor) -> bool:
    """False: negation isn't deferred here.

    >>> fb.is_neg(fb.tensor([1 + 2j]).imag)
    False
    """
    return False
