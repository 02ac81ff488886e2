"""Runs in a directory from the command line: refused, interrupted, resumed and overwritten; a full disk; what a terminal shows."""
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import runs
import tiny
from tiny import check, run

STEPS = 60


def train(**options):
    """Arguments of `qat-llm train`: underscores stand for hyphens, True for a flag, None leaves an option out."""
    arguments = ["train"]
    for name, value in options.items():
        if value is not None:
            arguments += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    return arguments


def refuses(name, arguments, *parts, untouched=None, before=None):
    files = snapshot(untouched) if untouched else None
    tiny.refuses(name, arguments, *parts, before=before)
    if untouched:
        check(f"{name}: nothing changed", snapshot(untouched) == files)


def snapshot(folder):
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                found[os.path.join(place, name)] = file.read()
    return found


def interrupted(command, number, folder):
    """(exit code, stderr) of a run that gets a signal once it has written some metrics."""
    process = subprocess.Popen([tiny.QAT_LLM, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    path, start = os.path.join(folder, "metrics.jsonl"), time.time()
    while time.time() - start < 60 and (not os.path.exists(path) or os.path.getsize(path) < 500):
        time.sleep(0.001)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors.decode()


def full_disk(command, folder, whole):
    """A run on a disk that has room for its first checkpoints and no more."""
    place = os.path.join(folder, "disk")
    os.mkdir(place)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True).returncode != 0:
        print("SKIPPED: a disk that is full (mounting one takes root)", flush=True)
        return
    try:
        directory = os.path.join(place, "run")
        code, _, errors = run(*command(directory, keep_last=0))
        check("a full disk ends the run with one line", code == 2 and len(errors.strip().splitlines()) == 1 and
              "No space left on device" in errors and directory in errors, f"exit {code}: {errors!r}")
        last = runs.last_checkpoint(directory)
        check("and keeps the checkpoints that were there", last >= 5, str(last))
        moved = os.path.join(folder, "moved")
        shutil.copytree(directory, moved)
        code, _, errors = run(*command(moved, resume=True))
        check("the run goes on where there is room, and ends as if nothing had been", code == 0 and not runs.differences(whole, moved),
              errors + "; ".join(runs.differences(whole, moved) if code == 0 else []))
    finally:
        subprocess.run(["umount", place], check=True)


def seen_on_terminal(command):
    """What a run writes to a terminal, and its exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen([tiny.QAT_LLM, *command], stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(master)
    return text.decode(), process.wait(timeout=60)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        options = dict(model=model, train_data=text, steps=STEPS, batch=2, seq_length=32, data=text, length=32, scheme="8da4w",
                       validate_every=20, checkpoint_every=5)
        command = lambda directory, **more: train(**{**options, "output_dir": directory, **more})
        whole, other = os.path.join(folder, "whole"), os.path.join(folder, "other")
        code, out, errors = run(*command(whole))
        check("a run in a directory", code == 0, errors)
        check("plain lines, with validation", "validation" in out and "quantized" in out and "tokens/s" in out, out)
        lines = runs.metrics(whole)
        check("a line of metrics a step", [line["step"] for line in lines] == list(range(STEPS)), str(len(lines)))
        check("with both losses when due", [line["step"] for line in lines if "float" in line and "quantized" in line] == [19, 39, 59])
        check("two checkpoints are kept", sorted(os.listdir(os.path.join(whole, "checkpoints"))) == ["step-000055", "step-000060"])

        refuses("a directory with a run", command(whole), whole, f"holds a run of {STEPS} steps", "after step 60", untouched=whole)
        refuses("a directory with something else", command(folder, overwrite=True), "and no run", "new or empty directory")
        refuses("a resumed run of another seed", command(whole, resume=True, seed=1), "run.json", "training.seed is 0",
                untouched=whole)
        refuses("of another scheme", command(whole, resume=True, scheme="8da3w"), "run.json", "int4", "int3", untouched=whole)
        model2, text2 = os.path.join(folder, "model2.bin"), os.path.join(folder, "text2.txt")
        tiny.write_model(model2, patch={tiny.VOCAB * tiny.DIM + tiny.DIM: 0.5})
        refuses("of another model", command(whole, resume=True, model=model2, tokenizer=folder), "run.json", "model.weights", untouched=whole)
        with open(text) as a, open(text2, "w") as b:
            b.write(a.read().replace("cat", "mat", 1))
        refuses("of other data", command(whole, resume=True, train_data=text2), "run.json", "data.checksum", untouched=whole)
        refuses("resume and overwrite at once", command(whole, resume=True, overwrite=True), "--resume", "--overwrite", untouched=whole)
        for flag in ("resume", "overwrite"):
            refuses(f"{flag} without a directory", command(None, checkpoint_every=None, **{flag: True}), "--" + flag, "--output-dir")
        code, _, errors = run(*command(whole, resume=True))
        check("a finished run is resumed to its end", code == 0 and runs.metrics(whole) == lines, errors)

        for number, exit_code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            directory = os.path.join(folder, number.name)
            code, errors = interrupted(command(directory, steps=4000, resume=True), number, directory)
            done = runs.last_checkpoint(directory)
            check(f"{number.name} ends a run with exit code {exit_code} and says where", code == exit_code and f"{done} of 4000 steps" in errors
                  and len(errors.strip().splitlines()) == 1, f"exit {code}: {errors!r}")
            check(f"{number.name}: the checkpoint holds every step of the metrics", len(runs.metrics(directory)) == done > 0, str(done))
            # A shorter run cannot go on from it: the learning rate ends elsewhere.
            refuses(f"{number.name}: with fewer steps", command(directory, resume=True), "training.steps is 4000")

        code, _, errors = run(*command(other, checkpoint_every=7, keep_last=3))
        check("how often checkpoints are written changes nothing", code == 0 and not runs.differences(whole, other), errors)
        latest = os.path.join(other, "checkpoints", "step-000060")
        for name in ("state.safetensors", "state.json"):
            path = os.path.join(latest, name)
            with open(path, "rb") as file:
                data = file.read()
            with open(path, "wb") as file:
                file.write(data[: len(data) // 2])
            refuses(f"half of {name}", command(other, resume=True), path)
            with open(path, "wb") as file:
                file.write(data)
        path = os.path.join(latest, "state.safetensors")
        with open(path, "r+b") as file:
            file.seek(-5, os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-5, os.SEEK_END)
            file.write(bytes([byte ^ 16]))
        refuses("a flipped bit", command(other, resume=True), path, "damaged", "remove", "to go on after step 56", untouched=other)
        shutil.rmtree(latest)
        foreign = os.path.join(folder, "foreign")  # a run of another model, whose checkpoint somebody puts here
        code, _, errors = run(*command(foreign, model=model2, tokenizer=folder))
        check("a run of another model", code == 0, errors)
        shutil.copytree(os.path.join(foreign, "checkpoints", "step-000060"), latest)
        refuses("a checkpoint of another model", command(other, resume=True), os.path.join(latest, "state.json"), "another run",
                "model.weights", untouched=other)
        shutil.rmtree(latest)
        code, _, errors = run(*command(other, resume=True))
        check("without its last checkpoint a run goes on from the one before", code == 0 and not runs.differences(whole, other), errors)
        code, _, errors = run(*command(other, overwrite=True, seed=1))
        check("an overwritten run begins again", code == 0 and runs.metrics(other) != lines and len(runs.metrics(other)) == STEPS, errors)

        limited = os.path.join(folder, "limited")
        refuses("a file that cannot be written", command(limited), "step-000005/state.safetensors: cannot write",
                before=tiny.no_larger_than(100_000))
        check("and no checkpoint is half-written", os.listdir(os.path.join(limited, "checkpoints")) == [])
        full_disk(command, folder, whole)

        shown, code = seen_on_terminal(command(os.path.join(folder, "terminal")))
        bars = re.findall(r"\[#*\.*\] (\d+)/60  loss \d+\.\d+  \d+ tokens/s  \d+:\d\d left  \d+ MiB", shown)
        check("a terminal shows a bar that ends full", code == 0 and bars and bars[-1] == "60" and "\r\x1b[K" in shown, repr(shown[-300:]))
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
