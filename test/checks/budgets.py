#!/usr/bin/env python3
"""Header budgets of bench/compile/budgets.txt: preprocessed lines (`g++-12 -std=c++20 -E -P`) and compile time (user seconds,
best of 3). `budgets.py --all` prints the lines of every header."""
import os
import resource
import shutil
import subprocess
import sys

import common

REFERENCE = 0.27  # user seconds of <immintrin.h> where the budgets were set
SLACK = 1.4


def gxx12():
    if shutil.which("g++-12"):
        return "g++-12"
    version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True).stdout
    return "g++" if version.startswith("12") else None


def lines_of(compiler, header, root=common.ROOT):
    code, output = common.run([compiler, "-std=c++20", "-E", "-P", "-I", os.path.join(root, "include"), "-x", "c++", "-"],
                              f'#include "qat/{header}"\n')
    return output.count("\n") if code == 0 else None


def seconds_of(compiler, text):
    """User seconds to compile `text`, best of 3; None when it does not compile."""
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        code, _ = common.run([compiler, "-std=c++20", "-O0", "-c", "-I", os.path.join(common.ROOT, "include"), "-o", os.devnull,
                              "-x", "c++", "-"], text)
        if code != 0:
            return None
        best = min(best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return best


def check_seconds(report, name, compiler, header, limit):
    """A busy or slow machine is told apart by a header nobody here changes: <immintrin.h> costs 0.27 s where the budgets
    were set. Machines still differ by a quarter in
    that measure, so a header fails only when both figures are above SLACK times its budget; one above the budget is said."""
    seconds = seconds_of(compiler, f'#include "qat/{header}"\n')
    unit = seconds_of(compiler, "#include <immintrin.h>\n")
    if seconds is None:
        report.check(name, ["it does not compile"])
        return
    corrected = seconds * REFERENCE / unit if unit else seconds
    report.say(f"  {seconds:.2f} s as measured, {corrected:.2f} s where <immintrin.h> takes {REFERENCE} s, budget {limit:g} s")
    best = min(seconds, corrected)
    if best > limit:
        report.say(f"  above its budget on this machine; a failure above {SLACK} times the budget")
    report.check(name, [] if best <= SLACK * limit else [f"{best:.2f} s, budget {limit:g} s"])


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
        elif measure == "seconds":
            check_seconds(report, name, compiler, header, limit)
        else:
            lines = lines_of(compiler, header)
            report.say(f"  {lines} lines, budget {limit:.0f}")
            report.check(name, ["it does not preprocess"] if lines is None else [] if lines <= limit else [f"{lines} lines"])
    report.finish()


if __name__ == "__main__":
    main()
