#!/usr/bin/env python3
"""What nvcc makes of the CUDA kernels, without a GPU: test/gpu/representatives.cu is compiled for each architecture, and
machine_code.json holds every kernel to its budget of registers and to what its accesses are.

  every kernel         no spills, no stack, no local loads or stores; a budget, and every budget a kernel
  registers            at most, on each architecture: what was found, rounded up to the 8 that hardware gives out
  wide, narrow         global loads and stores of 16 bytes: at least; of fewer (tails, parameters): at most
  has                  instructions that must be there: HMMA, LDGSTS, ...
  spills               of architectures where a kernel has some: bytes, at most
  contracts            true where the machine code is another one with -fmad=false; in all other kernels no compiler fuses
                       a product and a sum, so that their bits are those of the source

Without nvcc all of it is skipped, counted. nvdisasm (PATH, the toolkit's folder, $QAT_NVDISASM, a triton or
nvidia-cuda-nvdisasm package), where there is one, must count the same instructions as the reader of cubins here.
`machine_code.py --measure` prints budgets of what it finds. Registers and narrow accesses are held to them with the release of
nvcc that they were found with."""
import collections
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import common

ARCHITECTURES = ["sm_80", "sm_90a", "sm_100"]
SOURCE = os.path.join(common.ROOT, "test", "gpu", "representatives.cu")
BUDGETS = os.path.join(common.ROOT, "test", "checks", "machine_code.json")
# Instructions of sm_80 to sm_100 have 16 bytes; the low 9 bits of the first are the operation, 3 more say where operands
# come from. Bits 73 to 75 of LDG and STG are the width.
OPERATIONS = {0x181: "LDG", 0x186: "STG", 0x183: "LDL", 0x187: "STL", 0x023: "FFMA", 0x03C: "HMMA", 0x037: "IMMA", 0x1AE: "LDGSTS",
              0x03B: "LDSM", 0x184: "LDS", 0x188: "STS", 0x189: "SHFL"}
WIDTH_128 = 6


def code_of(cubin):
    """{mangled kernel: Counter of operations, with LDG.128 and STG.128 counted beside LDG and STG; and the text itself}"""
    sections, = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, sections + i * size) for i in range(count)]
    found = {}
    for header in headers:
        start = headers[names][4] + header[0]
        name = cubin[start:cubin.index(0, start)].decode()
        if name.startswith(".text."):
            text = cubin[header[4]:header[4] + header[5]]
            operations = collections.Counter()
            for at in range(0, len(text) - 15, 16):
                low, high = struct.unpack_from("<QQ", text, at)
                operation = OPERATIONS.get(low & 0x1FF)
                operations[operation] += 1
                if operation in ("LDG", "STG") and high >> 9 & 7 == WIDTH_128:
                    operations[operation + ".128"] += 1
            found[name[len(".text."):]] = (operations, text)
    return found


def ptxas_report(text):
    """{mangled kernel: dict(registers, stack, spills, shared)} of what ptxas -v says."""
    found = {}
    name = None
    for line in text.split("\n"):
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match[1]
            found[name] = dict(registers=None, stack=None, spills=None, shared=0)
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if name:
                found[name].update(stack=int(match[1]), spills=int(match[2]) + int(match[3]))
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[name].update(registers=int(match[1]), shared=int(shared[1]) if shared else 0)
    return found


def short_names(mangled):
    """{mangled: the kernel's type, without namespaces}; needs c++filt, which comes with g++."""
    _, output = common.run(["c++filt"], "\n".join(mangled) + "\n")
    names = {}
    for raw, line in zip(mangled, output.split("\n")):
        line = re.sub(r"qat::v0::numeric::Minifloat<qat::v0::numeric::MinifloatFormat<8, 7, [^>]*>, unsigned short>", "bfloat16", line)
        match = re.match(r"void qat::v0::cuda::run_kernel<(.*?) ?>\(", line)
        name = match[1] if match else line
        name = re.sub(r"qat::v0::(?:cuda::)?|detail::|\((?:\w|:)+\)(?=\d)|(?<=\d)u\b", "", name)
        names[raw] = name.replace(" >", ">")
    return names


def measure(report, operations):
    """A kernel's budget that just fits what was found."""
    wide = operations["LDG.128"] + operations["STG.128"]
    return dict(registers=report["registers"], wide=wide, narrow=operations["LDG"] + operations["STG"] - wide)


