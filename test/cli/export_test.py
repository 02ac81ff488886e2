"""Models leave for other programs and come back with the codes, scales and scores they had; what a format cannot hold is refused."""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import tiny
from tiny import check, load, refuses, run


def score(model, text, folder):
    path = os.path.join(folder, "score.json")
    code, _, errors = run("eval", "--model", model, "--data", text, "--length", "48", "--json", path)
    return load(path)["nats_per_token"] if code == 0 else errors


def differing(a, b, folder):
    path = os.path.join(folder, "diff.json")
    code, _, errors = run("diff", a, b, "--json", path)
    return load(path)["differing"] if code == 0 else errors


FORMATS = {"gguf": "out.gguf", "hf": "out", "compressed-tensors": "out", "torchao": "out", "onnx": "out.onnx", "llama2c": "out.bin"}


def interrupted(folder, model):
    """An export that a full disk or kill -9 ends leaves nothing under the final name, or the whole of it."""
    at = lambda name: os.path.join(folder, name)
    packed, generator = at("to-export"), random.Random(3)
    code, _, errors = run("quantize", "--model", model, "--scheme", "qat4:group16", "--out", packed)
    check("a model to export", code == 0, errors)
    for to, name in FORMATS.items():
        command = ["export", "--model", packed, "--to", to, "--out", at(name)]
        begun = time.time()
        code, _, errors = run(*command)
        seconds = time.time() - begun
        whole, _, _ = run("inspect", at(name))
        check(f"{to}: a whole file is sound", code == 0 and whole == 0, errors)
        remove(at(name))
        refuses(f"{to}: on a full disk", command, "cannot write", before=tiny.no_larger_than(4000))
        check(f"{to}: a full disk leaves nothing", not os.path.exists(at(name)), str(os.listdir(folder)))
        wrong = []
        for _ in range(6):
            process = subprocess.Popen([tiny.QAT_LLM, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(generator.uniform(0.0, seconds))
            process.kill()
            process.wait()
            if os.path.exists(at(name)) and run("inspect", at(name))[0] != 0:
                wrong.append(os.listdir(folder))
            remove(at(name))
        check(f"{to}: kill -9 leaves nothing, or the whole", not wrong, str(wrong))


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        interrupted(folder, model)
        at = lambda name: os.path.join(folder, name)
        for scheme in ("8da4w:group16", "weight=int4:group16:asymmetric:bf16safe", "int8_weight_only:axis0"):
            packed, out = at("packed"), at("ct")
            code, _, errors = run("quantize", "--model", model, "--scheme", scheme, "--out", packed)
            check(f"{scheme}: packs", code == 0, errors)
            code, _, errors = run("export", "--model", packed, "--to", "compressed-tensors", "--out", out, "--json", at("e.json"))
            check(f"{scheme}: exports", code == 0 and load(at("e.json"))["packed"] == 7, errors)
            check(f"{scheme}: no code or scale differs", differing(packed, out, folder) == 0)
            check(f"{scheme}: scores the same", score(packed, text, folder) == score(out, text, folder))
            check(f"{scheme}: has a tokenizer", os.path.exists(os.path.join(out, "tokenizer.bin")))
            code, _, errors = run("export", "--model", packed, "--to", "torchao", "--out", at("ao"))
            check(f"{scheme}: torchao's tensors hold the same codes and scales", code == 0 and differing(packed, at("ao"), folder) == 0
                  and score(packed, text, folder) == score(at("ao"), text, folder), errors)
            code, _, errors = run("export", "--model", packed, "--to", "hf", "--out", at("hf"))
            check(f"{scheme}: float weights on the grid", code == 0 and differing(packed, at("hf"), folder) == 0, errors)
            code, _, errors = run("export", "--model", packed, "--to", "llama2c", "--out", at("grid.bin"))
            check(f"{scheme}: the same as llama2.c", code == 0 and differing(at("hf"), at("grid.bin"), folder) == 0, errors)
            code, _, errors = run("export", "--model", packed, "--to", "onnx", "--out", at("m.onnx"), "--json", at("e.json"))
            check(f"{scheme}: ONNX", code == 0 and load(at("e.json"))["packed"] == 7, errors)
        code, _, errors = run("quantize", "--model", model, "--scheme", "qat4", "--out", at("packed"))
        code, out, errors = run("export", "--model", at("packed"), "--to", "gguf:q4_0", "--out", at("m.gguf"), "--json", at("e.json"))
        types = {line["name"]: line["type"] for line in load(at("e.json"))["layers"]} if code == 0 else {}
        check("GGUF: rows of whole blocks in the type asked for, others exact all the same", types.get("model.layers.0.self_attn.q_proj") == "Q4_0"
              and types.get("model.layers.0.mlp.down_proj") == "F16" and "down_proj: " in out, errors or out)
        check("GGUF: the values of the packed model", differing(at("packed"), at("m.gguf"), folder) == 0)
        refuses("GGUF: scales that are no halves", ["export", "--model", model, "--scheme", "8da4w", "--to", "gguf:q4_0", "--out", at("no.gguf")],
                "halves", "signed_extremum:bf16safe")
        refuses("GGUF: an unknown type", ["export", "--model", model, "--to", "gguf:q9", "--out", at("no.gguf")], "gguf:q9", "q4_0")
        code, _, errors = run("export", "--model", model, "--scheme", "qat4:group16", "--to", "compressed-tensors", "--out", at("ptq"),
                              "--dtype", "bf16")
        check("a float model is quantized on the way", code == 0, errors)
        check("another scheme differs", differing(at("packed"), at("ptq"), folder) >= 7)
        refuses("a float model is no compressed-tensors", ["export", "--model", model, "--to", "compressed-tensors", "--out", at("no")],
                "no packed linear layer")
        refuses("groups that do not divide a row", ["export", "--model", model, "--scheme", "8da4w", "--to", "compressed-tensors", "--out", at("no")],
                "down_proj", "48 columns do not divide into groups of 32", "accepted")
        refuses("scales that 16 bits cannot hold", ["export", "--model", model, "--scheme", "8da4w:group16", "--to", "compressed-tensors",
                                                    "--dtype", "bf16", "--out", at("no")], "BF16 cannot hold")
        refuses("a directory for llama2.c", ["export", "--model", model, "--to", "llama2c", "--out", at("no")], "ends in .bin")
        check("nothing is left of what was refused", not os.path.exists(at("no")) and not os.path.exists(at("no.gguf")))
        refuses("an unknown format", ["export", "--model", model, "--to", "gguff", "--out", at("no")], "gguff", "compressed-tensors")
        tiny.write_model(at("wide.bin"), hidden=64)
        refuses("models of different shapes", ["diff", model, at("wide.bin")], "gate_proj has shape")
        refuses("a model that is not there", ["diff", model, at("none")], "does not exist")
        config = os.path.join(at("ct"), "config.json")
        with open(config) as file:
            changed = file.read().replace('"num_bits": 8', '"num_bits": 4')
        with open(config, "w") as file:
            file.write(changed)
        refuses("a configuration that its tensors contradict", ["eval", "--model", at("ct"), "--data", text], "weight_packed", "accepted")
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
