"""Where the benchmark's arrays live: a GPU through PyTorch, or the emulator's memory, on which the driver is rehearsed."""
import ctypes
import random
import struct

BYTES = {"float32": 4, "bfloat16": 2, "uint8": 1, "int8": 1, "int32": 4}


class Array:
    """pointer: for the C interface; tensor: PyTorch's, None when emulated."""

    def __init__(self, pointer, tensor, shape, dtype):
        self.pointer, self.tensor, self.shape, self.dtype = pointer, tensor, shape, dtype

    @property
    def bytes(self):
        n = BYTES[self.dtype]
        for extent in self.shape:
            n *= extent
        return n


class TorchDevice:
    emulated = False

    def __init__(self, library):
        import torch
        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU")
        self.torch, self.library = torch, library
        self.workspace = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
        self.generator = torch.Generator(device="cuda")  # its own: a failed graph capture spoils the default one
        self.generator.manual_seed(1)

    def array(self, shape, dtype, fill="normal", scale=1.0):
        torch = self.torch
        kind = getattr(torch, dtype)
        if fill == "normal":
            tensor = (torch.randn(shape, device="cuda", generator=self.generator) * scale).to(kind)
        elif fill == "bits":
            tensor = torch.randint(0, 256, shape, device="cuda", dtype=torch.int32, generator=self.generator).to(kind)
        elif fill == "empty":
            tensor = torch.empty(shape, device="cuda", dtype=kind)
        else:
            tensor = torch.full(shape, fill, device="cuda", dtype=kind)
        return Array(tensor.data_ptr(), tensor, tuple(shape), dtype)

    def backend(self):
        """The C interface's qat_cuda on PyTorch's current stream, which a graph capture changes."""
        return self.library.backend(self.torch.cuda.current_stream().cuda_stream, self.workspace.data_ptr(), self.workspace.numel())

    def wait(self):
        self.torch.cuda.synchronize()


class EmulatedDevice:
    emulated = True
    torch = None

    def __init__(self, library):
        self.library = library
        self.random = random.Random(1)
        self.owned = []
        self.workspace = self._allocate(1 << 20)

    def _allocate(self, size):
        p = ctypes.c_void_p()
        self.library.allocate(ctypes.byref(p), size)
        self.owned.append(p)
        return p.value or 0

    def array(self, shape, dtype, fill="normal", scale=1.0):
        n = 1
        for extent in shape:
            n *= extent
        pointer = self._allocate(n * BYTES[dtype])
        if fill != "empty":
            if fill == "normal":
                values = [self.random.gauss(0, scale) for _ in range(n)]
            elif fill == "bits":
                values = [self.random.randrange(256) for _ in range(n)]
            else:
                values = [fill] * n
            if dtype == "float32":
                data = struct.pack(f"<{n}f", *values)
            elif dtype == "bfloat16":
                data = b"".join(struct.pack("<f", v)[2:] for v in values)
            else:
                data = b"".join(int(v).to_bytes(BYTES[dtype], "little", signed=v < 0) for v in values)
            host = ctypes.create_string_buffer(data, len(data))
            self.library.copy(ctypes.byref(self.backend()), pointer, host, len(data))
        return Array(pointer, None, tuple(shape), dtype)

    def backend(self):
        return self.library.backend(None, self.workspace, 1 << 20)

    def wait(self):
        pass

    def release(self):
        for p in self.owned:
            self.library.free(p)
        self.owned = []
