"""kill -9 at random moments: every resumed run goes on from its last checkpoint, and the last one leaves the weights, moments and
metrics of a run that nobody killed, to the byte."""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

import runs
import tiny
from tiny import check

FULL = bool(os.environ.get("QAT_TEST_FULL"))
KILLS = 20 if FULL else 4  # of every case, on 1 and on 2 threads in turn; full: on both
STEPS, EVERY = 240, 7
CASES = [("8da4w", ["--scheme", "8da4w"]),
         ("learned scales after a delay", ["--scheme", "weight=int4:group32:asymmetric", "--learn-scales", "--delay-fake-quant-steps", "90",
                                           "--ema-decay", "0.95"]),
         ("fine-tuning", ["--scheme", "8da4w", "--accumulation", "2", "--set", "task.type=sft", "--set", "data.chat_template=plain"])]


def intact(directory):
    """What is wrong with the checkpoints of a run, as far as another program can tell; '' if nothing."""
    folder = os.path.join(directory, "checkpoints")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.startswith("step-"):
            continue  # unfinished, and named so
        with open(os.path.join(folder, name, "state.json")) as file:
            state = json.load(file)
        with open(os.path.join(folder, name, "state.safetensors"), "rb") as file:
            data = file.read()
        header_bytes, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + header_bytes])
        end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        if len(data) != 8 + header_bytes + end or int(name[5:]) != state["step"] or set(state["tensors"]) != set(header) - {"__metadata__"}:
            return f"{name}: {len(data)} bytes, step {state['step']}"
    return ""


def survives(name, command, folder, generator):
    whole, killed = os.path.join(folder, "whole"), os.path.join(folder, "killed")
    start = time.time()
    code, _, errors = tiny.run(*command, "--output-dir", whole)
    seconds = time.time() - start
    check(f"{name}: a run that nobody kills", code == 0, errors)
    kills, starts, wrong = 0, 0, []
    while kills < KILLS and starts < 10 * KILLS:
        # A run that ended before it was killed often enough begins again, and is compared again.
        process = subprocess.Popen([tiny.QAT_LLM, *command, "--output-dir", killed, "--resume"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        starts += 1
        before = runs.last_checkpoint(killed)
        try:
            _, errors = process.communicate(timeout=generator.uniform(0.0, max(seconds / 2, 0.02)))
            if process.returncode != 0:
                wrong.append(errors.decode())
                break
            wrong += runs.differences(whole, killed)
            subprocess.run(["rm", "-r", killed], check=True)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        wrong += [text for text in [intact(killed)] if text]
        if os.path.isdir(killed) and runs.last_checkpoint(killed) < before:
            wrong.append(f"the last checkpoint was {before}, is {runs.last_checkpoint(killed)}")
    check(f"{name}: {KILLS} kills in {starts} starts leave whole checkpoints", kills == KILLS and not wrong, "; ".join(wrong[:3]))
    code, _, errors = tiny.run(*command, "--output-dir", killed, "--resume")
    check(f"{name}: the run ends after the last kill", code == 0, errors)
    different = runs.differences(whole, killed)
    different += sorted(set(os.listdir(killed)) ^ set(os.listdir(whole)))
    check(f"{name}: weights, moments, scales and metrics are those of a run that nobody killed", not different, "; ".join(different))


def write_samples(path):
    words = ["cat", "dog", "mat", "sea", "hat"]
    with open(path, "w") as file:
        for i in range(40):
            file.write(json.dumps(dict(prompt="say " + words[i % 5] * (i % 3 + 1) + " ", completion=words[i % 5] + ".")) + "\n")


def main():
    seed = int(os.environ.get("QAT_TEST_SEED", "1"))
    print(f"QAT_TEST_SEED={seed}", flush=True)
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        samples = os.path.join(folder, "samples.jsonl")
        write_samples(samples)
        for number, (name, options) in enumerate(CASES):
            data = samples if "task.type=sft" in options else text
            for threads in (1, 2) if FULL else (1 + number % 2,):
                with tempfile.TemporaryDirectory() as place:
                    survives(f"{name}, {threads} thread{'s' * (threads - 1)}",
                             ["train", "--model", model, "--train-data", data, "--steps", str(STEPS), "--batch", "2", "--seq-length", "32",
                              "--data", data, "--length", "32", "--validate-every", "50", "--checkpoint-every", str(EVERY), "--threads",
                              str(threads), *options], place, generator)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
