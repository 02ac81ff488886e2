"""Every command of qat-llm that a page shows is one that the program takes: its verbs, options, recipe keys and recipe files."""
import glob
import os
import re
import shlex
import sys

import tiny
from tiny import check, run

ROOT = os.environ["QAT_SOURCE_ROOT"]
PROGRAM = re.compile(r"^(?:\S*dev llm|qat-llm|\S*/qat-llm) (.*)$")


def commands(path):
    """The lines of a page's sh blocks that call the program, continued lines joined, comments and redirections cut off."""
    with open(path) as file:
        text = file.read()
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            match = PROGRAM.match(line.removeprefix("$ ").strip())
            if match:
                words = shlex.split(match.group(1), comments=True)
                yield [w for w in words if w != "..." and not w.startswith((">", "|"))]


def options_of(verb, known={}):
    if verb not in known:
        code, help_text, errors = run(verb, "--help")
        known[verb] = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", help_text)) if code == 0 else None
    return known[verb]


def main():
    _, reference, _ = run("recipe", "--reference")
    keys = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", reference))
    pages = [os.path.join(ROOT, "README.md")] + sorted(glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True))
    found = 0
    for page in pages:
        name = os.path.relpath(page, ROOT)
        for words in commands(page):
            found += 1
            wrong = []
            options = options_of(words[0])
            if options is None:
                wrong.append(f"no verb {words[0]}")
            else:
                for i, word in enumerate(words):
                    option = word.strip("[]").split("=")[0]
                    if option.startswith("-") and not re.fullmatch(r"-[\d.]+", option) and option not in options:
                        wrong.append(f"no option {option}")
                    if words[i - 1] == "--set" and word.split("=")[0] not in keys and not word.startswith("qat.quantizer"):
                        wrong.append(f"no key {word}")
                    if word.startswith("examples/") and not os.path.exists(os.path.join(ROOT, word)):
                        wrong.append(f"no file {word}")
            if wrong:
                check(f"{name}: {' '.join(words)}", False, ", ".join(wrong))
    check(f"the {found} commands that pages show", found >= 15, "the pages show fewer than 15")
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
