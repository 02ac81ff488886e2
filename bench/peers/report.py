#!/usr/bin/env python3
"""Writes docs/performance.md from the results of at least two runs of `./dev bench --peers --json`.

Usage: report.py [--output FILE] [RESULT.json ...]     without arguments: all of bench/results
"""
import argparse
import glob
import json
import os
import statistics
import sys

import machine as machine_names
import roofline
import rows as row_list
import table

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def combine(runs):
    """One record per row of any run: {"row": the last one, "values": of each run that judged it, "holds": [bool], ...}."""
    combined = {}
    for run in runs:
        for row in run["rows"]:
            record = combined.setdefault(row["name"], dict(row=row, values=[], holds=[], aims=[], low=[], high=[]))
            if row["value"] is not None or record["row"]["value"] is None:
                record["row"] = row
            if row["value"] is None or row["note"].startswith("not judged"):
                continue
            record["values"].append(row["value"])
            if row["holds"] is not None:
                record["holds"].append(row["holds"])
                record["aims"].append(row["reaches_aim"])
            record["low"].append(row["spread"][0])
            record["high"].append(row["spread"][1])
    return combined


def verdict(record):
    """One word or phrase; a row must hold in every run."""
    if record["row"].get("wrong"):
        return "wrong output"
    if not record["holds"]:
        return record["row"]["note"] or "not judged"
    if all(record["holds"]):
        return "aim" if all(record["aims"]) else "must"
    return f"**short** in {record['holds'].count(False)} of {len(record['holds'])} runs" if any(record["holds"]) else "**short**"


def is_short(record):
    return not all(record["holds"])


def label(record):
    return record["row"]["name"].split("/", 1)[1].rsplit(" / ", 1)[0]


def against(row):
    return row["name"].rsplit(" / ", 1)[1].replace("_", " ")


def row_lines(records):
    yield "| case | against | measured | reference | ratio | spread | runs | must | aim | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for record in records:
        row = record["row"]
        reference = row["ceiling"] or row["peer"]
        sign = "<= " if row["at_most"] else ""
        values = ["", ""]
        if record["values"]:
            values = [f"{statistics.median(record['values']):.3f}", f"{min(record['low']):.3f} to {max(record['high']):.3f}"]
        yield (f"| {label(record)} | {against(row)} | {table.number(row['absolute'], row['absolute_unit'])} | "
               f"{table.number(reference['value'], row['absolute_unit']) if reference else ''} | {values[0]} | {values[1]} | {len(record['values'])} | "
               f"{sign}{table.target(row['must'])} | {sign}{table.target(row['aim'])} | {verdict(record)} |")


def machine_lines(runs):
    first = runs[0]["machine"]
    yield (f"* {first['cpu']}, family {first['family']} model {first['model']}, {first['processors']} processors, "
           f"last-level cache {first['last_level_cache'] >> 20} MiB")
    yield f"* features: {' '.join(first['features'])}; qat's target: {first['target'].replace('qat on ', '')}"
    yield (f"* clock {' and '.join(sorted({'%.2f' % (run['machine']['clock'] * 1e-9) for run in runs}))} GHz (dependent additions), "
           f"{max(run['machine']['additions'] for run in runs) * 1e-9:.1f} G independent additions a second on a quiet core")
    yield f"* {first['compiler']}, {first['system']}"
    yield f"* runs: {', '.join(run['machine']['date'] for run in runs)}; each row is the median of the rounds of a run, then of the runs"
    yield f"* revisions: {', '.join(sorted({row.get('revision', 'unknown') for run in runs for row in run['rows']}))}"
    peers = {peer.split("#")[0]: version for run in runs for peer, version in run["machine"]["peers"].items()}
    yield f"* peers: {', '.join(sorted(v for v in set(peers.values()) if not v.startswith('qat')))}"
    absent = {peer: why for run in runs for peer, why in run["machine"]["absent"].items()}
    if absent:
        yield f"* not here: {', '.join(f'{peer} ({why})' for peer, why in sorted(absent.items()))}"


def plot_name(runs):
    return f"roofline-{machine_names.short_name(runs[0]['machine'])}.svg"


