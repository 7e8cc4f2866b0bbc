"""Compute-bound ops: matrix products, convolutions, attention. `flops` counts a multiply-add as two."""

from __future__ import annotations

from .case import case


def _matmul(n: int, **figures) -> None:
    @case(f"matmul, {n}×{n}", flops=2.0 * n**3, **figures)
    def make(fb):
        return "a @ b", {"a": fb.rand(n, n), "b": fb.rand(n, n)}


for size in (256, 512, 1024, 2048):
    _matmul(size, reach=0.9)
for size in (64, 128):
    _matmul(size)


@case("matmul, 64×1024 by 1024×1024", flops=2.0 * 64 * 1024**2, reach=0.9)
def matmul_few_rows(fb):
    return "a @ b", {"a": fb.rand(64, 1024), "b": fb.rand(1024, 1024)}


@case("row by matrix, 4096×4096", traffic=4.0 * 4096**2, reach=0.9)
def vecmat(fb):
    return "a @ b", {"a": fb.rand(1, 4096), "b": fb.rand(4096, 4096)}


@case("matmul, 10×65536 by 65536×32", flops=2.0 * 320 * 65536)
def matmul_long(fb):
    return "a.t() @ b", {"a": fb.rand(65536, 10), "b": fb.rand(65536, 32)}


@case("addmm, 512×512, beta and alpha", flops=2.0 * 512**3)
def addmm(fb):
    return "addmm(a, a, b, beta=0.5, alpha=2)", {"addmm": fb.addmm, "a": fb.rand(512, 512), "b": fb.rand(512, 512)}


@case("matmul, complex64, 256×256", flops=8.0 * 256**3)
def matmul_complex(fb):
    a = fb.complex(fb.rand(256, 256), fb.rand(256, 256))
    return "a @ b", {"a": a, "b": a}


@case("int8 matmul to int32, 1024×1024", flops=2.0 * 1024**3, peak="int8")
def matmul_int8(fb):
    a = fb.randint(-128, 128, (1024, 1024)).to(fb.int8)
    return "mm(a, b)", {"mm": fb._int_mm, "a": a, "b": a}


@case("matrix by vector, 4096×4096", traffic=4.0 * 4096**2)
def matvec(fb):
    return "a @ x", {"a": fb.rand(4096, 4096), "x": fb.rand(4096)}


@case("bmm, 4096 of 8×8", flops=2.0 * 4096 * 8**3)
def bmm_small(fb):
    return "a @ b", {"a": fb.rand(4096, 8, 8), "b": fb.rand(4096, 8, 8)}


@case("bmm, 64 of 128×128", flops=2.0 * 64 * 128**3)
def bmm(fb):
    return "a @ b", {"a": fb.rand(64, 128, 128), "b": fb.rand(64, 128, 128)}


def _matmul_bfloat16(n: int) -> None:
    @case(f"matmul, bfloat16, {n}×{n}", flops=2.0 * n**3, peak="bf16", reach=0.9)
    def make(fb):
        a = fb.rand(n, n).to(fb.bfloat16)
        return "a @ b", {"a": a, "b": a}


for size in (512, 1024, 2048):
    _matmul_bfloat16(size)


def _linear(name: str, batch: int, inputs: int, outputs: int) -> None:
    @case(f"linear, {name}", flops=2.0 * batch * inputs * outputs)
    def make(fb):
        names = {"x": fb.rand(batch, inputs), "w": fb.rand(outputs, inputs), "b": fb.rand(outputs)}
        return "linear(x, w, b)", {"linear": fb.nn.functional.linear, **names}


_linear("(64, 784) to 256", 64, 784, 256)
_linear("(256, 1024) to 4096", 256, 1024, 4096)
_linear("(64, 256) to 10", 64, 256, 10)


def _conv(
    name: str,
    batch: int,
    channels: tuple[int, int],
    size: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    reach: float | None = None,
):
    out = (size + stride - 1) // stride
    flops = 2.0 * batch * channels[1] * out * out * (channels[0] // groups) * kernel * kernel

    def arguments(fb, grad: bool):
        x = fb.randn(batch, channels[0], size, size, requires_grad=grad)
        w = fb.randn(channels[1], channels[0] // groups, kernel, kernel, requires_grad=grad)
        return {"conv": fb.nn.functional.conv2d, "x": x, "w": w}

    call = f"conv(x, w, None, {stride}, {kernel // 2}, 1, {groups})"

    @case(f"conv2d {name}", flops=flops, reach=reach)
    def forward(fb):
        return call, arguments(fb, False)

    @case(f"conv2d {name}, forward + backward", flops=3 * flops, reach=reach)
    def both(fb):
        names = arguments(fb, True)
        g = fb.rand(batch, channels[1], out, out)
        return f"{call}.backward(g); x.grad = w.grad = None", {**names, "g": g}


_conv("3×3, 64 to 64, 56×56, batch 8", 8, (64, 64), 56, 3)
_conv("1×1, 64 to 256, 56×56, batch 8", 8, (64, 256), 56, 1)
_conv("7×7 stride 2, 3 to 64, 224×224, batch 4", 4, (3, 64), 224, 7, 2)
_conv("depthwise 3×3, 128, 56×56, batch 8", 8, (128, 128), 56, 3, groups=128)
_conv("5×5, 1 to 6, 28×28, batch 64", 64, (1, 6), 28, 5)

# Layers of ResNet-50 and MobileNet: (kernel, stride, channels, size, groups).
for _kernel, _stride, _channels, _size, _groups in (
    (7, 2, (3, 64), 224, 1),
    (3, 1, (64, 64), 56, 1),
    (3, 2, (128, 128), 56, 1),
    (1, 2, (256, 512), 56, 1),
    (3, 1, (512, 512), 7, 1),
    (3, 1, (32, 32), 112, 32),
    (3, 2, (96, 96), 112, 96),
    (3, 1, (384, 384), 14, 384),
):
    for _batch in (1, 8):
        _kind = "depthwise " if _groups > 1 else ""
        _name = f"layer {_kind}{_kernel}×{_kernel} stride {_stride}, {_channels[0]} to {_channels[1]}, {_size}×{_size}"
        _conv(f"{_name}, batch {_batch}", _batch, _channels, _size, _kernel, _stride, _groups, reach=0.85)


@case("batch_norm in training of (64, 64, 56, 56)", traffic=4.0 * 64 * 64 * 56 * 56 * 3)
def batch_norm(fb):
    return "layer(x)", {"layer": fb.nn.BatchNorm2d(64), "x": fb.rand(64, 64, 56, 56)}


@case("attention, 8 heads of 64, length 512, batch 4", flops=4.0 * 4 * 8 * 512 * 512 * 64)
def attention(fb):
    q, k, v = (fb.randn(4, 8, 512, 64) for _ in range(3))
    return "attend(q, k, v)", {"attend": fb.nn.functional.scaled_dot_product_attention, "q": q, "k": k, "v": v}


def attention_step(fb, causal):
    q, k, v = (fb.randn(4, 512, 8, 64).transpose(1, 2).detach().requires_grad_() for _ in range(3))
    code = f"attend(q, k, v, is_causal={causal}).sum().backward()"
    return code, {"attend": fb.nn.functional.scaled_dot_product_attention, "q": q, "k": k, "v": v}


@case("the same forward + backward", reach=0.6, flops=14.0 * 4 * 8 * 512 * 512 * 64)
def attention_both(fb):
    return attention_step(fb, False)


@case("the same forward + backward, causal", reach=0.6, flops=7.0 * 4 * 8 * 512 * 512 * 64)
def attention_causal(fb):
    return attention_step(fb, True)
