#!/usr/bin/env python3
"""Chooses golden cases that together show every trait of every family, smallest first, and writes them as a folder of its own.

usage: make_selection.py SOURCE TARGET [--bytes N]     SOURCE and TARGET hold cases.json and tensors.safetensors

A trait is a property of a spec (mapping with bits, granularity, dtypes, mask, flags ...), a role, or the kind of a case (its
id without numbers and dtypes). Cases are copied whole, tensors bit for bit, but of the thousands of patterns of a cast every
seventh is kept. Equal SOURCE gives equal TARGET. Python's standard library is enough. The committed selection was made with

  python3 test/golden/make_selection.py ../shared/data/golden/torchao test/golden/torchao
"""
import argparse
import json
import os
import re
import struct

FAMILIES = ("f01_", "f02_", "f03_", "f04_", "f05_", "f06_", "f10_", "f11_", "f12_")


def read_tensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_tensors(path, tensors):
    names = sorted(tensors, key=lambda n: (-ITEM[tensors[n][0]], n))  # aligned, as upstream's writer orders them
    header, offset = {}, 0
    for name in names:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(tensors[name][2] for name in names))


ITEM = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1}


def thin_casts(cases, tensors):
    """Casts are element by element: every seventh of their patterns, the same ones in input and codes."""
    keys = {key for c in cases if c["family"] == "f10_casts" for key in c["tensors"].values()}
    for key in keys:
        dtype, shape, data = tensors[key]
        if len(shape) == 1 and shape[0] > 1000:
            size = ITEM[dtype]
            items = [data[i:i + size] for i in range(0, len(data), 7 * size)]
            tensors[key] = (dtype, [len(items)], b"".join(items))


def traits(case):
    spec, family = case["spec"], case["family"]
    pairs = [("mapping", "bits", "qmin"), ("mapping", "input_dtype", "scale_dtype"), ("mapping", "granularity"),
             ("zero_point_dtype", "zero_point_domain", "input_dtype"), ("eps", "input_dtype"), ("nonfinite", "input_dtype"),
             ("upstream_defect",), ("is_dynamic", "granularity"), ("activation",), ("activation_dtype",), ("preserve_zero",),
             ("element_dtype", "rule"), ("optimizer",), ("qat",), ("compute_dtype",), ("rope",), ("bias",), ("unsigned", "mapping")]
    found = {(family,) + keys + tuple(str(spec.get(k)) for k in keys) for keys in pairs if any(k in spec for k in keys)}
    found |= {(family, "role", role) for role in case["tensors"]}
    found.add((family, "kind", re.sub(r"\d+|-s?(fp|bf)\d+|-snone", "", case["id"].split("/")[1])))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--bytes", type=int, default=1000000, help="both files together stay below this")
    args = parser.parse_args()
    with open(os.path.join(args.source, "cases.json")) as file:
        cases = json.load(file)
    tensors = read_tensors(os.path.join(args.source, "tensors.safetensors"))
    thin_casts(cases, tensors)
    left = {c["id"]: c for c in cases if c["family"].startswith(FAMILIES)}
    by_id = dict(left)

    def needed(case):
        """The case and those it reads from: a legacy converted layer has its weight in the case before it."""
        base = case["id"].removesuffix("-converted")
        return [case] + ([by_id[base]] if base != case["id"] and "weight" not in case["tensors"] else [])

    def cost(case):
        keys = {key for c in needed(case) for key in c["tensors"].values()} - chosen_tensors
        return sum(len(tensors[key][2]) + 70 for key in keys) + sum(len(json.dumps(c)) for c in needed(case))

    wanted = set().union(*(traits(c) for c in left.values()))
    chosen, chosen_tensors, total = {}, set(), 0
    while left:
        gains = {name: len(traits(c) & wanted) for name, c in left.items()}
        best = max(sorted(left), key=lambda name: gains[name] / (cost(left[name]) + 2000))
        if gains[best] == 0:
            break
        case = left.pop(best)
        if total + cost(case) > args.bytes:
            continue
        total += cost(case)
        for c in needed(case):
            chosen[c["id"]] = c
            left.pop(c["id"], None)
            chosen_tensors |= set(c["tensors"].values())
            wanted -= traits(c)
    for trait in sorted(wanted):
        print("not covered:", *trait)
    keep = [c for c in cases if c["id"] in chosen or c["family"] == "meta"]
    os.makedirs(args.target, exist_ok=True)
    with open(os.path.join(args.target, "cases.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in keep) + "\n]\n")
    write_tensors(os.path.join(args.target, "tensors.safetensors"), {key: tensors[key] for key in sorted(chosen_tensors)})
    size = sum(os.path.getsize(os.path.join(args.target, n)) for n in ("cases.json", "tensors.safetensors"))
    print(f"{len(keep) - 1} of {len(by_id)} cases, {len(chosen_tensors)} tensors, {size} bytes")


if __name__ == "__main__":
    main()
