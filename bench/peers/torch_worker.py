#!/usr/bin/env python3
"""PyTorch's and torchao's fake quantization and training step, by request (py_worker.py): pip install torch torchao."""
import os
import sys

import torch
import torchao

import py_worker

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "train"))
import torch_step  # noqa: E402


def fake_quantize(how, rows, columns):
    """int4, groups of 32. op: PyTorch's own operator with groups as channels and given parameters; torchao: its fake quantizer."""
    x = torch.rand(rows, columns) - 0.5
    if how == "op":
        groups = x.view(-1, 32)
        scale, zero = torch.full((groups.shape[0],), 0.07), torch.zeros(groups.shape[0], dtype=torch.int32)

        def call(_):
            with torch.no_grad():
                torch.fake_quantize_per_channel_affine(groups, scale, zero, 0, -8, 7)
    else:
        from torchao.quantization.qat import IntxFakeQuantizeConfig, IntxFakeQuantizer
        quantizer = IntxFakeQuantizer(IntxFakeQuantizeConfig(torch.int4, group_size=32, is_symmetric=True))

        def call(_):
            with torch.no_grad():
                quantizer(x)
    return call, 1, float(rows * columns), 8.0 * rows * columns


def step(shape, scheme, compiled=0):
    take = torch_step.make_step(torch_step.SHAPES[shape], scheme, bool(compiled))
    take()
    return lambda _: take(), 1, 0.0, 0.0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    py_worker.serve({"fake_quantize": fake_quantize, "step": step}, f"PyTorch {torch.__version__}, torchao {torchao.__version__}")
