"""Packed models leave as GGUF with the values they had; other programs decode them alike, and ggml's own quantizer, given the
values rounded to bfloat16, finds the very bytes again."""
import json
import os
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["QAT_SOURCE_ROOT"], "test", "foreign"))
import tiny
from foreign import prefer
from tiny import check, load, refused, run

prefer("gguf", "libgguf", "numpy")


def score(model, text, folder):
    path = os.path.join(folder, "score.json")
    code, _, errors = run("eval", "--model", model, "--data", text, "--length", "48", "--json", path)
    return load(path)["nats_per_token"] if code == 0 else errors


def skip(what, why):
    print(f"SKIPPED: {what} ({why})", flush=True)


def floats_of(directory):
    """Tensors of a model.safetensors file of F32."""
    with open(os.path.join(directory, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    for own, theirs in (("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output.")):
        if name.startswith(own):
            return theirs + name[len(own):]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    module, suffix = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[module]}.{suffix}"


def foreign_checks(packed, path, grid):
    """gguf (numpy) reads the file and decodes our values; libgguf (ggml's C quantizers) finds the bytes of Q4_0 again."""
    try:
        import gguf
        import numpy
    except ImportError:
        return skip("gguf reads and decodes what we write", "PyPI's gguf and numpy are not installed")
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    try:
        import libgguf
    except ImportError:
        libgguf = None
        skip("ggml's quantizer finds the same Q4_0 bytes in a bfloat16 checkpoint", "PyPI's libgguf is not installed")
    heads = {"self_attn.q_proj": tiny.HEADS, "self_attn.k_proj": tiny.KV}
    blocks = same = decoded = 0
    for name, (shape, data) in floats_of(grid).items():
        values = numpy.frombuffer(data, numpy.float32).reshape(shape)
        for module, count in heads.items():
            if module in name:  # GGUF's llama rotates neighbours
                half = shape[0] // count // 2
                values = values.reshape(count, 2, half, shape[1]).swapaxes(1, 2).reshape(shape)
        tensor = tensors.pop(gguf_name(name))
        theirs = numpy.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), numpy.float32).reshape(shape)
        decoded += bool((theirs == values).all())
        if libgguf is None or tensor.tensor_type != gguf.GGMLQuantizationType.Q4_0:
            continue
        bits = values.view(numpy.uint32).astype(numpy.uint64)
        rounded = (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(numpy.uint32).view(numpy.float32)
        again = numpy.asarray(libgguf.quantize_rows(numpy.ascontiguousarray(rounded), 2)).view(numpy.uint8).reshape(-1, 18)
        stored = numpy.asarray(tensor.data).view(numpy.uint8).reshape(-1, 18)
        blocks += len(stored)
        same += int((again == stored).all(axis=1).sum())
    count = len(floats_of(grid))
    check("gguf decodes every tensor to our values", decoded == count and not tensors, f"{decoded} of {count}, left {list(tensors)}")
    if libgguf is not None:
        print(f"ggml's quantizer: {same} of {blocks} blocks the same")
        check("ggml's quantizer finds every Q4_0 block again in a bfloat16 checkpoint", same == blocks and blocks > 0, f"{same} of {blocks}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, text = tiny.make(folder)
        at = lambda name: os.path.join(folder, name)

        def export(source, to, out, *more):
            return run("export", "--model", source, "--to", to, "--out", at(out), "--json", at("e.json"), *more)

        for scheme, to in (("gguf:q4_0", "gguf:q4_0"), ("gguf:q8_0", "gguf:q8_0"), ("qat2", "gguf"), ("8da4w", "gguf")):
            code, _, errors = run("quantize", "--model", model, "--scheme", scheme, "--out", at("packed"))
            check(f"{scheme}: packs", code == 0, errors)
            code, _, errors = export(at("packed"), to, "m.gguf")
            check(f"{scheme}: exports to {to}", code == 0 and sum(l["type"] == "F32" for l in load(at("e.json"))["layers"]) >= 3, errors)
            code, _, errors = run("export", "--model", at("packed"), "--to", "hf", "--out", at("grid"))
            check(f"{scheme}: scores as the values it was trained with", score(at("m.gguf"), text, folder) == score(at("grid"), text, folder),
                  f"{score(at('m.gguf'), text, folder)} {score(at('grid'), text, folder)}")
            if to == "gguf:q4_0":
                remarks = {l["name"]: (l["type"], l["remark"]) for l in load(at("e.json"))["layers"]}
                check("rows that are no whole blocks are halves, and the report says so",
                      remarks["model.layers.0.mlp.down_proj"] == ("F16", "rows of 48 are no whole blocks of 32: exact in F16"))
                code, printed, errors = run("stability", "--model", at("packed"), "--to", to, "--json", at("s.json"))
                s = load(at("s.json"))
                check("every block comes back from a bf16 checkpoint", code == 0 and s["blocks"] == s["equal"] > 0, printed + errors)
                foreign_checks(at("packed"), at("m.gguf"), at("grid"))
            os.remove(at("m.gguf"))
        refused("fp32 scales as Q4_0", export(at("packed"), "gguf:q4_0", "no.gguf"), "model.layers.0.self_attn.q_proj",
                "its scales are no halves", "accepted: weight=int4:group32:signed_extremum:bf16safe")
        run("quantize", "--model", model, "--scheme", "gguf:q4_1", "--out", at("with-minimum"))
        minimum = lambda through: run("stability", "--model", at("with-minimum"), "--to", "gguf:q4_1", "--through", through)
        check("Q4_1 does not come back from bf16, and the exit code says so; it does from fp32", minimum("bf16")[0] == 3 and minimum("f32")[0] == 0)
        refused("stability of a float model", run("stability", "--model", model), "no layer is packed", "accepted")
        refused("stability in a type that does not hold the model", run("stability", "--model", at("with-minimum"), "--to", "gguf:q4_0"),
                "q_proj", "its minimum is no multiple of its scale", "accepted: weight=")
        refused("a type nobody writes", export(at("packed"), "gguf:q9", "no.gguf"), "gguf:q9", "q4_0")
        refused("a file of another name", export(at("packed"), "gguf", "no.bin"), "ends in .gguf")
        refused("a float model as Q4_0", export(model, "gguf:q4_0", "no.gguf"), "no layer is packed", "accepted")
        code, _, errors = export(model, "gguf", "float.gguf")
        check("a float model is written in floating point", code == 0, errors)
        check("nothing is left of what was refused", not os.path.exists(at("no.gguf")))
        code, _, errors = run("eval", "--model", at("float.gguf"), "--data", text, "--length", "48")
        check("a GGUF file brings its tokenizer", code == 0, errors)
    return 1 if tiny.results["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
