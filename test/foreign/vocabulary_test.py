"""llama.cpp tokenizes as we do, from the vocabularies that we write, and the tokenizers library from the tokenizer.json made of them."""
import ctypes
import glob
import json
import os
import subprocess
import sys
import tempfile

from foreign import check, finish, require

require("xllamacpp", "tokenizers")
import tokenizers
import xllamacpp

ROOT = os.environ["QAT_SOURCE_ROOT"]
DATA = os.environ.get("QAT_SHARED_DATA") or os.path.join(os.path.dirname(ROOT), "shared", "data")
SHARED = ["stories260K/tok512.bin", "stories260K/tok512.model", "tokenizers/phi3-llama-bpe.tokenizer.json",
          "tokenizers/open_llama_3b.tokenizer.model", "tokenizers/gpt2.vocab.json:tokenizers/gpt2.merges.txt"]


class Parameters(ctypes.Structure):  # llama_model_params: larger than it is
    _fields_ = [("bytes", ctypes.c_uint8 * 1024)]


VOCAB_ONLY, USE_EXTRA_BUFTS = 72, 74  # places of two flags in it, in llama.cpp of 2026; the default of the second is true


def llama_ids(path, text):
    """In a process of its own: llama.cpp's ids of the text."""
    library = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp*.so"))[0])
    library.llama_model_default_params.restype = Parameters
    library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
    library.llama_model_load_from_file.restype = ctypes.c_void_p
    library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    library.llama_model_get_vocab.restype = ctypes.c_void_p
    library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32),
                                       ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
    parameters = library.llama_model_default_params()
    if parameters.bytes[VOCAB_ONLY] != 0 or parameters.bytes[USE_EXTRA_BUFTS] != 1:
        sys.exit(77)
    library.llama_backend_init()
    parameters.bytes[VOCAB_ONLY] = 1
    model = library.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        sys.exit("llama.cpp does not load the file")
    ids = (ctypes.c_int32 * (4 * len(text) + 16))()
    count = library.llama_tokenize(library.llama_model_get_vocab(model), text, len(text), ids, len(ids), False, True)
    print(" ".join(map(str, ids[:count])))


def compare(name, tokenizer, text, folder):
    path, source = os.path.join(folder, "vocabulary.gguf"), os.path.join(folder, "text")
    with open(source, "wb") as file:
        file.write(text)
    written = subprocess.run([os.environ["QAT_WRITE_VOCABULARY"], tokenizer, source, path], capture_output=True, text=True)
    if written.returncode == 3:  # no form in GGUF, said by name
        return
    with open(path + ".ids") as file:
        ours = file.read().split()
    theirs = subprocess.run([sys.executable, __file__, path, source], capture_output=True, text=True)
    if theirs.returncode == 77:
        print("SKIPPED: vocabulary (this llama.cpp has another layout of its parameters)")
        sys.exit(77)
    check(f"{name}: llama.cpp's ids of {len(text)} bytes", written.returncode == 0 and theirs.stdout.split() == ours,
          written.stderr or theirs.stderr[-500:] or f"{len(theirs.stdout.split())} ids, {len(ours)} of ours")
    if written.returncode == 0:
        json_ids = tokenizers.Tokenizer.from_file(path + ".json").encode(text.decode(), add_special_tokens=False).ids
        check(f"{name}: the tokenizers library's ids of tokenizer.json", list(map(str, json_ids)) == ours, f"{len(json_ids)} ids, {len(ours)} of ours")


def main():
    with open(os.path.join(ROOT, "test", "golden", "tokenizers", "styles.json"), encoding="utf-8") as file:
        styles = json.load(file)["styles"]
    with tempfile.TemporaryDirectory() as folder:
        for name, style in styles.items():
            path = os.path.join(folder, "tokenizer.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(style["tokenizer"], file)
            texts = [item["text"] for item in style["items"]]  # without added tokens, which take spaces along, and NUL
            compare(name, path, "\n".join(t for t in texts if "<" not in t and "\0" not in t).encode(), folder)
        story = os.path.join(DATA, "tinystories", "v2-valid.txt")
        text = open(story, "rb").read(50000).decode(errors="ignore").encode() if os.path.exists(story) else b"Once upon a time, there was 1 caf\xc3\xa9."
        compare("bytes", "bytes", text, folder)
        for name in SHARED if os.path.exists(story) else []:
            compare(name.split(":")[0], ":".join(os.path.join(DATA, part) for part in name.split(":")), text, folder)
    finish()


if len(sys.argv) == 3:
    with open(sys.argv[2], "rb") as file:
        llama_ids(sys.argv[1], file.read())
else:
    main()
