"""What a process that a program started runs first: `torch` stands for flambeau here, and in its own children."""

from __future__ import annotations


def install() -> None:
    """Makes `import torch` give flambeau, in this process and those it starts."""
    from . import children, names

    names.install()
    children.install()
