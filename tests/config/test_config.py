"""Settings: all errors at once, each with its place and the nearest valid key."""

import bz2
import gzip
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.config import Config, SearchConfig
from nmtcli.errors import UserError
from nmtcli.settings import dump_config, keys, load_config, presets, replace_search
from tests.conftest import TINY, nmt, overrides


def write(tmp_path, text, name="conf.yaml"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def message(**arguments):
    with pytest.raises(UserError) as error:
        load_config(**arguments)
    return error.value.message


def test_all_errors_are_reported_together_with_their_place(tmp_path):
    path = write(tmp_path, "train:\n  learing_rate: 1\n  clip_norm: -1\nmodel:\n  encoder:\n    layers: many\n")
    lines = message(files=[path], overrides=["search.beam=3"]).splitlines()
    assert any("conf.yaml:2: unknown key train.learing_rate; did you mean train.learning_rate?" in x for x in lines)
    assert any("conf.yaml:3: train.clip_norm" in x and "(is -1)" in x for x in lines)
    assert any("conf.yaml:6: model.encoder.layers" in x and "(is 'many')" in x for x in lines)
    assert any("--set search.beam: unknown key search.beam; did you mean search.beam_size?" in x for x in lines)
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["model.encoder.heads=8", "model.encoder.norm=post", "model.encoder.feedforward_size=9"], 3),
        (["search.beam_size=4", "search.beam_groups=3", "search.temperature=2", "search.top_k=5"], 3),
        (["model.attention.type=dot", "model.decoder.context_every_step=true", "model.encoder.repeat_source=true"], 2),
        (["train.compile=true", "search.coverage_penalty=0.2", "model.attention.type=none"], 2),
        (["data.tokenizer.pretrained=bert", "data.tokenizer.joint=true", "data.tokenizer.symbols=[<b>]"], 2),
    ],
)
def test_settings_that_exclude_each_other_are_reported_together(overrides, keys):
    assert len(message(overrides=overrides).splitlines()) == keys


def test_a_number_sign_in_an_override_begins_no_comment():
    config = load_config(overrides=["model.embedding.source_vectors=my #1.vec", "train.wandb_project=#1"])
    assert (config.model.embedding.source_vectors, config.train.wandb_project) == ("my #1.vec", "#1")
    assert load_config(overrides=["train.wandb_project='a #1'"]).train.wandb_project == "a #1"
    assert "(is '3 # updates')" in message(overrides=["train.max_updates=3 # updates"])


def test_values_of_another_kind_are_named_in_terms_of_yaml():
    assert message(overrides=["data.train={source: a, target: b}"]).endswith("data.train: input should be a list")
    assert "columns: input should have at most 2 items" in message(
        overrides=["data.train=[{path: a, columns: [1, 2, 3]}]"]
    )


def test_suggestions_ignore_case():
    assert "did you mean adamw?" in message(overrides=["train.optimizer=adamW"])


def test_a_misspelt_section_has_its_file_and_line():
    lines = message(preset="gnmt", overrides=["model.atention.heads=2"])
    assert lines.startswith("--set model.atention.heads: unknown key model.atention")


def test_overrides_replace_files_and_later_files_earlier_ones(tmp_path):
    first = write(tmp_path, "train: {seed: 1, max_updates: 5}\n", "a.yaml")
    second = write(tmp_path, "train: {seed: 2}\n", "b.yaml")
    settings = load_config(files=[first, second], overrides=["train.max_updates=7"])
    assert (settings.train.seed, settings.train.max_updates) == (2, 7)


