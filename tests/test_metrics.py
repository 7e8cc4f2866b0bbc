"""Metrics of classes, scores, probabilities and numbers equal scikit-learn's, for one batch and for a stream."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

import flambeau as fb
from flambeau import metrics as M

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that are missing
few = settings(max_examples=30, deadline=None)


@st.composite
def labelled(draw, classes=st.integers(2, 5), longest=30):
    """Classes, scores on a coarse grid (so that some are equal) and weights; some classes may be missing."""
    c = draw(classes)
    n = draw(st.integers(1, longest))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    present = rng.choice(c, size=rng.integers(1, c + 1), replace=False)
    y = rng.choice(present, size=n)
    scores = rng.integers(0, draw(st.sampled_from([2, 5, 1000])), size=(n, c)) / 8.0
    return c, y, scores, rng.integers(1, 5, size=n) / 2.0, rng


def t(x):
    return fb.as_tensor(np.asarray(x))


def near(got, want, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(got.tolist() if isinstance(got, fb.Tensor) else got), want, atol=tolerance)


def in_pieces(metric, rng, *arrays):
    """The metric over a stream cut at random places, half of it computed elsewhere and merged."""
    n = len(arrays[0])
    cuts = sorted({0, n, *rng.integers(0, n + 1, size=3).tolist()})
    here, there = metric(), metric()
    for k, (a, b) in enumerate(itertools.pairwise(cuts)):
        (here if k % 2 else there).update(*(t(x[a:b]) for x in arrays))
    sent = metric().load_state_dict({k: fb.tensor(v.tolist(), dtype=v.dtype) for k, v in there.state_dict().items()})
    return here.merge(sent)


@few
@given(labelled(), st.sampled_from(["micro", "macro", "weighted", None]), st.booleans())
def test_precision_recall_and_f_scores(sample, average, weighted):
    c, y, _, w, rng = sample
    predicted = rng.integers(0, c, size=len(y))
    w = w if weighted else None
    args = (t(predicted), t(y))
    options = {"average": average, "zero_division": 0, "sample_weight": w}
    if average is None:
        options["labels"] = list(range(c))
    for ours, theirs in ((M.precision, sk.precision_score), (M.recall, sk.recall_score), (M.f1, sk.f1_score),
                         (M.iou, sk.jaccard_score)):  # fmt: skip
        got = ours(*args, num_classes=c, average=average, weight=None if w is None else t(w))
        near(got, theirs(y, predicted, **options))
    near(M.fbeta(*args, num_classes=c, average=average, beta=0.5, weight=None if w is None else t(w)),
         sk.fbeta_score(y, predicted, beta=0.5, **options))  # fmt: skip


@few
@given(labelled(classes=st.just(2)))
def test_two_classes(sample):
    _, y, scores, w, _ = sample
    score = scores[:, 0]
    found = (score > 0.5).astype(int)
    for ours, theirs in ((M.precision, sk.precision_score), (M.recall, sk.recall_score), (M.f1, sk.f1_score),
                         (M.iou, sk.jaccard_score)):  # fmt: skip
        near(ours(t(score), t(y), weight=t(w)), theirs(y, found, zero_division=0, sample_weight=w))
        assert ours(t(score), t(y), zero_division=1.0).item() == pytest.approx(theirs(y, found, zero_division=1))
    near(M.accuracy(t(score), t(y), weight=t(w)), sk.accuracy_score(y, found, sample_weight=w))
    near(M.accuracy(t(score), t(y), average="macro"), sk.balanced_accuracy_score(y, found))


@few
@given(labelled(), st.booleans())
def test_accuracy_and_confusion(sample, weighted):
    c, y, scores, w, _ = sample
    w = w if weighted else None
    weight = None if w is None else t(w)
    predicted = scores.argmax(1)
    near(M.accuracy(t(scores), t(y), num_classes=c, weight=weight), sk.accuracy_score(y, predicted, sample_weight=w))
    near(M.accuracy(t(predicted), t(y), num_classes=c, average="macro"), sk.balanced_accuracy_score(y, predicted))
    for k in range(2, c + 1):
        want = sk.top_k_accuracy_score(y, scores, k=k, labels=np.arange(c), sample_weight=w) if c > 2 else 1.0
        near(M.accuracy(t(scores), t(y), num_classes=c, top_k=k, weight=weight), want)
    for normalize in (None, "true", "pred", "all"):
        want = sk.confusion_matrix(y, predicted, labels=np.arange(c), normalize=normalize, sample_weight=w)
        near(M.confusion_matrix(t(predicted), t(y), num_classes=c, normalize=normalize, weight=weight), want)
    near(M.matthews_corrcoef(t(predicted), t(y), num_classes=c, weight=weight),
         sk.matthews_corrcoef(y, predicted, sample_weight=w), 1e-7)  # fmt: skip


@few
@given(labelled(), st.sampled_from(["micro", "macro", "weighted", None]))
def test_labels(sample, average):
    c, _, scores, w, rng = sample
    truth = rng.integers(0, 2, size=scores.shape)
    found = (scores > 0.5).astype(int)
    for ours, theirs in ((M.precision, sk.precision_score), (M.recall, sk.recall_score), (M.f1, sk.f1_score)):
        got = ours(t(scores), t(truth), num_classes=c, multilabel=True, average=average, weight=t(w))
        near(got, theirs(truth, found, average=average, zero_division=0, sample_weight=w))
    near(M.accuracy(t(scores), t(truth), num_classes=c, multilabel=True, average="subset"),
         sk.accuracy_score(truth, found))  # fmt: skip
    near(M.accuracy(t(scores), t(truth), num_classes=c, multilabel=True), (truth == found).mean())
    near(M.accuracy(t(scores), t(truth), num_classes=c, multilabel=True, average=None), (truth == found).mean(0))
    near(M.confusion_matrix(t(scores), t(truth), num_classes=c, multilabel=True),
         sk.multilabel_confusion_matrix(truth, found))  # fmt: skip


@few
@given(labelled(classes=st.just(2)), st.booleans())
def test_curves_and_areas_of_two_classes(sample, weighted):
    _, y, scores, w, _ = sample
    score, w = scores[:, 0], w if weighted else None
    weight = None if w is None else t(w)
    for drop in (False, True):
        ours = M.roc_curve(t(score), t(y), drop_intermediate=drop, weight=weight)
        theirs = sk.roc_curve(y, score, pos_label=1, drop_intermediate=drop, sample_weight=w)
        for a, b in zip(ours, theirs, strict=True):
            near(a, b)
    for a, b in zip(M.precision_recall_curve(t(score), t(y), weight=weight),
                    sk.precision_recall_curve(y, score, pos_label=1, sample_weight=w), strict=True):  # fmt: skip
        near(a, b)
    near(M.average_precision(t(score), t(y), weight=weight), sk.average_precision_score(y, score, sample_weight=w))
    if len(set(y)) == 2:
        near(M.auroc(t(score), t(y), weight=weight), sk.roc_auc_score(y, score, sample_weight=w))
    else:
        assert math.isnan(M.auroc(t(score), t(y)).item())


@few
@given(labelled(longest=20), st.sampled_from(["micro", "macro", "weighted", None]))
def test_areas_of_several_classes(sample, average):
    c, y, scores, _, rng = sample
    y = np.concatenate([y, np.arange(c)])  # every class is there, as scikit-learn needs it
    scores = np.concatenate([scores, rng.random((c, c))])
    one_hot = np.eye(c, dtype=int)[y]
    near(M.auroc(t(scores), t(y), average=average), sk.roc_auc_score(one_hot, scores, average=average))
    truth = rng.integers(0, 2, size=scores.shape)
    near(M.average_precision(t(scores), t(truth), average=average),
         sk.average_precision_score(truth, scores, average=average))  # fmt: skip


@few
@given(labelled())
def test_probabilities(sample):
    c, y, scores, w, _ = sample
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    near(M.log_loss(t(p), t(y), weight=t(w)), sk.log_loss(y, p, labels=np.arange(c), sample_weight=w))
    one_hot = np.eye(c)[y]
    near(M.brier_score(t(p), t(y), weight=t(w)), np.average(((p - one_hot) ** 2).sum(1), weights=w))
    binary = (y == 0).astype(int)
    near(M.log_loss(t(p[:, 0]), t(binary)), sk.log_loss(binary, p[:, 0], labels=[0, 1]))
    near(M.brier_score(t(p[:, 0]), t(binary), weight=t(w)),
         sk.brier_score_loss(binary, p[:, 0], sample_weight=w, pos_label=1))  # fmt: skip
    # Certain and wrong: clipped, not infinite.
    sure = np.array([1.0, 0.0])
    near(M.log_loss(t(sure), t([0, 0])), sk.log_loss([0, 0], sure, labels=[0, 1]))


@few
@given(labelled(), st.integers(1, 12))
def test_calibration_error(sample, bins):
    _, y, _, _, rng = sample
    p = rng.random(len(y))
    y = (y == 0).astype(int)
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [(abs((y[place == b] - p[place == b]).sum()), (place == b).sum()) for b in range(bins)]
    near(M.calibration_error(t(p), t(y), bins=bins), sum(g for g, _ in gaps) / len(y))
    near(M.calibration_error(t(p), t(y), bins=bins, norm="max"), max(g / k for g, k in gaps if k))
    squares = sum(g * g / k for g, k in gaps if k) / len(y)
    near(M.calibration_error(t(p), t(y), bins=bins, norm="l2"), math.sqrt(squares))
    near(M.calibration_error(t(np.stack([1 - p, p], 1)), t(y), bins=bins),
         M.calibration_error(t(np.maximum(p, 1 - p)), t(np.where(p > 0.5, y, 1 - y)), bins=bins).item())  # fmt: skip


@few
@given(st.integers(1, 20), st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 1e6]))
def test_errors_of_numbers(n, outputs, seed, weighted, offset):
    rng = np.random.default_rng(seed)
    y = rng.integers(-3, 4, size=(n, outputs)) + offset
    x = y + rng.integers(-2, 3, size=(n, outputs)) / 2
    w = rng.integers(1, 5, size=n) / 2 if weighted else None
    weight = None if w is None else t(w)
    for ours, theirs in (
        (M.mean_squared_error, sk.mean_squared_error),
        (M.root_mean_squared_error, sk.root_mean_squared_error),
        (M.mean_absolute_error, sk.mean_absolute_error),
        (M.mean_absolute_percentage_error, sk.mean_absolute_percentage_error),
        (M.r2_score, sk.r2_score),
        (M.explained_variance, sk.explained_variance_score),
    ):
        for multioutput in ("uniform_average", "raw_values"):
            want = theirs(y, x, sample_weight=w, multioutput=multioutput)
            if theirs is sk.r2_score and n < 2:
                assert math.isnan(ours(t(x), t(y)).item()) and math.isnan(want)
                continue
            got = ours(t(x), t(y), multioutput=multioutput, weight=weight)
            np.testing.assert_allclose(np.asarray(got.tolist()), want, rtol=1e-9, atol=1e-9)
    if n > 1:
        near(M.r2_score(t(x), t(y), multioutput="variance_weighted"),
             sk.r2_score(y, x, multioutput="variance_weighted"))  # fmt: skip
        a, b = rng.integers(0, 6, size=n) + offset, rng.integers(0, 6, size=n) + offset
        if len(set(a)) > 1 and len(set(b)) > 1:
            near(M.pearson_corrcoef(t(a), t(b)), scipy.stats.pearsonr(a, b)[0])
            near(M.spearman_corrcoef(t(a), t(b)), scipy.stats.spearmanr(a, b)[0])
        else:
            assert math.isnan(M.pearson_corrcoef(t(a), t(b)).item())


STREAMED = {
    "accuracy": (lambda: M.Accuracy(num_classes=3), "classes"),
    "f1": (lambda: M.F1(num_classes=3), "classes"),
    "confusion": (lambda: M.ConfusionMatrix(3), "classes"),
    "auroc": (lambda: M.AUROC(), "scores"),
    "average precision": (lambda: M.AveragePrecision(), "scores"),
    "log loss": (lambda: M.LogLoss(), "scores"),
    "calibration": (lambda: M.CalibrationError(), "scores"),
    "r2": (lambda: M.R2Score(), "numbers"),
    "explained variance": (lambda: M.ExplainedVariance(), "numbers"),
    "pearson": (lambda: M.PearsonCorrcoef(), "numbers"),
    "spearman": (lambda: M.SpearmanCorrcoef(), "numbers"),
    "rmse": (lambda: M.RootMeanSquaredError(), "numbers"),
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_in_pieces_and_processes_is_the_whole(name):
    metric, kind = STREAMED[name]
    rng = np.random.default_rng(7)
    pairs = {
        "classes": (rng.integers(0, 3, 60), rng.integers(0, 3, 60)),
        "scores": (rng.random(60), rng.integers(0, 2, 60)),
        "numbers": (rng.normal(1e6, 1.0, 60), rng.normal(1e6, 1.0, 60)),
    }
    arrays = pairs[kind]
    whole = metric().update(*map(t, arrays)).compute()
    for _ in range(5):
        near(in_pieces(metric, rng, *arrays).compute(), np.asarray(whole.tolist()), 1e-9)


def test_numbers_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    metric = M.PearsonCorrcoef()
    for a, b in zip(np.split(x + 1e9, 10), np.split(y + 1e9, 10), strict=True):
        metric.update(t(a), t(b))
    near(metric.compute(), scipy.stats.pearsonr(x + 1e9, y + 1e9)[0], 1e-9)


def test_reset_call_and_repr():
    m = M.Accuracy(num_classes=2)
    assert m(fb.tensor([0, 1]), fb.tensor([0, 0])).item() == 0.5
    assert m(fb.tensor([1, 1]), fb.tensor([1, 1])).item() == 1.0
    assert m.compute().item() == 0.75
    with pytest.raises(RuntimeError, match=r"call update\(\.\.\.\) with a batch first"):
        m.reset().compute()
    assert m.state_dict() == {}
    assert repr(M.CalibrationError(10)) == "CalibrationError(bins=10, norm='l1')"
    x = fb.ones(3, requires_grad=True)
    assert not M.mean_squared_error(x, fb.zeros(3)).requires_grad


def test_padding_is_left_out():
    y = fb.tensor([[0, 1, -100], [2, -100, -100]])
    found = fb.tensor([[0, 2, 1], [2, 1, 0]])
    assert M.accuracy(found, y, num_classes=3, ignore_index=-100).item() == pytest.approx(2 / 3)
    assert M.confusion_matrix(found, y, num_classes=3, ignore_index=-100).sum().item() == 3
    logits = fb.randn(2, 3, 5)
    kept = M.perplexity(logits, y, ignore_index=-100)
    flat = fb.nn.functional.cross_entropy(logits.reshape(-1, 5).double(), y.reshape(-1), ignore_index=-100)
    near(kept, math.exp(flat.item()), 1e-9)


def test_segmentation_maps():
    rng = np.random.default_rng(1)
    y, x = rng.integers(0, 4, (2, 8, 9)), rng.integers(0, 4, (2, 8, 9))
    scores = np.moveaxis(np.eye(4)[x], -1, 1)
    want = sk.jaccard_score(y.ravel(), x.ravel(), average="macro")
    near(M.iou(t(x), t(y), num_classes=4), want)
    near(M.iou(t(scores), t(y), num_classes=4), want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: M.accuracy(fb.tensor([0, 3]), fb.tensor([0, 1]), num_classes=3), "whole numbers from 0 to 2"),
        (lambda: M.accuracy(fb.tensor([0]), fb.tensor([0, 1]), num_classes=3), "same shape"),
        (lambda: M.accuracy(fb.zeros(2, 4), fb.tensor([0, 1]), num_classes=3), "scores must be"),
        (lambda: M.F1(average="mean"), "average is one of"),
        (lambda: M.Accuracy(top_k=2), "need num_classes"),
        (lambda: M.auroc(fb.tensor([math.nan, 1.0]), fb.tensor([0, 1])), "must not be NaN"),
        (lambda: M.log_loss(fb.tensor([1.5]), fb.tensor([1])), "use sigmoid or softmax"),
        (lambda: M.r2_score(fb.ones(2), fb.ones(3)), "same shape"),
        (lambda: M.mean_squared_error(fb.ones(2), fb.ones(2), weight=fb.ones(3)), "one weight for each of 2"),
        (lambda: M.MeanSquaredError(multioutput="variance_weighted"), "multioutput is one of"),
        (lambda: M.auc(fb.tensor([0.0, 2.0, 1.0]), fb.ones(3)), "sort the points"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_the_same_kind_merges():
    with pytest.raises(TypeError, match="takes states of its own kind, got F1"):
        M.Accuracy().merge(M.F1())
