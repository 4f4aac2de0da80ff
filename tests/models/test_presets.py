"""Every preset works: the laws of models, search, training and exports hold for it.

Only its widths shrink, so that all presets take seconds; layers, cells, bridges, readouts, windows and heads stay.
"""

import itertools
import re
from functools import cache
from importlib import resources
from pathlib import Path

import pytest
import torch

from benchmarks.shrinking import complete_presets, shrunk
from nmtcli.checkpoint import RunDirectory
from nmtcli.data.directory import open_data
from nmtcli.errors import UserError
from nmtcli.export.conditions import reachable_formats
from nmtcli.export.exporter import export
from nmtcli.export.options import ExportOptions
from nmtcli.models.quantized import pack_floats
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.settings import keys, load_config, load_tree, presets
from nmtcli.train.logs import Observer
from nmtcli.train.run import resolve
from nmtcli.train.trainer import Trainer
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search, length_normalizer
from nmtcli.translate.translator import Translator
from nmtcli.vocabulary import BOS, EOS, PAD, UNK
from tests.laws.test_model_laws import batch, check_forward_equals_repeated_step

WIDTH = 16
VOCABULARY = 12

# What a preset's comments say where a setting, on either side, is not the default.
TOLD = {
    "type=transformer": "[Tt]ransformer",
    "type=ssru": "SSRU",
    "type=pretrained": "pretrained",
    "type=additive": r"tanh\(|network",
    "type=scaled_dot": "product",
    "type=location": "weight for each source position",
    "type=none": "No attention",
    "cell=gru": "GRU",
    "bidirectional=False": "one direction|unidirectional",
    "bidirectional=first": "first encoder layer bidirectional",
    "residual=True": "residual",
    "layer_norm=True": "layer-normalised",
    "reverse_source=True": "read from its end",
    "window=local-p": "predicted position",
    "input_feeding=True": "input feeding",
    "context_every_step=True": "every step",
    "query=previous_state": "previous state looks",
    "query=first_layer": "first decoder layer looks",
    "bridge=backward": "state read from the right",
    "bridge=copy": "last states, layer by layer",
    "bridge=zero": "by attention alone",
    "readout=maxout": "maxout",
    "readout=state": "state goes straight to the output",
    "norm=post": "[Nn]ormalisation after each sublayer",
    "zero_start=True": "zero vector",
    "activation=silu": "SiLU",
}

each_preset = pytest.mark.parametrize("preset", presets())
each_complete_preset = pytest.mark.parametrize(
    "preset", complete_presets()
)  # tests/models/test_pretrained.py has others


@cache
def tiny(preset: str, vocabulary: int = VOCABULARY) -> Seq2Seq:
    """The preset at a small width with random, rather peaked weights."""
    torch.manual_seed(0)
    config = load_config(preset, overrides=[*shrunk(preset, WIDTH), "model.embedding.tie=all"]).model
    model = Seq2Seq(config, vocabulary, vocabulary)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:  # gains and biases stay
                weight.mul_(3.0)
    return model.eval()


@each_complete_preset
def test_the_documented_number_of_parameters_is_correct(preset):
    with torch.device("meta"):
        model = Seq2Seq(load_config(preset, overrides=["model.embedding.tie=all"]).model, 8000, 8000)
    millions = parameter_count(model) / 1e6
    if said := re.search(r"(\d+) (?:to (\d+) )?million parameters", comments(preset)):
        least, most = int(said[1]), int(said[2] or said[1])
        assert least - 0.5 <= millions <= most + 0.5
    assert 1 < millions < 250


@each_complete_preset
def test_shrinking_a_preset_changes_widths_only(preset):
    before, after = load_config(preset), load_config(preset, overrides=shrunk(preset, WIDTH))
    assert after.model.decoder.hidden_size == WIDTH
    changed = {path[-1] for path, _ in keys() if setting(before, path) != setting(after, path)}
    assert changed <= {"size", "hidden_size", "feedforward_size"}


@each_complete_preset
def test_forward_equals_repeated_step(preset):
    check_forward_equals_repeated_step(tiny(preset))


@each_complete_preset
@torch.no_grad()
def test_padding_changes_nothing(preset):
    model = tiny(preset)
    source, length, target = batch()
    padded = torch.cat([source, torch.full((3, 4), PAD)], dim=1)
    torch.testing.assert_close(model(source, length, target), model(padded, length, target), atol=1e-4, rtol=1e-4)


@each_complete_preset
@torch.no_grad()
def test_a_sentence_alone_is_translated_as_in_a_batch(preset):
    model = tiny(preset)
    source, length, _ = batch()
    options = SearchOptions(beam_size=3, n_best=3)
    together = beam_search(model, source, length, [9, 9, 9], options)
    for row in range(3):
        alone = beam_search(model, source[row : row + 1, : length[row]], length[row : row + 1], [9], options)[0]
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in together[row]]


@each_complete_preset
@torch.no_grad()
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(preset):
    model, limit, words = tiny(preset, UNK + 3), 4, range(UNK, UNK + 3)
    every = [(*p, EOS) for n in range(limit) for p in itertools.product(words, repeat=n)]
    source, length = torch.tensor([[4, 5, 3, EOS]]), torch.tensor([4])
    output = torch.tensor([[*tokens, *[PAD] * (limit - len(tokens))] for tokens in every])  # [N, T]
    target = torch.cat([torch.full((len(every), 1), BOS), output[:, :-1]], dim=1)
    log_probs = model.log_probs(model(source.expand(len(every), -1), length.expand(len(every)), target))
    totals = (log_probs.gather(2, output[..., None])[..., 0] * (output != PAD)).sum(dim=1).tolist()
    expected = {t: total / length_normalizer(len(t), 1.0) for t, total in zip(every, totals, strict=True)}
    found = beam_search(model, source, length, [limit], SearchOptions(beam_size=len(every), n_best=len(every)))[0]
    assert {hypothesis.tokens: hypothesis.score for hypothesis in found} == pytest.approx(expected, abs=1e-4)
    assert found[0].score == pytest.approx(max(expected.values()), abs=1e-4)