def problems_of(name, report, operations, budget, architecture, same_release=True):
    """What of one kernel on one architecture breaks its budget, or the rules for all."""
    if budget is None:
        return [f"{name}: no budget in test/checks/machine_code.json"]
    found = []
    allowed = budget.get("spills", {}).get(architecture, 0)
    if report["spills"] is None or report["spills"] > allowed:
        found.append(f"{name}: spills of {report['spills']} bytes, at most {allowed} are accepted")
    elif report["spills"] == 0:
        if allowed:
            found.append(f"{name}: spills nothing on {architecture}: remove that from machine_code.json")
        if report["stack"] != 0:
            found.append(f"{name}: a stack of {report['stack']} bytes, must be 0")
        for what in ("LDL", "STL"):
            if operations[what]:
                found.append(f"{name}: {operations[what]} {what}: arrays that live in memory")
    if unknown := set(budget) - {"registers", "wide", "narrow", "has", "contracts", "spills"}:
        found.append(f"{name}: machine_code.json has {', '.join(sorted(unknown))}; known are registers, wide, narrow, has, contracts, spills")
    have = measure(report, operations)
    if same_release and (have["registers"] is None or have["registers"] > budget["registers"]):
        found.append(f"{name}: {have['registers']} registers, budget {budget['registers']}")
    if have["wide"] < budget["wide"]:
        found.append(f"{name}: {have['wide']} global loads and stores of 16 bytes, must be at least {budget['wide']}")
    if same_release and have["narrow"] > budget["narrow"]:
        found.append(f"{name}: {have['narrow']} global loads and stores of less than 16 bytes, budget {budget['narrow']}")
    for operation in budget.get("has", []):
        if not operations[operation]:
            found.append(f"{name}: no {operation}")
    return found


def contraction_problems(fused, plain, budgets, names):
    found = []
    for raw, name in names.items():
        differs, expected = fused[raw][1] != plain[raw][1], budgets.get(name, {}).get("contracts", False)
        if differs != expected:
            found.append(f"{name}: {'other' if differs else 'the same'} machine code with -fmad=false, and machine_code.json says {expected} "
                         f"({fused[raw][0]['FFMA']} FFMA, {plain[raw][0]['FFMA']} without contraction)")
    return found


def kernels_in(text):
    """Names of the structs of a header that are called with a context."""
    names, last = [], None
    for line in text.split("\n"):
        if match := re.match(r"struct (\w+)", line):
            last = match[1]
        elif "operator()(const Context& c) const {" in line and last:
            names.append(last)
    return names


def without_representative(root, names):
    have = {re.match(r"(?:\w+::)*(\w+)", name)[1] for name in names}
    return [f"{header}: test/gpu/representatives.cu has no {kernel}" for header in common.headers(root)
            for kernel in kernels_in(common.read(os.path.join(root, "include", header))) if kernel not in have]


def compile_to(folder, nvcc, architecture, source=SOURCE, flags=()):
    """(what nvcc said, {mangled: (operations, text)}); a message in place of the second if it does not compile."""
    cubin = os.path.join(folder, architecture + "".join(flags) + ".cubin")
    code, said = common.run([nvcc, "-std=c++20", f"-gencode=arch={architecture.replace('sm', 'compute')},code={architecture}", "-cubin",
                             "-I", os.path.join(common.ROOT, "include"), "-Xptxas", "-v", "-Werror", "all-warnings", *flags, source, "-o", cubin])
    if code != 0:
        return said, None
    with open(cubin, "rb") as file:
        return said, code_of(file.read())


def find_nvcc():
    return shutil.which("nvcc") or next((p for p in ["/usr/local/cuda/bin/nvcc"] if os.path.exists(p)), None)


def release_of(nvcc):
    _, said = common.run([nvcc, "--version"])
    match = re.search(r"release (\d+\.\d+)", said)
    return match[1] if match else "unknown"


def find_nvdisasm(nvcc):
    places = [os.environ.get("QAT_NVDISASM", ""), shutil.which("nvdisasm") or "", os.path.join(os.path.dirname(nvcc), "nvdisasm")]
    for path in sys.path:
        places += glob.glob(os.path.join(path, "triton", "backends", "nvidia", "bin", "nvdisasm"))
        places += glob.glob(os.path.join(path, "nvidia", "*", "bin", "nvdisasm"))
    return next((p for p in places if p and os.access(p, os.X_OK)), None)


