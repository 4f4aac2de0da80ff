"""MarianMT models in and out, against transformers and CTranslate2's own converter."""

import json
import shlex
import shutil
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import ctranslate2
import huggingface_hub
import pytest
import torch
from ctranslate2.converters import TransformersConverter

from nmtcli.checkpoint import load_model, load_tensors, load_tokenizers, read_info, save_tensors
from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.export.conditions import unmet
from nmtcli.interchange.marian_reader import NEVER
from nmtcli.interchange.marian_writer import write_marian
from nmtcli.interchange.models import cache_directory, local_model
from nmtcli.score.pairs import PairScorer, score_ids
from nmtcli.settings import load_config
from nmtcli.translate.engines import ModelOptions
from nmtcli.translate.search import Hypothesis, SearchOptions, beam_search
from nmtcli.vocabulary import EOS, PAD
from tests.conftest import TINY, nmt, overrides, require_onnx_export
from tests.interchange.marian import TAG, Kind, make, random_kind, sentences

transformers = pytest.importorskip("transformers")
transformers.logging.disable_progress_bar()
transformers.logging.set_verbosity_error()

KINDS = [random_kind(seed) for seed in range(20)]
SOME = [Kind(1, tagged=True), Kind(2, separate=True, activation="relu"), Kind(3, same_model=True, tied=False)]
LONGEST = 30  # pieces of a translation, with EOS


@dataclass(frozen=True)
class Theirs:
    """A folder opened by transformers."""

    folder: Path

    @cached_property
    def model(self):
        return transformers.AutoModelForSeq2SeqLM.from_pretrained(self.folder).eval()

    @cached_property
    def tokenizer(self):
        return transformers.AutoTokenizer.from_pretrained(self.folder)

    @property
    def padding(self) -> int:
        return self.model.config.decoder_start_token_id

    @torch.no_grad()
    def log_probs(self, sources: list[str], targets: list[str]) -> list[list[float]]:
        """Of each piece of the targets; `<pad>` has no probability, as in Marian."""
        read = self.tokenizer(sources, return_tensors="pt", padding=True)
        rows = self.tokenizer(text_target=targets).input_ids
        labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, -100)
        shifted = torch.full_like(labels, self.padding)
        shifted[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] < 0, self.padding)
        logits = self.model(**read, decoder_input_ids=shifted).logits
        logits[..., self.padding] = -torch.inf
        scores = torch.log_softmax(logits, dim=-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
        return [score[: len(row)].tolist() for score, row in zip(scores, rows, strict=True)]

    def pieces(self, sources: list[str], beam: int) -> list[list[str]]:
        """Of the best translations, without EOS, as far as ours may be long."""
        read = self.tokenizer(sources, return_tensors="pt", padding=True)
        found = self.model.generate(
            **read,
            num_beams=beam,
            length_penalty=1.0,
            early_stopping="never" if beam > 1 else False,
            renormalize_logits=True,
            bad_words_ids=[[self.padding]],
            max_length=LONGEST + 1,
        )
        rows = [row[1 : row.index(0) if 0 in row else None] for row in found.tolist()]
        return [[self.tokenizer.decoder[token] for token in row[: LONGEST - 1]] for row in rows]


@dataclass(frozen=True)
class Ours:
    """A folder opened by nmt."""

    folder: Path
    quantize: str | None = None

    @cached_property
    def directory(self) -> Path:
        return local_model(self.folder)

    @cached_property
    def tokenizers(self) -> Tokenizers:
        return Tokenizers.load(self.directory)

    def log_probs(self, sources: list[str], targets: list[str]) -> list[list[float]]:
        options = ModelOptions((self.folder,), "cpu", quantize=self.quantize)
        (engine,) = options.open_engines(options.check(), packed=False)
        scores = PairScorer(engine.forced, self.tokenizers, 2000).score(sources, targets)
        return [one.log_probs for one in scores]

    def hypotheses(self, sources: list[str], beam: int) -> list[Hypothesis]:
        """The best translations."""
        options = ModelOptions((self.folder,), "cpu", quantize=self.quantize)
        (engine,) = options.open_engines(options.check())
        rows = [[*row, EOS] for row in self.tokenizers.source.encode(sources)]
        source = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, PAD)
        limits = SearchOptions(
            beam, length_penalty=1.0, length_normalization="average", stopping="bound" if beam > 1 else "count"
        )
        found = beam_search(engine, source, torch.tensor([*map(len, rows)]), [LONGEST] * len(rows), limits)
        return [one for (one,) in found]

    def score(self, source: str, pieces: list[str]) -> float:
        """The mean log-probability of a translation."""
        ids = [self.tokenizers.target.pieces(range(len(self.tokenizers.target))).index(piece) for piece in pieces]
        options = ModelOptions((self.folder,), "cpu", quantize=self.quantize)
        (engine,) = options.open_engines(options.check(), packed=False)
        ((log_probs, _),) = score_ids(engine.forced, self.tokenizers.source.encode([source]), [ids])
        return sum(log_probs) / len(log_probs)

    def pieces(self, sources: list[str], beam: int) -> list[list[str]]:
        """Of the best translations, without EOS."""
        return [self.tokenizers.target.pieces(one.tokens)[:-1] for one in self.hypotheses(sources, beam)]


