"""Quantized models: the same integers by every kernel, independent rows, and a bounded difference."""

import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from nmtcli import checkpoint
from nmtcli.checkpoint import find_model, load_model, model_weights, read_info
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.models import packed
from nmtcli.models.packed import FloatMatrix, Int8Matrix, best_int8_kernel, quantize
from nmtcli.models.quantized import assemble, reduce_weights, stored_precision
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator
from tests.conftest import nmt
from tests.laws.test_model_laws import VARIANTS, batch, check_forward_equals_repeated_step, variants

LINES = ["one two three", "nine eight", "four five six seven", "zero"]


def int8(matrix, kernel=None):
    numbers, scale = quantize(matrix)
    made = Int8Matrix(numbers, scale[:, 0].contiguous())
    if kernel:
        made._kernel = packed.INT8_KERNELS[kernel](made.numbers, made.scale)
    return made


def reduced(model, precision):
    tensors = reduce_weights(model, model_weights(model), precision)
    return assemble(model.config, 12, 12, tensors)


sizes = {"rows": st.integers(1, 40), "columns": st.integers(1, 90), "inputs": st.integers(1, 30)}


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), spread=st.sampled_from([0.0, 1.0, 4.0]), **sizes)
def test_the_error_of_an_int8_product_is_bounded_by_half_steps(seed, spread, rows, columns, inputs):
    generator = torch.Generator().manual_seed(seed)
    matrix, rows_in, base = (
        torch.randn(shape, generator=generator) for shape in ((rows, columns), (inputs, columns), (inputs, rows))
    )
    matrix *= torch.exp(spread * torch.randn(rows, 1, generator=generator))
    exact = rows_in.double() @ matrix.double().t()
    levels = (packed.INPUT_LEVEL, packed.WEIGHT_LEVEL)
    steps = [
        part.abs().amax(1, keepdim=True).double() / (2 * n) for part, n in zip((rows_in, matrix), levels, strict=True)
    ]
    bound = rows_in.abs().double().sum(1, keepdim=True) * steps[1].t()
    bound += steps[0] * (matrix.abs().double().sum(1)[None] + columns * steps[1].t())
    found = int8(matrix)(rows_in, base).double() - base.double()
    assert bool(((found - exact).abs() <= bound + 1e-4).all())


@pytest.mark.parametrize("kernel", packed.INT8_KERNELS)
def test_every_kernel_gives_the_same_bits(kernel):
    if kernel not in packed.int8_kernel_seconds():
        pytest.skip(f"{kernel} is not exact, missing or very slow on this CPU")
    torch.manual_seed(0)
    matrix, inputs = torch.randn(300, 130), torch.randn(7, 130)
    matrix[0] = inputs[0] = 5.0  # all numbers at their largest: sums that 16 bits do not hold
    matrix[1] = inputs[1] = 0.0
    expected = int8(matrix, "plain")(inputs, matrix[:, 0])
    assert torch.equal(int8(matrix, kernel)(inputs, matrix[:, 0]), expected)
    assert float(expected[1, 1]) == float(matrix[1, 0])


def test_an_int8_product_of_a_row_does_not_depend_on_the_others():
    torch.manual_seed(1)
    matrix, inputs = int8(torch.randn(500, 300)), torch.randn(60, 300) * torch.logspace(-3, 3, 60)[:, None]
    together = matrix(inputs)
    for size in (1, 2, 5, 17, 33):
        assert torch.equal(torch.cat([matrix(part) for part in inputs.split(size)]), together)
    assert torch.equal(matrix(inputs.view(4, 15, 300)).flatten(0, 1), together)


def test_the_best_int8_kernel_is_one_that_is_exact_here(monkeypatch):
    assert best_int8_kernel() in packed.INT8_KERNELS

    def wrong(numbers, scale):
        return lambda inputs: torch.zeros(len(inputs), len(numbers))

    def missing(numbers, scale):
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(packed, "INT8_KERNELS", {"onednn": wrong, "int_mm": missing, "plain": packed._plain})
    best_int8_kernel.cache_clear()
    assert best_int8_kernel() == "plain"
    best_int8_kernel.cache_clear()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_rows_of_packed_matrices(kind):
    torch.manual_seed(2)
    matrix = torch.randn(20, 16)
    whole, half = int8(matrix), FloatMatrix(matrix.to(kind))
    places = torch.tensor([[3, 3], [0, 19]])
    # A kernel may add up floats in another order where a matrix has another number of rows; integers have no order.
    for own, rounding in ((whole, 0.0), (half, 1e-5)):
        torch.testing.assert_close(own.take(places), matrix[places], atol=0.02, rtol=0.02)
        chosen = torch.tensor([5, 2, 19])
        inputs = torch.randn(4, 16)
        torch.testing.assert_close(own.select(chosen)(inputs), own(inputs)[:, chosen], atol=rounding, rtol=0)


