"""The loop from the command line: train, quantize, evaluate, generate; every way to the packed model gives the same figures."""
import json
import os
import sys
import tempfile

import tiny
from tiny import check, run


def results_of(name, folder, *arguments):
    path = os.path.join(folder, "result.json")
    code, _, errors = run(*arguments, "--json", path)
    if code != 0:
        check(name, False, errors)
        return {}
    with open(path) as file:
        return json.load(file)


def generates(folder, packed):
    """Every way to name a prompt, what is written as text and as JSON, and the same text on any number of threads."""
    options = ["generate", "--model", packed, "--temperature", "1", "--top-k", "40", "--tokens", "12"]
    prompt = os.path.join(folder, "prompt.txt")
    with open(prompt, "w") as file:
        file.write("the cat sat")
    path = os.path.join(folder, "text.json")
    code, out, errors = run(*options, "--prompt-file", prompt, "--json", path)
    with open(path) as file:
        r = json.load(file)
    check("a prompt from a file", code == 0 and r["prompt"] == "the cat sat" and r["text"] == r["prompt"] + r["completion"], errors)
    check("stdout is the text", out.encode(errors="replace").startswith(b"the cat sat") and len(out) > len("the cat sat"), repr(out))
    check("speeds of reading and writing", r["prefill_tokens_per_second"] > 0 and r["tokens_per_second"] > 0 and "tokens/s" in errors, errors)
    check("tokens are counted", r["prompt_tokens"] + r["generated_tokens"] == len(r["tokens"]) and 0 <= r["generated_tokens"] <= 12, str(r))
    check("why it ended", r["end"] in ("count", "end token", "context") and (r["end"] != "count" or r["generated_tokens"] == 12), r["end"])
    texts = [results_of("generate", folder, *options, "--prompt", "the cat sat", "--threads", threads)["tokens"] for threads in ("1", "2", "3")]
    check("one, two and three threads write the same", texts[0] == texts[1] == texts[2] == r["tokens"], str(texts))
    chat = results_of("generate a message", folder, *options, "--chat-template", "plain", "--prompt", "the cat")
    check("a chat template opens the assistant's message", chat["prompt"] == "user: the cat\nassistant: ", repr(chat["prompt"]))


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        trained, packed = os.path.join(folder, "trained"), os.path.join(folder, "packed")
        options = ["--data", text, "--length", "32"]
        first = results_of("eval", folder, "eval", "--model", model, *options)
        train = results_of("train", folder, "train", "--model", model, "--train-data", text, "--scheme", "8da4w", "--steps", "60", "--lr",
                           "1e-2", "--warmup", "3", "--seq-length", "32", "--out", trained, *options)
        losses = [step["loss"] for step in train["steps"]]
        check("60 steps are recorded and lower the loss", len(losses) == 60 and losses[-1] < 0.8 * losses[0], str(losses[-1]))
        check("the trained model is a complete Hugging Face directory",
              {"config.json", "model.safetensors", "tokenizer.bin"} <= set(os.listdir(trained)), str(os.listdir(trained)))
        again = results_of("eval of the trained model", folder, "eval", "--model", trained, "--scheme", "8da4w", *options)
        check("packed after reloading = fake-quantized while training", again["nats_per_token"] == train["validation"]["nats_per_token"],
              f"{again['nats_per_token']} and {train['validation']['nats_per_token']}")
        check("training helped", again["nats_per_token"] < first["nats_per_token"])
        code, _, errors = run("quantize", "--model", trained, "--scheme", "8da4w", "--out", packed)
        check("quantize", code == 0, errors)
        stored = results_of("eval of the packed model", folder, "eval", "--model", packed, *options)
        check("the stored packed model scores the same", stored["nats_per_token"] == again["nats_per_token"])
        choices = os.path.join(folder, "choices.jsonl")
        with open(choices, "w") as file:
            file.write("".join(json.dumps(dict(ctx="the cat", endings=["sat", "ran away", "is"], label=i % 3)) + "\n" for i in range(6)))
        scores = [results_of("eval of choices", folder, "eval", "--model", m, "--choices", choices, *s)["choices"]
                  for m, s in ((packed, []), (trained, ["--scheme", "8da4w"]))]
        check("choices: one of three labels is right, packed or not", all(s["items"] == 6 and abs(s["acc"] - 1 / 3) < 1e-12 for s in scores),
              str(scores))
        one = results_of("generate", folder, "generate", "--model", packed, "--prompt", "the cat", "--tokens", "20")
        two = results_of("generate", folder, "generate", "--model", trained, "--scheme", "8da4w", "--prompt", "the cat", "--tokens", "20")
        check("and continues a prompt the same", one["tokens"] == two["tokens"] and one["text"] != "", one["text"])
        sampled = [results_of("sample", folder, "generate", "--model", packed, "--prompt", "the", "--temperature", "1", "--top-p", "0.9",
                              "--seed", seed)["tokens"] for seed in ("1", "1", "2")]
        check("a seed repeats its text, another seed gives another", sampled[0] == sampled[1] != sampled[2])
        generates(folder, packed)
        for scheme in ["int2_weight_only", "qat3", "tinygemm", "weight=int5:axis0:asymmetric,activation=int8:token:symmetric"]:
            r = results_of(scheme, folder, "eval", "--model", model, "--scheme", scheme, *options)
            check(f"{scheme} reports its layers", any(line["bytes_after"] < line["bytes_before"] for line in r.get("report", [])))
        learned = os.path.join(folder, "learned")
        scales = results_of("train with learned scales", folder, "train", "--model", model, "--train-data", text, "--scheme", "8da3w",
                            "--learn-scales", "--steps", "12", "--warmup", "2", "--seq-length", "32", "--out", learned, *options)
        shipped = results_of("eval of learned scales", folder, "eval", "--model", learned, *options)
        check("learned scales ship as trained", shipped["nats_per_token"] == scales["validation"]["nats_per_token"])
        demo = results_of("demo", folder, "demo", "--model", model, "--train-data", text, "--scheme", "qat2", "--steps", "12", "--warmup", "2",
                          "--seq-length", "32", "--seeds", "2", "--output-dir", os.path.join(folder, "demo_run"), *options)
        names = [row["name"] for row in demo["rows"]]
        check("the demo's table has its five rows", len(names) == 5, str(names))
        check("the demo leaves a run with its evaluation and its page", os.path.exists(os.path.join(folder, "demo_run", "evaluation.json"))
              and os.path.exists(demo["page"]) and os.path.exists(os.path.join(folder, "demo_run", "packed", "qat_packed.json")), demo.get("page"))
        check("fake-quantized and packed agree in every bit", demo["mean_nll_difference"] == 0 and demo["largest_logit_difference"] == 0)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
