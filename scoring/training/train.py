"""Trains a model on features that `weir features` exported, and writes model.onnx and model.json for weir to load.

  python scoring/training/train.py --features features.csv --out examples/demo --id demo --version 1

The same export, arguments and library versions give the same two files, byte for byte.
"""

import argparse
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import lightgbm as lgb
import numpy as np

from features_file import DAY_MS, Features, FeaturesFileError, feature_set_hash, read_features
from figures import DEFAULT_THRESHOLDS, at_threshold, print_figures, ranking, run_onnx
from tree_ensemble import binary_classifier_to_onnx

MANIFEST_FORMAT = 1
GOLDEN_ROWS = 20
#: Sums of some hundred float32 leaves differ from float64 ones by about this; a row that takes a wrong branch, by far more.
LARGEST_DIFFERENCE = 1e-5
LARGEST_GOLDEN_DIFFERENCE = 1e-6


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="CSV from `weir features`, with its .json beside it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write model.onnx and model.json to")
    parser.add_argument("--id", required=True, help="name of the model, as it will stand in every risk event")
    parser.add_argument("--version", required=True, help="version of the model, as it will stand in every risk event")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--trees", type=int, default=100, help="default %(default)s")
    parser.add_argument("--depth", type=int, default=6, help="of a tree, at most (default %(default)s)")
    parser.add_argument("--leaves", type=int, default=31, help="of a tree, at most (default %(default)s)")
    parser.add_argument(
        "--train-share", type=float, default=0.65, help="the earlier part of the rows that is trained on (default %(default)s)"
    )
    parser.add_argument(
        "--label-delay-days",
        type=float,
        default=7,
        help="between training and test: how late one learns what was fraud (default %(default)s)",
    )
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        default=DEFAULT_THRESHOLDS,
        help=f"probabilities of the policy to give figures for (default {' '.join(map(str, DEFAULT_THRESHOLDS))})",
    )
    return parser.parse_args()


def split_by_time(features: Features, train_share: float, label_delay_days: float) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows to train on and to test on: the future is tested, after the time that labels take to arrive."""
    cut = np.quantile(features.times, train_share)
    train = features.times < cut
    test = features.times >= cut + label_delay_days * DAY_MS
    for name, mask in (("training", train), ("test", test)):
        frauds = int(features.labels[mask].sum())
        if frauds == 0 or frauds == mask.sum():
            raise FeaturesFileError(
                f"the {name} part has {int(mask.sum())} rows, {frauds} of them fraud: both kinds are needed; give a longer "
                "stream, or change --train-share or --label-delay-days"
            )
    return train, test


def fit(features: Features, train: np.ndarray, args: argparse.Namespace) -> lgb.Booster:
    """No weights for the rare class: a policy compares probabilities, so they have to stay what they say."""
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
    data = lgb.Dataset(features.values[train], features.labels[train])
    return lgb.train(parameters, data, num_boost_round=args.trees)


def golden_rows(values: np.ndarray, probabilities: np.ndarray, differences: np.ndarray) -> list[dict]:
    """Rows spread evenly over the range of probabilities; a float32 prints as the float64 that equals it."""
    candidates = np.flatnonzero(differences <= LARGEST_GOLDEN_DIFFERENCE)
    candidates = candidates[np.argsort(probabilities[candidates], kind="stable")]
    sorted_probabilities = probabilities[candidates]
    wanted = np.linspace(sorted_probabilities[0], sorted_probabilities[-1], GOLDEN_ROWS)
    places = np.unique(np.minimum(np.searchsorted(sorted_probabilities, wanted), len(candidates) - 1))
    return [
        {"features": [float(value) for value in values[row]], "probability": float(probabilities[row])}
        for row in candidates[places]
    ]


def manifest(
    features: Features, train: np.ndarray, model: bytes, golden: list[dict], training: dict, args: argparse.Namespace
) -> dict:
    ordinary = features.values[train & (features.labels == 0)]
    references = np.median(ordinary, axis=0).astype(np.float32)
    return {
        "format": MANIFEST_FORMAT,
        "id": args.id,
        "version": args.version,
        "sha256": hashlib.sha256(model).hexdigest(),
        "feature_set": feature_set_hash(features.names, features.definitions),
        "features": [
            {"name": name, "definition": definition, "reference": float(reference)}
            for name, definition, reference in zip(features.names, features.definitions, references, strict=True)
        ],
        "golden": golden,
        "training": training,
    }


def training_record(
    features: Features, train: np.ndarray, test: np.ndarray, probabilities: np.ndarray, args: argparse.Namespace
) -> dict[str, str | float]:
    labels = features.labels[test]
    record: dict[str, str | float] = {
        "job": features.job,
        "features_sha256": features.sha256,
        "rows": len(features.labels),
        "train_rows": int(train.sum()),
        "train_positives": int(features.labels[train].sum()),
        "test_rows": int(test.sum()),
        "test_positives": int(labels.sum()),
        "label_delay_days": args.label_delay_days,
        "seed": args.seed,
        "trees": args.trees,
        "depth": args.depth,
        "leaves": args.leaves,
    }
    for name, value in ranking(labels, probabilities[test]).items():
        record[name] = round(value, 4)
    for threshold in args.thresholds:
        row = at_threshold(labels, probabilities[test], threshold)
        record[f"precision_at_{threshold:g}"] = round(row["precision"], 4)
        record[f"recall_at_{threshold:g}"] = round(row["recall"], 4)
    for library in ("lightgbm", "numpy", "onnx", "onnxruntime"):
        record[library] = version(library)
    return record


def train_and_write(args: argparse.Namespace) -> None:
    features = read_features(args.features)
    train, test = split_by_time(features, args.train_share, args.label_delay_days)
    print(f"{args.features}: {len(features.labels):,} rows, {len(features.names)} features of job {features.job}; seed {args.seed}")
    booster = fit(features, train, args)
    model = binary_classifier_to_onnx(booster, args.id)

    native = booster.predict(features.values, num_threads=1)
    probabilities = run_onnx(model, features.values)
    differences = np.abs(native - probabilities)
    print(f"LightGBM and ONNX differ by at most {differences.max():.1e} over all rows")
    if differences.max() > LARGEST_DIFFERENCE:
        sys.exit(f"train.py: that is more than {LARGEST_DIFFERENCE}: the exported model is not the trained one")

    print("trained on")
    print_figures(features.labels[train], probabilities[train], args.thresholds)
    print(f"tested on what came {args.label_delay_days:g} days later")
    print_figures(features.labels[test], probabilities[test], args.thresholds)

    golden = golden_rows(features.values, probabilities, differences)
    training = training_record(features, train, test, probabilities, args)
    content = manifest(features, train, model, golden, training, args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.onnx").write_bytes(model)
    (args.out / "model.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{args.out / 'model.onnx'} ({len(model) / 1000:.0f} kB, sha256 {content['sha256'][:12]}…) and model.json")


if __name__ == "__main__":
    try:
        train_and_write(arguments())
    except (FeaturesFileError, OSError) as error:
        sys.exit(f"train.py: {error}")
