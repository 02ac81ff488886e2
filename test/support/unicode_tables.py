#!/usr/bin/env python3
"""Prints the tables of include/qat/data/unicode.hpp: boundaries where membership of a general category starts or ends.
unicode_tables.py > tables.txt   (the committed ones are of Unicode 14.0: python 3.11)"""
import sys
import unicodedata

print(f"// Unicode {unicodedata.unidata_version}, by test/support/unicode_tables.py")
for category, name in (("L", "kLetterBoundaries"), ("N", "kNumberBoundaries")):
    inside, bounds = False, []
    for point in range(sys.maxunicode + 2):
        now = point <= sys.maxunicode and unicodedata.category(chr(point))[0] == category
        if now != inside:
            bounds.append(point)
        inside = now
    print(f"inline constexpr std::uint32_t {name}[] = {{")
    line = "   "
    for bound in bounds:
        item = f" {bound:#x},"
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(line.rstrip(",") + "};")
