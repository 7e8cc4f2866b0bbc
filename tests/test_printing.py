"""Tensors print as PyTorch prints them: each expected text below came from PyTorch 2.13, its name replaced."""

from __future__ import annotations

import pytest

import flambeau as fb
from flambeau import _printing

inf, nan = float("inf"), float("nan")

CASES = [
    ({}, "fb.tensor(3.5)", "tensor(3.5000)"),
    ({}, "fb.tensor(7)", "tensor(7)"),
    ({}, "fb.tensor(True)", "tensor(True)"),
    ({}, "fb.tensor([1.0, 2.0])", "tensor([1., 2.])"),
    ({}, "fb.tensor([1.0, 2.5])", "tensor([1.0000, 2.5000])"),
    ({}, "fb.tensor([0.0, -0.0])", "tensor([0., -0.])"),
    ({}, "fb.tensor([1.0, 1001.0])", "tensor([1.0000e+00, 1.0010e+03])"),
    ({}, "fb.tensor([1.0, 1000.0])", "tensor([   1., 1000.])"),
    ({}, "fb.tensor([0.00009, 0.0001])", "tensor([9.0000e-05, 1.0000e-04])"),
    ({}, "fb.tensor([123456789.0])", "tensor([1.2346e+08])"),
    ({}, "fb.tensor([99999999.0, 1e8])", "tensor([100000000., 100000000.])"),
    ({}, "fb.tensor([-1.0, inf, nan, -inf])", "tensor([-1., inf, nan, -inf])"),
    ({}, "fb.tensor([0.5, nan, inf])", "tensor([0.5000,    nan,    inf])"),
    ({}, "fb.tensor([nan, inf])", "tensor([nan, inf])"),
    ({}, "fb.tensor([0.1, 100.25, -2.0])", "tensor([ 1.0000e-01,  1.0025e+02, -2.0000e+00])"),
    ({}, "fb.tensor([1e-10, 1.0])", "tensor([1.0000e-10, 1.0000e+00])"),
    ({}, "fb.tensor([True, False])", "tensor([ True, False])"),
    ({}, "fb.tensor([-1, 10, 200])", "tensor([ -1,  10, 200])"),
    ({}, "fb.tensor([1, 2], dtype=fb.int32)", "tensor([1, 2], dtype=flambeau.int32)"),
    ({}, "fb.tensor([[1, 2], [30, 4]], dtype=fb.uint8)", """\
tensor([[ 1,  2],
        [30,  4]], dtype=flambeau.uint8)"""),
    ({}, "fb.tensor([1.5, 2], dtype=fb.float64)", "tensor([1.5000, 2.0000], dtype=flambeau.float64)"),
    ({}, "fb.tensor([1.5, 2], dtype=fb.bfloat16)", "tensor([1.5000, 2.0000], dtype=flambeau.bfloat16)"),
    ({}, "fb.tensor([0.1, 65504], dtype=fb.float16)", "tensor([9.9976e-02, 6.5504e+04], dtype=flambeau.float16)"),
    ({}, "fb.tensor([1 + 2j, -3.5 - 40j])", "tensor([ 1.0000+2.j, -3.5000-40.j])"),
    ({}, "fb.tensor([1 + 1e6j, 2 - 1j])", "tensor([1.+1.0000e+06j, 2.-1.0000e+00j])"),
    ({}, "fb.tensor([1j], dtype=fb.complex128)", "tensor([0.+1.j], dtype=flambeau.complex128)"),
    ({}, "fb.tensor([complex(nan, -0.0), complex(inf, 1)])", "tensor([nan-0.j, inf+1.j])"),
    ({}, "fb.empty(0)", "tensor([])"),
    ({}, "fb.empty(0, 3)", "tensor([], size=(0, 3))"),
    ({}, "fb.empty(2, 0, dtype=fb.int64)", "tensor([], size=(2, 0), dtype=flambeau.int64)"),
    ({}, "fb.empty(0, dtype=fb.float64)", "tensor([], dtype=flambeau.float64)"),
    ({}, "fb.arange(6.0).reshape(2, 3)", """\
tensor([[0., 1., 2.],
        [3., 4., 5.]])"""),
    ({}, "fb.arange(8).reshape(2, 2, 2)", """\
tensor([[[0, 1],
         [2, 3]],

        [[4, 5],
         [6, 7]]])"""),
    ({}, "fb.arange(16).reshape(2, 2, 2, 2) / 8", """\
tensor([[[[0.0000, 0.1250],
          [0.2500, 0.3750]],

         [[0.5000, 0.6250],
          [0.7500, 0.8750]]],


        [[[1.0000, 1.1250],
          [1.2500, 1.3750]],

         [[1.5000, 1.6250],
          [1.7500, 1.8750]]]])"""),
    ({}, "fb.arange(40)", """\
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
        36, 37, 38, 39])"""),
    ({}, "fb.arange(30) / 7", """\
tensor([0.0000, 0.1429, 0.2857, 0.4286, 0.5714, 0.7143, 0.8571, 1.0000, 1.1429,
        1.2857, 1.4286, 1.5714, 1.7143, 1.8571, 2.0000, 2.1429, 2.2857, 2.4286,
        2.5714, 2.7143, 2.8571, 3.0000, 3.1429, 3.2857, 3.4286, 3.5714, 3.7143,
        3.8571, 4.0000, 4.1429])"""),
    ({}, "fb.arange(1001)", "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    ({}, "fb.arange(2000.0).reshape(2, 1000)", """\
tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 9.9700e+02, 9.9800e+02,
         9.9900e+02],
        [1.0000e+03, 1.0010e+03, 1.0020e+03,  ..., 1.9970e+03, 1.9980e+03,
         1.9990e+03]])"""),
    ({}, "fb.arange(10000).reshape(100, 100)", """\
