#!/usr/bin/env python3
"""Builds and runs everything that must hold; `./dev test` calls it.

Meson's list of tests is the list; this script decides the order (what fails fastest first), builds with g++, clang++, the
sanitizers and for AArch64 (run by qemu-user), runs as many tests at a time as there are jobs (QAT_JOBS) while the next stage
is built, adds up what each printed, and ends with `N passed, N failed, N skipped`.

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
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = os.environ.get("QAT_JOBS", "2")
FIRST = ["unit"]
REST = ["cuda", "property", "fuzz", "golden", "consistency", "odr", "checks", "gpu", "examples", "cli", "foreign", "train"]
# Built by a cross compiler and run by an emulator: the kernels, on the targets of that architecture.
AARCH64 = dict(compiler="aarch64-linux-gnu-g++", emulator=["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
               packages="g++-aarch64-linux-gnu qemu-user", tests=["unit/numeric", "unit/kernels", "unit/ops", "consistency/consistency"])
# What the x86 targets need of /proc/cpuinfo; a processor without one of them runs them all in emulation (test/emulation).
X86_FEATURES = {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"}
SANITIZED = ["unit", "property", "fuzz", "golden", "consistency", "examples", "cli"]  # everything but training and the CUDA kernels

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


class Stage:
    """A build and its tests. `ready` is set when what the tests run is built, or `error` says why it cannot be."""

    def __init__(self, name, compiler, options, suites, env, only=(), emulator=(), needs=(), missing=None):
        """only: of the suites, the tests named suite/name; all where it is empty. They are skipped, for the reason `missing`,
        where a program of `needs` is not found or Meson lists none of them."""
        self.name, self.compiler, self.options, self.suites, self.env = name, compiler, options, suites, env
        self.only, self.emulator, self.needs, self.missing = only, emulator, needs, missing
        self.directory, self.tests, self.built = "", [], set()
        self.ready, self.error = threading.Event(), None


class Run:
    def __init__(self, build):
        self.build = build
        self.results = []
        self.running = set()
        self.stopped = False

    def record(self, stage, suite, name, counts, seconds, cpu=0.0):
        self.results.append(dict(stage=stage, suite=suite, name=name, passed=counts[0], failed=counts[1],
                                 skipped=counts[2], seconds=round(seconds, 2), cpu=round(cpu, 2)))

    def sh(self, command, log, timeout=None, env=None):
        """(exit code, output, seconds, core-seconds of it and its children); what takes longer than `timeout` is killed."""
        start = time.time()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=env,
                                   start_new_session=True)
        self.running.add(process)
        if self.stopped:
            os.killpg(process.pid, 9)
        late = threading.Event()

        def kill():
            late.set()
            os.killpg(process.pid, 9)
        timer = threading.Timer(timeout, kill) if timeout else None
        if timer:
            timer.start()
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        self.running.discard(process)
        if timer:
            timer.cancel()
        if late.is_set():
            output += f"\nFAILED: no end after {timeout} s\n".encode()
            code = 124
        text = output.decode(errors="replace")
        with open(log, "w") as file:
            file.write(text)
        return code, text, time.time() - start, usage.ru_utime + usage.ru_stime

    def stop(self, code):
        """Interrupted: leaves no process behind."""
        self.stopped = True
        for process in list(self.running):
            os.killpg(process.pid, 9)
        sys.exit(code)

    def configure(self, stage):
        """The stage's tests, as Meson lists them."""
        os.makedirs(stage.directory, exist_ok=True)
        if not os.path.exists(os.path.join(stage.directory, "build.ninja")):
            command, env = ["meson", "setup", stage.directory, ROOT] + stage.options, dict(os.environ, CXX=stage.compiler)
        else:  # a changed meson.build first, so that the list of tests is the present one
            command, env = ["ninja", "-C", stage.directory, "build.ninja"], None
        code, text, *_ = self.sh(command, stage.directory + ".log", env=env)
        if code != 0:
            raise RuntimeError(f"{text}\n./dev test: could not configure {stage.name}")
        tests = self.introspect("--tests", stage.directory)
        for test in tests:
            test["suite"] = test["suite"][0].split(":")[-1]
        tests = [t for t in tests if t["suite"] in stage.suites and (not stage.only or f"{t['suite']}/{t['name']}" in stage.only)]
        return sorted(tests, key=lambda t: stage.suites.index(t["suite"]))

    @staticmethod
    def introspect(what, directory):
        return json.loads(subprocess.run(["meson", "introspect", what, directory], capture_output=True, text=True, check=True).stdout)

    @staticmethod
    def resolve(word, directory):
        """Meson names a built program that is an argument relative to the build directory."""
        relative = not os.path.isabs(word) and os.sep in word and not word.startswith("-")
        return os.path.join(directory, word) if relative and not os.path.exists(os.path.join(ROOT, word)) else word

    def prepare(self, stage):
        """Builds what the stage's tests need; a program that does not build is a failed test."""
        stage.directory = directory = os.path.join(self.build, stage.name)
        tests = self.configure(stage) if all(map(shutil.which, stage.needs)) else []
        if not tests and stage.missing:
            for name in stage.only:
                say(f"SKIPPED: {stage.name}: {name} ({stage.missing})")
                self.record(stage.name, *name.split("/"), (0, 0, 1), 0.0)
            return
        for test in tests:
            test["cmd"] = [*stage.emulator, *(self.resolve(word, directory) for word in test["cmd"])]
        words = {os.path.normpath(w) for t in tests for w in t["cmd"] + [v for k, v in t["env"].items() if k.startswith("QAT_")]}
        stage.tests = tests
        stage.built = {os.path.normpath(name) for target in self.introspect("--targets", directory) for name in target["filename"]}
        programs = {os.path.relpath(word, directory) for word in words & stage.built}
        if programs:
            say(f"{stage.name}: building {len(programs)} programs")
            # Gives way to the tests of the stage before, which run at the same time.
            code, text, seconds, cpu = self.sh(["nice", "-n", "5", "ninja", "-k", "0", "-j", JOBS, "-C", directory] + sorted(programs),
                                               os.path.join(directory, "build.log"))
            if code != 0:
                say("\n".join(line for line in text.splitlines() if not line.startswith(("[", "ninja: Entering")))[:20000])
            self.record(stage.name, "build", "build", (0, int(code != 0), 0), seconds, cpu)
            say(f"{stage.name}: built in {seconds:.0f} s, {cpu:.0f} core-seconds")

    def prepare_all(self, stages):
        for stage in stages:
            try:
                self.prepare(stage)
            except Exception as error:
                stage.error = error
            stage.ready.set()

    def run(self, stages):
        """The tests of each stage while the next ones are built; those that need the machine for themselves at the end."""
        threading.Thread(target=self.prepare_all, args=(stages,), daemon=True).start()
        for stage in stages:
            stage.ready.wait()
            if stage.error:
                say(str(stage.error))
                self.record(stage.name, "build", "configure", (0, 1, 0), 0.0)
                continue
            pool = concurrent.futures.ThreadPoolExecutor(int(JOBS))
            together = [t for t in stage.tests if t["is_parallel"]]
            try:
                for test, result in zip(together, pool.map(lambda t: self.execute(stage, t), together)):
                    self.report(stage, test, *result)
            finally:
                pool.shutdown(cancel_futures=True)
        for stage in stages:
            for test in (t for t in stage.tests if not t["is_parallel"]):
                self.report(stage, test, *self.execute(stage, test))

    def execute(self, stage, test):
        log = os.path.join(stage.directory, f"{test['suite']}-{test['name'].replace('/', '-')}.log")
        environment = dict(os.environ, QAT_BUILD=stage.directory, **stage.env)
        foreign = os.path.join(self.build, "foreign", "bin", "python3")  # test/foreign/install.py
        if os.path.exists(foreign):
            environment.setdefault("QAT_FOREIGN_PYTHON", foreign)
        environment.update(test["env"])
        if any(word in stage.built and not os.path.exists(word) for word in test["cmd"]):
            return log, 1, "FAILED: it was not built\n", 0.0, 0.0
        limit = (test["timeout"] or 600) * (6 if stage.name == "asan" else 2)
        return log, *self.sh(test["cmd"], log, limit, environment)

    def report(self, stage, test, log, code, text, seconds, cpu):
        counts = count(text, code)
        self.record(stage.name, test["suite"], test["name"], counts, seconds, cpu)
        say(f"{stage.name}: {test['suite']}/{test['name']}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped "
            f"({seconds:.1f} s, {cpu:.1f} core-seconds)")
        if counts[1]:
            say(text[-6000:] + f"\n{stage.name}: {test['suite']}/{test['name']} exited with {code}; its output is in {log}")
        else:
            for line in re.findall(r"^SKIPPED: .*$", text, re.M)[:20]:
                say("  " + line)


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


