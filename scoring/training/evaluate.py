"""Says how good a model is on features that `weir features` exported; nothing is trained.

Example: python scoring/training/evaluate.py --model examples/demo --features features.csv
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from features_file import DAY_MS, Features, FeaturesFileError, read_features
from figures import DEFAULT_THRESHOLDS, print_figures, run_onnx


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="folder with model.onnx and model.json")
    add("--features", type=Path, required=True, help="CSV from `weir features`")
    add("--skip-days", type=float, default=0, help="at the beginning, while windows fill")
    add("--thresholds", type=float, nargs="+", default=DEFAULT_THRESHOLDS, help="of the policy")
    return parser.parse_args()


def columns_of(manifest: dict, features: Features) -> list[int]:
    """Where the model's features stand in the export; each must be defined as the model has it."""
    defined = dict(zip(features.names, features.definitions, strict=True))
    for feature in manifest["features"]:
        name, wanted = feature["name"], feature["definition"]
        if name not in defined:
            raise FeaturesFileError(f"the model needs {name}, which the export does not have")
        if defined[name] != wanted:
            raise FeaturesFileError(
                f'the model was trained on {name} as "{wanted}", '
                f'the export has "{defined[name]}"; '
                "export with the config that the model is for"
            )
    return [features.names.index(feature["name"]) for feature in manifest["features"]]


def evaluate(args: argparse.Namespace) -> None:
    model = (args.model / "model.onnx").read_bytes()
    manifest = json.loads((args.model / "model.json").read_text(encoding="utf-8"))
    if hashlib.sha256(model).hexdigest() != manifest["sha256"]:
        raise FeaturesFileError(f"{args.model}: model.json is not the one of this model.onnx")
    features = read_features(args.features)
    columns = columns_of(manifest, features)
    rows = features.times >= features.times.min() + args.skip_days * DAY_MS
    labels = features.labels[rows]
    if len(np.unique(labels)) < 2:
        raise FeaturesFileError(f"{args.features}: both frauds and others are needed")
    print(f"model {manifest['id']} {manifest['version']} on {args.features} of job {features.job}")
    print_figures(labels, run_onnx(model, features.values[rows][:, columns]), args.thresholds)


if __name__ == "__main__":
    try:
        evaluate(arguments())
    except (FeaturesFileError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")
