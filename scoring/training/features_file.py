"""Reads what `weir features` exported: feature rows as CSV, and the JSON beside it about them."""

import csv
import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DAY_MS = 86_400_000
LEADING_COLUMNS = ["transaction_id", "event_time", "label"]


class FeaturesFileError(ValueError):
    """What is wrong with an export, and what to do about it."""


@dataclass(frozen=True)
class Features:
    """Rows in the order of the log."""

    job: str
    names: list[str]
    #: Everything that a feature's value depends on; same order as the names.
    definitions: list[str]
    #: sha256 of the CSV, hex.
    sha256: str
    #: Event times, milliseconds since the Unix epoch; float64 [rows].
    times: np.ndarray
    #: 1 is fraud; int8 [rows].
    labels: np.ndarray
    #: float32 [rows, features]: cast once, here, as weir casts what it gives to a model.
    values: np.ndarray


def feature_set_hash(names: list[str], definitions: list[str]) -> str:
    """What identifies a list of features: sha256 in hex over the lines "name definition"."""
    lines = (f"{name} {definition}" for name, definition in zip(names, definitions, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_features(path: Path) -> Features:
    """Reads and checks `path` and `path`.json.

    Raises FeaturesFileError when a file is missing, the two do not belong together, or a row has
    no label or a value that is no number.
    """
    description = _read_description(Path(f"{path}.json"))
    names = description["names"]
    header = _read_header(path)
    if header != [*LEADING_COLUMNS, *names]:
        raise FeaturesFileError(
            f"{path} does not have the columns that {path}.json describes: "
            f"{_difference(header, names)}; export both again with `weir features`"
        )
    table = _read_table(path, len(header))
    if len(table) != description["rows"]:
        raise FeaturesFileError(
            f"{path} has {len(table)} rows, {path}.json says {description['rows']}: "
            "an export was broken off or changed; export again"
        )
    if len(table) == 0:
        raise FeaturesFileError(f"{path} has no rows")
    labels = table[:, 1]
    strange = labels[(labels != 0) & (labels != 1)]
    if len(strange) > 0:
        raise FeaturesFileError(f"{path}: a label is 0 or 1, but one is {strange[0]:g}")
    values = table[:, 2:].astype(np.float32)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong) > 0:
        row, column = wrong[0]
        raise FeaturesFileError(
            f"{path}, row {row + 1}: {names[column]} is {table[row, 2 + column]}, not a float32"
        )
    return Features(
        job=description["job"],
        names=names,
        definitions=description["definitions"],
        sha256=_file_sha256(path),
        times=table[:, 0],
        labels=labels.astype(np.int8),
        values=values,
    )


def _read_description(path: Path) -> dict:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FeaturesFileError(
            f"{path} is missing: `weir features --out FILE.csv` writes it beside the CSV; "
            "keep the two together"
        ) from error
    except (OSError, ValueError) as error:
        raise FeaturesFileError(f"{path} cannot be read: {error}") from error
    missing = {"job", "rows", "names", "definitions", "hash"} - set(description)
    if missing:
        raise FeaturesFileError(
            f"{path} has no {', '.join(sorted(missing))}: it is not from `weir features`"
        )
    names, definitions = description["names"], description["definitions"]
    is_whole = len(names) == len(definitions)
    if not is_whole or feature_set_hash(names, definitions) != description["hash"]:
        raise FeaturesFileError(
            f"{path} contradicts itself: its hash is not that of its features; export again"
        )
    return description


def _read_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError) as error:
        raise FeaturesFileError(f"{path} cannot be read: {error}") from error


def _difference(header: list[str], names: list[str]) -> str:
    expected = [*LEADING_COLUMNS, *names]
    for at, (found, wanted) in enumerate(zip(header, expected, strict=False)):
        if found != wanted:
            return f"column {at + 1} is {found[:60]!r}, not {wanted!r}"
    return f"{len(header)} columns, not {len(expected)}"


def _read_table(path: Path, columns: int) -> np.ndarray:
    """Everything but the ids; float64 [rows, columns - 1]."""
    layout = {"delimiter": ",", "quotechar": '"', "comments": None, "encoding": "utf-8"}
    try:
        with warnings.catch_warnings(action="ignore"):  # of a file without rows
            return np.loadtxt(path, skiprows=1, usecols=range(1, columns), ndmin=2, **layout)
    except ValueError as error:
        raise FeaturesFileError(
            f"{path}: {error} (no labels? name the flag field in the config: event.label)"
        ) from error


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
