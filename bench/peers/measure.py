"""Rounds of samples: ours, peers and ceilings in alternation, each between two probes for foreign load."""
import time

PROBE = "time ceiling name=adds"
STOLEN = 0.93  # of the best additions a second seen in this run: below, another program had part of the core
SHARE = 0.95  # of the wall's time that a one-thread program must have had the processor
PATIENCE = 2.0  # seconds to wait for a quiet core before a sample
TRIES = 5  # of a sample
TWO_CORES = 1.9  # of one thread's multiply-adds that two threads must reach


class Gate:
    """Says whether a sample was taken on a quiet core. The first probes find what a quiet core does."""

    def __init__(self, workers):
        self.workers, self.best = workers, 0.0
        for _ in range(5):
            self.quiet()

    def quiet(self):
        reply = self.workers.ask("qat", PROBE)
        if "seconds" not in reply:
            raise RuntimeError(reply.get("error") or reply.get("missing"))
        rate = 1.0 / reply["seconds"]
        self.best = max(self.best, rate)
        return rate >= STOLEN * self.best

    def two_cores(self):
        """Whether two threads reach twice the multiply-adds of one at this moment: on some machines both are one core."""
        one, two = (self.workers.ask("qat", f"time ceiling name=fma threads={n}", 2) for n in (1, 2))
        return "seconds" in one and "seconds" in two and one["seconds"] >= TWO_CORES * two["seconds"]

    def wait(self, patience):
        """Waits for a quiet core, at most so many seconds."""
        end = time.monotonic() + patience
        while not self.quiet() and time.monotonic() < end:
            time.sleep(0.02)


def sample(item, workers, gate, milliseconds, patience, tries=TRIES):
    """(reply, how many samples were discarded, whether the kept one is from a quiet core, or from two of them)."""
    for discarded in range(tries):
        if item.threads == 1:
            gate.wait(patience)
        reply = workers.ask(item.peer, f"time {item.request} ms={milliseconds}", item.threads)
        if "seconds" not in reply:
            return reply, discarded, True
        if gate.two_cores() if item.threads > 1 else reply.get("cpu_share", 1.0) >= SHARE and gate.quiet():
            return reply, discarded, True
    return reply, tries, False


def measure_case(case, workers, gate, rounds, milliseconds=150, patience=PATIENCE, tries=TRIES):
    """Samples of a case: {"rounds": [{item: reply}], "missing": {item: why}, "discarded": samples, "disturbed": whether a sample
    of a busy core had to be kept}.

    A round is all items once, the order turned by one each time. A sample from a busy core is discarded and taken again."""
    items = [case.ours] + [item for check in case.checks for item in check.items]
    items = list(dict.fromkeys(items))
    result = dict(rounds=[], missing={}, discarded=0, disturbed=False)
    for turn in range(rounds):
        turn %= len(items)
        sampled = {}
        for item in items[turn:] + items[:turn]:
            if item in result["missing"]:
                continue
            reply, discarded, quiet = sample(item, workers, gate, milliseconds, patience, tries)
            if "seconds" not in reply:
                result["missing"][item] = reply.get("missing") or reply.get("error")
                continue
            sampled[item] = reply
            result["discarded"] += discarded
            result["disturbed"] |= not quiet
        if case.ours in result["missing"]:
            break
        result["rounds"].append(sampled)
    return result


def check_case(case, workers):
    """("right", ""), ("wrong", what differs from the reference) or ("absent", why there is nothing to check)."""
    reply = workers.ask(case.ours.peer, f"check {case.ours.request}", case.ours.threads)
    if "missing" in reply:
        return "absent", reply["missing"]
    return ("right", "") if reply.get("ok") else ("wrong", reply.get("error", "no answer"))
