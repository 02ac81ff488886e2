#!/usr/bin/env python3
"""The parts of `./dev gpu` that need no kernel: prototypes read from the C header, rows judged right, the table up to date."""
import ctypes
import os
import subprocess
import sys
import tempfile

import common

sys.path.insert(0, os.path.join(common.ROOT, "bench", "gpu"))
import library  # noqa: E402
import measure  # noqa: E402
import report as reports  # noqa: E402
import run_gpu  # noqa: E402

HEADER = """
/* a comment with qat_status qat_cuda_not_there(int x); in it */
#define X(a) \\
  qat_status qat_cuda_nor_this(int a);
typedef enum qat_status { QAT_OK = 0 } qat_status;
const char* qat_last_error(void);
qat_status qat_cuda_scale(const qat_cuda* cuda, const char* spec, qat_dtype dtype, const void* x, int64_t rows,
                          double factor, float* y);
"""


def prototype_problems():
    with tempfile.NamedTemporaryFile("w", suffix=".h") as file:
        file.write(HEADER)
        file.flush()
        found = library.prototypes(file.name)
    wanted = {"qat_last_error": (ctypes.c_char_p, []),
              "qat_cuda_scale": (ctypes.c_int, [(ctypes.c_void_p, "cuda"), (ctypes.c_char_p, "spec"), (ctypes.c_int, "dtype"),
                                                (ctypes.c_void_p, "x"), (ctypes.c_int64, "rows"), (ctypes.c_double, "factor"),
                                                (ctypes.c_void_p, "y")])}
    return [] if found == wanted else [f"found {found}"]


def c_problems():
    """The header is C, not C++."""
    path = os.path.join(common.ROOT, "kernels", "capi", "qat_c.h")
    code, said = common.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-x", "c", "-include", path, "-"],
                            "int main(void) { return QAT_OK; }\n")
    return said.splitlines()[:5] if code else []


def row(seconds, peer_seconds, share, must=0.9, aim=1.0):
    def one(median):
        return {"median": median, "low": median * 0.9, "high": median * 1.1}
    return {"case": "pass", "size": [4, 8], "seconds": {"qat": one(seconds), "peer": one(peer_seconds)}, "bytes_per_second": 1e12,
            "share_of_copy": share, "ratios": {"peer": peer_seconds / seconds},
            "targets": [{"against": "copy", "must": must, "aim": aim}, {"against": "peer", "must": 2.0, "aim": None}]}


def run_of(revision, *rows):
    return {"revision": revision, "file": "gpu1.json", "machine": {"gpu": "Made up, 1", "date": "2000-01-01"}, "benchmarks": {"rows": list(rows)}}


def table_problems():
    problems = []

    def expect(what, found, wanted):
        if found != wanted:
            problems.append(f"{what}: {found}, expected {wanted}")
    verdicts = [line.split("|")[-2].strip() for line in reports.lines_of([row(1.0, 3.0, 0.95)])]
    expect("share between must and aim, peer beyond must", verdicts, ["must", "must"])
    verdicts = [line.split("|")[-2].strip() for line in reports.lines_of([row(1.0, 1.5, 1.01)])]
    expect("share beyond the aim, peer short", verdicts, ["aim", "**short**"])
    verdicts = [line.split("|")[-2].strip() for line in reports.lines_of([row(1.0, 3.0, 0.5), row(1.0, 3.0, 0.95), row(1.0, 3.0, 0.95)])]
    expect("the median of the runs is judged", verdicts, ["must", "must"])
    rows = reports.rows_of([run_of("a", row(1.0, 1.0, 0.1)), run_of("b", row(2.0, 2.0, 0.2)), run_of("b", row(3.0, 3.0, 0.3))])
    expect("runs of older revisions are left out", [r["share_of_copy"] for r in rows["pass", (4, 8)]], [0.2, 0.3])
    rows = reports.rows_of([run_of("a", row(1.0, 1.0, 0.1)), run_of("b", {"case": "pass", "size": [4, 8], "error": "no"})])
    expect("an error is no measurement", [r["share_of_copy"] for r in rows["pass", (4, 8)]], [0.1])
    return problems


STAND_IN = """#!/bin/sh
# compute-sanitizer as the driver calls it: --tool KIND --error-exitcode 9 PROGRAM NAME...
[ "$1 $3 $4 $5 $6 $7" = "--tool --error-exitcode 9 program a b" ] || exit 3
case $0-$2 in
  *finds-racecheck) echo "========= a race"; echo "========= ERROR SUMMARY: 1 error"; exit 9 ;;
  *waits-memcheck) exec sleep 60 ;;
  *foreign-*) echo "Error: device not supported"; exit 1 ;;
esac
echo "========= ERROR SUMMARY: 0 errors"
"""


def sanitizer_problems():
    """compute-sanitizer is left out where it is missing, does not know the device or takes too long; what it finds is reported."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds, wanted in (("clean", 60, {"memcheck": 0, "racecheck": 0}), ("finds", 60, {"memcheck": 0, "racecheck": 9}),
                                      ("waits", 4, {"memcheck": None, "racecheck": 0}), ("foreign", 60, {"memcheck": None, "racecheck": None}),
                                      ("clean", 0, {"memcheck": None, "racecheck": None})):
            tool, said = os.path.join(folder, name), []
            with open(tool, "w") as file:
                file.write(STAND_IN)
            os.chmod(tool, 0o755)
            found = {kind: line["code"] for kind, line in run_gpu.sanitize("program", "a,b", seconds, said.append, tool).items()}
            if found != wanted:
                problems.append(f"{name} in {seconds} s: {found}, expected {wanted}")
            if name == "finds" and "========= a race" not in "\n".join(said):
                problems.append(f"what was found is not in {said}")
        if run_gpu.sanitize("program", "", 60, said.append, os.path.join(folder, "none")) != {"skipped": "not installed"}:
            problems.append("a missing tool is not skipped")
    return problems


def main():
    report = common.Report()
    report.check("gpu driver: compute-sanitizer is skipped or reported", sanitizer_problems())
    report.check("gpu driver: prototypes are read from a C header", prototype_problems())
    report.check("gpu driver: qat_c.h is C", c_problems())
    report.check("gpu driver: rows are judged right", table_problems())
    report.check("gpu driver: buffers of a sweep exceed the cache", [] if [measure.sets_for(n) for n in (1, 10e6, 90e6, 1e9)] == [64, 18, 2, 2]
                 else [str([measure.sets_for(n) for n in (1, 10e6, 90e6, 1e9)])])
    said = subprocess.run([sys.executable, os.path.join(common.ROOT, "bench", "gpu", "report.py"), "--check"], capture_output=True, text=True)
    report.check("gpu driver: docs/performance-gpu.md is what bench/gpu/report.py writes", said.stderr.splitlines())
    report.finish()


if __name__ == "__main__":
    main()
