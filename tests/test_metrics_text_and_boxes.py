"""BLEU, perplexity and mean average precision against published values and the reference tools' own."""

from __future__ import annotations

import json
import math
import pathlib

import pytest

import flambeau as fb
from flambeau import metrics as M

CASES = json.loads((pathlib.Path(__file__).parent / "data" / "detections.json").read_text())["cases"]

# Papineni's example, and the values NLTK 3.10 gives for it.
GUIDE = "It is a guide to action which ensures that the military always obeys the commands of the party"
GUIDES = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]
BOOK = "he read the book because he was interested in world history"
BOOKS = ["he was interested in world history because he read the book"]


def test_bleu_is_nltks():
    corpus = [GUIDE, BOOK], [GUIDES, BOOKS]
    assert M.bleu([GUIDE], [GUIDES]).item() == pytest.approx(0.5045666840058485)
    assert M.bleu(*corpus).item() == pytest.approx(0.5920778868801042)
    assert M.bleu(*corpus, n_gram=2).item() == pytest.approx(0.8242803277698696)
    short = " ".join(GUIDE.split()[:9])
    assert M.bleu([short, BOOK], [GUIDES, BOOKS], smooth=1.0).item() == pytest.approx(0.5173972900358569)


def test_bleu_by_hand():
    """Papineni's `the the the …`: clipped to the two of the reference; tokens may be anything."""
    assert M.bleu(["the " * 7], [["the cat is on the mat"]], n_gram=1).item() == pytest.approx(2 / 7)
    assert M.bleu([[1, 2, 3]], [[[1, 2, 3, 4]]], n_gram=1).item() == pytest.approx(math.exp(1 - 4 / 3))
    assert M.bleu(["a b c"], [["a b c d"]]).item() == 0.0  # no 4-gram
    assert M.bleu(["a b c d e"], [["a b c d e"]]).item() == 1.0
    # Of references equally near in length the shorter counts.
    assert M.bleu(["a b c"], [["a b", "a b c d"]], n_gram=1).item() == 1.0


def test_bleu_of_a_stream_is_that_of_the_corpus():
    whole = M.BLEU().update([GUIDE, BOOK], [GUIDES, BOOKS])
    pieces = M.BLEU().update([GUIDE], [GUIDES]).merge(M.BLEU().update([BOOK], [BOOKS]))
    assert whole.compute().item() == pieces.compute().item()
    with pytest.raises(ValueError, match="a list of candidates"):
        M.bleu("a b c d", ["a b c d"])
    with pytest.raises(ValueError, match="each candidate needs a list of references"):
        M.bleu(["a"], ["a"])


def test_perplexity_of_a_known_distribution():
    p = fb.tensor([0.5, 0.25, 0.25], dtype=fb.float64)
    logits = p.log().expand(1, 4, 3) + 7.0  # a constant doesn't matter
    want = math.exp(-(2 * math.log(0.5) + 2 * math.log(0.25)) / 4)
    assert M.perplexity(logits, fb.tensor([[0, 0, 1, 2]])).item() == pytest.approx(want)
    halves = M.Perplexity()
    halves.update(logits[:, :1], fb.tensor([[0]])).update(logits[:, 1:], fb.tensor([[0, 1, 2]]))
    assert halves.compute().item() == pytest.approx(want)
    with pytest.raises(ValueError, match="takes logits"):
        M.perplexity(logits, fb.tensor([0, 1]))


def boxes(rows):
    return fb.tensor(rows, dtype=fb.float64).reshape(-1, 4)


def image(case):
    found = {
        "boxes": boxes(case["boxes"]),
        "scores": fb.tensor(case["scores"], dtype=fb.float64),
        "labels": fb.tensor(case["labels"], dtype=fb.int64),
    }
    return found, {"boxes": boxes(case["true_boxes"]), "labels": fb.tensor(case["true_labels"], dtype=fb.int64)}


@pytest.mark.parametrize("case", CASES)
def test_mean_average_precision_is_pycocotools(case):
    pairs = [image(i) for i in case["images"]]
    got = M.mean_average_precision([a for a, _ in pairs], [b for _, b in pairs])
    for name in ("map", "map_50", "map_75", "mar"):
        assert got[name].item() == pytest.approx(case[name], abs=1e-9)
    pieces = M.MeanAveragePrecision()
    for a, b in pairs:
        pieces.merge(M.MeanAveragePrecision().update([a], [b]))
    assert pieces.compute()["map"].item() == pytest.approx(case["map"], abs=1e-9)


def test_average_precision_of_boxes_by_hand():
    """Three boxes; found: the first exactly, the second too far off, the third not at all."""
    true = {"boxes": boxes([[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]), "labels": fb.tensor([0, 0, 0])}
    found = {
        "boxes": boxes([[0, 0, 10, 10], [28, 28, 38, 38]]),
        "scores": fb.tensor([0.9, 0.8]),
        "labels": fb.tensor([0, 0]),
    }
    got = M.mean_average_precision([found], [true])
    assert got["map"].item() == pytest.approx(34 / 101)  # precision 1 at recalls 0 … 0.33
    assert got["mar"].item() == pytest.approx(1 / 3)
    assert got["classes"].tolist() == [0]
    # A second detection of the same box is wrong.
    twice = {k: fb.cat([v[:1], v[:1]]) for k, v in found.items()}
    assert M.mean_average_precision([twice], [true])["mar"].item() == pytest.approx(1 / 3)
    # An image without boxes counts what is found there as wrong, and nothing else.
    none = {"boxes": boxes([]), "scores": fb.zeros(0), "labels": fb.zeros(0, dtype=fb.int64)}
    empty = {"boxes": boxes([]), "labels": fb.zeros(0, dtype=fb.int64)}
    assert M.mean_average_precision([found, none], [true, empty])["map"].item() == pytest.approx(34 / 101)
    assert math.isnan(M.mean_average_precision([none], [empty])["map"].item())


def test_errors_of_boxes():
    with pytest.raises(ValueError, match="one dict for each image, got 1 predictions and 0 targets"):
        M.mean_average_precision([{}], [])
    with pytest.raises(ValueError, match="predictions need boxes, scores, labels"):
        M.mean_average_precision([{"boxes": boxes([[0, 0, 1, 1]])}], [{}])


def test_box_iou():
    a = boxes([[0, 0, 4, 4], [0, 0, 0, 0]])
    b = boxes([[0, 0, 4, 4], [2, 2, 6, 6], [9, 9, 10, 10]])
    assert M.box_iou(a, b).tolist() == [[1.0, 4 / 28, 0.0], [0.0, 0.0, 0.0]]
