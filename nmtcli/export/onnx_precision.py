"""Quantization of ONNX graphs.

int8 (dynamic quantization): weights are quantized with a scale per column, activations at run time, and ONNX Runtime
packs the weights when it opens the graph. Embedding tables have a scale per row. Everything else, such as softmax and
normalisation, stays in fp32. fp16: weights are stored in half precision, and ONNX Runtime casts them to fp32 when it
opens the graph: CPUs have no fast fp16 products, and fp32 does not overflow.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SMALL = 1024  # numbers; smaller weights stay in fp32


def reduce_precision(path: Path, precision: Literal["int8", "fp16"]) -> None:
    """Rewrite the graph in `path` in place."""
    model = onnx.load(path)
    for large in path.parent.glob(f"{path.name}*.data"):  # weights beside a large graph, which are in memory now
        large.unlink()
    if precision == "fp16":
        _halve(model.graph)
        onnx.save(model, path)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - a second of imports

    _fold_transposes(model.graph)
    _quantize_tables(model.graph)
    del model.graph.value_info[:]  # old shapes; they are inferred again
    with _quiet():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
            nodes_to_exclude=_products_with_vectors(model.graph),
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # 7 bits: sums of 8-bit products saturate on CPUs without VNNI
        )


def _products_with_vectors(graph: Any) -> list[str]:
    """Nodes whose weight is a vector and has no scale per column, such as that of the additive score."""
    vectors = {weight.name for weight in graph.initializer if len(weight.dims) == 1}
    return [node.name for node in graph.node if node.op_type == "MatMul" and vectors & set(node.input)]


def _fold_transposes(graph: Any) -> None:
    """Transpose weights in advance: only direct inputs of a product are quantized."""
    weights = {weight.name: weight for weight in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            (order,) = (list(one.ints) for one in node.attribute if one.name == "perm")
            transposed = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(transposed), node.output[0]))
            graph.node.remove(node)
    _drop_unused(graph)


def _halve(graph: Any) -> None:
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        limit = np.finfo(np.float16).max
        half = numpy_helper.from_array(np.clip(values, -limit, limit).astype(np.float16), f"{weight.name}.half")
        graph.initializer.remove(weight)
        graph.initializer.append(half)
        cast = helper.make_node("Cast", [half.name], [weight.name], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)


def _quantize_tables(graph: Any) -> None:
    """Quantize embedding tables [V, E] to int8 with a scale per row [V, 1]."""
    weights = {weight.name: weight for weight in graph.initializer}
    for node in list(graph.node):
        table = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2 or table.dims[0] * table.dims[1] < _SMALL:
            continue
        values, name = numpy_helper.to_array(table), node.output[0]
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}.table"),
                numpy_helper.from_array(scale, f"{name}.scale"),
            ]
        )
        place = list(graph.node).index(node)
        graph.node.remove(node)
        nodes = [
            helper.make_node("Gather", [f"{name}.table", node.input[1]], [f"{name}.rows"], axis=0),
            helper.make_node("Gather", [f"{name}.scale", node.input[1]], [f"{name}.scales"], axis=0),
            helper.make_node("Cast", [f"{name}.rows"], [f"{name}.cast"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.cast", f"{name}.scales"], [name]),
        ]
        for offset, new_node in enumerate(nodes):
            graph.node.insert(place + offset, new_node)
    _drop_unused(graph)


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for weight in list(graph.initializer):
        if weight.name not in used:
            graph.initializer.remove(weight)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ONNX Runtime's advice on preprocessing, which is for static quantization."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
