#!/usr/bin/env python3
"""Writes the C++ blocks of a page, in order, as one program whose errors name the lines of the page."""
import sys

page, program = sys.argv[1:]
with open(page) as file:
    lines = file.read().splitlines()
code, inside = [], False
for number, line in enumerate(lines, 1):
    if line.startswith("```"):
        if line == "```cpp":
            code.append(f'#line {number + 1} "{page}"')
        inside = line == "```cpp"
    elif inside:
        code.append(line)
with open(program, "w") as file:
    file.write("\n".join(code) + "\n")
