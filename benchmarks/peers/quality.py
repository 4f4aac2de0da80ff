"""nmt beside other toolkits: BLEU of the test text by the CPU time of training, from raw text.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/quality.py FOLDER [--texts TEXTS] [--minutes 30] [--threads 2] [--only WORDS …]

Each tool trains on each corpus by its own introduction (`quickstart.yaml`) and as the same model with the same settings
as all (`rnn` and `transformer` of compare.py), until it has used so many CPU minutes, validation included. Checkpoints
are translated with a beam of 5 afterwards. A training that is done is kept in FOLDER; the same command goes on with the
others. Prints Markdown and draws FOLDER/quality.png. README.md tells what is the same and what is not.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

import sacrebleu
from compare import prepare, read, write
from measuring import session_cpu
from report import NAMES, processor, table
from ruamel.yaml import YAML
from tools import HERE, MODELS, Command, Eole, JoeyNMT, Nmt, OpenNMTpy, Tool, Workplace

CORPORA = {"multi30k": ("en", "de"), "tatoeba-de-en": ("de", "en")}
QUICKSTART = "quickstart"
UPDATES = 10**6  # never reached
# Updates between two checkpoints: one or two CPU minutes. nmt's quickstart has its own number.
SAVED = {("eole", QUICKSTART): 25, ("onmtpy", QUICKSTART): 100, ("joeynmt", QUICKSTART): 200}
SAVED_OF_EQUAL = 40
POINTS = (1 / 6, 1 / 3, 2 / 3, 1)  # of a curve, shares of the budget: JoeyNMT takes minutes for each
Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One training of a tool on a corpus, by its quickstart or as one of the equal models."""

    tool: Tool
    corpus: str
    settings: str

    @property
    def name(self) -> str:
        """What the results call it."""
        return f"{self.corpus} {self.settings} {self.tool.name}"

    @property
    def run(self) -> Path:
        """The folder of its checkpoints."""
        return self.tool.place.run(self.tool.name, self.settings)

    @property
    def own(self) -> bool:
        """Whether it is the tool's quickstart, which reads raw text."""
        return self.settings == QUICKSTART

    def file(self, part: str, side: int) -> Path:
        """The text it reads: raw, or in pieces."""
        place = self.tool.place
        raw = self.own or isinstance(self.tool, Nmt)
        return (
            raw_text(place) / f"{part}.{('source', 'target')[side]}"
            if raw
            else place.text / f"{part}.{place.sides[side]}"
        )

    def settings_file(self) -> str:
        """The path of its settings."""
        if not self.own:
            return self.tool.settings(self.settings)
        place = self.tool.place
        words = {"run": self.run, "text": raw_text(place), "updates": UPDATES, "saved": place.save_every}
        parts = YAML(typ="safe").load(Template((HERE / "quickstart.yaml").read_text("utf-8")).substitute(words))
        path = self.run.with_name(f"{self.run.name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_yaml(parts[self.tool.name]), "utf-8")
        return str(path)

    def commands(self) -> list[Command]:
        """What comes before the end of the training, which is the last one."""
        tool = self.tool
        if not self.own:
            return [tool.train(self.settings, "fp32")]
        if isinstance(tool, Nmt):
            sides = zip(("source", "target"), tool.place.sides, strict=True)
            languages = [f"--{side}-language={language}" for side, language in sides]
            texts = [
                f"--{part}-{side}={self.file(part, number)}"
                for part in ("train", "valid", "test")
                for number, side in enumerate(("source", "target"))
            ]
            data = self.run.with_name(f"{self.run.name}-data")
            nmt = [str(tool.python), "-m", "nmtcli"]
            all_kept = "--set=train.keep_last=1000"  # to translate them
            train = [*nmt, "train", str(data), "-o", str(self.run), all_kept]
            return [[*nmt, "prepare", "-o", str(data), *languages, *texts], train]
        config = ["-config", self.settings_file()]
        if isinstance(tool, Eole):
            vocabulary = [tool.program("eole"), "build_vocab", *config, "-n_sample", "-1"]
            return [vocabulary, [tool.program("eole"), "train", *config]]
        if isinstance(tool, OpenNMTpy):
            vocabulary = [tool.program("onmt_build_vocab"), *config, "-n_sample", "-1"]
            return [vocabulary, [tool.program("onmt_train"), *config]]
        return [[str(tool.python), "-m", "joeynmt", "train", config[1], "--skip-test"]]

    def checkpoints(self) -> dict[int, Path]:
        """All that are complete, by update: nothing was written there for a second."""
        pattern = {"nmt": "checkpoints/step-*", "eole": "step_*", "onmtpy": "model_step_*.pt", "joeynmt": "[0-9]*.ckpt"}
        found = {}
        for path in self.run.glob(pattern[self.tool.name]):
            files = list(path.glob("*")) if path.is_dir() else [path]
            if files and all(time.time() - file.stat().st_mtime > 1 for file in files):
                found[int("".join(filter(str.isdigit, path.name)))] = path
        return found

    def translate(self, checkpoint: Path, output: Path) -> Command:
        """The command that translates the test text, which is its stdin too."""
        tool, source = self.tool, self.file("test", 0)
        files = ["-src", str(source), "-output", str(output), "-beam_size", "5"]
        if isinstance(tool, Nmt):
            nmt = [str(tool.python), "-m", "nmtcli", "translate"]
            return [*nmt, "-m", str(checkpoint), "-i", str(source), "-o", str(output)]
        if isinstance(tool, Eole):
            return [tool.program("eole"), "predict", "-model_path", str(checkpoint), *files]
        if isinstance(tool, OpenNMTpy):
            return [tool.program("onmt_translate"), "-model", str(checkpoint), *files, "-gpu", "-1"]
        settings = json.loads(Path(self.settings_file()).read_text("utf-8"))
        testing = {**settings["testing"], "load_model": str(checkpoint), "max_output_length": -1}
        path = output.with_suffix(".yaml")
        path.write_text(as_yaml({**settings, "testing": {**testing, "min_output_length": 1}}), "utf-8")
        return ["sh", "-c", 'exec "$@" > "$0"', str(output), str(tool.python), "-m", "joeynmt", "translate", str(path)]


def as_yaml(settings: Any) -> str:
    """JSON that YAML 1.1 reads too: `1e-06` is a string there."""
    return re.sub(r"(?<=: )(\d)e-", r"\1.0e-", json.dumps(settings, indent=1))


def raw_text(place: Workplace) -> Path:
    """The folder of the text as it came: train, valid and test, source and target."""
    return place.folder / "raw"


def trials(peers: Path, corpus: str, threads: int) -> Iterator[Trial]:
    """All trainings on a corpus, the tools by turns."""
    place = Workplace(peers, peers / "quality" / corpus, threads, UPDATES, SAVED_OF_EQUAL, CORPORA[corpus])
    for settings in (QUICKSTART, *MODELS):
        for kind in (Nmt, Eole, OpenNMTpy, JoeyNMT):
            saved = SAVED.get((kind.name, settings), SAVED_OF_EQUAL)
            yield Trial(kind(replace(place, save_every=saved)), corpus, settings)


def train(trial: Trial, budget: float) -> Record:
    """Run the commands, the last one until `budget` CPU seconds are used: checkpoints with their CPU seconds."""
    used, found = 0.0, dict[int, float]()
    shutil.rmtree(trial.run, ignore_errors=True)
    trial.run.parent.mkdir(parents=True, exist_ok=True)
    with trial.run.with_name(f"{trial.run.name}.log").open("wb") as log:
        for command in trial.commands():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | trial.tool.environment(),
                cwd=trial.tool.place.folder,
                start_new_session=True,
            )
            cpu = 0.0
            while process.poll() is None and used + cpu < budget:
                time.sleep(0.5)
                cpu = session_cpu(process.pid) or cpu
                found |= {step: used + cpu for step in trial.checkpoints() if step not in found}
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            code, used = process.wait(), used + cpu
            if code not in (0, -signal.SIGKILL):
                sys.exit(f"{trial.name}: exit code {code}; see {log.name}")
    if used < budget:
        print(f"{trial.name}: ended by itself after {used / 60:.1f} CPU minutes; see {log.name}", file=sys.stderr)
    return {"checkpoints": sorted((cpu, step) for step, cpu in found.items()), "cpu": used, "when": int(time.time())}


