"""Selection of the attention layer and head, or the mean of the heads, and its name."""

import json

import pytest
import torch

from nmtcli import Translator, UserError
from nmtcli.models.selected_attention import AttentionChoice, attention_heads, attention_name, select_attention
from tests.conftest import TINY, model_config, nmt, overrides

TRANSFORMER = [
    "model.encoder.type=transformer",
    "model.decoder.type=transformer",
    "model.decoder.layers=3",
    "model.decoder.heads=2",
]
HEADS = ["model.attention.type=additive", "model.attention.heads=4"]
SOURCE, LENGTH = torch.tensor([[5, 6, 7, 2], [8, 9, 2, 0]]), torch.tensor([4, 3])
TARGET = torch.tensor([[1, 9, 4], [1, 5, 6]])


@pytest.mark.parametrize(("settings", "layers", "heads"), [(TRANSFORMER, 3, 2), (HEADS, 1, 4), ([], 1, 1)])
def test_the_mean_of_heads_and_attention_of_steps_equals_that_of_forward(tiny_model, settings, layers, heads):
    model = tiny_model(*settings)
    assert attention_heads(model.config) == (heads,) * layers
    with torch.inference_mode():
        usual = model.decode(SOURCE, LENGTH, TARGET, True).attention
        means = {}
        for layer in range(1, layers + 1):
            found = []
            for head in [None, *range(1, heads + 1)]:
                model.select_attention(AttentionChoice(layer, head))
                found.append(model.decode(SOURCE, LENGTH, TARGET, True).attention)
                memory, cache = model.start(SOURCE, LENGTH)
                for position in range(TARGET.size(1)):
                    step = model.step(TARGET[:, position, None], memory, cache)
                    cache = step.cache
                    torch.testing.assert_close(step.attention[:, 0], found[-1][:, position], rtol=1e-4, atol=1e-5)
            mean, *each = found
            torch.testing.assert_close(torch.stack(each).mean(dim=0), mean, rtol=1e-4, atol=1e-5)
            assert heads == 1 or not torch.allclose(each[0], each[1], atol=1e-3)
            means[layer] = mean
        torch.testing.assert_close(usual, means[max(layers - 1, 1)])  # the last but one
        assert layers == 1 or not torch.allclose(means[1], means[3], atol=1e-3)


def test_attention_layers_are_selected_by_name():
    transformer, recurrent, several = model_config(*TRANSFORMER), model_config(), model_config(*HEADS)
    assert attention_name(transformer, AttentionChoice()) == "layer 2 of 3, mean of 2 heads"
    assert attention_name(transformer, AttentionChoice(3, 1)) == "layer 3 of 3, head 1 of 2"
    assert attention_name(recurrent, AttentionChoice(1, 1)) == recurrent.attention.type
    assert attention_name(several, AttentionChoice()) == "additive, mean of 4 heads"
    for config, choice, words in (
        (transformer, AttentionChoice(4), "attention layer 4: the model has 1 to 3"),
        (transformer, AttentionChoice(1, 3), "attention head 3: the model has 1 to 2"),
        (recurrent, AttentionChoice(2), "attention layer 2: the model has 1 only"),
        (recurrent, AttentionChoice(None, 2), "attention head 2: the model has 1 only"),
        (model_config("model.attention.type=none"), AttentionChoice(), "no attention"),
    ):
        with pytest.raises(UserError, match=words):
            select_attention(config, choice)


@pytest.fixture(scope="module")
def transformer(data, tmp_path_factory):
    """A run of a Transformer."""
    output = tmp_path_factory.mktemp("told") / "run"
    settings = [*TINY, *TRANSFORMER, "train.max_updates=6"]
    assert nmt("train", data, "-o", output, "--device", "cpu", *overrides(*settings)) == 0
    return output


def test_heat_maps_and_json_name_the_attention_layer_and_head(transformer, tmp_path, capsys):
    (tmp_path / "in").write_text("one two three\nnine\n")
    run = ["translate", "-m", transformer, "-i", tmp_path / "in", "-o", tmp_path / "out", "--device", "cpu"]
    named = {}
    for layer, head in ((None, None), (1, 2)):
        chosen = ["--attention-layer", "1", "--attention-head", "2"] if head else []
        assert nmt(*run, *chosen, "--attention", tmp_path / "looks.jsonl", "--alignment", tmp_path / "links") == 0
        named[layer] = [json.loads(line) for line in (tmp_path / "looks.jsonl").read_text().splitlines()]
        assert nmt(*run, *chosen, "--attention", tmp_path / "looks.html") == 0
        name = "layer 1 of 3, head 2 of 2" if head else "layer 2 of 3, mean of 2 heads"
        assert f"Attention: {name}." in (tmp_path / "looks.html").read_text()
        assert {line["attention"] for line in named[layer]} == {name}
        assert nmt(*run, *chosen, "--attention", "-") == 0
        assert f"attention: {name}" in capsys.readouterr().err
    assert named[None][0]["weights"] != named[1][0]["weights"]
    (translation,) = Translator.load(transformer, "cpu", selected_attention=AttentionChoice(1, 2)).translate(
        ["nine"], attention=True
    )
    assert translation.candidates[0].attention.of == "layer 1 of 3, head 2 of 2"


def test_the_layer_that_places_tags_may_be_selected(transformer, tmp_path, capsys):
    (tmp_path / "line.txt").write_text("one <b>two</b>\n")
    (tmp_path / "page.html").write_text("<p>one <b>two</b></p>\n")
    tags = ["-i", tmp_path / "line.txt", "--tags", "transfer"]
    for given, code in ((tags, 0), (["-i", tmp_path / "page.html"], 0), (tags[:2], 2)):
        output = tmp_path / f"out{given[1].suffix}"
        assert (
            nmt("translate", "-m", transformer, *given, "-o", output, "--attention-layer", "1", "--overwrite") == code
        )
        assert ("need --attention" in capsys.readouterr().err) == (code == 2)


def test_a_missing_attention_layer_or_head_is_refused_before_work(transformer, onnx, trained, tmp_path, capsys):
    for model, options, words in (
        (transformer, ["--attention-layer", "4", "--alignment", tmp_path / "l"], "the model has 1 to 3"),
        (transformer, ["--attention-head", "2"], "need --attention"),
        (trained, ["--attention-layer", "2", "--attention", tmp_path / "l.html"], "the model has 1 only"),
        (onnx, ["--attention-layer", "2", "--attention", tmp_path / "l.html"], "the model has 1 only"),
    ):
        assert nmt("translate", "-m", model, "-i", tmp_path / "absent", *options) == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_layer_zero_is_refused():
    with pytest.raises(UserError, match="attention layer 0"):
        select_attention(model_config(), AttentionChoice(layer=0))
