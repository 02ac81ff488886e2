"""The benchmark's cases. A case makes the buffers of one set and returns contenders: name -> function of no arguments, the
first of them ours. targets: (what is compared, must, aim); "copy" is the share of the device's copy bandwidth, any other
name the ratio time(contender) / time(ours)."""
import ctypes
import dataclasses
import typing

import measure
from library import DTYPES

CASES = []


@dataclasses.dataclass
class Case:
    name: str
    make: typing.Callable      # make(bench, size) -> {contender: function}
    sizes: list                # of the full run
    small: list                # of the rehearsal
    bytes_of: typing.Callable = None   # size -> bytes that an ideal pass moves; None: not bound by memory
    flop_of: typing.Callable = None
    targets: tuple = ()
    working_set: typing.Callable = None  # size -> bytes of one set, where they differ from bytes_of


def case(name, sizes, small, bytes_of=None, flop_of=None, targets=(), working_set=None):
    def register(make):
        CASES.append(Case(name, make, sizes, small, bytes_of, flop_of, targets, working_set))
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
                found = {"qat": bench.call("fake_quantize", spec.encode(), DTYPES[dtype], x, rows, columns, y, scale, zero, None)}
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
                 targets=(("copy", 0.88, 0.93), ("compile", 1.0, 1.1), ("eager", 8.0, 12.0)))(make)


quantizer_cases()
