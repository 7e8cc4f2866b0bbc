"""Memory-bound ops: sixteen million floats (64 MB), results in fresh memory unless the name says otherwise.

`traffic` counts each operand read once and each result written once.
"""

from __future__ import annotations

from .case import case

N = 1 << 24
READ = WRITE = 4.0 * N
ROWS = (4096, 4096)
IMAGES = 4.0 * 64 * 64 * 56 * 56
VOCABULARY = 1 << 15


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


@case("chain of twelve ops", reach=0.40, traffic=12 * (READ + WRITE))
def chain_of_twelve(fb):
    chain = "(((((((a * 2 + 1).tanh() - 0.5) * 3).relu() + 1) * 0.1).sigmoid() - 0.2).abs() + 0.3).sqrt()"
    return chain, {"a": fb.randn(N)}


@case("mse_loss", traffic=2 * READ)
def mse_loss(fb):
    return "loss(a, b)", {"loss": fb.nn.functional.mse_loss, "a": fb.rand(N), "b": fb.rand(N)}


@case("var", reach=0.40, traffic=READ)
def var(fb):
    return "a.var()", {"a": fb.rand(N)}


@case("max over dimension 0", traffic=READ)
def max(fb):
    return "a.max(0)", {"a": fb.rand(ROWS)}


@case("argmax of rows", reach=0.40, traffic=READ)
def argmax(fb):
    return "a.argmax(1)", {"a": fb.rand(ROWS)}


@case("sum over dimension 0", traffic=READ)
def sum_columns(fb):
    return "a.sum(0)", {"a": fb.rand(ROWS)}


@case("cumsum over dimension 0", traffic=READ + WRITE)
def cumsum(fb):
    return "a.cumsum(0)", {"a": fb.rand(ROWS)}


@case("a.t().contiguous()", reach=0.40, traffic=READ + WRITE)
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


@case("dropout", reach=0.40, traffic=READ + WRITE)
def dropout(fb):
    return "dropout(a, 0.1)", {"dropout": fb.nn.functional.dropout, "a": fb.rand(N)}


@case("rand", traffic=WRITE)
def rand(fb):
    return f"rand({N})", {"rand": fb.rand}


@case("randn", traffic=WRITE)
def randn(fb):
    return f"randn({N})", {"randn": fb.randn}


@case("bernoulli of 0.3", traffic=WRITE)
def bernoulli(fb):
    return "a.bernoulli_(0.3)", {"a": fb.zeros(N)}


@case("max_pool2d 2×2 of (64, 64, 56, 56)", reach=0.40, traffic=1.25 * IMAGES)
def max_pool2d(fb):
    return "pool(x, 2)", {"pool": fb.nn.functional.max_pool2d, "x": fb.rand(64, 64, 56, 56)}


@case("max_pool2d 3×3 stride 2 of (64, 64, 56, 56), forward + backward", reach=0.40, traffic=2.75 * IMAGES)
def max_pool2d_backward(fb):
    names = {"pool": fb.nn.functional.max_pool2d, "x": fb.rand(64, 64, 56, 56, requires_grad=True)}
    return "pool(x, 3, 2, 1).backward(g); x.grad = None", {**names, "g": fb.rand(64, 64, 28, 28)}


@case("bilinear upsampling of (16, 64, 64, 64) by 2", reach=0.40, traffic=0.25 * READ + WRITE)
def bilinear(fb):
    names = {"interpolate": fb.nn.functional.interpolate, "x": fb.rand(16, 64, 64, 64)}
    return "interpolate(x, scale_factor=2, mode='bilinear')", names


@case("bilinear upsampling of (16, 64, 64, 64) by 2, forward + backward", reach=0.40, traffic=1.5 * READ + 1.25 * WRITE)
def bilinear_backward(fb):
    names = {"interpolate": fb.nn.functional.interpolate, "x": fb.rand(16, 64, 64, 64, requires_grad=True)}
    names["g"] = fb.rand(16, 64, 128, 128)
    return "interpolate(x, scale_factor=2, mode='bilinear').backward(g); x.grad = None", names


@case("batch_norm in training of (64, 64, 56, 56), forward + backward", reach=0.50, traffic=8 * IMAGES)
def batch_norm_backward(fb):
    names = {"layer": fb.nn.BatchNorm2d(64), "x": fb.rand(64, 64, 56, 56, requires_grad=True)}
    return "layer(x).backward(g); x.grad = None", {**names, "g": fb.rand(64, 64, 56, 56)}


@case("softmax over a vocabulary of 32768, 512 rows, forward + backward", reach=0.50, traffic=3 * READ + 2 * WRITE)
def softmax_backward(fb):
    a = fb.randn(512, VOCABULARY, requires_grad=True)
    return "a.softmax(-1).backward(g); a.grad = None", {"a": a, "g": fb.rand(512, VOCABULARY)}


@case("cross_entropy over a vocabulary of 32768, 512 rows, forward + backward", reach=0.50, traffic=2 * READ + WRITE)
def cross_entropy_vocabulary(fb):
    x = fb.randn(512, VOCABULARY, requires_grad=True)
    names = {"loss": fb.nn.functional.cross_entropy, "x": x, "y": fb.randint(0, VOCABULARY, (512,))}
    return "loss(x, y).backward(); x.grad = None", names


@case("gradient of an embedding of (32768, 256), 16384 words", reach=0.50, traffic=1024.0 * (VOCABULARY + 2 * 16384))
def embedding_backward(fb):
    table, index = fb.rand(VOCABULARY, 256, requires_grad=True), fb.randint(0, VOCABULARY, (16384,))
    names = {"embedding": fb.nn.functional.embedding, "table": table, "index": index, "g": fb.rand(16384, 256)}
    return "embedding(index, table).backward(g); table.grad = None", names


@case("cross_entropy of (16384, 1024), forward + backward", reach=0.50, traffic=2 * READ + WRITE)
def cross_entropy(fb):
    x = fb.randn(16384, 1024, requires_grad=True)
    names = {"loss": fb.nn.functional.cross_entropy, "x": x, "y": fb.randint(0, 1024, (16384,))}
    return "loss(x, y).backward(); x.grad = None", names


@case("layer_norm over rows of 4096, forward + backward", reach=0.50, traffic=3 * READ + 2 * WRITE)
def layer_norm_backward(fb):
    a, g = fb.randn(ROWS, requires_grad=True), fb.rand(ROWS)
    weight = fb.rand(4096, requires_grad=True)
    names = {"norm": fb.nn.functional.layer_norm, "a": a, "w": weight, "g": g}
    return "norm(a, (4096,), w).backward(g); a.grad = w.grad = None", names


@case("sort, 4 M", reach=0.40)
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
