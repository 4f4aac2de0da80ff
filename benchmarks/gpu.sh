#!/usr/bin/env bash
# A report on this machine's GPU, as Markdown on stdout: losses against the CPU, throughput and memory, an exact resume,
# recipes from text to score (Multi30k where $NMT_DATA has it), translation by precision and batch size, the gpu tests.
# Usage: benchmarks/gpu.sh [PYTHON], or make gpu-report. Takes twelve minutes; what does not fit is left out and named.
set -euo pipefail
python=$(command -v "${1:-python3}")
case $python in /*) ;; *) python=$PWD/$python ;; esac
cd "$(dirname "$0")/.."
limit=${LIMIT:-720}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available() and "no CUDA device")'
printf '#!/bin/sh\nexec "%s" -m nmtcli "$@"\n' "$python" > "$work/nmt" && chmod +x "$work/nmt"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" NMT="$work/nmt" PYTHON="$python"

# A titled section of the report: one command, as long as the time left allows.
section() {
    local title=$1 start=$SECONDS left=$((limit - SECONDS))
    shift
    printf '\n### %s\n\n' "$title"
    if [ "$left" -lt 10 ]; then echo "left out: no time left"; return; fi
    timeout --signal=INT --kill-after=20 "$left" "$@" 2> "$work/errors" || { echo "failed: exit code $?"; tail -n 3 "$work/errors"; }
    echo; echo "$((SECONDS - start)) s"
}

recipe() {  # NAME [MAKE ARGUMENTS]: its check
    make -s -C "recipes/$1" check WORK="$work/$1" "${@:2}" | tail -n 4
}

translations() {  # RUN SOURCE: lines per second by precision and batch size
    echo "| precision | source tokens a batch | translated |"
    echo "|---|---:|---|"
    for precision in fp32 bf16 fp16; do
        for tokens in 2000 16000 64000; do
            quantize=$([ "$precision" = fp32 ] || echo "--quantize $precision")
            told=$("$NMT" translate -m "$1" -i "$2" -o "$work/out" --overwrite --device cuda --batch-tokens "$tokens" \
                $quantize 2>&1 | tail -n 1)
            echo "| $precision | $tokens | $told |"
        done
    done
}
export -f recipe translations
export work

echo "## GPU report of $(date -u +%F), commit $(git rev-parse --short HEAD 2> /dev/null || echo '?')"
make -s -C recipes/phrasebook prepare WORK="$work/phrasebook" TEXT="$work/text" > "$work/prepared" 2>&1 ||
    { echo "recipes/phrasebook prepare failed"; tail -n 5 "$work/prepared"; exit 1; }
data=$work/phrasebook/data
section "Losses against the CPU" "$python" benchmarks/gpu.py "$data" --losses
section "Training throughput" "$python" benchmarks/gpu.py "$data" --throughput
section "nmt train --verify-resume" "$NMT" train "$data" -o "$work/verified" --verify-resume 100 --gpus 1
section "recipes/phrasebook" bash -euo pipefail -c "recipe phrasebook TEXT=$work/text"
if [ -d "${NMT_DATA:-/nowhere}/multi30k" ]; then
    section "recipes/multi30k, Transformer" bash -euo pipefail -c "recipe multi30k VARIANT=transformer"
    section "recipes/multi30k, RNN" bash -euo pipefail -c "recipe multi30k VARIANT=rnn"
    section "Translation of the Multi30k test set, Transformer" \
        bash -euo pipefail -c "translations $work/multi30k/run-transformer $NMT_DATA/multi30k/test.en"
fi
if "$python" -c 'import pytest, hypothesis' 2> /dev/null; then
    section "GPU tests" "$python" -m pytest -q -m gpu tests/models/test_cuda.py
fi
