"""The C interface of kernels/capi/qat_c.h through ctypes; the prototypes are read from the header, so they cannot drift."""
import ctypes
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(ROOT, "kernels", "capi", "qat_c.h")
SCALARS = {"size_t": ctypes.c_size_t, "int": ctypes.c_int, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64,
           "uint64_t": ctypes.c_uint64, "uint32_t": ctypes.c_uint32, "float": ctypes.c_float, "double": ctypes.c_double,
           "qat_status": ctypes.c_int, "qat_dtype": ctypes.c_int}
FLOAT32, BFLOAT16 = 0, 1
DTYPES = {"float32": FLOAT32, "bfloat16": BFLOAT16}


class Backend(ctypes.Structure):
    _fields_ = [("stream", ctypes.c_void_p), ("workspace", ctypes.c_void_p), ("workspace_bytes", ctypes.c_size_t)]


class W4A16Config(ctypes.Structure):
    """qat_w4a16_config; what is not given is chosen."""
    _fields_ = [(name, ctypes.c_int32) for name in ("form", "tile_tokens", "tile_rows", "stages", "blocks", "warp_tokens", "every_tile")]


class QatError(RuntimeError):
    pass


def c_type(text):
    text = text.strip()
    if "*" in text:
        return ctypes.c_char_p if text.replace(" ", "").startswith("constchar*") else ctypes.c_void_p
    words = [w for w in text.split() if w not in ("const", "enum", "struct")]
    for word in words:
        if word in SCALARS:
            return SCALARS[word]
        enum = word.startswith("qat_")
        if enum:
            return ctypes.c_int
    raise ValueError(f"qat_c.h: no ctypes type for '{text}'")


def prototypes(path=HEADER):
    """name -> (result type, [(type, name)])"""
    text = open(path).read()
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", "", text, flags=re.M)
    found = {}
    for result, name, arguments in re.findall(r"([\w \*]+?)\b(qat_\w+)\s*\(([^()]*)\)\s*;", text):
        parameters = []
        for argument in arguments.split(","):
            argument = " ".join(argument.split())
            if argument in ("", "void"):
                continue
            kind, parameter = re.match(r"(.*?)(\w+)$", argument).groups()
            parameters.append((c_type(kind), parameter))
        found[name] = (c_type(result), parameters)
    return found


class Library:
    """library.fake_quantize(...) calls qat_cuda_fake_quantize; a status other than QAT_OK raises QatError."""

    def __init__(self, path):
        self._library = ctypes.CDLL(path)
        self._library.qat_last_error.restype = ctypes.c_char_p
        self.prototypes = prototypes()
        for name, (result, parameters) in self.prototypes.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = [kind for kind, _ in parameters]
            if name.startswith("qat_cuda_"):
                setattr(self, name[len("qat_cuda_"):], self._checked(function, name))

    def _checked(self, function, name):
        def call(*arguments):
            if function(*arguments) != 0:
                raise QatError(f"{name}: {self._library.qat_last_error().decode()}")
        return call

    @staticmethod
    def backend(stream, workspace, workspace_bytes):
        return Backend(stream, workspace, workspace_bytes)

    def describe(self):
        text = ctypes.create_string_buffer(512)
        self.device(text, len(text))
        return text.value.decode()
