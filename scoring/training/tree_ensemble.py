"""LightGBM trees as ONNX, to the last branch.

Written out here rather than by a converter, because a scoring service needs what converters lose: thresholds that take the
same branch in float32, true covers, and a graph without a label output.
"""

from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
import onnx
from onnx import TensorProto, helper

ML_OPSET = 3
OPSET = 15
IR_VERSION = 8


def float32_at_most(value: float) -> float:
    """The greatest float32 that is not above the value.

    For every float32 x, x <= value exactly when x <= float32_at_most(value); the nearest float32 would send rows that sit on
    a threshold down the other branch.
    """
    nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf)))


@dataclass
class _Nodes:
    """The attributes of TreeEnsembleClassifier, one entry a node (or a leaf, below `class_`)."""

    nodes_treeids: list[int] = field(default_factory=list)
    nodes_nodeids: list[int] = field(default_factory=list)
    nodes_featureids: list[int] = field(default_factory=list)
    nodes_values: list[float] = field(default_factory=list)
    #: Training rows that came through: what explanations weigh the branches by.
    nodes_hitrates: list[float] = field(default_factory=list)
    nodes_modes: list[str] = field(default_factory=list)
    nodes_truenodeids: list[int] = field(default_factory=list)
    nodes_falsenodeids: list[int] = field(default_factory=list)
    nodes_missing_value_tracks_true: list[int] = field(default_factory=list)
    class_treeids: list[int] = field(default_factory=list)
    class_nodeids: list[int] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)
    class_weights: list[float] = field(default_factory=list)

    def add_tree(self, tree: int, root: dict) -> None:
        """Adds the nodes in depth-first order."""
        nodes = 0

        def add(node: dict) -> int:
            nonlocal nodes
            number, at = nodes, len(self.nodes_treeids)
            nodes += 1
            is_leaf = "leaf_value" in node
            self.nodes_treeids.append(tree)
            self.nodes_nodeids.append(number)
            self.nodes_featureids.append(0 if is_leaf else node["split_feature"])
            self.nodes_values.append(0.0 if is_leaf else float32_at_most(node["threshold"]))
            self.nodes_hitrates.append(float(node.get("leaf_count" if is_leaf else "internal_count", 0)))
            self.nodes_modes.append("LEAF" if is_leaf else "BRANCH_LEQ")
            self.nodes_missing_value_tracks_true.append(0)
            self.nodes_truenodeids.append(0)
            self.nodes_falsenodeids.append(0)
            if is_leaf:
                self.class_treeids.append(tree)
                self.class_nodeids.append(number)
                self.class_ids.append(0)
                self.class_weights.append(node["leaf_value"])
            else:
                if node["decision_type"] != "<=" or node["missing_type"] != "None":
                    raise ValueError(f"a split {node['decision_type']} with missing {node['missing_type']} is not covered")
                self.nodes_truenodeids[at] = add(node["left_child"])
                self.nodes_falsenodeids[at] = add(node["right_child"])
            return number

        add(root)


def binary_classifier_to_onnx(booster: lgb.Booster, name: str) -> bytes:
    """The bytes of a model with one node: float32 `input` [N, features] to float32 `probabilities` [N, 2] (legitimate, fraud).

    The same booster gives the same bytes.
    """
    nodes = _Nodes()
    for tree, info in enumerate(booster.dump_model()["tree_info"]):
        nodes.add_tree(tree, info["tree_structure"])
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["input"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
        **vars(nodes),
    )
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, booster.num_feature()])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="weir")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
