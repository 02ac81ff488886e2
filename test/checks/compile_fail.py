#!/usr/bin/env python3
"""Programs that must not compile, each two-sided: test/compile_fail/*.cpp compiles as it is, and fails with
-DQAT_SHOULD_FAIL with a message that contains the text of its first line, `// expect: text`."""
import glob
import os

import common


def problems_of(path, compiler, include):
    first = common.read(path).split("\n", 1)[0]
    if not first.startswith("// expect: ") or "QAT_SHOULD_FAIL" not in common.read(path):
        return ["the first line must be `// expect: text`, and QAT_SHOULD_FAIL must select the mistake"]
    expected = first[len("// expect: "):].strip()
    command = [compiler, *common.WARNINGS, "-fsyntax-only", "-I", include, path]
    code, output = common.run(command)
    if code != 0:
        return ["does not compile without the mistake:"] + output.splitlines()[:8]
    code, output = common.run(command + ["-DQAT_SHOULD_FAIL"])
    if code == 0:
        return ["compiles with the mistake"]
    if expected not in output:
        return [f"fails without saying '{expected}':"] + output.splitlines()[:8]
    return []


def main():
    report = common.Report()
    files = sorted(glob.glob(os.path.join(common.ROOT, "test", "compile_fail", "*.cpp")))
    pairs = [(f, c) for f in files for c in common.compilers()]
    include = os.path.join(common.ROOT, "include")
    for (path, compiler), problems in zip(pairs, common.parallel(lambda p: problems_of(*p, include), pairs)):
        report.check(f"compile_fail: {os.path.basename(path)} ({compiler})", problems)
    if not files:
        report.skip("compile_fail", "no file in test/compile_fail")
    report.finish()


if __name__ == "__main__":
    main()
