#!/usr/bin/env python3
"""Rules of the text of headers and committed files that a script can check."""
import os
import re
import subprocess

import common

LONG_HEADERS = {  # header below include/ -> why it may exceed 500 lines
    "qat/kernels/cpu/quantize-inl.hpp": "one kernel text: ranges, parameters and codes share registers, and it may include nothing",
}
# Headers without a test of the same path: header -> the file below test/ that tests it instead.
NO_OWN_TEST = {
    "qat.hpp": "checks/headers.py", "quant.hpp": "checks/headers.py", "train.hpp": "checks/headers.py",  # umbrellas
    "cuda.hpp": "checks/headers.py",
    "version.hpp": "checks/rules.py",
    "recipe/path_summary.hpp": "cli/inspect_test.py",
    "autodiff/functions.hpp": "unit/autodiff/tape_test.cpp",
    "autodiff/variable.hpp": "unit/autodiff/tape_test.cpp",
    "expr/assignment.hpp": "unit/expr/assign_test.cpp",
    "kernels/cpu/attention.hpp": "unit/ops/attention_test.cpp",
    "kernels/cpu/elementwise.hpp": "unit/ops/activation_test.cpp",
    "nn/cuda_llama_memory.hpp": "unit/nn/cuda_llama_test.cpp", "nn/cuda_llama_options.hpp": "unit/nn/cuda_llama_test.cpp",
    "kernels/cuda/affine_vector.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/cuda/attention_backward.hpp": "unit/cuda/attention_test.cpp",
    "kernels/cuda/attention_forward.hpp": "unit/cuda/attention_test.cpp",
    "kernels/cuda/attention_order.hpp": "unit/cuda/attention_test.cpp",
    "backend/cuda.hpp": "unit/cuda/emulator_test.cpp",
    "data/vocabulary.hpp": "unit/data/gguf_vocabulary_test.cpp",
    "base/bit_cast.hpp": "unit/numeric/bfloat16_test.cpp",
    "kernels/cuda/context.hpp": "unit/cuda/emulator_test.cpp",
    "kernels/cuda/device.hpp": "gpu/device_check.cpp",
    "kernels/cuda/launch.hpp": "unit/cuda/emulator_test.cpp",
    "kernels/cuda/elements.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/cuda/group_range.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/cuda/quantize_any.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/cuda/quantize_launch.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/cuda/scaled_float_vector.hpp": "unit/cuda/scaled_float_test.cpp",
    "kernels/cuda/quantize_vectors.hpp": "unit/cuda/fake_quantize_test.cpp",
    "kernels/adamw_factors.hpp": "unit/optim/optimizer_test.cpp",
    "kernels/lsq_gradient_scale.hpp": "unit/kernels/lsq_test.cpp",
    "kernels/cuda/adamw_view.hpp": "unit/cuda/adamw_test.cpp",
    "kernels/cuda/adamw_plan.hpp": "unit/cuda/adamw_test.cpp",
    "kernels/cuda/column_sums.hpp": "unit/cuda/rmsnorm_test.cpp",
    "kernels/cuda/quantized_output.hpp": "unit/cuda/rmsnorm_test.cpp",
    "kernels/cuda/reduce.hpp": "unit/cuda/adamw_test.cpp",
    "kernels/cuda/row.hpp": "unit/cuda/rmsnorm_test.cpp",
    "kernels/cuda/int4_launch.hpp": "unit/cuda/w4a16_gemm_test.cpp",
    "kernels/cuda/w4a8_form.hpp": "unit/cuda/w4a8_gemm_test.cpp",
    "kernels/cuda/w4a16_form.hpp": "unit/cuda/w4a16_gemm_test.cpp",
    "kernels/cuda/int4_operands.hpp": "unit/cuda/w4a16_gemm_test.cpp",
    "kernels/cuda/w4a16_stream.hpp": "unit/cuda/w4a16_gemm_test.cpp",
    "kernels/cuda/int4_tiles.hpp": "unit/cuda/w4a16_gemm_test.cpp",
    "kernels/cuda/gemm.hpp": "gpu/gemm_check.cpp",
    "kernels/cuda/lanes.hpp": "unit/kernels/group_quantize_test.cpp",
    "kernels/cpu/int8_dot.hpp": "unit/kernels/qgemm_test.cpp",
    "kernels/cpu/gemm_epilogue.hpp": "unit/ops/packed_gemm_test.cpp",
    "kernels/cpu/optimizer.hpp": "unit/optim/optimizer_test.cpp",
    "kernels/cpu/layernorm.hpp": "unit/ops/layernorm_test.cpp",
    "kernels/cpu/rmsnorm.hpp": "unit/ops/rmsnorm_test.cpp",
    "kernels/cpu/row_sums.hpp": "unit/ops/linear_test.cpp",
    "kernels/cpu/rope.hpp": "unit/ops/rope_test.cpp",
    "kernels/cpu/softmax_cross_entropy.hpp": "unit/ops/softmax_cross_entropy_test.cpp",
    "simd/region.hpp": "unit/simd/target_test.cpp",
    "kernels/cpu/tuning.hpp": "unit/kernels/tuning_test.cpp",
    "nn/attention.hpp": "unit/nn/transformer_test.cpp",
    "nn/embedding.hpp": "unit/nn/transformer_test.cpp",
    "nn/linear.hpp": "unit/nn/transformer_test.cpp",
    "nn/llama_config.hpp": "unit/nn/transformer_test.cpp",
    "nn/mlp.hpp": "unit/nn/transformer_test.cpp",
    "nn/packed_linear.hpp": "unit/nn/prepared_linear_test.cpp",
    "nn/norm.hpp": "unit/nn/transformer_test.cpp",
    "io/hf_architectures.hpp": "unit/io/hf_llama_test.cpp",
    "kernels/activation_kind.hpp": "unit/ops/activation_test.cpp",
    "ops/device_destination.hpp": "unit/ops/assign_test.cpp",
    "ops/device_form.hpp": "unit/ops/assign_test.cpp",
    "ops/device_quantize.hpp": "unit/ops/assign_test.cpp",
    "ops/dequantize.hpp": "unit/ops/fake_quantize_test.cpp",
    "ops/quantize.hpp": "unit/ops/fake_quantize_test.cpp",
    "ops/elementwise.hpp": "unit/ops/activation_test.cpp",
    "data/batch_source.hpp": "unit/data/token_stream_test.cpp",
    "recipe/training_device.hpp": "unit/recipe/cuda_device_test.cpp",
    "ops/grad_mode.hpp": "unit/ops/linear_test.cpp",
    "ops/rope_config.hpp": "unit/ops/rope_test.cpp",
    "optim/adamw.hpp": "unit/optim/optimizer_test.cpp",
    "optim/grad_clip.hpp": "unit/optim/optimizer_test.cpp",
    "optim/parameter.hpp": "unit/optim/optimizer_test.cpp",
    "optim/schedule.hpp": "unit/optim/optimizer_test.cpp",
    "optim/sgd.hpp": "unit/optim/optimizer_test.cpp",
    "optim/weight_average.hpp": "unit/optim/optimizer_test.cpp",
}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|ho" r"me|t" r"mp)/\w")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
TEXT = (".hpp", ".cpp", ".h", ".cuh", ".cu", ".py", ".md", ".build", ".txt", ".def", ".sh", "dev", "run", ".json")


