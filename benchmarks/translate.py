"""Speed and BLEU of translation on one CPU thread, by runtime and precision.

    python benchmarks/translate.py MODEL… --source FILE --reference FILE [--export DIR…] [--data DATA] [--mixed FILE]

MODEL is a run, a checkpoint or an export to safetensors; of each, in turn, the plain search, ours in fp32, bf16 and
int8, and with the model's vocabulary shortlist (or one learnt from --data). --export adds other exports of the models:
`nmt` opens them, and of CTranslate2 folders plain CTranslate2 too. The plain search is what our models would do without
any of this: PyTorch's default products in fp32, and the encoder's output repeated for each hypothesis.

CPU seconds of one thread, the best of --rounds; in each round the candidates translate the file in turn, in one
process, so that whatever else the machine does strikes all alike. The first 100 lines warm up. The floor is the
multiply-adds of all products with weights, at the rate this CPU multiplies large fp32 matrices. `rows`: rows of the
decoder computed over those that each sentence needs by itself. --mixed compares batches of like lengths from which
finished sentences go with batches in the order of the file from which they do not. Prints Markdown.
"""

import argparse
import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import sacrebleu
import torch
from torch import Tensor

from nmtcli.checkpoint import find_model, load_model, read_info
from nmtcli.data.batching import length_batches
from nmtcli.data.directory import open_data
from nmtcli.models.device import choose_matmul
from nmtcli.models.packed import PackedMatrix, best_int8_kernel, product_of
from nmtcli.models.protocol import Cache, Memory, Step, select_rows
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.shortlist import SHORTLIST, Shortlist
from nmtcli.translate.translator import Translator

WARM_UP, COUNTED = 100, 200
Translate = Callable[[Sequence[str]], list[str]]


class PlainRuntime(TorchRuntime):
    """The encoder's output once a hypothesis, products by PyTorch's defaults, nothing packed, tanh as it is written."""

    repeated: tuple[Any, int, Any] = (None, 0, None)  # memory, hypotheses a sentence, and that memory repeated

    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        torch.set_float32_matmul_precision("highest")
        with torch.no_grad():  # not in inference mode, in which our models take their short cuts
            return self.model.start(source, source_length)

    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        torch.set_float32_matmul_precision("highest")
        batch, beam = tokens.shape
        if self.repeated[0] is not memory or self.repeated[1] != beam:
            rows = torch.arange(batch).repeat_interleave(beam)
            self.repeated = memory, beam, select_rows(memory, rows)
        with torch.no_grad():
            features, cache, attention = self.model.advance(tokens.reshape(-1, 1), self.repeated[2], cache)
            log_probs = torch.log_softmax(self.model.output(features), dim=-1).view(batch, beam, -1)
        return Step(log_probs, cache, None if attention is None else attention.view(batch, beam, -1))


class CountingRuntime(TorchRuntime):
    """Counts rows of the decoder."""

    rows = 0

    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        self.rows += tokens.numel()
        return super().step(tokens, memory, cache)


class KeepingRuntime(TorchRuntime):
    """Also computes the rows of finished sentences, until the last one of their batch is finished."""

    sentences = 0
    kept: tuple[Any, Any] = (None, None)

    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        self.sentences = len(source)
        return super().start(source, source_length)

    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        batch, beam = tokens.shape
        if batch == self.sentences:
            return super().step(tokens, memory, cache)
        rows = torch.arange(self.sentences).clamp(max=batch - 1)
        if self.kept[0] is not memory:
            self.kept = memory, select_rows(memory, rows)
        hypotheses = (rows[:, None] * beam + torch.arange(beam)).flatten()
        step = super().step(tokens[rows], self.kept[1], select_rows(cache, hypotheses))
        attention = None if step.attention is None else step.attention[:batch]
        own = select_rows(step.cache, torch.arange(batch * beam))
        return Step(step.log_probs[:batch].clone(), own, attention)


