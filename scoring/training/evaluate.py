"""Says how good a model is on features that `weir features` exported, without training anything.

  python scoring/training/evaluate.py --model examples/handbook --features features.csv
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx and model.json")
    parser.add_argument(
        "--features", type=Path, required=True, help="CSV from `weir features`, with its .json beside it"
    )
    parser.add_argument(
        "--skip-days", type=float, default=0, help="leave the first days out: windows still fill (default %(default)s)"
    )
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        default=DEFAULT_THRESHOLDS,
        help=f"probabilities to give figures for (default {' '.join(map(str, DEFAULT_THRESHOLDS))})",
    )
    return parser.parse_args()


def columns_of(manifest: dict, features: Features) -> list[int]:
    """Where the model's features stand in the export; each must be defined as the model knows it."""
    defined = dict(zip(features.names, features.definitions, strict=True))
    for feature in manifest["features"]:
        name, definition = feature["name"], feature["definition"]
        if defined.get(name) != definition:
            found = f'here it is "{defined[name]}"' if name in defined else "the export does not have it"
            raise FeaturesFileError(
                f'the model was trained on {name}, defined as "{definition}"; {found}; export with the config it is for'
            )
    return [features.names.index(feature["name"]) for feature in manifest["features"]]


def evaluate(args: argparse.Namespace) -> None:
    model = (args.model / "model.onnx").read_bytes()
    manifest = json.loads((args.model / "model.json").read_text(encoding="utf-8"))
    if hashlib.sha256(model).hexdigest() != manifest["sha256"]:
        raise FeaturesFileError(f"{args.model}: model.json is of another model.onnx; take both from one training run")
    features = read_features(args.features)
    columns = columns_of(manifest, features)
    rows = features.times >= features.times.min() + args.skip_days * DAY_MS
    if len(np.unique(features.labels[rows])) < 2:
        raise FeaturesFileError(f"{args.features}: these rows are all of one label, so there is nothing to measure")
    print(f"model {manifest['id']} {manifest['version']} on {args.features}, job {features.job}")
    probabilities = run_onnx(model, features.values[rows][:, columns])
    print_figures(features.labels[rows], probabilities, args.thresholds)


if __name__ == "__main__":
    try:
        evaluate(arguments())
    except (FeaturesFileError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")
