"""A tiny llama2.c checkpoint with tokenizer and text, made from nothing, and how the command-line tests count."""
import json
import os
import random
import resource
import struct
import subprocess

QAT_LLM = os.environ["QAT_LLM"]
DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB, LENGTH = 32, 48, 1, 4, 2, 300, 64
results = {"PASSED": 0, "FAILED": 0}


def check(name, ok, detail=""):
    print(f"{'PASSED' if ok else 'FAILED'}: {name}" + ("" if ok else f": {detail}"), flush=True)
    results["PASSED" if ok else "FAILED"] += 1


def run(*arguments, before=None):
    """(exit code, stdout, stderr) of qat-llm. before: called in its process first"""
    result = subprocess.run([QAT_LLM, *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=300, preexec_fn=before)
    return result.returncode, result.stdout, result.stderr


def no_larger_than(size):
    """For run(before=...): a disk on which files end at `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def refused(name, result, *parts):
    """What run() gave is bad input: exit code 2 and one line on stderr that has all the parts."""
    code, _, errors = result
    missing = [part for part in parts if part not in errors]
    check(name, code == 2 and len(errors.strip().splitlines()) == 1 and not missing, f"exit {code}, {missing} missing in {errors!r}")


def refuses(name, arguments, *parts, before=None):
    refused(name, run(*arguments, before=before), *parts)


def load(path):
    with open(path) as file:
        return json.load(file)


def weight_count(hidden=HIDDEN, vocab=VOCAB):
    head = DIM // HEADS
    kv = KV * head
    layer = DIM + DIM * DIM + 2 * kv * DIM + DIM * DIM + DIM + 3 * hidden * DIM
    return vocab * DIM + LAYERS * layer + DIM + LENGTH * head


def write_model(path, vocab=VOCAB, hidden=HIDDEN, cut=0, extra=b"", patch=None):
    """patch: {index of the weight: value}."""
    generator = random.Random(1)
    count = weight_count(hidden, vocab or VOCAB)
    weights = [generator.gauss(0.0, 0.1) for _ in range(count)]
    for index, value in (patch or {}).items():
        weights[index] = value
    data = struct.pack("<7i", DIM, hidden, LAYERS, HEADS, KV, vocab, LENGTH) + struct.pack(f"<{count}f", *weights) + extra
    with open(path, "wb") as file:
        file.write(data[: len(data) - cut])


def write_tokenizer(path, vocab=VOCAB):
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [f"<0x{i:02X}>".encode() for i in range(256)]
    pieces += [bytes([c]) for c in b" etaoinshrdlucmfwypvbgk,.TAI"]
    pieces += [f"<extra{i}>".encode() for i in range(vocab - len(pieces))]
    with open(path, "wb") as file:
        file.write(struct.pack("<I", max(len(p) for p in pieces)))
        for piece in pieces[:vocab]:
            file.write(struct.pack("<fI", -1.0, len(piece)) + piece)


def write_text(path, documents=40):
    generator = random.Random(2)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "ran", "home"]
    text = "\n<|endoftext|>\n".join(" ".join(generator.choice(words) for _ in range(40)) + "." for _ in range(documents))
    with open(path, "w") as file:
        file.write(text)


def make(folder):
    """Model, tokenizer and text in a folder; returns their paths."""
    model, text = os.path.join(folder, "model.bin"), os.path.join(folder, "text.txt")
    write_model(model)
    write_tokenizer(os.path.join(folder, "tokenizer.bin"))
    write_text(text)
    return model, text
