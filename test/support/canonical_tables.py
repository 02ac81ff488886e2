#!/usr/bin/env python3
"""Prints the tables of include/qat/data/unicode_nfc.hpp: canonical decompositions and combining classes.
canonical_tables.py > tables.txt   (the committed ones are of Unicode 14.0: python 3.11)
canonical_tables.py --golden > test/golden/tokenizers/nfc.json   strings and what they are in normal form C
"""
import json
import random
import sys
import unicodedata


def print_text(name, items):
    print(f"inline constexpr const char* {name} =")
    line = ""
    for item in items:
        if len(line) + len(item) + 1 > 110:
            print(f'    "{line}"')
            line = ""
        line += item + " "
    print(f'    "{line}";')


def decompositions():
    for point in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(point))
        if not parts or parts.startswith("<"):
            continue
        parts = [int(part, 16) for part in parts.split()]
        composes = len(parts) == 2 and unicodedata.normalize("NFC", "".join(map(chr, parts))) == chr(point)
        yield f"{point:x}{'=' if composes else '>'}" + "+".join(f"{part:x}" for part in parts)


def classes():
    start, last, kind = None, None, 0
    for point in range(sys.maxunicode + 2):
        now = unicodedata.combining(chr(point)) if point <= sys.maxunicode else 0
        if now != kind:
            if kind:
                yield f"{start:x}-{last:x}:{kind:x}"
            start, kind = point, now
        last = point


if "--golden" in sys.argv:
    random.seed(1)
    pool = [chr(p) for p in range(0x110000) if unicodedata.decomposition(chr(p)) or unicodedata.combining(chr(p))]
    pool += [chr(p) for p in (0x41, 0x61, 0x65, 0x6f, 0x20, 0x1100, 0x1161, 0x11a8, 0x1112, 0x1175, 0x11c2, 0xac00, 0xd7a3, 0x4e00)] * 40
    texts = ["", "abc", "caf\u0065\u0301", "\u212b", "\u1e9b\u0323", "a\u0323\u0307", "a\u0307\u0323", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0915\u093c", "\u0344"]
    texts += ["".join(random.choice(pool) for _ in range(random.randint(1, 8))) for _ in range(300)]
    items = [[text, unicodedata.normalize("NFC", text)] for text in texts]
    print(json.dumps({"unicode": unicodedata.unidata_version, "by": "unicodedata.normalize of Python", "items": items}, indent=0))
else:
    print(f"// Unicode {unicodedata.unidata_version}, by test/support/canonical_tables.py")
    print_text("kDecompositions", decompositions())
    print_text("kCombiningClasses", classes())
