"""The protocol of worker.hpp for measuring programs in Python."""
import json
import resource
import statistics
import sys
import time


class Missing(Exception):
    """What is asked for is not in this installation."""


def request(words):
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    return {key: int(value) if value.lstrip("-").isdigit() else value for key, value in fields.items()}


def median_seconds(call, budget, per_call=1):
    """Median seconds of call(i) over `budget` seconds and at least five calls, or as many as a second holds, divided by what one
    call does."""
    times, start = [], time.perf_counter()
    while not times or time.perf_counter() - start < (1.0 if len(times) < 5 else budget):
        begin = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - begin)
    return statistics.median(times) / per_call


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(makers, version):
    """makers: kind -> function of a request that returns (call, per_call, ops, bytes), or (seconds function,)."""
    prepared = {}
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        kind, _, text = rest.partition(" ")
        try:
            if verb == "version":
                reply = dict(version=version)
            elif verb == "forget":
                prepared.clear()
                reply = dict(ok=True)
            elif verb != "time":
                raise ValueError(f"unknown request '{verb}'")
            elif kind not in makers:
                raise Missing("not built: " + kind)
            else:
                fields = request(text.split())
                budget = fields.pop("ms", 150) * 1e-3
                key = (kind, tuple(sorted(fields.items())))
                if key not in prepared:
                    prepared[key] = makers[kind](**fields)
                    prepared[key][0](0)  # the first call allocates, packs, compiles
                call, per_call, ops, size = prepared[key]
                wall, cpu = time.perf_counter(), cpu_seconds()
                reply = dict(seconds=median_seconds(call, budget, per_call), ops=ops, bytes=size)
                reply["cpu_share"] = round((cpu_seconds() - cpu) / (time.perf_counter() - wall), 3)
        except Missing as error:
            reply = dict(missing=str(error))
        except Exception as error:  # a peer may fail in any way; the driver writes it down
            reply = dict(error=f"{type(error).__name__}: {error}"[:500])
        print(json.dumps(reply), flush=True)
