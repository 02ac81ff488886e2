"""llama.cpp runs the GGUF files that we write: the weights to the bit, and our loss with its own 8-bit activations.

Activations are those of ggml's vector instructions on x86 (Q8Rounding::kVector); two builds of llama.cpp differ by 3e-4 themselves."""
import json
import os
import subprocess
import sys
import tempfile

from foreign import check, finish, require

require("xllamacpp", "gguf", "libgguf", "safetensors", "numpy")
import gguf
import libgguf
import numpy
from safetensors.numpy import save_file

ROOT, QAT_LLM = os.environ["QAT_SOURCE_ROOT"], os.environ["QAT_LLM"]
DATA = os.environ.get("QAT_SHARED_DATA") or os.path.join(os.path.dirname(ROOT), "shared", "data")
MODEL, TEXT = os.path.join(DATA, "stories260K", "stories260K.bin"), os.path.join(DATA, "tinystories", "v2-valid.txt")
SCORED = 1 << 30 if "QAT_TEST_FULL" in os.environ else 13000  # bytes of the text: of all of it 91136 targets, else 3584
# What survives a checkpoint in bf16 and ggml's own quantizer.
TYPES = {"q4_0": True, "q4_1": False, "q5_0": True, "q8_0": False, "iq4_nl": False, "mxfp4": True}
ACTIVATIONS = {"q4_1": "q8_1", "tq1_0": "q8_k", "tq2_0": "q8_k"}  # of the others: q8_0


