#!/usr/bin/env python3
"""A quantization-aware step against a full-precision one, and both against PyTorch with torchao, on the same cores.

Programs alternate for several rounds; the table gives medians over rounds and their ratios. The peer runs where a Python with
torch and torchao is found: this one, or the one that QAT_TORCH_PYTHON names (pip install torch torchao: some gigabytes).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step_bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--benchmark_out", default="", help="write all figures to this file")
    args = parser.parse_args()
    python = os.environ.get("QAT_TORCH_PYTHON", sys.executable)
    has_torch = subprocess.run([python, "-c", "import torch, torchao"], capture_output=True).returncode == 0
    rows, all_threads = [], sorted({1, min(2, os.cpu_count() or 1)})
    for threads in all_threads:
        programs = {scheme: [args.step_bench, scheme, str(threads), str(args.steps)] for scheme in ("float", "8da4w", "qat4")}
        if has_torch:
            for scheme in ("float", "8da4w"):
                programs["torch " + scheme] = [python, os.path.join(HERE, "torch_step.py"), scheme, str(threads), str(args.steps)]
        results = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, command in programs.items():
                results[name].append(run(command))
        medians = {name: statistics.median(r["median_ms"] for r in runs) for name, runs in results.items()}
        print(f"\n{threads} thread{'s' if threads > 1 else ''}, 8 x 256 tokens, stories260K's shape; {args.rounds} rounds")
        print(f"{'':14}{'ms a step':>10}{'over float':>12}{'over torch':>12}{'peak MiB':>10}{'over float':>12}")
        for name, ms in medians.items():
            mine = not name.startswith("torch")
            base = medians["float" if mine else "torch float"]
            peer = medians.get("torch 8da4w" if name != "float" else "torch float") if mine else None
            peak = results[name][0].get("peak_bytes")
            text = f"{name:14}{ms:10.1f}{ms / base:12.2f}" + (f"{ms / peer:12.2f}" if peer else f"{'':12}")
            if peak:
                text += f"{peak / 2**20:10.1f}{peak / results['float'][0]['peak_bytes']:12.3f}"
            print(text)
        rows.append(dict(threads=threads, medians_ms=medians, runs=results))
    if not has_torch:
        print(f"\nPyTorch and torchao are not installed for {python}: pip install torch torchao, or set QAT_TORCH_PYTHON")
    if args.benchmark_out:
        with open(args.benchmark_out, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
