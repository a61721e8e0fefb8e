"""Makes the small models that the tests score with: python make.py (numpy 2.4.6, scikit-learn 1.9.1, onnx 1.23.2, skl2onnx 1.20.0,
onnxruntime 1.32.0, protobuf 6.33.6). The labels are invented; only shapes and sizes matter. The result is the same at each run;
format the manifest with biome."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier

HERE = Path(__file__).parent
MINUTE = 60_000

# Names and definitions as features/definition.ts writes them, references and the spread of made-up values.
FEATURES = [
    ("amount", "event amount with 2 decimals", 20.0, 60.0),
    ("card.count.1h", f"count over every event of the card within {60 * MINUTE} ms ending 0 ms before the event, current event included", 1.0, 4.0),
    ("card.mean.amount.24h", f"mean of amount with 2 decimals over every event of the card within {1440 * MINUTE} ms ending 0 ms before the event, current event included", 25.0, 30.0),
    ("terminal.ratio.fraud.7d.delay-7d", f"ratio of fraud over every event of the terminal within {10080 * MINUTE} ms ending {10080 * MINUTE} ms before the event, current event included", 0.0, 0.2),
]
WIDTH = len(FEATURES)


def sample(rows, seed):
    random = np.random.default_rng(seed)
    values = random.exponential([spread for *_, spread in FEATURES], size=(rows, WIDTH))
    values[:, 0] = values[:, 0].round(2)
    values[:, 1] = values[:, 1].round()
    values[:, 3] = np.clip(values[:, 3], 0, 1)
    score = values @ [0.02, 0.35, -0.01, 4.0] - 4 + random.normal(size=rows)
    return values.astype(np.float32), score > 0


def trees(zipmap):
    values, labels = sample(2000, 1)
    model = GradientBoostingClassifier(n_estimators=20, max_depth=3, learning_rate=0.3, random_state=1).fit(values, labels)
    options = {id(model): {"zipmap": zipmap}}
    return to_onnx(model, values[:1], name="trees", options=options, target_opset={"": 15, "ai.onnx.ml": 3})


def graph(name, nodes, inputs, output, weights=()):
    """A hand-made model; inputs and output are (name, element type, shape)."""
    made = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*output)],
        [numpy_helper.from_array(np.array(value, dtype=np.float32), key) for key, value in weights],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def linear(name, weights, shape, last):
    """Sigmoid (or Log, which is no probability) of a weighted sum."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node(last, ["sum"], ["score"])]
    rows = ("x", TensorProto.FLOAT, [None, WIDTH])
    return graph(name, nodes, [rows], ("score", TensorProto.FLOAT, shape), [("w", weights)])


def save(name, model):
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    onnx.checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


save("model", trees(zipmap=False))
save("zipmap", trees(zipmap=True))
save("column", linear("column", [[0.01], [0.2], [-0.01], [1.0]], [None, 1], "Sigmoid"))
save("vector", linear("vector", [0.01, 0.2, -0.01, 1.0], [None], "Sigmoid"))
save("no-probability", linear("no-probability", [1.0, 1.0, 1.0, 1.0], [None], "Log"))
save("three-columns", linear("three-columns", np.ones((WIDTH, 3)), [None, 3], "Sigmoid"))
both = [("x", TensorProto.FLOAT, [None, WIDTH]), ("y", TensorProto.FLOAT, [None, WIDTH])]
save("two-inputs", graph("two-inputs", [helper.make_node("Add", ["x", "y"], ["z"])], both, ("z", TensorProto.FLOAT, [None, WIDTH])))
doubles = ("x", TensorProto.DOUBLE, [None, WIDTH])
save("doubles", graph("doubles", [helper.make_node("Cast", ["x"], ["z"], to=TensorProto.FLOAT)], [doubles], ("z", TensorProto.FLOAT, [None, WIDTH])))

golden, _ = sample(6, 2)
session = onnxruntime.InferenceSession(HERE / "model.onnx")
[probabilities] = session.run(["probabilities"], {session.get_inputs()[0].name: golden})
lines = "\n".join(f"{name} {definition}" for name, definition, *_ in FEATURES)
manifest = {
    "format": 1,
    "id": "test-trees",
    "version": "1",
    "sha256": hashlib.sha256((HERE / "model.onnx").read_bytes()).hexdigest(),
    "feature_set": hashlib.sha256(lines.encode()).hexdigest(),
    "features": [{"name": name, "definition": definition, "reference": reference} for name, definition, reference, _ in FEATURES],
    "golden": [
        {"features": [float(value) for value in row], "probability": float(both[1])} for row, both in zip(golden, probabilities)
    ],
    "training": {"rows": 2000, "data": "invented"},
}
(HERE / "model.json").write_text(json.dumps(manifest, indent=2) + "\n")
