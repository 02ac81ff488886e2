"""heal: a GGUF file in, one of llama-quantize's size out that loses less; what it cannot do is refused and leaves nothing."""
import os
import sys
import tempfile

import tiny
from tiny import check, load, refuses, run


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        at = lambda name: os.path.join(folder, name)
        code, _, errors = run("export", "--model", model, "--to", "gguf", "--out", at("in.gguf"))
        check("a float model is written as GGUF", code == 0, errors)
        options = ["--data", text, "--seq-length", "32", "--batch", "2", "--lr", "1e-2"]
        for kind in ("q4_0", "q8_0"):
            out = at(kind + ".gguf")
            code, printed, errors = run("heal", at("in.gguf"), "--to", kind, *options, "--minutes", "0.02", "--out", out, "--json", at("h.json"))
            check(f"{kind}: heals", code == 0, errors)
            if code != 0:
                continue
            h = load(at("h.json"))
            check(f"{kind}: training took something back", h["healed"]["nats_per_token"] < h["rounded"]["nats_per_token"], str(h))
            check(f"{kind}: the file has the size of the one that rounding alone gives", h["healed"]["bytes"] == h["rounded"]["bytes"]
                  == os.path.getsize(out), str(h))
            check(f"{kind}: steps are counted", h["steps"] > 0 and "training " in printed, printed)
            code, printed, errors = run("inspect", "--model", out)
            check(f"{kind}: the file is a model", code == 0 and "token_embd.weight" in printed, errors)
        out = ["--out", at("no.gguf")]
        refuses("an unknown type", ["heal", at("in.gguf"), "--to", "q9", *options, *out], "q9", "q4_0")
        refuses("over the model itself", ["heal", at("in.gguf"), *options, "--out", at("in.gguf")], "not the model itself")
        refuses("no such text", ["heal", at("in.gguf"), "--data", at("none.txt"), *out], "none.txt")
        refuses("a sequence beyond the context", ["heal", at("in.gguf"), "--data", text, "--seq-length", "65", *out], "--seq-length is 65", "1 to 64")
        with open(at("cut.gguf"), "wb") as file, open(at("in.gguf"), "rb") as whole:
            file.write(whole.read()[:5000])
        refuses("a truncated model", ["heal", at("cut.gguf"), *options, *out], "cut.gguf")
        code, _, errors = run("quantize", "--model", model, "--scheme", "qat4", "--out", at("packed"))
        refuses("a packed model", ["heal", at("packed"), *options, *out], "is packed")
        check("nothing is left of what was refused", not os.path.exists(at("no.gguf")))
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
