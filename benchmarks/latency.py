"""How long one sentence takes through a model that is open, on one CPU thread.

    python benchmarks/latency.py MODEL… --source FILE [--quantize int8] [--tokens 20] [--sentences 60]

Sentences of about --tokens source tokens, each translated alone, greedily and with beam 5. Wall-clock milliseconds from
text to text: the median, the 95th percentile, and the median a target token. Prints Markdown.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from nmtcli.translate.translator import Translator

WARM_UP = 10


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--quantize", choices=["int8", "bf16"], help="of PyTorch models")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=60)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {torch.cpu.get_capabilities()['cpu_name']}"
        f" ({torch.backends.cpu.get_cpu_capability()}), one thread, {asked.quantize or 'fp32'}\n"
    )
    print("| model | beam | median, ms | 95 %, ms | ms a token |\n|---|---:|---:|---:|---:|")
    for model in asked.models:
        for beam in (1, 5):
            translator = Translator.load(model, "cpu", threads=1, quantize=asked.quantize, beam_size=beam)
            lines = asked.source.read_text("utf-8").split("\n")
            lengths = [len(ids) for ids in translator.tokenizers.source.encode(lines)]
            order = sorted(range(len(lines)), key=lambda row: abs(lengths[row] - asked.tokens))
            milliseconds, tokens = [], 0
            for number, row in enumerate(order[: asked.sentences + WARM_UP]):
                start = time.perf_counter()
                (found,) = translator.translate([lines[row]])
                if number >= WARM_UP:
                    milliseconds.append((time.perf_counter() - start) * 1000)
                    tokens += len(translator.tokenizers.target.encode([found.text])[0]) + 1
            median, high = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
            each = median * len(milliseconds) / tokens
            print(f"| {model.name} | {beam} | {median:.1f} | {high:.1f} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
