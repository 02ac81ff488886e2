#!/usr/bin/env python3
"""`./dev gpu` on a machine without a GPU: kernels, C interface, check program and driver built for the emulator and run."""
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import common

DRIVER = os.path.join(common.ROOT, "bench", "gpu", "run_gpu.py")


def pointer_problems(path):
    """The C interface refuses what no kernel can read, and goes on."""
    sys.path.insert(0, os.path.join(common.ROOT, "bench", "gpu"))
    import device as devices
    import library as libraries
    library = libraries.Library(path)
    device = devices.EmulatedDevice(library)
    x, y = device.array((4, 32), "float32"), device.array((4, 32), "float32", "empty")
    host = ctypes.create_string_buffer(512)

    def said(source, target, rows=4):
        try:
            library.fake_quantize(ctypes.byref(device.backend()), b"int4:group32:symmetric", 0, source, rows, 32, target, None, None, None)
        except libraries.QatError as error:
            return str(error)
        return "nothing"
    problems = [f"expected '{wanted}', found '{found}'" for wanted, found in (
        ("x points to memory of the host; accepted: memory of the GPU", said(ctypes.addressof(host), y.pointer)),
        ("fake_quantize: y is null", said(x.pointer, None)),
        ("fake_quantize: x is not aligned to 4 bytes", said(x.pointer + 2, y.pointer, 3)), ("nothing", said(x.pointer, y.pointer))) if wanted not in found]
    device.release()
    return problems


def link_qat_llm(library, target):
    """qat-llm as `meson -Dcuda=emulated` links it: the object of the program here, with the emulated kernels. What failed, or []."""
    program = os.environ["QAT_LLM"]
    include = ["-I", os.path.join(common.ROOT, "include"), "-DQAT_COMPILED_KERNELS"]
    libraries = subprocess.run(["pkg-config", "--libs", "yaml-cpp", "sentencepiece"], capture_output=True, text=True).stdout.split()
    build = os.path.dirname(os.path.dirname(os.path.dirname(program)))
    objects = [target + ".o", os.path.join(os.path.dirname(program), "qat-llm.p", "qat_llm.cpp.o"), os.path.join(build, "libqat_kernels.a")]
    for command in (["g++", "-std=c++20", "-O1", *include, "-c", os.path.join(common.ROOT, "examples", "llm", "gpu_cuda.cpp"), "-o", objects[0]],
                    ["g++", "-o", target, *objects, library, "-Wl,-rpath," + os.path.dirname(library), *libraries, "-lpthread"]):
        code, said = common.run(command)
        if code != 0:
            return said.splitlines()[:20]
    return []


def check_qat_llm(report, library, scratch):
    """qat-llm --device cuda on the emulator: a run has the CPU's losses, goes on after a checkpoint to the bit, and is scored."""
    if "QAT_LLM" not in os.environ:
        report.skip("gpu rehearsal: qat-llm --device cuda", "qat-llm is not built")
        return
    emulated = os.path.join(scratch, "qat-llm-emulated")
    problems = link_qat_llm(library, emulated)
    report.check("gpu rehearsal: qat-llm links the kernels", problems)
    if problems:
        return
    sys.path.insert(0, os.path.join(common.ROOT, "test", "cli"))
    import tiny
    model, text = tiny.make(scratch)
    scored = os.path.join(scratch, "scored.txt")  # little: everything is a thousand times slower
    tiny.write_text(scored, documents=2)
    tiny.QAT_LLM = emulated

    def train(name, device, *more):
        path = os.path.join(scratch, name + ".json")
        code, _, errors = tiny.run("train", "--model", model, "--train-data", text, "--seq-length", "16", "--batch", "2", "--steps", "4",
                                   "--warmup", "0", "--scheme", "8da4w:group16", "--device", device, "--json", path, *more)
        if code != 0:
            raise RuntimeError(errors)
        return tiny.load(path)

    try:
        gpu, cpu = train("gpu", "cuda"), train("cpu", "cpu")
        losses = [[step["loss"] for step in run["steps"]] for run in (gpu, cpu)]
        # bfloat16 rounds at 2^-9, some twenty times on the way through the block and back
        report.check("gpu rehearsal: qat-llm train --device cuda has the CPU's losses",
                     [] if len(losses[0]) == 4 and all(abs(a - b) < 0.02 * b for a, b in zip(*losses)) else [str(losses)])
        run = os.path.join(scratch, "run")
        part = ["--output-dir", run, "--checkpoint-every", "2", "--keep-last", "0"]
        train("whole", "cuda", *part, "--data", scored, "--length", "16", "--set", "trainer.val_windows=2", "--validate-every", "2")
        shutil.rmtree(os.path.join(run, "checkpoints", "step-000004"), ignore_errors=True)
        resumed = train("resumed", "cuda", *part, "--resume")
        report.check("gpu rehearsal: qat-llm train --resume goes on to the bit",
                     [] if [step["loss"] for step in resumed["steps"]] == losses[0][2:] else [str(resumed["steps"]), str(losses[0])])
        code, _, errors = tiny.run("train", "--model", model, "--train-data", text, "--seq-length", "16", "--device", "cpu", "--batch", "2",
                                   "--steps", "4", "--warmup", "0", "--scheme", "8da4w:group16", *part, "--resume")
        report.check("gpu rehearsal: a run does not go on on another device", [] if code == 2 and "device" in errors else [errors])
        scores = []
        for device in ("cuda", "cpu"):
            path = os.path.join(scratch, "scores.json")
            code, _, errors = tiny.run("eval", "--model", os.path.join(run, "packed"), "--data", scored, "--length", "16", "--device", device,
                                       "--json", path)
            scores.append(tiny.load(path)["nats_per_token"] if code == 0 else errors)
        report.check("gpu rehearsal: qat-llm eval --device cuda scores the packed model as the CPU does",
                     [] if not isinstance(scores[0], str) and abs(scores[0] - scores[1]) < 0.02 * scores[1] else [str(scores)])
        files = []
        for device in ("cuda", "cpu"):
            out = os.path.join(scratch, "packed-" + device)
            code, _, errors = tiny.run("quantize", "--model", model, "--scheme", "8da4w:group16", "--device", device, "--out", out)
            files.append(open(os.path.join(out, "model.safetensors"), "rb").read() if code == 0 else errors)
        report.check("gpu rehearsal: qat-llm quantize --device cuda writes the CPU's bytes", [] if files[0] == files[1] else ["other bytes"])
        code, _, errors = tiny.run("train", "--model", model, "--train-data", text, "--seq-length", "16", "--steps", "2", "--device", "cuda",
                                   "--scheme", "8da4w:group16", "--layers", "layers.0.self_attn.q_proj")
        report.check("gpu rehearsal: a scheme that the GPU does not train is named", [] if code == 2 and "k_proj" in errors else [errors])
    except RuntimeError as error:
        report.check("gpu rehearsal: qat-llm --device cuda", [str(error)])