def header_problems(root):
    found = {"an -inl.hpp file includes nothing": [], "no `using namespace` in headers": [],
             "no header above 500 lines": [], "every header starts with a comment that says what it is": [],
             "every header has #pragma once": [], "macros are named QAT_*": [], "no static_assert with an empty message": []}
    keys = list(found)
    for header in common.headers(root, inl=True):
        text = common.read(os.path.join(root, "include", header))
        code = common.without_comments(text)
        inl = header.endswith("-inl.hpp")
        if inl and re.search(r"^\s*#\s*include\s*[<\"]", code, re.M):  # `#include QAT_TARGET_INCLUDE` is the re-inclusion itself
            found[keys[0]].append(header)
        if re.search(r"\busing\s+namespace\b", code):
            found[keys[1]].append(header)
        if text.count("\n") > 500 and header not in LONG_HEADERS:
            found[keys[2]].append(f"{header}: {text.count(chr(10))} lines")
        if not text.startswith("//"):
            found[keys[3]].append(header)
        if not inl and "#pragma once" not in code:
            found[keys[4]].append(header)
        for name in re.findall(r"^\s*#\s*define\s+(\w+)", code, re.M):
            if not name.startswith("QAT_"):
                found[keys[5]].append(f"{header}: {name}")
        if re.search(r'static_assert\s*\([^;]*,\s*""\s*\)', re.sub(r"//[^\n]*", "", text)):
            found[keys[6]].append(header)
    return found


def missing_tests(root):
    """Public headers without test/unit/<same path>_test.cpp. The forms of a kernel share a test: kernels/cpu/gemm.hpp and
    kernels/reference/gemm.hpp have test/unit/kernels/gemm_test.cpp."""
    missing = []
    for header in common.headers(root):
        below = os.path.relpath(header, "qat").rsplit(".", 1)[0]
        places = [below, re.sub(r"^kernels/\w+/", "kernels/", below), re.sub(r"^kernels/cuda/", "cuda/", below)]
        if below + ".hpp" in NO_OWN_TEST:
            other = NO_OWN_TEST[below + ".hpp"]
            if not os.path.exists(os.path.join(root, "test", other)):
                missing.append(f"{below}.hpp: NO_OWN_TEST names test/{other}, which does not exist")
        elif not any(os.path.exists(os.path.join(root, "test", "unit", place + "_test.cpp")) for place in places):
            missing.append(f"{below}.hpp: no test/unit/{places[-1]}_test.cpp, and no entry in NO_OWN_TEST of test/checks/rules.py")
    return missing