def disassembly_problems(listing, code):
    """Where nvdisasm counts other instructions than code_of does."""
    found = []
    for part in re.split(r"^\.text\.", listing, flags=re.M)[1:]:
        name = part[:part.index(":")]
        if name not in code:
            continue
        counts = collections.Counter()
        for full in re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", part):
            operation = full.split(".")[0]
            if operation in OPERATIONS.values():
                counts[operation] += 1
                if operation in ("LDG", "STG") and ".128" in full:
                    counts[operation + ".128"] += 1
        ours = {k: v for k, v in code[name][0].items() if k is not None}
        if dict(counts) != ours:
            found.append(f"{name}: nvdisasm counts {dict(counts)}, the reader of cubins {ours}")
    return found


def main():
    report = common.Report()
    nvcc = find_nvcc()
    file = json.loads(common.read(BUDGETS))
    budgets = file["kernels"]
    if nvcc is None:
        for architecture in ARCHITECTURES:
            report.skip(f"machine_code: kernels of {architecture} keep their budgets", "nvcc not found; CUDA toolkit 12.8 or newer")
        report.skip("machine_code: no kernel's bits depend on contraction", "nvcc not found")
        report.skip("machine_code: nvdisasm counts the same instructions", "nvcc not found")
        report.finish()
    same_release = release_of(nvcc) == file["nvcc"]
    if not same_release:
        report.skip("machine_code: registers and narrow accesses", f"budgets are of nvcc {file['nvcc']}, this is {release_of(nvcc)}")
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(a, ()) for a in ARCHITECTURES] + [("sm_90a", ("-fmad=false",))]
        results = list(common.parallel(lambda job: compile_to(folder, nvcc, job[0], flags=job[1]), jobs))
        measured, spills = {}, {}
        for (architecture, flags), (said, code) in zip(jobs, results):
            if code is None:
                report.check(f"machine_code: representatives.cu compiles for {architecture} {' '.join(flags)}", said.splitlines()[:20] or ["nvcc failed"])
                continue
            if flags:
                continue
            ptxas, names = ptxas_report(said), short_names(sorted(code))
            problems = [f"machine_code.json has {name}, which representatives.cu has not" for name in budgets if name not in names.values()]
            for raw, (operations, _) in code.items():
                problems += problems_of(names[raw], ptxas[raw], operations, budgets.get(names[raw]), architecture, same_release)
                fit = measure(ptxas[raw], operations)
                was = measured.setdefault(names[raw], fit)
                measured[names[raw]] = {k: (min if k == "wide" else max)(was[k], fit[k]) for k in fit}
                if ptxas[raw]["spills"]:
                    spills.setdefault(names[raw], {})[architecture] = ptxas[raw]["spills"]
            report.check(f"machine_code: {len(code)} kernels of {architecture} keep their budgets", problems)
        if "--measure" in sys.argv:
            for name, fit in sorted(measured.items()):
                fit["registers"] = (fit["registers"] + 7) // 8 * 8
                kept = {k: v for k, v in budgets.get(name, {}).items() if k in ("has", "contracts")}
                report.say(f"    {json.dumps(name)}: {json.dumps({**fit, **kept, **({'spills': spills[name]} if name in spills else {})})},")
        report.check("machine_code: every kernel has a representative", without_representative(common.ROOT, measured))
        fused, plain = results[ARCHITECTURES.index("sm_90a")][1], results[-1][1]
        if fused and plain:
            report.check("machine_code: no kernel's bits depend on contraction", contraction_problems(fused, plain, budgets, short_names(sorted(fused))))
        nvdisasm = find_nvdisasm(nvcc)
        for architecture, (_, code) in zip(ARCHITECTURES, results):
            name = f"machine_code: nvdisasm counts the same instructions of {architecture}"
            if nvdisasm is None:
                report.skip(name, "nvdisasm not found; pip install nvidia-cuda-nvdisasm")
            elif code:
                said = subprocess.run([nvdisasm, "-c", os.path.join(folder, architecture + ".cubin")], capture_output=True, text=True)
                report.check(name, [said.stderr] if said.returncode else disassembly_problems(said.stdout, code))
    report.finish()


if __name__ == "__main__":
    main()
