#!/usr/bin/env python3
"""The include graph: arrows point down only, no cycles, and the lower layers depend on the standard library alone.

  layers.py          check
  layers.py --draw   write docs/layers.md
"""
import os
import re
import sys

import common

LAYERS = [["base"], ["numeric", "simd", "backend"], ["quant", "tensor"], ["expr", "pack"], ["kernels"], ["ops"],
          ["quantizer"], ["autodiff", "optim"], ["nn", "data", "io"], ["recipe", "dist", "interop"]]
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
# Arrows between folders of one layer: from a folder, to a folder or a single file.
SAME_LAYER = [
    ("io", "nn/llama_config.hpp"),  # the names and sizes a file of a Llama states are the model's configuration
    ("data", "io"),  # tokenizers and token streams are read from files
    ("autodiff", "optim/parameter.hpp"),  # a leaf of the tape is the parameter the optimizer updates
]
# Arrows that point down and are wrong all the same: kernels take raw pointers.
FORBIDDEN = [("kernels", "tensor"), ("kernels", "expr")]
TOP_RANK_0 = {"version.hpp", "fwd.hpp"}  # files beside the folders; all others are umbrellas, which nothing includes
STANDARD_ONLY_UP_TO = RANK["quantizer"]
THIRD_PARTY = {"nlohmann": {"io", "recipe"}, "yaml-cpp": {"recipe"}, "Eigen": {"interop"}, "dlpack": {"interop"}, "torch": {"interop"},
               "mpi.h": {"dist"}, "nccl.h": {"dist"}}
HEAVY = {"iostream", "functional", "memory", "random", "regex", "filesystem", "thread"}  # not below kernels/
HEAVY_ALLOWED = {("backend/worker_thread.hpp", "thread")}  # where there are no POSIX threads

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def folder_of(header):
    return header.split("/")[0] if "/" in header else ""


def graph(root):
    """header (below include/qat) -> list of (kind, included)."""
    result = {}
    for path in common.headers(root, inl=True):
        text = re.sub(r"//[^\n]*", "", common.read(os.path.join(root, "include", path)))
        result[os.path.relpath(path, "qat")] = INCLUDE.findall(text)
    return result


def problems_of(root):
    includes = graph(root)
    up, cycles, foreign, heavy = [], [], [], []
    edges = {}
    for header, found in includes.items():
        folder = folder_of(header)
        if folder and folder not in RANK:
            up.append(f"{header}: folder '{folder}' is not in the layer table of test/checks/layers.py")
            continue
        rank = RANK.get(folder, 0 if header in TOP_RANK_0 else len(LAYERS))
        for kind, name in found:
            if name.startswith("qat/"):
                target = name[4:]
                edges.setdefault(header, []).append(target)
                if target not in includes and not os.path.exists(os.path.join(root, "include", name)):
                    up.append(f"{header} includes {target}, which does not exist")
                    continue
                to = folder_of(target)
                to_rank = RANK.get(to, 0 if target in TOP_RANK_0 else len(LAYERS))
                same = to == folder or (folder, to) in SAME_LAYER or (folder, target) in SAME_LAYER
                if not folder and header not in TOP_RANK_0:
                    continue  # an umbrella
                if to_rank > rank or (to_rank == rank and not same):
                    up.append(f"{header} ({folder}, layer {rank}) includes {target} ({to or 'umbrella'}, layer {to_rank})")
                elif (folder, to) in FORBIDDEN:
                    up.append(f"{header} includes {target}: {folder} takes raw pointers and never sees {to}")
            elif kind == '"':
                foreign.append(f'{header} includes "{name}": write "qat/<layer>/<file>.hpp"')
            else:
                library = name.split("/")[0]
                if library in THIRD_PARTY and folder not in THIRD_PARTY[library]:
                    foreign.append(f"{header} includes <{name}>, allowed in {', '.join(sorted(THIRD_PARTY[library]))} only")
                elif library not in THIRD_PARTY and "/" in name and not name.startswith("sys/"):
                    foreign.append(f"{header} includes <{name}>, which no layer may")
                if name in HEAVY and rank < RANK["kernels"] and (header, name) not in HEAVY_ALLOWED:
                    heavy.append(f"{header} includes <{name}>: too heavy below kernels/")
    state = {}

    def visit(header, path):
        state[header] = "open"
        for target in edges.get(header, []):
            if target.endswith("-inl.hpp"):
                continue
            if state.get(target) == "open":
                cycles.append(" -> ".join(path + [header, target]))
            elif target not in state:
                visit(target, path + [header])
        state[header] = "done"

    for header in sorted(includes):
        if header not in state:
            visit(header, [])
    return up, cycles, foreign, heavy


def drawing(root):
    arrows = {}
    for header, found in graph(root).items():
        for _, name in found:
            pair = (folder_of(header), folder_of(name[4:]) if name.startswith("qat/") else "")
            if all(pair) and pair[0] != pair[1]:
                arrows[pair] = arrows.get(pair, 0) + 1
    present = {folder_of(h) for h in graph(root)}
    lines = ["# Layers as they are", "",
             "Written by `test/checks/layers.py --draw`; `./dev test` fails when it is out of date or an arrow points up.", "",
             "| layer | folder | headers | includes |", "| --- | --- | --- | --- |"]
    for rank, folders in enumerate(LAYERS):
        for folder in folders:
            if folder in present:
                to = sorted((b for a, b in arrows if a == folder), key=lambda b: (RANK.get(b, 0), b))
                count = sum(folder_of(h) == folder and not h.endswith("-inl.hpp") for h in graph(root))
                lines.append(f"| {rank} | {folder}/ | {count} | {' '.join(to)} |")
    return "\n".join(lines) + "\n"


def main():
    report = common.Report()
    path = os.path.join(common.ROOT, "docs", "layers.md")
    if "--draw" in sys.argv:
        with open(path, "w") as file:
            file.write(drawing(common.ROOT))
        return
    if not common.headers():
        report.check("layers: there are headers to look at", ["none under include/"])
    up, cycles, foreign, heavy = problems_of(common.ROOT)
    report.check("layers: includes point down", up)
    report.check("layers: no include cycle", cycles)
    report.check("layers: third-party headers only where they may be", foreign)
    report.check("layers: no heavy standard header below kernels/", heavy)
    if os.path.exists(path):
        report.check("layers: docs/layers.md is what --draw writes",
                     [] if common.read(path) == drawing(common.ROOT) else ["run test/checks/layers.py --draw"])
    report.finish()


if __name__ == "__main__":
    main()
