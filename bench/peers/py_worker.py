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
    """Median seconds of call(i) over `budget` seconds and at least five times, divided by what one call does."""
    call(0)
    times, start, i = [], time.perf_counter(), 1
    while len(times) < 5 or time.perf_counter() - start < budget:
        begin = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - begin)
        i += 1
        if len(times) >= 3 and time.perf_counter() - start > 20 * budget:  # slow calls: three are enough
            break
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
                call, per_call, ops, size = prepared[key]
                wall, cpu = time.perf_counter(), cpu_seconds()
                reply = dict(seconds=median_seconds(call, budget, per_call), ops=ops, bytes=size)
                reply["cpu_share"] = round((cpu_seconds() - cpu) / (time.perf_counter() - wall), 3)
        except Missing as error:
            reply = dict(missing=str(error))
        except Exception as error:  # a peer may fail in any way; the driver writes it down
            reply = dict(error=f"{type(error).__name__}: {error}"[:500])
        print(json.dumps(reply), flush=True)