def lines(kind: Kind) -> tuple[list[str], list[str]]:
    """50 sources and targets."""
    sources = sentences(2 * kind.seed, 50)
    return [f"{TAG} {line}" for line in sources] if kind.tagged else sources, sentences(2 * kind.seed + 1, 50)


def assert_close(found, expected, tolerance=1e-4):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=tolerance, rel=3e-5)  # improbable pieces have numbers below -10


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    """Makes the folder of a kind of model, once."""
    return cache(lambda kind: make(tmp_path_factory.mktemp("marian") / "opus-mt-aa-bb", kind))


kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.seed}")
some = pytest.mark.parametrize("kind", SOME, ids=["tagged", "separate", "joint"])


@kinds
def test_log_probabilities_are_those_of_transformers(marian, kind):
    folder = marian(kind)
    assert_close(Ours(folder).log_probs(*lines(kind)), Theirs(folder).log_probs(*lines(kind)))


@kinds
def test_greedy_translations_are_those_of_transformers(marian, kind):
    sources, _ = lines(kind)
    assert Ours(marian(kind)).pieces(sources, 1) == Theirs(marian(kind)).pieces(sources, 1)


@kinds
def test_beams_are_those_of_transformers(marian, kind):
    """Where `generate` stops earlier or two hypotheses have one score, they differ, but ours are never worse."""
    ours, theirs, (sources, _) = Ours(marian(kind)), Theirs(marian(kind)), lines(kind)
    pairs = list(zip(sources, ours.pieces(sources, 4), theirs.pieces(sources, 4), strict=True))
    # at the limit ours ends and theirs is cut
    differing = [pair for pair in pairs if pair[1] != pair[2] and max(map(len, pair[1:])) < LONGEST - 1]
    assert len(differing) <= 10
    for source, found, expected in differing:
        assert ours.score(source, found) >= ours.score(source, expected) - 1e-4


def converted(folder: Path, output: Path) -> ctranslate2.Translator:
    """The model by CTranslate2's own converter."""
    TransformersConverter(str(folder)).convert(str(output))
    return ctranslate2.Translator(str(output), device="cpu", intra_threads=1)


def found_by(engine: ctranslate2.Translator, tokenizer, sources: list[str]) -> list[list[str]]:
    """The pieces of greedy translations by CTranslate2."""
    read = [tokenizer.convert_ids_to_tokens(row) for row in tokenizer(sources).input_ids]
    found = engine.translate_batch(read, beam_size=1, min_decoding_length=0, max_decoding_length=LONGEST)
    return [one.hypotheses[0][: LONGEST - 1] for one in found]


