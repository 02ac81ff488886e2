#!/usr/bin/env python3
"""ggml's Q4_0 product, by request (py_worker.py), through the C interface of the library that `pip install ggml-python` builds.

Weights lie in the repacked (interleaved) buffer type, the fastest that ggml has for Q4_0 on a CPU; activations are fp32 and ggml
quantizes them inside the call. A graph holds one product per weight, so that a run's overhead is shared by many.
"""
import ctypes as c
import glob
import importlib.util
import os
import sys

import py_worker

F32, Q4_0 = 0, 2  # enum ggml_type


def open_library():
    spec = importlib.util.find_spec("ggml")
    folder = os.path.join(os.path.dirname(spec.origin), "lib") if spec and spec.origin else ""
    parts = [glob.glob(os.path.join(folder, f"libggml{part}.so")) for part in ("-base", "-cpu", "")]
    if not all(parts):
        sys.exit("ggml is not installed: pip install ggml-python")
    libraries = [c.CDLL(part[0], mode=c.RTLD_GLOBAL) for part in parts]

    class Functions:
        def __getattr__(self, name):
            for library in libraries:
                if hasattr(library, name):
                    return getattr(library, name)
            raise AttributeError(name)
    return Functions()


class InitParams(c.Structure):
    _fields_ = [("mem_size", c.c_size_t), ("mem_buffer", c.c_void_p), ("no_alloc", c.c_bool)]


def declare(lib):
    """Result and argument types of what is called below (ggml.h, ggml-backend.h)."""
    p, i64, size = c.c_void_p, c.c_int64, c.c_size_t
    for name, result, arguments in [
            ("ggml_init", p, [InitParams]), ("ggml_free", None, [p]), ("ggml_new_tensor_2d", p, [p, c.c_int, i64, i64]),
            ("ggml_mul_mat", p, [p, p, p]), ("ggml_new_graph_custom", p, [p, size, c.c_bool]),
            ("ggml_build_forward_expand", None, [p, p]), ("ggml_nbytes", size, [p]), ("ggml_backend_cpu_init", p, []),
            ("ggml_backend_cpu_set_n_threads", None, [p, c.c_int]), ("ggml_backend_cpu_reg", p, []),
            ("ggml_backend_reg_dev_get", p, [p, size]), ("ggml_backend_reg_get_proc_address", p, [p, c.c_char_p]),
            ("ggml_backend_cpu_buffer_type", p, []), ("ggml_backend_buft_name", c.c_char_p, [p]),
            ("ggml_backend_alloc_ctx_tensors_from_buft", p, [p, p]), ("ggml_backend_buffer_free", None, [p]),
            ("ggml_backend_tensor_set", None, [p, p, size, size]), ("ggml_backend_graph_compute", c.c_int, [p, p])]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments


def repack_buffer_type(lib):
    registry = lib.ggml_backend_cpu_reg()
    address = lib.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    if address:
        listed = c.CFUNCTYPE(c.POINTER(c.c_void_p), c.c_void_p)(address)(lib.ggml_backend_reg_dev_get(registry, 0))
        for i in range(16):
            if not listed[i]:
                break
            if lib.ggml_backend_buft_name(listed[i]) == b"CPU_REPACK":
                return listed[i]
    raise py_worker.Missing("this ggml has no repacked buffer type")


class Products:
    """`copies` weights (n, k) in Q4_0 times one fp32 (m, k)."""

    def __init__(self, lib, backend, m, n, k, copies):
        self.lib, self.backend = lib, backend
        new = lambda: lib.ggml_init(InitParams(1 << 20, None, True))  # noqa: E731
        self.contexts = [new(), new()]
        weights = [lib.ggml_new_tensor_2d(self.contexts[0], Q4_0, k, n) for _ in range(copies)]
        x = lib.ggml_new_tensor_2d(self.contexts[1], F32, k, m)
        self.nodes = max(copies, min(64, 1 + (1 << 27) // (m * n * k)))
        self.graph = lib.ggml_new_graph_custom(self.contexts[1], 256, False)
        for i in range(self.nodes):
            lib.ggml_build_forward_expand(self.graph, lib.ggml_mul_mat(self.contexts[1], weights[i % copies], x))
        self.buffers = [lib.ggml_backend_alloc_ctx_tensors_from_buft(self.contexts[0], repack_buffer_type(lib)),
                        lib.ggml_backend_alloc_ctx_tensors_from_buft(self.contexts[1], lib.ggml_backend_cpu_buffer_type())]
        block = b"\x1f\x21" + bytes((37 * i + 11) % 256 for i in range(16))  # an fp16 scale of 0.01, 32 codes
        data = block * (n * k // 32)
        for weight in weights:
            lib.ggml_backend_tensor_set(weight, data, 0, len(data))
        values = (c.c_float * (m * k))(*([0.25, -0.5, 0.125, 0.4375] * (m * k // 4)))
        lib.ggml_backend_tensor_set(x, values, 0, 4 * m * k)

    def run(self, _):
        if self.lib.ggml_backend_graph_compute(self.backend, self.graph) != 0:
            raise RuntimeError("ggml_backend_graph_compute failed")

    def __del__(self):
        for buffer in self.buffers:
            self.lib.ggml_backend_buffer_free(buffer)
        for context in self.contexts:
            self.lib.ggml_free(context)


def main():
    lib = open_library()
    declare(lib)
    backend = lib.ggml_backend_cpu_init()
    lib.ggml_backend_cpu_set_n_threads(backend, int(os.environ.get("OMP_NUM_THREADS", "1")))
    features = [f for f in ("avx2", "avx512", "avx512_vnni") if getattr(lib, "ggml_cpu_has_" + f)()]

    def q4_0(m, n, k, rotate):
        size = n * k // 32 * 18
        products = Products(lib, backend, m, n, k, max(1, -(-rotate // size)))
        return products.run, products.nodes, 2.0 * m * n * k, size

    from importlib.metadata import version
    py_worker.serve({"q4_0": q4_0}, f"ggml-python {version('ggml-python')} ({' '.join(features)}, repack)")


if __name__ == "__main__":
    main()
