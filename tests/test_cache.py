"""Images on disk: found again, rebuilt when damaged, shared by processes at once, and no LLVM on a hit."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernels import I, callable_image, pointwise

import flambeau.codegen
from flambeau.codegen import cache, native
from flambeau.codegen.target import AVX2, AVX512, host
from flambeau.ir.expr import load
from flambeau.ir.text import format_kernel

ROOT = Path(flambeau.codegen.__file__).parents[2]
KERNEL = pointwise(load("x", "f32", I) * 3.0 + 1.0, {"x": "f32"}, "cached")
TEXT = format_kernel(KERNEL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path / "kernels"))
    cache.directory.cache_clear()
    yield tmp_path / "kernels"
    cache.directory.cache_clear()


@pytest.fixture
def builds(monkeypatch):
    """Counts compilations."""
    count: list[str] = []
    build = native.build
    monkeypatch.setattr(native, "build", lambda kernel, target: count.append(kernel.name) or build(kernel, target))
    return count


def works(image: bytes) -> bool:
    x, out = np.arange(20, dtype=np.float32), np.zeros(20, np.float32)
    callable_image(image)([x, out, 20], 0, 20)
    return bool((out == x * 3 + 1).all())


def test_compiled_once_and_found_again(place, builds):
    first = native.image(KERNEL, TEXT, host())
    assert native.image(KERNEL, TEXT, host()) == first and works(first)
    assert builds == ["cached"]
    (file,) = place.iterdir()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700 and re.fullmatch("[0-9a-f]{64}", file.name)


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:20], lambda data: data[:-1], lambda data: data + b"\0",
    lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], lambda data: b"\x7fELF" + data[4:],
    lambda data: bytes(len(data)),
], ids=["empty", "torn header", "torn image", "too long", "a flipped bit", "foreign", "zeros"])  # fmt: skip
def test_damaged_files_are_rebuilt(place, builds, damage):
    good = native.image(KERNEL, TEXT, host())
    (file,) = place.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert native.image(KERNEL, TEXT, host()) == good and works(good)
    assert builds == ["cached"] * 2
    native.image(KERNEL, TEXT, host())
    assert builds == ["cached"] * 2


def test_a_whole_file_under_another_name_is_refused(place, builds):
    """A renamed file must not pass for another kernel's image."""
    native.image(KERNEL, TEXT, host())
    (file,) = place.iterdir()
    other = pointwise(load("x", "f32", I) * 3.0 + 2.0, {"x": "f32"}, "cached")
    file.rename(place / cache.key(format_kernel(other), host()))
    native.image(other, format_kernel(other), host())
    assert len(builds) == 2


def test_everything_that_decides_the_bytes_is_in_the_key(monkeypatch):
    keys = {cache.key(TEXT, AVX512), cache.key(TEXT, AVX2), cache.key(TEXT + " ", AVX512)}
    monkeypatch.setattr(cache, "fingerprint", lambda: b"another version")
    assert len(keys | {cache.key(TEXT, AVX512)}) == 4


@pytest.mark.parametrize("obstacle", ["a file in the way", "no such device"])
def test_without_a_usable_directory_kernels_are_compiled(tmp_path, monkeypatch, builds, obstacle):
    (tmp_path / "file").write_text("")
    chosen = str(tmp_path / "file" / "kernels") if obstacle == "a file in the way" else "/proc/nothing/here"
    monkeypatch.setenv("FLAMBEAU_CACHE", chosen)
    cache.directory.cache_clear()
    try:
        assert works(native.image(KERNEL, TEXT, host())) and works(native.image(KERNEL, TEXT, host()))
        assert len(builds) == 2
    finally:
        cache.directory.cache_clear()


def test_a_full_disk_leaves_nothing_behind(place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert works(native.image(KERNEL, TEXT, host()))
    assert list(place.iterdir()) == []


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from flambeau.codegen import native
from flambeau.ir.expr import load, const
from kernels import I, pointwise
import ctypes
for k in range({kernels}):
    kernel = pointwise(load("x", "f32", I) + float(k), {{"x": "f32"}}, f"k{{k}}")
    address = native.function(kernel)
    assert native.function(kernel) == address
    x, out = np.zeros(20, np.float32), np.zeros(20, np.float32)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)
    call((ctypes.c_int64 * 3)(x.ctypes.data, out.ctypes.data, 20), 0, 20)
    assert (out == k).all()
print("LLVM" if "llvmlite.binding" in sys.modules else "no LLVM")
"""


def start(place: Path, kernels: int = 1, **env: str) -> subprocess.Popen:
    program = PROGRAM.format(tests=str(Path(__file__).parent), kernels=kernels)
    environment = os.environ | {"FLAMBEAU_CACHE": str(place), "PYTHONPATH": str(ROOT)} | env
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.strip(), err


def test_llvm_is_loaded_on_a_miss_only(place):
    assert finish(start(place))[0] == "LLVM"
    assert finish(start(place))[0] == "no LLVM"


def test_processes_at_once(place):
    """All compile the same kernels at the same time; none sees half a file, and nothing temporary stays."""
    for process in [start(place, kernels=5) for _ in range(3)]:
        finish(process)
    assert len(list(place.iterdir())) == 5
    assert finish(start(place, kernels=5))[0] == "no LLVM"


def test_debug_ladder(place):
    assert "compile" not in finish(start(place, FLAMBEAU_DEBUG="1"))[1]
    for level, words in (
        (2, "compile k0"),
        (4, "kernel k0("),
        (5, "define void"),
        (6, "retq" if host().vector_bits > 128 else "ret"),
    ):
        err = finish(start(place / str(level), FLAMBEAU_DEBUG=str(level)))[1]
        assert words in err
        assert ("define void" in err) == (level >= 5)


SWAPPED = """
import os, pathlib, flambeau as fb
source = pathlib.Path(fb.__file__).parent / "codegen" / "llvm_ops.py"
if {early}:
    source.write_text(source.read_text() + "# another version\\n")
fb.ones(3).exp()
print(len(os.listdir(os.environ["FLAMBEAU_CACHE"])) if os.path.isdir(os.environ["FLAMBEAU_CACHE"]) else 0)
if not {early}:
    source.write_text(source.read_text() + "# another version\\n")
    known = len(os.listdir(os.environ["FLAMBEAU_CACHE"]))
    fb.ones(3).exp(), fb.ones(3).sinh()
    print(len(os.listdir(os.environ["FLAMBEAU_CACHE"])) - known)
"""


@pytest.mark.parametrize("early", [True, False], ids=["before the first kernel", "after some kernels"])
def test_sources_that_change_under_a_process_leave_no_images(tmp_path, early):
    """Its images would be found by processes that run the new version, under the new version's name."""
    shutil.copytree(ROOT / "flambeau", tmp_path / "flambeau", ignore=shutil.ignore_patterns("__pycache__", "*.c"))
    env = os.environ | {"FLAMBEAU_CACHE": str(tmp_path / "kernels"), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SWAPPED.format(early=early)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    counts = done.stdout.split()
    assert counts[-1] == "0"
    assert early or int(counts[0]) > 0
