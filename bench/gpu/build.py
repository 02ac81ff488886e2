"""Builds the CUDA kernels without a build system, for machines that have little more than the toolkit:

  libqat_cuda.so   the C interface of kernels/capi/qat_c.h with the instances of kernels/cuda/*.cu behind it
  qat-gpu-check    test/gpu/: every kernel on the device against the same operation on the processor

nvcc compiles for the GPU; with emulated=True a C++ compiler builds the same files for test/emulation/cuda.hpp.
"""
import concurrent.futures
import filecmp
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FLAGS = ["-std=c++20", "-O2", "-I", os.path.join(ROOT, "include"), "-I", os.path.join(ROOT, "kernels", "capi"),
         "-I", os.path.join(ROOT, "test")]


class BuildError(Exception):
    pass


def find_nvcc():
    found = shutil.which("nvcc")
    for path in [found] + sorted(glob.glob("/usr/local/cuda*/bin/nvcc"), reverse=True):
        if path and os.path.exists(path):
            return path
    raise BuildError("no nvcc: not on PATH and not in /usr/local/cuda*/bin; install the CUDA toolkit (13.0 or newer)")


def toolkit_of(nvcc):
    """Folder with include/ and lib*/, from nvcc's own answer: nvcc may be a link or a wrapper."""
    said = subprocess.run([nvcc, "--dryrun", "-x", "cu", "-c", "/dev/null", "-o", "/dev/null"], capture_output=True, text=True).stderr
    for line in said.splitlines():
        if line.startswith("#$ TOP="):
            return os.path.normpath(line[len("#$ TOP="):].strip())
    return os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))


def library_folder(toolkit):
    for sub in ("lib64", "targets/x86_64-linux/lib", "lib"):
        if glob.glob(os.path.join(toolkit, sub, "libcudart*")):
            return os.path.join(toolkit, sub)
    raise BuildError(f"{toolkit} has no libcudart; install the CUDA runtime")


def find_cublas(toolkit):
    """(flags for the compiler, flags for the linker) of cuBLASLt: the toolkit's, else that of PyTorch's packages."""
    folders = [(os.path.join(toolkit, "include"), os.path.join(toolkit, sub)) for sub in ("lib64", "targets/x86_64-linux/lib", "lib")]
    for packages in dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib")):
        folders += [(os.path.join(base, "include"), os.path.join(base, "lib")) for base in glob.glob(os.path.join(packages, "nvidia", "*"))]
    headers = [include for include, _ in folders if os.path.exists(os.path.join(include, "cublasLt.h"))]
    libraries = [path for _, folder in folders for path in sorted(glob.glob(os.path.join(folder, "libcublasLt.so*")))]
    if not headers or not libraries:
        raise BuildError("no cuBLASLt (cublasLt.h and libcublasLt.so): neither in the toolkit nor in Python's nvidia packages")
    inside = headers[0].startswith(toolkit)
    return [] if inside else ["-I", headers[0]], [libraries[0], "-Wl,-rpath," + os.path.dirname(libraries[0])]


def sources():
    cuda = sorted(glob.glob(os.path.join(ROOT, "kernels", "cuda", "*.cu")))
    capi = sorted(glob.glob(os.path.join(ROOT, "kernels", "capi", "*.cpp")))
    check = sorted(glob.glob(os.path.join(ROOT, "test", "gpu", "*.cpp")))
    check_cuda = sorted(glob.glob(os.path.join(ROOT, "test", "gpu", "*_check.cu")))
    return cuda, capi, check, check_cuda


