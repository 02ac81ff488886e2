"""transformers computes our logits from the directories that we write: float, and packed integers of compressed-tensors.

Runs where QAT_TRANSFORMERS_PYTHON names a Python with torch, transformers and compressed-tensors, which take gigabytes."""
import json
import os
import random
import subprocess
import sys
import tempfile

from foreign import check, finish, has

QAT_LLM = os.environ["QAT_LLM"]
PYTHON = os.environ.get("QAT_TRANSFORMERS_PYTHON", "")
ROWS, LENGTH = 8, 128  # sequences and their tokens
# Scheme, whether transformers loads it itself: it refuses asymmetric ones, its own package's too (zero points are packed).
SCHEMES = {"weight=int4:group32:symmetric": True, "weight=int4:group128:symmetric": True, "weight=int4:axis0:symmetric": True,
           "weight=int8:axis0:symmetric": True, "weight=int4:group32:symmetric:bf16safe": True, "weight=int4:group32:asymmetric": False,
           "weight=int4:axis0:asymmetric": False, "weight=int8:group64:asymmetric": False}


def qat(*arguments):
    result = subprocess.run([QAT_LLM, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        check(" ".join(arguments[:2]), False, result.stderr)
        finish()


def from_torchao(path):
    """The model with each weight as torchao itself reads it from the file."""
    import torch
    from safetensors import safe_open
    from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM
    with safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        loaded = unflatten_tensor_state_dict({k: file.get_tensor(k) for k in file.keys()}, file.metadata())
    tensors = loaded[0] if isinstance(loaded, tuple) else loaded
    config = AutoConfig.from_pretrained(path)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    values = {k: t.dequantize() if hasattr(t, "qdata") else t for k, t in tensors.items()}
    missing, unexpected = model.load_state_dict(values, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def decompressed(path):
    """The model with each packed weight taken apart by the compressed-tensors package."""
    import torch
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(path)
    (group,) = config.quantization_config["config_groups"].values()
    weights = {k: group["weights"][k] for k in ("num_bits", "type", "symmetric", "strategy", "group_size")}
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))
    tensors = load_file(os.path.join(path, "model.safetensors"))
    for name in [k.removesuffix("weight_packed") for k in tensors if k.endswith(".weight_packed")]:
        parts = {k.removeprefix(name): tensors.pop(k) for k in list(tensors) if k.startswith(name)}
        tensors[name + "weight"] = PackedQuantizationCompressor.decompress(parts, scheme)["weight"]
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def compare(name, model, path, ids, bound, folder):
    """Our logits of the directory against those of its model in transformers; bound: of the largest difference, relative to the largest logit."""
    import numpy
    import torch
    tokens, out = os.path.join(folder, "tokens"), os.path.join(folder, "logits")
    with open(tokens, "w") as file:
        file.write("\n".join(" ".join(map(str, row)) for row in ids))
    qat("logits", "--model", path, "--tokens", tokens, "--out", out)
    with torch.no_grad():
        theirs = model.eval()(input_ids=torch.tensor(ids)).logits.float().numpy()
    ours = numpy.fromfile(out, numpy.float32).reshape(theirs.shape)
    off, largest = float(numpy.abs(ours - theirs).max()), float(numpy.abs(theirs).max())
    same = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    print(f"{name}: largest difference {off:.3g}, of the largest logit {largest:.3g}; the same next token after {same} of {ROWS * LENGTH} tokens")
    check(f"{name}: logits agree", off <= bound * (largest if bound > 1e-4 else 1), f"{off} of {largest}")
    check(f"{name}: the next token is the same after each of {ROWS * LENGTH} tokens", same == ROWS * LENGTH, f"{same}")


def main():
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    generator = random.Random(1)
    ids = [[generator.randrange(3, 500) for _ in range(LENGTH)] for _ in range(ROWS)]
    from_pretrained = transformers.AutoModelForCausalLM.from_pretrained
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        config = transformers.LlamaConfig(vocab_size=500, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                                          num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.1)
        transformers.LlamaForCausalLM(config).save_pretrained(at("theirs"))
        with open(at("theirs/tokenizer.json"), "w") as file:
            json.dump({}, file)
        qat("export", "--model", at("theirs"), "--to", "hf", "--out", at("float"))
        compare("float", from_pretrained(at("float"), dtype=torch.float32), at("float"), ids, 2e-5, folder)
        for number, (scheme, loads) in enumerate(SCHEMES.items()):
            packed, out = at(f"packed{number}"), at(f"out{number}")
            qat("quantize", "--model", at("theirs"), "--scheme", scheme, "--out", packed)
            qat("export", "--model", packed, "--to", "compressed-tensors", "--out", out)
            model = from_pretrained(out, dtype=torch.float32) if loads else decompressed(out)
            compare(scheme if loads else scheme + " (taken apart by compressed-tensors)", model, out, ids, 1e-3, folder)
            if has(sys.executable, "torchao"):
                ao = at(f"ao{number}")
                qat("export", "--model", packed, "--to", "torchao", "--out", ao)
                compare(scheme + " as torchao reads it", from_torchao(ao), ao, ids, 1e-3, folder)
            grid = at(f"grid{number}")
            qat("export", "--model", packed, "--to", "hf", "--out", grid)
            compare(scheme + " as floats on the grid", from_pretrained(grid, dtype=torch.float32), grid, ids, 2e-5, folder)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    finish()


if __name__ == "__main__":
    if not PYTHON:
        print("SKIPPED: transformers_test (QAT_TRANSFORMERS_PYTHON names no Python with torch, transformers and compressed-tensors)")
        sys.exit(77)
    if sys.executable != PYTHON and len(sys.argv) == 1:
        missing = [m for m in ("torch", "transformers", "compressed_tensors", "safetensors") if not has(PYTHON, m)]
        if missing:
            print(f"SKIPPED: transformers_test (QAT_TRANSFORMERS_PYTHON lacks {', '.join(missing)})")
            sys.exit(77)
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.execv(PYTHON, [PYTHON, __file__, "run"])
    main()
