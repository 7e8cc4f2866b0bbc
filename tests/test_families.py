"""Reductions, scans, orderings and moves at every dtype they take, in every layout, with NaN and infinities among the
values: against NumPy on the same elements."""

import itertools

import numpy as np
import pytest

import flambeau as fb

KINDS = {"b": ["bool"], "u": ["uint8"], "i": ["int8", "int16", "int32", "int64"], "h": ["float16", "bfloat16"],
         "f": ["float32", "float64"], "c": ["complex64", "complex128"]}  # fmt: skip
WIDE = {"bool": np.int64, "uint8": np.int64, "int8": np.int64, "int16": np.int64, "int32": np.int64}


def summed(x, name):
    """The dtype in which a sum or product of these is kept."""
    return x.astype(WIDE.get(name, x.dtype))


# Name -> call on a tensor, the same on an array (and its dtype's name), the kinds of dtype, whether it is exact.
CASES = {
    "sum": (lambda x: x.sum(0), lambda a, n: summed(a, n).sum(0), "buihfc", False),
    "sum of all": (lambda x: x.sum(), lambda a, n: summed(a, n).sum(), "buihfc", False),
    "prod": (lambda x: x.prod(1), lambda a, n: summed(a, n).prod(1), "buihfc", False),
    "mean": (lambda x: x.mean(1), lambda a, n: a.mean(1), "hfc", False),
    "amax": (lambda x: x.amax(0), lambda a, n: a.max(0), "buihf", True),
    "amin": (lambda x: x.amin(1), lambda a, n: a.min(1), "buihf", True),
    "argmax": (lambda x: x.argmax(0), lambda a, n: a.argmax(0), "uihf", True),
    "argmin": (lambda x: x.argmin(1), lambda a, n: a.argmin(1), "uihf", True),
    "any": (lambda x: x.any(0).bool(), lambda a, n: a.astype(bool).any(0), "buihfc", True),
    "all": (lambda x: x.all(1).bool(), lambda a, n: a.astype(bool).all(1), "buihfc", True),
    "count_nonzero": (lambda x: x.count_nonzero(0), lambda a, n: np.count_nonzero(a, 0), "buihfc", True),
    "nansum": (lambda x: x.nansum(1), lambda a, n: np.nansum(summed(a, n), 1), "buihf", False),
    "cumsum": (lambda x: x.cumsum(0), lambda a, n: summed(a, n).cumsum(0), "buihfc", False),
    "cumprod": (lambda x: x.cumprod(1), lambda a, n: summed(a, n).cumprod(1), "buihfc", False),
    "sort": (lambda x: x.sort(0)[0], lambda a, n: np.sort(a, 0), "buihf", True),
    "argsort": (lambda x: x.argsort(1, stable=True), lambda a, n: np.argsort(a, 1, "stable"), "buihf", True),
    "nonzero": (lambda x: x.nonzero(), lambda a, n: np.argwhere(a), "buihfc", True),
    "flip": (lambda x: x.flip(0, 1), lambda a, n: a[::-1, ::-1], "buihfc", True),
    "roll": (lambda x: x.roll((1, 2), (0, 1)), lambda a, n: np.roll(a, (1, 2), (0, 1)), "buihfc", True),
    "tril": (lambda x: x.tril(), lambda a, n: np.tril(a), "buihfc", True),
    "cat": (lambda x: fb.cat([x, x], 1), lambda a, n: np.concatenate([a, a], 1), "buihfc", True),
    "repeat": (lambda x: x.repeat(2, 1), lambda a, n: np.tile(a, (2, 1)), "buihfc", True),
    "pad": (
        lambda x: fb.nn.functional.pad(x, (1, 2)),
        lambda a, n: np.pad(a, ((0, 0), (1, 2))),
        "buihfc",
        True,
    ),
    "indices": (lambda x: x[[2, 0]], lambda a, n: a[[2, 0]], "buihfc", True),
    "mask": (lambda x: x[x == x], lambda a, n: a[a == a], "buihfc", True),
    "where": (lambda x: fb.where(x == x, x, 1), lambda a, n: np.where(a == a, a, a.dtype.type(1)), "buihfc", True),
    "gather": (
        lambda x: x.gather(0, fb.tensor([[1, 0, 2, 1, 0]])),
        lambda a, n: np.take_along_axis(a, np.array([[1, 0, 2, 1, 0]]), 0),
        "buihfc",
        True,
    ),
    "searchsorted": (
        lambda x: fb.searchsorted(x[0].sort()[0], x[1].contiguous()),
        lambda a, n: np.searchsorted(np.sort(a[0]), a[1]),
        "uif",
        True,
    ),
}  # fmt: skip
CALLS = [(c, n) for c, case in CASES.items() for k in case[2] for n in KINDS[k]]


