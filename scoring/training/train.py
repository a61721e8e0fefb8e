"""Trains a model on features that `weir features` exported, for weir to load.

Example:
  python scoring/training/train.py --features features.csv --out model --id cards --version 1

Writes model.onnx and model.json. The same export, arguments and library versions give the same
bytes.
"""

import argparse
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import lightgbm as lgb
import numpy as np

from features_file import DAY_MS, Features, FeaturesFileError, feature_set_hash, read_features
from figures import DEFAULT_THRESHOLDS, at_threshold, print_figures, ranking, run_onnx
from tree_ensemble import binary_classifier_to_onnx

MANIFEST_FORMAT = 1
GOLDEN_ROWS = 20
#: Leaves added up in float32 and in float64 differ by less; a row in a wrong leaf, by far more.
LARGEST_DIFFERENCE = 1e-5
LARGEST_GOLDEN_DIFFERENCE = 1e-6


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    default = "(default %(default)s)"
    add("--features", type=Path, required=True, help="CSV from `weir features`")
    add("--out", type=Path, required=True, help="folder for model.onnx and model.json")
    add("--id", required=True, help="the model's name in every risk event")
    add("--version", required=True, help="its version there")
    add("--seed", type=int, default=1, help=default)
    add("--trees", type=int, default=100, help=default)
    add("--depth", type=int, default=6, help=f"of a tree, at most {default}")
    add("--leaves", type=int, default=31, help=f"of a tree, at most {default}")
    add("--train-share", type=float, default=0.65, help=f"earlier part, trained on {default}")
    add("--label-delay-days", type=float, default=7, help=f"gap before the test part {default}")
    add("--thresholds", type=float, nargs="+", default=DEFAULT_THRESHOLDS, help="of the policy")
    return parser.parse_args()


class Split(NamedTuple):
    """Masks over the rows, bool [rows]: the later part is tested, after labels have arrived."""

    train: np.ndarray
    test: np.ndarray


def split_by_time(features: Features, train_share: float, label_delay_days: float) -> Split:
    cut = np.quantile(features.times, train_share)
    split = Split(features.times < cut, features.times >= cut + label_delay_days * DAY_MS)
    for name, mask in split._asdict().items():
        rows, frauds = int(mask.sum()), int(features.labels[mask].sum())
        if frauds in (0, rows):
            raise FeaturesFileError(
                f"the {name} part has {rows} rows, {frauds} of them fraud; it needs both kinds: "
                "give a longer stream, another --train-share or a shorter --label-delay-days"
            )
    return split


