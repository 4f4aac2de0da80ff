"""Any options and any inputs, verb by verb: the exit code is documented and not 1, no traceback, no input is changed,
and outputs are whole or absent.

`make fuzz` runs it, FUZZ_SECONDS a verb (60). What failed is kept in Hypothesis's database and tried first.
"""

import gzip
import hashlib
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nmtcli.cli import app
from nmtcli.cli import run as nmt
from nmtcli.errors import ExitCode
from nmtcli.settings import keys
from tests.conftest import TINY

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
COMMANDS = {command.callback.__name__: command.callback.with_options() for command in app.registered_commands}
# They would fetch, start processes, or take hours; help and completion end at once.
LEFT_OUT = {"--test-set", "--gpus", "--verify-resume", "--devices", "--tokenize", "--comet-model"}
OUTPUTS = {"--output", "--alignment", "--attention", "--report"}
WORDS = st.sampled_from(["", "x", "2,1", "bleu", "ter,chrf", "bleu=30", "en-de", "last:2", "²", "-1", "a=b", "\ud800"])
NUMBERS = st.sampled_from(["", "0", "1", "2", "7", "-1", "2147483648", str(2**64), "1e308", "nan", "inf", "x", "٣"])
KEYS = [".".join(path) for path, _ in keys() if path[0] in ("train", "search")]
ODD = st.sampled_from(["true", "null", "[]", "{a: 1}", "beam", "mbr", "&a *a", "!!python/object:os.system x"])
SETTINGS = st.tuples(st.sampled_from([*KEYS, "nothing", "train", "a.b"]), NUMBERS | WORDS | ODD).map("=".join)
INPUTS = ["text", "empty", "one-line", "binary", "latin1", "utf16", "packed.gz", "crlf", "long", "json.jsonl"]
INPUTS += ["table.csv", "pairs.tsv", "broken.tmx", "config.yaml", "bad.yaml", "missing", "folder", "run", "data"]
INPUTS += [":100: [b]", "/dev/null"]
PLACES = ["out/a", "out/b.html", "out/c.jsonl", "out/d.json", "no/such", "folder", "out/" + "n" * 300, "-", "out/[x]"]
PREPARE = ["-o", "out/data", "--train", "pairs.tsv", "--valid-source", "text", "--valid-target", "text"]
PREPARE += ["--processes", "1", "--vocab-size", "300"]


