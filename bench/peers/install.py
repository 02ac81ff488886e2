#!/usr/bin/env python3
"""Installs the peers that packages bring, and says on the error stream what it skipped: `./dev bench --peers` calls it.

Usage: install.py FOLDER      FOLDER/venv gets the Python packages; its python is printed
Left out: PyTorch and torchao, some gigabytes (set QAT_TORCH_PYTHON to a Python that has them).
"""
import importlib.util
import os
import shutil
import subprocess
import sys

from workers import LIBRARIES, library_path

DEBIAN = {"openblas": "libopenblas0-pthread", "blis": "libblis4-pthread", "onednn": "libdnnl2"}
PYTHON = {"onnx": ["onnxruntime", "onnx"], "ggml": ["ggml-python"]}  # ggml-python builds ggml for this processor: a C++ compiler


def run(command):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def skip(peer, why):
    print(f"bench: skipped {peer}: {why}", file=sys.stderr)


def install_debian():
    absent = [peer for peer in DEBIAN if library_path(LIBRARIES[peer]) is None]
    if not absent or not shutil.which("apt-get"):
        return
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    result = run(root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends",
                         *(DEBIAN[peer] for peer in absent)])
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["apt-get failed"])[-1]
        for peer in absent:
            skip(peer, f"{last}; the package is {DEBIAN[peer]}")


def install_python(folder):
    """The Python of FOLDER/venv with what could be installed, or None."""
    venv = os.path.join(folder, "venv")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python) and run([sys.executable, "-m", "venv", venv]).returncode:
        skip("onnx and ggml", f"{sys.executable} cannot make a virtual environment")
        return None
    for peer, packages in PYTHON.items():
        modules = ["ggml"] if peer == "ggml" else packages
        if run([python, "-c", "import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in sys.argv[1:]))", *modules]).returncode == 0:
            continue
        result = run([python, "-m", "pip", "install", "--quiet", *packages])
        if result.returncode:
            skip(peer, f"pip install {' '.join(packages)}: {(result.stderr.strip().splitlines() or ['failed'])[-1]}")
    return python


def main():
    install_debian()
    python = install_python(sys.argv[1])
    if not os.environ.get("QAT_TORCH_PYTHON") and importlib.util.find_spec("torch") is None:
        skip("torch and torchao", "some gigabytes; pip install torch torchao, and set QAT_TORCH_PYTHON to that Python")
    if python:
        print(python)


if __name__ == "__main__":
    main()