def seconds(function: Callable[[], object]) -> float:
    """CPU time of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def translating(translator: Translator) -> Translate:
    """Lines to the best translations."""
    return lambda lines: [translation.text for translation in translator.translate(lines)]


def with_runtime(translator: Translator, kind: type[TorchRuntime]) -> Translator:
    """The same with its model in another runtime."""
    runtime = translator.runtime
    assert isinstance(runtime, TorchRuntime)
    return dataclasses.replace(translator, runtime=kind(runtime.model, runtime.device))


def candidates(model: Path, beam: int, options: argparse.Namespace) -> dict[str, Translate]:
    """All ways to translate with a model."""
    search = {"beam_size": beam, **({"batch_tokens": options.batch_tokens} if options.batch_tokens else {})}

    def load(path: Path, quantize: Any = None) -> Translator:
        return Translator.load(path, "cpu", threads=1, quantize=quantize, **search)

    whole, int8 = load(model), load(model, "int8")
    found = {
        "plain fp32": translating(
            dataclasses.replace(whole, runtime=PlainRuntime(load_model(find_model(model)), torch.device("cpu")))
        ),
        "fp32": translating(whole),
        "bf16": translating(load(model, "bf16")),
        "int8": translating(int8),
    }
    if (shortlist := open_shortlist(model, options.data)) is not None:
        for name, own in (("int8 + shortlist", int8), ("fp32 + shortlist", whole)):
            found[name] = translating(dataclasses.replace(own, shortlist=shortlist))
    for path in options.export:
        found[path.name] = translating(load(path))
        if (path / "ctranslate2").is_dir():
            found[f"{path.name}, plain CTranslate2"] = ctranslate2(path, beam, int8)
    return {name: way for name, way in found.items() if options.only in name}


def open_shortlist(model: Path, data: Path | None) -> Shortlist | None:
    """The shortlist of the model, or one learned from its data."""
    directory = find_model(model)
    info = read_info(directory)
    if (directory / SHORTLIST).is_file():
        return Shortlist.load(directory, info.source_size, info.target_size)
    if data is None:
        return None
    prepared = open_data(data)
    if prepared.manifest.fingerprint != info.data_fingerprint:
        raise SystemExit(f"{model} was not trained on {data}")
    return Shortlist.learn(prepared.train, info.source_size, info.target_size)


def ctranslate2(path: Path, beam: int, ours: Translator) -> Translate:
    """Plain CTranslate2, with the tokenizer, batches and length limits of `nmt`."""
    import ctranslate2 as package  # noqa: PLC0415 - an extra

    info, tokenizers = read_info(path), ours.tokenizers
    kind = "int8_float32" if "int8" in info.model_dump_json() else "default"
    model = package.Translator(
        str(path / "ctranslate2"), device="cpu", intra_threads=1, inter_threads=1, compute_type=kind
    )

    def run(lines: Sequence[str]) -> list[str]:
        pieces = [tokenizers.source.pieces(ids) for ids in tokenizers.source.encode(list(lines))]
        results = model.translate_batch(
            pieces,
            beam_size=beam,
            max_batch_size=ours.search.batch_tokens,
            batch_type="tokens",
            max_decoding_length=int(max(map(len, pieces)) * ours.search.max_length_factor) + 10,
        )
        processor = tokenizers.target
        known = {piece: number for number, piece in enumerate(processor.pieces(range(len(processor))))}
        return processor.decode_all([known[piece] for piece in result.hypotheses[0]] for result in results)

    return run


def floor_seconds(model: Path, beam: int, lines: Sequence[str]) -> float:
    """CPU seconds a line that the products with weights take at the rate of a large fp32 product."""
    translator = Translator.load(model, "cpu", threads=1, quantize="int8", beam_size=beam)
    runtime, total = translator.runtime, 0
    assert isinstance(runtime, TorchRuntime)

    def count(matrix: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * matrix.numbers.size(1)

    for module in runtime.model.modules():
        if isinstance(module, PackedMatrix):
            module.register_forward_hook(count)
    translator.translate(lines)
    left, right = torch.randn(4096, 512), torch.randn(512, 2048)
    rate = left.numel() * right.size(1) / min(seconds(lambda: left @ right) for _ in range(20))
    return total / rate / len(lines)


def rows_over_needed(model: Path, beam: int, lines: Sequence[str]) -> float:
    """Rows of the decoder computed in batches over those of each line alone."""
    rows = []
    for batch_tokens in (None, 1):
        search = {"beam_size": beam, **({} if batch_tokens is None else {"batch_tokens": batch_tokens})}
        counting = with_runtime(Translator.load(model, "cpu", threads=1, **search), CountingRuntime)
        counting.translate(lines)
        rows.append(counting.runtime.rows)  # type: ignore[attr-defined]
    return rows[0] / rows[1]


def compare(
    ways: dict[str, Translate], lines: Sequence[str], reference: Sequence[str], rounds: int
) -> dict[str, tuple[float, float]]:
    """CPU seconds a line and BLEU of each; all have a turn in every round."""
    spent, bleu = dict.fromkeys(ways, math.inf), {}
    for translate in ways.values():
        translate(lines[:WARM_UP])
    for _ in range(rounds):
        for name, translate in ways.items():
            choose_matmul()  # which the plain search turns off
            begin = time.process_time()
            text = translate(lines)
            spent[name] = min(spent[name], time.process_time() - begin)
            bleu[name] = sacrebleu.corpus_bleu(text, [reference]).score
    return {name: (spent[name] / len(lines), bleu[name]) for name in ways}


def sorting_gain(model: Path, lines: Sequence[str]) -> float:
    """How many times faster batches of like lengths that lose finished sentences are, in fp32."""
    ours = Translator.load(model, "cpu", threads=1)
    lengths = [len(ids) + 1 for ids in ours.tokenizers.source.encode(list(lines))]
    batches = len(list(length_batches(lengths, ours.search.batch_tokens)))
    size = -(-len(lines) // batches)  # as many sentences together, on average
    search = ours.search.model_copy(update={"batch_tokens": 10**9})
    keeping = dataclasses.replace(with_runtime(ours, KeepingRuntime), search=search)

    def in_file_order() -> None:
        for start in range(0, len(lines), size):
            keeping.translate(lines[start : start + size])

    ours.translate(lines[:WARM_UP])
    fast, slow = 0.0, 0.0
    for _ in range(2):
        fast += seconds(lambda: ours.translate(lines))
        slow += seconds(in_file_order)
    return slow / fast


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; LF alone ends one."""
    return path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=10**9, help="of the file, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beams", type=int, nargs="+", default=[5, 1])
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--export", type=Path, nargs="*", default=[])
    parser.add_argument("--only", default="", metavar="WORDS", help="only what has these words in its name")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--mixed", type=Path)
    parser.add_argument("--mixed-lines", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines, reference = (read_lines(path)[: options.lines] for path in (options.source, options.reference))
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {torch.cpu.get_capabilities()['cpu_name']}"
        f" ({torch.backends.cpu.get_cpu_capability()}), fp32 products {choose_matmul()}, {product_of(torch.float32)},"
        f" bf16 {product_of(torch.bfloat16)}, int8 by {best_int8_kernel()},"
        f" one thread, {len(lines):,} lines, best of"
        f" {options.rounds}\n"
    )
    for model in options.models:
        for beam in options.beams:
            ways = candidates(model, beam, options)
            words = [sum(len(line.split()) for line in part) / len(part) for part in (lines, lines[:COUNTED])]
            floor = floor_seconds(model, beam, lines[:COUNTED]) * words[0] / words[1]  # of lines of the mean length
            rows = rows_over_needed(model, beam, lines[:COUNTED])
            results = compare(ways, lines, reference, options.rounds)
            first = next(iter(results))
            print(f"{model.name}, beam {beam}; rows computed ÷ needed {rows:.3f}\n")
            print(f"| | lines/s | × {first} | time ÷ fp32 floor | BLEU |\n|---|---:|---:|---:|---:|")
            for name, (each, bleu) in results.items():
                print(f"| {name} | {1 / each:.1f} | {results[first][0] / each:.2f} | {each / floor:.2f} | {bleu:.2f} |")
            print(flush=True)
        if options.mixed:
            mixed = list(islice((line for line in read_lines(options.mixed) if line), options.mixed_lines))
            gain = sorting_gain(model, mixed)
            print(
                f"{model.name}: sorting and dropping what is finished, {options.mixed.name}: {gain:.2f} ×\n", flush=True
            )


if __name__ == "__main__":
    main()
