"""Settings files: YAML of plain values is read, anything else is refused with a message."""

import pytest

from nmtcli.errors import UserError
from nmtcli.settings import load_config
from tests.conftest import nmt


@pytest.fixture
def load(tmp_path):
    def load_text(text: str, *overrides: str):
        (tmp_path / "c.yaml").write_text(text, "utf-8")
        return load_config(files=[tmp_path / "c.yaml"], overrides=overrides)

    return load_text


def test_yaml_merge_keys_are_merged(load):
    config = load("""
data:
  train:
    - &base {source: a.de, target: a.en, tag: <x>}
    - {<<: *base, source: b.de}
    - {source: c.de, <<: [{target: c.en}, *base]}
""")
    assert [(one.source, one.target, one.tag) for one in config.data.train] == [
        ("a.de", "a.en", "<x>"),
        ("b.de", "a.en", "<x>"),
        ("c.de", "c.en", "<x>"),
    ]


def test_errors_in_merged_yaml_have_a_line(load):
    with pytest.raises(UserError, match=r"c\.yaml:3: unknown key train\.sede; did you mean train\.seed"):
        load("train:\n  <<:\n    sede: 1\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: !!python/object/apply:os.system [ls]\n", "a tag"),
        ("train:\n  seed: !!python/name:os.system ''\n", "c.yaml:2: a tag (python/name:os.system)"),
        ("train:\n  seed: !own 3\n", "a tag (!own)"),
        ("train: !!set {a, b}\n", "a tag (set)"),
        ("train: !!binary aGk=\n", "a tag (binary)"),
        ("train:\n  <<: 3\n", "<< merges mappings only"),
        ("train:\n  <<: [3]\n", "<< merges mappings only"),
        ("train: &a\n  x: *a\n", "contains itself"),
        ("train: &a [*a]\n", "contains itself"),
        ("? [a, b]\n: 3\n", "a key is not a string"),
        ("train: *nothing\n", "not valid YAML"),
        ("train: {seed: 1\n", "not valid YAML"),
        ("\tx: 1\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("train:\n  seed: !!int x\n", "'x' is not a valid int"),
        ("[" * 500, "c.yaml"),
        ("train: " + "{a: " * 2000 + "}" * 2000, "c.yaml"),
        ("train: 3\n", "train"),
        ("just words\n", "mapping of sections"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(
            f"{chr(99 + n)}: &{chr(99 + n)} [{', '.join(['*' + chr(98 + n)] * 9)}]\n" for n in range(9)), "aliases"),
        ("train: &t\n  <<: *t\n", "contains itself"),
        ("train: &t\n  seed: 1\n  <<: [{seed: 2}, *t]\n", "contains itself"),
        ("data:\n  train:\n    - text.en\n", "a mapping of keys to values (is 'text.en')"),
        ("data: {cleaning: true}\n", "a mapping of keys to values (is True)"),
        ("\x00", "not valid YAML"),
        ("train:\n  learning_rate: 1e-3e\n", "learning_rate"),
        ("train:\n  1: 2\n", "unknown key train.1"),
    ],
)  # fmt: skip
def test_invalid_yaml_settings_are_refused_with_a_message(load, text, words):
    with pytest.raises(UserError) as raised:
        load(text)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 600


def test_invalid_yaml_ends_the_command_with_a_message(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("train: !!python/object/apply:os.system [ls]\n", "utf-8")
    assert nmt("prepare", "--dry-run", "-c", tmp_path / "c.yaml") == 2
    assert "a tag (python/object/apply:os.system)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "train:\n", "train:\n  # seed: 3\n", "model:\n  encoder:\n", "---\n"]
)
def test_empty_sections_keep_the_defaults(load, text):
    assert load(text) == load_config()


