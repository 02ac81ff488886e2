#!/usr/bin/env python3
"""`./dev lint`: layout (clang-format), the rules and layers a script can check, and cppcheck's warnings."""
import os
import shutil
import subprocess
import sys

import common


def main():
    os.chdir(common.ROOT)
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", "*.hpp", "*.cpp"], capture_output=True,
                           text=True, check=True).stdout.split()
    files = [f for f in files if os.path.exists(f)]
    bad = [f for f, (code, _) in zip(files, common.parallel(lambda f: common.run(["clang-format", "--dry-run", "-Werror", f]), files))
           if code]
    report = common.Report()
    report.check("lint: clang-format (./dev format rewrites)", bad)
    if shutil.which("cppcheck"):
        # Left out: what cppcheck 2.10 gets wrong about this code (64-bit shifts of std::uint64_t, folded requires-clauses,
        # proxies whose assignment writes through) and style it counts as performance.
        wrong = ["missingIncludeSystem", "internalAstError", "unknownMacro", "syntaxError", "shiftTooManyBits",
                 "shiftTooManyBitsSigned", "operatorEqVarError", "knownConditionTrueFalse", "useInitializationList"]
        code, output = common.run(["cppcheck", "--quiet", "--std=c++20", "--enable=warning,performance,portability",
                                   "--inline-suppr", *("--suppress=" + name for name in wrong), "-I", "include",
                                   "--error-exitcode=1", "-j", str(common.JOBS), "--template={file}:{line}: {id}: {message}", "include/qat", "examples"])
        report.check("lint: cppcheck", output.splitlines() if code else [])
    else:
        report.skip("lint: cppcheck", "not installed")
    for script in ("layers.py", "rules.py"):
        report.failures += subprocess.run([sys.executable, os.path.join("test", "checks", script)]).returncode
    report.finish()


if __name__ == "__main__":
    main()
