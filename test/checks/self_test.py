#!/usr/bin/env python3
"""The checks are checked: each is run on a small tree with one planted violation, which it must report, and without, where it
must be silent."""
import os
import shutil
import sys
import tempfile

import budgets
import common
import compile_fail
import headers
import layers
import machine_code
import rules

sys.path.insert(0, os.path.join(common.ROOT, "test"))
import run_tests  # noqa: E402

CLEAN = {
    "include/qat/base/config.hpp": "// Language.\n#pragma once\n#define QAT_X 1\n",
    "include/qat/tensor/view.hpp": '// Views.\n#pragma once\n#include <cstddef>\n#include "qat/base/config.hpp"\n',
    "include/qat/kernels/cpu/scale-inl.hpp": "// Text.\n",
    "include/qat/io/json.hpp": '// JSON.\n#pragma once\n#include "qat/tensor/view.hpp"\n',
    "include/qat/version.hpp": "// V.\n#pragma once\n#define QAT_VERSION_MAJOR 0\n#define QAT_VERSION_MINOR 1\n#define QAT_VERSION_PATCH 0\n",
    "test/unit/base/config_test.cpp": "", "test/unit/tensor/view_test.cpp": "", "test/unit/io/json_test.cpp": "",
    "test/unit/version_test.cpp": "", "test/consistency/kernel_entries.hpp": "kernels::listed(b);",
    "test/meson.build": "'unit/base/config_test.cpp' 'unit/tensor/view_test.cpp' 'unit/io/json_test.cpp' 'unit/version_test.cpp'",
    "test/checks/rules.py": "", "kernels/instances.cpp": "", "bench/meson.build": "", "examples/meson.build": "", "meson.build": "project(version: '0.1.0')",
}


def found(change):
    """Everything the text checks report on CLEAN with `change` applied, as one string."""
    root = tempfile.mkdtemp(prefix="qat-checks-")
    try:
        for name, text in {**CLEAN, **change}.items():
            if text is not None:
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w") as file:
                    file.write(text)
        reported = [p for group in layers.problems_of(root) for p in group]
        for rule, problems in rules.header_problems(root).items():
            reported += [f"{rule}: {p}" for p in problems]
        reported += rules.missing_tests(root) + rules.unlisted(root) + rules.version_problems(root)
        reported += rules.entries_without_laws(root) + rules.kernels_not_compiled(root)
        for group in rules.text_problems(root, rules.committed_files(root)):
            reported += group
        return "\n".join(reported)
    finally:
        shutil.rmtree(root)


def header(body):
    return "// Planted.\n#pragma once\n" + body


PLANTED = [
    ("an upward include", {"include/qat/base/config.hpp": header('#include "qat/tensor/view.hpp"\n')}, "layer 0"),
    ("a same-layer include not in the table", {"include/qat/quant/a.hpp": header('#include "qat/tensor/view.hpp"\n')}, "(tensor, layer 2)"),
    ("a kernel that sees tensors", {"include/qat/kernels/a.hpp": header('#include "qat/tensor/view.hpp"\n')}, "raw pointers"),
    ("an umbrella included from a layer", {"include/qat/qat.hpp": header(""),
                                           "include/qat/io/json.hpp": header('#include "qat/qat.hpp"\n')}, "umbrella"),
    ("a folder outside the table", {"include/qat/misc/a.hpp": header("")}, "'misc'"),
    ("an include of nothing", {"include/qat/io/json.hpp": header('#include "qat/io/gone.hpp"\n')}, "does not exist"),
    ("a cycle", {"include/qat/io/a.hpp": header('#include "qat/io/json.hpp"\n'),
                 "include/qat/io/json.hpp": header('#include "qat/io/a.hpp"\n')}, " -> "),
    ("JSON in a low layer", {"include/qat/tensor/view.hpp": header("#include <nlohmann/json.hpp>\n")}, "nlohmann"),
    ("a heavy standard header", {"include/qat/tensor/view.hpp": header("#include <iostream>\n")}, "too heavy"),
    ("an include in an -inl file", {"include/qat/kernels/cpu/scale-inl.hpp": "// T.\n#include <cmath>\n"}, "-inl.hpp"),
    ("using namespace", {"include/qat/io/json.hpp": header("using namespace std;\n")}, "using namespace"),
    ("a long header", {"include/qat/io/json.hpp": header("\n" * 600)}, "500 lines"),
    ("no opening comment", {"include/qat/io/json.hpp": "#pragma once\n"}, "starts with a comment"),
    ("no #pragma once", {"include/qat/io/json.hpp": "// J.\n"}, "#pragma once"),
    ("a foreign macro", {"include/qat/io/json.hpp": header("#define CHECK 1\n")}, "CHECK"),
    ("an empty static_assert message", {"include/qat/io/json.hpp": header('static_assert(sizeof(int) == 4, "");\n')}, "static_assert"),
    ("a kernel entry without laws", {"include/qat/kernels/cpu/a.hpp": header(
        "inline void listed(const CpuBackend& b) {}\ntemplate <class D>\nindex_t planted(const CpuBackend& b,\n")}, "a.hpp: planted"),
    ("instances that are not compiled", {"include/qat/kernels/cpu/a.hpp": header("QAT_INSTANCE(void f<void>());\n")}, "kernels/cpu/a.hpp"),
    ("a header without a test", {"test/unit/io/json_test.cpp": None}, "no test/unit/io/json_test.cpp"),
    ("a test in no list", {"test/unit/io/other_test.cpp": ""}, "test/unit/io/other_test.cpp is not in"),
    ("an example in no list", {"examples/01_a.cpp": ""}, "examples/01_a.cpp is not in"),
    ("a path of a machine", {"README.md": "see /ho" "me/somebody/x"}, "README.md:1"),
    ("unfinished work", {"include/qat/io/json.hpp": header("// TO" "DO: write\n")}, "json.hpp:3"),
    ("two versions", {"meson.build": "project(version: '0.2.0')"}, "0.2.0"),
]


