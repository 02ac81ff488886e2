#!/usr/bin/env python3
"""`./dev gpu` on a machine without a GPU: kernels, C interface, check program and driver built for the emulator and run."""
import json
import os
import re
import subprocess
import sys
import tempfile

import common

DRIVER = os.path.join(common.ROOT, "bench", "gpu", "run_gpu.py")


def main():
    report = common.Report()
    folder = os.path.join(os.environ.get("QAT_BUILD") or os.path.join(common.ROOT, "build"), "gpu-emulated")
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "result.json")
        done = subprocess.run([sys.executable, DRIVER, "--emulated", "--build", folder, "--json", path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        result = json.load(open(path)) if os.path.exists(path) else {}
    tail = done.stdout.splitlines()[-30:]
    for line in result.get("check", {}).get("lines", []):
        found = re.match(r"(ok|FAILED)\s+(.*): (\d+) comparisons", line)
        if found and found[1] == "ok" and found[3] == "0":
            report.skip(f"gpu rehearsal: {found[2]}", "needs a GPU")
        elif found:
            report.check(f"gpu rehearsal: {found[2]}", [] if found[1] == "ok" else tail)
    rows = result.get("benchmarks", {}).get("rows", [])
    report.check("gpu rehearsal: every case runs", [row["case"] + ": " + row["error"] for row in rows if "error" in row] or
                 ([] if rows else ["no case ran"]))
    report.check("gpu rehearsal: the driver ends well", [] if done.returncode == 0 and rows else [f"exit code {done.returncode}", *tail])
    without = subprocess.run([sys.executable, DRIVER], capture_output=True, text=True, env=dict(os.environ, PATH="/nowhere"))
    report.check("gpu rehearsal: without a GPU the driver says so", [] if without.returncode != 0 and "no GPU" in without.stderr
                 else [without.stderr[-500:]])
    report.finish()


if __name__ == "__main__":
    main()