def test_yaml_is_1_2(tmp_path):
    path = write(tmp_path, "train: {learning_rate: 1e-4}\ndata: {target_language: no}\n")
    settings = load_config(files=[path])
    assert settings.train.learning_rate == 1e-4
    assert settings.data.target_language == "no"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [1\n", "not valid YAML"),
        ("- 1\n", "mapping of sections"),
        ("train: 3\n", "train"),
        ("train:\n  seed: 1\n  seed: 2\n", ":3: duplicate key train.seed"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, text, words):
    assert words in message(files=[write(tmp_path, text)])


def test_missing_and_misencoded_files_are_named(tmp_path):
    assert "absent.yaml: cannot read" in message(files=[tmp_path / "absent.yaml"])
    path = tmp_path / "latin.yaml"
    path.write_bytes("data: {source_language: é}\n".encode("latin-1"))
    assert "not UTF-8" in message(files=[path])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_settings_file_is_refused_with_a_hint(tmp_path, capsys, pack):
    path = tmp_path / "settings.yaml.gz"
    path.write_bytes(pack(b"train: {seed: 7}\n" * 9))
    assert nmt("prepare", "-o", tmp_path / "data", "-c", path) == 2
    words = capsys.readouterr().err
    assert f"{path}: the config is not UTF-8" in words
    assert "hint: save it as plain text in UTF-8; unpack it if it is compressed" in words
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("override", ["train.seed", "=3", "train..seed=1"])
def test_an_override_without_key_or_value_is_refused(override):
    assert "section.key=value" in message(overrides=[override])


def test_conflicting_model_settings_are_refused():
    assert "must be even" in message(overrides=["model.encoder.hidden_size=7"])
    assert "attention.type dot needs" in message(overrides=["model.attention.type=dot", "model.decoder.hidden_size=10"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.weight_decay=0.1"], "weight_decay is for adamw and sgd"),
        (["train.schedule=noam", "train.learning_rate=2"], "learning_rate must be auto with schedule noam"),
        (["train.schedule=noam", "train.warmup_updates=0"], "warmup_updates must be 1 or more"),
        (["train.schedule=plateau", "train.plateau_patience=10"], "plateau_patience must be less than patience, 10"),
        (["train.plateau_patience=2"], "plateau_patience needs schedule plateau, which is not set"),
        (["train.average=last:5"], "average last:5 needs 5 kept checkpoints: set keep_last=5"),
        (["train.average=best:2"], "set keep_best=2"),
        (["train.average=median:2"], "write it as last:5 or best:3"),
        (["train.average=last:0"], "write it as last:5 or best:3"),
        (["train.ema=1"], "train.ema"),
        (["train.schedule=luong50"], "did you mean luong5"),
        (["train.optimizer=adamv"], "did you mean adam"),
        (["train.freeze=[encoders]"], "did you mean encoder?"),
        (["train.valid_metric=blue"], "did you mean bleu?"),
    ],
)
def test_conflicting_training_settings_are_refused_with_a_hint(settings, words):
    assert words in message(overrides=settings)


def test_conflicting_training_settings_are_all_reported_with_their_places(tmp_path):
    path = write(tmp_path, "train:\n  weight_decay: 0.1\n  schedule: noam\n  learning_rate: 2\n  average: last:7\n")
    lines = message(files=[path]).splitlines()
    assert len(lines) == 3
    for number, key in ((2, "weight_decay"), (4, "learning_rate"), (5, "average")):
        assert any(f"conf.yaml:{number}: train: {key} " in line for line in lines)


def test_compatible_training_settings_load():
    load_config(overrides=["train.optimizer=adamw", "train.weight_decay=0.1", "train.ema=0.999"])
    load_config(overrides=["train.average=last:5", "train.keep_last=5", "train.schedule=noam"])
    load_config(overrides=["train.schedule=plateau", "train.patience=null", "train.plateau_patience=20"])


def test_weights_of_corpora_come_from_files_and_overrides(tmp_path):
    path = write(tmp_path, "train:\n  corpus_weights:\n    news: 2\n    talks.v2: 0.5\n")
    settings = load_config(files=[path], overrides=["train.corpus_weights.news=3", "train.corpus_weights={old: 0}"])
    assert settings.train.corpus_weights == {"news": 3, "talks.v2": 0.5, "old": 0}


def test_names_of_corpora_may_have_dots(tmp_path):
    """They are those of files, such as Europarl.de-en.de."""
    path = write(tmp_path, "train.corpus_weights.Europarl.de-en: 0.5\ntrain:\n  corpus_weights.a.b: 2\n")
    settings = load_config(files=[path], overrides=["train.corpus_weights.news.2014.de-en=3"])
    assert settings.train.corpus_weights == {"Europarl.de-en": 0.5, "a.b": 2, "news.2014.de-en": 3}


def test_invalid_corpus_weights_are_refused(tmp_path):
    path = write(tmp_path, "train:\n  corpus_weights:\n    news: -1\n    talks: .inf\n    old: much\n")
    lines = message(files=[path]).splitlines()
    for number, name in enumerate(("news", "talks", "old"), start=3):
        assert any(f"conf.yaml:{number}: train.corpus_weights.{name}" in line for line in lines)
    assert "are mutually exclusive" in message(overrides=["train.corpus_temperature=2", "train.corpus_weights.news=2"])
    assert "train.corpus_temperature" in message(overrides=["train.corpus_temperature=0.5"])


def test_an_unknown_preset_is_refused_with_a_suggestion():
    assert "did you mean luong-general?" in message(preset="luong-genral")


def test_the_default_model_is_the_luong_general_preset():
    assert load_config("luong-general") == load_config()


@settings(max_examples=30)
@given(st.integers(1, 10**6), st.floats(1e-9, 10), st.sampled_from(["bleu", "chrf", "loss"]))
def test_dumped_settings_load_as_themselves(updates, rate, metric):
    given_ = [f"train.max_updates={updates}", f"train.learning_rate={rate}", f"train.valid_metric={metric}"]
    settings = load_config(overrides=given_)
    from ruamel.yaml import YAML

    assert Config.model_validate(YAML(typ="safe").load(dump_config(settings))) == settings


def test_every_setting_has_a_default_and_a_description():
    for path, field in keys():
        assert not field.is_required(), path
        assert field.description, path
        assert field.description.endswith("."), path


def test_search_settings_of_the_command_line_are_checked_together():
    assert replace_search(SearchConfig(), {"beam_size": 3}).beam_size == 3
    with pytest.raises(UserError) as error:
        replace_search(SearchConfig(), {"beam_size": 0, "max_length_factor": -1.0})
    assert "--beam-size" in error.value.message
    assert "--max-length-factor" in error.value.message


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ({"stopping": "count", "coverage_penalty": 0.2}, {"method": "sampling"}),
        ({"method": "mbr", "mbr_samples": 64, "seed": 3}, {"method": "beam"}),
        ({"beam_size": 6, "beam_groups": 3, "beam_diversity": 0.7}, {"beam_groups": 1}),
    ],
)
def test_settings_of_a_model_that_another_method_does_not_have_lose_their_effect(stored, given):
    search = replace_search(SearchConfig(**stored), given)
    assert all(getattr(search, name) == value for name, value in given.items())
    with pytest.raises(UserError, match="needs method beam"):  # but not those that are given
        replace_search(SearchConfig(**stored), {"method": "sampling", "stopping": "count"})


