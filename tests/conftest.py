"""Shared by all tests: a tiny corpus, a data directory made of it, tiny models, a short run."""

import gc
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import settings

from nmtcli.cli import run
from nmtcli.config import ModelConfig
from nmtcli.export.onnx import NEEDED, pytorch_exports
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config

settings.register_profile("no-deadline", deadline=None)  # a timing is never a test
settings.load_profile("no-deadline")

ROOT = Path(__file__).parent.parent  # of the repository

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

# A model and a run small enough for a test. Its rate is given: a run of a dozen updates translates near ties, in which
# what is equal on all CPUs with one rate may not be with another.
TINY = [
    "model.embedding.size=16",
    "model.encoder.hidden_size=16",
    "model.decoder.hidden_size=16",
    "model.dropout=0.3",
    "train.batch_tokens=300",
    "train.max_updates=12",
    "train.warmup_updates=4",
    "train.learning_rate=0.003",
    "train.valid_every=6",
    "train.save_every=3",
    "train.log_every=2",
    "train.valid_sentences=10",
    "train.threads=1",
    "search.beam_size=2",
]


def pytest_configure() -> None:
    """Tests interrupt commands, which would ignore that if this process does, as in the background of a script."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def overrides(*settings: str) -> list[str]:
    """`--set` for each setting."""
    return [part for setting in settings for part in ("--set", setting)]


def nmt(*arguments: str | Path) -> int:
    """One command line, in this process; its exit code."""
    return run([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers in words, and their digits from right to left: train and valid, .words and .digits."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = random.Random(0)
    drawn = iter(dict.fromkeys(tuple(generator.choices(range(10), k=generator.randint(2, 9))) for _ in range(600)))
    for split, size in (("train", 400), ("valid", 40)):
        numbers = list(islice(drawn, size))  # no number comes twice, so cleaning keeps them all
        words = [" ".join(WORDS[digit] for digit in number) for number in numbers]
        digits = [" ".join(str(digit) for digit in reversed(number)) for number in numbers]
        (folder / f"{split}.words").write_text("\n".join(words) + "\n", "utf-8")
        (folder / f"{split}.digits").write_text("\n".join(digits) + "\n", "utf-8")
    return folder


def prepare_arguments(corpus: Path, output: Path) -> list[str | Path]:
    """The command line that prepares the tiny corpus."""
    sides = {"source": "words", "target": "digits"}
    files = [part for s in ("train", "valid") for k, v in sides.items() for part in (f"--{s}-{k}", corpus / f"{s}.{v}")]
    return ["prepare", "-o", output, *files, "--vocab-size", "300"]


@pytest.fixture(scope="session")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus, prepared with a joint tokenizer."""
    output = tmp_path_factory.mktemp("data") / "data"
    assert nmt(*prepare_arguments(corpus, output)) == 0
    return output


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a dozen updates. Read it; do not write into it."""
    output = tmp_path_factory.mktemp("run") / "run"
    assert nmt("train", data, "-o", output, "--device", "cpu", *overrides(*TINY)) == 0
    return output


def require_onnx_export() -> None:
    """Skip where PyTorch is too old to export to ONNX."""
    if not pytorch_exports():
        pytest.skip(f"ONNX export needs PyTorch {NEEDED[0]}.{NEEDED[1]}")


@pytest.fixture(scope="session")
def onnx(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run's model, exported to ONNX."""
    require_onnx_export()
    output = tmp_path_factory.mktemp("export") / "onnx"
    assert nmt("export", trained, "-o", output, "--format", "onnx") == 0
    return output


# At this rate it writes digits after a dozen updates; before, any byte is as good as another.
TRANSFORMER = [
    "model.encoder.type=transformer",
    "model.decoder.type=transformer",
    "train.max_updates=16",
    "train.learning_rate=0.02",
]


@pytest.fixture(scope="session")
def transformer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of a Transformer on the tiny corpus."""
    output = tmp_path_factory.mktemp("transformer") / "run"
    assert nmt("train", data, "-o", output, "--device", "cpu", *overrides(*TINY, *TRANSFORMER)) == 0
    return output


@pytest.fixture(scope="session")
def ctranslate2(transformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run's model, exported to CTranslate2."""
    output = tmp_path_factory.mktemp("export") / "ctranslate2"
    assert nmt("export", transformer, "-o", output, "--format", "ctranslate2") == 0
    return output


def model_config(*settings: str) -> ModelConfig:
    """Tiny model settings, changed as given."""
    return load_config(overrides=[*TINY, "model.embedding.tie=all", *settings]).model


@pytest.fixture
def tiny_model() -> Callable[..., Seq2Seq]:
    """Makes a tiny model with random, rather peaked weights, in evaluation mode."""

    def make(*settings: str, vocabulary: int = 12, seed: int = 0) -> Seq2Seq:
        torch.manual_seed(seed)
        model = Seq2Seq(model_config(*settings), vocabulary, vocabulary)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:  # gains and biases stay
                    weight.mul_(3.0)
        return model.eval()

    return make


@pytest.fixture(scope="module")
def one_phrasebook() -> Iterator[None]:
    """The demos of a module generate their text once."""
    from nmtcli.demo import phrasebook

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrasebook, "generate", cache(phrasebook.generate))
        yield


@pytest.fixture
def write_texts(tmp_path, monkeypatch):
    """Writes texts by name into the working directory, a new one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)

    def write(**texts: list[str]) -> None:
        for name, lines in texts.items():
            Path(name).write_bytes("".join(f"{line}\n" for line in lines).encode())

    return write


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a small file system of its own, where the system lets us: size such as 100k to where it is mounted."""
    made = []

    def make(size: str) -> Path:
        place = tmp_path / f"disk-{len(made)}"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("may not mount a file system")
        made.append(place)
        return place

    yield make
    gc.collect()  # a trainer that was broken off may still have files there
    for place in made:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path, left: int = 0) -> None:
    """Fill the file system until so many bytes are free."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(file.tell() - left)
