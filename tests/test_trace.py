"""Traces: the graph of a function gives the same bits as the function, for new inputs and after a trip through text."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn, optim
from flambeau.compiler.memory import flattened
from flambeau.compiler.replay import meanings, run
from flambeau.compiler.trace import trace
from flambeau.core import _core
from flambeau.ir.graph import Operation
from flambeau.ir.graph_text import parse_graph
from flambeau.ir.graph_verify import verify
from flambeau.ops.primitive import PRIMITIVES, primitive
from flambeau.ops.table import TABLE


@pytest.fixture(autouse=True)
def seeded():
    fb.manual_seed(1)


def bits(x):
    x = x.detach().contiguous()
    return tuple(x.shape), x.dtype, bytes(memoryview(x.reshape(-1).view(fb.uint8))) if x.numel() else b""


def names(graph):
    return [o.name for o in graph.operations]


def clones(xs):
    return [x.clone() for x in xs]


def same(function, *inputs, new=()):
    """Traces function on copies of inputs, and holds the graph to it on these and on `new` ones, whatever it writes."""
    graph = trace(function, *clones(inputs))
    again = parse_graph(str(graph), graph.data)
    assert again == graph
    for given in (inputs, *new):
        state = clones(graph.data.values())
        mine = clones(given)
        got = run(again, *mine)
        after = [bits(x) for x in graph.data.values()]
        for x, before in zip(graph.data.values(), state, strict=True):
            x.copy_(before)
        theirs = clones(given)
        expected = [x for x in flattened(function(*theirs)) if x is not None]
        assert [bits(x) for x in got] == [bits(x) for x in expected]
        assert [bits(x) for x in mine] == [bits(x) for x in theirs]
        assert [bits(x) for x in graph.data.values()] == after
    return graph


# ---- models
def test_mlp():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    graph = same(model, fb.randn(4, 6), new=[(fb.randn(4, 6),)])
    assert names(graph) == ["linear_rows", "tanh", "linear_rows"]
    assert len(graph.constants) == 4 and not graph.updates


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.GELU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def test_cnn_updates_its_running_statistics_when_it_runs():
    model = cnn()
    graph = same(model, fb.randn(3, 1, 8, 8), new=[(fb.randn(3, 1, 8, 8),)])
    updated = {id(graph.data[c.name].untyped_storage()) for c, _ in graph.updates}
    assert updated == {id(b.untyped_storage()) for b in model.buffers()}
    assert not same(model.eval(), fb.randn(3, 1, 8, 8)).updates


class Transformer(nn.Module):
    """One block on embedded tokens, with attention written out."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(11, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens):
        x = self.embed(tokens)
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) / (d // self.heads) ** 0.5
        mask = fb.ones(t, t).triu(1).bool()
        x = x + self.out((scores.masked_fill(mask, float("-inf")).softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def test_transformer_block():
    graph = same(Transformer(), fb.randint(0, 11, (2, 5)), new=[(fb.randint(0, 11, (2, 5)),)])
    assert names(graph).count("softmax_last") == 1 and names(graph).count("matrix_product") == 2


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (Transformer(), lambda: fb.randint(0, 11, (2, 5))),
        (cnn(), lambda: fb.randn(3, 1, 8, 8)),
        (nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.LayerNorm(6), nn.SiLU()), None),
    ],
    ids=["transformer", "cnn", "dropout"],
)
def test_gradients(model, x):
    def gradients(*inputs):
        fb.manual_seed(5)  # dropout draws the mask that the trace drew
        for p in model.parameters():
            p.grad = None
        model(*inputs).square().mean().backward()
        return [p.grad for p in model.parameters()]

    make = x or (lambda: fb.randn(3, 4))
    same(gradients, make(), new=[(make(),)])


