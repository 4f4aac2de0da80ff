"""Folders of pretrained encoders that cannot be used, and data and settings that do not fit them."""

import json
import shlex
import shutil
import sys

import huggingface_hub
import pytest
import torch

from nmtcli.data.directory import open_data
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.encoders import EncoderFolder
from tests.conftest import nmt, overrides
from tests.interchange.encoders import make

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small BERT."""
    return make("bert", tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture
def copied(bert, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(bert, tmp_path / "bert")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        EncoderFolder.open(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"not a pretrained encoder \(no config.json\)"):
        EncoderFolder.open(str(tmp_path))
    with pytest.raises(DataError, match="cannot be downloaded from the Hugging Face Hub") as error:
        EncoderFolder.open("nobody/nothing")
    assert error.value.hint is not None and "folder of a pretrained encoder" in error.value.hint


def test_without_transformers_the_hint_installs_it(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="needs transformers") as error:
        EncoderFolder.open(str(bert))
    assert error.value.hint == "pip install 'nmtcli[pretrained]'"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "t5"}, "a model of type t5; a pretrained encoder is one of bert, distilbert"),
        ({"model_type": None}, "not a model of transformers"),
        ({"is_decoder": True}, "a decoder, not an encoder"),
    ],
)
def test_other_models_are_refused(copied, settings, message):
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **settings}), "utf-8")
    with pytest.raises(UserError, match=message):
        EncoderFolder.open(str(copied))


def test_weights_in_a_pickle_are_refused_with_the_command_that_converts_them(copied):
    model = transformers.AutoModel.from_pretrained(copied)
    (copied / "model.safetensors").unlink()
    torch.save(model.state_dict(), copied / "pytorch_model.bin")
    with pytest.raises(UserError, match="opening a pickle can run code") as error:
        EncoderFolder.open(str(copied))
    assert error.value.hint is not None
    command = shlex.split(error.value.hint.partition("transformers: ")[2])
    assert command[:2] == ["python", "-c"]
    assert "save_pretrained('NEW')" in command[2]


def test_a_hub_encoder_without_safetensors_is_refused_with_its_name_in_the_command(bert, tmp_path, monkeypatch):
    files = shutil.copytree(bert, tmp_path / "snapshot", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **more: str(files))
    with pytest.raises(UserError, match=r"someone/bert@v1: has no model\.safetensors") as error:
        EncoderFolder.open("someone/bert@v1")
    assert error.value.hint is not None
    assert "from_pretrained('someone/bert', revision='v1')" in shlex.split(error.value.hint.partition(": ")[2])[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": None},
        {"hidden_size": "32"},
        {"layer_norm_eps": 1},
        {"dtype": []},
        {"hidden_act": "unknown"},
        {"num_attention_heads": 5},
        {"max_position_embeddings": 2},
        {"max_position_embeddings": None},
        {"model_type": "roberta", "pad_token_id": None},
    ],
    ids=str,
)
def test_settings_that_are_no_model_are_refused(copied, settings):
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **settings}), "utf-8")
    with pytest.raises(DataError, match="transformers cannot open it"):
        EncoderFolder.open(str(copied))


@pytest.mark.parametrize("more", [0, 1])
def test_every_id_of_the_tokenizer_needs_an_embedding(copied, more):
    tokenizer = transformers.AutoTokenizer.from_pretrained(copied)
    embeddings = json.loads((copied / "config.json").read_text("utf-8"))["vocab_size"]
    tokenizer.add_tokens([f"added{number}" for number in range(embeddings + more - len(tokenizer))])
    tokenizer.save_pretrained(copied)
    folder = EncoderFolder.open(str(copied))
    if more:
        with pytest.raises(UserError, match=f"has {embeddings + 1} pieces, the encoder embeddings of {embeddings}"):
            folder.tokenizer()
    else:
        assert max(folder.tokenizer().encode(["added0"])[0]) < embeddings


def test_weights_that_lack_some_are_refused(copied):
    from safetensors.torch import load_file, save_file

    path = copied / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"has no weights encoder\.layer\.1\.output\.dense\.weight"):
        EncoderFolder.open(str(copied)).weights()


def test_weights_that_are_cut_short_are_refused(copied):
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="transformers cannot open it"):
        EncoderFolder.open(str(copied)).weights()


def test_weights_of_a_whole_language_model_are_those_of_its_encoder(bert, tmp_path):
    config = transformers.AutoConfig.from_pretrained(bert)
    torch.manual_seed(1)
    model = transformers.AutoModelForMaskedLM.from_config(config)
    whole = shutil.copytree(bert, tmp_path / "whole")
    model.save_pretrained(whole)
    weights = EncoderFolder.open(str(whole)).weights()
    assert torch.equal(weights["embeddings.word_embeddings.weight"], model.bert.embeddings.word_embeddings.weight)
    assert weights.keys() == EncoderFolder.open(str(bert)).weights().keys()


def test_a_slow_tokenizer_is_refused(copied):
    vocabulary = transformers.AutoTokenizer.from_pretrained(copied).get_vocab()
    (copied / "tokenizer.json").unlink()
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    (copied / "vocab.txt").write_text("\n".join(names) + "\n", "utf-8")
    slow = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}
    (copied / "tokenizer_config.json").write_text(json.dumps(slow), "utf-8")
    with pytest.raises(UserError, match=r"only a slow tokenizer \(BertJapaneseTokenizer\)"):
        EncoderFolder.open(str(copied)).tokenizer()


def test_a_tokenizer_without_tokens_around_a_sentence_is_refused(copied):
    path = copied / "tokenizer.json"
    tree = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**tree, "post_processor": None}), "utf-8")
    with pytest.raises(UserError, match="it adds 0 tokens to a sentence"):
        EncoderFolder.open(str(copied)).tokenizer()


SMALL = ["model.embedding.size=16", "model.decoder.hidden_size=16", "train.max_updates=1", "train.threads=1"]
PRETRAINED = "model.encoder.type=pretrained"


def error_of(capsys, *arguments) -> str:
    """The one line of an error of the user."""
    assert nmt(*arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def of_bert(bert, corpus, tmp_path_factory):
    """The tiny corpus with the tokenizer of the small BERT."""
    output = tmp_path_factory.mktemp("prepared") / "data"
    assert nmt(*prepare(corpus, output, f"data.tokenizer.pretrained={bert}")) == 0
    return output


def prepare(corpus, output, *settings):
    sides = {"source": "words", "target": "digits"}
    files = [part for s in ("train", "valid") for k, v in sides.items() for part in (f"--{s}-{k}", corpus / f"{s}.{v}")]
    return ["prepare", "-o", output, *files, *overrides("data.tokenizer.vocab_size=300", *settings)]


def test_training_refuses_data_and_settings_that_do_not_fit(data, of_bert, bert, tmp_path, capsys):
    other = make("distilbert", tmp_path / "other")
    cases = [
        (data, [f"model.encoder.name={bert}"], "the data was prepared with a tokenizer of its own"),
        (of_bert, [f"model.encoder.name={other}"], "the data was prepared with the tokenizer of another encoder"),
        (of_bert, [], "model.encoder.name is missing"),
        (of_bert, [f"model.encoder.name={bert}", "model.encoder.layers=2"], "but the pretrained encoder has 3"),
        (of_bert, [f"model.encoder.name={bert}", "train.trained_encoder_layers=4"], "but the encoder has 3 layers"),
        (of_bert, [f"model.encoder.name={bert}", "model.embedding.tie=all"], "exclude a pretrained encoder"),
        (of_bert, [f"model.encoder.name={bert}", "model.attention.type=dot"], "equal to decoder.hidden_size"),
        (of_bert, [f"model.encoder.name={bert}", "model.encoder.reverse_source=true"], "needs type rnn or transformer"),
        (
            of_bert,
            [f"model.encoder.name={bert}", "train.freeze=encoder", "train.encoder_learning_rate=1e-5"],
            "needs an encoder that is not frozen",
        ),
        (of_bert, [f"model.encoder.name={bert}", "train.subword_sampling=0.2"], "cannot be sampled"),
    ]
    for prepared, settings, message in cases:
        arguments = ["train", prepared, "-o", tmp_path / "run", *overrides(PRETRAINED, *SMALL, *settings)]
        assert message in error_of(capsys, *arguments), settings
    rnn = overrides(*SMALL, "model.encoder.hidden_size=16", "train.trained_encoder_layers=1")
    assert "needs model.encoder.type pretrained" in error_of(capsys, "train", of_bert, "-o", tmp_path / "run", *rnn)
    assert not (tmp_path / "run").exists()


def test_the_settings_of_a_run_with_another_encoder_are_refused(of_bert, bert, tmp_path, capsys):
    """A run's config.yaml has the architecture, which must be that of the folder whose weights are taken."""
    other, run = shutil.copytree(bert, tmp_path / "other"), tmp_path / "run"
    folder = EncoderFolder.open(str(bert))
    assert folder.has({**folder.architecture, "transformers_version": "5.0.0"})
    short = overrides(PRETRAINED, *SMALL, f"model.encoder.name={bert}", "train.batch_tokens=300")
    assert nmt("train", of_bert, "-o", run, "--device", "cpu", *short) == 0
    same = ["-c", run / "config.yaml", "--dry-run"]
    assert nmt("train", of_bert, "-o", tmp_path / "same", "--device", "cpu", *same) == 0
    config = transformers.AutoConfig.from_pretrained(bert)
    config.num_hidden_layers += 1
    transformers.AutoModel.from_config(config).save_pretrained(other)
    again = ["-c", run / "config.yaml", *overrides(f"model.encoder.name={other}")]
    assert "has a different architecture" in error_of(capsys, "train", of_bert, "-o", tmp_path / "new", *again)


