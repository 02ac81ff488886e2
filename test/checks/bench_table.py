#!/usr/bin/env python3
"""The table of performance targets is judged right: bench/peers on samples made up here."""
import os
import sys
import types

import common

sys.path.insert(0, os.path.join(common.ROOT, "bench", "peers"))
import measure  # noqa: E402
import peers  # noqa: E402
import report as reports  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402

WORK = dict(id="w", work="Work", must="80 %", aim="90 %")
OURS, PEAK, PEER = rows.Item("qat", "ours"), rows.Item("qat", "ceiling"), rows.Item("other", "ours")


def case(threads=1, **check):
    values = dict(against="peak", must=0.8, aim=0.9, items=[PEAK], is_ceiling=True)
    values.update(check)
    ours = rows.Item("qat", "ours", threads)
    return rows.Case(WORK, "w/case", ours, "ops", [rows.Check(**values)])


def result(c, ours, other, missing=None, disturbed=False):
    """Rounds in which we take so many seconds for an operation, and the other so many."""
    item = c.checks[0].items[0]
    sampled = [{c.ours: dict(seconds=a, ops=1, bytes=0), item: dict(seconds=b, ops=1, bytes=0)} for a, b in zip(ours, other)]
    for reply in sampled:
        for absent in missing or {}:
            reply.pop(absent)
    return dict(rounds=sampled, missing=missing or {}, disturbed=disturbed, discarded=0)


def row(c, *args, **keywords):
    return table.row_of(c, c.checks[0], result(c, *args, **keywords), {"other": "1.0"})


class Machine:
    """Workers that answer from a list of probes; a probe of 1 is a quiet core."""

    def __init__(self, probes):
        self.probes, self.asked = list(probes), 0

    def ask(self, peer, line, threads=1):
        if line == measure.PROBE:
            self.asked += 1
            return dict(seconds=1.0 / self.probes[min(self.asked, len(self.probes)) - 1])
        return dict(seconds=1.0, ops=1, bytes=0, cpu_share=1.0)


def verdicts(report):
    c = case()
    below, must, aim = row(c, [2, 2, 2], [1, 1, 1]), row(c, [1.2] * 3, [1] * 3), row(c, [1.05] * 3, [1] * 3)
    report.check("bench table: a row below its must is marked so",
                 [] if (below["holds"], table.mark(below)) == (False, "BELOW") else [str(below)])
    report.check("bench table: a row at its must, and one at its aim",
                 [str(r) for r, m in ((must, "must"), (aim, "aim")) if not r["holds"] or table.mark(r) != m])
    report.check("bench table: a line of the table is below if one of its rows is",
                 [] if table.mark_of_work([must, below, aim]) == "BELOW in 1 of 3" else [table.mark_of_work([must, below, aim])])
    middle = row(c, [1.0, 2.0, 1.25], [1, 1, 1])
    report.check("bench table: a row is the median of its rounds", [] if middle["value"] == 0.8 and middle["holds"] else [str(middle)])
    less = case(against="float", must=0.95, aim=0.82, items=[PEER], is_ceiling=False, at_most=True)
    report.check("bench table: what must be small is below its must when it is large",
                 [] if row(less, [0.9] * 3, [1] * 3)["holds"] and not row(less, [1] * 3, [1] * 3)["holds"] else ["at_most"])
    printed = list(table.lines([WORK], [below]))
    report.check("bench table: the printed line has value, must, aim and mark",
                 [] if all(word in printed[-1] for word in ("0.500", "0.8", "0.9", "BELOW")) else printed)


def not_judged(report):
    peer = case(against="ggml", items=[PEER], is_ceiling=False)
    absent = row(peer, [1] * 3, [1] * 3, missing={PEER: "not installed"})
    report.check("bench table: a peer that is not installed is no verdict",
                 [] if absent["holds"] is None and absent["note"].startswith("no peer") and absent["value"] is None else [str(absent)])
    c = case()
    unbuilt = table.row_of(c, c.checks[0], dict(rounds=[], missing={OURS: "not built: ours"}, disturbed=False, discarded=0), {})
    report.check("bench table: a kernel that does not exist says so", [] if unbuilt["note"].startswith("not built") else [str(unbuilt)])
    busy = row(c, [2] * 3, [1] * 3, disturbed=True)
    one_core = row(case(threads=2), [2] * 3, [1] * 3, disturbed=True)
    report.check("bench table: a busy core, or two threads on one core, is no verdict",
                 [str(r) for r in (busy, one_core) if r["holds"] is not None or not r["note"].startswith("not judged")])


