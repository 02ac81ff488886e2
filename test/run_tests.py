#!/usr/bin/env python3
"""Builds and runs everything that must hold; `./dev test` calls it.

Meson's list of tests is the list; this script decides the order (what fails fastest first), builds with g++, clang++, the
sanitizers and for AArch64 (run by qemu-user), runs as many tests at a time as there are jobs (QAT_JOBS), adds up what each
printed, and ends with `N passed, N failed, N skipped`.

How a test is counted: `[qat-test] P passed, F failed, S skipped` (test/main.cpp prints it) is added as it is; else the lines
that start with `PASSED:`, `FAILED:`, `SKIPPED:`; else the exit code (0 passed, 77 skipped, anything else failed). A non-zero
exit without a failure in the counts is a failure too, so a crash never passes.
"""
import argparse
import concurrent.futures
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = os.environ.get("QAT_JOBS", "2")
FIRST = ["unit"]
REST = ["property", "golden", "consistency", "odr", "checks", "gpu", "examples", "cli", "foreign", "train"]
# Built by a cross compiler and run by an emulator: the kernels, on the targets of that architecture.
AARCH64 = dict(compiler="aarch64-linux-gnu-g++", emulator=["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
               packages="g++-aarch64-linux-gnu qemu-user", tests=["unit/numeric", "unit/kernels", "unit/ops", "consistency/consistency"])
# What the x86 targets need of /proc/cpuinfo; a processor without one of them runs them all in emulation (test/emulation).
X86_FEATURES = {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"}
SANITIZED = ["unit", "property", "golden", "consistency", "examples", "cli"]  # everything but the long training runs

SUMMARY = re.compile(r"^\[qat-test\] (\d+) passed, (\d+) failed, (\d+) skipped$", re.M)


def count(output, code):
    """(passed, failed, skipped) of one test from what it printed and its exit code."""
    summaries = SUMMARY.findall(output)
    if summaries:
        passed, failed, skipped = (sum(int(s[i]) for s in summaries) for i in range(3))
    else:
        passed, failed, skipped = (len(re.findall(rf"^{word}: ", output, re.M)) for word in ("PASSED", "FAILED", "SKIPPED"))
        if passed + failed + skipped == 0:
            return {0: (1, 0, 0), 77: (0, 0, 1)}.get(code, (0, 1, 0))
    if failed == 0 and (code not in (0, 77) or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


class Run:
    def __init__(self, build):
        self.build = build
        self.results = []
        self.running = set()
        self.stopped = False

    def record(self, stage, suite, name, counts, seconds):
        self.results.append(dict(stage=stage, suite=suite, name=name, passed=counts[0], failed=counts[1],
                                 skipped=counts[2], seconds=round(seconds, 2)))

    def sh(self, command, log, timeout=None, env=None):
        start = time.time()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=env,
                                   start_new_session=True)
        self.running.add(process)
        if self.stopped:
            os.killpg(process.pid, 9)
        try:
            output, _ = process.communicate(timeout=timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
            output += f"\nFAILED: no end after {timeout} s\n".encode()
            code = 124
        finally:
            self.running.discard(process)
        text = output.decode(errors="replace")
        with open(log, "w") as file:
            file.write(text)
        return code, text, time.time() - start

    def stop(self, code):
        """Interrupted: leaves no process behind."""
        self.stopped = True
        for process in list(self.running):
            os.killpg(process.pid, 9)
        sys.exit(code)

    def configure(self, stage, compiler, options):
        directory = os.path.join(self.build, stage)
        os.makedirs(directory, exist_ok=True)
        if not os.path.exists(os.path.join(directory, "build.ninja")):
            env = dict(os.environ, CXX=compiler)
            code, text, _ = self.sh(["meson", "setup", directory, ROOT] + options, directory + ".log", env=env)
            if code != 0:
                sys.exit(f"{text}\n./dev test: could not configure {stage}\n0 passed, 1 failed, 0 skipped")
        else:  # a changed meson.build first, so that the list of tests below is the present one
            code, text, _ = self.sh(["ninja", "-C", directory, "build.ninja"], directory + ".log")
            if code != 0:
                sys.exit(f"{text}\n./dev test: could not configure {stage}\n0 passed, 1 failed, 0 skipped")
        return directory

    def tests(self, directory):
        text = subprocess.run(["meson", "introspect", "--tests", directory], capture_output=True, text=True, check=True).stdout
        for test in json.loads(text):
            test["suite"] = test["suite"][0].split(":")[-1]
            yield test

    @staticmethod
    def resolve(word, directory):
        """Meson names a built program that is an argument relative to the build directory."""
        relative = not os.path.isabs(word) and os.sep in word and not word.startswith("-")
        return os.path.join(directory, word) if relative and not os.path.exists(os.path.join(ROOT, word)) else word

    def stage(self, stage, directory, suites, env, only=None, emulator=()):
        """Builds what the tests of `suites` (only those named suite/name in `only`) need, then runs them; a program that does
        not build is a failed test."""
        tests = [t for t in self.tests(directory) if t["suite"] in suites and (not only or f"{t['suite']}/{t['name']}" in only)]
        tests.sort(key=lambda t: suites.index(t["suite"]))
        for test in tests:
            test["cmd"] = [*emulator, *(self.resolve(word, directory) for word in test["cmd"])]
        words = {os.path.normpath(w) for t in tests for w in t["cmd"] + [v for k, v in t["env"].items() if k.startswith("QAT_")]}
        targets = json.loads(subprocess.run(["meson", "introspect", "--targets", directory], capture_output=True, text=True,
                                            check=True).stdout)
        built = {os.path.normpath(name) for target in targets for name in target["filename"]}
        programs = {os.path.relpath(word, directory) for word in words & built}
        if programs:
            say(f"{stage}: building {len(programs)} programs")
            code, text, seconds = self.sh(["ninja", "-k", "0", "-j", JOBS, "-C", directory] + sorted(programs),
                                          os.path.join(directory, "build.log"))
            if code != 0:
                say("\n".join(line for line in text.splitlines() if not line.startswith(("[", "ninja: Entering")))[:20000])
                self.record(stage, "build", "build", (0, 1, 0), seconds)
            say(f"{stage}: built in {seconds:.0f} s")

        def execute(test):
            log = os.path.join(directory, f"{test['suite']}-{test['name'].replace('/', '-')}.log")
            environment = dict(os.environ, QAT_BUILD=directory, **env)
            environment.update(test["env"])
            if any(word in built and not os.path.exists(word) for word in test["cmd"]):
                return log, 1, "FAILED: it was not built\n", 0.0
            limit = (test["timeout"] or 600) * (6 if stage == "asan" else 2)
            return log, *self.sh(test["cmd"], log, limit, environment)

        # As many at a time as there are jobs; those that need the machine for themselves one by one, after the others.
        together, alone = ([t for t in tests if t["is_parallel"] is wanted] for wanted in (True, False))
        pool = concurrent.futures.ThreadPoolExecutor(int(JOBS))
        try:
            for test, result in zip(together, pool.map(execute, together)):
                self.report(stage, test, *result)
            for test in alone:
                self.report(stage, test, *execute(test))
        finally:
            pool.shutdown(cancel_futures=True)

    def report(self, stage, test, log, code, text, seconds):
        counts = count(text, code)
        self.record(stage, test["suite"], test["name"], counts, seconds)
        say(f"{stage}: {test['suite']}/{test['name']}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped "
            f"({seconds:.1f} s)")
        if counts[1]:
            say(text[-6000:] + f"\n{stage}: {test['suite']}/{test['name']} exited with {code}; its output is in {log}")
        else:
            for line in re.findall(r"^SKIPPED: .*$", text, re.M)[:20]:
                say("  " + line)

    def emulated(self, stage, machine, options, env):
        """The tests of another architecture, or one skip for each, said, where its compiler or emulator is missing."""
        missing = [name for name in (machine["compiler"], machine["emulator"][0]) if shutil.which(name) is None]
        if missing:
            for name in machine["tests"]:
                say(f"SKIPPED: {stage}: {name} ({' and '.join(missing)} not found; Debian: {machine['packages']})")
                self.record(stage, *name.split("/"), (0, 0, 1), 0.0)
            return
        cross = os.path.join(ROOT, "test", "cross", stage + ".ini")
        directory = self.configure(stage, "g++", options + ["--cross-file", cross])
        suites = list(dict.fromkeys(name.split("/")[0] for name in machine["tests"]))
        self.stage(stage, directory, suites, env, machine["tests"], machine["emulator"])


def lacks_x86_features():
    if platform.machine() != "x86_64":
        return False
    try:
        with open("/proc/cpuinfo") as file:
            found = re.search(r"^flags\s*:(.*)$", file.read(), re.M)
    except OSError:
        return True
    return not found or not X86_FEATURES <= set(found.group(1).split())


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help="also the slow matrix: long property runs, all with clang++, -O3")
    parser.add_argument("--json", metavar="FILE", help="write counts and seconds per test")
    parser.add_argument("--only", metavar="SUITE", help="one suite (unit, property, golden, ...), with g++ alone; or aarch64")
    args = parser.parse_args()
    json_path = os.path.abspath(args.json) if args.json else None

    os.makedirs(args.build, exist_ok=True)
    run = Run(os.path.abspath(args.build))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: run.stop(128 + number))
    start = time.time()
    env = {"QAT_TEST_FULL": "1"} if args.full else {}
    version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True).stdout
    # Warnings are errors for the compilers this repository is checked with, not for whatever a user has.
    werror = ["-Dwerror=true"] if version.startswith("12") else []
    release = None if args.only == "aarch64" else run.configure("release", "g++", werror)
    if args.only == "aarch64":
        run.emulated("aarch64", AARCH64, werror + ["-Doptimization=1"], env)
    elif args.only:
        run.stage("release", release, [args.only], env)
    else:
        run.stage("release", release, FIRST, env)
        run.stage("release", release, REST, env)
        if args.full or lacks_x86_features():
            if any(test["suite"] == "emulated" for test in run.tests(release)):
                run.stage("release", release, ["emulated"], env)
            else:
                say("SKIPPED: release: emulated/emulated (simde/x86/avx512.h not found; Debian: libsimde-dev)")
                run.record("release", "emulated", "emulated", (0, 0, 1), 0.0)
        # Unoptimized: what these two look for does not need it, and they build in a third of the time.
        clang = run.configure("clang", "clang++", werror + ["-Doptimization=0"])
        run.stage("clang", clang, FIRST + (REST if args.full else []), env)
        asan = run.configure("asan", "g++", werror + ["-Doptimization=0", "-Ddebug=true", "-Db_sanitize=address,undefined",
                                                      "-Db_lundef=false", "-Dcpp_args=-g1 -fno-sanitize-recover=all"])
        run.stage("asan", asan, SANITIZED, dict(env, ASAN_OPTIONS="detect_stack_use_after_return=1",
                                                UBSAN_OPTIONS="print_stacktrace=1"))
        run.emulated("aarch64", AARCH64, werror + ["-Doptimization=1"], env)
        if args.full:
            o3 = run.configure("o3", "g++", werror + ["-Doptimization=3"])
            run.stage("o3", o3, FIRST + ["property", "golden", "consistency"], env)

    passed, failed, skipped = (sum(r[k] for r in run.results) for k in ("passed", "failed", "skipped"))
    if json_path:
        with open(json_path, "w") as file:
            json.dump(dict(passed=passed, failed=failed, skipped=skipped, seconds=round(time.time() - start, 1),
                           tests=run.results), file, indent=1)
            file.write("\n")
    for r in run.results:
        if r["failed"]:
            say(f"failed: {r['stage']}: {r['suite']}/{r['name']}")
    if passed + failed + skipped == 0:
        say("no test ran")
    say(f"took {time.time() - start:.0f} s")
    say(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
