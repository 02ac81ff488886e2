#!/usr/bin/env python3
"""examples/cuda/ as their users build them: one .cu file with only -I include, Thrust over packed views, a g++ program that links
the instances. Without nvcc those builds are skipped, each counted; a C++ compiler builds the same files for the emulator (and
Thrust for its own CPU system) and runs them either way. Without a GPU a program must say so and exit 2; instances linked with a
stand-in for the CUDA runtime say what it refuses. The kernel that docs/cuda.md adds compiles too, and its test passes."""
import os
import re
import sys
import tempfile

import common

sys.path.insert(0, os.path.join(common.ROOT, "bench", "gpu"))
import build  # noqa: E402

EXAMPLES = os.path.join(common.ROOT, "examples", "cuda")
INCLUDE = ["-I", os.path.join(common.ROOT, "include")]
INSTANCES = [os.path.join(common.ROOT, "kernels", "cuda", name) for name in ("device.cu", "fake_quantize.cu")]
EMULATED = ["g++", "-std=c++20", "-O0", "-Wall", "-Wextra", *INCLUDE, "-I", os.path.join(common.ROOT, "test", "emulation"),
            '-DQAT_CUDA_EMULATION="cuda.hpp"']


def steps(commands):
    """Runs commands until one fails or says anything, which a warning would be; what it said, else []."""
    for command in commands:
        code, output = common.run(command)
        if code != 0 or output.strip():
            return [f"{' '.join(command)} exited with {code}:"] + output.splitlines()[:20]
    return []


def ran(program, accepts_no_gpu):
    """[] when the program found the right bits, or (where that is accepted) said in one line why there is no GPU."""
    code, output = common.run([program])
    if code == 0:
        return []
    lines = output.strip().splitlines()
    if accepts_no_gpu and code == 2 and len(lines) == 1 and lines[0].startswith(os.path.basename(program) + ": "):
        print(f"  {lines[0]}")
        return []
    return [f"exited with {code}:"] + lines[:20]


def objects(command, folder, sources):
    """Commands that compile each source, and the objects they make."""
    made = [os.path.join(folder, os.path.basename(s) + ".o") for s in sources]
    return [[*command, "-c", s, "-o", o] for s, o in zip(sources, made)], made


def emulated(folder):
    """(name, commands, program) of what runs on any machine."""
    one = os.path.join(folder, "one_file")
    linked = os.path.join(folder, "linked")
    compile_instances, made = objects([*EMULATED, "-x", "c++"], folder, INSTANCES)
    yield "one_file.cu (emulated)", [[*EMULATED, "-x", "c++", os.path.join(EXAMPLES, "one_file.cu"), "-o", one, "-lpthread"]], one
    yield ("linked.cpp (emulated)",
           compile_instances + [[*EMULATED, os.path.join(EXAMPLES, "linked.cpp"), *made, "-o", linked, "-lpthread"]], linked)


def with_nvcc(folder, nvcc, toolkit):
    folder = os.path.join(folder, "nvcc")
    os.mkdir(folder)
    flags = [nvcc, "-std=c++20", *INCLUDE, "-gencode=arch=compute_90,code=sm_90"]
    for name in ("one_file", "thrust_packed"):
        program = os.path.join(folder, name)
        yield name + ".cu (nvcc)", [[*flags, os.path.join(EXAMPLES, name + ".cu"), "-o", program]], program
    linked = os.path.join(folder, "linked")
    # gemm.cu is not of the example: it shows that cuBLASLt links. Nothing is timed here, so nvcc need not try hard.
    cublas_include, cublas = build.find_cublas(toolkit)
    compile_instances, made = objects([*flags, *cublas_include, "-Xcicc", "-O1", "-Xptxas", "-O1"], folder,
                                      [*INSTANCES, os.path.join(common.ROOT, "kernels", "cuda", "gemm.cu")])
    yield ("linked.cpp (g++, instances by nvcc)",
           compile_instances + [["g++", "-std=c++20", "-Wall", "-Wextra", *INCLUDE, os.path.join(EXAMPLES, "linked.cpp"), *made, *cublas, "-L",
                                 build.library_folder(toolkit), "-lcudart_static", "-lpthread", "-ldl", "-lrt", "-o", linked]], linked)


def thrust_on_cpu(folder, toolkit):
    system = [flag for sub in ("cccl", "") for flag in ("-isystem", os.path.join(toolkit, "include", sub))]
    program = os.path.join(folder, "thrust_packed")
    return [["g++", "-std=c++20", "-Wall", "-Wextra", *INCLUDE, *system, "-DTHRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP", "-x", "c++",
             os.path.join(EXAMPLES, "thrust_packed.cu"), "-o", program]], program


def stand_in(folder, toolkit):
    """The test of what is said about a runtime that refuses, linked with the instances that with_nvcc() has left in the folder."""
    program = os.path.join(folder, "cuda_runtime_test")
    made = [os.path.join(folder, "nvcc", os.path.basename(s) + ".o") for s in INSTANCES]
    return [["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", *INCLUDE, "-I", os.path.join(common.ROOT, "test"), "-isystem",
             os.path.join(toolkit, "include"), os.path.join(common.ROOT, "test", "emulation", "cuda_runtime.cpp"),
             os.path.join(common.ROOT, "test", "main.cpp"), *made, "-o", program]], program


def documented(folder):
    """The files in docs/cuda.md, code blocks that begin with their path; the commands that build their test, and the program."""
    text = common.read(os.path.join(common.ROOT, "docs", "cuda.md"))
    tests = []
    for path, code in re.findall(r"```cpp\n// ((?:include|test)/\S+)\n(.*?)```", text, re.S):
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "w") as file:
            file.write(code)
        tests += [os.path.join(folder, path)] if path.endswith("_test.cpp") else []
    program = os.path.join(folder, "documented")
    return [[*EMULATED, "-Wshadow", "-Werror", "-I", os.path.join(folder, "include"), "-I", os.path.join(common.ROOT, "test"), *tests,
             os.path.join(common.ROOT, "test", "main.cpp"), "-o", program, "-lpthread"]], program, len(tests)


def main():
    report = common.Report()
    with tempfile.TemporaryDirectory() as folder:
        work = [(name, commands, program, False) for name, commands, program in emulated(folder)]
        commands, program, tests = documented(folder)
        report.check("cuda_examples: docs/cuda.md has a kernel with its test", [] if tests else ["no code block begins with its path"])
        work.append(("the kernel of docs/cuda.md (emulated)", commands, program, False))
        toolkit = None
        try:
            nvcc = build.find_nvcc()
            toolkit = build.toolkit_of(nvcc)
            commands, program = thrust_on_cpu(folder, toolkit)
            work.append(("thrust_packed.cu (Thrust on the CPU)", commands, program, False))
            work += [(name, commands, program, True) for name, commands, program in with_nvcc(folder, nvcc, toolkit)]
        except build.BuildError as error:
            for name in ("one_file.cu", "thrust_packed.cu", "linked.cpp"):
                report.skip(f"cuda_examples: {name}", str(error).splitlines()[0])
        results = common.parallel(lambda w: steps(w[1]) or ran(w[2], w[3]), work)
        for (name, _, _, _), problems in zip(work, results):
            report.check(f"cuda_examples: {name}", problems)
        name = "cuda_examples: what the CUDA runtime refuses is an error that says what to do (stand-in)"
        if toolkit is None:
            report.skip(name, "nvcc not found")
        else:
            commands, program = stand_in(folder, toolkit)
            report.check(name, steps(commands) or ran(program, False))
    report.finish()


if __name__ == "__main__":
    main()
