"""Correct and reasonably fast on any CPU: fewer instruction sets, and an unknown CPU."""

import os
import subprocess
import sys
import time

import pytest
import torch

from nmtcli.checkpoint import model_weights
from nmtcli.models.quantized import assemble, pack_floats, reduce_weights
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.precision import MixedPrecision, resolve_precision
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.vocabulary import BOS, EOS
from tests.conftest import TINY, TRANSFORMER, model_config, overrides
from tests.portability import BETWEEN, POOREST

PRODUCTS = [
    "tests/models/test_quantized.py::test_the_error_of_an_int8_product_is_bounded_by_half_steps",
    "tests/models/test_quantized.py::test_every_kernel_gives_the_same_bits",
    "tests/models/test_quantized.py::test_an_int8_product_of_a_row_does_not_depend_on_the_others",
    "tests/models/test_quantized.py::test_the_best_int8_kernel_is_one_that_is_exact_here",
    "tests/models/test_device.py::test_the_chosen_matmul_is_fp32",
    "tests/models/test_portability.py::test_no_precision_translates_many_times_slower_than_fp32",
]


@pytest.mark.parametrize("setting", [POOREST, BETWEEN], ids=str)
def test_products_and_quantized_models_on_a_poorer_cpu(setting, tmp_path):
    if setting.lacking:
        pytest.skip(f"this CPU lacks {setting.lacking}")
    done = setting.run(["-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", *PRODUCTS])
    assert done.returncode == 0, done.stdout + done.stderr


KINDS = {
    "recurrent": [],
    "transformer": TRANSFORMER[:2],
    "ssru": [TRANSFORMER[0], "model.decoder.type=ssru"],
}
WIDTHS = [f"model.{part}=256" for part in ("embedding.size", "encoder.hidden_size", "decoder.hidden_size")]
VOCABULARY, SENTENCES, LENGTH = 2000, 8, 8
TIMES_SLOWER = 20


def random_model(kind):
    torch.manual_seed(0)
    return Seq2Seq(model_config(*WIDTHS, *KINDS[kind]), VOCABULARY, VOCABULARY)


def sources():
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(4, VOCABULARY, (SENTENCES, LENGTH), generator=generator)
    source[:, -1] = EOS
    return source, torch.full((SENTENCES,), LENGTH)


def least_seconds(work):
    """The best of several times, after one that makes what is kept."""
    work()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_no_precision_translates_many_times_slower_than_fp32(kind):
    model = random_model(kind).eval()
    weights = model_weights(model)
    made = {name: reduce_weights(model, weights, name) for name in ("int8", "bf16", "fp16")}
    models = {name: assemble(model.config, VOCABULARY, VOCABULARY, tensors) for name, tensors in made.items()}

    def translate(own):
        with torch.inference_mode():
            return beam_search(own, *sources(), [4] * SENTENCES, SearchOptions(beam_size=2))

    seconds = {name: least_seconds(lambda own=own: translate(own)) for name, own in models.items()}
    plain = least_seconds(lambda: translate(model))
    packed = pack_floats(model)
    seconds["packed fp32"] = least_seconds(lambda: translate(packed))
    assert {name: spent for name, spent in seconds.items() if spent > TIMES_SLOWER * plain} == {}


def test_the_precision_that_auto_trains_in_is_not_many_times_slower_than_fp32():
    cpu = torch.device("cpu")
    chosen = resolve_precision("auto", cpu)
    if chosen == "fp32":
        pytest.skip("this CPU lacks bf16 products")
    model, (source, length) = random_model("transformer"), sources()
    target = torch.cat([torch.full((SENTENCES, 1), BOS), source[:, :-1]], dim=1)

    def update(precision):
        model.zero_grad()
        with MixedPrecision(precision, cpu).autocast():
            log_probs = model.log_probs(model(source, length, target))
        log_probs.float().gather(2, source[..., None]).sum().neg().backward()

    assert least_seconds(lambda: update(chosen)) < TIMES_SLOWER * least_seconds(lambda: update("fp32"))


# Before anything of ours is imported: a CPU that tells no features, without oneDNN and its operators.
WITHOUT_NAMES = """
import sys, types, pathlib
import torch

torch.cpu.get_capabilities = dict
torch.ops.mkldnn = torch.ops.onednn = types.SimpleNamespace()
torch.backends.mkldnn.set_flags(False)

def missing(*_):
    raise RuntimeError("not implemented on this CPU")

torch._int_mm = missing
read_text = pathlib.Path.read_text

def without_features(path, *arguments, **options):
    if str(path) == "/proc/cpuinfo":
        raise FileNotFoundError(path)
    return read_text(path, *arguments, **options)

pathlib.Path.read_text = without_features

from nmtcli.cli import run
from nmtcli.models.packed import best_int8_kernel, product_of

for command in eval(sys.argv[1]):
    assert run(command) == 0, command
assert best_int8_kernel() == "plain"
assert {product_of(kind) for kind in (torch.float32, torch.bfloat16, torch.float16)} <= {"plain", "fp32"}
"""


def test_training_and_translation_work_on_an_unknown_cpu(data, corpus, tmp_path):
    commands = [["--version", "--verbose"]]
    run = str(tmp_path / "run")
    settings = overrides(*TINY, "train.max_updates=2", "train.valid_every=2", "train.save_every=2")
    commands.append(["train", str(data), "-o", run, "--device", "cpu", *settings])
    for precision in ([], ["--quantize", "int8"], ["--quantize", "bf16"]):
        output = str(tmp_path / f"hypotheses{len(commands)}")
        commands.append(["translate", "-m", run, "-i", str(corpus / "valid.words"), "-o", output, *precision])
    command = [sys.executable, "-c", WITHOUT_NAMES, repr(commands)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CPU features       unknown" in done.stdout
    texts = [(tmp_path / f"hypotheses{number}").read_text("utf-8") for number in (2, 3, 4)]
    assert all(text.count("\n") == 40 for text in texts)
