"""Writes a trained network as the files that Warmline runs, and measures what those files do."""
from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from bot.nlu.encoder import CHECKSUMS, DIMENSIONS, NEEDED, TextEncoder
from bot.training.encoder_data import Data, Row
from bot.training.encoder_network import VALENCES, EmotionEncoder

MAX_TOKENS = 80
"""What is read of a message: more would take longer than 50 ms on one slow core."""

KEPT_EXACT = (2, 3, 4, 5)
"""Layers whose second feed-forward product stays in floating point: a few of its inputs are so large that 8 bits for
the whole leave too little for the rest. Of all products these are the ones whose rounding moved the anger most."""

WATCH, ROUTE = 0.50, 0.80
"""The product's default thresholds."""

Numbers = npt.NDArray[np.float64]


class SmallEmbedding(nn.Module):
    """An embedding of 8 bits, each row with a scale of its own: the table is half of the model."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        weight = table.weight.detach()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("rows", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [texts, length] to vectors [texts, length, hidden]."""
        rows, scale = self.get_buffer("rows"), self.get_buffer("scale")
        return rows[ids].float() * scale[ids]


def export(network: EmotionEncoder, work: Path, out: Path, data: Data, about: dict[str, Any]) -> dict[str, Any]:
    """Writes the encoder and returns what was measured.

    Args:
        network: The trained network; it is changed.
        work: Folder with ``tokenizer.json``; the float model and the figures are left there too.
        out: Folder of the encoder.
        data: For calibrating and reporting.
        about: What is to be said of the training, for the record.
    """
    network.eval()
    out.mkdir(parents=True, exist_ok=True)
    write_float(network, work / "float.onnx")
    quantise(work / "float.onnx", out / "model.onnx")
    shutil.copyfile(work / "tokenizer.json", out / "tokenizer.json")
    _write_config(out, len(network.layers), 1.0, 0.0)
    scale, shift = 1.0, 0.0
    turns = [row for name, rows in data.calibrate.items() if name.startswith("service") for row in rows]
    if turns:
        scale, shift = calibrated(logits(TextEncoder.load(out), turns), angry(turns))
        _write_config(out, len(network.layers), scale, shift)
    encoder = TextEncoder.load(out)
    figures: dict[str, Any] = {"encoder": encoder.name, "training": about,
                               "anger": {"scale": round(scale, 4), "shift": round(shift, 4)},
                               "bytes": (out / "model.onnx").stat().st_size}
    figures["held_out"] = {name: measured(encoder, rows) for name, rows in sorted(data.report.items())}
    (work / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf8")
    return figures


def write_float(network: EmotionEncoder, path: Path) -> None:
    """Writes the ONNX file before it is made small; batch and length are free."""
    network.words = SmallEmbedding(network.words)  # type: ignore[assignment]
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
    free = {0: "texts", 1: "length"}
    torch.onnx.export(network, (ids, (ids != 1).long()), str(path), dynamo=False, opset_version=17,
                      input_names=["input_ids", "attention_mask"], output_names=["vector", "anger", "valence"],
                      dynamic_axes={"input_ids": free, "attention_mask": free, "vector": {0: "texts"},
                                    "anger": {0: "texts"}, "valence": {0: "texts"}})


def quantise(source: Path, target: Path) -> None:
    """Makes the weights of the layers 8 bits a channel.

    Products are of whole numbers, but for ``KEPT_EXACT``, whose weights alone are small. Seven of the eight bits of a
    weight are used: on a processor without VNNI, sums of products of full 8-bit numbers overflow.
    """
    exact = [f"/layers.{layer}/narrow/MatMul" for layer in KEPT_EXACT]
    quantize_dynamic(str(source), str(target), op_types_to_quantize=["MatMul"], nodes_to_exclude=exact,
                     per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    model = onnx.load(str(target))
    for node in [node for node in model.graph.node if node.name in exact]:
        _shrink_weight(model.graph, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _shrink_weight(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Stores a product's weight in 8 bits with a scale a column; it is made float once, when the model is loaded."""
    name = node.input[1]
    stored = next(tensor for tensor in graph.initializer if tensor.name == name)
    weight = onnx.numpy_helper.to_array(stored)
    scale = (np.abs(weight).max(axis=0, keepdims=True) / 127).astype(np.float32)
    graph.initializer.remove(stored)
    graph.initializer.extend([onnx.numpy_helper.from_array(np.round(weight / scale).astype(np.int8), f"{name}_rows"),
                              onnx.numpy_helper.from_array(scale, f"{name}_scale")])
    at = list(graph.node).index(node)
    graph.node.insert(at, onnx.helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name],
                                                f"{node.name}/scale"))
    graph.node.insert(at, onnx.helper.make_node("Cast", [f"{name}_rows"], [f"{name}_float"], f"{node.name}/cast",
                                                to=onnx.TensorProto.FLOAT))


def drift(source: Path, encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """How far the small model is from the float one: cosines of the vectors, and the mean change of the logit."""
    from tokenizers import Tokenizer

    from bot.nlu.encoder import prepared

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    cosines, changes = [], []
    for text, reading, small in zip(texts, encoder.read(texts), logits(encoder, texts), strict=True):
        ids = np.array([tokenizer.encode(prepared(text)).ids], dtype=np.int64)
        vector, anger, _ = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        cosines.append(float(vector[0] @ reading.vector))
        changes.append(abs(float(anger[0]) - small))
    return {"least_cosine": min(cosines), "mean_cosine": float(np.mean(cosines)),
            "mean_logit_change": float(np.mean(changes))}


def logits(encoder: TextEncoder, rows: Sequence[Row] | Sequence[str]) -> Numbers:
    """The anger of each row as a logit."""
    texts = [row if isinstance(row, str) else row.text for row in rows]
    found = np.clip([reading.anger for reading in encoder.read(texts)], 1e-9, 1 - 1e-9)
    return np.log(found / (1 - found))


def angry(rows: Sequence[Row]) -> Numbers:
    """The label of each row, 0 or 1."""
    return np.array([row.angry for row in rows], dtype=np.float64)


def calibrated(scores: Numbers, labels: Numbers) -> tuple[float, float]:
    """Scale and shift of the logit by which the likelihood of the labels is highest (Platt 1999, Newton's method)."""
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    soft = np.where(labels > 0, 1 - 1 / (labels.sum() + 2), 1 / (len(labels) - labels.sum() + 2))
    found = np.array([1.0, 0.0])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-design @ found))
        curve = design.T @ (design * (likely * (1 - likely))[:, None]) + 1e-6 * np.eye(2)
        found = found - np.linalg.solve(curve, design.T @ (likely - soft))
    return float(found[0]), float(found[1])


def average_precision(scores: Numbers, labels: Numbers) -> float:
    """The mean of the precision at every angry row, the surest first."""
    ranked = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / ranked.sum())


