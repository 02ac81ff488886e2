#!/usr/bin/env python3
"""Bytes of real text encoded a second on one core, ours against the PyPI packages `tokenizers` and `sentencepiece`.

Ours and the peer take turns, each in a process of its own; figures are medians over rounds. cold: the first time a text is seen;
warm: with the words of it remembered, which the peers do, too. The peer runs where this Python, or the one that QAT_PEER_PYTHON
names, has its package. Texts and tokenizers lie in $QAT_SHARED_DATA or ../shared/data beside the checkout.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("QAT_SHARED_DATA") or os.path.join(os.path.dirname(ROOT), "shared", "data")
TEXTS = ["text/gutenberg/austen-emma.txt", "tinystories/v2-train.txt"]
TOKENIZERS = ["stories260K/tok512.bin", "stories260K/tok512.model", "stories260K-hf/tokenizer.json",
              "tokenizers/phi3-llama-bpe.tokenizer.json", "tokenizers/open_llama_3b.tokenizer.model",
              "tokenizers/gpt2.vocab.json:tokenizers/gpt2.merges.txt"]

PEER = r"""
import json, sys, time
text, name = open(sys.argv[1], encoding="utf8", newline="").read(), sys.argv[2]
if name.endswith(".model"):
    import sentencepiece
    encode = sentencepiece.SentencePieceProcessor(model_file=name).encode
else:
    import tokenizers
    if ":" in name:
        vocab, merges = name.split(":")
        tokenizer = tokenizers.ByteLevelBPETokenizer(vocab, merges)._tokenizer
    else:
        tokenizer = tokenizers.Tokenizer.from_file(name)
    encode = lambda t: tokenizer.encode(t, add_special_tokens=False).ids
size, times = len(text.encode()), []
for _ in range(3):
    start = time.perf_counter(); ids = encode(text); times.append(time.perf_counter() - start)
hash = 0
for i in ids: hash = (hash * 31 + i) % 1000000007
print(json.dumps(dict(cold=size / times[0], warm=size / min(times), tokens=len(ids), hash=hash)))
"""


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"})
    if result.returncode != 0:
        sys.exit(f"{' '.join(command[:2])}: {result.stderr.strip()[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tokenizer_bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--benchmark_out", default="", help="write all figures to this file")
    args = parser.parse_args()
    python = os.environ.get("QAT_PEER_PYTHON") or sys.executable
    has = {package: subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0
           for package in ("tokenizers", "sentencepiece")}
    paths = lambda name: ":".join(os.path.join(DATA, part) for part in name.split(":"))
    if not os.path.exists(os.path.join(DATA, TEXTS[0])):
        print(f"tokenizer: no texts in {DATA}; set QAT_SHARED_DATA")
        return
    rows = []
    print(f"{'text':28}{'tokenizer':44}{'cold MB/s':>10}{'warm MB/s':>10}{'peer cold':>11}{'peer warm':>11}{'ratio cold':>11}{'ratio warm':>11}")
    for text in TEXTS:
        for name in TOKENIZERS:
            package = "sentencepiece" if name.endswith(".model") else "tokenizers"
            peer = has[package] and not name.endswith(".bin")
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(run([args.tokenizer_bench, os.path.join(DATA, text), paths(name)]))
                if peer:
                    theirs.append(run([python, "-c", PEER, os.path.join(DATA, text), paths(name)]))
            median = {key: statistics.median(r[key] for r in ours) for key in ("cold", "warm")}
            line = f"{os.path.basename(text):28}{name.split(':')[0]:44}{median['cold'] / 1e6:10.1f}{median['warm'] / 1e6:10.1f}"
            if peer:
                other = {key: statistics.median(r[key] for r in theirs) for key in ("cold", "warm")}
                line += "".join(f"{other[key] / 1e6:11.2f}" for key in other)
                line += "".join(f"{median[key] / other[key]:11.1f}" for key in other)
                if (ours[0]["tokens"], ours[0]["hash"]) != (theirs[0]["tokens"], theirs[0]["hash"]):
                    line += "  OTHER IDS"
            print(line, flush=True)
            rows.append(dict(text=text, tokenizer=name, ours=ours, peer=theirs))
    for package, present in has.items():
        if not present:
            print(f"{package} is not installed for {python}: pip install {package}, or set QAT_PEER_PYTHON")
    if args.benchmark_out:
        with open(args.benchmark_out, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