def elements(name):
    """(3, 5) elements of the dtype, the special and the largest ones among them."""
    rng = np.random.default_rng(0)
    if name == "bool":
        return rng.integers(0, 2, (3, 5)).astype(bool)
    if "int" in name:
        info = np.iinfo(name)
        a = rng.integers(max(info.min, -9), 9, (3, 5)).astype(name)
        a[0, 0], a[2, 1] = info.max, info.min
        return a
    a = np.round(rng.normal(size=(3, 5)) * 16) / 8
    if name.startswith("complex"):
        a = a + 1j * np.round(rng.normal(size=(3, 5)) * 16) / 8
        a[1, 3] = complex(np.nan, 1)
        return a.astype(name)
    a[0, 1], a[1, 1], a[2, 2], a[0, 4] = np.inf, -np.inf, np.nan, -0.0
    return a.astype("float32" if name in ("float16", "bfloat16") else name)


LAYOUTS = {
    "contiguous": lambda x: x.clone(),
    "transposed": lambda x: x.t().contiguous().t(),
    "every second": lambda x: x.repeat_interleave(2, 0).repeat_interleave(2, 1)[::2, ::2],
    "offset": lambda x: fb.cat([x[:1], x])[1:],
}


@pytest.mark.parametrize(("case", "name"), CALLS, ids=lambda v: str(v))
def test_against_numpy_in_every_layout(case, name):
    call, reference, _, exact = CASES[case]
    a = elements(name)
    x = fb.from_numpy(a).to(getattr(fb, name))
    half = name in ("float16", "bfloat16")
    with np.errstate(all="ignore"):
        expected = reference(a, name)
    results = [call(layout(x)) for layout in LAYOUTS.values()]
    first = results[0]
    assert all(r.dtype is first.dtype and r.shape == first.shape for r in results)
    found = [(r.to(fb.float32) if r.dtype in (fb.float16, fb.bfloat16) else r).numpy() for r in results]
    assert all(np.array_equal(f, found[0], equal_nan=f.dtype.kind in "fc") for f in found)
    limit = 0 if exact or a.dtype.kind in "bui" else 2e-2 if half else 1e-5
    np.testing.assert_allclose(found[0], expected, rtol=limit, atol=limit)
    if first.is_floating_point() or first.is_complex():
        assert first.dtype is x.dtype


@pytest.mark.parametrize("name", list(itertools.chain(*KINDS.values())))
def test_empty_and_0_dimensional(name):
    dtype = getattr(fb, name)
    none, one = fb.zeros(0, 3, dtype=dtype), fb.ones((), dtype=dtype)
    assert none.sum(0).tolist() == [0] * 3 and none.sum(1).shape == (0,) and none.prod().item() == 1
    assert none.cumsum(0).shape == (0, 3) and none.flip(0).shape == (0, 3) and none.nonzero().shape == (0, 2)
    assert (
        one.sum().item() == 1
        and one.cumsum(0).item() == 1
        and one.flip(0).shape == ()
        and one.nonzero().shape == (1, 0)
    )
    assert fb.cat([none, fb.ones(2, 3, dtype=dtype)]).shape == (2, 3)
    if not dtype.is_complex:
        assert none.sort(1)[0].shape == (0, 3) and one.sort()[0].item() == 1 and one.amax().item() == 1
        with pytest.raises((IndexError, RuntimeError)):
            none.amax(0)


def test_numbers_at_the_edge_of_the_dtype_do_not_overflow_on_the_way():
    big = np.finfo(np.float32).max
    x = fb.tensor([big, big, -big, -big])
    assert x.mean().isfinite() and x.logsumexp(0).item() == big and x.softmax(0).sum().item() == 1
    assert fb.tensor([3e38, 3e38, 3e38]).mean(dtype=fb.float64).item() == pytest.approx(3e38)
    assert fb.hypot(fb.tensor(1e38), fb.tensor(1e38)).item() == pytest.approx(np.sqrt(2) * 1e38)