def test_nothing_to_train_is_refused(of_bert, bert, tmp_path, capsys):
    frozen = ["train.trained_encoder_layers=0", "train.freeze=[decoder, target_embedding, output]"]
    arguments = overrides(PRETRAINED, *SMALL, f"model.encoder.name={bert}", *frozen)
    assert "leave nothing to train" in error_of(capsys, "train", of_bert, "-o", tmp_path / "run", *arguments)


@pytest.mark.parametrize("form", ["marian", "argos"])
def test_formats_with_sentencepiece_refuse_the_tokenizer_of_an_encoder(of_bert, tmp_path, form, capsys):
    layers = [f"model.{side}.{key}" for side in ("encoder", "decoder") for key in ("layers=1", "hidden_size=16")]
    small = [*layers, "model.embedding.size=16", "train.max_updates=1", "train.threads=1", "train.batch_tokens=300"]
    small += [f"model.{side}.heads=2" for side in ("encoder", "decoder")]
    run = ["train", of_bert, "-o", tmp_path / "run", "--preset", "transformer-marian", "--device", "cpu"]
    assert nmt(*run, *overrides(*small)) == 0
    capsys.readouterr()
    arguments = ["export", tmp_path / "run", "-o", tmp_path / f"x.{form}model", "--format", form]
    assert "the source tokenizer is that of a pretrained encoder" in error_of(capsys, *arguments)
    assert nmt("export", tmp_path / "run", "--check", "--format", form) == 5
    assert capsys.readouterr().out.count("the source tokenizer is that of a pretrained encoder") == 2
    assert nmt("export", tmp_path / "run", "-o", tmp_path / "fast", "--format", "ctranslate2") == 0
    assert "100.0% equal translations" in " ".join(capsys.readouterr().out.split())


