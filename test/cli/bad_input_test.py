"""Bad input ends with exit code 2 and one line that names file, tensor or key, what was found and what is accepted."""
import json
import math
import os
import shutil
import sys
import tempfile

import tiny
from tiny import check, refuses, run


def unreadable(folder, model, text):
    """Models, data and tokenizers that are there and cannot be used."""
    nothing, empty = os.path.join(folder, "nothing"), os.path.join(folder, "empty.bin")
    os.mkdir(nothing)
    open(empty, "w").close()
    train = lambda **more: ["train", *sum((["--" + k.replace("_", "-"), v] for k, v in dict(dict(
        model=model, train_data=text, steps="2", seq_length="32"), **more).items()), [])]
    refuses("a model that is an empty file", train(model=empty), "empty.bin")
    refuses("a model that is an empty directory", train(model=nothing), "nothing", "config.json")
    refuses("a text that is a directory", train(train_data=nothing), "nothing")
    refuses("a tokenizer that is an empty directory", train(tokenizer=nothing), "nothing", "has no tokenizer")
    refuses("a prompt that is a directory", ["generate", "--model", model, "--prompt-file", nothing], "nothing")
    refuses("a missing prompt file", ["generate", "--model", model, "--prompt-file", os.path.join(folder, "none.txt")], "none.txt", "cannot open")
    for option, value, parts in [("temperature", "-1", ["temperature is -1"]), ("top-p", "0", ["top_p is 0"]), ("top-p", "1.5", ["top_p is 1.5"]),
                                 ("top-k", "-2", ["top_k is -2"]), ("tokens", "-1", ["-1 tokens"]), ("chat-template", "x", ["accepted: chatml"])]:
        refuses(f"{option} {value}", ["generate", "--model", model, "--prompt", "the cat", f"--{option}", value], *parts)
    # The vocabulary of a text's tokenizer and the model's: training, generation and fine-tuning name what does not fit.
    narrow, samples = os.path.join(folder, "narrow.bin"), os.path.join(folder, "one.jsonl")
    tiny.write_model(narrow, vocab=265)
    with open(samples, "w") as file:
        file.write(json.dumps(dict(prompt="the cat", completion="sat")) + "\n")
    refuses("training on tokens beyond the vocabulary", train(model=narrow, tokenizer=folder), "text.txt", "0 to 264")
    refuses("fine-tuning on them", train(model=narrow, tokenizer=folder, train_data=samples, set="task.type=sft"), "one.jsonl:1", "0 to 264")
    refuses("generating from them", ["generate", "--model", narrow, "--tokenizer", folder, "--prompt", "the cat"], "prompt", "0 to 264")
    if os.geteuid() != 0:
        os.chmod(empty, 0)
        refuses("a model that may not be read", train(model=empty), "empty.bin", "Permission denied")
    os.rmdir(nothing)
    for path in (empty, narrow, samples):
        os.remove(path)


def device(folder, model, text):
    """--device on a machine without a GPU, or in a program without CUDA: cuda is refused, auto runs on the CPU and says why."""
    commands = [("train", ["train", "--model", model, "--train-data", text, "--data", text, "--length", "32", "--steps", "2", "--seq-length", "32",
                           "--scheme", "8da4w:group16"]),
                ("eval", ["eval", "--model", model, "--data", text, "--length", "32"]),
                ("eval of a table", ["eval", "--model", model, "--data", text, "--length", "32", "--limit", "2"])]
    if run(*commands[1][1], "--device", "cuda")[0] == 0:
        print("SKIPPED: --device without a GPU: there is one")
        return
    for name, command in commands:
        refuses(f"{name} --device cuda", [*command, "--device", "cuda"], "--device cpu")
        code, out, errors = run(*command, "--device", "auto", "--json", os.path.join(folder, "auto.json"))
        check(f"{name} --device auto says why it runs on the CPU", code == 0 and "runs on the CPU: " in errors, f"exit {code}: {errors}")
        if name != "train":
            continue
        code, _, errors = run(*command, "--device", "cpu", "--json", os.path.join(folder, "cpu.json"))
        losses = [[step["loss"] for step in tiny.load(os.path.join(folder, path))["steps"]] for path in ("auto.json", "cpu.json")]
        check("train --device auto computes what the CPU computes", code == 0 and len(losses[0]) == 2 and losses[0] == losses[1], str(losses))
    refuses("a device that is none", [*commands[0][1], "--device", "tpu"], "cpu", "cuda", "auto")
    for name in ("auto.json", "cpu.json"):
        os.remove(os.path.join(folder, name))


