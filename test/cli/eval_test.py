"""The evaluation table: models as they are shipped, on data sets by name; a run's three models; what is refused."""
import json
import math
import os
import struct
import sys
import tempfile

import tiny
from tiny import check, load, refuses, run


def write_choices(path, count=24):
    with open(path, "w") as file:
        for i in range(count):
            file.write(json.dumps(dict(ctx=f"the cat sat on a mat {'and ' * (i % 5)}then", label=i % 4,
                                       endings=["ran home.", "the mat sat.", "a a a a", f"cat {i}"])) + "\n")


def data_directory(folder, text):
    """Files where data sets of those names are looked for."""
    place = os.path.join(folder, "data")
    for name in ("tinystories", "text"):
        os.makedirs(os.path.join(place, name))
    os.link(text, os.path.join(place, "tinystories", "v2-valid.txt"))
    write_choices(os.path.join(place, "tinystories", "cloze_v2_valid.jsonl"))
    with open(os.path.join(place, "text", "wikitext-2-test.txt"), "w") as file:
        for title in ("One", "Two", "Three"):
            file.write(f" = {title} = \n \n " + f"the cat ( {title} ) sat , then ran . " * 9 + "\n = = Home = = \n \n a mat . \n")
    return place


def a_run(folder, model, text, data):
    """Trains and evaluates in one go; what the table says is what single evaluations say."""
    out, file = os.path.join(folder, "run"), os.path.join(folder, "result.json")
    code, shown, errors = run("train", "--model", model, "--train-data", text, "--data", text, "--scheme", "qat4", "--steps", "20", "--lr", "1e-2",
                              "--batch", "2", "--seq-length", "32", "--output-dir", out, "--set", "evaluation.datasets=[tinystories, cloze]",
                              "--set", f"evaluation.data_dir={data}")
    check("a run with evaluation.datasets ends with the table", code == 0 and "gap closed" in shown, errors)
    table = load(os.path.join(out, "evaluation.json"))
    check("the file says what it is", table["format"] == "qat-evaluation" and table["version"] == 1 and table["threads"] >= 1 and
          all(table[key] for key in ("qat", "processor", "target", "compiler", "prompt")), str(table)[:300])
    check("data sets are described", [(d["name"], d["kind"]) for d in table["datasets"]] == [("tinystories", "text"), ("cloze", "choices")] and
          table["datasets"][1]["items"] == 24 and all(d["targets"] > 0 for d in table["datasets"]), str(table["datasets"]))
    full, ptq, qat = table["models"]
    check("three models, two of them packed alike", [m["name"] for m in table["models"]] == ["full precision", "PTQ", "QAT"] and
          full["scheme"] == "float" and ptq["scheme"] == qat["scheme"] == "qat4:group32", str([m["scheme"] for m in table["models"]]))
    check("bytes are those of the files", full["bytes"] == os.path.getsize(model) and
          qat["bytes"] == ptq["bytes"] == os.path.getsize(os.path.join(out, "packed", "model.safetensors")))
    check("memory and speed are measured", all(m["resident_bytes"] is not None and m["prefill_tokens_per_second"] > 0 and
                                               m["decode_tokens_per_second"] > 0 and m["seconds"] > 0 for m in table["models"]))
    check("samples continue the prompt", all(m["sample"].startswith(table["prompt"]) for m in table["models"]), str(full["sample"]))
    singles = [("full precision", ["--model", model]), ("PTQ", ["--model", model, "--scheme", "qat4"]), ("QAT", ["--model", os.path.join(out, "packed")])]
    for row, (name, options) in zip(table["models"], singles):
        code, _, errors = run("eval", *options, "--data", text, "--choices", os.path.join(data, "tinystories", "cloze_v2_valid.jsonl"), "--json", file)
        alone, scores = load(file), row["scores"]
        for key in ("nats_per_token", "word_perplexity", "byte_perplexity", "bits_per_byte"):
            check(f"{name}: {key} is that of the model alone", math.isclose(scores["tinystories"][key], alone[key], rel_tol=1e-9))
        for key in ("acc", "acc_norm", "acc_stderr", "acc_norm_stderr"):
            check(f"{name}: {key} is that of the model alone", math.isclose(scores["cloze"][key], alone["choices"][key], abs_tol=1e-12))
        check(f"{name}: nats have a standard error", scores["tinystories"]["stderr"] > 0)
    for line in table["degradation"]:
        f, p, q = (m["scores"][line["dataset"]][line["metric"]] for m in table["models"])
        lost = (f - p if line["metric"].startswith("acc") else p - f)
        closed = line["gap_closed"] is None if lost <= 0 else math.isclose(line["gap_closed"], (p - q) / (p - f))
        check(f"degradation of {line['metric']} follows from the scores", closed and line["qat_minus_full"] == q - f)
    pairs = {(p["dataset"], p["metric"], p["model"], p["baseline"]): p for p in table["paired"]}
    pair = pairs[("tinystories", "nats_per_token", "QAT", "PTQ")]
    check("differences are paired", len(pairs) == 9 and math.isclose(pair["difference"], qat["scores"]["tinystories"]["nats_per_token"] -
                                                                     ptq["scores"]["tinystories"]["nats_per_token"]))
    check("and have a standard error", pair["stderr"] > 0)
    again = run("eval", "--run", out, "--datasets", "wikitext-2,cloze", "--data-dir", data, "--limit", "2", "--json", file)
    other = load(os.path.join(out, "evaluation.json"))
    check("eval --run writes the run's table and the file asked for", again[0] == 0 and other == load(file) and
          [d["name"] for d in other["datasets"]] == ["wikitext-2", "cloze"] and other["datasets"][1]["items"] == 2, again[2])
    os.environ["QAT_DATA"] = data
    code, _, errors = run("eval", "--run", out)  # the recipe's data sets and directory
    check("eval --run takes the recipe's data sets", code == 0 and
          [d["name"] for d in load(os.path.join(out, "evaluation.json"))["datasets"]] == ["tinystories", "cloze"], errors)
    code, shown, errors = run("eval", "--model", model, "--model", os.path.join(out, "packed"), "--datasets", "wikitext-2", "--json", file)
    del os.environ["QAT_DATA"]
    check("models are compared, with data found by $QAT_DATA", code == 0 and "word_perplexity" in shown and len(load(file)["models"]) == 2 and
          load(file)["degradation"] == [], errors)
    return out


