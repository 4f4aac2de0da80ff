"""A pretrained encoder from text to translation: prepare, train, resume, translate, export; frozen parts and rates."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from nmtcli.checkpoint import RunDirectory, load_tensors, read_info
from nmtcli.data.directory import open_data
from nmtcli.translate.translator import Translator
from tests.conftest import nmt, overrides, require_onnx_export
from tests.interchange.encoders import make

pytest.importorskip("transformers")

SETTINGS = [
    *("model.encoder.type=pretrained", "model.embedding.size=16", "model.decoder.hidden_size=16"),
    *("model.attention.type=additive", "model.dropout=0.1", "train.threads=1", "train.valid_sentences=4"),
    *("train.batch_tokens=300", "train.max_updates=5", "train.warmup_updates=2", "train.learning_rate=0.01"),
    *("train.valid_every=5", "train.save_every=2", "train.log_every=1", "search.beam_size=2"),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A small BERT."""
    return make("bert", tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def prepared(encoder, corpus, tmp_path_factory):
    """The tiny corpus with the encoder's tokenizer for the source."""
    output = tmp_path_factory.mktemp("prepared") / "data"
    assert prepare(corpus, output, f"data.tokenizer.pretrained={encoder}") == 0
    return output


def prepare(corpus, output, *settings):
    return nmt("prepare", "-o", output, *files_of(corpus), *overrides("data.tokenizer.vocab_size=300", *settings))


def files_of(corpus):
    sides = {"source": "words", "target": "digits"}
    return [part for s in ("train", "valid") for k, v in sides.items() for part in (f"--{s}-{k}", corpus / f"{s}.{v}")]


def train(data, output, encoder, *settings):
    named = [] if encoder is None else [f"model.encoder.name={encoder}"]
    return nmt("train", data, "-o", output, "--device", "cpu", *overrides(*SETTINGS, *named, *settings))


@pytest.fixture(scope="module")
def trained(prepared, encoder, tmp_path_factory):
    """A run of five updates whose encoder is trained."""
    output = tmp_path_factory.mktemp("trained") / "run"
    assert train(prepared, output, encoder) == 0
    return output


def test_the_tokenizer_is_stored_with_the_data(prepared, encoder):
    data = open_data(prepared)
    assert data.tokenizers.pretrained
    assert not data.manifest.data.tokenizer.joint
    assert data.manifest.data.tokenizer.pretrained == str(encoder)
    assert (prepared / "tokenizer.source.json").is_file()


def test_prepared_again_from_another_folder_the_data_is_the_same(prepared, encoder, corpus, tmp_path):
    moved = shutil.copytree(encoder, tmp_path / "moved")
    assert prepare(corpus, prepared, f"data.tokenizer.pretrained={moved}") == 0


@pytest.fixture
def gone(encoder):
    """The folder of the encoder is elsewhere meanwhile."""
    moved = encoder.rename(encoder.with_name("elsewhere"))
    yield
    moved.rename(encoder)


@pytest.mark.usefixtures("gone")
def test_the_folder_is_not_needed_to_resume_translate_or_export(trained, prepared, encoder, corpus, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    assert train(prepared, run, encoder, "train.max_updates=7") == 0
    assert RunDirectory(run).steps()[-1] == 7
    source = corpus / "valid.words"
    assert nmt("translate", "-m", run, "-i", source, "-o", tmp_path / "text") == 0
    assert nmt("export", run, "-o", tmp_path / "export") == 0
    assert nmt("translate", "-m", tmp_path / "export", "-i", source, "-o", tmp_path / "again") == 0
    assert (tmp_path / "text").read_text("utf-8") == (tmp_path / "again").read_text("utf-8")
    assert len((tmp_path / "text").read_text("utf-8").splitlines()) == 40


def test_a_checkpoint_has_the_architecture_as_json(trained):
    directory = RunDirectory(trained).checkpoint(5)
    tree = json.loads((directory / "config.json").read_text("utf-8"))["model"]["encoder"]
    assert tree["architecture"]["model_type"] == "bert"
    assert tree["hidden_size"] == 32
    assert tree["layers"] == 3
    assert "source_embedding.weight" not in load_tensors(directory / "model.safetensors")
    assert read_info(directory).model.encoder.special_ids == tuple(tree["special_ids"])


def test_a_resumed_run_equals_an_uninterrupted_one(trained, prepared, encoder, tmp_path):
    assert train(prepared, tmp_path / "run", encoder, "train.max_updates=2", "train.schedule=constant") == 0
    assert train(prepared, tmp_path / "run", encoder, "train.schedule=constant") == 0
    assert train(prepared, tmp_path / "whole", encoder, "train.schedule=constant") == 0
    one, other = (weights(tmp_path / name) for name in ("run", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def weights(run, step=5):
    return load_tensors(RunDirectory(run).checkpoint(step) / "model.safetensors")


def state(run, step=5):
    return load_tensors(RunDirectory(run).checkpoint(step) / "trainer.safetensors")


@pytest.mark.parametrize("frozen", ["train.trained_encoder_layers=0", "train.freeze=encoder"])
def test_a_frozen_encoder_keeps_its_weights_and_has_no_optimizer_state(prepared, encoder, tmp_path, frozen):
    from nmtcli.interchange.encoders import EncoderFolder

    assert train(prepared, tmp_path / "run", encoder, frozen) == 0
    given, now = EncoderFolder.open(str(encoder)).weights(), weights(tmp_path / "run")
    assert all(torch.equal(now[f"encoder.model.{name}"], weight) for name, weight in given.items())
    assert not any("encoder." in name for name in state(tmp_path / "run"))


def test_only_the_top_layers_are_trained(prepared, encoder, tmp_path):
    from nmtcli.interchange.encoders import EncoderFolder

    assert train(prepared, tmp_path / "run", encoder, "train.trained_encoder_layers=1") == 0
    given, now = EncoderFolder.open(str(encoder)).weights(), weights(tmp_path / "run")
    changed = {name for name, weight in given.items() if not torch.equal(now[f"encoder.model.{name}"], weight)}
    assert changed
    assert all(name.startswith("encoder.layer.2.") for name in changed)


def test_the_encoder_has_its_own_learning_rate(prepared, encoder, tmp_path):
    """With SGD a change is the learning rate times the gradient; the first gradients are the same."""
    settings = ["train.optimizer=sgd", "train.max_updates=1", "train.save_every=1", "train.schedule=constant"]
    settings += ["train.warmup_updates=0", "train.learning_rate=0.1", "train.trained_encoder_layers=1"]
    changes = []
    for name, rate in (("one", 0.1), ("ten", 0.01)):
        run = tmp_path / name
        assert train(prepared, run, encoder, *settings, f"train.encoder_learning_rate={rate}") == 0
        changes.append(weights(run, 1))
    from nmtcli.interchange.encoders import EncoderFolder

    before = EncoderFolder.open(str(encoder)).weights()["encoder.layer.2.output.dense.weight"]
    one, ten = (change["encoder.model.encoder.layer.2.output.dense.weight"] - before for change in changes)
    torch.testing.assert_close(one, 10 * ten, atol=1e-6, rtol=1e-2)
    assert all(
        torch.equal(changes[0][name], changes[1][name]) for name in changes[0] if not name.startswith("encoder.")
    )


def test_the_plan_tells_trained_and_frozen_parameters(prepared, encoder, tmp_path, capsys):
    assert train(prepared, tmp_path / "run", encoder, "train.trained_encoder_layers=0") == 0
    capsys.readouterr()
    arguments = [*SETTINGS, f"model.encoder.name={encoder}", "train.trained_encoder_layers=0"]
    assert nmt("train", prepared, "-o", tmp_path / "plan", "--dry-run", *overrides(*arguments)) == 0
    out = capsys.readouterr().out
    assert "pretrained bert encoder, 3 layers of 32" in " ".join(out.split())
    assert "frozen)" in out
    assert "architecture" not in out


@pytest.mark.parametrize("family", ["distilbert", "modernbert", "xlm-roberta"])
def test_other_encoders_train_and_translate(family, corpus, tmp_path):
    encoder = make(family, tmp_path / family)
    assert prepare(corpus, tmp_path / "data", f"data.tokenizer.pretrained={encoder}") == 0
    settings = ["model.decoder.type=transformer", "model.attention.type=scaled_general"]
    assert train(tmp_path / "data", tmp_path / "run", encoder, *settings) == 0
    shutil.rmtree(encoder)
    source = corpus / "valid.words"
    assert nmt("translate", "-m", tmp_path / "run", "-i", source, "-o", tmp_path / "text") == 0


@pytest.mark.slow
def test_two_ranks_equal_one(corpus, tmp_path):
    """Frozen and trained layers under DistributedDataParallel; without dropout, whose random numbers are the rank's."""
    encoder = make("bert", tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    assert prepare(corpus, tmp_path / "data", f"data.tokenizer.pretrained={encoder}") == 0
    settings = [*SETTINGS, f"model.encoder.name={encoder}", "model.dropout=0", "train.precision=fp32"]
    settings += ["train.update_tokens=600", "train.trained_encoder_layers=1"]
    for name, ranks in (("one", []), ("two", ["--gpus", "2"])):
        command = [sys.executable, "-m", "nmtcli", "train", tmp_path / "data", "-o", tmp_path / name, "--device", "cpu"]
        subprocess.run([*command, *ranks, *overrides(*settings)], check=True, capture_output=True)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-3, msg=name)


def test_bf16_trains_the_encoder(prepared, encoder, tmp_path):
    assert train(prepared, tmp_path / "run", encoder, "train.precision=bf16") == 0
    assert all(weight.isfinite().all() for weight in weights(tmp_path / "run").values())


def test_a_trained_model_is_fine_tuned_without_the_folder(trained, prepared, encoder, corpus, tmp_path):
    assert nmt("prepare", "-o", tmp_path / "data", "--tokenizer", trained, *files_of(corpus)) == 0
    arguments = ["train", tmp_path / "data", "-o", tmp_path / "run", "--device", "cpu", "--finetune-from", trained]
    settings = ["train.max_updates=1", "train.save_every=1", "train.learning_rate=1e-9", "train.threads=1"]
    moved = encoder.rename(encoder.with_name("elsewhere"))
    try:
        assert nmt(*arguments, *overrides(*settings, "train.encoder_learning_rate=1e-9")) == 0
    finally:
        moved.rename(encoder)
    before, after = weights(trained), weights(tmp_path / "run", 1)
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, atol=1e-6, rtol=1e-5)


def test_a_model_cannot_get_another_source_tokenizer(trained, corpus, tmp_path, capsys):
    other = make("distilbert", tmp_path / "other")
    assert prepare(corpus, tmp_path / "data", f"data.tokenizer.pretrained={other}") == 0
    arguments = ["train", tmp_path / "data", "-o", tmp_path / "run", "--finetune-from", trained]
    assert nmt(*arguments, "--extend-vocabulary") == 2
    assert "pretrained encoder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["ctranslate2", "marian"])
def test_formats_without_such_encoders_are_refused(trained, tmp_path, capsys, form):
    assert nmt("export", trained, "-o", tmp_path / "export", "--format", form) == 2
    assert "model.encoder.type is pretrained" in capsys.readouterr().err


@pytest.mark.parametrize("quantize", ["int8", "bf16"])
def test_a_quantized_export_translates(trained, corpus, tmp_path, quantize):
    assert nmt("export", trained, "-o", tmp_path / "export", "--quantize", quantize, "--force") == 0
    arguments = ["translate", "-m", tmp_path / "export", "-i", corpus / "valid.words", "-o", tmp_path / "text"]
    assert nmt(*arguments) == 0


@pytest.mark.slow
def test_an_onnx_export_translates_alike_without_torch_and_transformers(trained, corpus, tmp_path):
    require_onnx_export()
    assert nmt("export", trained, "-o", tmp_path / "export", "--format", "onnx") == 0
    code = """
import sys
sys.modules["transformers"] = None
from nmtcli.cli import run
assert run(sys.argv[1:]) == 0
assert "torch" not in sys.modules
"""
    arguments = ["translate", "-m", tmp_path / "export", "-i", corpus / "valid.words", "-o", tmp_path / "text"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert nmt("translate", "-m", trained, "-i", corpus / "valid.words", "-o", tmp_path / "same") == 0
    assert (tmp_path / "text").read_text("utf-8") == (tmp_path / "same").read_text("utf-8")


def test_attention_has_the_pieces_of_the_encoder(trained, corpus, tmp_path):
    text = tmp_path / "text"
    text.write_text("Don't stop: unbelievable!\n", "utf-8")
    output = tmp_path / "attention.jsonl"
    arguments = ["-i", text, "-o", tmp_path / "translation", "--attention", output]
    assert nmt("translate", "-m", trained, *arguments) == 0
    (line,) = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert line["source"][:3] == ["▁don", "▁'", "▁t"]
    assert line["source"][-1] == "</s>"
    assert len(line["weights"][0]) == len(line["source"])


def test_a_line_longer_than_the_encoder_reads_is_split(trained):
    translator = Translator.load(trained, "cpu")
    short, long = translator.translate(["one two three", "one two three " * 20])
    assert short.treatment is None
    assert long.treatment == "split"
