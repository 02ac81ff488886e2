"""Recipes from the command line: every ready one runs, files and options mean the same, mistakes end with exit code 2 and one line."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import tiny
from tiny import check, load, refuses, run

RECIPES = os.path.join(os.environ["QAT_SOURCE_ROOT"], "examples", "llm", "recipes")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def ready_recipes(folder, model, text):
    found = sorted(glob.glob(os.path.join(RECIPES, "*.yaml")))
    check("there are ready recipes", len(found) >= 10, str(found))
    for path in found:
        name = os.path.basename(path)[:-5]
        out, result = os.path.join(folder, "run_" + name), os.path.join(folder, name + ".json")
        code, _, errors = run("recipe", path, "--json", result)
        check(f"{name} is valid", code == 0, errors)
        if code != 0:
            continue
        effective = load(result)["recipe"]
        delay = ["--delay-fake-quant-steps", "1"] if effective["qat"]["delay_fake_quant_steps"] else []
        fine_tunes = effective["task"]["type"] == "sft"
        data = [] if fine_tunes else ["--model", model, "--train-data", text, "--data", text, "--seq-length", "32"]
        code, _, errors = run("train", "--recipe", path, "--steps", "3", "--batch", "2", "--output-dir", out, "--json", result, *data, *delay)
        check(f"{name} trains", code == 0, errors)
        if code != 0:
            continue
        trained = load(result)
        check(f"{name}: three steps with a loss", len(trained["steps"]) == 3 and all(0 < s["loss"] < 20 for s in trained["steps"]))
        code, again, errors = run("recipe", os.path.join(out, "recipe.yaml"), "--print")
        with open(os.path.join(out, "recipe.yaml")) as file:
            check(f"{name}: the run's recipe reads back to the same text", again == file.read(), errors)
        if fine_tunes:
            code, _, errors = run("generate", "--model", os.path.join(out, "packed"), "--prompt", "Where is", "--tokens", "3")
            check(f"{name}: scores held-out samples, and the packed model writes", code == 0 and trained["validation"]["samples"] == 200, errors)
        elif effective["qat"]["enabled"]:
            code, _, errors = run("eval", "--model", os.path.join(out, "packed"), "--data", text, "--length", "64", "--json", result)
            check(f"{name}: packed scores what training scored", code == 0 and
                  load(result)["nats_per_token"] == trained["validation"]["nats_per_token"], errors)
        else:
            check(f"{name}: nothing is packed", not os.path.exists(os.path.join(out, "packed")))


def same_run(folder, model, text):
    recipe = write(os.path.join(folder, "mine.yaml"), f"""
