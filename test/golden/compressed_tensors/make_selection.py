#!/usr/bin/env python3
"""Chooses the cases of compressed-tensors that together show every width, strategy, mapping and dtype, smallest shapes first.

usage: make_selection.py SOURCE TARGET     SOURCE holds cases.json and pack_quantized.safetensors; TARGET gets the same two files

The committed selection was made with

  python3 test/golden/compressed_tensors/make_selection.py ../shared/data/golden/compressed_tensors test/golden/compressed_tensors
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from make_selection import read_tensors, write_tensors


def main():
    source, target = sys.argv[1:]
    with open(os.path.join(source, "cases.json")) as file:
        golden = json.load(file)
    tensors = read_tensors(os.path.join(source, "pack_quantized.safetensors"))
    seen, chosen = set(), []
    for case in sorted(golden["cases"], key=lambda c: (c["shape"][0] * c["shape"][1], c["name"])):
        traits = {(case["num_bits"], case["symmetric"]), (case["strategy"], case["symmetric"]), (case["dtype"],)}
        if traits - seen:
            seen |= traits
            chosen.append(case)
    names = tuple(case["name"] + "." for case in chosen)
    golden["cases"] = chosen
    with open(os.path.join(target, "cases.json"), "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")
    write_tensors(os.path.join(target, "pack_quantized.safetensors"), {k: v for k, v in tensors.items() if k.startswith(names)})
    print(f"{len(chosen)} cases")


if __name__ == "__main__":
    main()