def full_disk(folder, model, text):
    """Files that may not grow beyond 20 kB: what cannot be written whole is not there, what was there stays."""
    out, result = os.path.join(folder, "limited"), os.path.join(folder, "result.json")
    limit = tiny.no_larger_than(20_000)
    commands = [("quantize", ["quantize", "--model", model, "--scheme", "qat4"]),
                ("train", ["train", "--model", model, "--train-data", text, "--steps", "2", "--seq-length", "32"])]
    for name, command in commands:
        before = files_below(folder)
        refuses(f"{name} on a full disk", [*command, "--out", out], "cannot write", before=limit)
        check(f"{name} on a full disk leaves nothing", files_below(folder) == before and not os.path.exists(out),
              str(set(files_below(folder)) - set(before)))
    code, _, errors = run(*commands[0][1], "--out", out)
    check("with room it is written", code == 0, errors)
    before = {path: open(path, "rb").read() for path in files_below(out)}
    refuses("writing over it on a full disk", [*commands[1][1], "--out", out], "cannot write", before=limit)
    check("leaves what was there", before == {path: open(path, "rb").read() for path in files_below(out)}, str(files_below(out)))
    shutil.rmtree(out)
    refuses("results on a full disk", ["train", "--model", model, "--train-data", text, "--steps", "300", "--seq-length", "8", "--batch", "1",
                                       "--json", result], "result.json", "cannot write", before=limit)
    check("are not half-written", not os.path.exists(result))


