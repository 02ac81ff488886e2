#!/usr/bin/env python3
"""Every public header compiles alone with g++ (and with clang++ in a full run), and all of them inside a program that defines
hostile macros with both. Headers for nvcc (.cuh) compile alone with it, where it is, and with g++ for the emulator. Those of the
top layer, which take seconds each, compile alone in a full run only, and always in reverse order: each before those it follows."""
import os
import tempfile

import common
import machine_code

# The umbrella itself; what kernels are written in; needs cuBLASLt.
NOT_IN_UMBRELLAS = {"qat/cuda", "qat/kernels/cuda/context", "qat/kernels/cuda/gemm"}
TOP_LAYER = "qat/recipe/"
EMULATION = ['-DQAT_CUDA_EMULATION="cuda.hpp"', "-I", os.path.join(common.ROOT, "test", "emulation")]


def compile_alone(compiler, include, headers, flags=()):
    """'' when a file that includes nothing but `headers`, twice, compiles; else what the compiler said."""
    text = "".join(f'#include "{header}"\n' for header in headers) * 2
    code, output = common.run([compiler, *common.WARNINGS, *flags, "-fsyntax-only", "-I", include, "-x", "c++", "-"], text)
    return "" if code == 0 else "\n  ".join(output.splitlines()[:8])


def compile_with_nvcc(nvcc, include, header):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "alone.cu")
        with open(source, "w") as file:
            file.write(f'#include "{header}"\n#include "{header}"\n')
        code, output = common.run([nvcc, "-std=c++20", "-gencode=arch=compute_90a,code=sm_90a", "-cubin", "-Werror", "all-warnings",
                                   "-I", include, source, "-o", os.path.join(folder, "alone.cubin")])
    return "" if code == 0 else "\n  ".join(output.splitlines()[:8])


def left_out(root):
    """Operations, which have a NAME.hpp and a NAME.cuh, that the umbrellas of CUDA do not include."""
    found = common.headers(root)
    texts = {end: common.read(os.path.join(root, "include", "qat", "cuda" + end)) for end in (".hpp", ".cuh")}
    return [f"qat/cuda{end} does not include {name}{end}" for name in sorted(h[:-4] for h in found if h.endswith(".cuh") and h[:-4] + ".hpp" in found)
            for end, text in texts.items() if name not in NOT_IN_UMBRELLAS and f'"{name}{end}"' not in text]


def main():
    report = common.Report()
    include = os.path.join(common.ROOT, "include")
    headers = [h for h in common.headers() if h.endswith(".hpp")]
    poison = os.path.join(common.ROOT, "test", "checks", "poison.hpp")
    full = bool(os.environ.get("QAT_TEST_FULL"))
    alone = [c for c in common.compilers() if c == "g++" or full]
    top = [h for h in headers if h.startswith(TOP_LAYER)]
    pairs = [(c, [h]) for c in alone for h in headers if full or h not in top]
    if not full:
        report.skip(f"headers: {len(top)} of {TOP_LAYER} alone", "only with --full")
        pairs += [(c, top[::-1]) for c in alone]
    broken = set()
    for (compiler, together), said in zip(pairs, common.parallel(lambda p: compile_alone(p[0], include, p[1]), pairs)):
        if said:
            broken.update(together)
        name = f"{together[0]} alone" if len(together) == 1 else f"{TOP_LAYER} in reverse order"
        report.check(f"headers: {name} ({compiler})", [said] if said else [])

    device = [h for h in common.headers() if h.endswith(".cuh")]
    pairs = [(c, h) for c in alone for h in device]
    for (compiler, header), said in zip(pairs, common.parallel(lambda p: compile_alone(p[0], include, [p[1]], EMULATION), pairs)):
        report.check(f"headers: {header} alone, emulated ({compiler})", [said] if said else [])
    report.check("headers: qat/cuda.hpp and qat/cuda.cuh include every operation", left_out(common.ROOT))
    nvcc = machine_code.find_nvcc()
    if nvcc is None:
        for header in device:
            report.skip(f"headers: {header} alone (nvcc)", "nvcc not found")
    else:
        for header, said in zip(device, common.parallel(lambda h: compile_with_nvcc(nvcc, include, h), device)):
            report.check(f"headers: {header} alone (nvcc)", [said] if said else [])

    for compiler in common.compilers():
        text = "".join(f'#include "{h}"\n' for h in headers if h not in broken)
        redefined = "-Wno-macro-redefined" if "clang" in compiler else "-Wno-builtin-macro-redefined"
        code, output = common.run([compiler, *common.WARNINGS, redefined, "-fsyntax-only", "-I", include, "-include", poison, "-x", "c++", "-"],
                                  text)
        errors = [line for line in output.splitlines() if "error:" in line]
        report.check(f"headers: all with poison macros ({compiler})", (errors or ["all together"]) if code != 0 else [])
    report.finish()


if __name__ == "__main__":
    main()