def test_preparation_refuses_what_needs_symbols(bert, corpus, tmp_path, capsys):
    cases = [
        (["data.protect=[url]"], "no embedding of the symbol"),
        (["data.tokenizer.symbols=[<x>]"], "symbols exclude pretrained"),
        (["data.tokenizer.joint=true"], "joint must be false"),
    ]
    for settings, message in cases:
        arguments = prepare(corpus, tmp_path / "data", f"data.tokenizer.pretrained={bert}", *settings)
        assert message in error_of(capsys, *arguments), settings


def test_a_source_too_long_for_the_encoder_is_dropped(bert, corpus, tmp_path, capsys):
    """38 tokens between the first and the last of 40 positions."""
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    for split in ("train", "valid"):
        for side in ("words", "digits"):
            path = folder / f"{split}.{side}"
            path.write_text(
                path.read_text("utf-8") + " ".join(["1" if side == "digits" else "one"] * 39) + "\n", "utf-8"
            )
    settings = [f"data.tokenizer.pretrained={bert}", "data.cleaning.max_tokens=null", "data.cleaning.held_out=false"]
    assert nmt(*prepare(folder, tmp_path / "data", *settings)) == 0
    manifest = open_data(tmp_path / "data").manifest
    assert (manifest.train.pairs, manifest.valid.pairs) == (400, 40)
    assert capsys.readouterr().out.count("too-many-tokens") >= 1


def test_a_bilstm_can_read_the_tokenizer_of_an_encoder(of_bert, tmp_path):
    settings = [*SMALL, "model.encoder.hidden_size=16", "train.batch_tokens=300"]
    assert nmt("train", of_bert, "-o", tmp_path / "run", "--device", "cpu", *overrides(*settings)) == 0
