#!/usr/bin/env python3
"""The ways to use qat from another program: pkg-config on an installed tree, with the kernels compiled in it too, a Meson
subproject, and plain -I."""
import os
import shutil
import tempfile

import common

PROGRAM = '#include "qat/quant.hpp"\n#include "qat/version.hpp"\nint main() { return QAT_VERSION_MAJOR < 0; }\n'
# Its object file must not hold the kernel that the library has.
KERNELS = """#include "qat/kernels/cpu/rmsnorm.hpp"
int main() {
  const float x[2] = {3, 4}, weight[2] = {1, 1};
  float y[2];
  qat::kernels::rmsnorm(qat::CpuBackend(1), x, weight, 0.0f, 1, 2, y, nullptr);
  return !(y[0] < y[1]);
}
"""


def steps(*commands, cwd):
    """[] when all commands succeed, else what the first failing one said."""
    for command in commands:
        code, output = common.run(["sh", "-c", f"cd '{cwd}' && {command}"])
        if code != 0:
            return [command] + output.splitlines()[-10:]
    return []


def main():
    report = common.Report()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "user.cpp"), "w") as file:
            file.write(PROGRAM)
        with open(os.path.join(folder, "kernels.cpp"), "w") as file:
            file.write(KERNELS)
        off = "-Dtests=disabled -Dbenchmarks=disabled -Dexamples=disabled"
        report.check("install: plain include path", steps(f"g++ -std=c++20 -I '{common.ROOT}/include' user.cpp && ./a.out", cwd=folder))
        report.check("install: meson install, then pkg-config", steps(
            f"meson setup b '{common.ROOT}' --prefix='{folder}/prefix' {off} && meson install -C b",
            "export PKG_CONFIG_PATH=prefix/share/pkgconfig && pkg-config --exact-version=0.1.0 qat"
            " && g++ -std=c++20 user.cpp $(pkg-config --cflags --libs qat) && ./a.out",
            "! find prefix -type f | grep -v -e '/include/qat/' -e 'qat.pc$'", cwd=folder))
        report.check("install: the library of kernels", steps(
            f"meson setup k '{common.ROOT}' --prefix='{folder}/kernels' --libdir=lib -Dcompiled_kernels=true -Doptimization=1 {off}"
            " && meson install -C k",
            "export PKG_CONFIG_PATH=kernels/share/pkgconfig:kernels/lib/pkgconfig"
            " && g++ -std=c++20 -c kernels.cpp $(pkg-config --cflags qat-kernels) && ! nm -C kernels.o | grep rmsnorm_rows"
            " && g++ kernels.o $(pkg-config --libs qat-kernels) && ./a.out", cwd=folder))
        sub = os.path.join(folder, "subprojects", "qat")
        os.makedirs(os.path.dirname(sub))
        shutil.copytree(common.ROOT, sub, ignore=shutil.ignore_patterns("build*", ".git", "shared", "__pycache__"))
        with open(os.path.join(folder, "meson.build"), "w") as file:
            file.write("project('user', 'cpp', default_options: ['cpp_std=c++20', 'werror=true', 'warning_level=3'])\n"
                       "qat = dependency('qat', fallback: ['qat'])\n"
                       "test('user', executable('user', 'user.cpp', dependencies: qat))\n")
        report.check("install: Meson subproject, which builds and installs nothing of qat's own", steps(
            "meson setup s && meson test -C s && DESTDIR=out meson install -C s && ! find s/out -name '*.hpp' | grep .", cwd=folder))
    report.finish()


if __name__ == "__main__":
    main()
