"""What the checks share: the tree, one way to report (`PASSED:`/`FAILED:`/`SKIPPED:` lines), and running compilers."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = int(os.environ.get("QAT_JOBS", "2"))
WARNINGS = ["-std=c++20", "-Wall", "-Wextra", "-Wshadow", "-Werror"]


class Report:
    def __init__(self):
        self.failures = 0
        self.lines = []

    def check(self, name, problems):
        """One test: it passes when `problems` is empty."""
        problems = list(problems)
        if problems:
            self.failures += 1
            self.say(f"FAILED: {name}")
            for problem in problems[:50]:
                self.say("  " + problem)
            if len(problems) > 50:
                self.say(f"  and {len(problems) - 50} more")
        else:
            self.say(f"PASSED: {name}")

    def skip(self, name, why):
        self.say(f"SKIPPED: {name} ({why})")

    def say(self, line):
        self.lines.append(line)
        print(line, flush=True)

    def finish(self):
        sys.exit(1 if self.failures else 0)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def headers(root=ROOT, inl=False):
    """Paths relative to include/ of all headers; -inl.hpp files (text re-included per target) only when asked for."""
    include = os.path.join(root, "include")
    found = []
    for folder, _, names in os.walk(include):
        for name in names:
            if name.endswith((".hpp", ".cuh")) and (inl or not name.endswith("-inl.hpp")):
                found.append(os.path.relpath(os.path.join(folder, name), include))
    return sorted(found)


def without_comments(text):
    """C++ text with comments and string contents blanked, lines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)

    def blank(match):
        token = match.group(0)
        return '""' if token[0] == '"' else "' '" if token[0] == "'" else "\n" * token.count("\n")

    return pattern.sub(blank, text)


def compilers():
    return [c for c in ("g++", "clang++") if shutil.which(c)]


def run(command, stdin=""):
    process = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="replace")
    return process.returncode, process.stdout + process.stderr


def parallel(function, items):
    """Results in order, each as soon as it and those before it are there."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        yield from pool.map(function, items)
