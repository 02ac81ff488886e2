"""What a result must say of where it was measured."""
import datetime
import os
import platform
import re
import subprocess

FEATURES = ("avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
            "amx_int8", "asimd", "asimddp", "i8mm", "bf16")


def cpuinfo():
    fields = {}
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                key, _, value = line.partition(":")
                fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    return fields


def last_level_cache():
    """Bytes of the largest cache of processor 0."""
    sizes = [0]
    base = "/sys/devices/system/cpu/cpu0/cache"
    for index in os.listdir(base) if os.path.isdir(base) else []:
        try:
            with open(os.path.join(base, index, "size")) as file:
                text = file.read().strip()
        except OSError:
            continue
        sizes.append(int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]] if text[-1] in "KMG" else int(text))
    return max(sizes)


def describe(compiler="g++"):
    fields = cpuinfo()
    words = set(fields.get("flags", fields.get("Features", "")).split())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()
    return dict(cpu=fields.get("model name") or platform.processor() or platform.machine(), family=fields.get("cpu family", ""),
                model=fields.get("model", ""), processors=os.cpu_count(), last_level_cache=last_level_cache(),
                features=[f for f in FEATURES if f in words], compiler=version[0] if version else compiler,
                system=f"{platform.system()} {platform.release()}", date=datetime.date.today().isoformat())


def short_name(machine):
    """A folder's name: the processor without marks and speeds, and family and model, as a virtual machine hides the rest."""
    text = re.sub(r"\(.*?\)|@.*|\b(cpu|processor|core)\b", " ", machine["cpu"].lower())
    words = re.findall(r"[a-z0-9]+", text)
    if machine["family"]:
        words += [f"family{machine['family']}", f"model{machine['model']}"]
    return "-".join(words)
