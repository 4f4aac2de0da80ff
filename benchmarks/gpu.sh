#!/usr/bin/env bash
# Everything that wants a CUDA device, in one command: the gpu tests, losses against the CPU, throughput and memory, a run
# killed and gone on with, and recipes from text to score (Multi30k where $NMT_DATA has it).
# Usage: benchmarks/gpu.sh [PYTHON]; the report goes to stdout as Markdown.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available() and "no CUDA device")'
printf '#!/bin/sh\nexec %s -m nmtcli "$@"\n' "$python" > "$work/nmt" && chmod +x "$work/nmt"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

echo "## GPU run of $(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo '?')"
if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then "$python" -m pytest -m gpu tests/models/test_cuda.py; fi
recipe="make -C recipes/phrasebook WORK=$work/phrasebook NMT=$work/nmt PYTHON=$python"
$recipe prepare TEXT="$work/text" > /dev/null
"$python" benchmarks/gpu.py "$work/phrasebook/data"
echo
echo "### nmt train --verify-resume on the GPU"
"$work/nmt" train "$work/phrasebook/data" -o "$work/verified" --verify-resume 100 --gpus 1 2> /dev/null || echo "failed: $?"
echo
echo "### recipes/phrasebook on the GPU"
time $recipe check TEXT="$work/text"
if [ -d "${NMT_DATA:-/nowhere}/multi30k" ]; then
    echo
    echo "### recipes/multi30k on the GPU"
    time make -C recipes/multi30k check WORK="$work/multi30k" NMT="$work/nmt" PYTHON="$python"
fi
