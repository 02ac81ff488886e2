#!/usr/bin/env python3
"""The C++ snippets of README.md compile."""
import os
import re
import subprocess
import tempfile

import common

PREAMBLE = """
extern const qat::CpuBackend cpu;
extern float *W, *W_fq, *dW_fq, *dW, *scale, *zero_point, *x, *y;
extern qat::index_t rows, columns;
"""
VIEWS = "extern qat::View<float, 2> A, B, C, Y;\n"
LOOP = ("extern qat::nn::Transformer model;\nextern std::span<const std::int32_t> tokens;\nextern qat::recipe::TrainConfig config;\n"
        "extern void (*on_step)(const qat::recipe::StepReport&);\n")


def main():
    text = common.read(os.path.join(common.ROOT, "README.md"))
    snippets = re.findall(r"```cpp\n(.*?)```", text, re.S)
    if len(snippets) < 3:
        print(f"FAILED: README.md has {len(snippets)} C++ snippets, one for each kind of user is expected")
        return 1
    failed = 0
    for number, snippet in enumerate(snippets):
        includes = "\n".join(re.findall(r"^#include.*$", snippet, re.M))
        body = re.sub(r"^#include.*$", "", snippet, flags=re.M)
        code = (includes + PREAMBLE + (VIEWS if "qat.hpp" in includes else "") + (LOOP if "train.hpp" in includes else "") +
                "void snippet() {\n" + body + "}\n")
        with tempfile.NamedTemporaryFile("w", suffix=".cpp") as file:
            file.write(code)
            file.flush()
            command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-fsyntax-only", "-I", os.path.join(common.ROOT, "include"), file.name]
            result = subprocess.run(command, capture_output=True, text=True)
        print(f"{'PASSED' if result.returncode == 0 else 'FAILED'}: README.md snippet {number + 1}" +
              ("" if result.returncode == 0 else ": " + result.stderr[:2000]))
        failed += result.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
