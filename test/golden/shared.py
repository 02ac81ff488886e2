#!/usr/bin/env python3
"""Runs qat-golden (its path is the argument) on the large golden folders beside the checkout, where they are."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
data = os.environ.get("QAT_SHARED_DATA") or os.path.join(os.path.dirname(ROOT), "shared", "data")
folders = [f for f in (os.path.join(data, "golden", name) for name in ("torchao", "ggml", "tokenizers")) if os.path.isdir(f)]
if not folders:
    print("SKIPPED: golden/torchao, golden/ggml, golden/tokenizers (not in $QAT_SHARED_DATA nor in ../shared/data)")
    sys.exit(0)
sys.exit(subprocess.run([sys.argv[1], *folders]).returncode)
