#!/usr/bin/env python3
"""Small tokenizers of every supported style, with the ids that Hugging Face's `tokenizers` gives.
make_styles.py TEXT OUT.json   (TEXT: data/tinystories/v2-valid.txt; pip install tokenizers; written with 0.23.3)"""
import json
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
STRINGS = ["", " ", "  ", "\n", " \n ", "a  b", "\r\n\r\n x", "  \n\n  y", "Hello world", " Hello  world ", "don't DON'T we'LL I'Ve 'S x'd",
           "12345 678 9", "3.14159, 1,000,000", "½²① ١٢٣", "naïve café Straße", "Привет мир", "你好，世界", "नमस्ते", "😀 x😀😀", "!?!?\n\n!",
           "...\r\n", "(a) [b] {c}", "tab\tsep\t\tend", "<s>hello</s>", "<|x|>  after", "before  <|x|>", "word<w>word <w> <w>", " <l> <r> ",
           "a\u00a0b\u2003c", "\u2581a \u2581b", "e\u0301\u0301", "a\u0000b", "x" * 40, " " * 20, "'\u017f 'T", "a_b __c", "\u200bzero", "Don<w>",
           "(<w>)", "A\u3000B", "end ", "\u0085 nel", "I'm 5'3\" tall", "\u0378\ue000\U0010ffff"]


def added(t):
    t.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True), AddedToken("<|x|>", special=True, rstrip=True)])
    t.add_tokens([AddedToken("<w>", single_word=True), AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True)])
    return t


def byte_level(text, pre, vocab, ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return added(t)


def pieces(text, normalizer, pre, decoder, vocab, byte_fallback, fuse_unk=True):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=fuse_unk))
    t.pre_tokenizer = pre or pre_tokenizers.Metaspace()  # training needs words
    special = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=vocab, special_tokens=special, limit_alphabet=60, show_progress=False))
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if a["id"] < 3]  # the byte tokens are plain pieces
    t = Tokenizer.from_str(json.dumps(j))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoder
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return added(t)


def main():
    text = open(sys.argv[1], encoding="utf8").read()
    stories = text.split("\n<|endoftext|>\n")[:60]
    r = random.Random(5)
    strings = STRINGS + [s[i:i + 60] for s in r.sample(stories, 12) for i in [r.randrange(max(1, len(s) - 60))]]
    fallback = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    split = lambda pattern: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    meta = pre_tokenizers.Metaspace
    styles = {
        "gpt2": byte_level(stories, pre_tokenizers.ByteLevel(add_prefix_space=False), 400),
        "gpt2-prefix-space": byte_level(stories, pre_tokenizers.ByteLevel(add_prefix_space=True), 300),
        "llama3": byte_level(stories, split(LLAMA3), 400, ignore_merges=True),
        "qwen2": byte_level(stories, split(QWEN2), 300),
        "llama-normalizer": pieces(stories, normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), None, fallback, 450, True),
        "llama-metaspace-first": pieces(stories, None, meta(prepend_scheme="first", split=False), fallback, 450, True),
        "metaspace-always-split": pieces(stories, None, meta(prepend_scheme="always", split=True), decoders.Metaspace(), 200, False),
        "metaspace-never": pieces(stories, None, meta(prepend_scheme="never", split=True), decoders.Metaspace(prepend_scheme="never"), 200, False, fuse_unk=False),
    }
    out = {"package": "tokenizers " + tokenizers.__version__, "styles": {}}
    for name, t in styles.items():
        items = []
        for s in strings:
            ids = t.encode(s, add_special_tokens=False).ids
            item = {"text": s, "ids": ids}
            special = t.encode(s, add_special_tokens=True).ids
            if special != ids:
                item["ids_with_special"] = special
            decoded = t.decode(ids, skip_special_tokens=False)
            if decoded != s:
                item["decoded"] = decoded
            items.append(item)
        out["styles"][name] = {"tokenizer": json.loads(t.to_str()), "items": items}
    with open(sys.argv[2], "w") as f:
        json.dump(out, f, ensure_ascii=True, separators=(",", ":"))


main()