@pytest.mark.parametrize("preset", presets())
def test_stored_settings_are_the_applicable_ones_and_build_the_same_model(preset, tmp_path):
    config = load_config(preset)
    written = tmp_path / "config.yaml"
    written.write_text(dump_config(config), "utf-8")
    assert load_config(files=[written]) == config
    model = config.model.model_dump()
    for side in ("encoder", "decoder"):
        assert ("cell" in model[side]) == (model[side]["type"] == "rnn")
        assert ("heads" in model[side]) == (model[side]["type"] not in ("rnn", "pretrained"))
    assert ("attention" in model) == (model["decoder"]["type"] == "rnn")
    assert ("window" in model.get("attention", {})) == (config.model.decoder.type == "rnn" and config.model.attends)


@pytest.mark.parametrize("value", [True, False])
def test_a_setting_that_was_removed_is_accepted_and_dropped(tmp_path, value):
    (tmp_path / "config.yaml").write_text(f"train: {{cuda_graphs: {str(value).lower()}, patience: 3}}\n")
    config = load_config(files=[tmp_path / "config.yaml"], overrides=["train.cuda_graphs=true"])
    assert config == load_config(overrides=["train.patience=3"])


@pytest.mark.parametrize("place", ["file", "override"])
def test_a_removed_setting_is_ignored_with_one_warning(data, tmp_path, capsys, place):
    (tmp_path / "config.yaml").write_text("train: {cuda_graphs: true}\n")
    given = ["-c", tmp_path / "config.yaml"] if place == "file" else ["--set", "train.cuda_graphs=true"]
    settings = overrides(*TINY, "train.max_updates=1")
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *settings, *given) == 0
    assert capsys.readouterr().err.count("train.cuda_graphs has no effect since 0.2.0 and is ignored") == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.decoder.readout=state"], "decoder.readout state needs a decoder.query other than state"),
        (
            ["model.attention.type=none", "model.decoder.bridge=backward"],
            "decoder.bridge backward needs attention or context_every_step",
        ),
        (["model.attention.window_size=5"], "attention.window_size needs a window"),
        (["model.encoder.residual=true"], "encoder.residual needs encoder.layers 2 or more"),
        (["model.decoder.residual=true"], "decoder.residual needs decoder.layers 2 or more"),
    ],
)
def test_new_models_with_weights_or_settings_that_nothing_reads_are_refused(settings, words, data, tmp_path, capsys):
    """Those of older versions open as they are."""
    assert load_config(overrides=settings).model.unread()[0].startswith(words)
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*TINY, *settings)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ("{source: a, target: b, split: dev}", "split needs hub"),
        ("{path: a.tsv, hub_config: de-en}", "hub_config needs hub"),
        ("{source: a, target: b, format: tsv}", "format needs path"),
        ("{hub: a/b, format: tsv}", "format needs path"),
        ("{source: a, target: b, columns: [1, 2]}", "columns needs path or hub"),
    ],
)
def test_keys_of_another_kind_of_corpus_are_refused(corpus, words):
    assert words in message(overrides=[f"data.train=[{corpus}]"])


def test_only_training_corpora_have_alignments():
    given = "data.valid=[{source: a, target: b, alignment: c}]"
    assert "valid: only training corpora can have alignment" in message(overrides=[given])


@pytest.mark.parametrize("columns", ["3", "de", "12", "{source: de, target: en}"])
def test_columns_that_are_no_list_are_refused(columns):
    assert "a list of two columns" in message(overrides=[f"data.train=[{{path: a.tsv, columns: {columns}}}]"])
