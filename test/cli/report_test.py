"""The page of a run, and of several: what it holds, that it is whole and safe, and how it looks in a browser."""
import html.parser
import json
import os
import re
import sys
import tempfile

import browser
import tiny
from tiny import check, run

HOSTILE = "<script>alert('x')</script> & \"quoted\" </style></svg>"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    """Elements of a page, and what is wrong with their nesting."""

    def __init__(self, text):
        super().__init__()
        self.open, self.problems, self.elements, self.text, self.attributes = [], [], [], "", []
        self.feed(text)
        self.close()
        self.problems += [f"<{name}> is not closed" for name in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at line {self.getpos()[0]} closes something else")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    def count(self, tag, **attributes):
        return sum(name == tag and all(found.get(key) == value for key, value in attributes.items()) for name, found in self.elements)


def load(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def evaluation(qat, text=HOSTILE):
    """An evaluation.json with every kind of figure."""
    def scores(nats, acc):
        return {"valid": {"nats_per_token": nats, "stderr": 0.01, "word_perplexity": 50 * nats, "byte_perplexity": 1.6, "bits_per_byte": 0.7},
                "cloze": {"acc": acc, "acc_stderr": 0.02, "acc_norm": acc + 0.01, "acc_norm_stderr": 0.02}}
    rows = {"full precision": scores(1.3861, 0.57), "PTQ": scores(1.5138, 0.52), "QAT": scores(qat, 0.55)}
    models = [{"name": name, "scheme": "float" if name == "full precision" else "8da4w", "path": "p", "bytes": 1 << 20, "resident_bytes": 2 << 20,
               "prefill_tokens_per_second": 9000.5, "decode_tokens_per_second": 1234.5, "seconds": 3.25, "scores": row,
               "sample": f"Once {text} upon a time {name}"} for name, row in rows.items()]
    degradation = []
    for dataset in ("valid", "cloze"):
        for metric in ("nats_per_token", "word_perplexity", "byte_perplexity", "bits_per_byte", "acc", "acc_norm"):
            if metric in rows["QAT"][dataset]:
                full, ptq, own = (rows[name][dataset][metric] for name in ("full precision", "PTQ", "QAT"))
                degradation.append({"dataset": dataset, "metric": metric, "full_precision": full, "ptq": ptq, "qat": own,
                                    "ptq_minus_full": ptq - full, "qat_minus_full": own - full, "gap_closed": None})
    return {"format": "qat-evaluation", "version": 1, "qat": "0", "processor": f"CPU {text}", "threads": 2, "target": "avx2", "compiler": "g++",
            "prompt": "Once ", "models": models, "degradation": degradation,
            "datasets": [{"name": "valid", "kind": "text", "file": "v.txt", "bytes": 9, "words": 2, "targets": 91136},
                         {"name": "cloze", "kind": "choices", "file": "c.jsonl", "items": 600, "targets": 2400}]}


def whole(name, path, *expected):
    text = load(path)
    page = Page(text)
    check(f"{name}: well-formed", not page.problems, "; ".join(page.problems[:5]))
    check(f"{name}: less than 500 KB", len(text.encode()) < 500_000, str(len(text.encode())))
    check(f"{name}: nothing from outside", not re.search(r"https?:|url\(|@import|src=|<script|<link", text),
          str(re.findall(r".{30}(?:https?:|url\(|@import|src=|<script|<link).{30}", text)[:3]))
    ids = [found["id"] for _, found in page.elements if "id" in found]
    check(f"{name}: every id once", len(ids) == len(set(ids)))
    check(f"{name}: pictures have titles, table headers a scope",
          all("scope" in found for tag, found in page.elements if tag == "th") and
          text.count('role="img"') <= text.count("<title"))
    missing = [part for part in expected if part not in page.text]
    check(f"{name}: what it says", not missing, f"{missing} missing")
    return page


def single(folder, model, text, place):
    out, data = os.path.join(place, "report.html"), os.path.join(folder, "report.json")
    code, printed, errors = run("report", place, "--json", data)
    check("a page of a run", code == 0 and out in printed, errors)
    page = whole("a page", out, "Training", "fake quantization on after 10", "resumed after 20", "Layers", "layers.0.self_attn.q_proj",
                 "Codes and scales", "Recipe", "max_steps", "Origins", "What this page could not find", "qat-llm eval --run " + place)
    check("a page: four plots, two histograms and a row a quantized layer", page.count("svg", **{"class": "plot"}) == 1 and
          page.count("svg", **{"class": "plot plain"}) == 3 and page.count("svg", viewbox="0 0 160 44") == 14, str(page.count("svg")))
    report = json.loads(load(data))["runs"][0]
    check("its figures as JSON", len(report["metrics"]) == 40 and report["delay"] == 10 and report["resumed_after"] == [20] and
          sum(layer["qat"]["scheme"] != "float" for layer in report["layers"]) == 7 and
          all(10 < layer[when]["sqnr_db"] < 40 for layer in report["layers"] if layer["qat"]["scheme"] != "float" for when in ("ptq", "qat")) and
          "quantized model scores" in report["verdict"], report["verdict"])
    with open(os.path.join(place, "evaluation.json"), "w") as file:
        json.dump(evaluation(1.4263), file)
    code, printed, errors = run("report", place, "--json", data)
    check("a page with an evaluation", code == 0, errors)
    page = whole("an evaluated page", out, "QAT closes 69 % of the gap", "0.0402 nats a token", "0.1277", "91,136 targets", "1.4263 ±0.0100",
                 "+0.1277", "accuracy (per byte)", "Sample text", "upon a time PTQ", "<script>alert('x')</script>", "</style></svg>")
    check("hostile text stays text", page.count("script") == 0 and "What this page could not find" not in page.text)
    again = load(out)
    run("report", place)
    check("the same run gives the same page", load(out) == again)
    elsewhere = os.path.join(folder, "elsewhere.html")
    code, _, errors = run("report", place, "--out", elsewhere)
    check("--out writes elsewhere", code == 0 and load(elsewhere) == again, errors)


def refusals(folder, place):
    for name, arguments, parts in [
            ("no run", [folder], ["run.json", "cannot open"]),
            ("no directory", [os.path.join(folder, "none")], ["none", "is no directory"]),
            ("a page in a directory that is absent", [place, "--out", os.path.join(folder, "none", "r.html")], ["none/r.html", "cannot write"])]:
        code, _, errors = run("report", *arguments)
        check(f"{name} is refused", code == 2 and len(errors.strip().splitlines()) == 1 and all(part in errors for part in parts),
              f"exit {code}: {errors!r}")
    metrics = os.path.join(place, "metrics.jsonl")
    lines = load(metrics)
    with open(metrics, "w") as file:
        file.write(lines.replace('"loss"', '"loss', 1))
    before = load(os.path.join(place, "report.html"))
    code, _, errors = run("report", place)
    check("damaged metrics are refused, and the page stays", code == 2 and "metrics.jsonl:1" in errors and
          load(os.path.join(place, "report.html")) == before, errors)
    with open(metrics, "w") as file:
        file.write(lines)


def large(folder, text, options):
    """The page of a deep model's long run, whose every figure would not fit."""
    tiny.LAYERS, before = 40, tiny.LAYERS
    model, place = os.path.join(folder, "deep.bin"), os.path.join(folder, "deep")
    tiny.write_model(model)
    tiny.LAYERS = before
    code, _, errors = run("train", *options, "--model", model, "--scheme", "8da8w", "--steps", "1", "--output-dir", place)
    check("a deep model", code == 0, errors)
    description = json.loads(load(os.path.join(place, "run.json")))
    description["steps"] = 20000
    with open(os.path.join(place, "run.json"), "w") as file:
        json.dump(description, file)
    with open(os.path.join(place, "metrics.jsonl"), "w") as file:
        for step in range(20000):
            line = {"step": step, "loss": 5 / (1 + step) + step % 7 / 10, "grad_norm": 1 + step % 3, "lr": 1e-3, "seconds": 0.5, "tokens_per_second": 1e4}
            if step == 9000:
                line["loss"] = line["grad_norm"] = None
            if step % 10 == 9:
                line["validation"] = {"float": 2.0, "quantized": 2.1 + step / 1e6}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    code, _, errors = run("report", place)
    check("a page of 280 layers and 20,000 steps", code == 0, errors)
    whole("a large page", os.path.join(place, "report.html"), "The 250 layers of 280 with the largest error", "It was not finite at 1 step.",
          "20,000", "−128")
    code, _, errors = run("report", *[place] * 12, "--out", os.path.join(folder, "twelve.html"))
    check("a page of twelve such runs", code == 0, errors)
    whole("a page of twelve runs", os.path.join(folder, "twelve.html"), "12 runs compared", "L deep", "They do not differ in any key", "The first 125 layers.")
    return os.path.join(place, "report.html")


LOOK = """(() => {
  const luminance = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
                           return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const ground = luminance(getComputedStyle(document.body).backgroundColor), faint = [], outside = [], width = document.documentElement.clientWidth;
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()), box = e.getBoundingClientRect();
    if (!own || !box.width || ['title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), l = luminance(e instanceof SVGElement ? style.fill : style.color);
    if ((Math.max(l, ground) + .05) / (Math.min(l, ground) + .05) < 4.5) faint.push(e.textContent);
    if (!e.closest('.scroll') && (box.left < 0 || box.right > width + .5)) outside.push(e.textContent);
  }
  const labels = [...document.querySelectorAll('svg.plot')].flatMap(svg => {
    const boxes = [...svg.querySelectorAll('.label, .note')].map(e => e.getBoundingClientRect());
    return boxes.filter((a, i) => boxes.some((b, j) => j < i && a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)) });
  return {scroll: document.documentElement.scrollWidth - width, faint, outside, overlapping: labels.length,
          ground: getComputedStyle(document.body).backgroundColor, plots: document.querySelectorAll('svg.plot path.line').length};
})()"""


def looks(pages):
    program = browser.find()
    if program is None:
        print("SKIPPED: how pages look (Chromium is not installed: apt-get install chromium)", flush=True)
        return
    with browser.Browser(program) as shown:
        for name, path in pages.items():
            grounds = set()
            for width in (390, 1280):
                for scheme in ("light", "dark"):
                    problems = shown.open(path, width, scheme)
                    check(f"{name}, {width} pixels, {scheme}: no error, no request", not problems, str(problems[:3]))
                    look = shown.script(LOOK)
                    grounds.add(look["ground"])
                    check(f"{name}, {width} pixels, {scheme}: nothing sticks out", look["scroll"] <= 0 and not look["outside"], str(look))
                    check(f"{name}, {width} pixels, {scheme}: text is legible", not look["faint"] and not look["overlapping"] and look["plots"] > 3,
                          str(look))
            check(f"{name}: light and dark differ", len(grounds) == 2)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        place, other = os.path.join(folder, "run"), os.path.join(folder, "other <b>run & co")
        options = ["--model", model, "--train-data", text, "--data", text, "--batch", "2", "--seq-length", "32", "--length", "32", "--lr", "1e-2"]
        train = ["train", *options, "--scheme", "8da4w", "--steps", "40", "--validate-every", "5", "--checkpoint-every", "20",
                 "--delay-fake-quant-steps", "10", "--output-dir", place]
        code, _, errors = run(*train)
        check("a run", code == 0, errors)
        for name in os.listdir(os.path.join(place, "checkpoints")):  # as if it had been killed
            if name != "step-000020":
                for file in os.listdir(os.path.join(place, "checkpoints", name)):
                    os.unlink(os.path.join(place, "checkpoints", name, file))
                os.rmdir(os.path.join(place, "checkpoints", name))
        code, out, errors = run(*train, "--resume")
        check("resumed", code == 0 and "goes on after step 20" in out, errors)
        single(folder, model, text, place)
        refusals(folder, place)
        code, _, errors = run("train", *options, "--scheme", "qat2", "--steps", "30", "--validate-every", "5", "--output-dir", other)
        check("another run", code == 0, errors)
        with open(os.path.join(other, "evaluation.json"), "w") as file:
            json.dump(evaluation(1.4463), file)
        comparison = os.path.join(folder, "comparison.html")
        code, _, errors = run("report", place, other, "--out", comparison)
        check("a page of two runs", code == 0, errors)
        page = whole("a comparing page", comparison, "2 runs compared", "A run is best, at 1.4263 nats a token on valid", "0.0200 ahead of B",
                     "B other <b>run & co", "The keys they differ in", "trainer.max_steps", "qat2", "+0.0602, PTQ +0.1277, 53 %", "Sample text")
        check("names of runs stay text", "other <b>run & co" in page.text)
        single_float = os.path.join(folder, "float")
        code, _, errors = run("train", *options, "--steps", "1", "--output-dir", single_float)
        code, _, errors = run("report", single_float)
        check("a run of one step in floating point has a page", code == 0, errors)
        whole("a page in floating point", os.path.join(single_float, "report.html"), "in floating point", "Quantized layers")
        deep = large(folder, text, options[2:])
        code, _, errors = run(*train, "--overwrite", "--set", "trainer.max_steps=11")
        left = os.listdir(place)
        check("a run that is begun again keeps nothing of the page", code == 0 and "report.html" not in left and "evaluation.json" not in left, errors)
        looks({"a large page": deep, "a page of twelve runs": os.path.join(folder, "twelve.html"), "a page": os.path.join(folder, "elsewhere.html"), "a comparing page": comparison,
               "a page in floating point": os.path.join(single_float, "report.html")})
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
