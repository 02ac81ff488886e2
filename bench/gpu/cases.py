"""The benchmark's cases. A case makes the buffers of one set and returns contenders: name -> function of no arguments, the
first of them ours. targets: (what is compared, must, aim); "copy" is the share of the device's copy bandwidth, any other
name the ratio time(contender) / time(ours)."""
import ctypes
import dataclasses
import os
import re
import typing

import measure
from library import DTYPES, ROOT, W4A16Config

CASES = []


@dataclasses.dataclass
class Case:
    name: str
    make: typing.Callable      # make(bench, size) -> {contender: function}
    sizes: list                # of the full run
    small: list                # of the rehearsal
    bytes_of: typing.Callable = None   # size -> bytes that an ideal pass moves; None: not bound by memory
    flop_of: typing.Callable = None
    targets: typing.Any = ()   # (against, must, aim), or size -> them
    working_set: typing.Callable = None  # size -> bytes of one set, where they differ from bytes_of
    tokens_of: typing.Callable = None    # size -> tokens of a training step
    single: bool = False                 # one set of buffers: a call moves more than any cache holds


def of_large(*targets):
    """Targets for tensors that fill the device; a pass over 2 M elements is mostly its launch."""
    return lambda size: targets if size[0] * size[1] >= 1 << 24 else ()


def case(name, sizes, small, **rest):
    def register(make):
        CASES.append(Case(name, make, sizes, small, **rest))
        return make
    return register


class Bench:
    """What cases use: device, library, peers, and calls with the backend of the current stream."""

    def __init__(self, device, library, peers):
        self.device, self.library, self.peers, self.torch = device, library, peers, device.torch

    def array(self, shape, dtype, fill="normal", scale=1.0):
        return self.device.array(shape, dtype, fill, scale)

    def call(self, name, *arguments):
        """A function of no arguments that queues qat_cuda_<name>(backend, *arguments); keeps the arrays alive."""
        function = getattr(self.library, name)
        plain = tuple(a.pointer if hasattr(a, "pointer") else a for a in arguments)

        def run(kept=arguments):
            backend = self.device.backend()
            function(ctypes.byref(backend), *plain)
        return run


def element_bytes(dtype):
    return 2 if dtype == "bfloat16" else 4


