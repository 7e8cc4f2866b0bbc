"""The digits example: it learns, draws, and after kills it ends with the very same weights."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

DIGITS = Path(__file__).parent.parent / "examples" / "digits.py"
EPOCHS = 8


def digits(folder, *options):
    command = [sys.executable, str(DIGITS), "--epochs", str(EPOCHS), "--out", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return out, errors


def weights(out):
    return re.search(r"^weights ([0-9a-f]{16})$", out, re.M)[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its folder, output and progress bars."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *finish(digits(folder))


def test_it_learns(whole):
    _, out, bars = whole
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", out)[1])
    assert accuracy >= 98
    last = bars.replace("\r", "\n").strip().splitlines()[-1]
    assert f"epoch  {EPOCHS}/{EPOCHS}: 100%" in last and "samples/s" in last and "loss=" in last and "accuracy=" in last


def test_it_draws(whole):
    folder = whole[0]
    for name in ("learning_curve.png", "misclassified.png"):
        data = (folder / name).read_bytes()
        width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and width > 100 and height > 100


def test_killed_and_resumed_it_ends_with_the_same_weights(whole, tmp_path):
    draw = random.Random(0)
    kills = 0
    for _ in range(20):
        process = digits(tmp_path, "--resume")
        checkpoint = tmp_path / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.05))  # somewhere in the epoch after a checkpoint
        if kills == 3 or process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    out, _ = finish(process)
    assert kills >= 2 and "resuming after epoch" in out
    assert weights(out) == weights(whole[1])


def test_another_seed_gives_other_weights(whole, tmp_path):
    assert weights(finish(digits(tmp_path, "--seed", "1"))[0]) != weights(whole[1])