tensor([[   0,    1,    2,  ...,   97,   98,   99],
        [ 100,  101,  102,  ...,  197,  198,  199],
        [ 200,  201,  202,  ...,  297,  298,  299],
        ...,
        [9700, 9701, 9702,  ..., 9797, 9798, 9799],
        [9800, 9801, 9802,  ..., 9897, 9898, 9899],
        [9900, 9901, 9902,  ..., 9997, 9998, 9999]])"""),
    ({}, "fb.arange(1200).reshape(10, 2, 60)", """\
tensor([[[   0,    1,    2,  ...,   57,   58,   59],
         [  60,   61,   62,  ...,  117,  118,  119]],

        [[ 120,  121,  122,  ...,  177,  178,  179],
         [ 180,  181,  182,  ...,  237,  238,  239]],

        [[ 240,  241,  242,  ...,  297,  298,  299],
         [ 300,  301,  302,  ...,  357,  358,  359]],

        ...,

        [[ 840,  841,  842,  ...,  897,  898,  899],
         [ 900,  901,  902,  ...,  957,  958,  959]],

        [[ 960,  961,  962,  ..., 1017, 1018, 1019],
         [1020, 1021, 1022,  ..., 1077, 1078, 1079]],

        [[1080, 1081, 1082,  ..., 1137, 1138, 1139],
         [1140, 1141, 1142,  ..., 1197, 1198, 1199]]])"""),
    ({}, "fb.arange(6).reshape(2, 3).t()", """\
tensor([[0, 3],
        [1, 4],
        [2, 5]])"""),
    ({}, "fb.ones(3, requires_grad=True)", "tensor([1., 1., 1.], requires_grad=True)"),
    ({}, "fb.ones(3, requires_grad=True) * 2", "tensor([2., 2., 2.], grad_fn=<MulBackward0>)"),
    ({}, "fb.arange(14.0).requires_grad_() * 1.5", """\
tensor([ 0.0000,  1.5000,  3.0000,  4.5000,  6.0000,  7.5000,  9.0000, 10.5000,
        12.0000, 13.5000, 15.0000, 16.5000, 18.0000, 19.5000],
       grad_fn=<MulBackward0>)"""),
    ({}, "fb.ones(2, dtype=fb.float64).requires_grad_().exp()",
     "tensor([2.7183, 2.7183], dtype=flambeau.float64, grad_fn=<ExpBackward0>)"),
    ({}, "fb.nn.Parameter(fb.ones(2))", """\
