#!/usr/bin/env python3
"""What a run costs beside its steps: start-up, metrics and checkpoints of stories260K (or the default model, where that is not
beside the checkout), and checkpoints of a model with 15 million parameters."""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("QAT_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))


def run(command):
    start = time.time()
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout, time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("qat_llm")
    parser.add_argument("checkpoint_bench")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--directory", help="on the disk to measure (default: the one for temporary files)")
    parser.add_argument("--benchmark_out", default="", help="write all figures to this file")
    args = parser.parse_args()
    stories = os.path.join(DATA, "stories260K", "stories260K.bin")
    text = [os.path.join(DATA, "tinystories", name) for name in ("v1-train.txt", "v2-valid.txt")]
    if not all(os.path.exists(path) for path in [stories, *text]):
        stories, text = "default", ["default", "default"]
    with tempfile.TemporaryDirectory(dir=args.directory) as folder:
        train = [args.qat_llm, "train", "--model", stories, "--train-data", text[0], "--scheme", "8da4w"]
        starts = []
        for i in range(5):
            directory = os.path.join(folder, f"start{i}")
            _, seconds = run([*train, "--steps", "1", "--warmup", "0", "--output-dir", directory])
            with open(os.path.join(directory, "metrics.jsonl")) as file:
                starts.append(seconds - json.loads(file.readline())["seconds"])
        out, _ = run([*train, "--steps", str(args.steps), "--data", text[1], "--validate-every", "100", "--checkpoint-every", "100",
                      "--set", "trainer.val_windows=16", "--output-dir", os.path.join(folder, "run")])
        line = re.search(r"^.*training ([\d.]+), validation ([\d.]+), checkpoints ([\d.]+); .* cost ([\d.]+) %.*$", out, re.M)
        out, _ = run([args.checkpoint_bench, folder])
        checkpoint = json.loads(out)
    figures = dict(model=stories, steps=args.steps, start_seconds=statistics.median(starts), training_seconds=float(line.group(1)),
                   validation_seconds=float(line.group(2)), checkpoints_seconds=float(line.group(3)), overhead_percent=float(line.group(4)),
                   checkpoint_15m=checkpoint)
    print(f"a run of one step, beside the step (start-up, a checkpoint, the model in both forms): {figures['start_seconds']:.3f} s, "
          f"at most 0.3 s")
    print(f"{args.steps} steps with {args.steps // 100} validations and as many checkpoints: {line.group(0).strip()}; at most 2 %")
    print(f"a checkpoint of {checkpoint['parameters'] / 1e6:.1f} million parameters, {checkpoint['bytes'] / 2**20:.0f} MiB: written in "
          f"{checkpoint['write_seconds']:.3f} s (at most 0.5 s), read in {checkpoint['read_seconds']:.3f} s")
    if args.benchmark_out:
        with open(args.benchmark_out, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
