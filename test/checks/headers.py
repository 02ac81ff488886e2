#!/usr/bin/env python3
"""Every public header compiles alone with g++ (and with clang++ in a full run), and all of them inside a program that defines
hostile macros with both."""
import os

import common


def compile_alone(compiler, include, header, flags=()):
    """'' when a file that includes nothing but `header`, twice, compiles; else what the compiler said."""
    text = f'#include "{header}"\n#include "{header}"\n'
    code, output = common.run([compiler, *common.WARNINGS, *flags, "-fsyntax-only", "-I", include, "-x", "c++", "-"], text)
    return "" if code == 0 else "\n  ".join(output.splitlines()[:8])


def main():
    report = common.Report()
    include = os.path.join(common.ROOT, "include")
    headers = [h for h in common.headers() if h.endswith(".hpp")]
    poison = os.path.join(common.ROOT, "test", "checks", "poison.hpp")
    alone = [c for c in common.compilers() if c == "g++" or os.environ.get("QAT_TEST_FULL")]
    pairs = [(c, h) for c in alone for h in headers]
    broken = set()
    for (compiler, header), said in zip(pairs, common.parallel(lambda p: compile_alone(p[0], include, p[1]), pairs)):
        if said:
            broken.add(header)
        report.check(f"headers: {header} alone ({compiler})", [said] if said else [])

    def poisoned(pair):
        return compile_alone(pair[0], include, pair[1], ["-Wno-macro-redefined" if "clang" in pair[0] else "-Wno-builtin-macro-redefined",
                                                         "-include", poison])

    for compiler in common.compilers():
        text = "".join(f'#include "{h}"\n' for h in headers if h not in broken)
        code, _ = common.run([compiler, *common.WARNINGS, "-fsyntax-only", "-I", include, "-include", poison, "-x", "c++", "-"], text)
        problems = []
        if code != 0:  # find the culprits one by one
            found = common.parallel(poisoned, [(compiler, h) for h in headers if h not in broken])
            problems = [f"{h}: {s}" for h, s in zip([h for h in headers if h not in broken], found) if s] or ["all together"]
        report.check(f"headers: all with poison macros ({compiler})", problems)
    report.finish()


if __name__ == "__main__":
    main()