Parameter containing:
tensor([1., 1.], requires_grad=True)"""),
    ({"precision": 2}, "fb.tensor([1.5, 2.125])", "tensor([1.50, 2.12])"),
    ({"precision": 2}, "fb.tensor([1e-7, 1.0])", "tensor([1.00e-07, 1.00e+00])"),
    ({"sci_mode": True}, "fb.tensor([1.5, 2.0])", "tensor([1.5000e+00, 2.0000e+00])"),
    ({"sci_mode": True}, "fb.tensor([0.0, 0.0])", "tensor([0., 0.])"),
    ({"sci_mode": True}, "fb.tensor([1.0, 2.0])", "tensor([1.0000e+00, 2.0000e+00])"),
    ({"sci_mode": False}, "fb.tensor([1e-7, 1e5])", "tensor([     0.0000, 100000.0000])"),
    ({"linewidth": 40}, "fb.arange(12.0)", """\
tensor([ 0.,  1.,  2.,  3.,  4.,  5.,
         6.,  7.,  8.,  9., 10., 11.])"""),
    ({"linewidth": 40}, "fb.ones(6, dtype=fb.float64, requires_grad=True)", """\
tensor([1., 1., 1., 1., 1., 1.],
       dtype=flambeau.float64,
       requires_grad=True)"""),
    ({"threshold": 5, "edgeitems": 1}, "fb.arange(9).reshape(3, 3)", """\
tensor([[0,  ..., 2],
        ...,
        [6,  ..., 8]])"""),
    ({"threshold": 5, "edgeitems": 1}, "fb.tensor([[[1000.0] * 3] * 3] * 3)", """\
tensor([[[1000.,  ..., 1000.],
         ...,
         [1000.,  ..., 1000.]],

        ...,

        [[1000.,  ..., 1000.],
         ...,
         [1000.,  ..., 1000.]]])"""),
    ({"profile": "short"}, "fb.arange(1001) / 3", "tensor([0.00e+00, 3.33e-01,  ..., 3.33e+02, 3.33e+02])"),
    ({"threshold": 5, "edgeitems": 0}, "fb.arange(9)", "tensor([...], size=(9,))"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def default_options():
    yield
    fb.set_printoptions(profile="default")


@pytest.mark.parametrize("options, make, expected", CASES)
def test_as_pytorch(options, make, expected):
    t = eval(make, {"fb": fb, "inf": inf, "nan": nan})
    fb.set_printoptions(**options)
    assert repr(t) == expected


def test_the_full_profile_leaves_nothing_out():
    fb.set_printoptions(profile="full")
    assert repr(fb.arange(1001)).count(",") == 1000


def test_options():
    assert _printing.get_printoptions() == {
        "precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None,
    }  # fmt: skip
    fb.set_printoptions(precision=1, sci_mode=True)
    fb.set_printoptions(linewidth=100)  # what isn't given stays, but sci_mode goes back
    assert _printing.get_printoptions()["precision"] == 1 and _printing.get_printoptions()["sci_mode"] is None
    with pytest.raises(ValueError, match="profile is one of default, short, full, got 'tall'"):
        fb.set_printoptions(profile="tall")


def test_the_default_dtype_is_not_mentioned():
    t = fb.tensor([1.5], dtype=fb.float64)
    assert _printing.tensor_repr(t, "float64") == "tensor([1.5000])"
    assert _printing.tensor_repr(t.float(), "float64") == "tensor([1.5000], dtype=flambeau.float32)"


def test_only_the_edges_of_a_large_tensor_are_read():
    class Watched:
        """A million numbers that refuse to be listed in full."""

        shape, dtype = (1_000_000,), "flambeau.int64"

        def __getitem__(self, index):
            return fb.arange(1_000_000)[index]

        def tolist(self):
            raise AssertionError("the whole tensor was read")

    assert _printing.tensor_repr(Watched()) == "tensor([     0,      1,      2,  ..., 999997, 999998, 999999])"


def test_a_number_in_a_formatted_string_is_a_number():
    """As in PyTorch: `f"{loss}"` of a tensor without dimensions shows its value, other tensors themselves."""
    assert f"{fb.tensor(0.5)} {fb.tensor(3)} {fb.tensor(0.25, requires_grad=True)}" == "0.5 3 0.25"
    assert f"{fb.tensor(0.5):.2f} {fb.tensor([0.5])}" == "0.50 tensor([0.5000])"
