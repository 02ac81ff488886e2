#!/usr/bin/env python3
"""Writes docs/performance-gpu.md from the results of `./dev gpu --json` in bench/results/*/gpu*.json.

Usage: report.py [--check]     --check: fail if the file is not what would be written
"""
import glob
import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUTPUT = os.path.join(ROOT, "docs", "performance-gpu.md")


def load():
    """{gpu folder: (notes, [run])}, runs in the order of their file names."""
    found = {}
    for folder in sorted(glob.glob(os.path.join(ROOT, "bench", "results", "*"))):
        runs = []
        for path in sorted(glob.glob(os.path.join(folder, "gpu*.json"))):
            run = json.load(open(path))
            runs.append(dict(run, file=os.path.basename(path)))
        if runs:
            notes = os.path.join(folder, "notes.json")
            found[os.path.basename(folder)] = (json.load(open(notes)) if os.path.exists(notes) else {}, runs)
    return found


def rows_of(runs):
    """(case, size) -> the row's measurements without an error in the runs of the newest revision that has it, in order of
    first appearance."""
    rows = {}
    for run in runs:
        for row in run.get("benchmarks", {}).get("rows", []):
            if "seconds" in row:
                rows.setdefault((row["case"], tuple(row["size"])), []).append((run.get("revision"), row))
    return {key: [row for revision, row in found if revision == found[-1][0]] for key, found in rows.items()}


def ratio_of(row, against):
    if against in ("copy", "peak"):
        return row.get("share_of_" + against)
    return row.get("ratios", {}).get(against)


def number(value):
    return "" if value is None else f"{value:.2f}"


def lines_of(measured):
    """Table lines of one case and size: one for each target, or one without."""
    last = measured[-1]
    name = next(iter(last["seconds"]))
    seconds = [m["seconds"][name]["median"] for m in measured]
    spread = f"{min(m['seconds'][name]['low'] for m in measured) * 1e6:.1f} to {max(m['seconds'][name]['high'] for m in measured) * 1e6:.1f}"
    rate = ""
    if "bytes_per_second" in last:
        rate = f"{statistics.median(m['bytes_per_second'] for m in measured) / 1e12:.2f} TB/s"
    if "flop_per_second" in last:
        rate = f"{statistics.median(m['flop_per_second'] for m in measured) / 1e12:.0f} TFLOP/s"
    if "tokens_per_second" in last:
        rate += f", {statistics.median(m['tokens_per_second'] for m in measured) / 1e3:.0f}k tokens/s"
    size = " x ".join(str(n) for n in last["size"])
    first = f"| {last['case']} | {size} | {statistics.median(seconds) * 1e6:.1f} | {spread} | {rate} |"
    targets = {t["against"]: t for t in last.get("targets", [])}
    against = [name for name in ("copy", "peak") if "share_of_" + name in last] + [name for name in last.get("ratios", {}) if not name.startswith("form ")]  # our own choices
    for position, peer in enumerate(against or [None]):
        values = [ratio_of(m, peer) for m in measured if ratio_of(m, peer) is not None] if peer else []
        if peer == "copy" and "copy" in last.get("ratios", {}) and position > 0:
            continue  # the tensor copy beside it says the same
        value = statistics.median(values) if values else None
        target = targets.get(peer, {})
        must, aim = target.get("must"), target.get("aim")
        verdict = ""
        if must is not None and value is not None:
            verdict = "aim" if aim is not None and value >= aim else "must" if value >= must else "**short**"
        yield f"{first} {peer or ''} | {number(value)} | {number(must)} | {number(aim)} | {verdict} |"
        first = "| | | | | |"


def section(folder, notes, runs):
    machine = runs[-1]["machine"]
    yield f"## {machine['gpu'].split(',')[0]}"
    yield ""
    yield f"{machine['gpu']}. {machine.get('nvcc', '')}; PyTorch {machine.get('torch', '')}."
    for run in runs:
        ceiling = run.get("benchmarks", {}).get("ceilings", {})
        text = f"`{run['file']}` ({run['machine']['date']}"
        text += f", revision {run['revision']}" if run.get("revision") else ""
        text += "):"
        if ceiling:
            text += (f" copy {ceiling['copy_bytes_per_second'] / 1e12:.2f} TB/s, bfloat16 product of 8192^3 "
                     f"{ceiling['bfloat16_flop_per_second'] / 1e12:.0f} TFLOP/s, the same copy against itself "
                     f"{ceiling['same_against_same']:.3f}.")
        if "check" in run:
            text += f" Comparisons with the processor: {run['check']['summary']}."
        for tool, said in run.get("sanitizer", {}).items():
            text += f" compute-sanitizer {tool}: {said['summary'].strip('= ') if isinstance(said, dict) else said}."
        yield f"* {text}"
    yield ""
    rows = rows_of(runs)
    judged = [line for measured in rows.values() for line in lines_of(measured)]
    verdicts = {word: sum(line.endswith(f" {word} |") for line in judged) for word in ("aim", "must", "**short**")}
    yield (f"{verdicts['aim'] + verdicts['must']} of {sum(verdicts.values())} judged lines reach what they must, {verdicts['aim']} "
           "of them their aim.")
    yield ""
    yield "| case | size | us | quartiles | rate | against | ratio | must | aim | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from judged
    yield ""
    if notes.get("reasons"):
        yield "Why lines fall short, and what else was noticed:"
        yield ""
        for reason in notes["reasons"]:
            yield f"* {reason}"
        yield ""


def text():
    lines = ["# Performance on GPUs", "",
             "Written by `bench/gpu/report.py` from `bench/results/`; `./dev gpu --json FILE` measures. Times are medians of replays "
             "of CUDA graphs, contenders in alternation in one process, buffers rotated through more than the second-level cache. "
             "`copy`: the share of the bandwidth of a device copy of the same run that the kernel reaches with the fewest bytes it "
             "could move; `peak`: of 989 TFLOP/s, the datasheet's dense bfloat16 rate (MFU); another name: that contender's time over ours, so more is better. `eager` and `compile`: torchao's chain of "
             "operators in PyTorch as it is and under torch.compile; `unfused`: our own kernels one after the other; `plain`: our "
             "AdamW without quantization; `cublas`: PyTorch's bfloat16 product; `tinygemm`: its int4 one; `sdpa`: its attention. "
             "What is compared bit by bit, and with what, is in [cuda.md](cuda.md).", ""]
    for folder, (notes, runs) in load().items():
        lines += list(section(folder, notes, runs))
    return "\n".join(lines).rstrip() + "\n"


def main():
    wanted = text()
    if "--check" in sys.argv[1:]:
        found = open(OUTPUT).read() if os.path.exists(OUTPUT) else ""
        if found != wanted:
            sys.exit("docs/performance-gpu.md is not what bench/gpu/report.py writes: run it")
        return
    with open(OUTPUT + ".tmp", "w") as file:
        file.write(wanted)
    os.replace(OUTPUT + ".tmp", OUTPUT)


if __name__ == "__main__":
    main()