def compile_problems(text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "case.cpp")
        with open(path, "w") as file:
            file.write(text)
        return [p for c in common.compilers() for p in compile_fail.problems_of(path, c, folder)]


def header_problem(text, poisoned):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "planted.hpp"), "w") as file:
            file.write(text)
        flags = ["-include", os.path.join(common.ROOT, "test", "checks", "poison.hpp")] if poisoned else []
        return [s for s in (headers.compile_alone(c, folder, ["planted.hpp"], flags) for c in common.compilers()) if s]


KERNEL = """#include "qat/kernels/cuda/launch.cuh"
namespace qat::inline v0::cuda {
struct Planted {
  static constexpr int kThreads = 256, kMinBlocks = 8;
  const float* x; float* y; int n;
  template <class Context> QAT_HOST_DEVICE void operator()(const Context& c) const {
    BODY
  }
};
template __global__ void run_kernel<Planted>(const __grid_constant__ Planted);
}
"""
COPY = """const unsigned i = 4 * (c.block() * 256 + c.thread());
    c.store(reinterpret_cast<Bytes16*>(y + i), c.load(reinterpret_cast<const Bytes16*>(x + i)));"""
PLANTED_CODE = [  # a kernel's body, and what its report says; a budget of 32 registers, 2 wide accesses, no narrow ones
    ("a copy in 16 bytes passes", COPY, ""),
    ("a copy in 4 bytes is reported", "const unsigned i = c.block() * 256 + c.thread(); c.store(y + i, c.load(x + i));", "of less than 16 bytes"),
    ("a spill is reported", COPY + """
    float v[96];
    #pragma unroll
    for (int k = 0; k < 96; ++k) v[k] = c.load(x + k * n);
    c.sync();
    #pragma unroll
    for (int k = 0; k < 96; ++k) c.store(y + k * n, v[95 - k] * v[(k * 7) % 96]);""", "spills of"),
    ("an array in memory is reported", COPY + """
    float v[64] = {};
    for (int k = 0; k < n; ++k) v[k * k % 64] += c.load(x + k);
    c.store(y, v[n % 64]);""", "a stack of"),
]
# Products and sums, in order: the second may be fused.
CONTRACTED = "const unsigned i = c.thread(); c.store(y + i, c.add(c.mul(c.load(x), c.load(x + 1)), c.load(x + 2)));"


