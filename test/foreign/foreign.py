"""What the tests of this folder share: the Python that has other projects' programs, and how results are counted."""
import os
import subprocess
import sys

results = {"PASSED": 0, "FAILED": 0}


def check(name, ok, detail=""):
    print(f"{'PASSED' if ok else 'FAILED'}: {name}" + ("" if ok else f": {detail}"), flush=True)
    results["PASSED" if ok else "FAILED"] += 1


def finish():
    sys.exit(1 if results["FAILED"] else 0)


def prefer(*modules):
    """Goes on in the Python of BUILD/foreign if this one lacks a module and that one has them all; else returns what is missing."""
    missing = [m for m in modules if not has(sys.executable, m)]
    python = os.environ.get("QAT_FOREIGN_PYTHON", "")
    if missing and sys.executable != python and os.path.exists(python) and all(has(python, m) for m in modules):
        os.execv(python, [python] + sys.argv)
    return missing


def require(*modules):
    """The same, and a skip where neither has them."""
    missing = prefer(*modules)
    if missing:
        print(f"SKIPPED: {os.path.basename(sys.argv[0])} (no {', '.join(missing)}; python3 test/foreign/install.py)")
        sys.exit(77)


def has(python, module):
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0
