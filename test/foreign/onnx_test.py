"""ONNX Runtime computes our model's logits from the file we write: float, weight-only and with int8 activations."""
import os
import subprocess
import sys
import tempfile

from foreign import check, finish, require

require("onnxruntime", "numpy")
import numpy
import onnxruntime

WRITE_ONNX = os.environ["QAT_WRITE_ONNX"]
MODEL = os.path.join(os.environ["QAT_SOURCE_ROOT"], "examples", "llm", "default")
# Weights alone: the runtime's sums against ours. Activations: a sum that rounds otherwise can move a code of an activation,
# which a later token then sees; most rows must have no such move, and none may be far off.
CASES = {"float": 0, "qat4": 0, "qat2": 0, "weight=int3:group64:asymmetric": 0, "weight=uint8:axis0:asymmetric": 0,
         "8da4w": 1, "8da8w:axis0": 1, "weight=int4:group16:asymmetric,activation=int8:token:asymmetric": 1}


def main():
    with tempfile.TemporaryDirectory() as folder:
        for scheme, has_activations in CASES.items():
            path = os.path.join(folder, "model.onnx")
            written = subprocess.run([WRITE_ONNX, MODEL, scheme, path], capture_output=True, text=True)
            check(f"{scheme}: is written", written.returncode == 0, written.stderr)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            tokens = numpy.fromfile(path + ".tokens", numpy.int64)
            expected = numpy.fromfile(path + ".logits", numpy.float32).reshape(len(tokens), -1)
            both = session.run(None, {"input_ids": numpy.stack([tokens, tokens])})[0]
            check(f"{scheme}: rows of a batch do not see each other", numpy.array_equal(both[0], both[1]))
            rows = numpy.abs(both[0] - expected).max(axis=1) / numpy.abs(expected).max()
            check(f"{scheme}: logits agree", numpy.median(rows) < 1e-5 and rows.max() < (0.05 if has_activations else 1e-5),
                  f"median {numpy.median(rows):.3g}, largest {rows.max():.3g} of the largest logit")
            check(f"{scheme}: the next token is the same", (both[0].argmax(1) == expected.argmax(1)).mean() >= (0.9 if has_activations else 1))
            short = session.run(None, {"input_ids": tokens[None, :7]})[0][0]
            check(f"{scheme}: a token does not see those after it", numpy.abs(short - both[0][:7]).max() < 1e-4 * numpy.abs(expected).max())
    print(f"onnxruntime {onnxruntime.__version__}")
    finish()


if __name__ == "__main__":
    main()