def measured(encoder: TextEncoder, rows: Sequence[Row]) -> dict[str, Any]:
    """Average precision, precision and recall at both thresholds; the share of false alarms where no row is angry."""
    scores = np.array([reading.anger for reading in encoder.read([row.text for row in rows])])
    labels = angry(rows)
    found: dict[str, Any] = {"rows": len(rows), "angry": int(labels.sum())}
    if labels.sum() == 0:
        return found | {f"false_alarms_{name}": round(float((scores >= least).mean()), 4)
                        for name, least in (("watch", WATCH), ("route", ROUTE))}
    found["average_precision"] = round(average_precision(scores, labels), 4)
    for name, least in (("watch", WATCH), ("route", ROUTE)):
        chosen = scores >= least
        right = float((labels * chosen).sum())
        precision, recall = right / max(1, chosen.sum()), right / labels.sum()
        found[name] = {"precision": round(precision, 4), "recall": round(recall, 4),
                       "f1": round(2 * right / (chosen.sum() + labels.sum()), 4),
                       "false_alarms": int(chosen.sum() - right)}
    return found


def valence_accuracy(encoder: TextEncoder, rows: Sequence[Row]) -> float:
    """The share of rows whose valence is read as labelled."""
    return sum(reading.valence == VALENCES[row.valence]
               for reading, row in zip(encoder.read([row.text for row in rows]), rows, strict=True)) / len(rows)


def _write_config(out: Path, layers: int, scale: float, shift: float) -> None:
    assert math.isfinite(scale) and math.isfinite(shift)
    model = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    config = {"encoder": model[:16], "layers": layers, "dimensions": DIMENSIONS, "max_tokens": MAX_TOKENS, "prefix": "",
              "anger": {"scale": round(scale, 4), "shift": round(shift, 4)}, "valence": list(VALENCES)}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf8")
    sums = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in NEEDED]
    (out / CHECKSUMS).write_text("".join(sums), encoding="utf8")
