#!/usr/bin/env python3
"""Installs the programs of other projects that run our files (requirements.txt), into BUILD/foreign, where the tests look for them.

usage: install.py [BUILD]     BUILD: build beside the sources, unless given

What cannot be installed is said and left out; its tests are then skipped, counted. Nothing outside of BUILD/foreign changes.
"""
import os
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def main():
    target = os.path.join(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build")), "foreign")
    with open(os.path.join(HERE, "requirements.txt")) as file:
        packages = file.read().split()
    python = os.path.join(target, "bin", "python3")
    try:
        if not os.path.exists(python):
            venv.create(target, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SKIPPED: foreign programs (no virtual environment in {target}: {error}; Debian: python3-venv)")
        return 0
    for package in packages:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", package]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ["pip failed"])[-1]
            print(f"SKIPPED: foreign program {package} ({reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
