"""inspect says what every format holds, and finds what is wrong with it; import takes each into a Hugging Face directory."""
import json
import math
import os
import shutil
import struct
import sys
import tempfile

import tiny
from tiny import check, load, refuses, run


def patched(source, target, place, data):
    """A copy of a file with other bytes from `place`, which may be negative, on."""
    with open(source, "rb") as file:
        content = bytearray(file.read())
    place = place % len(content)
    content[place:place + len(data)] = data
    with open(target, "wb") as file:
        file.write(content)


def safetensors_place(path, name):
    """Where a tensor's bytes begin in a safetensors file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    return 8 + size + header[name]["data_offsets"][0]


def edited(path, change):
    with open(path) as file:
        content = json.load(file)
    change(content)
    with open(path, "w") as file:
        json.dump(content, file)


def made(at, model):
    """One of each format, by name: (path, what the first line says, a tensor)."""
    def ok(*arguments):
        code, _, errors = run(*arguments)
        check(" ".join(arguments[:3]), code == 0, errors)
    ok("quantize", "--model", model, "--scheme", "qat4", "--out", at("packed"))
    ok("export", "--model", at("packed"), "--to", "gguf:q4_0", "--out", at("m.gguf"))
    ok("export", "--model", at("packed"), "--to", "hf", "--out", at("hf"))
    ok("export", "--model", at("packed"), "--to", "onnx", "--out", at("m.onnx"))
    ok("quantize", "--model", model, "--scheme", "weight=int4:group16:asymmetric", "--out", at("groups"))
    ok("export", "--model", at("groups"), "--to", "compressed-tensors", "--out", at("ct"))
    return {"llama2.c": (model, "llama2.c version 0", "model.norm.weight"), "GGUF": (at("m.gguf"), "GGUF version 3", "blk.0.attn_q.weight"),
            "ONNX": (at("m.onnx"), "ONNX", "model.layers.0.self_attn.q_proj."), "a directory": (at("hf"), "Hugging Face directory", "model.norm.weight"),
            "safetensors": (at("hf/model.safetensors"), "safetensors", "model.norm.weight"),
            "compressed-tensors": (at("ct"), "compressed-tensors", "model.layers.0.mlp.up_proj.weight_packed"),
            "packed": (at("packed"), "packed directory", "model.layers.0.mlp.up_proj.codes")}


def damage(at, model):
    """What a file can have that makes it useless, and that its header does not show."""
    nan = struct.pack("<f", math.nan)
    patched(model, at("nan.bin"), -4 * tiny.LENGTH * tiny.DIM // tiny.HEADS - 8, nan)
    refuses("a weight that is NaN", ["inspect", at("nan.bin")], "nan.bin", "model.norm.weight", "not finite")
    with open(at("m.gguf"), "rb") as file:
        place = len(file.read()) - 200
    patched(at("m.gguf"), at("inf.gguf"), place, struct.pack("<f", math.inf) * 8)
    refuses("a weight that is infinite", ["inspect", at("inf.gguf")], "inf.gguf", "not finite")
    weights = at("packed/model.safetensors")
    shutil.copy(weights, at("good"))
    patched(at("good"), weights, safetensors_place(weights, "model.layers.0.mlp.up_proj.scale"), nan)
    refuses("a scale that is NaN", ["inspect", at("packed")], "up_proj.scale", "not finite")
    shutil.copy(at("good"), weights)
    tiny.write_tokenizer(at("hf/tokenizer.bin"), vocab=tiny.VOCAB + 5)
    refuses("a tokenizer with more tokens than the embedding has rows", ["inspect", at("hf")], "has 305 tokens", "300 rows")
    tiny.write_tokenizer(at("hf/tokenizer.bin"))
    edited(at("hf/config.json"), lambda j: j.update(eos_token_id=300))
    refuses("an end token that is no row of the embedding", ["inspect", at("hf")], "eos_token_id is 300", "300")
    edited(at("hf/config.json"), lambda j: j.update(eos_token_id=2, num_hidden_layers=2))
    refuses("a tensor that is missing", ["inspect", at("hf")], "model.layers.1.", "is missing")
    edited(at("hf/config.json"), lambda j: j.update(num_hidden_layers=1))
    with open(at("m.onnx"), "rb") as file:
        data = file.read()
    for part in (0, 1, len(data) // 3, len(data) - 1):
        with open(at("cut.onnx"), "wb") as file:
            file.write(data[:part])
        refuses(f"ONNX, {part} bytes of it", ["inspect", at("cut.onnx")], "cut.onnx")
    refuses("no file", ["inspect", at("none.gguf")], "none.gguf", "does not exist")
    os.mkdir(at("nothing"))
    refuses("an empty directory", ["inspect", at("nothing")], "nothing", "holds no model", "accepted")


def imports(at, model, text):
    """Each format becomes a directory with the same values, and a tokenizer that training and evaluation find."""
    def differing(a, b):
        code, _, errors = run("diff", a, b, "--json", at("d.json"))
        return load(at("d.json"))["differing"] if code == 0 else errors
    for name, source, dtype, words in (("llama2.c", model, "F32", "tokenizer.bin"), ("GGUF", at("m.gguf"), "F32", "tokenizer.json"),
                                       ("a directory", at("hf"), "F32", "tokenizer.bin")):
        code, out, errors = run("import", source, "--out", at("imported"), "--json", at("i.json"))
        result = load(at("i.json")) if code == 0 else {}
        check(f"import of {name}", code == 0 and result["dtype"] == dtype and result["tokenizer"] == words, errors + str(result))
        check(f"import of {name}: no value differs", differing(source, at("imported")) == 0)
        code, out, errors = run("inspect", at("imported"))
        check(f"import of {name}: sound", code == 0 and "300 tokens" in out, errors)
        shutil.rmtree(at("imported"))
    code, _, errors = run("import", model, "--out", at("imported"), "--dtype", "bf16")
    again = run("import", at("imported"), "--out", at("again"), "--json", at("i.json"))
    same = [open(os.path.join(d, "model.safetensors"), "rb").read() for d in (at("imported"), at("again"))]
    check("an imported directory keeps its type, to the byte", code == 0 and again[0] == 0 and load(at("i.json"))["dtype"] == "BF16"
          and same[0] == same[1], errors + again[2])
    os.mkdir(at("alone"))
    shutil.copy(at("m.gguf"), at("alone/m.gguf"))
    code, _, errors = run("train", "--model", at("alone/m.gguf"), "--train-data", text, "--scheme", "qat4", "--steps", "2", "--seq-length", "16",
                          "--output-dir", at("from-gguf"))
    check("training from GGUF", code == 0, errors)
    for part in ("model", "packed"):
        code, _, errors = run("eval", "--model", at(f"from-gguf/{part}"), "--data", text, "--length", "16")
        check(f"the vocabulary of a GGUF file stands in RUN/{part}", code == 0, errors)
    code, _, errors = run("export", "--model", at("from-gguf/packed"), "--to", "gguf", "--out", at("back.gguf"))
    check("and goes back into GGUF", code == 0, errors)
    refuses("import of a packed directory", ["import", at("packed"), "--out", at("no")], "is packed", "export --to hf")
    with open(at("cut.gguf"), "wb") as file, open(at("m.gguf"), "rb") as whole:
        file.write(whole.read()[:-100])
    refuses("import of a cut file", ["import", at("cut.gguf"), "--out", at("no")], "cut.gguf", "truncated")
    refuses("import onto a full disk", ["import", model, "--out", at("no")], "cannot write", before=tiny.no_larger_than(20_000))
    check("leaves nothing", not os.path.exists(at("no")) and not [n for n in os.listdir(os.path.dirname(model)) if "unfinished" in n])


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        at = lambda name: os.path.join(folder, name)
        for name, (path, says, tensor) in made(at, model).items():
            code, out, errors = run("inspect", path, "--json", at("i.json"))
            found = load(at("i.json")) if code == 0 else {"tensors": []}
            names = [t["name"] for t in found["tensors"]]
            check(f"{name}: is listed and sound", code == 0 and says in out.splitlines()[0] and any(n.startswith(tensor) for n in names)
                  and "nothing is wrong" in out, errors + out[:400])
            check(f"{name}: the bytes of tensors are those of the file but for its header",
                  0 < sum(t["bytes"] for t in found["tensors"]) <= found.get("file_bytes", 0), str(found.get("file_bytes")))
            check(f"{name}: layers with codes", bool(found.get("layers")) == (name in ("packed", "compressed-tensors")))
        code, out, errors = run("inspect", at("tokenizer.bin"))
        check("a tokenizer is described", code == 0 and "llama2.c" in out and "300" in out, errors)
        code, out, errors = run("train", "--model", model, "--train-data", text, "--scheme", "qat4", "--steps", "2", "--seq-length", "16",
                                "--output-dir", at("run"))
        check("a run", code == 0, errors)
        code, out, errors = run("inspect", at("run"))
        check("a run is described with its newest checkpoint", code == 0 and "step-000002" in out and "exp_avg" in out, errors)
        imports(at, model, text)
        damage(at, model)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