def check_machine_code(report):
    said = machine_code.ptxas_report("ptxas info    : Compiling entry function '_Z1fv' for 'sm_90a'\n"
                                     "    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
                                     "ptxas info    : Used 32 registers, used 1 barriers, 256 bytes smem\n")
    expected = {"_Z1fv": dict(registers=32, stack=16, spills=20, shared=256)}
    report.check("self_test: machine_code: ptxas's report is read", [] if said == expected else [f"{said}"])
    kernels = machine_code.kernels_in("struct A {\n  int n;\n};\ntemplate <class T>\nstruct B : A {\n  void operator()(const Context& c) const {\n")
    report.check("self_test: machine_code: kernels of a header are found", [] if kernels == ["B"] else [f"{kernels}"])
    nvcc = machine_code.find_nvcc()
    if nvcc is None:
        for name in [name for name, _, _ in PLANTED_CODE] + ["contraction is reported"]:
            report.skip(f"self_test: machine_code: {name}", "nvcc not found")
        return
    budget = dict(registers=32, wide=2, narrow=0)
    with tempfile.TemporaryDirectory() as folder:
        def compiled(body, flags=()):
            source = os.path.join(folder, f"planted{len(os.listdir(folder))}.cu")
            with open(source, "w") as file:
                file.write(KERNEL.replace("BODY", body))
            return machine_code.compile_to(folder, nvcc, "sm_90a", source, flags)

        for name, body, expected in PLANTED_CODE:
            said, code = compiled(body)
            problems = ["it does not compile", said] if code is None else []
            for raw, (operations, _) in (code or {}).items():
                problems += machine_code.problems_of("Planted", machine_code.ptxas_report(said)[raw], operations, budget, "sm_90a")
            good = expected in "\n".join(problems) if expected else not problems
            report.check(f"self_test: machine_code: {name}", [] if good else problems or ["nothing reported"])
        problems = []
        for body, contracts in [(CONTRACTED, False), (CONTRACTED.replace("c.add(c.mul(", "((").replace("x + 1)), ", "x + 1)) + ").replace("(c.load(x), c", "(c.load(x) * c"), True)]:
            fused, plain = compiled(body)[1], compiled(body, ("-fmad=false",))[1]
            if fused is None or plain is None:
                problems.append("it does not compile")
            elif bool(machine_code.contraction_problems(fused, plain, {}, machine_code.short_names(sorted(fused)))) != contracts:
                problems.append(f"contraction of {body}: {not contracts}")
        report.check("self_test: machine_code: contraction is reported", problems)


def main():
    report = common.Report()
    check_machine_code(report)
    silent = found({})
    report.check("self_test: a clean tree gives no report", [silent] if silent else [])
    for name, change, expected in PLANTED:
        text = found(change)
        report.check(f"self_test: {name} is reported", [] if expected in text else [f"expected '{expected}' in '{text}'"])

    good = "// expect: deliberate\n#ifdef QAT_SHOULD_FAIL\n#error deliberate\n#endif\n"
    many = len(common.compilers())
    for name, text, count in [("a two-sided file passes", good, 0),
                              ("a file that never compiles is reported", good + "#error always\n", many),
                              ("a file that never fails is reported", good.replace("#error deliberate", ""), many),
                              ("a wrong message is reported", good.replace("#error deliberate", "#error other"), many),
                              ("a file without expectation is reported", good.replace("expect", "hope"), many)]:
        problems = compile_problems(text)
        report.check(f"self_test: compile_fail: {name}", [] if bool(problems) == (count > 0) else problems or ["nothing reported"])

    for name, text, poisoned, bad in [("a complete header passes", "#pragma once\n#include <vector>\ninline std::vector<int> x;\n", False, 0),
                                      ("a header that lacks an include is reported", "#pragma once\ninline std::vector<int> x;\n", False, many),
                                      ("a header without guard is reported", "struct A {};\n", False, many),
                                      ("std::min( is reported under poison", "#pragma once\ninline int f(int a) { return std::min(a, 1); }\n", True, many),
                                      ("a parameter named I is reported under poison", "#pragma once\ntemplate <int I> struct A {};\n", True, many)]:
        said = header_problem(text, poisoned)
        report.check(f"self_test: headers: {name}", [] if len(said) == bad else [f"{len(said)} of {many} compilers objected"] + said)

    for name, text, bad in [("a budget", "lines qat.hpp 5 # why\n", False), ("an unknown measure", "bytes qat.hpp 5\n", True)]:
        try:
            budgets.budgets(text)
            raised = False
        except ValueError:
            raised = True
        report.check(f"self_test: budgets: {name}", [] if raised == bad else [f"raised: {raised}"])

    for name, output, code, expected in [
            ("a summary is added as it is", "[qat-test] 3 passed, 0 failed, 1 skipped\n", 0, (3, 0, 1)),
            ("a crash after a good summary fails", "[qat-test] 3 passed, 0 failed, 0 skipped\n", -11, (3, 1, 0)),
            ("a crash before the summary fails", "SKIPPED: a (b)\n", -6, (0, 1, 1)),
            ("no case is a failure", "[qat-test] 0 passed, 0 failed, 0 skipped\n", 0, (0, 1, 0)),
            ("lines are counted", "PASSED: a\nFAILED: b\nSKIPPED: c (d)\n", 1, (1, 1, 1)),
            ("silence and 0 is a pass", "", 0, (1, 0, 0)), ("77 is a skip", "", 77, (0, 0, 1)), ("2 is a failure", "", 2, (0, 1, 0))]:
        counts = run_tests.count(output, code)
        report.check(f"self_test: counting: {name}", [] if counts == expected else [f"{counts}, expected {expected}"])
    report.finish()


if __name__ == "__main__":
    main()
