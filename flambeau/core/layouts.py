"""How elements of a tensor are stored: the layouts, which are equal to their names. Imports the core."""

from __future__ import annotations

from . import _core


class layout(str):
    """The type of `strided`, `sparse_coo`, `sparse_csr` and `sparse_csc`.

    >>> fb.ones(1).layout, isinstance(fb.sparse_coo, fb.layout), fb.strided == "strided"
    (flambeau.strided, True, True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{_core.package_name()}.{str.__str__(self)}"

    __str__ = __repr__


strided, sparse_coo, sparse_csr, sparse_csc = map(layout, ("strided", "sparse_coo", "sparse_csr", "sparse_csc"))
LAYOUTS = {str.__str__(x): x for x in (strided, sparse_coo, sparse_csr, sparse_csc)}
_core.set_hook("strided", strided)
