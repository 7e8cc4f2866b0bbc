"""Saving and loading: round trips, files PyTorch 2.13 wrote, hostile files, kills and full disks."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.serialization import FormatError, load, safetensors, save
from flambeau.serialization.safetensors import load_file, save_file
from flambeau.serialization.tensors import Source

DATA = Path(__file__).parent / "data"
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64"]
DTYPES += ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


def check_same(a, b, where="obj"):
    assert type(a) is type(b), where
    if isinstance(a, fb.Tensor):
        assert (a.dtype, a.shape, a.requires_grad) == (b.dtype, b.shape, b.requires_grad), where
        assert 0 in a.shape or a.stride() == b.stride(), where
        assert a.tolist() == b.tolist(), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for k in a:
            check_same(a[k], b[k], f"{where}[{k!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            check_same(x, y, f"{where}[{i}]")
    else:
        assert a == b or a != a and b != b, where


def nested():
    w = fb.arange(20, dtype=fb.float32).reshape(4, 5)
    return {
        "w": w,
        "view": w.t()[1:3],
        "again": w,
        "row": w[2],
        "empty": fb.empty(0, 3),
        "scalar": fb.tensor(3.5),
        "expanded": fb.ones(1).expand(1000),
        "slice of a large one": fb.arange(10**6)[5:9],
        "parameter": fb.nn.Parameter(fb.ones(2)),
        "wants grad": fb.ones(2, requires_grad=True),
        "dtypes": {name: fb.tensor([0, 1, 1]).to(getattr(fb, name)) for name in DTYPES},
        "numbers": [1, -(2**63), 10**50, 2.5, -0.0, float("inf"), float("nan"), 1 + 2j, True, None],
        "text": ["", "é\ud800", '\x00"\\', b"\x00\xff", bytearray(b"x")],
        ("tuple", 1): (1, (), fb.Size([2, 3])),
        3: OrderedDict(b=1, a=2),
        "counter": Counter({3: 1}),
        "sets": [{1, 2}, frozenset("ab")],
        "kinds": [fb.bfloat16, fb.device("cpu"), slice(1, None, 2), range(3)],
    }


@pytest.mark.parametrize("mmap", [False, True])
def test_nested_state_comes_back(tmp_path, mmap):
    obj = nested()
    save(obj, tmp_path / "x.pt")
    assert os.path.getsize(tmp_path / "x.pt") < 20_000  # of the large storage only the slice was written
    check_same(obj, load(tmp_path / "x.pt", mmap=mmap))


@pytest.mark.parametrize("mmap", [False, True])
def test_views_share_their_storage_again(tmp_path, mmap):
    save(nested(), tmp_path / "x.pt")
    got = load(tmp_path / "x.pt", mmap=mmap)
    assert got["again"] is got["w"]
    got["w"].fill_(7)
    assert got["view"].tolist() == [[7] * 4] * 2 and got["row"].tolist() == [7] * 5
    check_same(nested(), load(tmp_path / "x.pt"))  # a mapping is private


def test_a_state_dict_keeps_its_versions(tmp_path):
    state = fb.nn.BatchNorm1d(2).state_dict()
    save(state, tmp_path / "x.pt")
    got = load(tmp_path / "x.pt")
    check_same(state, got)
    assert got._metadata == state._metadata and state._metadata[""]["version"] == 2


def test_every_file_is_safetensors(tmp_path):
    save({"a": [fb.ones(2, 3), fb.zeros(4, dtype=fb.int64)]}, tmp_path / "x.pt")
    got = load_file(tmp_path / "x.pt")
    assert sorted(tuple(t.shape) for t in got.values()) == [(2, 3), (4,)]


def test_safetensors_layout_by_hand(tmp_path):
    """The format as its specification has it, parsed here without our reader."""
    w = fb.arange(6, dtype=fb.float32).reshape(2, 3)
    save({"w": w, "wt": w.t(), "b": fb.tensor([True])}, tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    assert header.pop("__metadata__")["format"] == "pt"
    assert {k: (v["dtype"], v["shape"]) for k, v in header.items()} == {
        "w": ("F32", [2, 3]),
        "wt": ("F32", [3, 2]),
        "b": ("BOOL", [1]),
    }
    begin, end = header["wt"]["data_offsets"]
    values = np.frombuffer(data[8 + n + begin : 8 + n + end], "<f4").reshape(3, 2)
    assert values.tolist() == [[0, 3], [1, 4], [2, 5]]
    check_same(
        {"b": fb.tensor([True]), "w": w, "wt": w.t().contiguous()},
        dict(sorted(load(tmp_path / "x.safetensors").items())),
    )


def test_safetensors_of_another_writer(tmp_path):
    header = (
        b'{"a":{"dtype":"F16","shape":[2],"data_offsets":[1,5]},"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}'
    )
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x07" + np.array([1.5, -2], "<f2").tobytes())
    for mmap in (False, True):  # `a` lies at an odd byte, so it is copied even when mapped
        got = load(path, mmap=mmap)
        assert got["a"].tolist() == [1.5, -2] and got["a"].dtype == fb.float16 and got["b"].item() == 7


@pytest.mark.parametrize("obj, message", [
    ({"a": 1}, r"holds a flat dict of tensors, and \['a'\] is a int; another suffix"),
    ({1: fb.ones(1)}, "names are strings"),
    ([fb.ones(1)], "got a list"),
    ({"z": fb.zeros(1, dtype=fb.complex128)}, "no complex128"),
])  # fmt: skip
def test_what_safetensors_cannot_hold(tmp_path, obj, message):
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"obj\['a'\]\[1\] is a builtins.object, which can't be stored"):
        save({"a": [1, object()]}, tmp_path / "x.pt")
    with pytest.raises(TypeError, match=r"use its state_dict\(\)"):
        save({"model": fb.nn.Linear(2, 2)}, tmp_path / "x.pt")
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        save(loop, tmp_path / "x.pt")
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than 100"):
        save(deep, tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_open_files():
    file = io.BytesIO()
    save(nested(), file)
    file.seek(0)
    check_same(nested(), load(file))
    with pytest.raises(ValueError, match="mmap=True needs a path"):
        load(file, mmap=True)


# PyTorch's files


@pytest.mark.parametrize("name", ["pytorch-zip", "pytorch-legacy"])
@pytest.mark.parametrize("mmap", [False, True])
def test_pytorch_checkpoint(name, mmap):
    got = load(DATA / f"{name}.pth", mmap=mmap)
    w = fb.arange(12, dtype=fb.float32).reshape(3, 4)
    linear = OrderedDict(weight=fb.tensor([[1.0, 2], [3, 4]]), bias=fb.tensor([0.5, 0.5]))
    check_same(got, {
        "w": w, "view": w.t()[1:3], "half": fb.tensor([1.5, -2]).to(fb.bfloat16), "long": fb.tensor([2**40, -1]),
        "flag": fb.tensor([True, False]), "z": fb.tensor([1 + 2j]), "scalar": fb.tensor(2.5, dtype=fb.float64),
        "empty": fb.empty(0, 3), "parameter": fb.nn.Parameter(fb.ones(2)), "linear": linear, "epoch": 3, "lr": 1e-3,
        "name": "é", "betas": (0.9, 0.999), "none": None, "list": [1, [True, 2.0]], "size": fb.Size([2, 3]),
        "dtype": fb.float16, "device": fb.device("cpu"), "bytes": b"\x00\xff", "big": 2**70, 3: "int key",
        ("a", 1): "tuple key", "set": {1, 2}, "complex": 1 - 2j,
    })  # fmt: skip
    assert got["linear"]._metadata[""] == {"version": 1}
    got["w"].fill_(7)
    assert got["view"].tolist() == [[7] * 3] * 2


def test_pytorch_protocol_4():
    assert load(DATA / "pytorch-protocol4.pth")["w"].tolist() == [0, 1, 2]


def zip_of(path, pkl: bytes, storages: dict[str, bytes], compression=zipfile.ZIP_STORED, **more: bytes):
    with zipfile.ZipFile(path, "w", compression) as z:
        for name, data in {
            "data.pkl": pkl,
            "version": b"3\n",
            **{f"data/{k}": v for k, v in storages.items()},
            **more,
        }.items():
            z.writestr(f"x/{name}", data)
    return path


def text(s: str) -> bytes:
    return b"X" + len(s.encode()).to_bytes(4, "little") + s.encode()


def integer(n: int) -> bytes:
    data = n.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + data


def storage(kind="FloatStorage", key="0", location="cpu", numel=3) -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text(location) + integer(numel) + b"tQ"


def rebuilt(view: bytes, offset=0, shape=(3,), stride=(1,)) -> bytes:
    numbers = [b"(" + b"".join(map(integer, v)) + b"t" for v in (shape, stride)]
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + view + integer(offset) + b"".join(numbers) + b"\x89NtR."


FLOATS = np.array([1, 2, 3], "<f4").tobytes()


def test_the_hand_made_checkpoint_is_right(tmp_path):
    """The forgeries below differ from this one in a single respect."""
    assert load(zip_of(tmp_path / "x.pth", rebuilt(storage()), {"0": FLOATS})).tolist() == [1, 2, 3]


def test_other_byte_order(tmp_path):
    swapped = np.array([1, 2, 3], ">f4").tobytes()
    got = load(zip_of(tmp_path / "x.pth", rebuilt(storage()), {"0": swapped}, byteorder=b"big"))
    assert got.tolist() == [1, 2, 3]


def test_map_location(tmp_path):
    path = zip_of(tmp_path / "x.pth", rebuilt(storage(location="cuda:0")), {"0": FLOATS})
    with pytest.raises(RuntimeError, match=r"saved on 'cuda:0'.*pass map_location='cpu'"):
        load(path)
    for where in ("cpu", fb.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage):
        assert load(path, map_location=where).tolist() == [1, 2, 3]


FORGED = {
    "storage too small": (rebuilt(storage(numel=4)), "has only 12 bytes"),
    "absurd storage": (rebuilt(storage(numel=2**62)), "has only 12 bytes"),
    "negative storage": (rebuilt(storage(numel=-1)), "malformed storage"),
    "view past the end": (rebuilt(storage(), offset=1), "16 bytes in a storage of 12"),
    "stride past the end": (rebuilt(storage(), stride=(2,)), "20 bytes in a storage of 12"),
    "negative offset": (rebuilt(storage(), offset=-1), "no tensor has offset -1"),
    "negative stride": (rebuilt(storage(), offset=2, stride=(-1,)), "no tensor has"),
    "overflowing shape": (rebuilt(storage(), shape=(2**62, 4), stride=(0, 0)), "no tensor has the shape"),
    "shape and stride differ": (rebuilt(storage(), stride=(1, 1)), "no tensor has"),
    "missing storage": (rebuilt(storage(key="7")), "storage '7' is missing"),
    "path as key": (rebuilt(storage(key="../../etc/passwd")), "is missing"),
    "system": (b"\x80\x02cposix\nsystem\n" + text("touch {}") + b"\x85R.", "names 'posix.system'"),
    "eval": (b"\x80\x02cbuiltins\neval\n" + text("open('{}','w')") + b"\x85R.", "names 'builtins.eval'"),
    "stack global": (b"\x80\x04" + text("os") + text("system") + b"\x93.", "names 'os.system'"),
    "inst": (b"(" + text("touch {}") + b"iposix\nsystem\n.", "has no place"),
    "obj": (b"(cposix\nsystem\n" + text("touch {}") + b"o.", "names 'posix.system'"),
    "extension": (b"\x82\x01.", "has no place"),
    "dotted name": (b"\x80\x04" + text("torch") + text("os.system") + b"\x93.", "names 'torch.os.system'"),
    "build on a tensor": (
        rebuilt(storage())[:-1] + b"}" + text("__class__") + b"K\x01sb.",
        "a Tensor where a OrderedDict",
    ),
    "attributes": (b"ccollections\nOrderedDict\n)R}" + text("items") + b"K\x01sb.", "sets attributes"),
    "a type as data": (b"ctorch\nSize\n.", "stands where data is expected"),
    "calling data": (b"K\x01)R.", "calls int"),
    "empty stack": (b"0.", "malformed pickle"),
    "no mark": (b"K\x01t.", "a mark is missing"),
    "mark as data": (b"(.", "a mark stands"),
    "no stop": (b"K\x01", "truncated pickle"),
    "huge string": (b"\x8d" + (2**62).to_bytes(8, "little") + b"a.", "truncated pickle"),
    "unknown memo": (b"h\x09.", "malformed pickle"),
    "hash bomb": (b"K\x01K\x01\x86" + b"2\x86" * 60 + b"}q\x000h\x00.", None),
    "deep key": (b"}K\x01" + b"2\x86" * 60 + b"K\x01s.", "can't be a key"),
    "unhashable key": (b"}]K\x01s.", "can't be a key"),
    "append to a number": (b"K\x01K\x01a.", "a int where a list"),
    "odd items": (b"}(K\x01u.", "malformed pickle"),
    "strings as size": (b"ctorch\nSize\n(" + text("a") + b"t\x85R.", "malformed pickle"),
    "unknown dtype": (b"ctorch\nfloat7\n.", "names 'torch.float7'"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_pickles_execute_nothing(tmp_path, name):
    pkl, message = FORGED[name]
    victim = tmp_path / "executed"
    pkl = pkl.replace(text("touch {}"), text(f"touch {victim}")).replace(
        text("open('{}','w')"), text(f"open('{victim}','w')")
    )
    path = zip_of(tmp_path / "x.pth", pkl, {"0": FLOATS})
    if message is None:
        load(path)
    else:
        with pytest.raises(FormatError, match=message):
            load(path)
    assert not victim.exists()


def test_a_pickled_object_is_refused(tmp_path):
    with open(tmp_path / "x.pkl", "wb") as file:
        pickle.dump(Path("/"), file)
    with pytest.raises(FormatError, match="names 'pathlib"):
        load(tmp_path / "x.pkl")


def test_compressed_and_forged_zips(tmp_path):
    bomb = zip_of(tmp_path / "bomb.pth", rebuilt(storage()), {"0": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FormatError, match="compressed"):
        load(bomb)
    good = zip_of(tmp_path / "x.pth", rebuilt(storage()), {"0": FLOATS, "1": FLOATS}).read_bytes()
    central = good.rindex(b"x/data/1") - 46
    first = good.index(b"x/data/0") - 30
    overlapping = bytearray(good)
    overlapping[central + 42 : central + 46] = struct.pack("<I", first)
    (tmp_path / "o.pth").write_bytes(overlapping)
    with pytest.raises(FormatError, match="overlaps"):
        load(tmp_path / "o.pth")
    flipped = bytearray(good)
    flipped[good.index(FLOATS)] ^= 1
    (tmp_path / "f.pth").write_bytes(flipped)
    with pytest.raises(FormatError, match="checksum"):
        load(tmp_path / "f.pth")
    script = zip_of(tmp_path / "s.pth", rebuilt(storage()), {"0": FLOATS}, **{"constants.pkl": b"."})
    with pytest.raises(FormatError, match="TorchScript"):
        load(script)


# Corruption


def small_archive() -> bytes:
    file = io.BytesIO()
    save({"w": fb.arange(3.0), "n": [1, {"k": (2.5, b"x")}]}, file)
    return file.getvalue()


def test_every_flipped_byte_of_our_files_is_noticed():
    data = small_archive()
    load(io.BytesIO(data))
    for i in range(len(data)):
        bad = bytearray(data)
        bad[i] ^= 1 << (i % 8)
        with pytest.raises(FormatError):
            load(io.BytesIO(bytes(bad)))


@pytest.mark.parametrize("name", ["own", "pytorch-zip", "pytorch-legacy"])
def test_every_truncation_is_noticed(name):
    data = small_archive() if name == "own" else (DATA / f"{name}.pth").read_bytes()
    for n in {*range(0, len(data), 7), *range(40), *range(len(data) - 40, len(data))}:
        with pytest.raises(FormatError):
            load(io.BytesIO(data[:n]))


@pytest.mark.parametrize("name", ["pytorch-zip", "pytorch-legacy"])
def test_damaged_pytorch_files_raise_or_load(name):
    """No damage makes anything but FormatError, or RuntimeError about a device that isn't there."""
    data = (DATA / f"{name}.pth").read_bytes()
    draw = random.Random(1)
    refused = 0
    for _ in range(1500):
        bad = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        try:
            load(io.BytesIO(bytes(bad)))
        except RuntimeError:
            refused += 1
    assert refused > 300