def write_narrow_model(model, path, rows):
    """The model with fewer rows of its embedding than its tokenizer has tokens."""
    with open(model, "rb") as file:
        head, embedding = file.read(28), file.read(tiny.VOCAB * tiny.DIM * 4)
        with open(path, "wb") as narrow:
            narrow.write(head[:20] + struct.pack("<i", rows) + head[24:] + embedding[: rows * tiny.DIM * 4] + file.read())


def bad_input(folder, model, text, data, out):
    dataset_files = {"tinystories": "v2-valid.txt", "cloze": "cloze_v2_valid.jsonl", "wikitext-2": "wikitext-2-test.txt"}
    cloze = os.path.join(data, "tinystories", "cloze_v2_valid.jsonl")
    table = ["eval", "--model", model, "--data-dir", data, "--datasets"]
    refuses("a data set that is not there", table + ["hellaswag"], "hellaswag", os.path.join(data, "hellaswag"), "--data-dir")
    refuses("a name that is none", table + ["mmlu"], "mmlu", "wikitext-2, hellaswag, cloze, tinystories")
    refuses("a data set twice", table + ["cloze,cloze"], "cloze", "twice")
    refuses("no data set", ["eval", "--model", model, "--model", model + "x"], "--datasets")
    refuses("no model", ["eval", "--datasets", "cloze"], "--model", "--run")
    refuses("a model and a run", table + ["cloze", "--run", out], "--model and --run")
    refuses("a model twice", table + ["cloze", "--model", model], "twice")
    refuses("a window beyond the context", table + ["tinystories", "--length", "65"], "--length is 65", "1 to 64")
    refuses("a prompt beyond the context", table + ["cloze", "--prompt", "the cat " * 20], "prompt", "context is 64")
    refuses("an empty directory of data", ["eval", "--model", model, "--data-dir", os.path.join(folder, "none"), "--datasets", "cloze"], "none")
    broken = os.path.join(folder, "broken.jsonl")
    with open(cloze) as source, open(broken, "w") as file:
        lines = source.read().splitlines()
        file.write("\n".join(lines[:4] + [lines[4][:30]] + lines[5:]) + "\n")
    refuses("a broken line", table + [broken], broken + ":5", "not valid JSON")
    code, _, errors = run(*table, broken, "--skip-broken", "--json", os.path.join(folder, "r.json"))
    check("a broken line is left out where that is asked for", code == 0 and "left out 1 line" in errors and
          load(os.path.join(folder, "r.json"))["datasets"][0]["items"] == 23, errors)
    with open(broken, "w") as file:
        file.write(json.dumps(dict(ctx="a", endings=["b", "the cat " * 20], label=0)) + "\n")
    refuses("an ending beyond the context", table + [broken], broken, "item 1", "accepts 64")
    narrow = os.path.join(folder, "narrow.bin")
    write_narrow_model(model, narrow, 265)
    for dataset in ("tinystories", "cloze", "wikitext-2"):
        refuses(f"{dataset} with a tokenizer of another vocabulary",
                ["eval", "--model", narrow, "--tokenizer", os.path.join(folder, "tokenizer.bin"), "--data-dir", data, "--prompt", "tea",
                 "--datasets", dataset], dataset_files[dataset], "0 to 264")
    refuses("a run that is none", ["eval", "--run", os.path.join(folder, "nothing")], "recipe.yaml", "cannot open")
    before = load(os.path.join(out, "evaluation.json"))
    os.rename(os.path.join(out, "packed"), os.path.join(out, "unpacked"))
    refuses("a run without packed model", ["eval", "--run", out], out, "no packed model")
    check("what was there stays", load(os.path.join(out, "evaluation.json")) == before)
    train = ["train", "--model", model, "--train-data", text, "--scheme", "qat4", "--steps", "1", "--seq-length", "32"]
    wanted = ["--set", "evaluation.datasets=[cloze]", "--set", f"evaluation.data_dir={folder}"]
    new = os.path.join(folder, "new")
    refuses("a data set that a run will not find", train + ["--output-dir", new] + wanted, "dataset cloze", "not found")
    check("is known before anything is written", not os.path.exists(new))
    refuses("a table without a place", train + wanted, "evaluation.datasets", "output_dir")
    refuses("a table without quantization", train + wanted + ["--output-dir", new, "--set", "qat.enabled=false"], "evaluation.datasets", "qat.enabled")
    refuses("data sets that are no list", train + ["--set", "evaluation.datasets=cloze"], "evaluation.datasets", "list of texts")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        data = data_directory(folder, text)
        out = a_run(folder, model, text, data)
        bad_input(folder, model, text, data, out)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
