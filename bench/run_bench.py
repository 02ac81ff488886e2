#!/usr/bin/env python3
"""Builds and runs the benchmarks; `./dev bench` calls it.

Meson's list of benchmarks is the list (bench/meson.build). A program writes results to the file given by --benchmark_out=FILE
(Google Benchmark does by itself); what it prints is shown as it is. A name selects the benchmarks that contain it.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write all results to one file")
    parser.add_argument("name", nargs="?", default="", help="only benchmarks whose name contains this")
    args = parser.parse_args()

    directory = os.path.join(os.path.abspath(args.build), "release")
    ready = os.path.exists(os.path.join(directory, "build.ninja"))
    command = ["ninja", "-C", directory, "build.ninja"] if ready else ["meson", "setup", directory, ROOT]
    configured = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, CXX="g++"))
    if configured.returncode != 0:
        sys.exit(configured.stdout + configured.stderr)
    listed = json.loads(subprocess.run(["meson", "introspect", "--benchmarks", directory], capture_output=True, text=True,
                                       check=True).stdout)
    chosen = [b for b in listed if args.name in b["name"]]
    if not chosen:
        print(f"bench: no benchmark is named like '{args.name}', there are: {' '.join(b['name'] for b in listed) or 'none'}",
              file=sys.stderr)
        return 2
    for benchmark in chosen:  # Meson names a built program that is an argument relative to the build directory
        benchmark["cmd"] = [os.path.join(directory, word) if os.sep in word and not os.path.isabs(word) and
                            not os.path.exists(os.path.join(ROOT, word)) else word for word in benchmark["cmd"]]
    words = [os.path.normpath(word) for b in chosen for word in b["cmd"]]
    programs = [os.path.relpath(word, directory) for word in words if word.startswith(directory + os.sep)]
    if programs:
        built = subprocess.run(["ninja", "-C", directory, "-j", os.environ.get("QAT_JOBS", "2"), *programs],
                               capture_output=True, text=True)
        if built.returncode != 0:
            sys.exit(built.stdout[-20000:] + built.stderr)

    results, failed = {}, []
    for benchmark in chosen:
        print(f"== {benchmark['name']}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out.json")
            environment = dict(os.environ, **benchmark["env"])
            code = subprocess.run(benchmark["cmd"] + ["--benchmark_out=" + out], cwd=ROOT, env=environment).returncode
            if code not in (0, 77):
                failed.append(benchmark["name"])
            if os.path.exists(out) and os.path.getsize(out):
                with open(out) as file:
                    results[benchmark["name"]] = json.load(file)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(cpu=cpu_name(), cores=os.cpu_count(), benchmarks=results), file, indent=1)
            file.write("\n")
    if failed:
        print("bench: failed: " + " ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
