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
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step_bench")
    parser.add_argument("--shape", default="260k", choices=["260k", "12m"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--benchmark_out", default="", help="write all figures to this file")
    args = parser.parse_args()
    python = os.environ.get("QAT_TORCH_PYTHON", sys.executable)
    has_torch = (args.shape == "260k" and
                 subprocess.run([python, "-c", "import torch, torchao"], capture_output=True).returncode == 0)
    schemes = ["float", "8da4w", "8da4w+head", "qat4"]
    rows, all_threads = [], sorted({1, min(2, os.cpu_count() or 1)})
    for threads in all_threads:
        results = {}
        for _ in range(args.rounds):
            for row in run([args.step_bench, "--shape", args.shape, "--threads", str(threads), "--steps", str(args.steps)] + schemes):
                results.setdefault(row["scheme"], []).append(row)
            for scheme in ("float", "8da4w") if has_torch else ():
                rows_of_peer = run([python, os.path.join(HERE, "torch_step.py"), scheme, str(threads), str(args.steps)])
                results.setdefault("torch " + scheme, []).append(rows_of_peer[-1])
        median = {name: {key: statistics.median(r[key] for r in runs) for key, value in runs[0].items()
                         if isinstance(value, (int, float))} for name, runs in results.items()}
        print(f"\n{threads} thread{'s' if threads > 1 else ''}, 8 x 256 tokens, shape {args.shape}; {args.rounds} rounds, "
              f"multiply-add ceiling {median['float']['fma_gflops']:.0f} GFLOP/s")
        print(f"{'':14}{'ms a step':>10}{'forward':>9}{'backward':>9}{'update':>8}{'over float':>12}{'of ceiling':>12}"
              f"{'peak MiB':>10}{'over float':>12}{'over torch':>12}")
        for name, m in median.items():
            mine = not name.startswith("torch")
            text = f"{name:14}{m['median_ms']:10.1f}"
            if mine:
                text += f"{m['forward_ms']:9.1f}{m['backward_ms']:9.1f}{m['update_ms']:8.1f}"
                text += f"{m['median_ms'] / median['float']['median_ms']:12.3f}{m['of_fma']:12.3f}"
                text += f"{m['peak_bytes'] / 2**20:10.1f}{m['peak_bytes'] / median['float']['peak_bytes']:12.3f}"
                if "torch " + name in median:
                    text += f"{m['median_ms'] / median['torch ' + name]['median_ms']:12.2f}"
            else:
                text += f"{'':26}{m['median_ms'] / median['torch float']['median_ms']:12.3f}"
            print(text)
        rows.append(dict(threads=threads, shape=args.shape, medians=median, runs=results))
    if not has_torch:
        print(f"\nPyTorch and torchao are not installed for {python}: pip install torch torchao, or set QAT_TORCH_PYTHON")
    if args.benchmark_out:
        with open(args.benchmark_out, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
