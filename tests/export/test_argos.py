"""Argos packages, opened with the libraries and by the steps of Argos Translate; the metadata of model cards."""

import json
import zipfile
from pathlib import Path

import ctranslate2
import sentencepiece
from huggingface_hub import ModelCard

from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.export.argos import _language_name
from nmtcli.export.conditions import unmet
from nmtcli.settings import load_config
from nmtcli.translate.translator import Translator
from tests.conftest import nmt
from tests.interchange.marian import Kind, make, sentences

LINES = ["one two three", "nine", "four four zero eight seven", "six five"]


def installed(package: Path, directory: Path) -> Path:
    """The package unpacked, as by `argospm install`: its one folder."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(directory)
    (folder,) = directory.iterdir()
    return folder


def argos_translations(folder: Path, lines: list[str]) -> list[str]:
    """What Argos Translate does with a sentence: pieces as text, CTranslate2, joined by the same tokenizer. Greedy, and
    of at most 19 pieces, because random models do not end.
    """
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    engine = ctranslate2.Translator(str(folder / "model"), device="cpu")
    encoded = [pieces.encode(line, out_type=str) for line in lines]
    found = engine.translate_batch(encoded, beam_size=1, replace_unknowns=True, max_decoding_length=19)
    return [pieces.decode_pieces(one.hypotheses[0]).replace("▁", " ").lstrip(" ") for one in found]


def test_an_argos_package_translates_like_the_ctranslate2_export(transformer, ctranslate2, tmp_path, capsys):
    package = tmp_path / "new" / "words.argosmodel"
    assert nmt("export", transformer, "-o", package, "--format", "argos") == 0
    assert "argospm install" in capsys.readouterr().out
    assert list(package.parent.iterdir()) == [package]
    folder = installed(package, tmp_path / "installed")
    expected = Translator.load(ctranslate2, "cpu", beam_size=1, max_length=20, max_length_factor=30)
    assert argos_translations(folder, LINES) == [one.text for one in expected.translate(LINES)]

    metadata = json.loads((folder / "metadata.json").read_text())
    assert folder.name == f"translate-{metadata['from_code']}_{metadata['to_code']}-1_0"
    assert metadata["type"] == "translate"
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "argostranslate"
    assert "argospm install" in card.text


def test_an_argos_package_of_separate_vocabularies(tmp_path):
    kind = Kind(2, separate=True)
    folder = make(tmp_path / "marian", kind)
    for form, name in (("argos", "pair.argosmodel"), ("ctranslate2", "ct2")):
        assert nmt("export", folder, "-o", tmp_path / name, "--format", form, "--force") == 0
    lines = sentences(kind.seed, 10)
    opened = Translator.load(tmp_path / "ct2", "cpu", beam_size=1, max_length=20, max_length_factor=30)
    expected = [one.text.replace("_", " ") for one in opened.translate(lines)]
    assert argos_translations(installed(tmp_path / "pair.argosmodel", tmp_path / "x"), lines) == expected


def test_language_names():
    assert [_language_name(code) for code in ("de", "pt_BR", "zh-Hant", "words", "")] == [
        "German",
        "Portuguese (Brazil)",
        "Chinese (Traditional)",
        "words",
        "",
    ]


def test_what_argos_cannot_have_is_refused(transformer, trained, tmp_path, capsys):
    for output, given, message in (
        (tmp_path / "model", [], "whose name ends with .argosmodel"),
        (tmp_path / "m.argosmodel", ["--license", "CC BY 4.0"], "not an identifier of a licence"),
    ):
        assert nmt("export", transformer, "-o", output, "--format", "argos", *given) == 2
        assert message in capsys.readouterr().err
    assert nmt("export", trained, "-o", tmp_path / "m.argosmodel", "--format", "argos") == 2
    assert "CTranslate2 supports Transformers only" in capsys.readouterr().err
    (tmp_path / "m.argosmodel").write_text("there")
    assert nmt("export", transformer, "-o", tmp_path / "m.argosmodel", "--format", "argos") == 2
    assert (tmp_path / "m.argosmodel").read_text() == "there"


def test_tokenizers_of_words_or_with_bytes_on_the_target_side_only_are_refused():
    words, plain, with_bytes = (
        Tokenizer.train(["a small text of words", "another one"], TokenizerConfig(**settings))
        for settings in ({"type": "word"}, {"byte_fallback": False, "vocab_size": 30}, {"vocab_size": 300})
    )
    model = load_config("transformer-small").model
    (message,) = unmet(model, Tokenizers(words, plain), "argos")
    assert "tokenizer.type is word" in message
    (message,) = unmet(model, Tokenizers(plain, with_bytes), "argos")
    assert "byte_fallback is false for the source only" in message
    assert not unmet(model, Tokenizers(with_bytes, plain), "argos")
