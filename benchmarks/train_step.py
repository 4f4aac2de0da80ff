"""One training step on the CPU: our models against plain PyTorch builds of the same, and against the GEMM floor.

    python benchmarks/train_step.py [--rounds N] [--models luong,bahdanau,transformer]

CPU time of one thread, all candidates of a model in turn, best of N rounds: forward, loss, backward, clipping, Adam,
with dropout 0.3, on 160 sentences of 25 + 25 tokens and a vocabulary of 8,192. The plain builds are what a tutorial
does: packed encoder, cell after cell, `linear` and `cross_entropy`, Adam, all by PyTorch's defaults. The floor is the
multiply-adds of the matrix products, times three for forward and backward, at the rate this CPU multiplies large
matrices. Prints Markdown.
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as `nmt train` does

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.config import ModelConfig
from nmtcli.models.device import choose_matmul
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.batches import Batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.memory import keep_freed_memory
from nmtcli.train.precision import MixedPrecision

SENTENCES, LENGTH, VOCABULARY, DROPOUT = 160, 25, 8192, 0.3
WIDTH = 512
BASE = [
    "model.embedding.tie=none",
    f"model.embedding.size={WIDTH}",
    f"model.encoder.hidden_size={WIDTH}",
    f"model.decoder.hidden_size={WIDTH}",
    f"model.dropout={DROPOUT}",
]
TWO = ["model.encoder.layers=2", "model.decoder.layers=2"]
BAHDANAU = [
    "model.encoder.cell=gru",
    "model.decoder.cell=gru",
    "model.decoder.query=previous_state",
    "model.decoder.readout=maxout",
    "model.decoder.bridge=backward",
    "model.attention.type=additive",
]
SETTINGS = {
    "luong-general, input feeding": [*BASE, *TWO, "model.decoder.input_feeding=true"],
    "luong-general, no feeding": [*BASE, *TWO],
    "bahdanau": [*BASE, *BAHDANAU],
    "transformer-small": [
        *(f"model.{side}.{key}" for side in ("encoder", "decoder") for key in ("type=transformer", "layers=3")),
        *(f"model.{side}.{key}" for side in ("encoder", "decoder") for key in ("hidden_size=256", "heads=4")),
        "model.embedding.size=256",
        "model.embedding.tie=none",
        "model.embedding.scale=true",
        f"model.dropout={DROPOUT}",
    ],
}


class PlainRecurrent(nn.Module):
    """The loop of a tutorial: Luong with input feeding (two LSTM layers) or Bahdanau (one GRU layer)."""

    def __init__(self, bahdanau: bool) -> None:
        super().__init__()
        self.bahdanau = bahdanau
        self.source, self.target = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(VOCABULARY, WIDTH)
        if bahdanau:
            self.encoder: nn.Module = nn.GRU(WIDTH, WIDTH // 2, bidirectional=True, batch_first=True)
            self.bridge = nn.Linear(WIDTH // 2, WIDTH)
            self.cell = nn.GRUCell(2 * WIDTH, WIDTH)
            self.query, self.keys = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
            self.score = nn.Linear(WIDTH, 1, bias=False)
            self.combine = nn.Linear(3 * WIDTH, 2 * WIDTH)
        else:
            self.encoder = nn.LSTM(WIDTH, WIDTH // 2, 2, bidirectional=True, batch_first=True, dropout=DROPOUT)
            self.bridge = nn.Linear(WIDTH, 2 * WIDTH)
            self.cells = nn.ModuleList([nn.LSTMCell(2 * WIDTH, WIDTH), nn.LSTMCell(WIDTH, WIDTH)])
            self.keys = nn.Linear(WIDTH, WIDTH, bias=False)
            self.combine = nn.Linear(2 * WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, batch: Batch) -> Tensor:
        embedded = self.dropout(self.source(batch.source))
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, batch.source_length, batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        states = self.dropout(states)
        masked = torch.arange(states.size(1))[None] >= batch.source_length[:, None]
        target = self.dropout(self.target(batch.target_input))
        loop = self._bahdanau if self.bahdanau else self._luong
        features = self.dropout(torch.stack(loop(states, masked, target, last), dim=1))
        logits = self.output(features).flatten(0, 1)
        return F.cross_entropy(
            logits, batch.target_output.flatten(), ignore_index=0, label_smoothing=0.1, reduction="sum"
        )

    def _luong(self, states: Tensor, masked: Tensor, target: Tensor, last: tuple[Tensor, Tensor]) -> list[Tensor]:
        first = torch.tanh(self.bridge(torch.cat([last[0][-2], last[0][-1]], dim=1))).chunk(2, dim=1)
        hidden, cells = list(first), [torch.zeros_like(part) for part in first]
        keys, fed, found = self.keys(states), torch.zeros_like(first[0]), []
        for position in range(target.size(1)):
            inputs = torch.cat([target[:, position], fed], dim=1)
            for layer, cell in enumerate(self.cells):
                hidden[layer], cells[layer] = cell(inputs, (hidden[layer], cells[layer]))
                inputs = self.dropout(hidden[layer])
            scores = torch.bmm(keys, inputs[:, :, None])[:, :, 0].masked_fill(masked, float("-inf"))
            context = torch.bmm(torch.softmax(scores, dim=1)[:, None], states)[:, 0]
            fed = torch.tanh(self.combine(torch.cat([context, inputs], dim=1)))
            found.append(fed)
        return found

    def _bahdanau(self, states: Tensor, masked: Tensor, target: Tensor, last: Tensor) -> list[Tensor]:
        hidden = torch.tanh(self.bridge(last[1]))
        keys, found = self.keys(states), []
        for position in range(target.size(1)):
            scores = self.score(torch.tanh(self.query(hidden)[:, None] + keys))[:, :, 0]
            weights = torch.softmax(scores.masked_fill(masked, float("-inf")), dim=1)
            context = torch.bmm(weights[:, None], states)[:, 0]
            hidden = self.cell(torch.cat([target[:, position], context], dim=1), hidden)
            deep = self.combine(torch.cat([self.dropout(hidden), target[:, position], context], dim=1))
            found.append(deep.view(deep.size(0), -1, 2).amax(dim=-1))
        return found


class PlainTransformer(nn.Module):
    """PyTorch's own layers (their attention is `scaled_dot_product_attention`), pre-norm, 3 + 3."""

    def __init__(self) -> None:
        super().__init__()
        width = 256
        self.source, self.target = nn.Embedding(VOCABULARY, width), nn.Embedding(VOCABULARY, width)
        shape = (width, 4, 4 * width, DROPOUT)
        options = {"batch_first": True, "norm_first": True}
        encoder, decoder = nn.TransformerEncoderLayer(*shape, **options), nn.TransformerDecoderLayer(*shape, **options)
        self.encoder = nn.TransformerEncoder(encoder, 3, nn.LayerNorm(width), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 3, nn.LayerNorm(width))
        self.output = nn.Linear(width, VOCABULARY, bias=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.register_buffer("positions", torch.randn(LENGTH, width))

    def forward(self, batch: Batch) -> Tensor:
        masked = torch.arange(LENGTH)[None] >= batch.source_length[:, None]
        causal = nn.Transformer.generate_square_subsequent_mask(LENGTH)
        source = self.dropout(self.source(batch.source) * 16 + self.positions)
        states = self.encoder(source, src_key_padding_mask=masked)
        features = self.decoder(
            self.dropout(self.target(batch.target_input) * 16 + self.positions),
            states,
            tgt_mask=causal,
            memory_key_padding_mask=masked,
            tgt_is_causal=True,
        )
        return F.cross_entropy(
            self.output(features).flatten(0, 1),
            batch.target_output.flatten(),
            ignore_index=0,
            label_smoothing=0.1,
            reduction="sum",
        )


def make_batch() -> Batch:
    """Random tokens; sources of 22 to 25, targets of 20 to 25."""
    source_length = torch.randint(22, LENGTH + 1, (SENTENCES,))
    target_length = torch.randint(20, LENGTH + 1, (SENTENCES,))
    source_length[0] = target_length[0] = LENGTH
    position = torch.arange(LENGTH)[None]
    source, target_input, target_output = (torch.randint(4, VOCABULARY, (SENTENCES, LENGTH)) for _ in range(3))
    source = source.masked_fill(position >= source_length[:, None], 0)
    target_output = target_output.masked_fill(position >= target_length[:, None], 0)
    return Batch(source, source_length, target_input, target_output, int(target_length.sum()))


def plain_step(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """A training step by PyTorch's defaults."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-9)

    def run() -> None:
        torch.set_float32_matmul_precision("highest")
        optimizer.zero_grad()
        (model(batch) / batch.target_tokens).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def our_step(config: ModelConfig, precision_name: str, batch: Batch) -> Callable[[], None]:
    """A training step as `nmt train` does it."""
    objective = TrainingLoss(Seq2Seq(config, VOCABULARY, VOCABULARY), smoothing=0.1).train()
    optimizer = torch.optim.Adam(objective.parameters(), 1e-9, fused=True)
    precision = MixedPrecision(precision_name, torch.device("cpu"))  # type: ignore[arg-type]

    def run() -> None:
        choose_matmul()
        with precision.autocast():
            loss, _ = objective(batch)
        precision.scaler.scale(loss / batch.target_tokens).backward()
        precision.step(optimizer, 1.0)
        optimizer.zero_grad(set_to_none=True)

    return run


def parts(config: ModelConfig, precision_name: str, batch: Batch) -> dict[str, Callable[[], None]]:
    """The parts of our step, each forward and backward by itself."""
    model = Seq2Seq(config, VOCABULARY, VOCABULARY).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-9, fused=True)
    precision = MixedPrecision(precision_name, torch.device("cpu"))  # type: ignore[arg-type]
    with precision.autocast():
        memory, cache = model.start(batch.source, batch.source_length)
        features = model(batch.source, batch.source_length, batch.target_input).detach()
    leaf = lambda tree: {  # noqa: E731
        key: value.detach().requires_grad_(value.is_floating_point()) for key, value in tree.items()
    }
    fixed, embedded = leaf(memory), torch.randn(SENTENCES, LENGTH, config.embedding.size)
    real = batch.target_output != 0
    head, features, targets = TrainingLoss(model, 0.1), features[real].requires_grad_(), batch.target_output[real]
    cache = detach(cache)

    def backward(make: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            choose_matmul()
            with precision.autocast():
                result = make()
            result.backward(torch.ones_like(result) * 1e-3)

        return run

    def update() -> None:
        precision.step(optimizer, 1.0)

    return {
        "encoder": backward(lambda: model.start(batch.source, batch.source_length)[0]["values"]),
        "decoder": backward(lambda: model.decoder.forward(embedded, fixed, cache).features),
        "output layer and loss": backward(lambda: head._token_loss(features, targets)[0]),
        "clipping and Adam": update,
    }


def detach(tree: object) -> object:
    if isinstance(tree, Tensor):
        return tree.detach()
    if isinstance(tree, dict):
        return {key: detach(value) for key, value in tree.items()}
    return tuple(detach(value) for value in tree)  # type: ignore[attr-defined]


def flops(config: ModelConfig) -> float:
    """Floating-point operations of the matrix products of a step, two for a multiply-add."""
    tokens, layers = SENTENCES * LENGTH, config.decoder.layers
    size, width = config.embedding.size, config.decoder.hidden_size
    output = tokens * width * VOCABULARY
    if config.decoder.type == "transformer":
        inner = 4 * width
        products = layers * (4 * width * width + 2 * width * inner) + layers * (8 * width * width + 2 * width * inner)
        return 6.0 * (tokens * products + 3 * layers * 2 * tokens * LENGTH * width + output)
    gates = 4 if config.decoder.cell == "lstm" else 3
    half = width // 2
    encoder = sum(2 * gates * half * ((size if layer == 0 else width) + half) for layer in range(config.encoder.layers))
    decoder = sum(gates * width * ((size if layer == 0 else width) + width) for layer in range(layers))
    if config.decoder.input_feeding:
        decoder += gates * width * size + 2 * width * size
    elif config.decoder.query == "previous_state":
        decoder += gates * width * width + width * width + 3 * width * 2 * size
    else:
        decoder += 2 * width * size
    attention = tokens * width * width + 2 * tokens * LENGTH * width  # keys, then scores and contexts
    return 6.0 * (tokens * (encoder + decoder) + attention + output)


def gemm_rate(dtype: torch.dtype) -> float:
    """Operations a second of a large product: 4,096 × 512 × 2,048, best of 20."""
    choose_matmul()
    left, right = torch.randn(4096, 512).to(dtype), torch.randn(512, 2048).to(dtype)
    return 2 * 4096 * 512 * 2048 / min(cpu_time(lambda: left @ right) for _ in range(20))


def cpu_time(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Best CPU seconds of each, in turn; two rounds to warm up."""
    best = dict.fromkeys(candidates, float("inf"))
    for number in range(rounds + 2):
        for name, run in candidates.items():
            seconds = cpu_time(run)
            if number >= 2:
                best[name] = min(best[name], seconds)
    return best


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="luong,bahdanau,transformer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    torch.manual_seed(0)
    batch = make_batch()
    rates = {"fp32": gemm_rate(torch.float32), "bf16": gemm_rate(torch.bfloat16)}
    print(f"torch {torch.__version__}, one thread, {batch.target_tokens} target tokens, load {os.getloadavg()[0]:.1f}.")
    print(f"GEMM: fp32 {rates['fp32'] / 1e9:.0f}, bf16 {rates['bf16'] / 1e9:.0f} Gflop/s ({choose_matmul()}).\n")
    for name, settings in SETTINGS.items():
        if not any(name.startswith(word) for word in options.models.split(",")):
            continue
        config = load_config(overrides=settings).model
        plain = PlainTransformer() if "transformer" in name else PlainRecurrent("bahdanau" in name)
        candidates = {"plain fp32": plain_step(plain.train(), batch)}
        for precision in ("fp32", "bf16"):
            candidates[f"nmt {precision}"] = our_step(config, precision, batch)
        found = compare(candidates, options.rounds)
        work = flops(config)
        print(f"### {name}: {work / 1e9:.0f} Gflop\n")
        print("| build | CPU s | target tok/s | × plain | time ÷ floor |")
        print("|---|---|---|---|---|")
        for label, seconds in found.items():
            floor = work / rates[label.split()[-1]]
            tokens = batch.target_tokens / seconds
            print(
                f"| {label} | {seconds:.2f} | {tokens:,.0f} | {found['plain fp32'] / seconds:.2f} |"
                f" {seconds / floor:.2f} |"
            )
        if "transformer" not in name:
            print("\n| part | " + " | ".join(shares := ["fp32", "bf16"]) + " |\n|---|" + "---|" * len(shares))
            columns = [compare(parts(config, precision, batch), options.rounds) for precision in shares]
            for part in columns[0]:
                cells = (f"{column[part]:.3f} s, {column[part] / sum(column.values()):.0%}" for column in columns)
                print(f"| {part} | " + " | ".join(cells) + " |")
        print(flush=True)


if __name__ == "__main__":
    main()
