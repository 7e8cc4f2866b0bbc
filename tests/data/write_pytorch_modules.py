"""Writes pytorch_modules.json: how PyTorch's modules are made, shown, saved, and what they compute.

For tests/test_nn_golden.py. Run it where PyTorch is installed: python tests/data/write_pytorch_modules.py. Everything
but `main` runs on flambeau too. A case is (module, arguments, keyword arguments, inputs); an input is a shape for
floats, or a list of whole numbers.
"""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

X1, X2, X3 = (2, 4, 9), (2, 4, 8, 8), (2, 4, 5, 6, 5)
CLASSES = [1, 0, 2, 5]
CASES: list[tuple] = []


def case(name, *args, inputs=((4, 6),), **kwargs):
    CASES.append((name, list(args), kwargs, [list(i) for i in inputs]))


for _name in [
    "ReLU",
    "ReLU6",
    "SELU",
    "CELU",
    "ELU",
    "GELU",
    "SiLU",
    "Mish",
    "Sigmoid",
    "Tanh",
    "LogSigmoid",
    "Softplus",
    "Softsign",
    "Tanhshrink",
    "Hardtanh",
    "Hardswish",
    "Hardsigmoid",
    "Hardshrink",
    "Softshrink",
    "LeakyReLU",
    "PReLU",
    "Identity",
    "GLU",
    "Flatten",
    "Dropout",
]:
    case(_name)
for _name in [
    "ReLU",
    "ReLU6",
    "SELU",
    "CELU",
    "ELU",
    "SiLU",
    "Mish",
    "Hardtanh",
    "Hardswish",
    "Hardsigmoid",
    "LeakyReLU",
    "RReLU",
]:
    case(_name, inplace=True)
case("GELU", approximate="tanh")
case("PReLU", 4, init=0.1, inputs=[X2])
case("Threshold", 0.1, 20.0)
case("ELU", 0.5)
case("Softplus", 2.0, 3.0)
for _name in ("Softmax", "Softmin", "LogSoftmax"):
    case(_name, dim=-1)
case("Softmax2d", inputs=[X2])
case("Linear", 6, 3)
case("Linear", 6, 3, bias=False)
case("Bilinear", 6, 5, 3, inputs=[(4, 6), (4, 5)])
for _d, _x in ((1, X1), (2, X2), (3, X3)):
    for _kw in (
        {}, {"stride": 2, "padding": 1}, {"padding": 1, "padding_mode": "circular"},
        {"padding": "same", "dilation": 2}, {"groups": 2, "bias": False},
    ):  # fmt: skip
        case(f"Conv{_d}d", 4, 6, 3, inputs=[_x], **_kw)
    for _kw in ({}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "bias": False}):
        case(f"ConvTranspose{_d}d", 4, 6, 3, inputs=[_x], **_kw)
    for _kw in ({}, {"stride": 2, "padding": 1}, {"ceil_mode": True}):
        case(f"MaxPool{_d}d", 3, inputs=[_x], **_kw)
        case(f"AvgPool{_d}d", 3, inputs=[_x], **_kw)
    case(f"AdaptiveAvgPool{_d}d", 3, inputs=[_x])
    case(f"AdaptiveMaxPool{_d}d", 3, inputs=[_x])
    case(f"LPPool{_d}d", 2, 2, inputs=[_x])
    for _kw in ({}, {"affine": False}, {"track_running_stats": False}, {"momentum": None, "eps": 0.1}):
        case(f"BatchNorm{_d}d", 4, inputs=[_x], **_kw)
    case(f"InstanceNorm{_d}d", 4, affine=True, track_running_stats=True, inputs=[_x])
    for _name in ("Zero", "Reflection", "Replication", "Circular"):
        case(f"{_name}Pad{_d}d", 1, inputs=[_x])
    case(f"ConstantPad{_d}d", 1, 0.5, inputs=[_x])
    case(f"Dropout{_d}d", 0.3, inputs=[_x])
    case(f"LazyConv{_d}d", 6, 3, inputs=[_x])
    case(f"LazyConvTranspose{_d}d", 6, 3, inputs=[_x])
    case(f"LazyBatchNorm{_d}d", inputs=[_x])
    case(f"LazyInstanceNorm{_d}d", affine=True, inputs=[_x])
case("LazyLinear", 3)
case("LayerNorm", 6)
case("LayerNorm", [8, 8], bias=False, inputs=[X2])
case("GroupNorm", 2, 4, inputs=[X2])
case("RMSNorm", 6)
case("LocalResponseNorm", 3, inputs=[X2])
case("Embedding", 7, 3, padding_idx=2, inputs=[CLASSES])
case("EmbeddingBag", 7, 3, mode="sum", inputs=[CLASSES, [0, 2]])
case("CosineSimilarity", inputs=[(3, 5), (3, 5)])
case("PairwiseDistance", 1.0, keepdim=True, inputs=[(3, 5), (3, 5)])
case("Unflatten", 1, [2, 2], inputs=[X2])
case("Fold", [4, 5], [2, 2], inputs=[(2, 12, 12)])
case("Unfold", [2, 3], padding=1, stride=2, inputs=[X2])
case("PixelShuffle", 2, inputs=[X2])
case("PixelUnshuffle", 2, inputs=[X2])
case("ChannelShuffle", 2, inputs=[X2])
case("Upsample", scale_factor=2, mode="bilinear", inputs=[X2])
case("UpsamplingNearest2d", scale_factor=2, inputs=[X2])
case("UpsamplingBilinear2d", [5, 5], inputs=[X2])
case("AlphaDropout", 0.2)
case("FeatureAlphaDropout", 0.2)
for _name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "PoissonNLLLoss", "SoftMarginLoss"):
    case(_name, reduction="sum", inputs=[(4, 6), (4, 6)])
