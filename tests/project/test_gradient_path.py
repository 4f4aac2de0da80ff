"""The gradient-path recipe: gradients of single source tokens, and a table and figure of finished runs."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest
import torch

from nmtcli.vocabulary import PAD
from tests.conftest import ROOT, nmt
from tests.laws.test_training_laws import tiny_batch

RECIPE = ROOT / "recipes" / "gradient-path"
PLAIN = ["model.attention.type=none", "model.encoder.bidirectional=false"]
MODELS = {
    "attention": [],
    "one vector": PLAIN,
    "reversed": [*PLAIN, "model.encoder.reverse_source=true"],
    "twice": [*PLAIN, "model.encoder.repeat_source=true"],
    "transformer": ["model.encoder.type=transformer", "model.decoder.type=transformer"],
}


def load():
    spec = importlib.util.spec_from_file_location("gradient_path", RECIPE / "gradient_path.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gradient_path"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


recipe = load()


@pytest.mark.parametrize("name", MODELS)
def test_gradient_norms_are_those_of_the_embeddings_that_the_encoder_reads(tiny_model, name):
    """A source that is reversed or read twice is put in order by hand here."""
    model, batch = tiny_model("model.dropout=0", *MODELS[name], vocabulary=30), tiny_batch(size=3)
    norms = recipe.gradient_norms(model, batch)
    assert not norms[batch.source == PAD].any()
    read = []
    hook = model.source_embedding.register_forward_hook(lambda module, inputs, output: read.append(output))
    features = model(batch.source, batch.source_length, batch.target_input)
    hook.remove()
    for row, length in enumerate(batch.source_length.tolist()):
        last = int((batch.target_output[row] != PAD).sum()) - 1
        loss = -model.log_probs(features[row, last])[batch.target_output[row, last]]
        (slopes,) = torch.autograd.grad(loss, read, retain_graph=True)
        own, words = slopes[row], length - 1  # EOS stays where it is
        if name == "reversed":
            own = torch.cat([own[:words].flip(0), own[words:]])
        elif name == "twice":
            own = torch.cat([own[:words] + own[words : 2 * words], own[2 * words :]])
        torch.testing.assert_close(norms[row, :length], own[:length].norm(dim=1), rtol=1e-3, atol=1e-6)
        assert not torch.cat([slopes[:row], slopes[row + 1 :]]).any()


def test_distances_count_steps_through_one_vector():
    batch = tiny_batch(size=3)
    found = recipe.distances(batch)
    for row in range(3):
        source, target = int(batch.source_length[row]), int((batch.target_output[row] != PAD).sum())
        assert found[row, :source].tolist() == [source - 1 - place + target for place in range(source)]


def test_one_vector_loses_far_tokens_and_attention_keeps_them(tiny_model):
    """Untrained, with long sentences: the first quarter of the source has a far smaller share with one vector."""
    random = torch.Generator().manual_seed(0)
    sides = [[torch.randint(4, 60, (30,), generator=random).tolist() for _ in range(8)] for _ in range(2)]
    batch = recipe.make_batch(*map(recipe.Sentences.of, sides))
    reach = {
        name: recipe.measure([tiny_model(*MODELS[name], vocabulary=60).eval()], [batch]).reach
        for name in ("attention", "one vector", "reversed")
    }
    assert reach["one vector"] < 0.1
    assert 0.5 < reach["attention"] < 2
    assert reach["reversed"] > 10


def test_rows_are_those_of_the_ladder_and_have_an_expected_gradient():
    named = re.search(r"^ROWS \?= (.*)$", (RECIPE / "Makefile").read_text("utf-8"), re.MULTILINE)[1].split()
    assert list(recipe.LINES) == named
    assert {file.stem for file in (recipe.LADDER / "rows").glob("*.yaml")} > set(named)
    expected = json.loads((RECIPE / "expected.json").read_text("utf-8"))
    assert list(expected) == named
    assert {figure["signature"] for figures in expected.values() for figure in figures} == {recipe.signature()}


def test_gradient_check_names_models_that_reach_less_or_farther_than_expected(capsys):
    fresh = recipe.Curve(1, quarters=[1.0, 1.0, 1.0, 2.0], tokens=[1, 1, 1, 1])
    row = recipe.Row("plain", fresh, None, [], [])
    for score, fails in ((0.45, False), (0.3, True), (0.7, True)):
        figure = {"score": score, "tolerance": 0.1, "signature": recipe.signature(), "source": "made up"}
        found = recipe.shortfalls([row], {"plain": [figure]})
        line = f"plain, untrained: first quarter / last quarter 0.5, expected {score} ± 0.1 (made up)"
        assert found == [line] * fails
    (found,) = recipe.shortfalls([row], {"plain": [figure | {"signature": "another"}]})
    assert "another signature than another" in found
    (found,) = recipe.shortfalls([row], {"ssru": [figure]})
    assert found == "plain: expected.json has no figure of it; it has ssru"


@pytest.mark.parametrize(("target", "trains"), [("all", True), ("check", False)])
def test_gradient_path_has_the_ladder_make_what_is_missing(target, trains, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NMT_DATA"}
    command = ["make", "-n", target, f"WORK={tmp_path}/own", f"LADDER_WORK={tmp_path}/ladder", "NMT=nmt", "SEEDS=1 2"]
    done = subprocess.run(command, cwd=RECIPE, check=True, capture_output=True, text=True, env=environment)
    assert f"nmt prepare -o {tmp_path}/ladder/data" in done.stdout
    assert (f"nmt train {tmp_path}/ladder/data -o {tmp_path}/ladder/seed2/plain-twice/run" in done.stdout) == trains
    assert f"gradient_path.py {tmp_path}/ladder {tmp_path}/own plain" in done.stdout
    assert not any(tmp_path.iterdir())


def test_gradient_table_and_figure_show_untrained_and_trained_rows(
    corpus, data, trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(recipe, "LEAST", 2)
    monkeypatch.setattr(recipe, "FEWEST", 1)
    monkeypatch.setattr(recipe, "SEEDS", (1,))
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "test").mkdir()
    for side, name in (("words", "en"), ("digits", "de")):
        lines = (corpus / f"valid.{side}").read_text("utf-8").splitlines()
        for joined in (1, 2):
            groups = [lines[start : start + joined] for start in range(0, len(lines), joined)]
            (tmp_path / "test" / f"{joined}.{name}").write_text("".join(" ".join(group) + "\n" for group in groups))
    for seed in (1, 2):
        folder = tmp_path / f"seed{seed}" / "bahdanau"
        folder.mkdir(parents=True)
        (folder / "run").symlink_to(trained)
        (folder / "score.json").touch()  # the row is finished
        for joined in (1, 2):
            source, translation = tmp_path / "test" / f"{joined}.en", folder / f"{joined}.de"
            assert nmt("translate", "-m", trained, "-i", source, "-o", translation) == 0
    work = tmp_path / "own"
    recipe.main([str(tmp_path), str(work), "plain", "bahdanau"])
    assert "not trained, only measured as they begin: plain" in capsys.readouterr().err
    plain, attention = [line.split(" | ") for line in (work / "gradient-path.md").read_text("utf-8").splitlines()[2:]]
    assert plain[0] == "| plain (one vector)"
    assert plain[2:4] == ["–", "–"]
    assert float(attention[1]) > 0 < float(attention[2])
    assert attention[3].endswith(" ± 0.0")  # the same run twice
    assert (work / "gradient-path.png").read_bytes().startswith(b"\x89PNG")