def header_of(header: object, data: bytes = b"") -> io.BytesIO:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return io.BytesIO(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("header, data, message", [
    (b'{"a":1', b"", "valid JSON"),
    (b"{" * 100_000, b"", "valid JSON"),
    (b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}', b"", "a name appears twice"),
    ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234", "can't have 4 bytes"),
    ({"a": {"dtype": "F32", "shape": [2**61], "data_offsets": [0, 0]}}, b"", "can't have 0 bytes"),
    ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234", "malformed"),
    ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"123", "truncated or forged"),
    ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234", "truncated or forged"),
    ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, b"1234", "malformed"),
    ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345", "truncated or forged"),
    ({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
      "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, b"123", "overlap"),
    ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"12", "leave a gap"),
    ({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"1", "F8_E4M3, which flambeau has no"),
    ({"__metadata__": {"a": 1}}, b"", "strings to strings"),
    ({"__metadata__": {"flambeau.tree": "{}"}}, b"", "checksum is missing"),
])  # fmt: skip
def test_forged_headers(header, data, message):
    with pytest.raises(FormatError, match=message):
        load(header_of(header, data))


@pytest.mark.parametrize("tree, message", [
    ('{"version":2}', "later flambeau"),
    ('{"version":1,"tensors":[[0]],"root":{"tensor":0}}', "malformed"),
    ('{"version":1,"tensors":[[0,"float32",0,[2],[1],0]],"root":{"tensor":0}}', "malformed"),
    ('{"version":1,"tensors":[["w","float32",0,[3],[1],0]],"root":{"tensor":0}}', "12 bytes in a storage of 8"),
    ('{"version":1,"tensors":[["w","float7",0,[3],[1],0]],"root":{"tensor":0}}', "unknown dtype"),
    ('{"version":1,"tensors":[["w","float32",0,[3.0],[1],0]],"root":{"tensor":0}}', "no tensor has"),
    ('{"version":1,"tensors":[],"root":{"eval":"1"}}', "malformed"),
    ('{"version":1,"tensors":[],"root":{"dict":[[[],1]]}}', "malformed"),
    ('{"version":1,"tensors":[],"root":' + "[" * 9000 + "]" * 9000 + "}", "malformed"),
    ("", "malformed"),
])  # fmt: skip
def test_forged_trees(tree, message):
    """Trees whose checksums are right: what a hostile writer can make."""
    file = io.BytesIO()
    w = safetensors.Entry("F32", (2,), memoryview(bytes(8)))
    safetensors.write(file, safetensors.assemble({"w": w}, {"flambeau.tree": tree}))
    file.seek(0)
    with pytest.raises(FormatError, match=message):
        load(file)


def test_a_header_longer_than_the_file():
    for length in (2**63, 2**64 - 1, 10**9):
        with pytest.raises(FormatError):
            load(io.BytesIO(length.to_bytes(8, "little") + b"{}"))


def test_not_a_checkpoint(tmp_path):
    with pytest.raises(FormatError, match="is empty"):
        load(io.BytesIO(b""))
    with pytest.raises(FormatError, match="neither safetensors nor a PyTorch checkpoint"):
        load(io.BytesIO(b"GIF89a.............."))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.pt")


# The disk

WRITER = """
import sys, flambeau as fb
path = sys.argv[1]
for i in range(1, 1_000_000):
    fb.save({"i": i, "w": fb.full((200_000,), float(i))}, path)
    if i == 1:
        print("ready", flush=True)
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "x.pt"
    draw = random.Random(2)
    seen = set()
    for _ in range(10):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        got = load(path)
        seen.add(got["i"])
        assert got["w"].tolist() == [got["i"]] * 200_000
    assert len(seen) > 1  # the kills did fall at different saves
    orphans = [p for p in tmp_path.iterdir() if p != path]
    for orphan in orphans:
        os.utime(orphan, (0, 0))
    save({}, path)
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import errno, resource, sys, flambeau as fb
path = sys.argv[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fb.save({"w": fb.zeros(100_000)}, path)
except OSError as error:
    assert error.errno == errno.EFBIG, error
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    save({"i": 1}, path)
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert "save: File too large while writing" in done.stdout and "the file that was there is unchanged" in done.stdout
    assert load(path) == {"i": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_device():
    with pytest.raises(OSError, match="No space left on device while writing"):
        save({"w": fb.zeros(100_000)}, "/dev/full")


def test_permissions_links_and_folders(tmp_path):
    path = tmp_path / "x.pt"
    save(1, path)
    os.chmod(path, 0o600)
    (tmp_path / "link.pt").symlink_to(path)
    save(2, tmp_path / "link.pt")
    assert load(path) == 2 and (tmp_path / "link.pt").is_symlink()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(OSError, match="there is no such folder"):
        save(1, tmp_path / "absent" / "x.pt")
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        save(1, tmp_path)


def test_metadata_survives(tmp_path):
    save_file({"w": fb.ones(1)}, tmp_path / "x.safetensors", {"licence": 'a "quoted" word'})
    with Source(tmp_path / "x.safetensors") as source:
        assert safetensors.read(source).metadata == {"format": "pt", "licence": 'a "quoted" word'}


# What PyTorch reads. PyTorch itself isn't asked here: zipfile and pickletools take the file apart.
def test_torch_format_names_only_pytorchs_own_functions(tmp_path):
    import pickletools

    base = fb.arange(12.0).reshape(3, 4)
    state = {
        "t": base.T, "row": base[1:], "p": fb.nn.Parameter(fb.ones(2)),
        "half": fb.ones(3).bfloat16(),
        "n": (1, 2.5, "x"), "sparse": fb.eye(3).to_sparse(),
        "csr": fb.eye(3).to_sparse_csr(), "dtype": fb.float16, "size": base.shape,
        "device": fb.device("cpu"), "empty": fb.empty(0, 3), "model": fb.nn.Linear(2, 2).state_dict(),
    }  # fmt: skip
    fb.save(state, tmp_path / "x.pt", format="torch")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is None
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("archive/version") == b"3\n" and archive.read("archive/byteorder") == b"little"
        pickled = archive.read("archive/data.pkl")
        assert archive.read("archive/data/0") == base.numpy().tobytes()
    named = {arg.replace(" ", ".") for op, arg, _ in pickletools.genops(pickled) if op.name == "GLOBAL"}
    assert named <= {
        "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch._utils._rebuild_sparse_tensor",
        "torch.serialization._get_layout", "torch.FloatStorage", "torch.BFloat16Storage", "torch.LongStorage",
        "torch.float16", "torch.Size", "torch.device", "collections.OrderedDict",
    }  # fmt: skip
    again = fb.load(tmp_path / "x.pt")
    assert again["t"].equal(base.T) and again["t"].stride() == base.T.stride()
    assert again["t"].data_ptr() + 16 == again["row"].data_ptr()
    assert isinstance(again["p"], fb.nn.Parameter) and again["half"].dtype is fb.bfloat16
    assert again["n"] == (1, 2.5, "x")
    assert again["sparse"].to_dense().equal(fb.eye(3)) and again["csr"].layout == "sparse_csr"
    assert (again["dtype"], again["size"], again["device"]) == (fb.float16, base.shape, fb.device("cpu"))
    assert list(again["model"]) == ["weight", "bias"] and again["empty"].shape == (0, 3)


def test_data_begins_at_multiples_of_64(tmp_path):
    fb.save([fb.ones(3), fb.ones(100), fb.ones(1)], tmp_path / "x.pt", format="torch")
    raw = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        for info in archive.infolist():
            at = info.header_offset
            assert (at + 30 + sum(struct.unpack("<HH", raw[at + 26 : at + 30]))) % 64 == 0, info.filename


def test_whole_models_load_where_the_user_says_so(tmp_path):
    model = fb.nn.Sequential(fb.nn.Linear(2, 3), fb.nn.ReLU())
    fb.save(model, tmp_path / "x.pt", format="torch")
    with pytest.raises(fb.serialization.FormatError, match="weights_only=False"):
        fb.load(tmp_path / "x.pt")
    again = fb.load(tmp_path / "x.pt", weights_only=False)
    assert type(again) is fb.nn.Sequential and again(fb.ones(1, 2)).equal(model(fb.ones(1, 2)))
    with pytest.raises(TypeError, match="save"):
        fb.save({"f": lambda x: x}, tmp_path / "y.pt", format="torch")
    assert not (tmp_path / "y.pt").exists()
    with pytest.raises(ValueError, match="'safetensors' or 'torch'"):
        fb.save({}, tmp_path / "y.pt", format="zip")
