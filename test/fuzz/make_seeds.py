#!/usr/bin/env python3
"""Writes the small valid files that fuzzing starts from: make_seeds.py CORPUS. Those of recipe_targets.cpp are written by
fuzz_test when QAT_FUZZ_SEEDS names the folder."""
import json
import os
import struct
import sys

PIECES = ["\u2581", "a", "b", "t", "h", "e", "th", "the", "\u2581t", "\u2581the", "\u2581a", "ab"]
BYTES = ["<0x%02X>" % byte for byte in range(256)]


def safetensors(tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + data


def gguf_string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(value):
    """(type, bytes)"""
    if isinstance(value, bool):
        return 7, struct.pack("<B", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, gguf_string(value)
    kinds = [gguf_value(each) for each in value]
    element = 5 if isinstance(value[0], int) else kinds[0][0]
    return 9, struct.pack("<IQ", element, len(value)) + b"".join(raw for _, raw in kinds)


def gguf(keys, tensors=()):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        kind, raw = gguf_value(value)
        out += gguf_string(key) + struct.pack("<I", kind) + raw
    data = b""
    for name, shape, kind, raw in tensors:
        out += gguf_string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        out += struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    return out + bytes(-len(out) % 32) + data if tensors else out


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(number, raw):
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def number(field, value):
    return varint(field << 3) + varint(value)


def sentencepiece():
    out = b""
    for piece, score, kind in [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), *((byte, 0, 6) for byte in BYTES), *((p, -i, 1) for i, p in enumerate(PIECES))]:
        out += message(1, message(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + (number(3, kind) if kind != 1 else b""))
    out += message(2, number(3, 2) + number(4, 271) + number(35, 1) + number(40, 0) + number(41, 1) + number(42, 2))
    return out + message(3, message(1, b"identity") + number(3, 1) + number(4, 1))


def llama2c():
    dim, hidden, layers, heads, kv_heads, vocab, length = 8, 12, 1, 2, 1, 6, 4
    head = dim // heads
    floats = vocab * dim + layers * (dim + dim * dim + 2 * dim * kv_heads * head + dim * dim + dim + 3 * dim * hidden) + dim + 2 * length * (head // 2)
    return struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab, length) + struct.pack("<%df" % floats, *[0.25] * floats)


def llama2c_tokenizer():
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *BYTES, *(piece.replace("\u2581", " ") for piece in PIECES)]
    out = struct.pack("<I", max(len(piece.encode()) for piece in pieces))
    for i, piece in enumerate(pieces):
        raw = piece.encode()
        out += struct.pack("<fI", float(-i), len(raw)) + raw
    return out


def tokenizer_json(byte_level):
    if byte_level:
        vocab = ["\u0120", "a", "b", "t", "h", "e", "th", "the", "\u0120the"]
        merges = ["t h", "th e", "\u0120 the"]
        parts = {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]},
            "decoder": {"type": "ByteLevel"}}
    else:
        vocab = [*BYTES, *PIECES]
        merges = [["t", "h"], ["th", "e"], ["\u2581", "t"], ["\u2581", "the"], ["a", "b"]]
        parts = {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
    return json.dumps({"version": "1.0", "added_tokens": [{"id": len(vocab), "content": "<s>", "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": False, "special": True}], **parts, "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]},
        "model": {"type": "BPE", "unk_token": None, "fuse_unk": True, "byte_fallback": not byte_level, "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(vocab)}, "merges": merges}}, ensure_ascii=False).encode()


def seeds():
    yield "safetensors", "seed", safetensors({"w": ("F32", [2, 3], bytes(24)), "b": ("BF16", [3], bytes(6)), "i": ("I64", [], bytes(8))})
    yield "gguf", "seed", gguf({"general.architecture": "llama", "general.alignment": 32, "f": 0.5, "b": True, "a": [1, 2], "s": ["x", "y"]},
        [("token_embd.weight", [2, 32], 0, bytes(256)), ("blk.0.attn_q.weight", [1, 32], 2, bytes(18))])
    ids = {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
    pieces = ["<unk>", "<s>", "</s>", *BYTES, *PIECES]
    yield "gguf_vocabulary", "seed-llama", gguf({"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [float(-i) for i in range(len(pieces))],
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * len(PIECES)], **ids, "tokenizer.ggml.add_space_prefix": True})
    yield "gguf_vocabulary", "seed-gpt2", gguf({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "\u0120", "<|x|>"], "tokenizer.ggml.token_type": [1, 1, 1, 1, 3],
        "tokenizer.ggml.merges": ["a b"], **ids})
    yield "llama2c", "seed", llama2c()
    yield "llama2c_tokenizer", "seed", llama2c_tokenizer()
    yield "tokenizer_json", "seed-llama", tokenizer_json(False)
    yield "tokenizer_json", "seed-gpt2", tokenizer_json(True)
    yield "sentencepiece", "seed", sentencepiece()
    yield "hf_config", "seed", json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
        "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 6,
        "max_position_embeddings": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu",
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}}).encode()
    yield "gpt2_files", "seed", json.dumps({p: i for i, p in enumerate(["t", "h", "e", "th", "the", "\u0120", "\u0120the"])},
        ensure_ascii=False).encode() + b"\n--- next file ---\n#version: 0.2\nt h\nth e\n\xc4\xa0 the\n"
    yield "sft_jsonl", "seed", (b'{"prompt": "a", "completion": "b"}\n'
        b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "\\u00e9"}]}\n')
    yield "jsonl", "seed", b'{"ctx": "a", "endings": ["b", "c"], "label": 1}\n\n{"ctx": "\\u00e9", "endings": ["x", "y"], "label": 0}\n'


for target, name, content in seeds():
    os.makedirs(os.path.join(sys.argv[1], target), exist_ok=True)
    with open(os.path.join(sys.argv[1], target, name), "wb") as file:
        file.write(content)
