#!/usr/bin/env python3
"""Header budgets of bench/compile/budgets.txt: preprocessed lines (`g++-12 -std=c++20 -E -P`) and compile time (user seconds,
best of 3). `budgets.py --all` prints the lines of every header."""
import os
import resource
import shutil
import subprocess
import sys

import common


def gxx12():
    if shutil.which("g++-12"):
        return "g++-12"
    version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True).stdout
    return "g++" if version.startswith("12") else None


def lines_of(compiler, header, root=common.ROOT):
    code, output = common.run([compiler, "-std=c++20", "-E", "-P", "-I", os.path.join(root, "include"), "-x", "c++", "-"],
                              f'#include "qat/{header}"\n')
    return output.count("\n") if code == 0 else None


def seconds_of(compiler, header):
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        code, _ = common.run([compiler, "-std=c++20", "-O0", "-c", "-I", os.path.join(common.ROOT, "include"), "-o", os.devnull,
                    "-x", "c++", "-"], f'#include "qat/{header}"\n')
        if code != 0:
            return None
        best = min(best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return best


def budgets(text):
    """[(measure, header, limit)] of a budgets file; raises ValueError with one line on anything else."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ("lines", "seconds"):
            raise ValueError(f"budgets.txt:{number}: found '{line}', accepted: lines|seconds HEADER LIMIT")
        found.append((words[0], words[1], float(words[2])))
    return found


def main():
    report = common.Report()
    compiler = gxx12()
    if "--all" in sys.argv:
        for header in common.headers():
            print(f"{lines_of(compiler, os.path.relpath(header, 'qat')):7}  {header}")
        return
    for measure, header, limit in budgets(common.read(os.path.join(common.ROOT, "bench", "compile", "budgets.txt"))):
        name = f"budgets: {measure} of {header}"
        if compiler is None:
            report.skip(name, "the budget is stated for g++ 12")
        elif not os.path.exists(os.path.join(common.ROOT, "include", "qat", header)):
            report.check(name, [f"include/qat/{header} does not exist"])
        else:
            value = (lines_of if measure == "lines" else seconds_of)(compiler, header)
            if value is None:
                report.check(name, ["it does not compile"])
                continue
            report.say(f"  {measure} of {header}: {value:.4g} of {limit:.4g}")
            report.check(name, [] if value <= limit else [f"{value:.6g}, budget {limit:.6g}"])
    report.finish()


if __name__ == "__main__":
    main()
