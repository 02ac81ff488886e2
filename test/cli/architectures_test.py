"""A checkpoint of another architecture than Llama goes the whole way: scored, trained, written back, packed, continued."""
import json
import os
import shutil
import sys
import tempfile

import tiny
from tiny import check, run

GPT2 = os.path.join(os.environ.get("QAT_SOURCE_ROOT", "."), "test", "golden", "hf-tiny", "gpt2")


def ascii_tokenizer(folder):
    """128 tokens, one for each character; printable ones stand for themselves, the others as byte-level BPE spells them."""
    printable = list(range(33, 127))
    spelled = {b: chr(b) for b in printable}
    for i, b in enumerate(b for b in range(128) if b not in printable):
        spelled[b] = chr(256 + i)
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                   "decoder": {"type": "ByteLevel"},
                   "model": {"type": "BPE", "vocab": {spelled[b]: b for b in range(128)}, "merges": []}}, file)


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        model = at("model")
        os.mkdir(model)
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(os.path.join(GPT2, name), os.path.join(model, name))
        ascii_tokenizer(model)
        text = at("text.txt")
        with open(text, "w") as file:
            file.write("the cat sat on the mat and the dog lay on the log. " * 40)

        def nats(path):
            code, _, errors = run("eval", "--model", path, "--data", text, "--length", "32", "--json", at("score.json"))
            if code != 0:
                return errors
            with open(at("score.json")) as file:
                return json.load(file)["nats_per_token"]

        before = nats(model)
        check("GPT-2: scored", isinstance(before, float), before)
        code, _, errors = run("train", "--model", model, "--data", text, "--train-data", text, "--scheme", "8da4w", "--steps", "8",
                              "--length", "32", "--out", at("trained"))
        after = nats(at("trained"))
        check("GPT-2: trained, and written back as GPT-2", code == 0 and isinstance(after, float) and after < before, (errors, after))
        code, _, errors = run("quantize", "--model", at("trained"), "--scheme", "8da4w", "--out", at("packed"))
        packed = nats(at("packed"))
        check("GPT-2: packed", code == 0 and isinstance(packed, float) and packed < before, (errors, packed))
        code, out, errors = run("generate", "--model", at("packed"), "--prompt", "the cat", "--tokens", "5")
        check("GPT-2: continued", code == 0 and out.startswith("the cat"), (errors, out))
        code, _, errors = run("quantize", "--model", at("trained"), "--scheme", "gguf:q4_0", "--out", at("grid"))
        code, _, errors = run("export", "--model", at("grid"), "--to", "gguf:q4_0", "--out", at("m.gguf"))
        check("GPT-2: written as GGUF, scored as it was packed", code == 0 and nats(at("m.gguf")) == nats(at("grid")), (errors, nats(at("m.gguf"))))
        code, _, errors = run("train", "--model", model, "--data", text, "--train-data", text, "--length", "65", "--out", at("long"))
        check("GPT-2: no sequence longer than its positions", code == 2 and "64" in errors, errors)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
