"""Adding a pointwise op touches one file: everything else about it is derived."""

import pathlib
import subprocess
import sys

import flambeau
from flambeau.ops.pointwise import OPS

PACKAGE = pathlib.Path(flambeau.__file__).parent

# What a person adds to a family's file, and the family's file itself is the only one changed.
DEFINITION = '''

@pointwise(samples=uniform(-3, 3), like="", inplace=True)
def squash(x, gain=1.0):
    """x / √(1 + gain x²)."""
    return x / E.sqrt(1.0 + gain * x * x)
'''

PROGRAM = """
import math
import flambeau as fb

x = fb.linspace(-2, 2, 7, dtype=fb.float64).requires_grad_()
expected = [v / math.sqrt(1 + 0.5 * v * v) for v in x.tolist()]
assert max(abs(a - b) for a, b in zip(fb.squash(x, 0.5).tolist(), expected)) < 1e-15
assert fb.autograd.gradcheck(lambda t: fb.squash(t, gain=0.5), (x,))
assert fb.autograd.gradgradcheck(fb.squash, (x,))
half = fb.squash(x.detach().to(fb.bfloat16))
assert half.dtype is fb.bfloat16
assert fb.squash(fb.ones(3, 1)).shape == (3, 1)
assert fb.squash(fb.tensor([1, 2])).dtype is fb.float32
y = fb.ones(4)
assert y.squash_() is y and abs(y[0].item() - math.sqrt(0.5)) < 1e-7
assert (x.detach().squash() == fb.squash(x.detach())).all()
assert "gain" in repr(fb.squash)
print("derived")
"""


def test_a_definition_in_one_file_is_a_whole_op(tmp_path):
    copy = tmp_path / "flambeau"
    copy.mkdir()
    for item in PACKAGE.iterdir():
        if item.name not in ("ops", "__pycache__"):
            (copy / item.name).symlink_to(item)
    (copy / "ops").mkdir()
    for item in (PACKAGE / "ops").iterdir():
        if item.suffix == ".py":
            text = item.read_text()
            (copy / "ops" / item.name).write_text(text + DEFINITION if item.name == "pointwise_arithmetic.py" else text)
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert found.stdout == "derived\n", found.stderr


def test_each_pointwise_op_is_defined_once():
    files = {path: path.read_text() for path in (PACKAGE / "ops").glob("pointwise_*.py")}
    for name, op in OPS.items():
        short = op.body.__name__
        homes = [path.name for path, text in files.items() if f"\ndef {short}(" in text]
        assert len(homes) == 1, (name, homes)
