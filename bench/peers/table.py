"""Rows of the table: ratios over rounds, judged against their must and aim."""
import statistics

from workers import PACKAGES


def rate(reply, quantity):
    return reply[quantity] / reply["seconds"]


def one_ratio(case, check, sampled):
    """(value, our absolute, the reference's absolute, the item that counts) of a round; None where something is missing."""
    have = [item for item in check.items if item in sampled]
    if not have or case.ours not in sampled:
        return None
    ours = sampled[case.ours]
    if check.is_ceiling:
        best = max(have, key=lambda i: rate(sampled[i], case.quantity))
        reference, mine = rate(sampled[best], case.quantity), rate(ours, case.quantity)
        return mine / reference, mine, reference, best
    best = min(have, key=lambda i: sampled[i][check.field])
    reference = sampled[best][check.field]
    value = ours[check.field] / reference if check.at_most else reference / ours[check.field]
    if check.field != "seconds":
        return value, ours[check.field], reference, best
    return value, ours[case.quantity] / ours["seconds"], ours[case.quantity] / reference, best


def judge(value, must, aim, at_most=False):
    """(holds, reaches the aim)."""
    return (value <= must, value <= aim) if at_most else (value >= must, value >= aim)


def absolute_unit(case, check):
    if check.field != "seconds":
        return "bytes"
    return case.work.get("unit") or {"ops": "op/s", "bytes": "B/s"}[case.quantity]


def row_of(case, check, result, versions):
    """One row: a case held against one reference."""
    work = check.work or case.work["id"]
    row = dict(name=f"{work}/{case.name.split('/', 1)[1]} / {check.against}", work=work, value=None, unit="ratio", must=check.must, aim=check.aim,
               at_most=check.at_most, holds=None, reaches_aim=None, absolute=None, absolute_unit=absolute_unit(case, check),
               ceiling=None, peer=None, threads=case.threads, rounds=[], note="")
    missing = result["missing"]
    ratios = [r for r in (one_ratio(case, check, sampled) for sampled in result["rounds"]) if r]
    if case.ours in missing:
        row["note"] = missing[case.ours] if missing[case.ours].startswith("not built") else "failed: " + missing[case.ours]
        return row
    if not ratios:
        absent = [item.peer for item in check.items if item in missing]
        reasons = [missing[item] for item in check.items if item in missing]
        row["note"] = "no ceiling: " + "; ".join(reasons)
        if not check.is_ceiling:
            row["note"] = f"no peer ({', '.join(PACKAGES.get(p, p) for p in dict.fromkeys(absent))})"
            row["absent"] = reasons
        if result["rounds"]:
            row["absolute"] = statistics.median(rate(sampled[case.ours], case.quantity) for sampled in result["rounds"])
        return row
    call = result["rounds"][0][case.ours]
    row["call"] = dict(ops=call["ops"], bytes=call["bytes"])
    row["rounds"] = [dict(value=v, absolute=a, reference=r, by=item.peer) for v, a, r, item in ratios]
    row["discarded"] = result["discarded"]
    if result["disturbed"] and check.field == "seconds":
        row["note"] = "not judged: " + ("two threads had one core" if case.threads > 1 else "the core was busy")
    elif check.against == "openblas_or_blis" and len({i.peer for i in check.items if i not in missing}) < 2:
        row["note"] = "only one of OpenBLAS and BLIS is here"
    return settle(row, check.is_ceiling, check.against, versions)


def settle(row, is_ceiling, against, versions):
    """Medians and the verdict, from row["rounds"]."""
    middle = sorted(row["rounds"], key=lambda r: r["value"])
    row["value"] = statistics.median(r["value"] for r in middle)
    row["spread"] = [middle[0]["value"], middle[-1]["value"]]
    row["absolute"] = statistics.median(r["absolute"] for r in middle)
    reference = statistics.median(r["reference"] for r in middle)
    if is_ceiling:
        row["ceiling"] = dict(name=against, value=reference)
    else:
        by = middle[len(middle) // 2]["by"]
        row["peer"] = dict(name=against, value=reference, version=versions.get(by, ""))
    if row["must"] is None:
        row["note"] = "for scale"
    elif not row["note"].startswith("not judged"):
        row["holds"], row["reaches_aim"] = judge(row["value"], row["must"], row["aim"], row["at_most"])
    return row


def merge(old, new):
    """Rows of both. The rounds of a row measured twice are taken together, unless one of the two could not be judged or they are
    of different revisions: then the new one replaces the old."""
    rows = {row["name"]: row for row in old}
    for row in new:
        before = rows.get(row["name"])
        if before and before["holds"] is not None and before.get("revision") == row.get("revision"):
            if row["holds"] is None:
                continue
            reference = row["ceiling"] or row["peer"]
            row = settle(dict(row, rounds=before["rounds"] + row["rounds"]), row["ceiling"] is not None, reference["name"], {})
            if row["peer"]:
                row["peer"]["version"] = reference["version"]
        rows[row["name"]] = row
    return list(rows.values())


def mark(row):
    if row.get("wrong"):
        return "WRONG"
    if row["holds"] is None:
        return row["note"] or "-"
    return "BELOW" if not row["holds"] else "aim" if row["reaches_aim"] else "must"


def mark_of_work(rows):
    """One word for a line of the table: the worst of its rows that were judged."""
    if any(row.get("wrong") for row in rows):
        return "WRONG"
    judged = [row for row in rows if row["holds"] is not None]
    if not judged:
        return "not judged"
    below = sum(not row["holds"] for row in judged)
    if below:
        return f"BELOW in {below} of {len(judged)}"
    return "aim" if all(row["reaches_aim"] for row in judged) else "must"


def target(value):
    return "" if value is None else f"{value:g}"


def number(value, unit):
    if value is None:
        return ""
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "token/s":
        return f"{value:.1f} {unit}"
    return f"{value * 1e-9:.1f} {'GB/s' if unit == 'B/s' else 'GOP/s'}"


def lines(works, rows):
    """The table as text."""
    width = max([len(row["name"].split("/", 1)[1]) for row in rows] + [20])
    for work in works:
        mine = [row for row in rows if row["work"] == work["id"]]
        if not mine:
            continue
        yield ""
        yield f"{work['work']} | must {work['must']} | aim {work['aim']} | {mark_of_work(mine)}"
        for row in mine:
            name = row["name"].split("/", 1)[1]
            reference = row["ceiling"] or row["peer"]
            value = "" if row["value"] is None else f"{row['value']:.3f}"
            against = number(reference["value"], row["absolute_unit"]) if reference else ""
            note = f" ({row['note']})" if row["note"] and row["holds"] is not None else ""
            yield (f"  {name:{width}} {number(row['absolute'], row['absolute_unit']):>13} {against:>13} {value:>8} "
                   f"{target(row['must']):>6} {target(row['aim']):>6}  {mark(row)}{note}")
