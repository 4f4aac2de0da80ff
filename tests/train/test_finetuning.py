"""Fine-tuning: frozen parameters, and vocabularies that grow."""

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.shrinking import complete_presets
from nmtcli.checkpoint import find_model, load_model
from nmtcli.data.directory import open_data
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import UserError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.finetuning import FirstModel, common_pieces
from nmtcli.train.freezing import PARTS, check_freeze, freeze, part_names
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, model_config, nmt, overrides, prepare_arguments
from tests.laws.test_training_laws import tiny_batch

# ---- frozen parts ----

MODELS = {
    "recurrent": [],
    "bahdanau": ["model.attention.type=additive", "model.decoder.query=previous_state", "model.decoder.cell=gru"],
    "input feeding": ["model.decoder.input_feeding=true", "model.attention.type=scaled_dot", "model.attention.heads=2"],
    "transformer": ["model.encoder.type=transformer", "model.decoder.type=transformer"],
    "ssru": ["model.encoder.type=transformer", "model.decoder.type=ssru"],
}


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("part", PARTS)
def test_a_frozen_part_has_no_gradient_and_leaves_those_of_the_others(settings, part):
    torch.manual_seed(0)
    own = ["model.embedding.tie=none", "model.dropout=0", *settings]
    model = Seq2Seq(model_config(*own), 30, 30)
    objective, batch = TrainingLoss(model, smoothing=0.1), tiny_batch()
    objective(batch)[0].backward()
    whole = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    freeze(model, [part])
    objective(batch)[0].backward()
    frozen = part_names(model, part)
    assert frozen
    for name, weight in model.named_parameters():
        if name in frozen:
            assert weight.grad is None, name
        else:
            torch.testing.assert_close(weight.grad, whole[name], msg=name)


@pytest.mark.parametrize("name", complete_presets())
def test_every_weight_of_every_preset_belongs_to_a_part(name):
    with torch.device("meta"):
        model = Seq2Seq(load_config(name, overrides=["model.embedding.tie=none"]).model, 5, 5)
    parts = [part_names(model, part) for part in PARTS]
    assert set().union(*parts) == {name for name, _ in model.named_parameters()}
    attention = part_names(model, "attention")
    assert len(attention) == sum("attention" in weight or "cross" in weight for weight in part_names(model, "decoder"))


def refused(*settings):
    with pytest.raises(UserError) as error:
        check_freeze(load_config(overrides=list(settings)))
    return error.value.message


def test_invalid_freeze_settings_are_refused():
    tied = refused("model.embedding.tie=all", "train.freeze=[source_embedding]")
    assert "target_embedding would be frozen as well: model.embedding.tie is all" in tied
    assert "output would be frozen as well" in tied
    assert "attention has no weights" in refused("model.attention.type=dot", "train.freeze=[attention]")
    everything = f"train.freeze=[{', '.join(PARTS)}]"
    assert "leave nothing to train" in refused("model.embedding.tie=none", everything)
    check_freeze(load_config(overrides=["model.embedding.tie=all", "train.freeze=[decoder]"]))
    check_freeze(
        load_config(overrides=["model.embedding.tie=target", "train.freeze=[target_embedding, output, encoder]"])
    )


def test_frozen_parts_keep_their_weights_and_are_counted(data, trained, tmp_path, capsys):
    frozen = ["train.freeze=[source_embedding, target_embedding, output]", "train.learning_rate=0.01"]
    mine = [setting for setting in TINY if not setting.startswith("model")]
    command = ["train", data, "-o", tmp_path / "run", "--finetune-from", trained, "--device", "cpu"]
    assert nmt(*command, *overrides(*mine, *frozen)) == 0
    before, after = (load_file(find_model(path) / "model.safetensors") for path in (trained, tmp_path / "run"))
    kept = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    assert kept == {"source_embedding.weight"}  # one table for all three
    assert f"({before['source_embedding.weight'].numel():,} of them frozen)" in capsys.readouterr().err
    assert nmt("train", data, "-o", tmp_path / "x", *overrides(*TINY, "train.freeze=[output]")) == 2
    assert "would be frozen as well" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# ---- another vocabulary ----


@pytest.fixture(scope="module")
def other_data(corpus, tmp_path_factory):
    """The corpus with a smaller joint vocabulary, and with one for each side."""
    folder = tmp_path_factory.mktemp("other")
    for name, options in (("joint", []), ("apart", ["--set", "data.tokenizer.joint=false"])):
        arguments = prepare_arguments(corpus, folder / name)
        arguments[arguments.index("--vocab-size") + 1] = "40"
        assert nmt(*arguments, *options, "--set", "data.tokenizer.byte_fallback=false") == 0
    return folder


def first_weights(directory, data, tie):
    """A fresh model of the data's vocabularies before and after it took the weights of a directory."""
    first, tokenizers = FirstModel.find(directory, output=data / "none"), Tokenizers.load(data)
    assert first.model.embedding.tie == tie
    torch.manual_seed(5)
    model = Seq2Seq(first.model, len(tokenizers.source), len(tokenizers.target))
    fresh = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    first.give_weights(model, tokenizers)
    return model, fresh, tokenizers


