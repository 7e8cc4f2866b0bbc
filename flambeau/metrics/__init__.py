"""Metrics: a state, how a batch adds to it, and a formula; as classes for streams and as functions for one batch.

>>> m = fb.metrics.F1(num_classes=3)
>>> m.update(fb.tensor([0, 1, 2, 2]), fb.tensor([0, 1, 1, 2])).compute()
tensor(0.7778, dtype=flambeau.float64)

`update`, `compute`, `reset`; `merge` and `state_dict` for several processes. Values are float64 and agree with
scikit-learn's. Imports flambeau's functions. Read next: `metric.py`.
"""

from __future__ import annotations

from flambeau.metrics.classification import (
    F1,
    Accuracy,
    ConfusionMatrix,
    FBeta,
    IoU,
    MatthewsCorrcoef,
    Precision,
    Recall,
    accuracy,
    confusion_matrix,
    f1,
    fbeta,
    iou,
    matthews_corrcoef,
    precision,
    recall,
)
from flambeau.metrics.detection import MeanAveragePrecision, box_iou, mean_average_precision
from flambeau.metrics.metric import Metric
from flambeau.metrics.probabilistic import (
    BrierScore,
    CalibrationError,
    LogLoss,
    Perplexity,
    brier_score,
    calibration_error,
    log_loss,
    perplexity,
)
from flambeau.metrics.ranking import (
    AUC,
    AUROC,
    ROC,
    AveragePrecision,
    PrecisionRecallCurve,
    auc,
    auroc,
    average_precision,
    precision_recall_curve,
    roc_curve,
)
from flambeau.metrics.regression import (
    ExplainedVariance,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    PearsonCorrcoef,
    R2Score,
    RootMeanSquaredError,
    SpearmanCorrcoef,
    explained_variance,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    pearson_corrcoef,
    r2_score,
    root_mean_squared_error,
    spearman_corrcoef,
)
from flambeau.metrics.text import BLEU, bleu

__all__ = [
    "AUC", "AUROC", "Accuracy", "AveragePrecision", "BLEU", "BrierScore", "CalibrationError", "ConfusionMatrix",
    "ExplainedVariance", "F1", "FBeta", "IoU", "LogLoss", "MatthewsCorrcoef", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanAveragePrecision", "MeanSquaredError", "Metric", "PearsonCorrcoef",
    "Perplexity", "Precision", "PrecisionRecallCurve", "R2Score", "ROC", "Recall", "RootMeanSquaredError",
    "SpearmanCorrcoef", "accuracy", "auc", "auroc", "average_precision", "bleu", "box_iou", "brier_score",
    "calibration_error", "confusion_matrix", "explained_variance", "f1", "fbeta", "iou", "log_loss",
    "matthews_corrcoef", "mean_absolute_error", "mean_absolute_percentage_error", "mean_average_precision",
    "mean_squared_error", "pearson_corrcoef", "perplexity", "precision", "precision_recall_curve", "r2_score",
    "recall", "roc_curve", "root_mean_squared_error", "spearman_corrcoef",
]  # fmt: skip
