"""Leaves of the tape and how close gradients must be: what the tests of autograd share."""

from __future__ import annotations

import numpy as np

import flambeau as fb


def leaf(*values: float, dtype: fb.dtype = fb.float64) -> fb.Tensor:
    return fb.tensor(values, dtype=dtype, requires_grad=True)


def close(a: fb.Tensor, b) -> None:
    np.testing.assert_allclose(a.detach().numpy(), np.asarray(b, dtype=np.float64), rtol=1e-12, atol=1e-12)