def test_an_empty_section_keeps_settings_of_earlier_files(tmp_path):
    for name, text in (("one", "train:\n  seed: 5\n"), ("two", "train:\n")):
        (tmp_path / name).write_text(text, "utf-8")
    assert load_config(files=[tmp_path / "one", tmp_path / "two"]).train.seed == 5


def test_dotted_keys_belong_to_their_sections(load):
    config = load("train.max_updates: 3\nmodel.encoder.hidden_size: 8\ntrain:\n  seed: 2\n")
    assert (config.train.max_updates, config.train.seed, config.model.encoder.hidden_size) == (3, 2, 8)
    config = load("model:\n  encoder.layers: 2\n  encoder:\n    hidden_size: 8\ntrain:\n  corpus_weights: {a.b: 2}\n")
    assert (config.model.encoder.layers, config.model.encoder.hidden_size) == (2, 8)
    assert config.train.corpus_weights == {"a.b": 2}
    with pytest.raises(UserError, match=r"c\.yaml:1: unknown key train\.max_update; did you mean train\.max_updates"):
        load("train.max_update: 3\n")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("lr: 3\n", "train.learning_rate"),
        ("train:\n  lr: 3\n", "train.learning_rate"),
        ("Train:\n  seed: 3\n", "train"),
        ("training:\n  seed: 3\n", "train"),
        ("max_updates: 3\n", "train.max_updates"),
        ("train:\n  batch_size: 3\n", "train.batch_tokens"),
        ("beam: 3\n", "search.beam_size"),
        ("train:\n  Seed: 3\n", "train.seed"),
        ("cleaning:\n  max_tokens: 3\n", "data.cleaning"),
        ("attention.type: dot\n", "model.attention.type"),
        ("model:\n  encodr:\n    size: 3\n", "model.encoder"),
        ("model:\n  decoder:\n    embedding: 3\n", "model.embedding"),
        ("model:\n  decoder:\n    rnn_size: 3\n", "model.decoder.hidden_size"),
        ("model:\n  encoder.laers: 3\n", "model.encoder.layers"),
        ("data:\n  max_tokens: 3\n", "data.cleaning.max_tokens"),
        ("d_model: 3\n", "model.encoder.hidden_size"),
    ],
)
def test_unknown_keys_get_a_suggestion(load, text, meant):
    with pytest.raises(UserError) as raised:
        load(text)
    assert str(raised.value).endswith(f"did you mean {meant}?")


def test_a_single_value_is_accepted_for_a_list(load):
    config = load(
        "train:\n  freeze: encoder\ndata:\n  cleaning: {source_scripts: latin}\n  tokenizer: {symbols: <b>}\n"
    )
    assert config.train.freeze == ("encoder",)
    assert config.data.cleaning.source_scripts == ("latin",)
    assert config.data.tokenizer.symbols == ("<b>",)
    with pytest.raises(UserError, match="did you mean encoder"):
        load("train:\n  freeze: encoders\n")


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("key", ["max_updates", "learning_rate", "max_epochs", "label_smoothing"])
def test_true_is_refused_for_a_number(load, key, value):
    with pytest.raises(UserError, match=f"train.{key}: input should be a valid"):
        load(f"train:\n  {key}: {value}\n")
    with pytest.raises(UserError, match=f"train.{key}: input should be a valid"):
        load("", f"train.{key}={value}")


def test_true_is_refused_for_a_corpus_weight(load):
    with pytest.raises(UserError, match=r"train\.corpus_weights\.a: input should be a valid number"):
        load("train:\n  corpus_weights: {a: true}\n")
    assert load("train:\n  corpus_weights: {a.b: 2}\n").train.corpus_weights == {"a.b": 2}


@pytest.mark.parametrize("override", ["train.seed=", "train.seed= ", "model.encoder.type="])
def test_an_empty_value_is_refused(override):
    with pytest.raises(UserError, match="no value"):
        load_config(overrides=[override])
    assert load_config(overrides=["train.max_epochs=null"]).train.max_epochs is None