for _name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"):
    case(_name, inputs=[(4, 6), CLASSES])
case("CrossEntropyLoss", label_smoothing=0.1, ignore_index=2, inputs=[(4, 6), CLASSES])
case("BCEWithLogitsLoss", inputs=[(4, 6), (4, 6)])
case("MarginRankingLoss", margin=0.1, inputs=[(4,), (4,), (4,)])
case("TripletMarginLoss", swap=True, inputs=[(4, 6), (4, 6), (4, 6)])
case("MultiLabelSoftMarginLoss", inputs=[(4, 6), (4, 6)])
case("LinearCrossEntropyLoss", 6, 7, inputs=[(4, 6), CLASSES])
case("AdaptiveLogSoftmaxWithLoss", 6, 20, [2, 4], inputs=[(4, 6), CLASSES])
for _name in ("RNN", "LSTM", "GRU"):
    case(_name, 6, 5, inputs=[(3, 2, 6)])
    case(_name, 6, 5, num_layers=2, bidirectional=True, batch_first=True, inputs=[(3, 2, 6)])
    case(f"{_name}Cell", 6, 5)
case("LSTM", 6, 5, proj_size=3, inputs=[(3, 2, 6)])
case("MultiheadAttention", 8, 2, inputs=[(3, 2, 8)] * 3)
case("MultiheadAttention", 8, 2, kdim=5, vdim=6, add_bias_kv=True, inputs=[(3, 2, 8), (4, 2, 5), (4, 2, 6)])
case("TransformerEncoderLayer", 8, 2, 16, dropout=0.0, inputs=[(3, 2, 8)])
case("TransformerEncoderLayer", 8, 2, 16, dropout=0.0, norm_first=True, activation="gelu", inputs=[(3, 2, 8)])
case("TransformerDecoderLayer", 8, 2, 16, dropout=0.0, bias=False, inputs=[(3, 2, 8), (4, 2, 8)])
case("Transformer", 8, 2, 1, 1, 16, dropout=0.0, inputs=[(3, 2, 8), (4, 2, 8)])


def waves(fw, shape, start, dtype):
    """Numbers between -1.3 and 1.3 that look like noise."""
    return (fw.arange(math.prod(shape), dtype=fw.float64) * 1.7 + start).sin().mul(1.3).reshape(shape).to(dtype)


def flat(y):
    """The tensors in an output."""
    if isinstance(y, (tuple, list)):
        return [z for part in y for z in flat(part)]
    return [] if y is None else [y]


def signature(cls):
    """Names, kinds and defaults of the constructor's parameters."""
    return [
        [p.name, p.kind.name, None if p.default is p.empty else "function" if callable(p.default) else repr(p.default)]
        for p in list(inspect.signature(cls.__init__).parameters.values())[1:]
    ]


def tuples(values):
    """Lists as tuples, as after JSON."""
    return tuple(tuple(v) if isinstance(v, list) else v for v in values)


def record(fw, name, args, kwargs, inputs):
    """Text, state, outputs and gradients (as sums with weights) of one case."""
    module = getattr(fw.nn, name)(*tuples(args), **kwargs)
    text = repr(module)
    xs = []
    for i, given in enumerate(inputs):
        index = given is CLASSES or given in (CLASSES, [0, 2])
        xs.append(fw.tensor(given) if index else waves(fw, given, i, fw.float64))
    module.double()
    if name.startswith("Lazy"):
        module(*xs)
        module.double()
    state = module.state_dict()
    for i, (key, value) in enumerate(state.items()):
        if value.is_floating_point():
            value.copy_(waves(fw, tuple(value.shape), 10 * i, fw.float64).abs() + ("running" not in key) * -0.5)
    if "Dropout" in name or name == "RReLU":
        module.eval()
    first = xs[0]
    if first.is_floating_point() and not kwargs.get("inplace"):
        first.requires_grad_(True)
    outputs = flat(module(*xs))
    loss = sum((y * waves(fw, tuple(y.shape), 3, fw.float64)).sum() for y in outputs if y.requires_grad)
    if any(y.requires_grad for y in outputs):
        loss.backward()
    measured = [*outputs, *(t.grad for t in (first, *module.parameters()) if t.grad is not None), *state.values()]
    sums = [float((t.detach().double() * waves(fw, tuple(t.shape), 5, fw.float64)).sum()) for t in measured]
    return {
        "repr": text, "after": repr(module), "state": [[k, list(v.shape)] for k, v in state.items()],
        "outputs": [list(y.shape) for y in outputs], "sums": [float(f"{s:.9g}") for s in sums],
    }  # fmt: skip


def main():
    import torch

    names = sorted({c[0] for c in CASES} - {"RNN"})  # PyTorch's takes anything, as **kwargs
    data = {
        "torch": torch.__version__,
        "signatures": {n: signature(getattr(torch.nn, n)) for n in names},
        "cases": [record(torch, *c) for c in CASES],
    }
    Path(__file__).with_name("pytorch_modules.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
