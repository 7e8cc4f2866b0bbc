"""Support for tests of programs: `assert_close` compares results, `make_tensor` draws inputs.

Imports the tensor core. Read next: `comparison.py`.
"""

from flambeau.testing.comparison import assert_allclose, assert_close
from flambeau.testing.creation import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]
