"""Mean average precision of detected boxes, as COCO measures it. Imports `metric.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.metric import Metric, State, double, functional, ratio


def box_iou(a: Any, b: Any) -> Tensor:
    """Intersection over union of each of n boxes with each of m, given as (x1, y1, x2, y2): (n, m).

    >>> fb.metrics.box_iou(fb.tensor([[0.0, 0.0, 2.0, 2.0]]), fb.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor([[0.3333]], dtype=flambeau.float64)
    """
    a, b = double(a).reshape(-1, 4), double(b).reshape(-1, 4)
    low = fb.maximum(a[:, None, :2], b[None, :, :2])
    high = fb.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(-1) for x in (a, b))
    return ratio(common, area_a[:, None] + area_b[None, :] - common)


class MeanAveragePrecision(Metric):
    """Average precision over 101 recalls, averaged over classes and IoU thresholds 0.50, 0.55 … 0.95.

    update(predictions, targets) takes one dict for each image: predictions have `boxes` (n, 4) as x1, y1, x2, y2,
    `scores` (n,) and `labels` (n,); targets have `boxes` and `labels`. Of each class the `max_detections` with the
    highest scores count. compute() gives a dict: `map`, `map_50`, `map_75` (where those thresholds are used), `mar`
    (the mean recall), `classes`, and `map_per_class`; NaN where there are no targets.

    Source: Lin et al., Microsoft COCO (2014), and its evaluation's rules for matching, without crowds.

    >>> box = fb.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> found = [{"boxes": box, "scores": fb.tensor([0.9]), "labels": fb.tensor([1])}]
    >>> fb.metrics.mean_average_precision(found, [{"boxes": box, "labels": fb.tensor([1])}])["map"]
    tensor(1., dtype=flambeau.float64)
    """

    kept = ("scores", "labels", "hits", "truths")

    def __init__(self, iou_thresholds: Sequence[float] | None = None, *, max_detections: int = 100) -> None:
        super().__init__()
        given = [0.5 + 0.05 * k for k in range(10)] if iou_thresholds is None else iou_thresholds
        self.iou_thresholds = [round(float(t), 10) for t in given]
        self.max_detections = max_detections

    def measure(self, predictions: Sequence[dict], targets: Sequence[dict]) -> State:  # type: ignore[override]
        if len(predictions) != len(targets):
            raise ValueError(
                f"MeanAveragePrecision: takes one dict for each image, got {len(predictions)} predictions and "
                f"{len(targets)} targets"
            )
        wide = len(self.iou_thresholds)
        scores, labels = [fb.zeros(0, dtype=fb.float64)], [fb.zeros(0, dtype=fb.int64)]
        hits, truths = [fb.zeros((0, wide), dtype=fb.bool)], [fb.zeros(0, dtype=fb.int64)]
        for found, true in zip(predictions, targets, strict=True):
            check("predictions", found, ("boxes", "scores", "labels"))
            check("targets", true, ("boxes", "labels"))
            there, here = true["labels"].reshape(-1).long(), found["labels"].reshape(-1).long()
            truths.append(there)
            for label in sorted(set(here.tolist())):
                mine = (here == label).nonzero().reshape(-1)
                order = double(found["scores"]).reshape(-1)[mine].argsort(descending=True, stable=True)
                mine = mine[order[: self.max_detections]]
                boxes = true["boxes"].reshape(-1, 4)[(there == label).nonzero().reshape(-1)]
                scores.append(double(found["scores"]).reshape(-1)[mine])
                labels.append(here[mine])
                hits.append(self.matched(box_iou(found["boxes"].reshape(-1, 4)[mine], boxes)))
        return {"scores": fb.cat(scores), "labels": fb.cat(labels), "hits": fb.cat(hits), "truths": fb.cat(truths)}

    def matched(self, overlaps: Tensor) -> Tensor:
        """For each detection, best first, and threshold whether it takes a target that none before it took."""
        rows, wide = overlaps.tolist(), len(self.iou_thresholds)
        out = fb.zeros((len(rows), wide), dtype=fb.bool)
        for t, threshold in enumerate(self.iou_thresholds):
            free = set(range(overlaps.shape[1]))
            for d, row in enumerate(rows):
                best = max(free, key=lambda g: (row[g], g), default=None)
                if best is not None and row[best] >= min(threshold, 1 - 1e-10):
                    free.remove(best)
                    out[d, t] = True
        return out

    def formula(self, state: State) -> dict[str, Tensor]:
        classes = sorted(set(state["truths"].tolist()))
        nothing = fb.full((0, len(self.iou_thresholds)), 0.0, dtype=fb.float64)
        precisions, recalls = [nothing], [nothing]
        for label in classes:
            mine = (state["labels"] == label).nonzero().reshape(-1)
            order = state["scores"][mine].argsort(descending=True, stable=True)
            hits = double(state["hits"][mine][order])
            count = int((state["truths"] == label).sum())
            precisions.append(interpolated(hits, count).unsqueeze(0))
            recalls.append((hits.sum(0) / count).unsqueeze(0))
        each, recall = fb.cat(precisions), fb.cat(recalls)
        result = {"map": each.mean(), "mar": recall.mean()}
        for name, threshold in (("map_50", 0.5), ("map_75", 0.75)):
            if threshold in self.iou_thresholds:
                result[name] = each[:, self.iou_thresholds.index(threshold)].mean()
        return {**result, "classes": fb.tensor(classes, dtype=fb.int64), "map_per_class": each.mean(1)}


def check(what: str, image: dict, keys: tuple[str, ...]) -> None:
    counts = {key: image[key].reshape(-1, 4).shape[0] if key == "boxes" else image[key].numel() for key in image}
    if any(key not in image for key in keys) or len({counts[key] for key in keys}) > 1:
        raise ValueError(
            f"MeanAveragePrecision: {what} need {', '.join(keys)}, one for each box, got {counts or 'nothing'}"
        )


def interpolated(hits: Tensor, count: int) -> Tensor:
    """The mean over recalls 0, 0.01 … 1 of the best precision at that recall or a higher one, for each threshold."""
    if hits.shape[0] == 0:
        return fb.zeros(hits.shape[1], dtype=fb.float64)
    tp = hits.cumsum(0)
    rank = fb.arange(1, hits.shape[0] + 1, dtype=fb.float64).unsqueeze(-1)
    recall, best = tp / count, (tp / rank).flip(0).cummax(0)[0].flip(0)
    at = fb.arange(101, dtype=fb.float64) * 0.01
    place = fb.searchsorted(recall.mT.contiguous(), at.expand(hits.shape[1], 101).contiguous())
    padded = fb.cat([best, fb.zeros((1, hits.shape[1]), dtype=fb.float64)])
    return padded.gather(0, place.mT).mean(0)


mean_average_precision = functional(MeanAveragePrecision, "mean_average_precision")