def scored(trial: Trial, record: Record, budget: float) -> Iterator[tuple[float, float]]:
    """CPU seconds and BLEU of the newest checkpoint at each of the POINTS."""
    reference = read(raw_text(trial.tool.place), "test.target")
    available, last = trial.checkpoints(), None
    for share in POINTS:
        ready = [step for cpu, step in record["checkpoints"] if cpu <= budget * share and step in available]
        if not ready or ready[-1] == last:
            continue
        last = ready[-1]
        output = trial.run.with_name(f"{trial.run.name}-{last}.txt")
        with trial.file("test", 0).open("rb") as stdin, output.with_suffix(".log").open("wb") as log:
            command = trial.translate(available[last], output)
            subprocess.run(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=os.environ | trial.tool.environment(),
                cwd=trial.tool.place.folder,
                check=True,
            )
        lines = read(output.parent, output.name)
        if not (trial.own or isinstance(trial.tool, Nmt)):
            lines = ["".join(line.split(" ")).replace("▁", " ").strip() for line in lines]
        cpu = {step: cpu for cpu, step in record["checkpoints"]}[last]
        yield cpu, sacrebleu.corpus_bleu(lines, [reference]).score


def write_raw(place: Workplace, corpus: Path) -> None:
    """The text for quickstarts. Repeated blanks become one: the vocabulary that Eole makes of them is not readable."""
    raw_text(place).mkdir(parents=True, exist_ok=True)
    for part in ("train", "valid", "test"):
        for name, side in zip(("source", "target"), place.sides, strict=True):
            lines = [" ".join(line.split()) for line in read(corpus, f"{part}.{side}")]
            write(raw_text(place) / f"{part}.{name}", lines)


