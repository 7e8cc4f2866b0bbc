"""The example programs, each in a shortened run: it shows its progress, learns, and leaves its picture or sample.

Every bound lies where neither an untrained model nor chance gets; the figures of whole runs are in examples/README.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("sklearn", "tqdm", "matplotlib"):
    pytest.importorskip(package)

EXAMPLES = Path(__file__).parent.parent / "examples"


def figures(folder, name, **options):
    """The numbers in the last line the program writes, after its progress bar has come to its end."""
    given = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--out", str(folder), *given]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", done.stdout.splitlines()[-1])]


def assert_drawn(path):
    data = path.read_bytes()
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and width > 100 and height > 100


def test_gpt(tmp_path):
    (nats,) = figures(tmp_path, "gpt", steps=90, sample=20)
    assert nats < 2.9  # The frequencies of the characters alone give 3.06.
    sample = (tmp_path / "sample.txt").read_text()
    assert sample.startswith("def ") and len(sample) == 24


def test_lstm(tmp_path):
    (nats,) = figures(tmp_path, "lstm_lm", steps=22, sample=20)
    assert nats < 2.9
    assert len((tmp_path / "sample.txt").read_text()) == 24


def test_vae(tmp_path):
    reached, alike = figures(tmp_path, "vae", epochs=60)
    assert reached < alike - 1.5
    assert_drawn(tmp_path / "samples.png")
    assert_drawn(tmp_path / "rebuilt.png")


def test_gan(tmp_path):
    met, real = figures(tmp_path, "gan", epochs=25)
    assert 100 * 0.4 < met <= 100 and real > 90
    assert_drawn(tmp_path / "samples.png")


def test_siamese(tmp_path):
    (percent,) = figures(tmp_path, "siamese", steps=150)
    assert percent > 96  # The distance of the pixels themselves gives 93, an untrained network 70.
    assert_drawn(tmp_path / "neighbours.png")


def test_resnet(tmp_path):
    (percent,) = figures(tmp_path, "resnet", epochs=6)
    assert percent > 92
    assert_drawn(tmp_path / "learning_curve.png")


def test_vit(tmp_path):
    (percent,) = figures(tmp_path, "vit", epochs=7)
    assert percent > 70
    assert_drawn(tmp_path / "attention.png")


def test_graph_network(tmp_path):
    placed, alone = figures(tmp_path, "gnn", steps=60)
    assert placed > 98 and placed > alone + 5
    assert_drawn(tmp_path / "graph.png")


def test_neural_ode(tmp_path):
    steps, distance = figures(tmp_path, "neural_ode", steps=400)
    assert steps == 1000 and distance < 0.6  # Standing still is 2.08 off, staying at the origin 0.82.
    assert_drawn(tmp_path / "spiral.png")


def test_actor_critic(tmp_path):
    stood, whole, _ = figures(tmp_path, "actor_critic", updates=1200)
    assert whole == 500 and stood > 100  # Pushing by chance 22, an untrained actor at most 50, against the lean 44.
    assert_drawn(tmp_path / "rewards.png")


def test_unet(tmp_path):
    ground, discs, squares = figures(tmp_path, "unet", steps=80)
    # Calling all of it ground gives 0.80; kinds take longer to tell apart, but by now both are named.
    assert ground > 0.97 and min(discs, squares) > 0.15
    assert_drawn(tmp_path / "masks.png")


def test_super_resolution(tmp_path):
    found, bicubic = figures(tmp_path, "super_resolution", epochs=12)
    assert found > bicubic + 3
    assert_drawn(tmp_path / "enlarged.png")


def test_word_embeddings(tmp_path):
    drawn, percent = figures(tmp_path, "word2vec", steps=1000)
    assert drawn == 5 and percent > 24  # Chance: one in six.
    near = (tmp_path / "neighbours.txt").read_text()
    assert re.search(r"ValueError: .*raise", near)
