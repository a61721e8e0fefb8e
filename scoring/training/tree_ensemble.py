"""LightGBM trees as ONNX.

Written out here rather than by a converter, because a scoring service needs what converters lose:
thresholds that take the same branch in float32, true covers, and a graph without a label output.
"""

from collections.abc import Sequence
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 15
ML_OPSET = 3
IR_VERSION = 8


class Node(NamedTuple):
    """The attributes nodes_* of TreeEnsembleClassifier for one node."""

    treeids: int
    nodeids: int
    featureids: int
    values: float
    #: Training rows that came through: what explanations weigh branches by.
    hitrates: float
    modes: str
    truenodeids: int
    falsenodeids: int
    missing_value_tracks_true: int


class Leaf(NamedTuple):
    """The attributes class_* of TreeEnsembleClassifier for one leaf."""

    treeids: int
    nodeids: int
    ids: int
    weights: float


def float32_at_most(value: float) -> float:
    """The greatest float32 that is not above the value.

    For every float32 x, x <= value exactly when x <= float32_at_most(value). The nearest float32
    would send rows that sit on a threshold down the other branch.
    """
    nearest = np.float32(value)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return float(nearest if float(nearest) <= value else below)


def tree_nodes(tree: int, root: dict) -> tuple[list[Node], list[Leaf]]:
    """One tree of LightGBM's dump, depth first."""
    nodes: list[Node] = []
    leaves: list[Leaf] = []

    def add(node: dict) -> int:
        number = len(nodes)
        if "leaf_value" in node:
            rows = float(node.get("leaf_count", 0))
            nodes.append(Node(tree, number, 0, 0.0, rows, "LEAF", 0, 0, 0))
            leaves.append(Leaf(tree, number, 0, node["leaf_value"]))
            return number
        # Exports have neither missing values nor categories, so there are no other splits.
        assert node["decision_type"] == "<=" and node["missing_type"] == "None"
        feature, threshold = node["split_feature"], float32_at_most(node["threshold"])
        rows = float(node["internal_count"])
        branch = Node(tree, number, feature, threshold, rows, "BRANCH_LEQ", 0, 0, 0)
        nodes.append(branch)
        left, right = add(node["left_child"]), add(node["right_child"])
        nodes[number] = branch._replace(truenodeids=left, falsenodeids=right)
        return number

    add(root)
    return nodes, leaves


def as_columns(prefix: str, rows: Sequence[Node] | Sequence[Leaf]) -> dict[str, list]:
    columns = zip(*rows, strict=True)
    return {f"{prefix}_{name}": list(c) for name, c in zip(rows[0]._fields, columns, strict=True)}


def binary_classifier_to_onnx(booster: lgb.Booster, name: str) -> bytes:
    """The bytes of a model with one node; the same booster gives the same bytes.

    float32 `input` [N, features] to float32 `probabilities` [N, 2]: legitimate, fraud.
    """
    nodes: list[Node] = []
    leaves: list[Leaf] = []
    for tree, info in enumerate(booster.dump_model()["tree_info"]):
        more_nodes, more_leaves = tree_nodes(tree, info["tree_structure"])
        nodes += more_nodes
        leaves += more_leaves
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["input"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
        **as_columns("nodes", nodes),
        **as_columns("class", leaves),
    )
    features = booster.num_feature()
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", ML_OPSET),
        ],
        ir_version=IR_VERSION,
        producer_name="weir",
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
