"""Times of device work, of several contenders at once: CUDA-graph replays in alternation, medians, and their spread."""
import statistics

L2_BYTES = 180e6  # three times the largest second-level cache met; buffers of one sweep exceed it


def sets_for(bytes_per_call, least=2, most=64):
    """How many copies of its buffers a case rotates through, so that no call finds its data in a cache."""
    return int(min(most, max(least, -(-L2_BYTES // max(1, bytes_per_call)))))


def not_capturable(call):
    """Marks a call that waits for the device, and so cannot be part of a graph."""
    call.not_capturable = True
    return call


class Contender:
    """calls: one function of no arguments for each set of buffers; all of them are one sweep."""

    def __init__(self, name, calls):
        self.name, self.calls, self.samples, self.graph = name, calls, [], None
        self.capturable = not any(getattr(call, "not_capturable", False) for call in calls)


def capture(torch, contender, repeats):
    """The sweep, `repeats` times, as a graph. Calls marked not_capturable (they wait for the device) run as they are: a
    capture that fails leaves PyTorch's generator unusable."""
    if not contender.capturable:
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in contender.calls:  # first calls allocate, choose algorithms and compile
            call()
        stream.synchronize()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(repeats):
            for call in contender.calls:
                call()
    contender.graph = graph


def run_once(torch, contender, repeats):
    """Seconds of one call."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    if contender.graph is not None:
        contender.graph.replay()
    else:
        for _ in range(repeats):
            for call in contender.calls:
                call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e-3 / (repeats * len(contender.calls))


def compare(torch, contenders, rounds=9, target_seconds=4e-3):
    """Fills contender.samples in alternation; returns {name: {"median", "low", "high"}} in seconds for one call.

    low and high are the first and third quartiles."""
    for c in contenders:
        for call in c.calls:
            call()
    torch.cuda.synchronize()
    for c in contenders:
        once = run_once(torch, c, 1)
        c.repeats = max(1, min(200, round(target_seconds / max(1e-7, once * len(c.calls)))))
        capture(torch, c, c.repeats)
        run_once(torch, c, c.repeats)
    for round_number in range(rounds):
        order = contenders if round_number % 2 == 0 else contenders[::-1]
        for c in order:
            c.samples.append(run_once(torch, c, c.repeats))
    result = {}
    for c in contenders:
        quartiles = statistics.quantiles(c.samples, n=4)
        result[c.name] = {"median": statistics.median(c.samples), "low": quartiles[0], "high": quartiles[2],
                          "graph": c.graph is not None}
        c.graph = None
    return result