@pytest.mark.parametrize(
    "kind", [*SOME, Kind(2, separate=True, bpe=True)], ids=["tagged", "separate", "joint", "separate-bpe"]
)
def test_a_model_exported_again_is_the_same_for_transformers_and_for_ctranslate2(marian, kind, tmp_path):
    folder, output = marian(kind), tmp_path / "marian"
    assert nmt("export", folder, "-o", output, "--format", "marian") == 0
    ours, (sources, targets) = Ours(folder), lines(kind)
    expected = ours.log_probs(sources, targets)
    again = Theirs(output)
    assert_close(again.log_probs(sources, targets), expected)
    assert_close(Ours(output).log_probs(sources, targets), expected)
    greedy = ours.pieces(sources, 1)
    assert again.pieces(sources, 1) == Theirs(folder).pieces(sources, 1)
    for number, one in enumerate([folder, output]):
        if number == 0 and kind.separate:
            continue  # its loader reads one vocabulary only
        engine = converted(one, tmp_path / f"ctranslate2-{number}")
        assert found_by(engine, Theirs(one).tokenizer, sources) == greedy


def test_a_damaged_export_is_refused_and_a_sound_one_is_named_when_exported_again(marian, tmp_path, capsys):
    model = tmp_path / "exported"
    assert nmt("export", marian(SOME[2]), "-o", model, "--format", "marian") == 0
    assert nmt("export", model, "-o", tmp_path / "again", "--format", "marian") == 0
    named = [json.loads((folder / "export.json").read_text())["checkpoints"] for folder in (model, tmp_path / "again")]
    assert named == [["opus-mt-aa-bb"], ["exported"]]
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-10] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    capsys.readouterr()
    assert nmt("translate", "-m", model, "-i", model / "README.md") == 3
    assert "model.safetensors: was changed" in capsys.readouterr().err


def test_a_language_tag_that_was_fine_tuned_is_exported(marian, tmp_path):
    """A tokenizer of both sides has the tag twice: as it is read, with a space, and as it is written."""
    kind = Kind(3, same_model=True, tagged=True)
    run = shutil.copytree(local_model(marian(kind)), tmp_path / "model")
    tokenizers, weights = Tokenizers.load(run), load_tensors(run / "model.safetensors")
    assert tokenizers.joint
    pieces = tokenizers.source.pieces(range(len(tokenizers.source)))
    assert {TAG, f"▁{TAG}"} <= set(pieces)
    tag, output = pieces.index(f"▁{TAG}"), tmp_path / "marian"
    weights["source_embedding.weight"][tag] += 1
    save_tensors(run / "model.safetensors", weights)
    output.mkdir()
    write_marian(load_model(run), read_info(run), tokenizers, output)
    again = load_tensors(local_model(output) / "model.safetensors")
    assert torch.equal(again["source_embedding.weight"][tag], weights["source_embedding.weight"][tag])
    assert again["output.bias"][pieces.index(TAG)] == NEVER  # it is never written, as before


@some
def test_other_exports_and_precisions_of_a_marian_model(marian, kind, tmp_path):
    folder, (sources, _) = marian(kind), lines(kind)
    for form in ("ctranslate2", "safetensors"):  # each compares itself with the model
        assert nmt("export", folder, "-o", tmp_path / form, "--format", form) == 0
    exact, reduced = Ours(folder).pieces(sources, 1), Ours(folder, "int8").pieces(sources, 1)
    assert sum(map(list.__eq__, exact, reduced)) > 25
    assert Ours(tmp_path / "safetensors").pieces(sources, 1) == exact


@pytest.mark.slow
def test_the_onnx_export_of_a_marian_model(marian, tmp_path):
    require_onnx_export()
    assert nmt("export", marian(SOME[0]), "-o", tmp_path / "onnx", "--format", "onnx") == 0


# ---- what is opened ----


def test_a_language_tag_is_one_symbol_and_the_target_language(marian, tmp_path):
    folder = marian(SOME[0])
    source = Ours(folder).tokenizers.source
    assert source.pieces(source.encode([f"{TAG} kalo"])[0])[0] == f"▁{TAG}"
    plain, tagged = source.encode(["kalo", f"{TAG} kalo"])
    assert tagged[1:] == plain
    assert source.symbols == {TAG}
    (tmp_path / "plain").write_text("kalo mi.\n", "utf-8")
    (tmp_path / "tagged").write_text(f"{TAG} kalo mi.\n", "utf-8")
    arguments = ["translate", "-m", folder, "--device", "cpu"]
    assert nmt(*arguments, "-i", tmp_path / "tagged", "-o", tmp_path / "a") == 0
    assert nmt(*arguments, "-i", tmp_path / "plain", "--target-language", "nld", "-o", tmp_path / "b") == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert nmt(*arguments, "-i", tmp_path / "plain", "--target-language", "deu", "-o", tmp_path / "c") == 2


