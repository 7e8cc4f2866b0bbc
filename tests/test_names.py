"""Names that load when they are first asked for: each is there, each loads alone, and importing all of them works."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import pytest

import flambeau as fb
from flambeau import deferred

FUNCTIONS = sorted(deferred.FUNCTIONS.items())
METHODS = sorted({(module, n[1:]) for module, names in deferred.NAMES.items() for n in names.split() if n[0] == "."})


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_function_that_loads_late_is_its_modules():
    for name, module in FUNCTIONS:
        assert getattr(fb, name) is getattr(importlib.import_module(f"flambeau.{module}"), name), name
        assert name in vars(fb), f"{name} is looked up anew each time"


def test_every_method_that_loads_late_gives_way_to_the_real_one():
    for module, name in METHODS:
        importlib.import_module(f"flambeau.{module}")
        getattr(fb.Tensor, name)
        assert not isinstance(fb.Tensor.__dict__[name], deferred.Late), name


def test_no_name_is_listed_twice():
    """Two modules with one name would make what it means depend on which loaded first."""
    names = [n for names in deferred.NAMES.values() for n in names.split()]
    hooks = [n for names in deferred.HOOKS.values() for n in names.split()]
    assert len(names) == len(set(names)) and len(hooks) == len(set(hooks))


@pytest.mark.parametrize("module", sorted(m for m in deferred.NAMES if m.startswith("ops.")))
def test_a_module_of_ops_offers_what_the_table_says(module):
    """`__all__` and the table of names are two lists of the same things."""
    offered = importlib.import_module(f"flambeau.{module}")
    listed = {n for n in deferred.NAMES[module].split() if n[0] != "."}
    assert set(getattr(offered, "__all__", listed)) == listed


def test_every_module_loads_first():
    """In a fresh process, whichever module a program happens to touch first: no import depends on another's luck."""
    modules = sorted(deferred.NAMES.keys() | deferred.HOOKS.keys())
    code = f"""
import importlib, os, flambeau
for module in {modules!r}:
    if not os.fork():
        try:
            importlib.import_module("flambeau." + module)
        except BaseException as error:
            print(module, repr(error), flush=True)
        os._exit(0)
    os.wait()
"""
    assert run(code) == ""


def test_a_program_that_computes_loads_no_more_than_it_uses():
    code = "import sys, flambeau as fb; fb.zeros(3).exp(); print(*(m for m in sys.modules if m[:9] == 'flambeau.'))"
    loaded = set(run(code).split())
    unused = {f"flambeau.ops.{m}" for m in ("sorting", "scan", "pooling", "convolution", "softmax", "gather", "random")}
    assert not loaded & (unused | {"flambeau.nn", "flambeau.linalg", "flambeau.serialization"})


def test_a_function_wins_over_the_module_of_its_name():
    code = (
        "import flambeau as fb; from flambeau.ops.unique import row_keys; import flambeau.device.cpu\n"
        "print(fb.ops.unique(fb.tensor([1, 1])), fb.device('cpu'))"
    )
    assert run(code) == "tensor([1]) cpu\n"
    for name, module in FUNCTIONS:
        if module == f"ops.{name}":
            assert getattr(fb.ops, name) is getattr(fb, name)


def test_dir_lists_public_names_and_no_others():
    names = dir(fb)
    assert set(names) >= set(fb.__all__) >= {"tensor", "exp", "sort", "float32", "Tensor", "no_grad", "pi", "save"}
    assert not {"annotations", "importlib", "Any", "TYPE_CHECKING", "core", "deferred"} & set(names)
    assert [n for n in names if n[0] == "_"] == ["__version__"]
    for name in names:
        getattr(fb, name)


def test_star_import_brings_every_public_name():
    brought: dict = {}
    exec("from flambeau import *", brought)
    assert set(fb.__all__) <= set(brought)
    assert brought["topk"] is fb.topk and brought["sum"] is fb.sum


def test_public_functions_are_pickled_by_reference():
    """A worker process gets the very function, whichever kind of op stands behind it."""
    lost = []
    for name in fb.__all__:
        value = getattr(fb, name)
        if callable(value) and pickle.loads(pickle.dumps(value)) is not value:
            lost.append(name)
    assert lost == []
    assert run(f"import pickle; print(pickle.loads({pickle.dumps(fb.topk)!r}).__name__)") == "topk\n"


def test_a_method_that_loads_late_is_found_on_subclasses_and_set_through_properties():
    code = (
        "import flambeau as fb\n"
        "p = fb.nn.Parameter(fb.zeros(2))\n"
        "z = fb.tensor([1 + 2j])\n"
        "z.real = 5\n"
        "print(p.unfold(0, 1, 1).shape, z.tolist(), 'real' in z.__dict__)\n"
    )
    assert run(code) == "flambeau.Size([2, 1]) [(5+2j)] False\n"


def test_an_unknown_name_says_so():
    with pytest.raises(AttributeError, match=r"flambeau.* has no attribute 'sorted_'"):
        _ = fb.sorted_
    with pytest.raises(AttributeError, match="has no attribute 'sorted_'"):
        _ = fb.ones(1).sorted_