def files_below(folder):
    return sorted(os.path.join(d, f) for d, _, files in os.walk(folder) for f in files)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        evaluate = lambda m, *more: ["eval", "--model", m, "--data", text, "--length", "32", *more]
        code, out, errors = run(*evaluate(model))
        check("the good files are accepted", code == 0 and "nats per token" in out, errors)

        bad = os.path.join(folder, "bad.bin")
        tiny.write_model(bad, cut=100)
        refuses("truncated checkpoint", evaluate(bad), "bad.bin", "bytes")
        tiny.write_model(bad, extra=b"\0" * 8)
        refuses("oversized checkpoint", evaluate(bad), "bad.bin", "bytes")
        tiny.write_model(bad, vocab=0)
        refuses("header without vocabulary", evaluate(bad), "bad.bin", "vocab_size")
        with open(bad, "wb") as file:
            file.write(b"GGUF" + b"\0" * 100)
        refuses("a GGUF file of no version", evaluate(bad), "bad.bin", "version is 0", "accepted")
        tiny.write_model(bad, patch={tiny.VOCAB * tiny.DIM + tiny.DIM + 7: math.nan})
        refuses("NaN weight", evaluate(bad), "bad.bin", "q_proj", "finite")
        refuses("missing checkpoint", evaluate(os.path.join(folder, "none.bin")), "none.bin", "does not exist")
        refuses("missing text", ["eval", "--model", model, "--data", os.path.join(folder, "none.txt")], "none.txt")
        empty = os.path.join(folder, "empty.txt")
        open(empty, "w").close()
        refuses("empty text", ["eval", "--model", model, "--data", empty], "empty.txt", "is empty")
        with open(empty, "w") as file:
            file.write("the cat\n")
        refuses("choices that are text", ["eval", "--model", model, "--choices", text], text + ":1", "not valid JSON")
        refuses("text shorter than a window", ["eval", "--model", model, "--data", empty, "--length", "32"], "empty.txt", "needs 33")
        refuses("window longer than the model takes", evaluate(model)[:-1] + ["65"], "--length is 65", "1 to 64")

        big = os.path.join(folder, "big")
        os.mkdir(big)
        tiny.write_tokenizer(os.path.join(big, "tokenizer.bin"), vocab=400)
        small = os.path.join(folder, "small")
        os.mkdir(small)
        # A text whose tokens the tokenizer knows and the model does not: a 265-token model with the 300-token tokenizer.
        small_model = os.path.join(small, "model.bin")
        tiny.write_model(small_model, vocab=265)
        tiny.write_tokenizer(os.path.join(small, "tokenizer.bin"))
        refuses("token id beyond the vocabulary", ["eval", "--model", small_model, "--tokenizer", os.path.join(folder, "tokenizer.bin"),
                                                   "--data", text, "--length", "32"], "text.txt", "0 to 264")

        for scheme, parts in {"8da4w:group0": ["group0"], "8da4w:group33": ["q_proj", "group_size is 33", "1 to its row length 32"],
                              "4w8a": ["4w8a", "accepted"], "weight=int9:tensor:symmetric": ["int9", "int1 to int8"],
                              "weight=int4:group32:symmetric:float33": ["float33"], "tinygemm:group48": ["48", "32, 64, 128, 256"]}.items():
            refuses(f"scheme {scheme}", evaluate(model, "--scheme", scheme), *parts)
        refuses("pattern that selects nothing", evaluate(model, "--scheme", "qat4", "--layers", "layers.7.*"), "layers.7.*", "selects nothing")
        refuses("pattern that selects a norm", evaluate(model, "--scheme", "qat4", "--layers", "norm"), "model.norm", "RmsNorm")

        device(folder, model, text)
        unreadable(folder, model, text)
        before = files_below(folder)
        out = os.path.join(folder, "out")
        refuses("quantize with a bad scheme", ["quantize", "--model", model, "--scheme", "qat9", "--out", out], "qat9")
        refuses("quantize into a place that is not there", ["quantize", "--model", model, "--scheme", "qat4", "--out",
                                                            os.path.join(folder, "no", "where")], "where")
        refuses("train on nothing", ["train", "--model", model, "--train-data", os.path.join(folder, "none.txt"), "--out", out], "none.txt")
        refuses("training that diverges", ["train", "--model", model, "--train-data", text, "--seq-length", "32", "--steps", "20",
                                           "--warmup", "0", "--lr", "1e30", "--clip", "0", "--out", out], "lower the learning rate")
        full_disk(folder, model, text)
        check("nothing is half-written", files_below(folder) == before, str(set(files_below(folder)) - set(before)))

        packed = os.path.join(folder, "packed")
        code, _, errors = run("quantize", "--model", model, "--scheme", "qat4", "--out", packed)
        check("quantize writes a packed model", code == 0, errors)
        refuses("packed twice", ["quantize", "--model", packed, "--scheme", "qat4", "--out", out], "is packed already")
        description = os.path.join(packed, "qat_packed.json")
        with open(description) as file:
            good = json.load(file)
        for name, change, parts in [
                ("packed with another spec", lambda j: j["layers"]["model.layers.0.mlp.up_proj"].update(weight="int8:tensor:symmetric"), ["up_proj", "shape"]),
                ("packed with a bad spec", lambda j: j["layers"]["model.layers.0.mlp.up_proj"].update(weight="int4"), ["int4", "accepted"]),
                ("packed with an unknown layer", lambda j: j["layers"].update(nothing={}), ["layers"])]:
            changed = json.loads(json.dumps(good))
            change(changed)
            with open(description, "w") as file:
                json.dump(changed, file)
            refuses(name, evaluate(packed), *parts)
        with open(description, "w") as file:
            file.write("{")
        refuses("packed description that is no JSON", evaluate(packed), "qat_packed.json")
        with open(description, "w") as file:
            json.dump(good, file)
        weights = os.path.join(packed, "model.safetensors")
        with open(weights, "rb") as file:
            data = file.read()
        with open(weights, "wb") as file:
            file.write(data[:-3])
        refuses("truncated packed weights", evaluate(packed), "model.safetensors")
        code, _, _ = run("eval", "--model", model)
        check("a missing option exits with 2", code == 2, str(code))
        code, _, _ = run("nonsense")
        check("an unknown verb exits with 2", code == 2, str(code))
        code, out, _ = run("eval", "--help")
        check("help exits with 0", code == 0 and "--data" in out, str(code))
        shutil.rmtree(packed)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