def test_a_model_is_converted_once_for_each_content(marian, tmp_path):
    folder = shutil.copytree(marian(SOME[2]), tmp_path / "opus-mt-de-en")
    first = local_model(folder)
    assert first.parent == cache_directory()
    written = (first / "config.json").stat().st_mtime_ns
    assert local_model(folder) == first
    assert (first / "config.json").stat().st_mtime_ns == written
    assert local_model(first) == first
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | {"num_beams": 3}))
    assert local_model(folder) != first
    assert read_info(local_model(folder)).search.beam_size == 3
    info = read_info(first)
    assert (info.source_language, info.target_language) == ("aa", "bb")  # of tokenizer_config.json
    (folder / "tokenizer_config.json").unlink()
    info = read_info(local_model(folder))
    assert (info.source_language, info.target_language) == ("de", "en")  # of the name


def test_a_model_of_the_hub_is_opened_from_the_local_cache(marian, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshots = tmp_path / "models--somebody--opus-mt-de-en"
    revision = "0123456789012345678901234567890123456789"
    shutil.copytree(marian(SOME[0]), snapshots / "snapshots" / revision)
    (snapshots / "refs").mkdir()
    (snapshots / "refs" / "main").write_text(revision)
    name = Path("somebody/opus-mt-de-en")
    expected = local_model(snapshots / "snapshots" / revision)
    assert local_model(name) == local_model(Path(f"{name}@{revision}")) == expected
    with pytest.raises(DataError, match="somebody/other: no such directory, and it cannot be downloaded"):
        local_model(Path("somebody/other"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somebody").mkdir()
    with pytest.raises(DataError, match="no such model"):  # a path that was misspelt: the network is not asked
        local_model(Path("somebody/other"))


def test_a_hub_model_without_safetensors_is_refused_with_its_name_in_the_command(marian, tmp_path, monkeypatch):
    files = shutil.copytree(marian(SOME[0]), tmp_path / "snapshot", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **more: str(files))
    with pytest.raises(UserError, match=r"someone/model: has no model\.safetensors") as error:
        local_model(Path("someone/model"))
    assert error.value.hint is not None
    assert "from_pretrained('someone/model')" in shlex.split(error.value.hint.partition("transformers: ")[2])[2]


def test_a_tied_table_may_be_stored_as_the_output_layer(marian, tmp_path):
    kind = Kind(2, separate=True, activation="relu")
    folder = shutil.copytree(marian(kind), tmp_path / "copy")
    tensors = load_tensors(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("model.decoder.embed_tokens.weight")
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    assert_close(Ours(folder).log_probs(*lines(kind)), Theirs(folder).log_probs(*lines(kind)))


# ---- what is refused ----


@pytest.fixture
def changed(marian, tmp_path):
    """Makes a folder with other settings in config.json."""

    def change(**settings) -> Path:
        folder = shutil.copytree(marian(SOME[0]), tmp_path / "model", dirs_exist_ok=True)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))
        return folder

    return change


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize_before": True}, "normalize_before is true"),
        ({"add_final_layer_norm": True, "normalize_embedding": True}, "add_final_layer_norm is true"),
        ({"activation_function": ["gelu"]}, "activation_function is"),
        ({"activation_function": "gelu_new"}, "activation_function is gelu_new, not relu, gelu, swish, silu"),
        ({"static_position_embeddings": False}, "static_position_embeddings is false"),
        ({"model_type": "m2m_100"}, "a Hugging Face model of type m2m_100"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(changed, settings, message):
    with pytest.raises(UserError, match=message):
        local_model(changed(**settings))


def test_pickled_weights_are_refused_with_the_command_that_converts_them(changed, capsys, tmp_path):
    folder = changed()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert nmt("score", "-m", folder, "--source", folder / "vocab.json", "--target", folder / "vocab.json") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has no model.safetensors" in said
    assert "save_pretrained" in said
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: missing"):
        local_model(folder)


@pytest.mark.parametrize(
    ("settings", "key"), [({"encoder_layers": 0}, r"encoder\.\S*layers"), ({"dropout": 1.0}, "dropout")]
)
def test_a_value_that_no_model_can_have_is_named(changed, settings, key):
    (value,) = settings.values()
    with pytest.raises(DataError, match=rf"config\.json: nmt has no such model: \S*{key}.* \(is {value}\)"):
        local_model(changed(**settings))


def test_an_output_layer_that_is_too_small_and_a_start_that_is_no_number_are_refused(marian, tmp_path):
    folder = shutil.copytree(marian(SOME[2]), tmp_path / "copy")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"decoder_start_token_id": True}))
    with pytest.raises(DataError, match="decoder_start_token_id True is no row"):
        local_model(folder)
    (folder / "config.json").write_text(json.dumps(settings))
    tensors = load_tensors(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:-1].clone()
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    with pytest.raises(DataError, match="embeddings, too few for the vocabulary"):
        local_model(folder)