def groups(rows, columns, spec):
    if "group" in spec:
        size = int(spec.split("group")[1].split(":")[0])
        return rows * -(-columns // size)
    return rows


BIG, SMALL = (8192, 8192), (512, 4096)
TINY = (3, 128)


def quantizer_cases():
    for dtype in ("bfloat16", "float32"):
        for spec in ("int4:group32:symmetric", "int4:group128:symmetric", "int8:token:asymmetric", "int4:axis0:symmetric"):
            short = spec.replace(":symmetric", "").replace(":asymmetric", "")
            bits = int(spec[3])
            size = element_bytes(dtype)
            main_case = dtype == "bfloat16" or spec == "int4:group32:symmetric"

            def make(bench, shape, dtype=dtype, spec=spec, bits=bits):
                rows, columns = shape
                x, y = bench.array(shape, dtype), bench.array(shape, dtype, "empty")
                n = groups(rows, columns, spec)
                scale, zero = bench.array((n,), "float32", "empty"), bench.array((n,), "float32", "empty")
                found = {"qat": bench.call("fake_quantize", spec.encode(), DTYPES[dtype], x, rows, columns, y, scale,
                                           zero if "asymmetric" in spec else None, None)}
                if bench.torch:
                    group = columns * rows // n
                    mapping = spec.split(":")[2]
                    found["eager"] = lambda: bench.peers.torchao_chain(x.tensor, group, bits, mapping)
                    compiled = bench.peers.compile(f"fake_quantize {spec} {dtype}", bench.peers.torchao_chain) if main_case else None
                    if compiled:
                        found["compile"] = lambda: compiled(x.tensor, group, bits, mapping)
                    found["copy"] = lambda: y.tensor.copy_(x.tensor)
                return found

            case(f"fake_quantize/{short}/{dtype}", [BIG, SMALL] if main_case else [BIG], [TINY],
                 bytes_of=lambda s, size=size: 2 * size * s[0] * s[1],
                 targets=of_large(("copy", 0.88, 0.93), ("compile", 1.0, 1.1), ("eager", 8.0, 12.0)))(make)

    def backward(bench, shape, masked):
        rows, columns = shape
        spec, dtype = "int4:group32:symmetric", "bfloat16"
        x, dy, dx = bench.array(shape, dtype), bench.array(shape, dtype), bench.array(shape, dtype, "empty")
        y = bench.array(shape, dtype, "empty")
        n = groups(rows, columns, spec)
        scale = bench.array((n,), "float32", "empty")
        mask = bench.array(((rows * columns + 7) // 8,), "uint8", "empty")
        bench.call("fake_quantize", spec.encode(), DTYPES[dtype], x, rows, columns, y, scale, None, mask)()
        if masked:
            found = {"qat": bench.call("fake_quantize_backward_masked", spec.encode(), DTYPES[dtype], dy, mask, rows, columns, scale,
                                       None, dx)}
        else:
            found = {"qat": bench.call("fake_quantize_backward", spec.encode(), DTYPES[dtype], dy, x, rows, columns, scale, None, dx)}
        if bench.torch:
            compiled = bench.peers.compile("ste_backward", bench.peers.ste_backward)
            shaped = scale.tensor.reshape(-1, 1)
            found["eager"] = lambda: bench.peers.ste_backward(dy.tensor, x.tensor, shaped, 32, -8, 7)
            if compiled:
                found["compile"] = lambda: compiled(dy.tensor, x.tensor, shaped, 32, -8, 7)
        return found

    targets = (("copy", 0.88, 0.93), ("compile", 1.0, None))
    case("ste_backward recomputed/int4:group32/bfloat16", [BIG], [TINY], bytes_of=lambda s: 6 * s[0] * s[1], targets=targets)(
        lambda bench, shape: backward(bench, shape, False))
    case("ste_backward from a bit mask/int4:group32/bfloat16", [BIG], [TINY], bytes_of=lambda s: 4.125 * s[0] * s[1], targets=targets)(
        lambda bench, shape: backward(bench, shape, True))

    @case("fake_quantize with a bit mask/int4:group32/bfloat16", [BIG], [TINY], bytes_of=lambda s: 4.125 * s[0] * s[1],
          targets=(("copy", 0.88, 0.93),))
    def masked_forward(bench, shape):
        rows, columns = shape
        spec, dtype = "int4:group32:symmetric", "bfloat16"
        x, y = bench.array(shape, dtype), bench.array(shape, dtype, "empty")
        scale = bench.array((groups(rows, columns, spec),), "float32", "empty")
        mask = bench.array(((rows * columns + 7) // 8,), "uint8", "empty")
        return {"qat": bench.call("fake_quantize", spec.encode(), DTYPES[dtype], x, rows, columns, y, scale, None, mask)}

    def packed(bench, shape, back):
        rows, columns = shape
        spec, dtype = "int4:group32:symmetric", "bfloat16"
        x, codes = bench.array(shape, dtype), bench.array((rows * columns // 2,), "uint8", "empty")
        scale = bench.array((groups(rows, columns, spec),), "float32", "empty")
        pack = bench.call("quantize_packed", spec.encode(), DTYPES[dtype], x, rows, columns, codes, scale, None)
        if not back:
            return {"qat": pack}
        pack()
        return {"qat": bench.call("dequantize_packed", spec.encode(), DTYPES[dtype], codes, rows, columns, scale, None, x)}

    targets = (("copy", 0.85, 0.92),)
    ideal = lambda s: (2.5 + 4 / 32) * s[0] * s[1]  # noqa: E731
    case("quantize and pack/int4:group32/bfloat16", [BIG], [TINY], bytes_of=ideal, targets=targets)(
        lambda bench, shape: packed(bench, shape, False))
    case("dequantize packed/int4:group32/bfloat16", [BIG], [TINY], bytes_of=ideal, targets=targets)(
        lambda bench, shape: packed(bench, shape, True))

    @case("fake_quantize per channel, given scales/int8:axis0/bfloat16", [BIG], [TINY], bytes_of=lambda s: 4 * s[0] * s[1],
          targets=(("copy", 0.88, 0.93), ("native", 1.5, None)))
    def per_channel(bench, shape):
        rows, columns = shape
        spec, dtype = "int8:axis0:symmetric", "bfloat16"
        x, y = bench.array(shape, dtype), bench.array(shape, dtype, "empty")
        scale = bench.array((rows,), "float32", 0.02)
        found = {"qat": bench.call("fake_quantize_with", spec.encode(), DTYPES[dtype], x, rows, columns, scale, None, y, None)}
        if bench.torch:
            zero = bench.torch.zeros(rows, dtype=bench.torch.int32, device="cuda")
            wide = x.tensor.float()  # the native operator's fastest form
            found["native"] = measure.not_capturable(
                lambda: bench.torch.fake_quantize_per_channel_affine(wide, scale.tensor, zero, 0, -128, 127))
        return found


quantizer_cases()


def crossover():
    """Tokens above which qat dequantizes and multiplies in bfloat16: kW4A16Crossover of kernels/cuda/w4a16_gemm.hpp."""
    path = os.path.join(ROOT, "include", "qat", "kernels", "cuda", "w4a16_gemm.hpp")
    with open(path) as file:
        return int(re.search(r"kW4A16Crossover = (\d+);", file.read())[1])


def by_tokens(**targets):
    """Targets against cuBLAS by the number of tokens: m16=(must, aim) holds up to 16."""
    def of(size):
        for name, (must, aim) in targets.items():
            if size[0] <= int(name[1:]):
                return (("cublas", must, aim),)
        return ()
    return of


def lsq_case(spec):
    @case(f"lsq_backward/{spec.split(':symmetric')[0]}/float32", [BIG], [TINY], bytes_of=lambda s: 12 * s[0] * s[1],
          targets=(("copy", 0.88, 0.93), ("native", 3.0, 5.0)))
    def make(bench, shape):
        rows, columns = shape
        x, dy, dx = bench.array(shape, "float32"), bench.array(shape, "float32"), bench.array(shape, "float32", "empty")
        n = groups(rows, columns, spec)
        scale, dscale = bench.array((n,), "float32", 0.2), bench.array((n,), "float32", "empty")
        found = {"qat": bench.call("lsq_backward", spec.encode(), dy, x, rows, columns, scale, None, 1.0, dx, dscale)}
        if bench.torch:
            torch = bench.torch
            zero = torch.zeros(n, device="cuda")
            native = torch.ops.aten._fake_quantize_learnable_per_channel_affine_backward
            by_group = rows * columns // n
            found["native"] = measure.not_capturable(
                lambda: native(dy.tensor.view(-1, by_group), x.tensor.view(-1, by_group), scale.tensor, zero, 0, -8, 7, 1.0))
        return found


lsq_case("int4:axis0:symmetric")
lsq_case("int4:group32:symmetric")


def float_case(spec, delayed):
    tensor = "tensor" in spec or "nvfp4" in spec
    label = spec.replace(":", " ") + (", given tensor amax" if tensor and delayed else "")

    @case(f"fake_quantize_float/{label}/bfloat16", [BIG], [TINY],
          bytes_of=lambda s: (6 if tensor and not delayed else 4) * s[0] * s[1],
          targets=(("copy", 0.85, 0.92), ("compile", 1.0, None), ("eager", 5.0, None)))
    def make(bench, shape):
        rows, columns = shape
        x, y = bench.array(shape, "bfloat16"), bench.array(shape, "bfloat16", "empty")
        amax = bench.array((1,), "float32", 5.0) if delayed else None
        found = {"qat": bench.call("fake_quantize_float", spec.encode(), DTYPES["bfloat16"], x, rows, columns, y, amax, None, None)}
        chain = bench.peers.float_chain(spec) if bench.torch else None
        if chain:
            found["eager"] = lambda: chain(x.tensor)
            compiled = bench.peers.compile(f"float {spec}", chain)
            if compiled:
                found["compile"] = lambda: compiled(x.tensor)
        return found


for float_spec in ("e4m3:token:amax", "e4m3:group32:mx_rceil", "e2m1:group32:mx_floor", "e2m1:group16:nvfp4", "e4m3:tensor:amax"):
    float_case(float_spec, True)
float_case("e2m1:group16:nvfp4", False)


def gemm_case(group, nk, tokens, targets):
    """W4A16 beside a bfloat16 product and PyTorch's own int4 one."""

    def make(bench, size):
        m, n, k = size
        size_g = k if group == 0 else group
        count_g = -(-k // size_g)
        codes = bench.array((n, (k + 1) // 2), "uint8", "bits")
        scales = bench.array((n, count_g), "bfloat16", 0.01)
        code_bytes, slots = ctypes.c_int64(), ctypes.c_int64()
        bench.library.int4_tiles(n, k, size_g, ctypes.byref(code_bytes), ctypes.byref(slots))
        tiled = bench.array((code_bytes.value,), "uint8", "empty")
        tiled_scales = bench.array((slots.value,), "bfloat16", "empty")
        bench.call("prepack_int4", n, k, size_g, DTYPES["bfloat16"], codes, scales, tiled, tiled_scales)()
        x, y = bench.array((m, k), "bfloat16"), bench.array((m, n), "bfloat16", "empty")
        def call(**config):
            config = ctypes.byref(W4A16Config(**config)) if config else None
            workspace, counters = ctypes.c_size_t(), ctypes.c_int64()
            bench.library.w4a16_plan(m, n, k, size_g, DTYPES["bfloat16"], config, ctypes.byref(workspace), ctypes.byref(counters), None)
            zeros = bench.array((max(1, counters.value),), "int32", 0)
            return bench.call("w4a16_gemm", m, n, k, size_g, DTYPES["bfloat16"], x, tiled, tiled_scales, y, zeros, config)
        found = {"qat": call()}
        if m in (5, 64, 128):  # 5 is rehearsed
            found.update({"form scales by tile": call(form=2, tile_tokens=64, every_tile=1),
                          "form 64 x 32 a warp": call(form=2, tile_tokens=64, tile_rows=128, warp_tokens=32),
                          "form 64 x 32 a warp, 128 tokens": call(form=2, tile_tokens=128, tile_rows=128, warp_tokens=32)})
        if bench.torch:
            torch = bench.torch
            weight = bench.array((n, k), "bfloat16")
            out = torch.empty(m, n, dtype=torch.bfloat16, device="cuda")
            found["cublas"] = lambda: torch.mm(x.tensor, weight.tensor.T, out=out)
            if m <= 128 and size_g in (32, 64, 128, 256):
                packed = torch.ops.aten._convert_weight_to_int4pack(codes.tensor, 8)
                scale_and_zero = torch.stack([scales.tensor.T, torch.zeros_like(scales.tensor.T)], dim=-1).contiguous()
                found["tinygemm"] = lambda: torch.ops.aten._weight_int4pack_mm(x.tensor, packed, size_g, scale_and_zero)
            wide = bench.array((n, k), "bfloat16", "empty")
            fill = bench.call("dequantize_int4", n, k, size_g, DTYPES["bfloat16"], tiled, tiled_scales, wide)

            def by_cublas():
                fill()
                torch.mm(x.tensor, wide.tensor.T, out=out)
            if m > crossover():  # what qat does there; its own product is the contender
                found = {"dequantize+cublas": by_cublas, **{"w4a16" if name == "qat" else name: f for name, f in found.items()}}
            elif m >= 64:
                found["dequantize+cublas"] = by_cublas
        return found

    label = "channel" if group == 0 else f"group{group}"
    # Both sides rotate: the int4 weights of 8192 x 8192 fit in the cache, the bfloat16 ones do not.
    case(f"w4a16/{label}", [(m, nk, nk) for m in tokens], [(5, 48, 128)], flop_of=lambda s: 2 * s[0] * s[1] * s[2],
         bytes_of=lambda s: s[1] * s[2] // 2 + 2 * s[1] * (s[2] // (group or s[2])) + 2 * s[0] * (s[1] + s[2]), targets=targets)(make)


WANTED = by_tokens(m16=(2.2, 2.6), m64=(1.5, 1.8), m128=(1.05, 1.3), m1024=(0.8, 0.9), m8192=(0.96, 0.97))
gemm_case(128, 8192, (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 8192), WANTED)
gemm_case(32, 8192, (1, 16), WANTED)
gemm_case(0, 8192, (1, 16, 64), WANTED)
gemm_case(128, 4096, (1, 16, 64, 128), by_tokens(m16=(1.6, None), m64=(1.3, None), m128=(1.0, None)))


@case("dequantize_int4/group128", [(8192, 8192)], [(48, 128)], bytes_of=lambda s: 2.5 * s[0] * s[1], targets=(("copy", 0.85, 0.92),))
def dequantize(bench, size):
    n, k = size
    code_bytes, slots = ctypes.c_int64(), ctypes.c_int64()
    bench.library.int4_tiles(n, k, 128, ctypes.byref(code_bytes), ctypes.byref(slots))
    tiled, scales = bench.array((code_bytes.value,), "uint8", "bits"), bench.array((slots.value,), "bfloat16", 0.01)
    y = bench.array((n, k), "bfloat16", "empty")
    return {"qat": bench.call("dequantize_int4", n, k, 128, DTYPES["bfloat16"], tiled, scales, y)}


class AdamWTensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("spec", ctypes.c_char_p), ("rows", ctypes.c_int64), ("columns", ctypes.c_int64)] + [
        (name, ctypes.c_void_p) for name in ("value", "gradient", "mean", "square", "copy", "scale", "zero_point")]


def adamw_call(bench, shapes, spec, gradient="bfloat16", copy="bfloat16"):
    """(a step over tensors of these shapes, the arrays)"""
    tensors = (AdamWTensor * len(shapes))()
    kept = []
    for i, (rows, columns) in enumerate(shapes):
        arrays = dict(value=bench.array((rows, columns), "float32", scale=0.02), gradient=bench.array((rows, columns), gradient),
                      mean=bench.array((rows, columns), "float32", 0), square=bench.array((rows, columns), "float32", 0),
                      copy=bench.array((rows, columns), copy, "empty"))
        if spec:
            arrays["scale"] = bench.array((groups(rows, columns, spec),), "float32", 0.01)
        kept.append(arrays)
        tensors[i].name = b"weight %d" % i
        tensors[i].spec = spec.encode() if spec else None
        tensors[i].rows, tensors[i].columns = rows, columns
        for name, a in arrays.items():
            setattr(tensors[i], name, a.pointer)
    table_bytes, works_bytes = ctypes.c_size_t(), ctypes.c_size_t()
    types = DTYPES[gradient], DTYPES[copy]
    plan = bench.library.adamw_plan
    plan(*types, tensors, len(shapes), None, ctypes.byref(table_bytes), None, ctypes.byref(works_bytes))
    table, works = (ctypes.create_string_buffer(b.value) for b in (table_bytes, works_bytes))
    plan(*types, tensors, len(shapes), table, None, works, None)
    device_table, device_works = bench.array((len(table),), "uint8", "empty"), bench.array((len(works),), "uint8", "empty")
    backend = bench.device.backend()
    bench.library.copy(ctypes.byref(backend), device_table.pointer, table, len(table))
    bench.library.copy(ctypes.byref(backend), device_works.pointer, works, len(works))
    step = bench.call("adamw", *types, device_table, device_works, works_bytes.value, 1e-4, 0.9, 0.95, 1e-8, 0.1, 10)

    def call(kept=(kept, tensors)):
        step()
    return call, kept


def adamw_case(name, shapes_of, size, small, spec, targets):
    def make(bench, size):
        shapes = shapes_of(size)
        found = {"qat": adamw_call(bench, shapes, spec)[0], "plain": adamw_call(bench, shapes, None)[0]}
        if bench.torch:
            torch = bench.torch
            parameters = [torch.nn.Parameter(torch.randn(*s, device="cuda")) for s in shapes]
            for p in parameters:
                p.grad = torch.randn_like(p)
            optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True, capturable=True)
            found["torch fused"] = optimizer.step  # fp32 gradients and no copy: 28 bytes a parameter as ours
        return found

    case(name, [size], [small], bytes_of=lambda s: 28 * sum(r * c for r, c in shapes_of(s)), targets=targets)(make)


adamw_case("adamw with fake_quantize/int4:group32", lambda s: [s], (8192, 8192), (5, 64), "int4:group32:symmetric",
           (("copy", 0.88, 0.93), ("plain", 1 / 1.03, 1 / 1.01), ("torch fused", 1.0, None)))
adamw_case("adamw with fake_quantize/int4:axis0", lambda s: [s], (8192, 8192), (5, 64), "int4:axis0:symmetric",
           (("copy", 0.88, 0.93), ("plain", 1 / 1.03, 1 / 1.01)))
adamw_case("adamw with fake_quantize, 100 tensors/int4:group32", lambda s: [s] * 100, (768, 768), (3, 32), "int4:group32:symmetric",
           (("torch fused", 1.0, None),))


def row_cases():
    """Passes over rows with the fake quantization of their output folded in, beside the two passes one after the other."""
    dtype, rows_by = "bfloat16", (16384, 4096)
    kind = DTYPES[dtype]

    def outputs(bench, shape, spec):
        rows, columns = shape
        n = groups(rows, columns, spec)
        return bench.array(shape, dtype, "empty"), bench.array((n,), "float32", "empty"), bench.array((n,), "float32", "empty")

    def both(*functions):
        def run():
            for f in functions:
                f()
        return run

    def norm(bench, shape, spec):
        rows, columns = shape
        x, weight = bench.array(shape, dtype), bench.array((columns,), "float32", 1.0)
        y, scale, zero = outputs(bench, shape, spec)
        between = bench.array(shape, dtype, "empty")
        text = spec.encode()
        found = {"qat": bench.call("rmsnorm", text, kind, x, None, None, weight, 1e-5, rows, columns, None, y, None, scale, zero),
                 "unfused": both(
                     bench.call("rmsnorm", None, kind, x, None, None, weight, 1e-5, rows, columns, None, between, None, None, None),
                     bench.call("fake_quantize", text, kind, between, rows, columns, y, scale, zero, None))}
        if bench.torch and "token" in spec:
            peers, short = bench.peers, weight.tensor.to(x.tensor.dtype)
            compiled = peers.compile("rmsnorm " + spec, lambda a, w: peers.token_fake_quantize(peers.rmsnorm(a, w)))
            if compiled:
                found["compile"] = lambda: compiled(x.tensor, short)
        return found

    def norm_backward(bench, shape, spec):
        rows, columns = shape
        x, dy, weight = bench.array(shape, dtype), bench.array(shape, dtype), bench.array((columns,), "float32", 1.0)
        inv, dweight = bench.array((rows,), "float32", 1.0), bench.array((columns,), "float32", "empty")
        y, scale, zero = outputs(bench, shape, spec)
        dx, between = bench.array(shape, dtype, "empty"), bench.array(shape, dtype, "empty")
        text = spec.encode()
        bench.call("rmsnorm", text, kind, x, None, None, weight, 1e-5, rows, columns, inv, y, None, scale, zero)()
        return {"qat": bench.call("rmsnorm_backward", text, kind, x, weight, inv, dy, rows, columns, scale, zero, dx, 0, dweight, 0),
                "unfused": both(
                    bench.call("fake_quantize_backward", text, kind, dy, y, rows, columns, scale, zero, between),
                    bench.call("rmsnorm_backward", None, kind, x, weight, inv, between, rows, columns, None, None, dx, 0, dweight, 0))}

    def gated(bench, shape, spec):
        rows, columns = shape
        gate, up = bench.array(shape, dtype), bench.array(shape, dtype)
        y, scale, zero = outputs(bench, shape, spec)
        between = bench.array(shape, dtype, "empty")
        text = spec.encode()
        found = {"qat": bench.call("activation", 0, text, kind, gate, up, rows, columns, 0, y, None, scale, zero),
                 "unfused": both(
                     bench.call("activation", 0, None, kind, gate, up, rows, columns, 0, between, None, None, None),
                     bench.call("fake_quantize", text, kind, between, rows, columns, y, scale, zero, None))}
        if bench.torch and "token" in spec:
            peers = bench.peers
            compiled = peers.compile("swiglu " + spec, lambda g, u: peers.token_fake_quantize(peers.swiglu(g, u)))
            if compiled:
                found["compile"] = lambda: compiled(gate.tensor, up.tensor)
        return found

    def gated_backward(bench, shape, spec):
        rows, columns = shape
        gate, up, dy = bench.array(shape, dtype), bench.array(shape, dtype), bench.array(shape, dtype)
        y, scale, zero = outputs(bench, shape, spec)
        dgate, dup, between = (bench.array(shape, dtype, "empty") for _ in range(3))
        text = spec.encode()
        bench.call("activation", 0, text, kind, gate, up, rows, columns, 0, y, None, scale, zero)()
        return {"qat": bench.call("activation_backward", 0, text, kind, gate, up, dy, rows, columns, 0, scale, zero, dgate, dup),
                "unfused": both(
                    bench.call("fake_quantize_backward", text, kind, dy, y, rows, columns, scale, zero, between),
                    bench.call("activation_backward", 0, None, kind, gate, up, between, rows, columns, 0, None, None, dgate, dup))}

    fused = (("unfused", 1.5, 1.8), ("compile", 1.0, 1.15))
    for name, make, ideal, targets in (("rmsnorm", norm, 4, fused), ("rmsnorm backward", norm_backward, 6, fused[:1]),
                                       ("swiglu", gated, 6, fused), ("swiglu backward", gated_backward, 10, fused[:1])):
        for spec in ("int8:token:asymmetric", "int8:group32:symmetric"):
            case(f"{name} with fake_quantize/{':'.join(spec.split(':')[:2])}/bfloat16", [rows_by], [TINY],
                 bytes_of=lambda s, ideal=ideal: ideal * s[0] * s[1], targets=targets)(
                lambda bench, shape, make=make, spec=spec: make(bench, shape, spec))


row_cases()


def attention_case(backward):
    def make(bench, size):
        batch, tokens, heads, kv_heads, d = size
        q, out, dout, dq = (bench.array((batch, tokens, heads, d), "bfloat16") for _ in range(4))
        k, v, dk, dv = (bench.array((batch, tokens, kv_heads, d), "bfloat16") for _ in range(4))
        lse = bench.array((batch, heads, tokens), "float32", "empty")
        def call(form):
            if backward:
                return bench.call("attention_backward", *size, q, k, v, out, lse, dout, dq, dk, dv, form)
            return bench.call("attention", *size, q, k, v, out, lse, form)
        bench.call("attention", *size, q, k, v, out, lse, 0)()
        forms = {64: 2, 128: 2}.get(d, 1) if backward else {64: 4, 128: 3}.get(d, 1)
        found = {"qat": call(0), **{f"form {form}": call(form) for form in range(1, forms + 1)}}
        if bench.torch:
            sdpa = bench.torch.nn.functional.scaled_dot_product_attention
            parts = [a.tensor.transpose(1, 2).detach().requires_grad_(backward) for a in (q, k, v)]

            def torch_forward():
                return sdpa(*parts, is_causal=True, enable_gqa=heads != kv_heads)
            if not backward:
                found["sdpa"] = torch_forward
            else:
                result, gradient = torch_forward(), dout.tensor.transpose(1, 2)
                found["sdpa"] = measure.not_capturable(lambda: bench.torch.autograd.grad(result, parts, gradient, retain_graph=True))
        return found

    # Half of the scores are masked; the backward pass is counted with five products, however many a kernel makes.
    case("attention backward/bfloat16" if backward else "attention/bfloat16",
         [(16, 1024, 12, 12, 64), (8, 2048, 16, 16, 128), (4, 4096, 16, 4, 128)], [(1, 40, 2, 1, 32)],
         flop_of=lambda s: (5 if backward else 2) * s[0] * s[2] * s[1] * s[1] * s[4],
         working_set=lambda s: 12 * s[0] * s[1] * s[2] * s[4], targets=(("sdpa", None, None),))(make)


attention_case(False)
attention_case(True)


class LlamaOptions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "vocab_size",
                                                    "max_seq_len")]
    _fields_ += [("tied", ctypes.c_int32), ("batch", ctypes.c_int64), ("length", ctypes.c_int64), ("weight", ctypes.c_char_p),
                 ("activation", ctypes.c_char_p), ("weight_decay", ctypes.c_double), ("clip_norm", ctypes.c_double)]


class LlamaStep:
    """One model in training through the C interface; calling it queues a step."""

    def __init__(self, bench, size, quantized, tokens, targets):
        batch, length, dim, layers, heads, hidden, vocabulary = size
        self.bench, self.tokens, self.targets = bench, tokens, targets
        self.options = LlamaOptions(dim, hidden, layers, heads, heads, dim // heads, vocabulary, length, 1, batch, length,
                                    b"int4:group32:symmetric" if quantized else None, b"int8:token:asymmetric" if quantized else None,
                                    0.1, 1.0)
        self.model = ctypes.c_void_p()
        needed = ctypes.c_size_t()
        bench.library.llama_workspace(ctypes.byref(self.options), ctypes.byref(needed))
        self.workspace = bench.array((needed.value,), "uint8", "empty")
        bench.library.llama_create(ctypes.byref(self.backend()), ctypes.byref(self.options), 7, ctypes.byref(self.model))
        bench.library.llama_learning_rate(self.model, 3e-4, 1)

    def backend(self):
        backend = self.bench.device.backend()
        backend.workspace, backend.workspace_bytes = self.workspace.pointer, self.workspace.bytes
        return backend

    def __call__(self):
        self.bench.library.llama_step(ctypes.byref(self.backend()), self.model, self.tokens.pointer, self.targets.pointer)

    def loss(self):
        value = ctypes.c_float()
        self.bench.library.llama_loss(ctypes.byref(self.backend()), self.model, ctypes.byref(value))
        return value.value

    def __del__(self):
        if self.model:
            self.bench.library.llama_destroy(self.model)


def llama_flop(size):
    """Of a step: six a weight and token for the products (head included, embedding not), and causal attention exactly: forward
    two products of T x T/2 x dim a layer, backward twice that."""
    batch, length, dim, layers, heads, hidden, vocabulary = size
    weights = layers * (4 * dim * dim + 3 * dim * hidden) + vocabulary * dim
    return batch * length * (6 * weights + 6 * layers * length * dim)


@case("training step/llama 124M/8da4w", [(32, 1024, 768, 12, 12, 2048, 50304)], [(1, 8, 64, 1, 2, 96, 40)], flop_of=llama_flop, single=True,
      tokens_of=lambda s: s[0] * s[1], targets=(("peak", 0.40, 0.46), ("plain", 1 / 1.03, 1 / 1.02)))
def training_step(bench, size):
    batch, length, vocabulary = size[0], size[1], size[6]
    tokens, targets = bench.array((batch, length), "int32", 1), bench.array((batch, length), "int32", 2)
    if bench.torch:
        tokens.tensor.random_(0, vocabulary, generator=bench.device.generator)
        targets.tensor.random_(0, vocabulary, generator=bench.device.generator)
    steps = {"qat": LlamaStep(bench, size, True, tokens, targets), "plain": LlamaStep(bench, size, False, tokens, targets)}
    for name, step in steps.items():  # a step that learns nothing is not timed
        step()
        first = step.loss()
        for _ in range(3):
            step()
        if not step.loss() < first:
            raise RuntimeError(f"training step: the loss of '{name}' went from {first} to {step.loss()} in three steps")
    found = dict(steps)
    if bench.torch:
        for name, call in bench.peers.llama_steps(size, tokens.tensor, targets.tensor).items():
            found[name] = measure.not_capturable(call)
    return found
