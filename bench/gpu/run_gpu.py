#!/usr/bin/env python3
"""./dev gpu: builds the CUDA kernels, compares every one with the processor, and times them beside what the field runs.

Needs a GPU of compute capability 8.0 or newer, the CUDA toolkit, a C++ compiler and, for the benchmarks, Python with PyTorch.
--emulated rehearses all of it on a machine without a GPU: the same files built for the emulator, tiny sizes, no peers.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import build  # noqa: E402
import cases  # noqa: E402
import library as c_library  # noqa: E402
import measure  # noqa: E402


def capability():
    """'90a' for the GPU here: from nvidia-smi, so that a build needs no Python package."""
    try:
        said = subprocess.run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], capture_output=True, text=True)
        major, minor = said.stdout.split("\n")[0].strip().split(".")
    except (OSError, ValueError):
        sys.exit("./dev gpu: no GPU on this machine (nvidia-smi does not answer); rehearse with --emulated")
    number = int(major) * 10 + int(minor)
    if number < 80:
        sys.exit(f"./dev gpu: this GPU has compute capability {major}.{minor}; accepted: 8.0 and newer")
    return f"{number}a" if number >= 90 else str(number)


def revision():
    try:
        said = subprocess.run(["git", "-C", build.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    except OSError:
        return ""
    return said.stdout.strip()


def check(program, emulated, name, log):
    command = [program] + ([] if emulated else ["--large"]) + (name.split(",") if name else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log(done.stdout.rstrip())
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "no output"
    return {"summary": last, "ok": done.returncode == 0, "lines": done.stdout.splitlines()}


def sanitize(program, name, seconds, log, tool=None):
    """compute-sanitizer's memcheck and racecheck on the small shapes, where it is installed and the machine lets it run, within
    `seconds`. {kind: {"summary", "code"}}; code 0: nothing found, 9: something, None: it did not run to its end."""
    tool = tool or build.shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        log("SKIPPED compute-sanitizer: not installed")
        return {"skipped": "not installed"}
    found, end = {}, time.monotonic() + seconds
    for left, kind in ((2, "memcheck"), (1, "racecheck")):
        share = (end - time.monotonic()) / left
        code, said = None, ""
        if share >= 1:
            try:
                done = subprocess.run([tool, "--tool", kind, "--error-exitcode", "9", program, *(name.split(",") if name else [])],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=share)
                code, said = done.returncode, done.stdout
            except subprocess.TimeoutExpired:
                pass
        summary = said.strip().splitlines()[-1] if said.strip() else "no output"
        if code is None:
            summary = f"SKIPPED: not done within {max(0, share):.0f} s"
        elif "not supported" in said:
            code, summary = None, "SKIPPED: device not supported by compute-sanitizer here"
        log(f"compute-sanitizer {kind}: {summary}")
        found[kind] = {"summary": summary, "code": code}
        if code == 9:
            log("\n".join([line for line in said.splitlines() if line.startswith("=========")][:60]))
    return found


def ceilings(torch, log):
    """Copy bandwidth (bytes read and written) and the rate of a bfloat16 product, of this run."""
    a = [torch.empty(1 << 28, dtype=torch.uint8, device="cuda").random_() for _ in range(2)]
    b = [torch.empty_like(x) for x in a]
    copy = measure.Contender("copy", [lambda i=i: b[i].copy_(a[i]) for i in range(2)])
    again = measure.Contender("again", [lambda i=i: b[i].copy_(a[i]) for i in range(2)])
    x, w = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = measure.compare(torch, [copy, again])
    product = measure.compare(torch, [measure.Contender("cublas", [lambda: x @ w.T])], rounds=5, target_seconds=2e-2)
    found = {"copy_bytes_per_second": 2 * a[0].numel() / times["copy"]["median"],
             "same_against_same": times["copy"]["median"] / times["again"]["median"],
             "bfloat16_flop_per_second": 2 * 8192**3 / product["cublas"]["median"]}
    log(f"copy {found['copy_bytes_per_second'] / 1e12:.2f} TB/s (the same again {found['same_against_same']:.3f}), "
        f"bfloat16 product {found['bfloat16_flop_per_second'] / 1e12:.0f} TFLOP/s")
    return found


def run_case(bench, case, size, torch, ceiling):
    row = {"case": case.name, "size": list(size)}
    bytes_moved = case.bytes_of(size) if case.bytes_of else None
    flop = case.flop_of(size) if case.flop_of else None
    if torch is None:  # a rehearsal: every call once, and again
        for _ in range(2):
            for call in case.make(bench, size).values():
                call()
        row["rehearsed"] = True
        return row
    working_set = case.working_set(size) if case.working_set else bytes_moved
    sets = [case.make(bench, size) for _ in range(1 if case.single else measure.sets_for(working_set))]
    names = list(sets[0])
    contenders = [measure.Contender(name, [s[name] for s in sets]) for name in names]
    times = measure.compare(torch, contenders)
    row.update(sets=len(sets), seconds=times)
    ours = times[names[0]]["median"]
    row["ratios"] = {name: times[name]["median"] / ours for name in names[1:]}
    if bytes_moved:
        row["bytes"] = bytes_moved
        row["bytes_per_second"] = bytes_moved / ours
        row["share_of_copy"] = bytes_moved / ours / ceiling["copy_bytes_per_second"]
    if flop:
        row["flop_per_second"] = flop / ours
        row["share_of_product"] = flop / ours / ceiling["bfloat16_flop_per_second"]
    if case.tokens_of:
        row["tokens_per_second"] = case.tokens_of(size) / ours
        row["share_of_peak"] = flop / ours / PEAK
        row["flop"] = flop
    targets = case.targets(size) if callable(case.targets) else case.targets
    row["targets"] = [{"against": a, "must": m, "aim": i} for a, m, i in targets]
    return row


# Dense bfloat16 of H100 SXM and H200 by the datasheet: what the field's MFU is a share of.
PEAK = 989.4e12


def line_of(row):
    if "error" in row:
        return f"{row['case']:44} {str(tuple(row['size'])):20} ERROR {row['error']}"
    if row.get("rehearsed"):
        return f"{row['case']:44} {str(tuple(row['size'])):20} rehearsed"
    seconds = next(iter(row["seconds"].values()))["median"]
    text = f"{row['case']:44} {str(tuple(row['size'])):20} {seconds * 1e6:9.1f} us"
    if "share_of_copy" in row:
        text += f"  {row['share_of_copy']:.2f} of copy"
    if "share_of_product" in row:
        text += f"  {row['flop_per_second'] / 1e12:.0f} TFLOP/s"
    if "tokens_per_second" in row:
        text += f"  {row['tokens_per_second'] / 1e3:.0f}k tokens/s, {row['share_of_peak']:.3f} of 989 TFLOP/s"
    return text + "  " + "  ".join(f"{name} {ratio:.2f}x" for name, ratio in row["ratios"].items())


def benchmarks(library, emulated, only, compiled, log, budget):
    import device as devices
    import peers
    device = devices.EmulatedDevice(library) if emulated else devices.TorchDevice(library)
    torch = device.torch
    bench = cases.Bench(device, library, peers.Peers(torch, compiled) if torch else None)
    ceiling = ceilings(torch, log) if torch else {}
    rows, start = [], time.monotonic()
    for case in cases.CASES:
        if only and not any(name in case.name for name in only.split(",")):
            continue
        for size in case.small if emulated else case.sizes:
            if time.monotonic() - start > budget:
                rows.append({"case": case.name, "size": list(size), "error": f"not run: {budget:.0f} s are over"})
            else:
                try:
                    rows.append(run_case(bench, case, size, torch, ceiling))
                except Exception as error:  # one case must not take the others with it
                    rows.append({"case": case.name, "size": list(size), "error": f"{type(error).__name__}: {error}".splitlines()[0]})
                if torch:
                    torch.cuda.empty_cache()
            log(line_of(rows[-1]))
    if emulated:
        device.release()
    return {"ceilings": ceiling, "rows": rows}


def machine(library, emulated):
    found = {"date": datetime.date.today().isoformat(), "gpu": library.describe(), "python": platform.python_version()}
    if not emulated:
        import torch
        found.update(torch=torch.__version__, cuda=torch.version.cuda)
        said = subprocess.run([build.find_nvcc(), "--version"], capture_output=True, text=True).stdout.splitlines()
        found["nvcc"] = next((line for line in said if "release" in line), "").strip()
    return found


def main():
    parser = argparse.ArgumentParser(prog="./dev gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(build.ROOT, "build", "gpu"), help="folder of the programs")
    parser.add_argument("--json", metavar="FILE", help="write everything found to FILE")
    parser.add_argument("--only", default="", metavar="NAME,...", help="checks and cases whose name contains NAME, or one of several with commas between")
    parser.add_argument("--architectures", help="such as 80,90a,100; default: the GPU here")
    parser.add_argument("--emulated", action="store_true", help="rehearse without a GPU")
    parser.add_argument("--no-check", action="store_true")
    parser.add_argument("--no-bench", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes seconds for each case")
    parser.add_argument("--no-sanitizer", action="store_true", help="leave compute-sanitizer out, which takes the small checks last")
    parser.add_argument("--budget", type=float, default=300, metavar="SECONDS", help="no case starts after these (default 300)")
    parser.add_argument("--limit", type=float, default=460, metavar="SECONDS",
                        help="of the whole run: cases end and compute-sanitizer stops in time for it (default 460)")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--revision", help="of the sources, to be noted in the results where git does not tell")
    args = parser.parse_args()

    def log(text):
        print(text, flush=True)

    start = time.monotonic()
    result = {"arguments": [os.path.basename(a) if os.path.isabs(a) else a for a in sys.argv[1:]], "revision": args.revision or revision()}
    try:
        architectures = args.architectures.split(",") if args.architectures else ["90a"] if args.emulated else [capability()]
        shared_library, program = build.build(args.build, architectures, emulated=args.emulated, log=log)
        result["build_seconds"] = round(time.monotonic() - start, 1)
        if args.build_only:
            return 0
        library = c_library.Library(shared_library)
        result["machine"] = machine(library, args.emulated)
        log(result["machine"]["gpu"])
        ok = True
        if not args.no_check:
            result["check"] = check(program, args.emulated, args.only, log)
            ok = result["check"]["ok"] or (args.only and "0 passed, 0 failed" in result["check"]["summary"])
        if not args.no_bench:
            budget = min(args.budget, start + args.limit - time.monotonic())
            result["benchmarks"] = benchmarks(library, args.emulated, args.only, not args.no_compile, log, budget)
            ok = ok and not any("error" in row for row in result["benchmarks"]["rows"])
        if not (args.no_check or args.no_sanitizer or args.emulated):
            result["sanitizer"] = sanitize(program, args.only, start + args.limit - time.monotonic(), log)
            ok = ok and not any(isinstance(said, dict) and said["code"] not in (0, None) for said in result["sanitizer"].values())
    except (build.BuildError, c_library.QatError, RuntimeError) as error:
        print(f"./dev gpu: {error}", file=sys.stderr)
        return 2
    finally:
        result["seconds"] = round(time.monotonic() - start, 1)
        if args.json and "machine" in result:
            temporary = args.json + ".tmp"
            with open(temporary, "w") as file:
                json.dump(result, file, indent=1)
                file.write("\n")
            os.replace(temporary, args.json)
    log(f"./dev gpu: {'all is well' if ok else 'FAILED'} after {result['seconds']:.0f} s")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