def check_enabled(report, scratch):
    """`meson -Dcuda=enabled` without a GPU: the library and qat-llm link what nvcc makes, say what is missing, and go on on the CPU."""
    name = "gpu rehearsal: kernels by nvcc, cuBLASLt and qat-llm link"
    if not os.environ.get("QAT_TEST_FULL"):
        return  # minutes of nvcc; cuda_examples links a part of it in every run
    sys.path.insert(0, os.path.join(common.ROOT, "bench", "gpu"))
    import build
    try:
        library, _ = build.build(os.path.join(scratch, "enabled"), ("90a",), with_check=False, jobs=common.JOBS)
    except build.BuildError as error:
        if "no nvcc" in str(error) or "no cuBLASLt" in str(error):
            report.skip(name, str(error).splitlines()[0])
        else:
            report.check(name, str(error).splitlines()[:20])
        return
    loaded = ctypes.CDLL(library)
    loaded.qat_last_error.restype = ctypes.c_char_p
    text = ctypes.create_string_buffer(200)
    if loaded.qat_cuda_device(text, len(text)) == 0:
        report.skip(name + " and say what is missing", "there is a GPU: " + text.value.decode())
        return
    said = loaded.qat_last_error().decode()
    report.check("gpu rehearsal: the C interface says why there is no GPU", [] if "--device cpu" in said else [said])
    if "QAT_LLM" not in os.environ:
        report.skip(name, "qat-llm is not built")
        return
    program = os.path.join(scratch, "qat-llm-enabled")
    problems = link_qat_llm(library, program)
    report.check(name, problems)
    if problems:
        return
    sys.path.insert(0, os.path.join(common.ROOT, "test", "cli"))
    import tiny
    model, text = tiny.make(scratch)
    tiny.QAT_LLM = program
    command = ["eval", "--model", model, "--data", text, "--length", "16", "--limit", "2", "--device"]
    (code, _, errors), (auto_code, _, auto_errors) = tiny.run(*command, "cuda"), tiny.run(*command, "auto")
    report.check("gpu rehearsal: qat-llm by nvcc exits with 2 where there is no GPU, and with auto runs on the CPU",
                 [] if code == 2 and "--device cpu" in errors and auto_code == 0 and "runs on the CPU: " in auto_errors
                 else [f"{code}: {errors}", f"{auto_code}: {auto_errors}"])


def main():
    report = common.Report()
    folder = os.path.join(os.environ.get("QAT_BUILD") or os.path.join(common.ROOT, "build"), "gpu-emulated")
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "result.json")
        done = subprocess.run([sys.executable, DRIVER, "--emulated", "--build", folder, "--json", path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        result = json.load(open(path)) if os.path.exists(path) else {}
        if done.returncode == 0:
            report.check("gpu rehearsal: pointers that are not the device's are refused", pointer_problems(os.path.join(folder, "libqat_cuda.so")))
            check_qat_llm(report, os.path.join(folder, "libqat_cuda.so"), scratch)
        check_enabled(report, scratch)
    tail = done.stdout.splitlines()[-30:]
    for line in result.get("check", {}).get("lines", []):
        found = re.match(r"(ok|FAILED)\s+(.*): (\d+) comparisons", line)
        if found and found[1] == "ok" and found[3] == "0":
            report.skip(f"gpu rehearsal: {found[2]}", "needs a GPU")
        elif found:
            report.check(f"gpu rehearsal: {found[2]}", [] if found[1] == "ok" else tail)
    rows = result.get("benchmarks", {}).get("rows", [])
    report.check("gpu rehearsal: every case runs", [row["case"] + ": " + row["error"] for row in rows if "error" in row] or
                 ([] if rows else ["no case ran"]))
    report.check("gpu rehearsal: the driver ends well", [] if done.returncode == 0 and rows else [f"exit code {done.returncode}", *tail])
    without = subprocess.run([sys.executable, DRIVER], capture_output=True, text=True, env=dict(os.environ, PATH="/nowhere"))
    report.check("gpu rehearsal: without a GPU the driver says so", [] if without.returncode != 0 and "no GPU" in without.stderr
                 else [without.stderr[-500:]])
    report.finish()


if __name__ == "__main__":
    main()