def test_embedding_rows_are_copied_by_piece(data, other_data, tmp_path):
    for name, tie in (("joint", "all"), ("apart", "target")):
        settings = overrides(*TINY, "train.max_updates=2")
        assert nmt("train", other_data / name, "-o", tmp_path / name, "--device", "cpu", *settings) == 0
        directory = find_model(tmp_path / name)
        model, fresh, ours = first_weights(directory, data, tie)
        old, theirs = load_model(directory), Tokenizers.load(directory)
        for table, side in (("source_embedding", "source"), ("target_embedding", "target"), ("output", "target")):
            given, got = getattr(old, table).weight, getattr(model, table).weight
            known, pieces = (
                tokenizer.pieces(range(len(tokenizer))) for tokenizer in (getattr(theirs, side), getattr(ours, side))
            )
            own = next(fresh[name] for name, weight in model.named_parameters() if weight is got)
            assert not set(pieces) <= set(known)
            for number, piece in enumerate(pieces):
                expected = given[known.index(piece)] if piece in known else own[number]
                assert torch.equal(got[number], expected), (table, piece)
        assert (model.output.weight is model.target_embedding.weight) == (tie != "none")
        others = dict(old.named_parameters())
        for weight_name, weight in model.named_parameters():
            if not weight_name.startswith(("source_embedding", "target_embedding", "output")):
                assert torch.equal(weight, others[weight_name]), weight_name


def test_the_same_vocabulary_gives_the_same_model(trained, data):
    model, _, _ = first_weights(find_model(trained), data, "all")
    old = load_model(find_model(trained))
    for weight, other in zip(model.parameters(), old.parameters(), strict=True):
        assert torch.equal(weight, other)


def test_pieces_in_both_vocabularies_are_matched(data, other_data):
    theirs, ours = Tokenizers.load(data).source, Tokenizers.load(other_data / "joint").source
    their_ids, our_ids = common_pieces(theirs, ours)
    assert theirs.pieces(their_ids) == ours.pieces(our_ids)
    assert their_ids[:4] == our_ids[:4] == [0, 1, 2, 3]
    assert len(set(our_ids)) == len(our_ids) > 4


def test_finetuning_with_another_vocabulary_reports_new_pieces_and_resumes(other_data, trained, tmp_path, capsys):
    mine = [setting for setting in TINY if not setting.startswith("model")]
    command = ["train", other_data / "joint", "-o", tmp_path / "run", "--finetune-from", trained, "--device", "cpu"]
    assert nmt(*command, *overrides(*mine)) == 2
    assert "give --extend-vocabulary" in capsys.readouterr().err
    frozen = "train.freeze=[source_embedding, target_embedding, output]"
    assert nmt(*command, "--extend-vocabulary", *overrides(*mine, frozen)) == 2
    assert "would leave the embeddings of new pieces random" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert nmt(*command, "--extend-vocabulary", *overrides(*mine)) == 0
    assert "joint vocabulary: " in capsys.readouterr().err
    assert nmt(*command, "--extend-vocabulary", *overrides(*mine, "train.max_updates=13")) == 0
    words = capsys.readouterr().err
    assert "resuming from update 12" in words
    assert "joint vocabulary" not in words
    assert nmt("train", other_data / "joint", "-o", tmp_path / "x", "--extend-vocabulary") == 2
    assert "needs --finetune-from" in capsys.readouterr().err


def test_data_with_the_tokenizer_of_a_model_has_its_languages(corpus, tmp_path):
    """Those of data, run or export; what is given by -s and -t wins, and a bare tokenizer knows none."""
    *arguments, _, _ = prepare_arguments(corpus, tmp_path / "first")
    assert nmt(*arguments, "-s", "xx", "-t", "yy", "--vocab-size", "300") == 0
    run = tmp_path / "run"
    assert nmt("train", tmp_path / "first", "-o", run, "--device", "cpu", *overrides(*TINY, "train.max_updates=1")) == 0
    checkpoint = next((run / "checkpoints").iterdir())
    for number, (origin, given, expected) in enumerate(
        (
            (tmp_path / "first", (), ("xx", "yy")),
            (run, (), ("xx", "yy")),
            (checkpoint, ("-t", "zz"), ("xx", "zz")),
            (checkpoint / "tokenizer.model", (), ("source", "target")),
        )
    ):
        *arguments, _, _ = prepare_arguments(corpus, tmp_path / str(number))
        assert nmt(*arguments, "--tokenizer", origin, *given) == 0
        settings = open_data(tmp_path / str(number)).manifest.data
        assert (settings.source_language, settings.target_language) == expected


def test_data_for_a_model_takes_the_tokenizer_of_a_run(corpus, trained, tmp_path):
    *arguments, _, _ = prepare_arguments(corpus, tmp_path / "data")  # without the size of a new one
    assert nmt(*arguments, "--tokenizer", trained) == 0
    ours, models = (Tokenizers.load(path).source for path in (tmp_path / "data", find_model(trained)))
    every = range(len(models))
    assert ours.pieces(every) == models.pieces(every)
