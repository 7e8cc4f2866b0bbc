"""What PyTorch keeps elsewhere, and its insides that libraries reach for: every name of the table leads somewhere."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import flambeau as fb
from flambeau.cli import places
from flambeau.cli.stand_ins import helpers
from flambeau.cli.stand_ins.ops import aten


@pytest.mark.parametrize("module", places.PLACES)
def test_every_name_leads_somewhere(module):
    for name, (where, _) in places.names(module).items():
        if name == "*":
            importlib.import_module(where)
        else:
            assert places.lookup(module, name) is not None
    with pytest.raises(AttributeError):
        places.lookup(module, "no_such_name")


def test_what_is_absent_says_its_name_wherever_it_is_used():
    node, pipe = places.lookup("fx", "Node"), places.lookup("utils.data", "IterDataPipe")
    assert node is not pipe and not isinstance(fb.ones(1), node)
    own = type("Own", (pipe,), {})
    for made, path in (node, "torch.fx.Node"), (own, "torch.utils.data.IterDataPipe"):
        said = rf"nothing like {path} yet \(asked for at .*test_places.py:\d+\)"
        with pytest.raises(NotImplementedError, match=said):
            made()


def test_no_entry_repeats_what_is_in_its_place():
    for module in places.PLACES:
        try:
            real = importlib.import_module(f"flambeau.{module}".rstrip("."))
        except ModuleNotFoundError:
            continue
        assert not [n for n in places.names(module) if n != "*" and hasattr(real, n)], module


PROGRAM = """
import torch, torch.utils.data.dataloader, torch._C
from torch.utils.data.dataloader import DataLoader, default_collate
from torch.utils.data.distributed import DistributedSampler
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.utils import _pair, _ntuple
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable
from torch.utils.hooks import RemovableHandle
from torch.distributed import all_reduce, ReduceOp
from torch.nn.parallel.distributed import DistributedDataParallel
from torch.nn.parallel import DistributedDataParallel as again
from torch.storage import TypedStorage
import torch.fx, torch.futures, torch.overrides

print(_pair(3), _ntuple(3)(1), issubclass(torch.nn.InstanceNorm2d, _InstanceNorm), again is DistributedDataParallel)
print(isinstance(torch.ones(1).untyped_storage(), torch.UntypedStorage), isinstance(torch.ones(1).layout, torch.layout))
print(isinstance(torch.nn.ReLU().register_forward_hook(print), RemovableHandle))
print(torch.ops.aten.add.Tensor(torch.ones(1), 2), torch.ops.aten.slice.Tensor(torch.arange(6), 0, 1, 5, 2))
print(torch.float8_e4m3fn, torch.finfo(torch.float8_e4m3fn).max)
print(torch.jit.script(abs) is abs, torch.utils.hooks.RemovableHandle is RemovableHandle)
for wrong in (
    lambda: torch.zeros(2, dtype=torch.float8_e4m3fn),
    lambda: all_reduce(torch.ones(1)),
    lambda: DistributedDataParallel(torch.nn.ReLU()),
    lambda: torch.fx.symbolic_trace(torch.nn.ReLU()),
    lambda: torch.ops.aten.no_such_operation,
    lambda: torch.ops.no_such_library.operation,
    lambda: torch.jit.save(abs, "x.pt"),
):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__)
"""


def test_a_program_that_reaches_into_pytorch(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    result = subprocess.run([sys.executable, "-m", "flambeau", "run", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "(3, 3) (1, 1, 1) True True", "True True", "True", "tensor([3.]) tensor([1, 3])", "torch.float8_e4m3fn 448.0",
        "True True", "TypeError", "RuntimeError", "RuntimeError", "NotImplementedError", "AttributeError",
        "AttributeError", "NotImplementedError",
    ]  # fmt: skip


def test_operations_by_namespace_and_overload():
    x = fb.arange(6.0).reshape(2, 3)
    assert fb.equal(aten.mul.Scalar(x, 2), x * 2)
    assert aten.mul.Tensor == aten.mul.Tensor != aten.mul.Scalar
    assert {aten.mul.Tensor: 1}[aten.mul.Tensor] == 1
    assert fb.equal(aten.index.Tensor(x, [None, fb.tensor([2, 0])]), x[:, [2, 0]])
    assert aten._to_copy.default(x, dtype=fb.int64).dtype is fb.int64
    assert aten._to_copy.default(x) is not x
    assert aten.sym_size.int(x, 1) == 3
    assert fb.equal(aten.slice.Tensor(x, -1, 1), x[:, 1:])


def test_helpers():
    state = {"module.a": 1, "b": 2}
    helpers.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"a": 1, "b": 2}
    assert helpers.reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    parts, other = [fb.ones(2, dtype=fb.complex64), fb.ones(2)], [fb.zeros(2, dtype=fb.complex64), fb.zeros(2)]
    helpers.view_as_real(parts, other)
    assert [tuple(t.shape) for t in (*parts, *other)] == [(2, 2), (2,), (2, 2), (2,)]
    assert helpers.add_indent("a\nb", 2) == "a\n  b"
    copies = helpers.clones(fb.nn.Linear(2, 2), 2)
    assert copies[0].weight is not copies[1].weight and fb.equal(copies[0].weight, copies[1].weight)
    with pytest.raises(RuntimeError, match="not tanh"):
        helpers.activation("tanh")
    assert helpers.tensor_text(fb.ones(2)) == "[1., 1.]"
