#!/usr/bin/env python3
"""Scores a text with llama.cpp: mean nats per token of a GGUF file, by the protocol of `qat-llm eval --data`.

usage: score_gguf.py MODEL.gguf TEXT [--length 512] [--documents] [--limit N]

Documents (parts between lines <|endoftext|>, stripped) stand one after the other, BOS before each, in windows of --length targets
that do not overlap; the incomplete last one is left out. --documents scores each document alone instead: BOS and at most --length
tokens. --limit ends after so many windows or documents. Keys and values are kept in fp32, one thread. Needs xllamacpp and numpy of PyPI
(python3 test/foreign/install.py); exits with 77 where they are missing. Prints one JSON object.
"""
import argparse
import ctypes
import glob
import json
import os
import sys

from foreign import prefer

missing = prefer("xllamacpp", "numpy")
if missing:
    print(f"SKIPPED: score_gguf.py (no {', '.join(missing)}; python3 test/foreign/install.py)", file=sys.stderr)
    sys.exit(77)
import numpy
import xllamacpp

# Places and defaults in llama_context_params of llama.cpp of 2026; the defaults are checked before anything is written.
N_CTX, N_BATCH, N_UBATCH, FLASH_ATTENTION, TYPE_K, TYPE_V = (0, 512), (4, 2048), (8, 512), (52, -1), (104, 1), (108, 1)


class Parameters(ctypes.Structure):  # llama_model_params and llama_context_params: larger than they are
    _fields_ = [("bytes", ctypes.c_uint8 * 1024)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.c_void_p), ("embd", ctypes.c_void_p), ("pos", ctypes.c_void_p),
                ("n_seq_id", ctypes.c_void_p), ("seq_id", ctypes.c_void_p), ("logits", ctypes.c_void_p)]


class Llama:
    def __init__(self, path, length):
        self.library = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp*.so"))[0])
        self.call("llama_log_set", None, ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None), None)
        self.call("llama_backend_init", None)
        parameters = self.call("llama_model_default_params", Parameters)
        self.model = ctypes.c_void_p(self.call("llama_model_load_from_file", ctypes.c_void_p, os.fsencode(path), parameters))
        if not self.model:
            sys.exit(f"score_gguf.py: llama.cpp does not load {path}")
        self.vocabulary = ctypes.c_void_p(self.call("llama_model_get_vocab", ctypes.c_void_p, self.model))
        self.bos = self.call("llama_vocab_bos", ctypes.c_int32, self.vocabulary)
        self.tokens = self.call("llama_vocab_n_tokens", ctypes.c_int32, self.vocabulary)
        settings = self.call("llama_context_default_params", Parameters)
        for (place, default), value in ((N_CTX, length), (N_BATCH, length), (N_UBATCH, length), (FLASH_ATTENTION, 0), (TYPE_K, 0), (TYPE_V, 0)):
            field = ctypes.c_int32.from_buffer(settings, place)
            if field.value != default:
                print("SKIPPED: score_gguf.py (this llama.cpp has another layout of its parameters)", file=sys.stderr)
                sys.exit(77)
            field.value = value
        self.context = ctypes.c_void_p(self.call("llama_init_from_model", ctypes.c_void_p, self.model, settings))
        if not self.context:
            sys.exit("score_gguf.py: llama.cpp makes no context")
        self.call("llama_set_n_threads", None, self.context, 1, 1)
        self.memory = ctypes.c_void_p(self.call("llama_get_memory", ctypes.c_void_p, self.context))

    def call(self, name, result, *arguments):
        function = getattr(self.library, name)
        function.restype = result
        self.kept = getattr(self, "kept", []) + [a for a in arguments if name == "llama_log_set"]  # callbacks outlive the call
        return function(*arguments)

    def encode(self, text):
        ids = (ctypes.c_int32 * (len(text) + 16))()
        count = self.call("llama_tokenize", ctypes.c_int32, self.vocabulary, text, len(text), ids, len(ids), ctypes.c_bool(False), ctypes.c_bool(False))
        return list(ids[:count])

    def nats(self, inputs, targets):
        n = len(inputs)
        sequence = (ctypes.c_int32 * 1)(0)
        arrays = [(ctypes.c_int32 * n)(*inputs), (ctypes.c_int32 * n)(*range(n)), (ctypes.c_int32 * n)(*[1] * n),
                  (ctypes.c_void_p * n)(*[ctypes.addressof(sequence)] * n), (ctypes.c_int8 * n)(*[1] * n)]
        address = [ctypes.addressof(a) for a in arrays]
        self.call("llama_memory_clear", None, self.memory, ctypes.c_bool(True))
        if self.call("llama_decode", ctypes.c_int32, self.context, Batch(n, address[0], None, *address[1:])) != 0:
            sys.exit("score_gguf.py: llama_decode failed")
        logits = self.call("llama_get_logits", ctypes.POINTER(ctypes.c_float), self.context)
        x = numpy.ctypeslib.as_array(logits, (n, self.tokens)).astype(numpy.float64)
        largest = x.max(axis=1)
        return float((largest + numpy.log(numpy.exp(x - largest[:, None]).sum(axis=1)) - x[numpy.arange(n), targets]).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--documents", action="store_true")
    parser.add_argument("--limit", type=int, default=0)
    arguments = parser.parse_args()
    llama, length = Llama(arguments.model, arguments.length), arguments.length
    with open(arguments.text, "rb") as file:
        documents = [part.strip() for part in file.read().split(b"\n<|endoftext|>\n")]
    streams = [[llama.bos] + llama.encode(document) for document in documents if document]
    if arguments.documents:
        windows = [stream[:length + 1] for stream in streams]
    else:
        tokens = [token for stream in streams for token in stream]
        windows = [tokens[i:i + length + 1] for i in range(0, len(tokens) - length, length)]
    if arguments.limit > 0:
        windows = windows[:arguments.limit]
    nats = sum(llama.nats(window[:-1], window[1:]) for window in windows)
    targets = sum(len(window) - 1 for window in windows)
    print(json.dumps({"nats_per_token": nats / targets, "targets": targets, "windows": len(windows)}))


if __name__ == "__main__":
    main()