@pytest.fixture(scope="module")
def original(tmp_path_factory, trained, data):
    """Good and bad inputs of every kind."""
    folder = tmp_path_factory.mktemp("original")
    text = "one two three\nfour\n\nfive six\n"
    contents = {"text": text, ":100: [b]": text, "one-line": "one", "crlf": text.replace("\n", "\r\n"), "empty": ""}
    contents |= {"long": "one " * 3000 + "\n", "json.jsonl": '{"source": "one", "target": "1"}\n{"source": 5}\n'}
    contents |= {
        "table.csv": "source,target\none,1\ntwo\n",
        "pairs.tsv": "one\t1\ntwo\t2\n",
        "broken.tmx": "<tmx><body><tu>",
    }
    contents |= {"config.yaml": "train:\n  max_updates: 2\n", "bad.yaml": "a: [\n"}
    for name, content in contents.items():
        (folder / name).write_text(content, "utf-8")
    (folder / "binary").write_bytes(bytes(range(256)) * 4)
    (folder / "latin1").write_bytes("für\n".encode("latin-1"))
    (folder / "utf16").write_bytes("one\n".encode("utf-16"))
    (folder / "packed.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "folder").mkdir()
    shutil.copytree(trained, folder / "run")
    shutil.copytree(data, folder / "data")
    return folder


def value_of(name: str, kind: Any) -> st.SearchStrategy[str]:
    """Values for an option of a type."""
    inner = [one for one in get_args(kind) if one is not type(None)] if get_origin(kind) is not Literal else [kind]
    kind = inner[0] if inner else kind
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    if name == "--set":
        return SETTINGS
    if name == "--processes":
        return st.sampled_from(["0", "1", "x"])
    if name in OUTPUTS:
        return st.sampled_from(PLACES)
    if get_origin(kind) is Literal:
        return st.sampled_from([*map(str, get_args(kind)), "other"])
    if kind is Path:
        return st.sampled_from(INPUTS)
    return NUMBERS if kind in (int, float) else WORDS


def options_of(verb: str) -> tuple[list[tuple[str, bool, st.SearchStrategy[str]]], int]:
    """Each option with whether it is a flag and what it may be given; and how many arguments there are."""
    found, arguments = [], 0
    for name, kind in get_type_hints(COMMANDS[verb], include_extras=True).items():
        if get_origin(kind) is not Annotated:
            continue
        base, info = get_args(kind)[:2]
        if isinstance(info, typer.models.ArgumentInfo):
            arguments += 1
            continue
        named = [one for one in info.param_decls or () if one.startswith("--")] or [f"--{name.replace('_', '-')}"]
        option = named[0].partition("/")[0]
        if option not in LEFT_OUT:
            found.append((option, base is bool, value_of(option, base)))
    return found, arguments


def command_lines(verb: str) -> st.SearchStrategy[list[str]]:
    """Command lines of a verb: its usual one, with options and values of any kind."""
    options, arguments = options_of(verb)

    @st.composite
    def draw_line(draw: st.DrawFn) -> list[str]:
        line = [verb]
        usual = {"translate": ["-m", "run", "-i", "text"], "train": ["data", "-o", "out/run"], "export": ["run"]}
        usual |= {"score": ["text", "-r", "text"], "prepare": PREPARE, "demo": ["--text-only"]}
        line += usual.get(verb, []) if draw(st.integers(0, 9)) else []
        line += draw(st.lists(st.sampled_from(INPUTS), max_size=arguments)) if not draw(st.integers(0, 4)) else []
        for option, is_flag, values in draw(st.lists(st.sampled_from(options), max_size=5)):
            line += [option] if is_flag else [f"{option}={draw(values)}"]
        if verb == "train":
            line += ["--device=cpu", *(part for one in TINY for part in ("--set", one)), "--set=train.max_updates=2"]
        if verb == "demo":
            line += ["--text-only", "--pairs=6000"]
        return line

    return draw_line()


def digests(folder: Path) -> dict[str, str]:
    """Of all files but what was written."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and "out" not in path.relative_to(folder).parts[:1]
    )
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def counted():
    """Exit codes of the runs of each verb, printed as a table at the end."""
    table: dict[str, Counter[int]] = {}
    yield table
    codes = sorted({code for counts in table.values() for code in counts})
    print("\n\n" + f"{'verb':<10}{'runs':>8}" + "".join(f"{'exit ' + str(code):>9}" for code in codes))
    for verb, counts in table.items():
        print(f"{verb:<10}{sum(counts.values()):>8}" + "".join(f"{counts[code]:>9}" for code in codes))


@pytest.mark.parametrize("verb", COMMANDS)
def test_any_command_line_ends_as_documented(verb, original, tmp_path, capfd, monkeypatch, counted):
    place = shutil.copytree(original, tmp_path / "place")
    monkeypatch.chdir(place)
    before, counts, end = digests(place), counted.setdefault(verb, Counter()), time.monotonic() + SECONDS

    @settings(
        max_examples=int(SECONDS * 20) + 1,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(command_lines(verb))
    def law(line):
        if time.monotonic() > end:
            return
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        code = nmt(line)
        told = capfd.readouterr().err
        counts[int(code)] += 1
        assert code in set(ExitCode) - {ExitCode.BUG}, told
        assert "Traceback" not in told, told
        assert digests(place).items() >= before.items(), "an input was changed"
        assert not list(Path("out").rglob("*.partial")), "half an output was left"

    law()


def test_every_command_is_fuzzed():
    assert all(options_of(verb)[0] for verb in COMMANDS)
