"""Runs a model and says how good it is."""

import numpy as np
import onnxruntime
from sklearn.metrics import average_precision_score, roc_auc_score

#: Those of the policies in examples/.
DEFAULT_THRESHOLDS = [0.3, 0.5, 0.6, 0.9]
RUN_ROWS = 4096


def run_onnx(model: bytes, values: np.ndarray) -> np.ndarray:
    """Probability of fraud for each row, as weir computes it: one thread, one float32 input.

    Returns float32 [rows].
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    chunks = (values[start : start + RUN_ROWS] for start in range(0, len(values), RUN_ROWS))
    runs = (session.run(["probabilities"], {"input": chunk})[0] for chunk in chunks)
    return np.concatenate([answer[:, 1] for answer in runs])


def ranking(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Figures that no threshold goes into."""
    return {
        "average_precision": float(average_precision_score(labels, probabilities)),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
    }


def at_threshold(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict:
    """What alerts from this probability on do.

    Without any alert, precision and mean_probability are 0.
    """
    is_alert = probabilities >= threshold
    alerts = int(is_alert.sum())
    caught = int(labels[is_alert].sum())
    return {
        "alerts": alerts,
        "precision": caught / alerts if alerts else 0.0,
        "recall": caught / int(labels.sum()),
        "mean_probability": float(probabilities[is_alert].mean()) if alerts else 0.0,
    }


def print_figures(labels: np.ndarray, probabilities: np.ndarray, thresholds: list[float]) -> None:
    """Prints a block of figures for people."""
    frauds, count = int(labels.sum()), len(labels)
    ranks = ranking(labels, probabilities)
    shares = f"{frauds / count:.2%}; expected {probabilities.mean():.2%}"
    print(f"  {count:,} transactions, {frauds:,} of them fraud ({shares})")
    print(f"  average precision {ranks['average_precision']:.3f}   ROC AUC {ranks['roc_auc']:.3f}")
    print("  probability    alerts  precision  expected   recall")
    for threshold in thresholds:
        row = at_threshold(labels, probabilities, threshold)
        print(
            f"  >= {threshold:<8g} {row['alerts']:>9,} {row['precision']:>10.1%}"
            f" {row['mean_probability']:>9.1%} {row['recall']:>8.1%}"
        )
