"""Rounds of samples: ours, peers and ceilings in alternation, each followed by a probe for foreign load."""
PROBE = "time ceiling name=adds"
STOLEN = 0.93  # of the best additions a second seen in this run: below, another program had part of the core
SHARE = 0.95  # of the wall's time that a one-thread program must have had the processor


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


def two_real_cores(workers):
    """Whether two threads reach twice the multiply-adds of one: on some machines both are one core."""
    ratios = []
    for _ in range(3):
        one, two = (workers.ask("qat", f"time ceiling name=fma threads={n}", 2) for n in (1, 2))
        if "seconds" not in one or "seconds" not in two:
            return False
        ratios.append(one["seconds"] / two["seconds"])
    return sorted(ratios)[1] >= 1.9


def measure_case(case, workers, gate, rounds, milliseconds=150):
    """Samples of a case: {"rounds": [{item: reply}], "missing": {item: why}, "disturbed": rounds that were discarded}.

    A round is all items once, the order turned by one each time; a round with a sample from a busy core is repeated, at most
    twice as often as rounds are wanted, then what there is is kept and `disturbed` says so."""
    items = [case.ours] + [item for check in case.checks for item in check.items]
    items = list(dict.fromkeys(items))
    good, bad, missing = [], [], {}
    while len(good) < rounds and len(bad) < 2 * rounds:
        turn = (len(good) + len(bad)) % len(items)
        sampled, quiet = {}, gate.quiet()
        for item in items[turn:] + items[:turn]:
            if item in missing:
                continue
            reply = workers.ask(item.peer, f"time {item.request} ms={milliseconds}", item.threads)
            if "seconds" not in reply:
                missing[item] = reply.get("missing") or reply.get("error")
                continue
            sampled[item] = reply
            if item.threads == 1:
                quiet = gate.quiet() and reply.get("cpu_share", 1.0) >= SHARE and quiet
        if case.ours in missing:
            break
        (good if quiet else bad).append(sampled)
    return dict(rounds=good if len(good) == rounds else good + bad[:rounds - len(good)], missing=missing, discarded=len(bad),
                disturbed=len(good) < rounds)


def check_case(case, workers):
    """("right", ""), ("wrong", what differs from the reference) or ("absent", why there is nothing to check)."""
    reply = workers.ask(case.ours.peer, f"check {case.ours.request}", case.ours.threads)
    if "missing" in reply:
        return "absent", reply["missing"]
    return ("right", "") if reply.get("ok") else ("wrong", reply.get("error", "no answer"))
