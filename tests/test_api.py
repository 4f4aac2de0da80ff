"""The Python interface: public names, import time, documented examples."""

import re
import subprocess
import sys
from itertools import count

import pytest

import nmtcli
from nmtcli import Translation, Translator, UserError, api
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "api.md"


def test_import_loads_nothing_heavy():
    code = "import nmtcli, sys; print(nmtcli.__version__, *sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "numpy", "pydantic", "sentencepiece", "rich"} & set(loaded)


def test_public_names_are_those_of_all():
    assert set(nmtcli.__all__) == set(dir(nmtcli))
    for name in nmtcli.__all__:
        assert getattr(nmtcli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Translater'"):
        _ = nmtcli.Translater
    with pytest.raises(ImportError):
        from nmtcli import absent  # noqa: F401


def test_api_page_names_every_public_name():
    text = DOCUMENT.read_text("utf-8")
    for name in (*nmtcli.__all__, *api.__all__):
        assert f"`{name}" in text, name


def test_translate_returns_translations_with_candidates(trained):
    translator = Translator.load(str(trained), "cpu", beam_size=3, threads=1)
    assert translator.search.beam_size == 3
    lines = ["one two three", "", "\x01 \u2028", "one\x00two", "half \ud800"]
    found = translator.translate(iter(lines), n_best=2, attention=True, alignment=True)
    assert all(isinstance(one, Translation) for one in found)
    assert [one.source for one in found] == lines
    assert [len(one.candidates) for one in found] == [2, 0, 0, 2, 2]
    best, second = found[0].candidates
    assert best.text == found[0].text and best.score >= second.score
    assert best.attention is not None and best.attention.source[-1] == "</s>"
    assert best.alignment is not None and [link[1] for link in best.alignment] == list(range(len(best.text.split())))
    assert found[3].text == translator.translate(["one two"])[0].text
    assert translator.translate([]) == []


def test_invalid_arguments_are_refused_before_the_model_is_opened(trained):
    with pytest.raises(UserError, match="beam_sise"):
        Translator.load(trained, "cpu", beam_sise=3)
    with pytest.raises(UserError, match="beam_size"):
        Translator.load(trained, "cpu", beam_size=0)
    for device in ("gpu", "cpu:1", "cuda:x"):
        with pytest.raises(UserError, match="unknown device"):
            Translator.load(trained, device)
    with pytest.raises(UserError, match=r"no CUDA device|GPU 99: PyTorch sees"):
        Translator.load(trained, "cuda:99")


BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
# what each block prints, line by line
PRINTED = [
    [".*"] * 2,
    [r"-?\d+\.\d+ \[(\('\S+', '\S+'\)(, )?)*\]"] * 3,
    [r".*\((?:'\w+',? ?)*\)"] * 2,
    [r"\[\('BLEU', \d.*\), \('chrF2', \d.*\), \('TER', \d.*\)\]"],
]


@pytest.mark.parametrize(("block", "printed"), [*zip(BLOCKS, PRINTED, strict=True)], ids=count())
def test_the_examples_in_the_document_run(trained, tmp_path, monkeypatch, capsys, block, printed):
    """Every block of code, with a model that is there."""
    monkeypatch.chdir(tmp_path)
    for name in ("test.en", "test.de"):
        (tmp_path / name).write_text("one two three\n")
    exec(compile(block.replace('"run"', repr(str(trained))), "api.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(printed)
    for line, pattern in zip(lines, printed, strict=True):
        assert re.fullmatch(pattern, line), line