class Losses(Observer):
    """The loss of each update."""

    def __init__(self):
        self.all = []

    def updated(self, metrics):
        self.all.append(metrics["loss"])


SHORT = [
    *("train.batch_tokens=300", "train.max_updates=16", "train.learning_rate=0.02", "train.warmup_updates=2"),
    *("train.valid_every=16", "train.valid_sentences=2", "train.log_every=1", "train.precision=fp32"),
    *("train.threads=1", "search.beam_size=2", "search.max_length_factor=1"),
]


@pytest.fixture(scope="module")
def short_run(data, tmp_path_factory):
    """Trains a preset for some updates, once: its trainer, its directory, its losses."""
    prepared = open_data(data)

    @cache
    def train(preset: str) -> tuple[Trainer, Path, list[float]]:
        base = {"data": prepared.manifest.data.model_dump()}
        config = load_config(preset, overrides=[*shrunk(preset, WIDTH), *SHORT], base=base)
        path, losses = tmp_path_factory.mktemp(preset), Losses()
        device = torch.device("cpu")
        trainer = Trainer(resolve(config, prepared, device), prepared, RunDirectory(path), device, [losses])
        trainer.fit()
        return trainer, path, losses.all

    return train


@each_complete_preset
def test_the_loss_falls_in_a_few_updates(preset, short_run):
    _, _, losses = short_run(preset)
    assert sum(losses[-3:]) / 3 < 0.95 * losses[0]


@each_complete_preset
def test_a_saved_preset_translates_the_same_when_loaded(preset, short_run):
    trainer, path, _ = short_run(preset)
    trainer.model.eval()
    runtime = TorchRuntime(pack_floats(trainer.model), trainer.device)
    kept = Translator(runtime, trainer.data.tokenizers, trainer.config.search)
    lines = ["one two three", "nine", "four four zero eight"]
    assert Translator.load(path, "cpu").translate(lines, n_best=2) == kept.translate(lines, n_best=2)


def exports():
    for preset in complete_presets():
        for form in reachable_formats(load_config(preset).model, None):
            if form == "argos":  # a file with the CTranslate2 export: tests/export/test_argos.py
                continue
            yield pytest.param(preset, form, marks=pytest.mark.slow if form == "onnx" else ())


@pytest.mark.parametrize(("preset", "form"), [*exports()])
def test_every_supported_export_format_translates_like_the_preset(preset, form, short_run, tmp_path):
    _, path, _ = short_run(preset)
    assert export(ExportOptions(run=path, output=tmp_path / "model", form=form)).comparison.match_rate >= 0.98


def test_an_unsupported_export_format_is_refused(short_run, tmp_path):
    _, path, _ = short_run("rnmt-plus")
    with pytest.raises(UserError, match=r"cannot be exported to onnx: model\.encoder\.layer_norm"):
        export(ExportOptions(run=path, output=tmp_path / "model", form="onnx"))
    assert not (tmp_path / "model").exists()


def text(preset: str) -> str:
    return (resources.files("nmtcli.models") / "presets" / f"{preset}.yaml").read_text("utf-8")


def comments(preset: str) -> str:
    """All comments as one line."""
    found = (line.partition("#")[2].strip() for line in text(preset).splitlines() if "#" in line)
    return re.sub(r"\s+", " ", " ".join(found))


def setting(config, path):
    for part in path:
        config = getattr(config, part)
    return config


@each_preset
def test_a_preset_starts_with_its_name_and_paper_or_purpose(preset):
    first = comments(preset).partition("The paper's size")[0]
    assert first.startswith(f"{preset}: ")
    assert re.search(r"(19|20)\d\d|for small corpora|for corpora of", first)


@each_preset
def test_preset_settings_differ_from_the_default_as_documented(preset):
    """The model's kinds and switches; numbers stand in the file as they are, and scaling is the Transformer's own."""
    config, default = load_config(preset), load_config()
    told = re.sub(r"The paper's size.*?(--set \S+ )+", "", comments(preset) + " ")
    for path, _ in keys():
        value = setting(config, path)
        if value == setting(default, path) or path[-1] == "scale" or path[0] != "model":
            continue
        if isinstance(value, bool | str):
            assert re.search(TOLD[f"{path[-1]}={value}"], told), ".".join(path)


@each_preset
def test_a_preset_sets_the_model_and_the_learning_rate_only(preset):
    tree, _ = load_tree(preset)
    assert tree["model"].keys() <= {"embedding", "encoder", "decoder", "attention", "dropout"}
    papers = preset in {"transformer-base", "transformer-big", "transformer-marian", "deep-shallow"}
    assert tree.keys() - {"model"} == ({"train"} if papers else set())
    assert tree.get("train", {}).keys() <= {"learning_rate", "warmup_updates", "schedule"}


@each_complete_preset
def test_the_documented_size_of_the_paper_builds(preset):
    overrides = re.findall(r"--set (\S+)", comments(preset))
    if not overrides:
        return
    sizes = []
    for given in ([], overrides):
        with torch.device("meta"):
            sizes.append(parameter_count(Seq2Seq(load_config(preset, overrides=given).model, 8000, 8000)))
    assert sizes[0] < sizes[1]
