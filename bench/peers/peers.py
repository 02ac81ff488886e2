#!/usr/bin/env python3
"""The table of performance targets, measured: `./dev bench --peers`.

Ours, peers and ceilings alternate for some rounds; a row is the median of the rounds' ratios. targets.json has the works and what
each must reach. --add keeps the rows that FILE has and adds the new rounds to them, so that a long table can be made in pieces.
"""
import argparse
import json
import os
import subprocess
import sys

import machine as machines
import measure
import rows as row_list
import table
from workers import PACKAGES, Workers

QUICK = dict(milliseconds=30, patience=0.3, tries=2)


def selected(cases, patterns, quick):
    """The cases whose name contains a pattern; quick: the first of each work."""
    chosen = [c for c in cases if not patterns or any(p in c.name for p in patterns)]
    return list({c.work["id"]: c for c in reversed(chosen)}.values())[::-1] if quick else chosen


def wrong_row(case, error):
    rows = [table.row_of(case, check, dict(rounds=[], missing={}, disturbed=False, discarded=0), {}) for check in case.checks]
    for row in rows:
        row.update(wrong=True, note="wrong output: " + error, holds=False, reaches_aim=False)
    return rows


def revision():
    """The commit that is measured; "+" if the tree has changes that are not committed."""
    git = ["git", "-C", os.path.dirname(os.path.abspath(__file__))]
    head = subprocess.run(git + ["rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(git + ["status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if head.returncode == 0 else "unknown"


def ceilings(workers):
    """Operations (read, copy: bytes) a second of one thread, of what this processor has."""
    rates = {}
    for name in ("fma", "int8", "group_bound", "bf16", "read", "copy"):
        reply = workers.ask("qat", f"time memory name={name} mib=256" if name in ("read", "copy") else f"time ceiling name={name}")
        if "seconds" in reply:
            rates[name] = (reply["bytes"] or reply["ops"]) / reply["seconds"]
    workers.forget()
    return rates


def save(args, machine, before, rows):
    """Writes FILE; returns all of its rows. It is written after every case, so that a run that is ended keeps what it has."""
    all_rows = table.merge(before["rows"], rows) if before else rows
    if args.json and all_rows:
        with open(args.json, "w") as file:
            json.dump(dict(machine=machine, rows=all_rows), file, indent=1)
            file.write("\n")
    return all_rows


def run(args, works, before):
    workers = Workers(args.workers, args.python)
    machine = machines.describe()
    rotate = max(64 << 20, 2 * machine["last_level_cache"])
    rows, failures = [], []
    try:
        gate = measure.Gate(workers)
        clock = workers.ask("qat", "time ceiling name=clock")
        machine.update(clock=1.0 / clock["seconds"], additions=gate.best, target=workers.versions["qat"], ceilings=ceilings(workers))
        cases = row_list.cases(works, rotate, machine["target"].endswith(row_list.DOT_PRODUCT_TARGETS))
        for case in selected(cases, args.rows, args.quick):
            verdict, error = measure.check_case(case, workers) if args.check else ("", "")
            if verdict:
                print(f"{verdict}: {case.name}" + (f" ({error})" if error else ""), flush=True)
            if verdict == "wrong":
                failures.append(f"{case.name}: {error}")
                rows += wrong_row(case, error)
            elif args.rounds:
                result = measure.measure_case(case, workers, gate, args.rounds, **(QUICK if args.quick else dict(milliseconds=args.ms)))
                rows += [table.row_of(case, check, result, workers.versions) for check in case.checks]
                print(f"  {case.name}: {result['discarded']} samples discarded", file=sys.stderr, flush=True)
            workers.forget()
            for row in rows:
                row["revision"] = args.revision
            for key, found in (("peers", workers.versions), ("absent", workers.missing)):
                machine[key] = {**(before["machine"].get(key, {}) if before else {}), **found}
            present = {peer.split("#")[0] for peer in workers.versions}  # what was not here before may be now
            machine["absent"] = {peer: why for peer, why in machine["absent"].items() if peer not in present}
            save(args, machine, before, rows)
    finally:
        workers.close()
    return machine, rows, failures


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --peers", description=__doc__.split("\n")[0])
    parser.add_argument("--workers", required=True, help="the build directory that has the measuring programs")
    parser.add_argument("--python", help="a Python that has the peers' packages")
    parser.add_argument("--rows", action="append", default=[], help="only cases whose name contains this; may be given again")
    parser.add_argument("--rounds", type=int, default=3, help="0: with --check, only the check")
    parser.add_argument("--ms", type=int, default=150, help="how long a sample takes, in milliseconds")
    parser.add_argument("--quick", action="store_true", help="one case of each work, short samples")
    parser.add_argument("--check", action="store_true", help="compare each kernel with kernels/reference before it is timed")
    parser.add_argument("--revision", default=revision(), help="what the measuring programs were built from")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--add", action="store_true", help="keep what FILE has and add to it")
    args = parser.parse_args()
    works = row_list.load_targets()
    before = None
    if args.add and args.json and os.path.exists(args.json):
        with open(args.json) as file:
            before = json.load(file)
        if before["machine"]["cpu"] != machines.describe()["cpu"]:
            sys.exit(f"{args.json} is of another machine: {before['machine']['cpu']}")
    machine, rows, failures = run(args, works, before)
    for line in table.lines(works, save(args, machine, before, rows)):
        print(line)
    print(f"\n{machine['cpu']}, {machine['clock'] * 1e-9:.2f} GHz, {machine['target']}, {machine['compiler']}")
    print("ceilings: " + ", ".join(f"{name} {rate * 1e-9:.1f} G{'B' if name in ('read', 'copy') else 'OP'}/s"
                                   for name, rate in machine["ceilings"].items()))
    for peer, why in machine.get("absent", {}).items():
        print(f"no {peer}: {why}" + (f" ({PACKAGES[peer]})" if PACKAGES.get(peer, why) != why else ""))
    for failure in failures:
        print("wrong output: " + failure, file=sys.stderr)
    return exit_code(rows, failures, args)


def exit_code(rows, failures, args):
    """A table without one measured row is a failure, however it came to be."""
    if failures:
        return 1
    if args.rounds and not any(row["value"] is not None for row in rows):
        print("peers: no row was measured", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
