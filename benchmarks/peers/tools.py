"""The compared tools: their commands and the format of their training logs."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODELS = ("rnn", "transformer")
BATCH_TOKENS, BATCH_SENTENCES, BEAM, LENGTH = 4096, 64, 5, 20
EVERY = 2  # updates between two lines of a training log
TYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}  # names in CTranslate2

Command = list[str]


@dataclass(frozen=True)
class Workplace:
    """Where everything is, and what holds for all."""

    peers: Path  # has their environments
    folder: Path  # has data, text and runs
    threads: int
    updates: int
    save_every: int
    sides: tuple[str, str] = ("en", "de")

    @property
    def data(self) -> Path:
        """What nmt prepare made."""
        return self.folder / "data"

    @property
    def text(self) -> Path:
        """`pieces`, all there are; train, valid and test of both languages in pieces; test.txt as it was."""
        return self.folder / "text"

    def run(self, tool: str, model: str, precision: str = "fp32") -> Path:
        """Where a trained model is."""
        return self.folder / "runs" / f"{tool}-{model}-{precision}"


class Tool:
    """A program that trains and translates: in `precisions`, with `kinds` of arithmetic."""

    name: str
    package: str
    precisions: tuple[str, ...] = ("fp32",)
    kinds: tuple[str, ...] = ("fp32",)
    models: tuple[str, ...] = MODELS
    reads = "en"  # what it translates: test.en
    # what a line of the training log tells: `step`; and `tokens` of an update in the mean, or `rate`, tokens a second
    logged = re.compile("(?!)")

    def __init__(self, place: Workplace) -> None:
        self.place = place

    @property
    def python(self) -> Path:
        """Of its environment."""
        return self.place.peers / self.name / "bin" / "python"

    def program(self, name: str) -> str:
        """One of its commands."""
        return str(self.python.with_name(name))

    def environment(self) -> dict[str, str]:
        """Variables of its commands, the same for all tools."""
        return {
            **{f"{name}_NUM_THREADS": str(self.place.threads) for name in ("OMP", "MKL")},
            "OMP_WAIT_POLICY": "PASSIVE",  # as nmt has it: waiting threads do not count as work
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # checkpoints of OpenNMT-py and JoeyNMT are pickles
            "PYTHONPATH": str(ROOT) if self.name == "nmt" else "",
        }

    def helps(self) -> list[Command]:
        """Commands that show help."""
        return []

    def train(self, model: str, precision: str) -> Command:
        """The command that trains for so many updates."""
        raise NotImplementedError

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        """The command that translates each line of `source`, which is its stdin too, into LENGTH pieces."""
        raise NotImplementedError

    def settings(self, model: str, precision: str = "fp32") -> str:
        """The path of a file with the tool's settings (JSON, which is YAML too)."""
        run = self.place.run(self.name, model, precision)
        words = {
            "text": self.place.text,
            "run": run,
            "precision": precision,
            "mixed": str(precision == "bf16").lower(),
            "updates": self.place.updates,
            "saved": self.place.save_every,
            "validated": 10**6 if self.place.save_every == self.place.updates else self.place.save_every,
            "source": self.place.sides[0],
            "target": self.place.sides[1],
            "every": EVERY,
            "threads": self.place.threads,
            "tokens": BATCH_TOKENS,
            "sentences": BATCH_SENTENCES,
            "beam": BEAM,
            "length": LENGTH,
        }
        parts = YAML(typ="safe").load(Template((HERE / f"{self.name}.yaml").read_text("utf-8")).substitute(words))
        path = run.with_name(f"{run.name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(merged(parts["both"], parts[model]), indent=1), "utf-8")
        return str(path)


class Nmt(Tool):
    """Ours, in the environment of this Python. It translates text; both ends of that are in its times."""

    name, package = "nmt", "nmtcli"
    precisions = ("fp32", "bf16")
    kinds = ("fp32", "bf16", "int8", "int8, a process for each thread")
    reads = "txt"
    logged = re.compile(r"update (?P<step>[\d,]+)/.* (?P<rate>[\d,]+) tok/s")

    @property
    def python(self) -> Path:
        return Path(sys.executable)

    def program(self, name: str) -> str:
        raise NotImplementedError

    def helps(self) -> list[Command]:
        return [[*self._nmt, "--help"], [*self._nmt, "train", "--help"]]

    def train(self, model: str, precision: str) -> Command:
        run = self.place.run(self.name, model, precision)
        config = ["-c", self.settings(model, precision)]
        command = [str(self.python), str(HERE / "train_nmt.py"), "train", str(self.place.data), "-o", str(run)]
        return [*command, "--device", "cpu", *config]

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        lengths = [f"--{end}-length={LENGTH + 1}" for end in ("min", "max")]  # EOS counted
        batch = f"--batch-tokens={BATCH_SENTENCES * 16}"  # 15.7 tokens a sentence
        quantize = kind.partition(",")[0]
        how = [] if quantize == "fp32" else [f"--quantize={quantize}"]
        how += [f"--processes={self.place.threads}"] if "process" in kind else []
        files = ["-m", str(self.place.run(self.name, model)), "-i", str(source), "-o", str(output)]
        return [*self._nmt, "translate", *files, "--device=cpu", f"--beam-size={BEAM}", batch, *lengths, *how]

    def export(self, folder: Path) -> Command:
        """The command that makes a CTranslate2 model of the Transformer."""
        run = self.place.run(self.name, "transformer")
        # a model of a few updates hardly prefers one word to another: exports may differ in that
        return [*self._nmt, "export", str(run), "-o", str(folder), "--format", "ctranslate2", "--force"]

    @property
    def _nmt(self) -> Command:
        return [str(self.python), "-m", "nmtcli"]


class Eole(Tool):
    """The successor of OpenNMT-py."""

    name = package = "eole"
    precisions = ("fp32", "bf16")
    kinds = ("fp32", "bf16")  # its int8 fails: it asks for a setting `gpu` that it does not have
    logged = re.compile(r"Step +(?P<step>\d+)/.*bsz: +[\d.]+/ *(?P<tokens>[\d.]+)/")

    def helps(self) -> list[Command]:
        return [[self.program("eole"), "--help"], [self.program("eole"), "train", "--help"]]

    def train(self, model: str, precision: str) -> Command:
        return [self.program("eole"), "train", "-config", self.settings(model, precision)]

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        files = ["-model_path", str(self.place.run(self.name, model)), "-src", str(source), "-output", str(output)]
        search = ["-compute_dtype", kind, "-world_size", "1", *opennmt_search()]
        return [self.program("eole"), "predict", *files, *search]


class OpenNMTpy(Tool):
    """OpenNMT-py. Its int8 changes nothing: it compares the word with a type of torch."""

    name, package = "onmtpy", "OpenNMT-py"
    logged = Eole.logged

    def helps(self) -> list[Command]:
        return [[self.program(f"onmt_{verb}"), "--help"] for verb in ("train", "translate")]

    def train(self, model: str, precision: str) -> Command:
        return [self.program("onmt_train"), "-config", self.settings(model, precision)]

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        checkpoint = self.place.run(self.name, model) / f"model_step_{self.place.updates}.pt"
        files = ["-model", str(checkpoint), "-src", str(source), "-output", str(output)]
        return [self.program("onmt_translate"), *files, "-gpu", "-1", *opennmt_search()]


class JoeyNMT(Tool):
    """JoeyNMT. Its option for an output file fails, so its stdout is kept; its log goes to stderr."""

    name = package = "joeynmt"
    logged = re.compile(r"Step: +(?P<step>\d+), .*Tokens per Sec: +(?P<rate>[\d.]+)")

    def helps(self) -> list[Command]:
        return [[str(self.python), "-m", "joeynmt", "--help"]]

    def train(self, model: str, precision: str) -> Command:
        return [str(self.python), "-u", "-m", "joeynmt", "train", self.settings(model, precision), "--skip-test"]

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        command = [str(self.python), str(HERE / "translate_joeynmt.py"), str(LENGTH), "translate", self.settings(model)]
        return ["sh", "-c", 'exec "$@" > "$0"', str(output), *command]


class CTranslate2(Tool):
    """Translates only, Transformers only: the one that ours trained, exported."""

    name = package = "ctranslate2"
    precisions = ()
    kinds = ("fp32", "int8", "int8, a process for each thread")
    models = ("transformer",)

    @property
    def model(self) -> Path:
        """What nmt export made."""
        return self.place.folder / "runs" / "nmt-transformer-ctranslate2"

    def translate(self, model: str, kind: str, source: Path, output: Path) -> Command:
        workers = (self.place.threads, 1) if "process" in kind else (1, self.place.threads)
        numbers = map(str, (LENGTH, BEAM, BATCH_SENTENCES, *workers))
        what = [str(self.model / "ctranslate2"), TYPES[kind.partition(",")[0]], str(source), str(output)]
        return [str(self.python), str(HERE / "translate_ctranslate2.py"), *what, *numbers]


def opennmt_search() -> Command:
    """Options that Eole and OpenNMT-py have in common."""
    lengths = ["-min_length", str(LENGTH), "-max_length", str(LENGTH)]
    return ["-beam_size", str(BEAM), "-batch_type", "sents", "-batch_size", str(BATCH_SENTENCES), *lengths]


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section."""
    common = {key: merged(first[key], second[key]) for key in first if key in second}
    return {**first, **second, **common}