def fingerprint():
    """Of every file that goes into a build: a library carried to another machine is used if it is that of these files."""
    digest = hashlib.sha256()
    for folder in ("include", "kernels", "test/gpu", "test/support", "test/emulation", "bench/gpu/build.py"):
        path = os.path.join(ROOT, folder)
        files = [path] if os.path.isfile(path) else sorted(
            os.path.join(base, name) for base, _, names in os.walk(path) for name in names if not name.endswith(".pyc"))
        for name in files:
            digest.update(os.path.relpath(name, ROOT).encode())
            with open(name, "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(" ".join(command) + "\n" + done.stdout[-4000:] + done.stderr[-8000:])
    return done.stdout + done.stderr


def build(folder, architectures=("90a",), emulated=False, jobs=None, compiler="g++", log=print, extra=(), with_check=True):
    """Returns (library, check program or None)."""
    os.makedirs(folder, exist_ok=True)
    library, check = os.path.join(folder, "libqat_cuda.so"), os.path.join(folder, "qat-gpu-check")
    stamp = os.path.join(folder, "fingerprint")
    kind = ("emulated " + compiler if emulated else "sm_" + "+".join(architectures)) + " " + " ".join(extra) + " " + fingerprint()
    if os.path.exists(stamp) and open(stamp).read() == kind and os.path.exists(library) and (os.path.exists(check) or not with_check):
        log(f"build: {folder} is up to date")
        return library, check if with_check else None
    cuda, capi, checks, checks_cuda = sources()
    if not with_check:
        checks, checks_cuda = [], []
    jobs = jobs or os.cpu_count() or 2
    commands, objects = [], {"cuda": [], "capi": [], "check": []}
    if emulated:
        # Nothing is timed there: -O1 compiles faster.
        host = [compiler, *FLAGS, "-O1", "-fPIC", "-I", os.path.join(ROOT, "test", "emulation"), '-DQAT_CUDA_EMULATION="cuda.hpp"', *extra]
        device = host + ["-x", "c++"]
        link = [compiler, *extra]
        libraries = ["-lpthread"]
    else:
        nvcc = find_nvcc()
        toolkit = toolkit_of(nvcc)
        # PTX of the newest one that is not of one kind of GPU alone ("90a"): newer GPUs translate it.
        newest = max((a for a in architectures if a.isdigit()), key=int, default=None)
        targets = [f"-gencode=arch=compute_{a},code=" + (f"[sm_{a},compute_{a}]" if a == newest else f"sm_{a}") for a in architectures]
        cublas_include, cublas = find_cublas(toolkit)
        device = [nvcc, *FLAGS, *cublas_include, *targets, "-Xcompiler", "-fPIC", "--threads", "1", *extra]
        host = [compiler, *FLAGS, "-fPIC"]
        link = [compiler]
        libraries = [*cublas, "-L", library_folder(toolkit), "-lcudart_static", "-lpthread", "-ldl", "-lrt"]
    # The check program holds the processor's kernels too; where nothing is timed, for its least instruction set alone.
    checker = host + (["-DQAT_BASELINE_ONLY"] if emulated else [])
    check_device = device + (["-DQAT_BASELINE_ONLY"] if emulated else [])
    for kind_of, files, command in (("cuda", cuda, device), ("capi", capi, host), ("check", checks, checker), ("check", checks_cuda, check_device)):
        for source in files:
            target = os.path.join(folder, kind_of + "-" + os.path.basename(source) + ".o")
            objects[kind_of].append(target)
            commands.append(command + ["-c", source, "-o", target])
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, commands))
    run([*link, "-shared", "-o", library, *objects["capi"], *objects["cuda"], *libraries])
    if with_check:
        run([*link, "-o", check, *objects["check"], *objects["cuda"], *libraries])
    with open(stamp, "w") as file:
        file.write(kind)
    log(f"build: {len(commands)} files into {folder}")
    return library, check if with_check else None


def main():
    """build.py LIBRARY ARCHITECTURES|emulated: the library alone, for other build systems."""
    target, architectures = sys.argv[1:]
    try:
        library, _ = build(target + ".objects", architectures.split(","), emulated=architectures == "emulated", with_check=False)
    except BuildError as error:
        sys.exit(f"build.py: {error}")
    if not os.path.exists(target) or not filecmp.cmp(library, target, shallow=False):
        shutil.copyfile(library, target)


if __name__ == "__main__":
    main()