def fit(values: np.ndarray, labels: np.ndarray, args: argparse.Namespace) -> lgb.Booster:
    """No weight for the rare class: a probability must stay what it says, policies compare it."""
    parameters = {
        "objective": "binary",
        "learning_rate": 0.1,
        "max_depth": args.depth,
        "num_leaves": args.leaves,
        "min_data_in_leaf": 100,
        "lambda_l2": 10,
        "seed": args.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    return lgb.train(parameters, lgb.Dataset(values, labels), num_boost_round=args.trees)


def golden_rows(
    values: np.ndarray, probabilities: np.ndarray, differences: np.ndarray
) -> list[dict]:
    """Rows spread over the range of probabilities, as the float64 that equal their float32."""
    candidates = np.flatnonzero(differences <= LARGEST_GOLDEN_DIFFERENCE)
    candidates = candidates[np.argsort(probabilities[candidates], kind="stable")]
    ascending = probabilities[candidates]
    wanted = np.linspace(ascending[0], ascending[-1], GOLDEN_ROWS, dtype=np.float32)
    rows = candidates[np.unique(np.searchsorted(ascending, wanted))]
    return [
        {"features": values[row].tolist(), "probability": probabilities[row].item()}
        for row in rows
    ]


def training_record(
    features: Features, split: Split, probabilities: np.ndarray, args: argparse.Namespace
) -> dict[str, str | float]:
    """What was trained on what, how good it came out on the test part, and with which versions."""
    labels, probabilities = features.labels[split.test], probabilities[split.test]
    record: dict[str, str | float] = {
        "job": features.job,
        "features_sha256": features.sha256,
        "rows": len(features.labels),
        "train_rows": int(split.train.sum()),
        "train_positives": int(features.labels[split.train].sum()),
        "test_rows": len(labels),
        "test_positives": int(labels.sum()),
    }
    for name in ("label_delay_days", "seed", "trees", "depth", "leaves"):
        record[name] = getattr(args, name)
    for name, value in ranking(labels, probabilities).items():
        record[name] = round(value, 4)
    for threshold in args.thresholds:
        row = at_threshold(labels, probabilities, threshold)
        for name in ("precision", "recall"):
            record[f"{name}_at_{threshold:g}"] = round(row[name], 4)
    for library in ("lightgbm", "numpy", "onnx", "onnxruntime"):
        record[library] = version(library)
    return record


def manifest(
    features: Features, split: Split, model: bytes, golden: list[dict], training: dict, name: dict
) -> dict:
    """What model.json holds. The median of what is no fraud stands for an ordinary value."""
    ordinary = features.values[split.train & (features.labels == 0)]
    references = np.median(ordinary, axis=0).astype(np.float32).tolist()
    columns = zip(features.names, features.definitions, references, strict=True)
    return {
        "format": MANIFEST_FORMAT,
        **name,
        "sha256": hashlib.sha256(model).hexdigest(),
        "feature_set": feature_set_hash(features.names, features.definitions),
        "features": [
            {"name": name, "definition": definition, "reference": reference}
            for name, definition, reference in columns
        ],
        "golden": golden,
        "training": training,
    }


def to_json(content: dict) -> str:
    """JSON with a line for each feature, golden row and figure, so that versions compare well."""

    def lines(value: object) -> str:
        if isinstance(value, list):
            return "[\n" + ",\n".join(f"    {json.dumps(each)}" for each in value) + "\n  ]"
        if isinstance(value, dict):
            return json.dumps(value, indent=4).replace("\n}", "\n  }")
        return json.dumps(value)

    return (
        "{\n"
        + ",\n".join(f'  "{key}": {lines(value)}' for key, value in content.items())
        + "\n}\n"
    )


def train_and_write(args: argparse.Namespace) -> None:
    features = read_features(args.features)
    split = split_by_time(features, args.train_share, args.label_delay_days)
    size = f"{len(features.labels):,} rows, {len(features.names)} features"
    print(f"{args.features}: {size} of job {features.job}; seed {args.seed}")
    booster = fit(features.values[split.train], features.labels[split.train], args)
    model = binary_classifier_to_onnx(booster, args.id)

    probabilities = run_onnx(model, features.values)
    differences = np.abs(booster.predict(features.values, num_threads=1) - probabilities)
    print(f"LightGBM and ONNX differ by at most {differences.max():.1e} over all rows")
    if differences.max() > LARGEST_DIFFERENCE:
        sys.exit("train.py: the exported model is not the trained one; nothing is written")

    print("trained on")
    print_figures(features.labels[split.train], probabilities[split.train], args.thresholds)
    print(f"tested on what came from {args.label_delay_days:g} days later on")
    print_figures(features.labels[split.test], probabilities[split.test], args.thresholds)

    golden = golden_rows(features.values, probabilities, differences)
    training = training_record(features, split, probabilities, args)
    name = {"id": args.id, "version": args.version}
    content = manifest(features, split, model, golden, training, name)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.onnx").write_bytes(model)
    (args.out / "model.json").write_text(to_json(content), encoding="utf-8")
    print(f"{args.out / 'model.onnx'} ({len(model) / 1000:.0f} kB) and model.json are written")


if __name__ == "__main__":
    try:
        train_and_write(arguments())
    except (FeaturesFileError, OSError) as error:
        sys.exit(f"train.py: {error}")