def report(records: list[Record], budget: float) -> str:
    """A table: BLEU at equal CPU times, the number of commands and of settings given."""
    times = [budget * share for share in POINTS]
    rows = []
    for one in records:
        cells = []
        for limit in times:
            values = [bleu for cpu, bleu in one["bleu"] if cpu <= limit]
            cells.append(f"{values[-1]:.1f}" if values else "–")
        counts = [str(one["commands"]), str(one["settings_given"])]
        rows.append([one["corpus"], one["settings"], NAMES[one["tool"]], *cells, *counts])
    minutes = [f"{limit / 60:.0f} min" for limit in times]
    columns = ["corpus", "settings", "tool", *minutes, "commands", "settings given"]
    days = sorted({time.strftime("%F", time.gmtime(one["when"])) for one in records})
    return f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {processor()}. CPU minutes.\n\n{table(columns, rows)}\n"


def count_settings(tree: Any) -> int:
    """The number of values in a settings file; a list is one."""
    return sum(map(count_settings, tree.values())) if isinstance(tree, dict) else 1


def draw(records: list[Record], path: Path) -> None:
    """The curves, one plot for each corpus and settings."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow

    kinds = list(dict.fromkeys((one["corpus"], one["settings"]) for one in records))
    figure, axes = plt.subplots(1, len(kinds), figsize=(4.5 * len(kinds), 4), squeeze=False, layout="constrained")
    for axis, kind in zip(axes[0], kinds, strict=True):
        for one in records:
            if (one["corpus"], one["settings"]) == kind:
                minutes = [cpu / 60 for cpu, _ in one["bleu"]]
                axis.plot(minutes, [bleu for _, bleu in one["bleu"]], "o-", label=NAMES[one["tool"]].strip("*"))
        axis.set(title=" ".join(kind), xlabel="CPU minutes", ylabel="test BLEU")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train what is missing, print the table, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where install.sh put the peers")
    parser.add_argument("--texts", type=Path, default=os.environ.get("NMT_DATA"), help="has multi30k and tatoeba-de-en")
    parser.add_argument("--minutes", type=float, default=30, help="CPU minutes of a training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="as in: multi30k, 'rnn nmt'")
    options = parser.parse_args()
    if options.texts is None:
        parser.error("--texts is needed where $NMT_DATA is not set")
    folder, budget = options.folder.resolve(), options.minutes * 60
    path = folder / f"quality-{options.threads}-threads-{options.minutes:g}.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    for corpus in CORPORA:
        for trial in trials(folder, corpus, options.threads):
            wanted = not options.only or any(f" {words} " in f" {trial.name} " for words in options.only)
            if not wanted or trial.name in {one["name"] for one in records}:
                continue
            print(trial.name, file=sys.stderr, flush=True)
            if not (done := raw_text(trial.tool.place) / "prepared").exists():
                write_raw(trial.tool.place, options.texts / corpus)
                prepare(trial.tool.place, options.texts / corpus, 500, 1)
                done.touch()
            record = train(trial, budget)
            commands = trial.commands()
            written = not (trial.own and isinstance(trial.tool, Nmt))
            settings = count_settings(json.loads(Path(trial.settings_file()).read_text("utf-8"))) if written else 0
            row = {"name": trial.name, "corpus": corpus, "settings": trial.settings, "tool": trial.tool.name}
            counts = {"commands": len(commands) + 1, "settings_given": settings}
            records.append({**row, **counts, "bleu": list(scored(trial, record, budget)), **record})
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(records[-1]) + "\n")
    if records:
        print(report(records, budget))
        draw(records, folder / "quality.png")


if __name__ == "__main__":
    main()