def entries_without_laws(root):
    """Public functions of kernels/cpu that take a backend and are not called in test/consistency/kernel_entries.hpp."""
    tested = common.read(os.path.join(root, "test", "consistency", "kernel_entries.hpp"))
    missing = []
    for header in common.headers(root):
        if not header.startswith("qat/kernels/cpu/"):
            continue
        text = common.read(os.path.join(root, "include", header))
        text = re.sub(r"^namespace detail \{.*?^\}  // namespace detail$", "", text, flags=re.M | re.S)
        for name in re.findall(r"^(?:inline )?\w+ (\w+)\(const CpuBackend& ", text, re.M):
            if not re.search(rf"\bkernels::{name}\(", tested):
                missing.append(f"{header}: {name}")
    return missing


def kernels_not_compiled(root):
    """Headers that name instances (QAT_INSTANCE) and are not included by kernels/instances.cpp, which compiles them: a program
    built with QAT_COMPILED_KERNELS would not link."""
    compiled = common.read(os.path.join(root, "kernels", "instances.cpp"))
    return [header for header in common.headers(root) if header != "qat/base/config.hpp" and f'#include "{header}"' not in compiled
            and re.search(r"\bQAT_INSTANCE\(", common.without_comments(common.read(os.path.join(root, "include", header))))]


def unlisted(root):
    """Test, bench and example sources that no meson.build names."""
    listed = "".join(common.read(os.path.join(root, d, "meson.build")) for d in ("test", "bench", "examples"))
    missing = []
    for top in ("test", "bench"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), os.path.join(root, top))
                if path.startswith("checks/"):
                    continue
                if name.endswith(("_test.cpp", "_bench.cpp", "_test.py")) and f"'{path}'" not in listed:
                    missing.append(f"{top}/{path} is not in {top}/meson.build")
    for name in sorted(os.listdir(os.path.join(root, "examples"))):
        if name.endswith(".cpp") and f"'{name[:-4]}'" not in listed:
            missing.append(f"examples/{name} is not in examples/meson.build")
    return missing


def committed_files(root):
    process = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True)
    if process.returncode != 0:  # a tree without git: everything that is not built
        return [os.path.relpath(os.path.join(f, n), root) for f, _, names in os.walk(root) for n in names
                if not os.path.relpath(os.path.join(f, n), root).startswith(("build", ".git/"))]
    return [name for name in process.stdout.splitlines() if os.path.exists(os.path.join(root, name))]


def text_problems(root, files):
    paths, unfinished = [], []
    for name in files:
        if not name.endswith(TEXT):
            continue
        for number, line in enumerate(common.read(os.path.join(root, name)).split("\n"), 1):
            if MACHINE_PATH.search(line) and not (name.startswith("test/") and "/t" "mp/" in line):
                paths.append(f"{name}:{number}: {line.strip()[:100]}")
            if UNFINISHED.search(line):
                unfinished.append(f"{name}:{number}: {line.strip()[:100]}")
    return paths, unfinished


def version_problems(root):
    version = os.path.join(root, "include", "qat", "version.hpp")
    numbers = dict(re.findall(r"#define QAT_VERSION_(MAJOR|MINOR|PATCH) (\d+)", common.read(version)))
    stated = ".".join(numbers.get(part, "?") for part in ("MAJOR", "MINOR", "PATCH"))
    meson = re.search(r"version: '([\d.]+)'", common.read(os.path.join(root, "meson.build"))).group(1)
    return [] if stated == meson else [f"include/qat/version.hpp says {stated}, meson.build {meson}"]


def main():
    report = common.Report()
    for rule, problems in header_problems(common.ROOT).items():
        report.check("rules: " + rule, problems)
    report.check("rules: every public header has a test of the same path", missing_tests(common.ROOT))
    report.check("rules: every kernel entry has a row in test/consistency/kernel_entries.hpp", entries_without_laws(common.ROOT))
    report.check("rules: every header with instances is in kernels/instances.cpp", kernels_not_compiled(common.ROOT))
    report.check("rules: every test, bench and example is in its meson.build", unlisted(common.ROOT))
    paths, unfinished = text_problems(common.ROOT, committed_files(common.ROOT))
    report.check("rules: no path of somebody's machine in committed files", paths)
    report.check("rules: nothing committed is marked unfinished", unfinished)
    report.check("rules: version.hpp and meson.build state one version", version_problems(common.ROOT))
    lines = common.read(os.path.join(common.ROOT, "meson.build")).count("\n")
    report.check("rules: meson.build has at most 120 lines", [] if lines <= 120 else [f"{lines} lines"])
    report.finish()


if __name__ == "__main__":
    main()
