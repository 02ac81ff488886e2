#!/usr/bin/env python3
"""ONNX Runtime's MatMulNBits (4-bit weights, groups of 32), by request (py_worker.py): pip install onnxruntime onnx.

accuracy_level 4 quantizes activations to int8 inside the call, 0 computes in fp32. One session per weight.
"""
import os

import numpy as np
import onnx
import onnxruntime as ort
import py_worker


def model(n, k, level):
    """y = x * dequantized(B)^T, B (n, k / 32, 16 bytes), scales (n * k / 32), no zero points (8)."""
    blocks = k // 32
    random = np.random.default_rng(1)
    b = random.integers(0, 256, (n, blocks, 16), dtype=np.uint8)
    scales = np.full(n * blocks, 0.01, np.float32)
    node = onnx.helper.make_node("MatMulNBits", ["x", "b", "scales"], ["y"], domain="com.microsoft", K=k, N=n, bits=4, block_size=32,
                                 accuracy_level=level)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "product", [value("x", onnx.TensorProto.FLOAT, ["m", k])],
                                   [value("y", onnx.TensorProto.FLOAT, ["m", n])],
                                   [onnx.numpy_helper.from_array(b, "b"), onnx.numpy_helper.from_array(scales, "scales")])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def matmulnbits(level, m, n, k, rotate):
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other programs are measured meanwhile
    size = n * k // 2 + n * k // 32 * 4
    serialized = model(n, k, level)
    bound = []
    x = ort.OrtValue.ortvalue_from_numpy(np.random.default_rng(2).random((m, k), dtype=np.float32) - 0.5)
    for _ in range(max(1, -(-rotate // size))):
        session = ort.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(np.zeros((m, n), np.float32)))
        bound.append((session, binding))

    def call(i):
        session, binding = bound[i % len(bound)]
        session.run_with_iobinding(binding)

    for i in range(len(bound)):  # the first run of a session packs
        call(i)
    return call, 1, 2.0 * m * n * k, size


if __name__ == "__main__":
    py_worker.serve({"matmulnbits": matmulnbits}, f"ONNX Runtime {ort.__version__}")
