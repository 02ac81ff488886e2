"""What is measured: the works of targets.json, case by case, and what each is held against."""
import json
import os
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))

DOT_PRODUCT_TARGETS = ("avx2vnni", "avx512vnni", "avx512bf16")
SHAPE = "m={m} n={n} k={k} rotate={rotate}"
# name -> [(peer, request)]: the best of them counts. A ceiling is a rate of this machine, a peer does the same work.
CEILINGS = {
    "group_bound": [("qat", "ceiling name=group_bound")],
    "int8": [("qat", "ceiling name=int8")],
    "fma": [("qat", "ceiling name=fma")],
    "bf16_or_fma": [("qat", "ceiling name=bf16"), ("qat", "ceiling name=fma")],
    "read": [("qat", "memory name=read mib=256")],
    "copy": [("qat", "memory name=copy mib=256")],
    # What no arithmetic at all would give, for scale: lines read and written in the proportion of the pass.
    "read1_write4": [("qat", "memory name=read1_write4 mib=256")],
    "read2_write1": [("qat", "memory name=read2_write1 mib=256")],
    "read8_write1": [("qat", "memory name=read8_write1 mib=256")],
}
PEERS = {
    "ggml": [("ggml", "q4_0 " + SHAPE)],
    "xnnpack": [("xnnpack", "qb4w " + SHAPE)],
    "onnx_int8": [("onnx", "matmulnbits level=4 " + SHAPE)],
    "onnx_fp32": [("onnx", "matmulnbits level=0 " + SHAPE)],
    "openblas": [("openblas", "{request}")],
    "openblas_or_blis": [("openblas", "{request}"), ("blis", "{request}")],
    "eigen": [("eigen", "{request}")],
    "onednn": [("onednn", "{request}")],
    "torch_op": [("torch", "fake_quantize how=op rows={rows} columns={columns}")],
    "torchao": [("torch", "fake_quantize how=torchao rows={rows} columns={columns}")],
    "torch_eager": [("torch", "step shape=12m scheme=float")],
    "torch_compiled": [("torch", "step shape=12m scheme=float compiled=1")],
    "llm.c": [("llm.c", "step")],
    "float_step": [("model#float", "step scheme=float")],
    "float_model": [("model#float", "model scheme=float what={what}")],
    "float_model_bytes": [("model#float", "model scheme=float what={what}")],
    "float_linear": [("model", "linear scheme=float m={m} n=4096 k=4096 rotate={rotate}")],
    "one_thread": [("qat", "{what} rotate={rotate}")],
}


@dataclass(frozen=True)
class Item:
    """One thing to measure: a request to a worker."""
    peer: str
    request: str
    threads: int = 1


@dataclass
class Check:
    """A figure that a case must reach: the ratio of the case to the best of some items. Without must and aim it is for scale."""
    against: str
    must: float | None
    aim: float | None
    items: list
    is_ceiling: bool
    field: str = "seconds"
    at_most: bool = False
    work: str = ""  # the work that the row belongs to, if not the case's


@dataclass
class Case:
    work: dict
    name: str
    ours: Item
    quantity: str
    checks: list = field(default_factory=list)

    @property
    def threads(self):
        return self.ours.threads


def load_targets(path=os.path.join(HERE, "targets.json")):
    with open(path) as file:
        return json.load(file)["works"]


def case_name(work, values):
    if "name" in values:
        return f"{work['id']}/{values['name']}"
    return work["id"] + "/" + ",".join(f"{key}={value}" for key, value in values.items())


def cases(works, rotate, int8_dot_product=True):
    """Every case of every work. rotate: bytes of weights to rotate through where a work is meant out of cache; int8_dot_product:
    whether this processor has the instruction, on which some thresholds depend."""
    all_cases = []
    for work in works:
        for values in work["cases"]:
            fields = dict(values, rotate=rotate if work.get("rotate") else 0)
            request = work["request"].format(**fields) + (f" rotate={rotate}" if work.get("rotate") else "")
            ours = Item(work.get("worker", "qat").format(**fields), request, work.get("threads", 1))
            case = Case(work, case_name(work, values), ours, work.get("quantity", "ops"))
            for check in work["checks"]:
                if any(values.get(key) not in allowed for key, allowed in check.get("when", {}).items()):
                    continue
                if check.get("int8_dot_product", int8_dot_product) != int8_dot_product:
                    continue
                templates = CEILINGS.get(check["against"]) or PEERS[check["against"]]
                items = [Item(peer, text.format(request=request, **fields)) for peer, text in templates]
                case.checks.append(Check(check["against"], check.get("must"), check.get("aim"), items, check["against"] in CEILINGS,
                                         check.get("field", "seconds"), check.get("at_most", False), check.get("work", work["id"])))
            all_cases.append(case)
    return all_cases
