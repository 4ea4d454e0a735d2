"""Bootstrap replicates/s of all metrics of one model, compared with scikit-learn per replicate.

21,165 samples of four classes, as in the original database; both resample within each class. The
peer calls scikit-learn for the same metrics on indices drawn with numpy.

    python benchmarks/evaluation.py
"""

from __future__ import annotations

import json
import time

import numpy as np
from sklearn import metrics

from covidxr.metrics.classification import evaluate
from covidxr.records import CLASS_NAMES, Labels, Predictions, Scores

SAMPLES, REPLICATES, PEER_REPLICATES = 21_165, 1000, 20


def draw() -> tuple[Labels, Scores]:
    """Return labels in the proportions of the database, and scores of about 90% accuracy."""
    random = np.random.default_rng(0)
    y_true = random.choice(4, SAMPLES, p=[0.48, 0.17, 0.07, 0.28]).astype(np.int64)
    logits = random.normal(size=(SAMPLES, 4)) * 1.2
    logits[np.arange(SAMPLES), y_true] += 3.5
    scores = np.exp(logits)
    return y_true, scores / scores.sum(axis=1, keepdims=True)


def peer(y_true: Labels, y_score: Scores) -> None:
    """Compute one replicate with scikit-learn."""
    y_pred = y_score.argmax(axis=1)
    metrics.confusion_matrix(y_true, y_pred)
    metrics.accuracy_score(y_true, y_pred)
    metrics.balanced_accuracy_score(y_true, y_pred)
    metrics.f1_score(y_true, y_pred, average=None)
    metrics.cohen_kappa_score(y_true, y_pred)
    metrics.matthews_corrcoef(y_true, y_pred)
    metrics.log_loss(y_true, y_score)
    for k in range(y_score.shape[1]):
        metrics.roc_auc_score(y_true == k, y_score[:, k])
        metrics.average_precision_score(y_true == k, y_score[:, k])
        metrics.brier_score_loss(y_true == k, y_score[:, k])


def main() -> None:
    """Print one JSON object."""
    y_true, y_score = draw()
    samples = tuple(f"{i:05d}" for i in range(SAMPLES))
    started = time.perf_counter()
    evaluate(
        Predictions(CLASS_NAMES, samples, ("test",) * SAMPLES, y_true, y_score),
        replicates=REPLICATES,
    )
    ours = time.perf_counter() - started

    random = np.random.default_rng(0)
    strata = [np.flatnonzero(y_true == k) for k in range(4)]
    started = time.perf_counter()
    for _ in range(PEER_REPLICATES):
        rows = np.concatenate([random.choice(rows, len(rows)) for rows in strata])
        peer(y_true[rows], y_score[rows])
    theirs = (time.perf_counter() - started) / PEER_REPLICATES
    rates = {"ours": REPLICATES / ours, "scikit-learn": 1 / theirs}
    result = {
        "samples": SAMPLES,
        "replicates": REPLICATES,
        "seconds": round(ours, 2),
        "replicates_per_second": rates,
    }
    print(json.dumps(result | {"ratio": rates["ours"] / rates["scikit-learn"]}))


if __name__ == "__main__":
    main()
