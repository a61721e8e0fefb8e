"""Runs a model and says how good it is."""

import numpy as np
import onnxruntime
from sklearn.metrics import average_precision_score, roc_auc_score

#: Those of the policies in examples/.
DEFAULT_THRESHOLDS = [0.3, 0.5, 0.6, 0.9]

RUN_ROWS = 4096


def run_onnx(model: bytes, values: np.ndarray) -> np.ndarray:
    """Probability of fraud for each row, float32 [rows], as weir computes it: one thread, one float32 input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    runs = (
        session.run(["probabilities"], {name: values[start : start + RUN_ROWS]})[0][:, 1]
        for start in range(0, len(values), RUN_ROWS)
    )
    return np.concatenate(list(runs))


def ranking(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Figures that no threshold goes into."""
    return {
        "average_precision": float(average_precision_score(labels, probabilities)),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
    }


def at_threshold(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """What raising an alert from this probability on does; precision and mean_probability are 0 where there is no alert."""
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
    print(f"  {count:,} transactions, {frauds:,} of them fraud ({frauds / count:.2%}; expected {probabilities.mean():.2%})")
    print(f"  average precision {ranks['average_precision']:.3f}   ROC AUC {ranks['roc_auc']:.3f}")
    print("  probability    alerts  precision   recall  expected precision")
    for threshold in thresholds:
        row = at_threshold(labels, probabilities, threshold)
        print(
            f"  >= {threshold:<8g} {row['alerts']:>9,} {row['precision']:>10.1%} {row['recall']:>8.1%}"
            f" {row['mean_probability']:>19.1%}"
        )
