"""The step that step_bench times, in PyTorch with torchao's fake quantizers. Prints one JSON object.

Usage: torch_step.py float|8da4w THREADS STEPS       needs torch and torchao
torchao refuses rows that its group size does not divide: down_proj of the small shape (172 columns) stays in floating point here,
while qat quantizes it too.
"""
import json
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

BATCH, LENGTH = 8, 256


@dataclass(frozen=True)
class Shape:
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int

    @property
    def head(self):
        return self.dim // self.heads


SHAPES = {"260k": Shape(64, 172, 5, 8, 4, 512), "12m": Shape(384, 1024, 6, 6, 6, 4096)}


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


def rotate(x, cos, sin):  # (B, H, T, D)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.shape = s
        self.norm1, self.norm2 = Norm(s.dim), Norm(s.dim)
        self.q = nn.Linear(s.dim, s.heads * s.head, bias=False)
        self.k = nn.Linear(s.dim, s.kv_heads * s.head, bias=False)
        self.v = nn.Linear(s.dim, s.kv_heads * s.head, bias=False)
        self.o = nn.Linear(s.heads * s.head, s.dim, bias=False)
        self.gate = nn.Linear(s.dim, s.hidden, bias=False)
        self.up = nn.Linear(s.dim, s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.dim, bias=False)

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        s = self.shape
        n = self.norm1(x)
        q = rotate(self.q(n).view(B, T, s.heads, s.head).transpose(1, 2), cos, sin)
        k = rotate(self.k(n).view(B, T, s.kv_heads, s.head).transpose(1, 2), cos, sin)
        v = self.v(n).view(B, T, s.kv_heads, s.head).transpose(1, 2)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(a.transpose(1, 2).reshape(B, T, s.heads * s.head))
        n = self.norm2(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class Llama(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embedding = nn.Embedding(s.vocab, s.dim)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = Norm(s.dim)
        angles = torch.outer(torch.arange(LENGTH), 10000.0 ** (-torch.arange(0, s.head, 2) / s.head)).repeat(1, 2)
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.norm(x) @ self.embedding.weight.T


def make_step(shape, scheme, compiled=False):
    """A function that takes one step: 8 x 256 random tokens, AdamW, gradient clipping."""
    torch.manual_seed(1)
    model = Llama(shape)
    if scheme != "float":
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup, quantize_
        from torchao.quantization.qat import QATConfig
        base = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
        quantize_(model, QATConfig(base, step="prepare"),
                  filter_fn=lambda m, name: isinstance(m, nn.Linear) and m.in_features % 32 == 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0)
    run = torch.compile(model) if compiled else model

    def step():
        batch = torch.randint(shape.vocab, (BATCH, LENGTH + 1))
        optimizer.zero_grad()
        logits = run(batch[:, :-1])
        F.cross_entropy(logits.reshape(-1, shape.vocab), batch[:, 1:].reshape(-1)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return step


def main():
    scheme, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    step = make_step(SHAPES["260k"], scheme)
    times = []
    for i in range(steps + 2):
        start = time.perf_counter()
        step()
        if i >= 2:
            times.append(time.perf_counter() - start)
    times.sort()
    import torchao
    print(json.dumps(dict(scheme=scheme, threads=threads, steps=steps, median_ms=times[len(times) // 2] * 1e3,
                          fastest_ms=times[0] * 1e3, torch=torch.__version__, torchao=torchao.__version__)))


if __name__ == "__main__":
    main()
