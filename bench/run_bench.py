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


def build(directory, programs):
    if not programs:
        return
    built = subprocess.run(["ninja", "-C", directory, "-j", os.environ.get("QAT_JOBS", "2"), *programs], capture_output=True, text=True)
    if built.returncode != 0:
        sys.exit(built.stdout[-20000:] + built.stderr)


def peers(directory, args):
    """Builds the measuring programs and runs bench/peers/peers.py; without --peers only its check."""
    targets = json.loads(subprocess.run(["meson", "introspect", "--targets", directory], capture_output=True, text=True, check=True).stdout)
    build(directory, ["bench/" + t["name"] for t in targets if t["name"].endswith("_worker")])
    here = os.path.join(ROOT, "bench", "peers")
    python = os.environ.get("QAT_PEER_PYTHON")
    if args.peers and not args.no_install:
        installed = subprocess.run([sys.executable, os.path.join(here, "install.py"), os.path.join(os.path.abspath(args.build), "peers")],
                                   stdout=subprocess.PIPE, text=True)
        python = python or installed.stdout.strip() or None
    command = [sys.executable, os.path.join(here, "peers.py"), "--workers", directory]
    command += ["--python", python] if python else []
    command += ["--rows", args.name] if args.name and args.peers else []
    command += ["--check"] if args.check else []
    command += ["--quick"] if args.quick else []
    command += ["--rounds", "0" if not args.peers else "1" if args.quick else str(args.rounds)]
    if args.peers:
        command += ["--json", os.path.abspath(args.json)] if args.json else []
        command += ["--add"] if args.add else []
    return subprocess.run(command, cwd=ROOT).returncode


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write all results to one file")
    parser.add_argument("name", nargs="?", default="", help="only benchmarks whose name contains this")
    parser.add_argument("--peers", action="store_true", help="the table of performance targets, beside peers and ceilings; NAME: its rows")
    parser.add_argument("--check", action="store_true", help="compare the kernels of the table with kernels/reference first")
    parser.add_argument("--quick", action="store_true", help="--peers with one case of each work and one round, in under two minutes")
    parser.add_argument("--rounds", type=int, default=3, help="of the table")
    parser.add_argument("--add", action="store_true", help="keep the rows that FILE has, and add the new rounds to them")
    parser.add_argument("--no-install", action="store_true", help="compare with the peers that are here")
    args = parser.parse_args()
    args.peers |= args.quick

    directory = os.path.join(os.path.abspath(args.build), "release")
    ready = os.path.exists(os.path.join(directory, "build.ninja"))
    command = ["ninja", "-C", directory, "build.ninja"] if ready else ["meson", "setup", directory, ROOT]
    configured = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, CXX="g++"))
    if configured.returncode != 0:
        sys.exit(configured.stdout + configured.stderr)
    if args.peers or args.check:
        code = peers(directory, args)
        if code or args.peers:
            return code
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
    build(directory, programs)

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