def check_close(model, small, largest, mean):
    """The random weights are peaked and 16 wide: trained models err much less."""
    source, length, target = batch()
    expected, found = (one.log_probs(one(source, length, target)) for one in (model, small))
    assert float((found.exp() - expected.exp()).abs().max()) < largest
    assert float((found - expected).abs().mean()) < mean
    check_forward_equals_repeated_step(small)


@variants
@torch.inference_mode()
def test_int8_models_are_close_to_fp32_and_independent_of_the_batch(tiny_model, settings):
    model = tiny_model("model.embedding.scale=false", *settings)
    small = reduced(model, "int8")
    check_close(model, small, largest=0.3, mean=0.3)
    source, length, _ = batch()
    options = SearchOptions(beam_size=3, n_best=2)
    together = beam_search(small, source, length, [6, 6, 6], options)
    alone = beam_search(small, source[1:2, : length[1]], length[1:2], [6], options)[0]
    assert [h.tokens for h in alone] == [h.tokens for h in together[1]]


@pytest.mark.parametrize("settings", VARIANTS[::6], ids=",".join)
@torch.inference_mode()
def test_models_in_bf16_are_close_to_fp32(tiny_model, settings):
    model = tiny_model(*settings)
    check_close(model, reduced(model, "bf16"), largest=0.05, mean=0.1)


def test_tied_matrices_are_packed_once(tiny_model):
    tied, apart = (reduced(tiny_model(f"model.embedding.tie={tie}"), "int8") for tie in ("all", "none"))
    assert tied.output.weight is tied.target_embedding.weight is tied.source_embedding.weight
    assert apart.output.weight is not apart.target_embedding.weight


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp16"])
def test_quantizing_at_export_equals_quantizing_at_load(trained, tmp_path, precision):
    directory = find_model(trained)
    model = load_model(directory)
    tensors = reduce_weights(model, model_weights(model), precision)
    assert stored_precision(tensors) == precision
    checkpoint.write_model(tmp_path, read_info(directory), tensors, Tokenizers.load(directory))
    size, whole = ((path / checkpoint.WEIGHTS).stat().st_size for path in (tmp_path, directory))
    assert size < whole * (0.4 if precision == "int8" else 0.6)
    source, length, target = batch()
    with torch.inference_mode():
        stored, made = (load_model(path, precision)(source, length, target) for path in (tmp_path, directory))
        assert torch.equal(stored, made)
        again = load_model(tmp_path)(source, length, target)  # int8 stays int8; halves are widened
        torch.testing.assert_close(again, made, atol=0 if precision == "int8" else 0.02, rtol=0)
    if precision == "int8":
        with pytest.raises(UserError, match="stored in int8"):
            load_model(tmp_path, "bf16")
    tensors.popitem()
    save_file(tensors, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(DataError, match="do not match"):
        load_model(tmp_path, precision)


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_quantized_translator_gives_no_warning(trained, precision):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator = Translator.load(trained, "cpu", quantize=precision)
        found = translator.translate(LINES)
    assert [one.source for one in found] == LINES
    assert found == translator.translate(LINES)


def test_a_quantised_model_opens_without_the_compiler_of_pytorch(trained):
    code = f"""
import sys
from nmtcli.models.quantized import empty_model
from nmtcli.settings import load_config
from benchmarks.shrinking import complete_presets
from nmtcli.translate.translator import Translator
Translator.load({str(trained)!r}, "cpu", quantize="int8").translate(["one two"])
for preset in complete_presets():
    empty_model(load_config(preset).model, 12, 12)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_translate_accepts_quantize(trained, onnx, tmp_path, capsys):
    text, output = tmp_path / "in", tmp_path / "out"
    text.write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    command = ["translate", "-m", trained, "-i", text, "-o", output, "--device", "cpu", "--quantize"]
    assert nmt(*command, "int8") == 0
    expected = [one.candidates[0].text for one in Translator.load(trained, "cpu", quantize="int8").translate(LINES)]
    assert output.read_text("utf-8").split("\n")[:-1] == expected
    assert nmt(*command, "fp16") == 2
    assert "fp16 needs a GPU" in capsys.readouterr().err
    assert nmt("translate", "-m", onnx, "-i", text, "--quantize", "int8") == 2
    assert "only PyTorch models can be quantized" in capsys.readouterr().err
