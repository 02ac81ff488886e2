"""The programs that measure: how each is found and started, and how it is asked (worker.hpp has the protocol)."""
import ctypes.util
import glob
import json
import os
import select
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# What a user installs to have a peer. XNNPACK's 4-bit kernels are newer than any Debian package of it.
PACKAGES = {
    "openblas": "apt libopenblas0-pthread", "blis": "apt libblis4-pthread", "onednn": "apt libdnnl2", "eigen": "apt libeigen3-dev",
    "ggml": "pip ggml-python", "onnx": "pip onnxruntime onnx", "torch": "pip torch torchao", "xnnpack": "no package has its qb4w kernels",
    "llm.c": "no package",
}
LIBRARIES = {"openblas": ["openblas"], "blis": ["blis"], "onednn": ["dnnl"]}
THREADS = ("OMP", "OPENBLAS", "BLIS", "MKL")


def library_path(names):
    """The file of a shared library: beside its alternatives where Debian has several of one name."""
    for name in names:
        for pattern in (f"/usr/lib/*/{name}-pthread/lib{name}.so*", f"/usr/lib/*/lib{name}.so*", f"/usr/local/lib/lib{name}.so*"):
            found = sorted(f for f in glob.glob(pattern) if not f.endswith(".a"))
            if found:
                return found[0]
        found = ctypes.util.find_library(name)
        if found:
            return found
    return None


class Gone(Exception):
    """A worker that died or does not answer; the message says why."""


class Worker:
    """A running program. threads == 1 keeps it on one processor."""

    def __init__(self, command, threads):
        processors = sorted(os.sched_getaffinity(0))
        mine = set(processors[-threads:])
        environment = dict(os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in THREADS})
        # Huge pages for every program alike, so that no one's weights pay more for translation than another's.
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        self.name = os.path.basename(command[-1])
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=environment, preexec_fn=lambda: os.sched_setaffinity(0, mine))

    def ask(self, line, timeout=300):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            end = time.time() + timeout
            while time.time() < end:
                if not select.select([self.process.stdout], [], [], max(0.0, end - time.time()))[0]:
                    break
                text = self.process.stdout.readline()
                if not text:
                    raise BrokenPipeError
                if text.startswith("{"):
                    return json.loads(text)
        except (BrokenPipeError, ValueError) as error:
            self.process.wait()
            self.errors.seek(0)
            words = self.errors.read().strip().splitlines()
            raise Gone(f"{self.name} stopped: {words[-1] if words else error}") from error
        self.close()
        raise Gone(f"{self.name} gave no answer to '{line}' in {timeout} s")

    def close(self):
        self.process.kill()
        self.process.wait()


class Workers:
    """Starts each program at its first use. build: where the C++ programs are; python: a Python that has the peers' packages."""

    def __init__(self, build, python=None, torch_python=None):
        self.build, self.python = build, python or sys.executable
        self.torch_python = torch_python or os.environ.get("QAT_TORCH_PYTHON", self.python)
        self.running, self.missing, self.versions = {}, {}, {}

    def program(self, name):
        path = os.path.join(self.build, "bench", name)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{name} is not built")
        return path

    def command(self, peer):
        """The command line of a peer, or an exception that says what is not there. peer#1 is one more process of peer."""
        peer = peer.split("#")[0]
        if peer in LIBRARIES:
            path = library_path(LIBRARIES[peer])
            if path is None:
                raise FileNotFoundError(f"lib{LIBRARIES[peer][0]} is not installed")
            return [self.program("blas_worker"), path]
        if peer in ("qat", "eigen", "model"):
            return [self.program(f"{peer}_worker")]
        if peer in ("ggml", "onnx", "torch"):
            return [self.torch_python if peer == "torch" else self.python, os.path.join(HERE, f"{peer}_worker.py")]
        raise FileNotFoundError(PACKAGES.get(peer, "no such peer"))

    def get(self, peer, threads=1):
        """The worker, or None if it cannot be had: missing[peer] then says why."""
        key = (peer, threads)
        if peer in self.missing:
            return None
        if key not in self.running:
            try:
                worker = Worker(self.command(peer), threads)
                self.running[key] = worker
                reply = worker.ask("version")
                if "version" not in reply:
                    raise Gone(reply.get("missing") or reply.get("error"))
                self.versions[peer] = reply["version"]
            except (FileNotFoundError, Gone) as error:
                self.missing[peer] = str(error)
                return None
        return self.running[key]

    def ask(self, peer, line, threads=1):
        """The reply to a request; {"missing": why} if the peer cannot be had."""
        worker = self.get(peer, threads)
        if worker is None:
            return {"missing": self.missing[peer], "peer": True}
        try:
            return worker.ask(line)
        except Gone as error:
            self.running.pop((peer, threads), None)
            self.missing[peer] = str(error)
            return {"missing": str(error), "peer": True}

    def forget(self):
        """Frees what the workers prepared."""
        for key in list(self.running):
            self.ask(key[0], "forget", key[1])

    def close(self):
        for worker in self.running.values():
            worker.close()
        self.running = {}