@pytest.mark.parametrize(
    "make",
    [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01)],
    ids=["momentum", "plain"],
)
@pytest.mark.parametrize("build", [cnn, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))], ids=["cnn", "linear"])
def test_a_training_step_runs_again_and_again(make, build):
    """A traced step, replayed, trains as the Python it was traced from does."""
    models = [build(), None]
    models[1] = copy.deepcopy(models[0])
    steps = []
    for model in models:
        optimizer = make(model.parameters())

        def step(x, target, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        steps.append(step)
    batches = [(fb.randn(3, 1, 8, 8), fb.randint(0, 10, (3,))) for _ in range(5)]
    for x, target in batches[:1]:  # makes the momentum buffers
        for step in steps:
            step(x, target)
    graph = trace(steps[0], *batches[1])  # a step of its own
    steps[1](*batches[1])
    text = parse_graph(str(graph), graph.data)
    for x, target in batches[2:]:
        (loss,) = run(text, x, target)
        assert bits(loss) == bits(steps[1](x, target))
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert bits(a) == bits(b)


def test_an_adam_step_updates_parameters_state_and_count():
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    x = fb.randn(4, 3)
    step(x)
    graph = trace(step, x)
    assert len(graph.updates) == 2 * 4  # p, m, v and the count of each parameter
    counts = [s["step"] for s in optimizer.state.values()]
    assert [c.item() for c in counts] == [2.0, 2.0]
    run(graph, x)
    assert [c.item() for c in counts] == [3.0, 3.0]


def test_second_order():
    def f(x, y):
        z = x.detach().requires_grad_()
        (g,) = fb.autograd.grad((z.softmax(1) * y).sum() + z.tanh().prod(), z, create_graph=True)
        return fb.autograd.grad(g.square().sum(), z)[0]

    same(f, fb.randn(3, 4), fb.randn(3, 4), new=[(fb.randn(3, 4), fb.randn(3, 4))])


def test_custom_functions_are_traced_through():
    class Twice(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2 + ctx.saved_tensors[0] * 0

    def f(x):
        z = x.detach().requires_grad_()
        return fb.autograd.grad(Twice.apply(z).exp().sum(), z)[0]

    same(f, fb.randn(3), new=[(fb.randn(3),)])


# ---- operations
@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_pointwise_op(name):
    op = TABLE[name]
    args = []
    for s in op.definition.samples:
        x = fb.rand(3, 4) * (s.high - s.low) + s.low
        args.append(x.round().long() if s.kind == "integers" else x > 0.5 if s.kind == "booleans" else x)
    if op.definition.domain in ("complex", "float+complex") and name in ("imag", "real", "conj_physical", "angle"):
        args = [fb.complex(args[0], args[0])]
    graph = same(lambda *xs: op(*xs), *args)
    assert len(graph.operations) <= 1


def write(f):
    def written(x, y):
        z = x * 1
        return f(z, y), z

    return written


FUNCTIONS = {
    "add_": write(lambda z, y: z.add_(y)),
    "a cast on writing": write(lambda z, y: z.add_(y.double())),
    "a row": write(lambda z, y: z[0].mul_(2)),
    "a column of a transpose": write(lambda z, y: z.t()[1].copy_(y[:, 0])),
    "setitem": write(lambda z, y: z.__setitem__((slice(0, 2), 1), 5.0)),
    "setitem mask": write(lambda z, y: z.__setitem__(z > 0, 0.0)),
    "setitem index": write(lambda z, y: z.__setitem__(fb.tensor([0, 2]), y[:2])),
    "a view read after its base was written": write(lambda z, y: (v := z[1], z.add_(1), v * 2)[2]),
    "a base read after its view was written": write(lambda z, y: (z.view(-1)[3:5].fill_(7), z.sum())[1]),
    "a diagonal": write(lambda z, y: z[:, :3].diagonal().zero_()),
    "data": write(lambda z, y: z.data.add_(y)),
    "out=": lambda x, y: fb.add(x, y, out=fb.empty(3, 4)),
    "out= of another dtype": lambda x, y: fb.add(x, y, out=fb.empty(3, 4, dtype=fb.float64)),
    "into an input": lambda x, y: x.add_(y),
    "into a row of an input": lambda x, y: (x[1].copy_(y[0]), x.sum())[1],
    "exchanged inputs": lambda x, y: (t := x.clone(), x.copy_(y), y.copy_(t))[1:],
    "broadcast copy": lambda x, y: fb.zeros(2, 3, 4).copy_(x),
    "as_strided": lambda x, y: x.as_strided((2, 2), (1, 3)),
    "as_strided of a transpose": lambda x, y: (x * 1).t().as_strided((2, 2), (1, 3)),
    "unfold": lambda x, y: x.unfold(1, 2, 1),
    "complex views": lambda x, y: fb.view_as_real(fb.view_as_complex(x.reshape(6, 2)) * 2),
    "a write through a complex view": lambda x, y: (z := fb.complex(x, y), fb.view_as_real(z).mul_(3.0))[0],
    "factories": lambda x, y: x + fb.arange(4) + fb.eye(4)[:3] + fb.tensor([1.0, 2, 3, 4]),
    "empty": lambda x, y: fb.cat([x[:0], y[:, :0].reshape(0, 4), x]),
    "cat, stack, split": lambda x, y: (fb.cat([x, y], 1), fb.stack([x, y]), x.split(3, 1), y.chunk(2)),
    "reductions": lambda x, y: (x.sum(1), x.mean(), x.var(0), x.max(1), x.argmin(0), x.norm(), (x > 0).any()),
    "scans": lambda x, y: (x.cumsum(1), x.cumprod(0), tuple(x.cummax(1))),
    "sort": lambda x, y: (tuple(x.sort(1)), tuple(x.topk(2, 1)), x.median()),
    "gather": lambda x, y: x.gather(1, y.argsort(1)),
    "scatter": lambda x, y: fb.zeros(3, 4).scatter_add(1, y.argsort(1), x),
    "where": lambda x, y: fb.where(x > y, x, 0.5),
    "half": lambda x, y: (x.half() + y.half()).bfloat16(),
    "losses": lambda x, y: (F.mse_loss(x, y), F.binary_cross_entropy_with_logits(x, y.sigmoid()), F.huber_loss(x, y)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    same(FUNCTIONS[name], fb.randn(3, 4), fb.randn(3, 4), new=[(fb.randn(3, 4), fb.randn(3, 4))])


def test_gradients_through_writes():
    def f(x, y):
        z = x.detach().requires_grad_()
        q = z * 2
        q[0].mul_(y[0])
        q[:, 1].exp_()
        return fb.autograd.grad((q * q).sum(), z)[0]

    same(f, fb.randn(3, 4), fb.randn(3, 4), new=[(fb.randn(3, 4), fb.randn(3, 4))])


def test_an_operation_is_recorded_once():
    """What an operation is made of isn't seen, nor are copies and views that change nothing."""
    x = fb.randn(3, 4)
    assert names(trace(lambda x: x.sum(1), x)) == ["sum"]
    assert names(trace(lambda x: x.var(1), x)) == ["var"]
    assert names(trace(lambda x: F.layer_norm(x, (4,)), x)) == ["layer_norm_rows"]
    assert names(trace(lambda x: x.clone().detach().view(3, 4).contiguous() + 1, x)) == ["add"]
    assert names(trace(lambda x: (x.exp(), x.log())[0], x)) == ["exp"]


def test_in_place_writes_become_pure():
    graph = trace(lambda x: x.exp().add_(1).mul_(x), fb.randn(3))
    assert names(graph) == ["exp", "add", "mul"] and not graph.updates
    graph = trace(lambda x: x.add_(1), fb.randn(3))
    assert names(graph) == ["add"] and [(a.name, b.name) for a, b in graph.updates] == [("x", "0")]


def test_python_decides_by_what_it_sees():
    def f(x):
        return x * 2 if x.sum().item() > 0 else x.exp()

    assert names(trace(f, fb.ones(2))) == ["mul"]
    assert names(trace(f, -fb.ones(2))) == ["exp"]


# ---- graphs by hand
def test_control_flow_with_the_table_of_ops():
    """Newton's method for a square root, until it is good enough; checked against itself in Python."""
    graph = parse_graph("""\
graph root(%a: f32[])
  %x: f32[] = while(%a)
    region(%p: f32[])
      %0: f32[] = mul(%p, %p)
      %1: f32[] = sub(%0, %a)
      %2: f32[] = abs(%1)
      %3: bool[] = gt(%2, 1e-05)
      return %3
    region(%q: f32[])
      %4: f32[] = div(%a, %q)
      %5: f32[] = add(%q, %4)
      %6: f32[] = mul(%5, 0.5)
      return %6
  %big: bool[] = gt(%x, 2.0)
  %y: f32[] = if(%big)
    region()
      %7: f32[] = neg(%x)
      return %7
    region()
      return %x
  return %y
""")
    verify(graph, meanings())
    for value in (2.0, 9.0, 1.0):
        x = a = fb.tensor(value)
        while (x * x - a).abs() > 1e-05:
            x = (x + a / x) * 0.5
        (found,) = run(graph, a)
        assert bits(found) == bits(-x if x > 2 else x)


# ---- running
def test_outputs_share_memory_with_nothing():
    graph = trace(lambda x: (x, x.t(), x.clone()), fb.ones(2, 3))
    x = fb.zeros(2, 3)
    outputs = run(graph, x)
    assert len({t.untyped_storage().data_ptr() for t in (x, *outputs)}) == 4
    assert not outputs[0].requires_grad


def test_constants_are_read_when_the_graph_runs():
    w = fb.ones(2)
    graph = trace(lambda x: x * w, fb.ones(2))
    w.fill_(3)
    assert run(graph, fb.ones(2))[0].tolist() == [3, 3]


def test_what_the_function_makes_itself_stays_as_it_was_made():
    kept = []

    def f(x):
        kept.append(fb.tensor([1.0, 2.0]))
        return x * kept[-1]

    graph = trace(f, fb.ones(2))
    kept[-1].fill_(9)
    assert run(graph, fb.ones(2))[0].tolist() == [1, 2]


def test_a_graph_runs_in_another_process(tmp_path):
    """Text and weights are all there is to a graph: backward rules, row programs and named tuples included."""
    weight = nn.Parameter(fb.randn(5, 4))

    def f(x, t):
        weight.grad = None
        F.cross_entropy(F.layer_norm(x, (4,)) @ weight.t(), t).backward()
        return weight.grad[fb.tensor([0, 2])]

    x, t = fb.randn(3, 4), fb.tensor([0, 4, 1])
    graph = trace(f, x, t)
    (tmp_path / "graph.txt").write_text(str(graph))
    fb.save({"data": graph.data, "x": x, "t": t}, tmp_path / "data.fb")
    code = """if True:
        import sys, flambeau as fb
        from flambeau.compiler.replay import run
        from flambeau.ir.graph_text import parse_graph
        saved = fb.load(sys.argv[2])
        print(run(parse_graph(open(sys.argv[1]).read(), saved["data"]), saved["x"], saved["t"])[0].tolist())
    """
    command = [sys.executable, "-c", code, tmp_path / "graph.txt", tmp_path / "data.fb"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(f(x, t).tolist())


def test_run_says_what_is_wrong():
    graph = trace(lambda x: x + 1, fb.ones(2))
    with pytest.raises(TypeError, match=r"input %x: f32\[2\] is needed, got .*float64; convert it with x.to"):
        run(graph, fb.ones(2, dtype=fb.float64))
    with pytest.raises(ValueError, match=r"input %x: f32\[2\] is needed, got shape \[3\]"):
        run(graph, fb.ones(3))
    with pytest.raises(TypeError, match="takes 1 inputs, got 2"):
        run(graph, fb.ones(2), fb.ones(2))


# ---- what a trace can't hold
def test_a_trace_refuses_what_it_would_get_wrong():
    x = fb.randn(4)
    with pytest.raises(TypeError, match="must return tensors, got float"):
        trace(lambda x: x.sum().item(), x)
    with pytest.raises(ValueError, match="example y shares memory with another one"):
        trace(lambda x, y: x + y, x, x)
    with pytest.raises(RuntimeError, match=r"NumPy was given the memory of .*float32 \[4\]"):
        trace(lambda x: fb.from_numpy(x.numpy() * 2), x)
    with pytest.raises(RuntimeError, match="a kernel was launched on the memory of"):
        trace(lambda x: (x * 1).uniform_(), x)
    with pytest.raises(RuntimeError, match="a kernel was launched on the memory of"):
        trace(lambda y: (x.uniform_(), x + y)[1], fb.ones(4))
    assert trace(lambda y: y + fb.rand(4), x).constants  # numbers drawn within the trace are constants of it


def test_a_view_of_another_dtype_is_refused():
    with pytest.raises(RuntimeError, match=r"how a view of i32 \[2\] was made of f32 \[2\] can't be followed"):
        trace(lambda x: x.view(fb.int32) + 1, fb.ones(2))


def test_views_of_captured_memory_are_parts_of_one_constant():
    whole = fb.randn(6)
    first, rest = whole[:2], whole[2:].view(2, 2)
    graph = same(lambda x: (first + x, rest.t() @ rest, whole.add_(0)), fb.randn(2))
    assert [c.shape for c in graph.constants] == [(6,)]
    with pytest.raises(RuntimeError, match="can't be followed"):
        trace(lambda row: row + whole.sum(), first)


def test_memory_made_inside_an_operation_is_no_constant():
    leaked = []

    def forward(ctx, x):
        leaked.append(x * 2)
        return x + 1

    op = _core.Primitive("leaky", forward, None)
    with pytest.raises(RuntimeError, match="was made inside an operation and isn't one of its results"):
        trace(lambda x: op(x) + leaked[0], fb.ones(2))


# ---- traces and what is around them
def test_a_trace_within_a_trace():
    inner = []

    def f(x):
        inner.append(trace(lambda y: y.exp() + 1, x * 2))
        return run(inner[0], x)[0]

    x = fb.randn(3)
    graph = trace(f, x)
    assert names(inner[0]) == ["exp", "add"]
    assert names(graph) == ["exp", "add"]
    assert bits(run(graph, x)[0]) == bits(x.exp() + 1)


def test_a_failing_function_leaves_no_trace():
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: (x + 1, 1 / 0), fb.ones(2))
    assert not _core.interpreting()


def test_operations_of_modules_that_load_later():
    meanings()

    @primitive(name="late")
    def late(ctx, x):
        return x + 1

    try:
        assert names(same(lambda x: late(x), fb.ones(2))) == ["late"]
    finally:
        del PRIMITIVES["late"]
    assert "late" not in meanings()


def test_traced_graphs_are_verified(monkeypatch):
    from flambeau.compiler.trace import Trace

    def take(self, value, steps):
        return self.emit("unheard_of", (value,), (), [("f32", (6,))])[0]

    monkeypatch.setattr(Trace, "take", take)
    with pytest.raises(ValueError, match=r"operation unheard_of .*: its name is known"):
        trace(lambda x: x.view(6) + 1, fb.ones(2, 3))


def test_operations_are_plain_data():
    (operation,) = trace(lambda x: x + 1, fb.ones(2)).operations
    assert isinstance(operation, Operation) and isinstance(hash(operation), int)