def roofline_of(runs):
    """The plot of a machine, or None without products: rows that count operations on weights that are read once a call."""
    points = {}
    for record in combine(runs).values():
        row = record["row"]
        call = row.get("call", {})
        if row["absolute_unit"] in ("op/s", "B/s") and call.get("bytes") and call["ops"] > 1.5 * call["bytes"] and row["threads"] == 1:
            rate = row["absolute"] * (call["ops"] / call["bytes"] if row["absolute_unit"] == "B/s" else 1)
            points[row["name"].rsplit(" / ", 1)[0]] = (row["work"], label(record), call["ops"] / call["bytes"], rate)
    ceilings = {name: max(run["machine"].get("ceilings", {}).get(name, 0) for run in runs)
                for run in runs for name in run["machine"].get("ceilings", {})}
    return roofline.plot(f"Products on {runs[0]['machine']['cpu']}", ceilings, list(points.values()))


def short_lines(works, short, reasons):
    """What falls short, work by work, with the reason that notes.json of the machine's results gives."""
    for work in works:
        mine = [r for r in short if r["row"]["work"] == work["id"]]
        if mine:
            yield f"* **{work['work']}**: {reasons.get(work['id'], 'not analysed yet.')}"
        for r in mine:
            comparison = "must be at most" if r["row"]["at_most"] else "must be at least"
            some = "" if not any(r["holds"]) else f" (in {r['holds'].count(False)} of {len(r['holds'])} runs)"
            yield f"  * {label(r)}: {statistics.median(r['values']):.3f} of {against(r['row'])}, {comparison} {r['row']['must']:g}{some}"


def document(works, machines):
    """machines: (runs, reasons) of each machine."""
    yield "# Performance"
    yield ""
    yield "Made by `python3 bench/peers/report.py` from the results in `bench/results/`; not edited by hand. `bench/README.md` says how each"
    yield "figure is measured: ours, peers and ceilings in alternation in one run, one thread unless the row says two."
    yield "A ratio is ours over the reference (speed), or the reference's share where less is better (`<=`)."
    for runs, reasons in machines:
        records = combine(runs)
        by_work = {work["id"]: [r for r in records.values() if r["row"]["work"] == work["id"]] for work in works}
        judged = [r for r in records.values() if r["holds"]]
        short = [r for r in judged if is_short(r)]
        yield ""
        yield f"## {runs[0]['machine']['cpu']}, family {runs[0]['machine']['family']} model {runs[0]['machine']['model']}"
        yield ""
        yield from machine_lines(runs)
        yield ""
        aims = sum(all(r["aims"]) for r in judged)
        yield f"{len(judged) - len(short)} of {len(judged)} judged rows reach their must, {aims} their aim; {len(short)} fall short."
        if roofline_of(runs):
            yield ""
            yield f"![Roofline of the products]({plot_name(runs)})"
        yield ""
        yield "| work | must | aim | verdict |"
        yield "| --- | --- | --- | --- |"
        for work in works:
            mine = [r for r in by_work[work["id"]] if r["holds"]]
            below = sum(is_short(r) for r in mine)
            words = ("not measured" if not by_work[work["id"]] else "not judged" if not mine else f"**short** in {below} of {len(mine)} rows" if below
                     else "aim" if all(all(r["aims"]) for r in mine) else "must")
            yield f"| {work['work']} | {work['must']} | {work['aim']} | {words} |"
        if short:
            yield ""
            yield "### What falls short"
            yield ""
            yield from short_lines(works, short, reasons)
        yield ""
        yield "### All rows"
        for work in works:
            if by_work[work["id"]]:
                yield ""
                yield f"#### {work['work']}"
                yield ""
                yield from row_lines(by_work[work["id"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default=os.path.join(ROOT, "docs", "performance.md"))
    parser.add_argument("results", nargs="*")
    args = parser.parse_args()
    paths = args.results or sorted(glob.glob(os.path.join(ROOT, "bench", "results", "*", "run*.json")))
    machines, reasons = {}, {}
    for path in paths:
        with open(path) as file:
            run = json.load(file)
        key = (run["machine"]["cpu"], run["machine"]["family"], run["machine"]["model"])
        machines.setdefault(key, []).append(run)
        notes = os.path.join(os.path.dirname(path), "notes.json")
        if os.path.exists(notes):
            with open(notes) as file:
                reasons[key] = json.load(file)
    few = [" ".join(key) for key, runs in machines.items() if len(runs) < 2]
    if few or not machines:
        print(f"report: at least two runs of a machine are needed; found {'one of ' + ', '.join(few) if few else 'none'}", file=sys.stderr)
        return 1
    for runs in machines.values():
        plot = roofline_of(runs)
        if plot:
            with open(os.path.join(os.path.dirname(os.path.abspath(args.output)), plot_name(runs)), "w") as file:
                file.write(plot)
    with open(args.output, "w") as file:
        file.write("\n".join(document(row_list.load_targets(), [(runs, reasons.get(key, {})) for key, runs in machines.items()])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
