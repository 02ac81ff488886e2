#!/usr/bin/env python3
"""Takes the committed selection out of the large folder of ggml's golden vectors.

usage: ggml_selection.py SOURCE TARGET     SOURCE and TARGET hold cases.json and tensors.safetensors

Input and encoded bytes: every row once of each kind (its name without numbers). Decoding: the first four rows of random
bytes, and rows that hold a byte special to their type. Python's standard library is enough. The committed selection was
made with

  python3 test/golden/ggml_selection.py ../shared/data/golden/ggml test/golden/ggml
"""
import json
import os
import re
import sys

from make_selection import ITEM, read_tensors, write_tensors

ENCODED = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "TQ1_0", "TQ2_0", "MXFP4")


def rows(tensor, chosen):
    dtype, shape, data = tensor
    size = shape[1] * ITEM[dtype]
    return dtype, [len(chosen), shape[1]], b"".join(data[i * size:(i + 1) * size] for i in chosen)


def main():
    source, target = sys.argv[1:]
    with open(os.path.join(source, "cases.json")) as file:
        cases = json.load(file)
    tensors = read_tensors(os.path.join(source, "tensors.safetensors"))
    kinds = {}
    for i, name in enumerate(cases["rows"]):
        kinds.setdefault(re.sub(r"[\d.e-]+|_(pos|neg)\b", "", name), i)
    chosen = sorted(kinds.values())
    kept = {"input": rows(tensors["input"], chosen)}
    for name in ENCODED:
        kept[name + ".bytes"] = rows(tensors[name + ".bytes"], chosen)
    for which in ("ref", "cpu"):
        kept["act.Q8_0." + which] = rows(tensors["act.Q8_0." + which], chosen)
    for name in ("Q8_1", "Q8_K"):
        kept[f"act.{name}.cpu"] = rows(tensors[f"act.{name}.cpu"], chosen)
    for name in cases["types"]:
        stored = tensors[name + ".decode_bytes"]
        special = [i for i in range(stored[1][0]) if name == "NVFP4" and re.search(rb"[\x7f\xff]", stored[2][i * 144:(i + 1) * 144:36])]
        few = sorted(set([0, 1, 2, 3] + special[:2]))
        kept[name + ".decode_bytes"] = rows(stored, few)
        kept[name + ".decode_dequant"] = rows(tensors[name + ".decode_dequant"], few)
    keep = {key: cases[key] for key in ("source", "ggml", "seed", "row_length")}
    keep["rows"] = [cases["rows"][i] for i in chosen]
    keep["types"] = {name: {key: entry[key] for key in ("type_id", "block", "block_bytes")} for name, entry in cases["types"].items()}
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "cases.json"), "w") as file:
        file.write(json.dumps(keep, indent=1) + "\n")
    write_tensors(os.path.join(target, "tensors.safetensors"), kept)
    print(f"{len(chosen)} of {len(cases['rows'])} rows,", os.path.getsize(os.path.join(target, "tensors.safetensors")), "bytes")


if __name__ == "__main__":
    main()