def run(*arguments):
    result = subprocess.run([QAT_LLM, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        print(result.stdout + result.stderr, flush=True)
    return result.returncode == 0


def score(path, text):
    script = os.path.join(ROOT, "test", "foreign", "score_gguf.py")
    result = subprocess.run([sys.executable, script, path, text], capture_output=True, text=True)
    if result.returncode == 77:
        print(result.stderr.strip())
        sys.exit(77)
    return json.loads(result.stdout) if result.returncode == 0 else {"nats_per_token": float("nan"), "targets": 0}


def evaluated(model, text, folder, options=()):
    path = os.path.join(folder, "evaluated.json")
    run("eval", "--model", model, "--data", text, "--json", path, *options)
    with open(path) as file:
        return json.load(file)


def check_loss(name, packed, shipped, text, folder, options=()):
    """The packed model has llama.cpp's activations, the file none: its weights are multiplied in fp32."""
    ours, plain, theirs = evaluated(packed, text, folder, options), evaluated(shipped, text, folder), score(shipped, text)
    difference = theirs["nats_per_token"] - ours["nats_per_token"]
    difference_plain = theirs["nats_per_token"] - plain["nats_per_token"]
    print(f"{name}: {theirs['nats_per_token']:.6f} nats a token in llama.cpp over {theirs['targets']} targets, "
          f"{ours['nats_per_token']:.6f} here ({difference:+.6f}), {plain['nats_per_token']:.6f} without 8-bit activations "
          f"({difference_plain:+.6f})", flush=True)
    check(f"{name}: the same targets", theirs["targets"] == ours["targets"])
    check(f"{name}: llama.cpp's loss is ours", abs(difference) < 1e-3, f"{difference:+.6f}")
    check(f"{name}: and ours in fp32 but for 8-bit activations", abs(difference_plain) < (5e-3 if name.startswith("tq") else 2e-3),
          f"{difference_plain:+.6f}")


def tensors(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def check_weights(name, shipped, floats):
    """Decoded by gguf-py: the values on the trained grid, which the second file has in fp32."""
    different = 0
    for tensor in tensors(shipped).values():
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).ravel().view(numpy.float32)
        different += int((values != floats[tensor.name].data.ravel().view(numpy.float32)).sum())
    check(f"{name}: decoded weights are those that were trained", different == 0, f"{different} differ")


def check_requantized(name, shipped, floats):
    """A checkpoint in bf16, quantized by ggml's reference quantizer: the blocks that the file has."""
    equal = total = 0
    for tensor in tensors(shipped).values():
        if gguf.GGML_QUANT_SIZES[tensor.tensor_type][0] == 1:
            continue
        bits = (floats[tensor.name].data.ravel().view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
        rows = bits.reshape(-1, int(tensor.shape[0]))
        theirs = numpy.frombuffer(libgguf.quantize_rows_raw(tensor.tensor_type, rows, *rows.shape), numpy.uint8)
        size = gguf.GGML_QUANT_SIZES[tensor.tensor_type][1]
        same = (theirs.reshape(-1, size) == tensor.data.view(numpy.uint8).reshape(-1, size)).all(axis=1)
        equal, total = equal + int(same.sum()), total + len(same)
    check(f"{name}: a bf16 checkpoint through ggml's quantizer gives {total} of {total} blocks", total > 0 and equal == total,
          f"{equal} of {total}")


def write_wide_model(folder):
    """A Hugging Face directory of random weights with rows of 256, for the types whose blocks are that long."""
    generator, dim, vocab = numpy.random.default_rng(5), 256, 512
    shapes = {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,)}
    for layer in range(2):
        at = f"model.layers.{layer}."
        shapes |= {at + f"self_attn.{n}_proj.weight": (dim if n in "qo" else dim // 2, dim) for n in "qkvo"}
        shapes |= {at + f"mlp.{n}_proj.weight": (dim, dim) for n in ("gate", "up", "down")}
        shapes |= {at + f"{n}_layernorm.weight": (dim,) for n in ("input", "post_attention")}
    os.makedirs(folder)
    save_file({n: numpy.ones(s, numpy.float32) if len(s) == 1 else generator.normal(0, 0.06, s).astype(numpy.float32) for n, s in shapes.items()},
              os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"model_type": "llama", "hidden_size": dim, "intermediate_size": dim, "num_hidden_layers": 2, "num_attention_heads": 4,
                   "num_key_value_heads": 2, "vocab_size": vocab, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "tie_word_embeddings": True}, file)


def check_ternary(at, folder):
    write_wide_model(at("wide"))
    tokenizer = ["--tokenizer", os.path.join(DATA, "stories260K", "tok512.bin")]
    for name in ("tq1_0", "tq2_0"):
        packed, shipped = at(name), at(name + ".gguf")
        done = run("quantize", "--model", at("wide"), "--scheme", f"gguf:{name}+{ACTIVATIONS[name]}", "--out", packed)
        done = done and run("export", "--model", packed, "--to", f"gguf:{name}", "--out", shipped, *tokenizer)
        done = done and run("export", "--model", packed, "--to", "hf", "--out", at(name + "-hf"))
        done = done and run("export", "--model", at(name + "-hf"), "--to", "gguf", "--out", at("floats.gguf"), *tokenizer)
        check(f"{name}: is written", done)
        if not done:
            continue
        check_weights(name, shipped, tensors(at("floats.gguf")))
        check_loss(name, packed, shipped, at("text"), folder, tokenizer)
        check(f"{name}: every block comes back from a bf16 checkpoint", run("stability", "--model", packed, "--to", f"gguf:{name}"))


def main():
    if not os.path.exists(MODEL) or not os.path.exists(TEXT):
        print(f"SKIPPED: gguf (no {MODEL} or {TEXT})")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        with open(TEXT, "rb") as source, open(at("text"), "wb") as file:
            file.write(source.read(SCORED))
        for name, is_stable in TYPES.items():
            packed, shipped = at(name), at(name + ".gguf")
            done = run("quantize", "--model", MODEL, "--scheme", f"gguf:{name}+{ACTIVATIONS.get(name, 'q8_0')}", "--out", packed)
            done = done and run("export", "--model", packed, "--to", f"gguf:{name}", "--out", shipped)
            done = done and run("export", "--model", packed, "--to", "hf", "--out", at(name + "-hf"))
            done = done and run("export", "--model", at(name + "-hf"), "--to", "gguf", "--out", at("floats.gguf"))
            check(f"{name}: is written", done)
            if not done:
                continue
            check_weights(name, shipped, tensors(at("floats.gguf")))
            check_loss(name, packed, shipped, at("text"), folder)
            if is_stable:
                done = run("export", "--model", packed, "--to", "hf", "--dtype", "bf16", "--out", at(name + "-bf16"))
                done = done and run("export", "--model", at(name + "-bf16"), "--to", "gguf", "--dtype", "bf16", "--out", at("bf16.gguf"))
                if done:
                    check_requantized(name, shipped, tensors(at("bf16.gguf")))
                check(f"{name}: qat-llm stability says so", done and run("stability", "--model", packed, "--to", f"gguf:{name}"))
        check_ternary(at, folder)
    finish()


if __name__ == "__main__":
    main()