def rounds(report):
    c = case()

    def measured(probes):
        gate = measure.Gate(Machine(probes))
        return measure.measure_case(c, gate.workers, gate, 3, patience=0.0)

    steady, once, never = measured([1.0]), measured([1.0] * 6 + [0.5] + [1.0]), measured([1.0] * 6 + [0.5])
    report.check("bench gate: samples of a quiet core are kept", [str(steady)] if steady["discarded"] or steady["disturbed"] else [])
    report.check("bench gate: a sample on a stolen core is taken again",
                 [] if (once["discarded"], len(once["rounds"]), once["disturbed"]) == (1, 3, False) else [str(once)])
    report.check("bench gate: a core that stays busy is said to be", [] if never["disturbed"] else [str(never)])
    first, second = row(c, [1] * 3, [1] * 3), row(c, [2] * 3, [1] * 3)
    both = table.merge([first], [second])
    report.check("bench table: adding to a file joins the rounds of a row",
                 [] if len(both) == 1 and len(both[0]["rounds"]) == 6 and both[0]["value"] == 0.75 else [str(both)])
    busy = row(c, [9] * 3, [1] * 3, disturbed=True)
    report.check("bench table: a disturbed measurement does not replace a quiet one",
                 [] if table.merge([first], [busy]) == [first] and table.merge([busy], [first]) == [first] else [str(busy)])
    args = types.SimpleNamespace(rounds=3)
    unmeasured = row(case(against="ggml", items=[PEER], is_ceiling=False), [1], [1], missing={PEER: "not installed"})
    report.check("bench table: an empty run fails",
                 [str(r) for r in ([], [unmeasured]) if peers.exit_code(r, [], args) == 0])
    report.check("bench table: wrong output fails", [] if peers.exit_code([first], ["w/case: differs"], args) == 1 else ["exit code"])


def documents(report):
    """The generated page says which rows fall short, from runs that disagree too."""
    c = case()
    machine = dict(cpu="CPU", family="1", model="2", processors=2, last_level_cache=1 << 20, features=["avx2"], target="qat on avx2",
                   clock=1e9, additions=4e9, compiler="g++", system="Linux", date="2020-01-01", peers={}, absent={})
    slow, fast = row(c, [2] * 3, [1] * 3), row(c, [1] * 3, [1] * 3)
    runs = {name: [dict(machine=machine, rows=[r]) for r in both] for name, both in
            dict(short=(slow, slow), reached=(fast, fast), split=(slow, fast)).items()}
    text = {name: "\n".join(reports.document([WORK], [(both, {WORK["id"]: "a reason"})])) for name, both in runs.items()}
    report.check("bench report: a row below its must is listed as short",
                 [] if "### What falls short" in text["short"] and "0 of 1 judged rows" in text["short"] else [text["short"]])
    report.check("bench report: with the reason that is known", [] if "a reason" in text["short"] and "a reason" not in text["reached"]
                 else [text["short"]])
    report.check("bench report: a row at its aim is not", [] if "short**" not in text["reached"] and "falls short" not in text["reached"]
                 else [text["reached"]])
    report.check("bench report: a row that holds in one run of two is said to", [] if "in 1 of 2 runs" in text["split"] else [text["split"]])


def targets(report):
    works = rows.load_targets()
    all_cases = rows.cases(works, 1 << 20)
    names = [c.name for c in all_cases]
    report.check("bench targets: names of rows are unique", sorted({n for n in names if names.count(n) > 1}))
    report.check("bench targets: every case is held against something", [c.name for c in all_cases if not c.checks])
    report.check("bench targets: an aim is not weaker than its must",
                 [f"{c.name} / {k.against}" for c in all_cases for k in c.checks if k.must is not None and (k.aim > k.must if k.at_most else k.aim < k.must)])


def main():
    report = common.Report()
    for part in (verdicts, not_judged, rounds, documents, targets):
        part(report)
    report.finish()


if __name__ == "__main__":
    main()