model: {{model_name: {model}}}
data: {{train: {text}, validation_split: 0.25}}
qat: {{quantizer: {{scheme: 8da4w}}, delay_fake_quant_steps: 2}}
trainer: {{max_steps: 5, batch_size: 2, seq_length: 32, val_length: 32}}
optimizer: {{lr: 1e-2}}
seed: 3
""")
    results = []
    for name, options in {
            "a file": ["--recipe", recipe],
            "options": ["--model", model, "--train-data", text, "--scheme", "8da4w", "--delay-fake-quant-steps", "2", "--steps", "5", "--batch",
                        "2", "--seq-length", "32", "--length", "32", "--lr", "1e-2", "--seed", "3", "--set", "data.validation_split=0.25"],
            "options over a file": ["--recipe", recipe, "--set", "seed=4", "--seed", "5", "--set", "seed=3"]}.items():
        path = os.path.join(folder, "same.json")
        code, _, errors = run("train", *options, "--json", path)
        check(f"{name} trains", code == 0, errors)
        r = load(path)
        results.append(([s["loss"] for s in r["steps"]], r["validation"]["nats_per_token"], r["validation"]["targets"]))
    check("a file, options and options over a file give the same run", results[0] == results[1] == results[2], str(results))
    path = os.path.join(folder, "other.json")
    run("train", "--recipe", recipe, "--seed", "4", "--json", path)
    check("another seed gives another run", load(path)["steps"][0]["loss"] != results[0][0][0])


def mistakes(folder, model, text):
    bad = os.path.join(folder, "bad.yaml")
    good = f"model: {{model_name: {model}}}\ndata: {{train: {text}}}\ntrainer: {{seq_length: 32, max_steps: 2}}\n"
    for name, extra, parts in [
            ("an unknown key", "qat: {quantiser: {scheme: qat4}}\n", ["bad.yaml:4", "qat.quantiser", "nearest", "qat.quantizer"]),
            ("a wrong type", "seed: soon\n", ["bad.yaml:4", "seed is 'soon'", "integer"]),
            ("accumulation 0", "trainer.accumulation: 0\n", ["bad.yaml:4", "trainer.accumulation", ">= 1"]),
            ("a delay beyond max_steps", "qat: {quantizer: {scheme: qat4}, delay_fake_quant_steps: 9}\n",
             ["bad.yaml:4", "qat.delay_fake_quant_steps is 9", "max_steps, 2"]),
            ("a group size that no layer fits", "qat: {quantizer: {_target_: Int8DynActInt4WeightQATQuantizer}}\n",
             ["bad.yaml:4", "groups of 256 fit no layer", "32, 48"]),
            ("a group size beyond a row", "qat: {quantizer: {scheme: 8da4w:group64}}\n", ["q_proj", "group_size is 64", "1 to its row length 32"]),
            ("a pattern that selects nothing", "qat: {layers: [{match: layers.9.*, scheme: qat4}]}\n", ["layers.9.*", "selects nothing"]),
            ("a class that is unknown", "qat: {quantizer: {_target_: torchao.Int5}}\n", ["bad.yaml:4", "torchao.Int5", "accepted"]),
            ("a scheme that is unknown", "qat: {quantizer: {scheme: 5w}}\n", ["bad.yaml:4", '"5w" is unknown', "accepted"]),
            ("a sequence beyond the context", "trainer.val_length: 65\n", ["bad.yaml:4", "trainer.val_length is 65", "1 to 64"]),
            ("validation twice", f"data.validation: {text}\ndata.validation_split: 0.5\n", ["bad.yaml:5", "one of them"]),
            ("text that is no YAML", "a: [\n", ["bad.yaml", "not valid YAML"])]:
        write(bad, good + extra)
        refuses(name, ["train", "--recipe", bad], *parts)
    write(bad, good + f"output_dir: {folder}/none/run\n")
    refuses("an output directory without a parent", ["train", "--recipe", bad], "none/run", "cannot create directory")
    write(bad, good)
    refuses("a missing recipe", ["train", "--recipe", bad + "x"], "bad.yamlx", "cannot open")
    refuses("an unknown key on the command line", ["train", "--recipe", bad, "--set", "sed=1"], "--set sed=1", "nearest key is seed")
    refuses("a wrong type on the command line", ["train", "--recipe", bad, "--steps", "many"], "--steps many", "integer >= 0")
    refuses("a missing model", ["train", "--recipe", bad, "--model", os.path.join(folder, "none")], "none", "does not exist")
    refuses("missing data", ["train", "--recipe", bad, "--train-data", os.path.join(folder, "none.txt")], "none.txt", "cannot open")
    refuses("no model named", ["train", "--train-data", text], "model.model_name is missing")
    refuses("no data named", ["train", "--model", model], "data.train is missing")
    prompt = "the cat " * 40
    refuses("a prompt longer than the context", ["generate", "--model", model, "--prompt", prompt], "prompt has", "context is 64")
    code, _, errors = run("train", "--recipe", bad)
    check("the good recipe is accepted", code == 0, errors)


def fine_tuning(folder, model, text):
    words = ["cat", "dog", "mat", "sea"]
    lines = [json.dumps(dict(prompt=f"say {w} ", completion=f"{w} {w}.")) for w in words] * 4
    lines += [json.dumps(dict(messages=[dict(role="user", content="hi"), dict(role="assistant", content="yes.")]))] * 4
    data = write(os.path.join(folder, "sft.jsonl"), "\n".join(lines) + "\n")
    result, out = os.path.join(folder, "sft.json"), os.path.join(folder, "sft")
    options = ["train", "--model", model, "--train-data", data, "--set", "task.type=sft", "--set", "data.chat_template=plain", "--set",
               "data.validation_split=0.2", "--scheme", "8da4w", "--steps", "150", "--batch", "2", "--seq-length", "48", "--lr", "2e-2",
               "--json", result]
    runs = {}
    for packing in ("true", "false"):
        code, _, errors = run(*options, "--set", f"data.packing={packing}", "--output-dir", out + packing)
        check(f"fine-tuning, packing {packing}", code == 0, errors)
        runs[packing] = load(result)
        losses = [s["loss"] for s in runs[packing]["steps"]]
        check(f"packing {packing}: the loss falls", losses[-1] < 0.5 * losses[0], f"{losses[0]} to {losses[-1]}")
        check(f"packing {packing}: the held-out samples are learned too", runs[packing]["validation"]["nats_per_token"] < losses[0])
        code, _, errors = run("quantize", "--model", os.path.join(out + packing, "model"), "--scheme", "8da4w", "--out", out + packing + "_again")
        check(f"packing {packing}: the trained model is complete", code == 0, errors)
    check("both ways hold out the same samples", runs["true"]["validation"]["samples"] == runs["false"]["validation"]["samples"] == 4)
    code, _, errors = run(*options, "--resume", "--output-dir", out + "true")
    check("a finished run resumes to the same scores", code == 0 and
          load(result)["validation"]["nats_per_token"] == runs["true"]["validation"]["nats_per_token"], errors)
    refuses("resuming with other packing", [*options, "--resume", "--output-dir", out + "true", "--set", "data.packing=false"], "another run", "packing")
    broken = write(os.path.join(folder, "broken.jsonl"), lines[0] + "\n{broken\n" + lines[1] + "\n" + lines[2] + "\n")
    refuses("a broken line", [*options, "--set", "data.train=" + broken], "broken.jsonl:2", "not valid JSON")
    code, _, errors = run(*options, "--set", "data.train=" + broken, "--set", "data.skip_broken=true", "--set", "data.validation_split=0")
    check("a broken line is left out where that is asked for", code == 0 and "left out 1 line" in errors and "broken.jsonl:2" in errors, errors)
    long = write(os.path.join(folder, "long.jsonl"), json.dumps(dict(prompt="the cat " * 9, completion="sat")) + "\n")
    refuses("a prompt longer than the context", [*options, "--set", "data.train=" + long], "long.jsonl:1", "the prompt has", "at most 48")
    refuses("text where samples are needed", [*options, "--set", "data.train=" + text], "text.txt:1", "not valid JSON")
    refuses("conversations where text is needed", [*options, "--set", "data.train=default_chat", "--set", "task.type=lm"], "task.type is lm", "sft")
    refuses("the default samples split", [*options, "--set", "data.train=default"], "data.validation_split", "data.validation: default")


def completion():
    code, script, errors = run("completion", "bash")
    check("completion prints a script", code == 0, errors)

    def complete(*words):
        quoted = " ".join(f"'{w}'" for w in words)
        text = f"{script}\nCOMP_WORDS=(qat-llm {quoted}); COMP_CWORD={len(words)}; _qat_llm; echo \"${{COMPREPLY[*]}}\""
        result = subprocess.run(["bash", "-c", text], capture_output=True, encoding="utf-8", timeout=60)
        return result.stdout.split()

    check("it completes verbs", complete("tr") == ["train"], str(complete("tr")))
    check("it completes a verb's options", complete("train", "--rec") == ["--recipe"], str(complete("train", "--rec")))
    check("files are left to the shell", complete("train", "--recipe", "exa") == [])


def inspect(folder, model):
    path = os.path.join(folder, "inspect.json")
    code, out, errors = run("inspect", "--model", model, "--scheme", "qat4", "--json", path)
    check("inspect", code == 0 and "SQNR" in out, errors)
    layers = load(path)["layers"]
    packed = [layer for layer in layers if layer["scheme"] != "float"]
    check("inspect: seven linear layers are packed", len(packed) == 7)
    check("inspect: bytes add up", load(path)["bytes"] == sum(layer["bytes"] for layer in layers))
    for layer in packed:
        rows, columns = layer["shape"]
        check(f"inspect: {layer['name']} counts every code and scale", sum(layer["codes"]) == rows * columns and
              sum(layer["scales"]["octaves"]) + layer["scales"]["zero"] == layer["scales"]["count"] == rows * -(-columns // 32))
        check(f"inspect: {layer['name']} has an SQNR of four bits", 15 < layer["sqnr_db"] < 30, str(layer["sqnr_db"]))


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        ready_recipes(folder, model, text)
        same_run(folder, model, text)
        mistakes(folder, model, text)
        fine_tuning(folder, model, text)
        inspect(folder, model)
        completion()
        code, out, _ = run("recipe")
        check("recipe alone prints the defaults", code == 0 and "max_steps: 600" in out)
        code, out, errors = run("recipe", "--reference")
        with open(os.path.join(os.environ["QAT_SOURCE_ROOT"], "docs", "recipe.md")) as file:
            check("docs/recipe.md is what `recipe --reference` writes", code == 0 and out == file.read(),
                  "run: qat-llm recipe --reference > docs/recipe.md")
        for verb in re.search(r'compgen -W "([^"]*)"', run("completion", "bash")[1]).group(1).split():
            if verb.startswith("-"):
                continue
            code, out, _ = run(verb, "--help")
            check(f"{verb} --help shows an example", code == 0 and "Example" in out and f"qat-llm {verb}" in out, out[-300:])
            check(f"{verb} takes --json", "--json" in out or verb == "completion")
        code, out, errors = run("--help")
        check("help states the exit codes", code == 0 and "Exit codes: 0 done; 2 bad input" in out, errors)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
