"""Memory-bound ops: sixteen million floats (64 MB), results in fresh memory unless the name says otherwise.

`traffic` counts each operand read once and each result written once.
"""

from __future__ import annotations

from .case import case

N = 1 << 24
READ = WRITE = 4.0 * N
ROWS = (4096, 4096)


@case("a + b", reach=0.40, traffic=2 * READ + WRITE, share=0.85)
def add(fb):
    return "a + b", {"a": fb.rand(N), "b": fb.rand(N)}


@case("gelu", reach=0.40, traffic=READ + WRITE)
def gelu(fb):
    return "gelu(a)", {"gelu": fb.nn.functional.gelu, "a": fb.randn(N)}


@case("tanh", reach=0.40, traffic=READ + WRITE)
def tanh(fb):
    return "a.tanh()", {"a": fb.randn(N)}


@case("layer_norm over rows of 4096", reach=0.40, traffic=READ + WRITE, share=0.85)
def layer_norm(fb):
    names = {"norm": fb.nn.functional.layer_norm, "a": fb.randn(ROWS), "w": fb.rand(4096), "b": fb.rand(4096)}
    return "norm(a, (4096,), w, b)", names


@case("softmax over rows of 4096", reach=0.40, traffic=READ + WRITE, share=0.85)
def softmax(fb):
    return "a.softmax(-1)", {"a": fb.randn(ROWS)}


@case("sum", reach=0.40, traffic=READ, share=0.85)
def sum(fb):
    return "a.sum()", {"a": fb.rand(N)}


@case("a.clone()", traffic=READ + WRITE, share=0.85)
def clone(fb):
    return "a.clone()", {"a": fb.rand(N)}


@case("a.add_(b)", traffic=2 * READ + WRITE, share=0.85)
def add_in_place(fb):
    return "a.add_(b)", {"a": fb.zeros(N), "b": fb.zeros(N)}


@case("exp", traffic=READ + WRITE)
def exp(fb):
    return "a.exp()", {"a": fb.randn(N)}


@case("a ** 2.5", traffic=READ + WRITE)
def power(fb):
    return "a ** 2.5", {"a": fb.rand(N)}


@case("mish", traffic=READ + WRITE)
def mish(fb):
    return "mish(a)", {"mish": fb.nn.functional.mish, "a": fb.randn(N)}


@case("where(mask, a, b)", traffic=2 * READ + WRITE + N)
def where(fb):
    a = fb.randn(N)
    return "where(mask, a, b)", {"where": fb.where, "mask": a > 0, "a": a, "b": fb.rand(N)}


@case("masked_fill", traffic=READ + WRITE + N)
def masked_fill(fb):
    a = fb.randn(N)
    return "a.masked_fill(mask, 0.0)", {"a": a, "mask": a > 0}


@case("relu of bfloat16", traffic=(READ + WRITE) / 2)
def relu_bfloat16(fb):
    return "a.relu()", {"a": fb.randn(N).to(fb.bfloat16)}


@case("float32 to bfloat16", traffic=READ + WRITE / 2)
def to_bfloat16(fb):
    return "a.to(dtype)", {"a": fb.randn(N), "dtype": fb.bfloat16}


@case("chain of eight ops", traffic=8 * (READ + WRITE))
def chain(fb):
    return "((((a * 2 + 1).tanh() - 0.5) * 3).relu() + 1) * 0.1", {"a": fb.randn(N)}


@case("mse_loss", traffic=2 * READ)
def mse_loss(fb):
    return "loss(a, b)", {"loss": fb.nn.functional.mse_loss, "a": fb.rand(N), "b": fb.rand(N)}


@case("var", traffic=READ)
def var(fb):
    return "a.var()", {"a": fb.rand(N)}


@case("max over dimension 0", traffic=READ)
def max(fb):
    return "a.max(0)", {"a": fb.rand(ROWS)}


@case("argmax of rows", traffic=READ)
def argmax(fb):
    return "a.argmax(1)", {"a": fb.rand(ROWS)}


@case("sum over dimension 0", traffic=READ)
def sum_columns(fb):
    return "a.sum(0)", {"a": fb.rand(ROWS)}


@case("cumsum over dimension 0", traffic=READ + WRITE)
def cumsum(fb):
    return "a.cumsum(0)", {"a": fb.rand(ROWS)}


@case("a.t().contiguous()", traffic=READ + WRITE)
def transpose(fb):
    return "a.t().contiguous()", {"a": fb.rand(ROWS)}


@case("NCHW to NHWC", traffic=READ + WRITE)
def to_nhwc(fb):
    return "a.permute(0, 2, 3, 1).contiguous()", {"a": fb.rand(64, 64, 64, 64)}


@case("x[x > 0]", traffic=READ + WRITE / 2)
def boolean_index(fb):
    return "a[mask]", {"a": (a := fb.randn(N)), "mask": a > 0}


@case("rows by index, 65536 of 256", traffic=READ + WRITE)
def embedding(fb):
    names = {"table": fb.rand(65536, 256), "index": fb.randint(0, 65536, (65536,))}
    return "embedding(index, table)", {"embedding": fb.nn.functional.embedding, **names}


@case("dropout", traffic=READ + WRITE)
def dropout(fb):
    return "dropout(a, 0.1)", {"dropout": fb.nn.functional.dropout, "a": fb.rand(N)}


@case("rand", traffic=WRITE)
def rand(fb):
    return f"rand({N})", {"rand": fb.rand}


@case("randn", traffic=WRITE)
def randn(fb):
    return f"randn({N})", {"randn": fb.randn}


@case("cross_entropy of (16384, 1024), forward + backward", traffic=2 * READ + WRITE)
def cross_entropy(fb):
    x = fb.randn(16384, 1024, requires_grad=True)
    names = {"loss": fb.nn.functional.cross_entropy, "x": x, "y": fb.randint(0, 1024, (16384,))}
    return "loss(x, y).backward(); x.grad = None", names


@case("layer_norm over rows of 4096, forward + backward", traffic=3 * READ + 2 * WRITE)
def layer_norm_backward(fb):
    a, g = fb.randn(ROWS, requires_grad=True), fb.rand(ROWS)
    weight = fb.rand(4096, requires_grad=True)
    names = {"norm": fb.nn.functional.layer_norm, "a": a, "w": weight, "g": g}
    return "norm(a, (4096,), w).backward(g); a.grad = w.grad = None", names


@case("sort, 4 M")
def sort(fb):
    return "a.sort()", {"a": fb.rand(1 << 22)}


def _resnet18(fb):
    """Parameters of ResNet-18's shapes, with gradients."""
    shapes, wide = [(64, 3, 7, 7), (64,), (64,)], 64
    for channels in (64, 64, 128, 128, 256, 256, 512, 512):
        shapes += [(channels, wide, 3, 3), (channels, channels, 3, 3), *[(channels,)] * 4]
        if wide != channels:
            shapes += [(channels, wide, 1, 1), (channels,), (channels,)]
        wide = channels
    parameters = [fb.nn.Parameter(fb.randn(*s)) for s in (*shapes, (1000, 512), (1000,))]
    for p in parameters:
        p.grad = fb.randn(*p.shape)
    return parameters


@case("AdamW(fused=True) over ResNet-18's parameters", reach=0.5, traffic=7 * 4 * 11.69e6)
def adamw_resnet(fb):
    return "optimizer.step()", {"optimizer": fb.optim.AdamW(_resnet18(fb), lr=1e-3, fused=True)}
