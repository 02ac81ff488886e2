#!/usr/bin/env python3
"""Header budgets of bench/compile/budgets.txt: preprocessed lines (`g++-12 -std=c++20 -E -P`) and compile time (user seconds,
best of 3 to 9). `budgets.py --all` prints the lines of every header."""
import os
import resource
import shutil
import subprocess
import sys

import common

REFERENCE = 0.27  # user seconds of <immintrin.h> where the budgets were set


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
    """User seconds to compile `text` once; None when it does not compile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    code, _ = common.run([compiler, "-std=c++20", "-O0", "-c", "-I", os.path.join(common.ROOT, "include"), "-o", os.devnull,
                          "-x", "c++", "-"], text)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before if code == 0 else None


def check_seconds(report, name, compiler, header, limit):
    """A busy or slow machine is told apart by a header nobody here changes: <immintrin.h> costs 0.27 s where the budgets
    were set. A header fails when it is above its budget both as measured and in that measure."""
    seconds = unit = corrected = float("inf")
    for turn in range(9):  # in turns, so that both meet the same machine; the best of 3, or of 9 while that is too much
        if turn >= 3 and min(seconds, corrected) <= limit:
            break
        found = seconds_of(compiler, f'#include "qat/{header}"\n')
        if found is None:
            report.check(name, ["it does not compile"])
            return
        seconds = min(seconds, found)
        unit = min(unit, seconds_of(compiler, "#include <immintrin.h>\n") or unit)
        corrected = seconds * REFERENCE / unit
    report.say(f"  {seconds:.2f} s as measured, {corrected:.2f} s where <immintrin.h> takes {REFERENCE} s, budget {limit:g} s")
    report.check(name, [] if min(seconds, corrected) <= limit else [f"{min(seconds, corrected):.2f} s, budget {limit:g} s"])


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