def stages_of(args):
    env = {"QAT_TEST_FULL": "1"} if args.full else {}
    version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True).stdout
    # Warnings are errors for the compilers this repository is checked with, not for whatever a user has.
    werror = ["-Dwerror=true"] if version.startswith("12") else []
    cross = ["-Doptimization=1", "--cross-file", os.path.join(ROOT, "test", "cross", "aarch64.ini")]
    needs = [AARCH64["compiler"], AARCH64["emulator"][0]]
    aarch64 = Stage("aarch64", "g++", werror + cross, list(dict.fromkeys(name.split("/")[0] for name in AARCH64["tests"])), env,
                    AARCH64["tests"], AARCH64["emulator"], needs, f"{' or '.join(needs)} not found; Debian: {AARCH64['packages']}")
    if args.only:
        return [aarch64 if args.only == "aarch64" else Stage("release", "g++", werror, [args.only], env)]
    stages = [Stage("release", "g++", werror, FIRST, env), Stage("release", "g++", werror, REST, env)]
    if args.full or lacks_x86_features():
        stages.append(Stage("release", "g++", werror, ["emulated"], env, ["emulated/emulated"],
                            missing="simde/x86/avx512.h not found; Debian: libsimde-dev"))
    if args.full:
        stages.append(Stage("release", "g++", werror, ["races"], env, ["races/races"]))
    # Unoptimized: what these two look for does not need it, and they build in a third of the time.
    stages.append(Stage("clang", "clang++", werror + ["-Doptimization=0"], FIRST + (REST if args.full else []), env))
    # What is undefined traps, and AddressSanitizer prints where: with messages of its own a build takes a third longer.
    sanitize = ["-Doptimization=0", "-Ddebug=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                "-Dcpp_args=-g1 -fno-sanitize-recover=all -fsanitize-undefined-trap-on-error"]
    sanitizers = dict(env, ASAN_OPTIONS="detect_stack_use_after_return=1:handle_sigill=1")
    stages.append(Stage("asan", "g++", werror + sanitize, SANITIZED + (["cuda"] if args.full else []), sanitizers))
    if not args.full:
        say("only with --full: all suites with clang++, the suite cuda under sanitizers, products under ThreadSanitizer, -O3, long "
            "property runs")
    stages.append(aarch64)
    if args.full:
        stages.append(Stage("o3", "g++", werror + ["-Doptimization=3"], FIRST + ["cuda", "property", "golden", "consistency"], env))
    return stages


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
    run.run(stages_of(args))

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
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    for stage in dict.fromkeys(r["stage"] for r in run.results):
        built, ran = (sum(r["cpu"] for r in run.results if r["stage"] == stage and (r["suite"] == "build") is b) for b in (True, False))
        say(f"{stage}: {built:.0f} core-seconds to build, {ran:.0f} to run")
    say(f"took {time.time() - start:.0f} s, {used.ru_utime + used.ru_stime:.0f} core-seconds")
    say(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
