"""What two runs left behind, compared: for the tests of resuming."""
import json
import os

TIMES = ("seconds", "tokens_per_second", "peak_memory")  # what differs from one run to the next


def last_checkpoint(directory):
    """Steps done at the newest checkpoint; 0 where there is none."""
    folder = os.path.join(directory, "checkpoints")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return max([int(name[5:]) for name in names if name.startswith("step-")], default=0)


def metrics(directory):
    """The lines of metrics.jsonl as objects, without times."""
    lines = []
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        for text in file.read().split("\n")[:-1]:
            line = json.loads(text)
            line.update(line.pop("validation", {}))
            lines.append({key: value for key, value in line.items() if key not in TIMES})
    return lines


def files(directory):
    """Path -> bytes of everything that must be equal: the trained model in every form, and the last checkpoint."""
    found = {}
    for folder in ("model", "packed", os.path.join("checkpoints", f"step-{last_checkpoint(directory):06d}")):
        for place, _, names in os.walk(os.path.join(directory, folder)):
            for name in names:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, directory)] = file.read()
    return found


def differences(whole, other):
    """Names of what differs between two finished runs."""
    a, b = files(whole), files(other)
    different = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    if not any(name.endswith("state.safetensors") for name in a) or not any(name.endswith("model.safetensors") for name in a):
        different.append(f"{whole} holds no model or no checkpoint")
    lines, others = metrics(whole), metrics(other)
    if [line["step"] for line in lines] != list(range(len(lines))) or not lines:
        different.append(f"{whole}: steps {[line['step'] for line in lines]}")
    if lines != others:
        different.append("metrics.jsonl from line " + str(next((i + 1 for i, (x, y) in enumerate(zip(lines, others)) if x != y),
                                                               min(len(lines), len(others)) + 1)))
    return different
