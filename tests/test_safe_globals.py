"""serialization.add_safe_globals: what a program vouches for is made as pickle makes it, and nothing else is."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field

import pytest

import flambeau as fb
from flambeau.serialization import FormatError, add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

MADE = []


@dataclass
class Config:
    width: int
    names: list = field(default_factory=list)

    def __post_init__(self):
        MADE.append(self)


class Slots:
    __slots__ = ("a", "b")


class Own:
    def __setstate__(self, state):
        self.state = "set", state

    def __getstate__(self):
        return {"kept": 1}


class Named(OrderedDict):
    pass


class Items(list):
    pass


def measured(x):
    MADE.append(x)
    return x * 2


class Called:
    def __reduce__(self):
        return measured, (21,)


def reduced(thing):
    """A file as PyTorch writes it."""
    file = io.BytesIO()
    fb.save(thing, file, format="torch")
    file.seek(0)
    return file


@pytest.fixture(autouse=True)
def nothing_allowed():
    clear_safe_globals()
    MADE.clear()
    yield
    clear_safe_globals()


def test_an_object_with_tensors_comes_back():
    file = reduced({"config": Config(3, ["a"]), "weights": fb.arange(3.0)})
    MADE.clear()
    with pytest.raises(FormatError, match=r"Config.*add_safe_globals"):
        fb.load(file)
    assert not MADE
    file.seek(0)
    add_safe_globals([Config])
    found = fb.load(file)
    assert found["config"] == Config(3, ["a"])
    assert fb.equal(found["weights"], fb.arange(3.0))
    assert len(MADE) == 1, "only the comparison's own object runs the initialiser"


def test_attributes_slots_states_and_containers():
    slots, own, named, items = Slots(), Own(), Named(x=1), Items([1, 2])
    slots.a, slots.b, named.extra = 1, "two", "kept"
    file = reduced([slots, own, named, items])
    with safe_globals([Slots, Own, Named, Items]):
        got = fb.load(file)
    assert [type(x) for x in got] == [Slots, Own, Named, Items]
    assert (got[0].a, got[0].b) == (1, "two") and got[1].state == ("set", {"kept": 1})
    assert got[2] == named and got[2].extra == "kept" and got[3] == items


def test_functions_are_called_only_if_named():
    file = reduced([Called()])
    with pytest.raises(FormatError, match="measured"):
        fb.load(file)
    assert not MADE
    file.seek(0)
    with safe_globals([measured]):
        assert fb.load(file) == [42]
    assert MADE == [21]


def test_modules_of_the_package_under_either_name():
    layer = fb.nn.Flatten()
    file = reduced({"layer": layer})
    with safe_globals([fb.nn.Flatten, OrderedDict, set]):
        got = fb.load(file)["layer"]
    assert isinstance(got, fb.nn.Flatten) and got(fb.ones(2, 3, 4)).shape == (2, 12)


def test_a_path_of_ones_choosing():
    renamed = pickle.dumps(Config(4), 2).replace(b"test_safe_globals", b"old_name")
    file = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(file, "w") as z:
        z.writestr("archive/data.pkl", renamed)
        z.writestr("archive/version", "3\n")
    file.seek(0)
    path = "old_name.Config" if __name__ == "test_safe_globals" else __name__.replace("test_safe_globals", "old_name")
    with safe_globals([(Config, path if path.endswith("Config") else f"{path}.Config")]):
        assert get_safe_globals() == [(Config, path if path.endswith("Config") else f"{path}.Config")]
        assert fb.load(file) == Config(4)


def test_the_table():
    add_safe_globals([Config])
    with safe_globals([Own, Config]):
        assert get_safe_globals() == [Config, Own]
    assert get_safe_globals() == [Config]
    with pytest.raises(TypeError, match="got 3"):
        add_safe_globals([Slots, 3])
    assert get_safe_globals() == [Config], "nothing is added by a call that fails"
    clear_safe_globals()
    assert get_safe_globals() == []


def test_what_the_reader_knows_itself_stays_as_it_is():
    """Vouching for a name that checkpoints use doesn't replace the reader's careful function for it."""
    with safe_globals([(measured, "torch._utils._rebuild_tensor_v2")]):
        assert fb.equal(fb.load(reduced({"w": fb.ones(2)}))["w"], fb.ones(2))
    assert not MADE