def test_a_language_tag_of_our_own_is_refused_as_marian_reads_it_otherwise():
    rows = sentences(2, 300)
    model = load_config("transformer-marian").model
    for tag, count in (("<2nld>", 0), (TAG, 1)):
        tokenizer = Tokenizer.train([f"{tag} {row}" for row in rows], TokenizerConfig(vocab_size=400), [tag])
        assert len(unmet(model, Tokenizers(tokenizer, tokenizer), "marian")) == count


def test_the_tags_of_a_marian_model_can_be_exported_again(marian):
    for kind in (Kind(1, tagged=True), Kind(1, tagged=True, separate=True), Kind(1, tagged=True, same_model=True)):
        directory = local_model(marian(kind))
        tokenizers = load_tokenizers(directory)
        assert tokenizers.source.symbols == {TAG}
        assert not unmet(load_config("transformer-marian").model, tokenizers, "marian")


def test_damaged_folders_are_refused(changed):
    from safetensors.torch import load_file, save_file

    folder = changed()
    with pytest.raises(DataError, match=r"weights do not match|has no model\.encoder"):
        local_model(changed(encoder_layers=9))
    for mixed in ({"d_model": 8}, {"encoder_ffn_dim": 8}, {"decoder_ffn_dim": 64}):
        with pytest.raises(DataError, match="weights do not match"):
            local_model(changed(encoder_layers=2, **mixed))
    changed(encoder_layers=2)
    tensors = load_file(folder / "model.safetensors")
    flat = {"model.encoder.embed_positions.weight": torch.arange(32.0)}
    save_file(tensors | flat, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"embed_positions\.weight is no table"):
        local_model(folder)
    vectors = torch.arange(32.0).view(2, 16)
    save_file(tensors | {"model.encoder.embed_positions.weight": vectors}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"embed_positions\.weight is not sinusoidal"):
        local_model(folder)
    (folder / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(DataError, match="has no </s>, <unk>, <pad>"):
        local_model(folder)
    (folder / "source.spm").unlink()
    with pytest.raises(DataError, match=r"source\.spm: missing"):
        local_model(folder)


def test_a_bpe_model_that_lacks_pieces_is_refused(tmp_path):
    with pytest.raises(UserError, match="a BPE model without"):
        local_model(make(tmp_path / "bpe", Kind(4, bpe=True)))
    folder = make(tmp_path / "joint", Kind(5, bpe=True, same_model=True))
    assert_close(Ours(folder).log_probs(*lines(Kind(5))), Theirs(folder).log_probs(*lines(Kind(5))))


# ---- training ----


def texts(folder: Path, kind: Kind) -> list[str | Path]:
    """Arguments of prepare with lines that the model knows."""
    arguments: list[str | Path] = []
    for split, count in (("train", 60), ("valid", 20)):
        for side, seed in (("source", 2 * kind.seed), ("target", 2 * kind.seed + 1)):
            path = folder / f"{split}.{side}"
            # of other lines in each split
            rows = sentences(seed, 80)
            path.write_text("\n".join(rows[:count] if split == "train" else rows[60:]) + "\n", "utf-8")
            arguments += [f"--{split}-{side}", path]
    return arguments


def test_fine_tuning_starts_with_the_loss_of_transformers_and_resumes(marian, tmp_path, capsys):
    kind = replace(SOME[0], tagged=False)
    folder, data, run = marian(kind), tmp_path / "data", tmp_path / "run"
    assert nmt("prepare", "-o", tmp_path / "other", *texts(tmp_path, kind), "--vocab-size", "300") == 0
    assert nmt("train", tmp_path / "other", "-o", run, "--finetune-from", folder, "--device", "cpu") == 2
    assert f"--tokenizer {folder}" in "".join(capsys.readouterr().err.splitlines())
    assert nmt("prepare", "-o", data, *texts(tmp_path, kind), "--tokenizer", folder) == 0
    training = ["train", data, "-o", run, "--finetune-from", folder, "--device", "cpu"]
    settings = ["train.learning_rate=1e-9", "train.warmup_updates=1", "train.label_smoothing=0"]
    settings += ["train.valid_every=1", "train.save_every=1", "train.batch_tokens=200", "train.valid_sentences=20"]
    assert nmt(*training, *overrides(*settings, "train.max_updates=1")) == 0
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    loss = next(point["loss"] for point in points if point["event"] == "validated")
    sources, targets = ((tmp_path / f"valid.{side}").read_text().splitlines() for side in ("source", "target"))
    theirs = [score for row in Theirs(folder).log_probs(sources, targets) for score in row]
    assert loss == pytest.approx(-sum(theirs) / len(theirs), abs=1e-3)
    assert nmt(*training, *overrides(*settings, "train.max_updates=3")) == 0
    assert nmt("translate", "-m", run, "-i", tmp_path / "valid.source", "-o", tmp_path / "out", "--device", "cpu") == 0


MARIAN = [
    *("model.encoder.type=transformer", "model.decoder.type=transformer", "model.encoder.norm=post"),
    *("model.decoder.norm=post", "model.encoder.activation=silu", "model.decoder.activation=silu"),
    *("model.embedding.zero_start=true", "model.embedding.scale=true", "train.max_updates=40"),
    *("train.learning_rate=0.01", "model.dropout=0.1"),
]


@pytest.mark.parametrize("joint", [True, False], ids=["joint", "separate"])
def test_a_trained_transformer_translates_the_same_everywhere(corpus, tmp_path, joint, capsys):
    from tests.conftest import prepare_arguments

    data, run, output = tmp_path / "data", tmp_path / "run", tmp_path / "marian"
    assert nmt(*prepare_arguments(corpus, data), *([] if joint else ["--set", "data.tokenizer.joint=false"])) == 0
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *MARIAN)) == 0
    assert nmt("export", run, "-o", output, "--format", "marian", "--data", data) == 0
    sources = (corpus / "valid.words").read_text("utf-8").splitlines()
    targets = (corpus / "valid.digits").read_text("utf-8").splitlines()
    ours, theirs = Ours(run), Theirs(output)
    # PAD and BOS have some probability in ours only
    assert_close(theirs.log_probs(sources, targets), ours.log_probs(sources, targets), 2e-2)
    assert_close(theirs.log_probs(sources, targets), Ours(output).log_probs(sources, targets))
    engine = converted(output, tmp_path / "ctranslate2")
    found = found_by(engine, theirs.tokenizer, sources)
    pairs = zip(sources, ours.pieces(sources, 1), theirs.pieces(sources, 1), found, strict=True)
    differing = [source for source, *rows in pairs if len({tuple(row[: LONGEST - 1]) for row in rows}) > 1]
    assert len(differing) <= 1  # a tie


def test_the_preset_can_be_exported_and_other_transformers_say_why_not(capsys):
    assert nmt("export", "--check", "--preset", "transformer-marian", "--format", "marian") == 0
    assert nmt("export", "--check", "--preset", "transformer-base", "--format", "marian") == 5
    assert "model.embedding.zero_start is false" in " ".join(capsys.readouterr().out.split())
    assert load_config("transformer-marian").model.embedding.zero_start
