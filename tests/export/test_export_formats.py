"""Export formats and precisions: model card, unsupported features, checks, damaged exports."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import ctranslate2 as engine
import pytest
import sentencepiece
import torch
from huggingface_hub import ModelCard, ModelCardData
from ruamel.yaml import YAML

from nmtcli.checkpoint import ModelInfo, file_digests, find_model, model_weights, read_info, write_model
from nmtcli.config import SearchConfig, TokenizerConfig
from nmtcli.data.directory import open_data
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.export import exporter
from nmtcli.export.card import ExportReport, card_metadata, training_settings
from nmtcli.export.checking import Comparison
from nmtcli.export.conditions import settle_search
from nmtcli.export.onnx_precision import reduce_precision
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.translate.runtimes.ctranslate2 import int8_may_saturate
from nmtcli.translate.runtimes.onnx import ENCODER_FILE, STEP_FILE, OnnxRuntime
from nmtcli.translate.translator import Translator
from tests.conftest import TINY, TRANSFORMER, model_config, nmt, overrides, require_onnx_export
from tests.laws.test_model_laws import BAHDANAU

LINES = ["one two three", "nine", "four four zero eight seven", "six five"]


def without_torch(arguments):
    """Run one command line in a fresh process that fails if it imports torch."""
    code = (
        f"import sys; from nmtcli.cli import run; code = run({[str(one) for one in arguments]!r});"
        "assert not {'torch', 'datasets'} & set(sys.modules), 'torch was imported'; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_ctranslate2_model_translates_and_scores_like_its_run_and_without_torch(
    transformer, ctranslate2, corpus, tmp_path, capsys
):
    outputs = [tmp_path / "ours", tmp_path / "theirs"]
    arguments = ["-i", corpus / "valid.words", "--format", "jsonl", "--n-best", "2", "--alignment", "-"]
    assert nmt("translate", "-m", transformer, "--device", "cpu", *arguments, "-o", outputs[0]) == 0
    without_torch(["translate", "-m", ctranslate2, "--device", "cpu", *arguments, "-o", outputs[1]])
    ours, theirs = ([json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in outputs)
    same = [one["translation"] == other["translation"] for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) >= 0.9 * len(same)
    assert '"alignment"' in outputs[1].read_text("utf-8")

    sides = ["--source", corpus / "valid.words", "--target", corpus / "valid.digits", "--device", "cpu"]
    capsys.readouterr()
    scores = []
    for model in (transformer, ctranslate2):
        assert nmt("score", "-m", model, *sides, "--format", "tsv") == 0
        scores.append([float(line.split("\t")[2]) for line in capsys.readouterr().out.splitlines()])
    assert scores[1] == pytest.approx(scores[0], rel=0.02)  # without PAD and BOS, to which the young model gives some
    assert nmt("score", "-m", ctranslate2, *sides, "--format", "pharaoh") == 2
    assert "CTranslate2 returns no attention" in capsys.readouterr().err


def test_plain_ctranslate2_and_sentencepiece_give_the_same_translations(ctranslate2):
    ours = Translator.load(
        ctranslate2, "cpu", beam_size=1, max_length=20, max_length_factor=30
    )  # beams are held equal in tests/laws
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(ctranslate2 / "tokenizer.model"))
    plain = engine.Translator(str(ctranslate2 / "ctranslate2"), device="cpu")
    encoded = [pieces.encode(line, out_type=str) for line in LINES]
    found = plain.translate_batch(encoded, beam_size=1, max_decoding_length=19)
    assert [pieces.decode(one.hypotheses[0]) for one in found] == [one.text for one in ours.translate(LINES)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--method", "sampling"], "method sampling"),
        (["--beam-groups", "2", "-b", "2"], "beam_groups"),
        (["--set", "search.stopping=bound"], "stopping bound"),
        (["--protect", "copy"], "protect copy"),
        (["--quantize", "int8"], "only PyTorch models can be quantized"),
    ],
    ids=str,
)
def test_unsupported_features_of_ctranslate2_are_refused(ctranslate2, arguments, named, tmp_path, capsys):
    (tmp_path / "in").write_text("one\n")
    assert nmt("translate", "-m", ctranslate2, "-i", tmp_path / "in", *arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["search.stopping=bound"], ["stopping"]),
        (
            ["search.method=mbr", "search.mbr_samples=8", "search.temperature=0.5"],
            ["method", "mbr_samples", "temperature"],
        ),
        (["search.method=sampling", "search.top_k=3"], ["method", "top_k"]),
        (["search.beam_size=4", "search.beam_groups=2", "search.beam_diversity=1"], ["beam_groups", "beam_diversity"]),
    ],
    ids=str,
)
def test_settings_that_ctranslate2_cannot_follow_are_replaced_at_export(
    transformer, data, given, named, tmp_path, capsys
):
    run = shutil.copytree(transformer, tmp_path / "run")
    search = load_config(overrides=given).search
    info = find_model(run) / "config.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"search": search.model_dump()}))
    assert nmt("export", run, "-o", tmp_path / "model", "--format", "ctranslate2", "--force") == 0
    told = capsys.readouterr().err
    assert all(f"search.{name} " in told and "is replaced by" in told for name in named)
    report = json.loads((tmp_path / "model" / "export.json").read_text())
    assert len(report["replaced"]) == len(named)
    assert "replaced in this format" in (tmp_path / "model" / "README.md").read_text()
    (tmp_path / "in").write_text("one\n")
    assert nmt("translate", "-m", tmp_path / "model", "-i", tmp_path / "in", "-o", tmp_path / "out") == 0


def test_unsupported_engine_options_are_refused_by_name(onnx, trained, transformer, tmp_path, capsys):
    (tmp_path / "in").write_text("one\n")
    sides = ["--source", tmp_path / "in", "--target", tmp_path / "in", "--format", "tsv"]
    for command in (["translate", "-m", onnx, "-i", tmp_path / "in"], ["score", "-m", onnx, *sides]):
        assert nmt(*command, "--device", "cuda") == 2
        assert "an ONNX model runs on the CPU" in capsys.readouterr().err
    only = ["--attention-layer", "1", "--attention", tmp_path / "a.json", "-o", tmp_path / "out"]
    for model in (onnx, trained):
        assert nmt("translate", "-m", model, "-i", tmp_path / "in", *only) == 0
    for model, more in ((trained, ["--format", "onnx", "--quantize", "bf16"]), (trained, ["--quantize", "int16"])):
        assert nmt("export", "--check", model, *more) == 5
        assert "cannot be exported" in capsys.readouterr().err
    assert nmt("export", "--check", transformer, "--quantize", "int16") == 0
    for idle in (["-o", tmp_path / "x"], ["--average", "last:2"], ["--force"], ["--vocabulary-shortlist"]):
        assert nmt("export", "--check", trained, *idle) == 2
        assert "cannot be used with --check" in capsys.readouterr().err
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "--weights", "2") == 2
    assert "needs several models" in capsys.readouterr().err


def test_lines_with_constraints_and_ensembles_are_refused_by_ctranslate2(ctranslate2, transformer, tmp_path, capsys):
    (tmp_path / "in").write_text('{"source": "one"}\n{"source": "one", "prefix": "1"}\n{"source": "two"}\n')
    assert nmt("translate", "-m", ctranslate2, "-i", tmp_path / "in", "--format", "jsonl") == 3
    out, err = capsys.readouterr()
    problems = [json.loads(line).get("problems") for line in out.splitlines()]
    assert problems == [None, ["contradiction"], None]
    assert "line 2: contradictory constraints, or constraints with sampling or a CTranslate2 model" in err
    assert nmt("translate", "-m", transformer, "-m", ctranslate2, "-i", tmp_path / "in") == 2
    assert "cannot be a member of an ensemble" in capsys.readouterr().err


def test_lines_longer_than_its_positions_are_split_and_have_no_score(ctranslate2, tmp_path, capsys):
    (tmp_path / "in").write_text("one\n" + "one " * 1500 + "\ntwo\n")
    command = ["translate", "-m", ctranslate2, "-i", tmp_path / "in", "-b", "1", "--max-length", "3"]
    assert nmt(*command, "--max-source-tokens", "4000") == 0
    assert (
        "line 2: more than 4000 tokens or more than the model can read; translated in parts" in capsys.readouterr().err
    )
    assert nmt("score", "-m", ctranslate2, "--source", tmp_path / "in", "--target", tmp_path / "in") == 0
    out, err = capsys.readouterr()
    assert [row.split("\t")[4] == "0" for row in out.splitlines()] == [False, True, False]
    assert "1 pair has no score: no source text, not UTF-8, or too long for the model" in err


@pytest.mark.parametrize("precision", ["int8", "int16", "fp16", "bf16"])
def test_quantised_ctranslate2_is_smaller_checked_and_not_trained_on(
    transformer, ctranslate2, data, precision, tmp_path, capsys
):
    output = tmp_path / "model"
    if precision == "int8" and int8_may_saturate():
        pytest.skip("CTranslate2's int8 may saturate on a CPU without VNNI, and does with weights as few as these")
    before = (transformer / "last").read_bytes()
    arguments = ["--format", "ctranslate2", "--quantize", precision, "--data", data, "--force"]
    assert nmt("export", transformer, "-o", output, *arguments) == 0
    assert (transformer / "last").read_bytes() == before
    report = json.loads((output / "export.json").read_text())
    size = (ctranslate2 / "ctranslate2" / "model.bin").stat().st_size
    assert (output / "ctranslate2" / "model.bin").stat().st_size < size
    assert report["comparison"]["match_rate"] > 0.2  # of a young model, near ties all of them
    assert [score["name"] for score in report["comparison"]["export_scores"]] == ["BLEU", "chrF2"]
    assert read_info(output).precision == precision
    capsys.readouterr()
    assert nmt("train", data, "-o", tmp_path / "run", "--finetune-from", output) == 3
    assert "has no weights to train" in capsys.readouterr().err


def test_a_precision_that_this_cpu_has_not_needs_force(transformer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine, "get_supported_compute_types", lambda device: {"float32", "int8_float32"})
    command = ["export", transformer, "-o", tmp_path / "model", "--format", "ctranslate2", "--quantize", "int16"]
    with monkeypatch.context() as patch:
        patch.delattr(exporter, "write_export")  # it is refused before the work
        assert nmt(*command) == 2
    assert "error: --quantize int16: CTranslate2 has no int16 on this CPU\nhint: " in capsys.readouterr().err
    assert nmt(*command, "--force") == 0
    assert nmt("translate", "-m", tmp_path / "model", "-i", tmp_path / "model" / "README.md") == 2
    assert "does not support int16 on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["int8", "fp16", "bf16"])
def test_quantised_safetensors_translate_but_are_not_trained_on(trained, data, precision, tmp_path, capsys):
    output = tmp_path / "model"
    assert nmt("export", trained, "-o", output, "--quantize", precision, "--force") == 0
    assert json.loads((output / "export.json").read_text())["precision"] == precision
    assert len(Translator.load(output, "cpu").translate(LINES)) == len(LINES)
    capsys.readouterr()
    assert nmt("train", data, "-o", tmp_path / "run", "--finetune-from", output) == 3
    assert f"an export in {precision} has quantized weights" in capsys.readouterr().err
    assert nmt("export", output, "-o", tmp_path / "again") == 3
    assert f"is an export to {precision} already" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_onnx_graphs_of_less_precision_are_smaller_and_near(onnx, precision, tmp_path):
    directory = shutil.copytree(onnx, tmp_path / "model")
    for name in (ENCODER_FILE, STEP_FILE):
        reduce_precision(directory / name, precision)
        assert (directory / name).stat().st_size < (onnx / name).stat().st_size
    info = read_info(onnx)
    translators = [
        Translator(OnnxRuntime(path, 1), Translator.load(onnx).tokenizers, info.search) for path in (onnx, directory)
    ]
    exact, rounded = ([one.candidates[0].log_prob for one in own.translate(LINES)] for own in translators)
    assert rounded == pytest.approx(exact, rel=0.02)
    alone = [translators[1].translate([line])[0].candidates[0].log_prob for line in LINES]
    if precision == "fp16":  # activations of int8 are quantised by what else is in the batch
        assert alone == pytest.approx(rounded, abs=1e-4)


def test_an_older_pytorch_does_not_export_to_onnx(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.__version__", "2.12.1+cu130")
    assert nmt("export", trained, "-o", tmp_path / "model", "--format", "onnx") == 2
    assert "ONNX export needs PyTorch 2.13 or newer, this is 2.12.1+cu130" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_vector_of_additive_attention_is_not_quantized(data, tmp_path):
    require_onnx_export()
    run = tmp_path / "run"
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*TINY, *BAHDANAU, "train.max_updates=2")) == 0
    output = tmp_path / "model"
    assert nmt("export", run, "-o", output, "--format", "onnx", "--quantize", "int8", "--force") == 0
    assert len(Translator.load(output).translate(LINES)) == len(LINES)
    import onnx

    graph = onnx.load(output / STEP_FILE).graph
    vectors = {weight.name for weight in graph.initializer if len(weight.dims) == 1}
    assert [node for node in graph.node if node.op_type == "MatMul" and vectors & set(node.input)]
    assert [node for node in graph.node if node.op_type in {"MatMulInteger", "DynamicQuantizeMatMul"}]


def test_a_vocabulary_shortlist_is_exported(trained, data, tmp_path, capsys):
    output = tmp_path / "model"
    assert nmt("export", trained, "-o", output, "--vocabulary-shortlist") == 2
    assert "needs --format safetensors and the training data" in capsys.readouterr().err
    # without --force: the check translates as nmt translate does by default, without the shortlist
    assert nmt("export", trained, "-o", output, "--vocabulary-shortlist", "--data", data) == 0
    assert "--shortlist" in capsys.readouterr().out
    assert json.loads((output / "export.json").read_text())["comparison"]["match_rate"] == 1.0
    assert len(Translator.load(output, "cpu", shortlist=True).translate(LINES)) == len(LINES)


def test_a_precision_that_a_format_has_not_is_refused(trained, tmp_path, capsys):
    for form, precision in (("onnx", "bf16"), ("safetensors", "int16")):
        assert nmt("export", trained, "-o", tmp_path / "x", "--format", form, "--quantize", precision) == 2
        assert f"--quantize {precision} is not available with --format {form}" in capsys.readouterr().err


def test_data_of_another_model_is_refused(trained, data, tmp_path, capsys):
    other = shutil.copytree(data, tmp_path / "data")
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "0"}))
    assert nmt("export", trained, "-o", tmp_path / "x", "--data", other) == 2
    assert "was trained on other data" in capsys.readouterr().err


def test_the_model_card_describes_the_model(transformer, ctranslate2, trained):
    card = (ctranslate2 / "README.md").read_text("utf-8")
    info = read_info(ctranslate2)
    assert info.data_fingerprint in card
    assert "licence | *to fill in" in card
    assert "train.max_updates=16" in card
    assert "does not support terminology, banned and required phrases" in card
    assert not training_settings(ctranslate2)
    (ctranslate2 / "README.md").write_text(card.replace("*to fill in", "CC0: *"), "utf-8")  # as it is meant to be
    Translator.load(ctranslate2, "cpu")


def test_the_card_begins_with_the_metadata_of_the_hugging_face_hub(trained, data, tmp_path):
    plain, scored = tmp_path / "plain", tmp_path / "scored"
    assert nmt("export", trained, "-o", plain) == 0
    assert nmt("export", trained, "-o", scored, "--data", data, "--license", "cc-by-4.0") == 0
    card = ModelCard.load(plain / "README.md").data
    assert (card.license, card.pipeline_tag, card.library_name) == ("unknown", "translation", "nmtcli")
    assert card.eval_results is None and card.metrics is None

    card = ModelCard.load(scored / "README.md").data
    report = json.loads((scored / "export.json").read_text())
    assert card.license == "cc-by-4.0"
    assert card.metrics == ["sacrebleu", "chrf"]
    for found, score in zip(card.eval_results, report["comparison"]["export_scores"], strict=True):
        assert found.metric_value == pytest.approx(score["value"], abs=0.01)
        assert found.metric_args == {"signature": score["signature"]}
    assert "| licence | cc-by-4.0 |" in (scored / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("codes", "languages"),
    [(("de", "en"), ["de", "en"]), (("en_US", "pt-BR"), ["en", "pt"]), (("en", "en"), ["en"]), (("a text", "?"), None)],
    ids=str,
)
def test_the_metadata_has_languages_and_data_sets_with_codes_only(trained, data, codes, languages, tmp_path):
    given = {"source_language": codes[0], "target_language": codes[1]}
    info = read_info(find_model(trained)).model_copy(update=given)
    assert nmt("export", trained, "-o", tmp_path / "model") == 0
    written = json.loads((tmp_path / "model" / "export.json").read_text())
    written["comparison"] = Comparison(**written["comparison"] | {"export_scores": []})
    prepared = open_data(data)
    prepared = replace(prepared, manifest=prepared.manifest.model_copy(update={"hubs": ("somebody/texts",)}))
    metadata = ModelCardData(**YAML(typ="safe").load(card_metadata(ExportReport(**written), info, None, prepared)))
    assert metadata.language == languages
    assert metadata.datasets == ["somebody/texts"]


def test_check_lists_unsupported_features_of_ctranslate2(capsys):
    told = {}
    for preset in ("transformer-tiny", "luong-general"):
        assert nmt("export", "--check", "--preset", preset) == 0
        told[preset] = " ".join(capsys.readouterr().out.split())
    assert "without terminology, banned and required phrases" in told["transformer-tiny"]
    assert "without terminology" not in told["luong-general"]


def test_check_lists_the_unmet_conditions_of_each_format(trained, onnx, tmp_path, capsys):
    settings = tmp_path / "model.yaml"
    settings.write_text("model: {encoder: {type: transformer, reverse_source: true}, decoder: {type: ssru}}\n")
    assert nmt("export", settings, "--check") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "model.decoder.type is ssru: CTranslate2 supports Transformers only" in told
    assert "model.encoder.reverse_source is true" in told
    assert nmt("export", "--check", "--preset", "rnmt-plus", "--format", "onnx") == 5
    assert "model.encoder.layer_norm is true" in " ".join(capsys.readouterr().out.split())
    for model in (trained, onnx):
        assert nmt("export", model, "--check", "--format", "onnx") == 0
    capsys.readouterr()
    for wrong in (
        ["--check"],
        [trained],
        [trained, "--preset", "gnmt", "-o", "x"],
        [trained, "--check", "--preset", "x"],
    ):
        assert nmt("export", *wrong) == 2
        assert capsys.readouterr().err.startswith("error: ")


def other_tokenizer(export):
    model = (export / "tokenizer.model").read_bytes()
    (export / "tokenizer.model").write_bytes(model[:-1] + bytes([model[-1] ^ 1]))


def edited_config(export):
    config = json.loads((export / "config.json").read_text())
    config["model"]["encoder"]["reverse_source"] = True
    (export / "config.json").write_text(json.dumps(config, indent=2))


def truncated(export):
    path = export / "step.onnx" if (export / "step.onnx").exists() else export / "ctranslate2" / "model.bin"
    path.write_bytes(path.read_bytes()[:-100])


def one_bit(export):
    path = export / "step.onnx" if (export / "step.onnx").exists() else export / "ctranslate2" / "model.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def missing(export):
    path = export / "encoder.onnx" if (export / "encoder.onnx").exists() else export / "ctranslate2" / "model.bin"
    path.unlink()


def no_report(export):
    (export / "export.json").unlink()


def report_without_files(export):
    (export / "export.json").write_text("{}")


def newer_format(export):
    config = json.loads((export / "config.json").read_text())
    (export / "config.json").write_text(json.dumps(config | {"format": 99}))


DAMAGES = {
    other_tokenizer: "tokenizer.model: was changed",
    edited_config: "config.json: has",
    truncated: "bytes, was written with",
    one_bit: "was changed",
    missing: "missing",
    no_report: "export.json: missing",
    report_without_files: "has no list of files",
    newer_format: "reads up to",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("form", ["onnx", "ctranslate2"])
def test_a_damaged_export_is_refused_with_a_message(form, damage, request, corpus, tmp_path, capsys):
    export = shutil.copytree(request.getfixturevalue(form), tmp_path / "export")
    damage(export)
    capsys.readouterr()  # what making the export said
    for verb in (
        ["translate", "-m", export, "-i", corpus / "valid.words"],
        ["score", "-m", export, "--source", corpus / "valid.words", "--target", corpus / "valid.digits"],
    ):
        assert nmt(*verb) == 3
        captured = capsys.readouterr()
        assert DAMAGES[damage] in captured.err
        assert not captured.out


@pytest.mark.parametrize("form", ["onnx", "ctranslate2"])
def test_a_model_file_of_another_kind_is_refused_with_a_message(form, request, corpus, tmp_path, capsys):
    """Of another opset or version, with a list of files that says it is right."""
    export = shutil.copytree(request.getfixturevalue(form), tmp_path / "export")
    path = export / ("step.onnx" if form == "onnx" else "ctranslate2/model.bin")
    if form == "onnx":
        import onnx

        model = onnx.load(path)
        model.opset_import[0].version = 999
        onnx.save(model, path)
    else:
        path.write_bytes(b"\xff\xff\xff\x7f" + path.read_bytes()[4:])
    report = json.loads((export / "export.json").read_text())
    (export / "export.json").write_text(json.dumps(report | {"files": file_digests(export)}))
    assert nmt("translate", "-m", export, "-i", corpus / "valid.words") == 3
    assert "cannot open it" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["trained", "onnx"])
def test_without_torch_onnx_translates_and_pytorch_is_refused_with_a_message(model, request, corpus, tmp_path):
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "datasets", "pyarrow", "fsspec", "sacrebleu"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from nmtcli.cli import run
sys.exit(run(sys.argv[1:]))
"""
    arguments = [
        "translate",
        "-m",
        request.getfixturevalue(model),
        "-i",
        corpus / "valid.words",
        "-o",
        tmp_path / "out",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    if model == "onnx":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert "the package torch is not installed" in done.stderr


@pytest.mark.parametrize("setting", ["min_length", "max_length", "max_length_factor", "max_length_offset"])
def test_length_limits_that_marianmt_has_not_are_reported(setting):
    search = SearchConfig.model_validate({setting: 7, "length_normalization": "average"})
    settled, messages = settle_search(search, "marian")
    assert getattr(settled, setting) == getattr(SearchConfig(), setting)
    assert [message.split()[0] for message in messages] == [f"search.{setting}"]


def test_weights_beside_a_large_graph_go_when_it_is_reduced(onnx, tmp_path):
    """Above 1.5 GB PyTorch saves them in a file of their own; the reduced graph has them inside."""
    import onnx as library

    model = library.load(onnx / STEP_FILE)
    library.save(model, tmp_path / "x.onnx", save_as_external_data=True, location="x.onnx.data", size_threshold=0)
    assert (tmp_path / "x.onnx.data").is_file()
    reduce_precision(tmp_path / "x.onnx", "fp16")
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
    library.load(tmp_path / "x.onnx")


def write_random_transformer(directory, tokenizer):
    """The model directory of a Transformer with random weights."""
    model = model_config(*TRANSFORMER)
    torch.manual_seed(0)
    weights = model_weights(Seq2Seq(model, len(tokenizer), len(tokenizer)))
    sizes = {"source_size": len(tokenizer), "target_size": len(tokenizer)}
    languages = {"source_language": "en", "target_language": "de"}
    info = ModelInfo(**languages, **sizes, data_fingerprint="", updates=0, model=model, search=SearchConfig())
    directory.mkdir()
    write_model(directory, info, weights, Tokenizers(tokenizer, tokenizer))


def test_a_correct_ctranslate2_export_of_random_weights_with_bytes_passes_the_check(corpus, tmp_path, capsys):
    """A model that writes any bytes: both searches must remove those that are no character."""
    text = (corpus / "train.words").read_text("utf-8").splitlines()
    tokenizer = Tokenizer.train(text, TokenizerConfig(vocab_size=300))
    assert tokenizer.byte_pieces.sum() == 256
    write_random_transformer(tmp_path / "model", tokenizer)
    assert nmt("export", tmp_path / "model", "-o", tmp_path / "export", "--format", "ctranslate2") == 0
    assert "100.0% equal translations" in " ".join(capsys.readouterr().out.split())


def test_ctranslate2_names_the_special_pieces_of_an_adopted_tokenizer(corpus, tmp_path, capsys):
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus / "train.words"),
        model_prefix=str(tmp_path / "adopted"),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=3,
        user_defined_symbols=["</s>"],
        minloglevel=2,
        **names,
    )
    write_random_transformer(tmp_path / "model", Tokenizer.adopt(tmp_path / "adopted.model"))
    assert nmt("export", tmp_path / "model", "-o", tmp_path / "export", "--format", "ctranslate2") == 0
    assert "100.0% equal translations" in " ".join(capsys.readouterr().out.split())
    pieces = json.loads((tmp_path / "export" / "ctranslate2" / "shared_vocabulary.json").read_text())
    assert pieces[:5] == ["<pad>", "<s>", "</s>", "<unk>", "</s> 4"]


@pytest.mark.parametrize("command", ["translate", "score", "export", "finetune"])
def test_tokenizers_of_another_model_are_refused(transformer, data, corpus, tmp_path, command, capsys):
    model = shutil.copytree(find_model(transformer), tmp_path / "model")
    text = (corpus / "train.words").read_text("utf-8").splitlines()
    Tokenizer.train(text, TokenizerConfig(vocab_size=290)).save(model / "tokenizer.model")
    source, target = corpus / "valid.words", corpus / "valid.digits"
    arguments = {
        "translate": ["translate", "-m", model, "-i", source, "-o", tmp_path / "out"],
        "score": ["score", "-m", model, "--source", source, "--target", target],
        "export": ["export", model, "-o", tmp_path / "out"],
        "finetune": ["train", data, "-o", tmp_path / "out", "--finetune-from", model],
    }[command]
    assert nmt(*arguments) == 3
    assert "the source tokenizer has" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
