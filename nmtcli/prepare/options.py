"""The options of `nmt prepare`, and which of them go together."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from nmtcli.options import Option, Rule


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What text `prepare` makes data of, where to, and by which settings.

    Files of the two sides pair up in order. Those of `train`, `valid` and `test` have both sides.
    """

    output: Annotated[
        Path | None, Option("Directory to make; not for --dry-run.", ("-o", "--output"), metavar="DATA")
    ] = None
    train_source: Annotated[
        tuple[str, ...], Option("Training text, source side: a path or a URL.", metavar="FILE")
    ] = ()
    train_target: Annotated[tuple[str, ...], Option("Training text, target side, line by line.", metavar="FILE")] = ()
    train_alignment: Annotated[tuple[str, ...], Option("Its word alignment, such as 0-0 1-2.", metavar="FILE")] = ()
    train: Annotated[
        tuple[str, ...], Option("Training text, both sides: TSV, JSONL, CSV, Parquet or TMX.", metavar="FILE")
    ] = ()
    valid_source: Annotated[tuple[str, ...], Option("Validation text, source side.", metavar="FILE")] = ()
    valid_target: Annotated[tuple[str, ...], Option("Validation text, target side.", metavar="FILE")] = ()
    valid: Annotated[tuple[str, ...], Option("Validation text, both sides.", metavar="FILE")] = ()
    test_source: Annotated[
        tuple[str, ...], Option("Test text: training pairs like it are dropped.", metavar="FILE")
    ] = ()
    test_target: Annotated[tuple[str, ...], Option("Test text, target side.", metavar="FILE")] = ()
    hold_out: Annotated[int | None, Option("Draw N training pairs for validation.", metavar="N", min=1)] = None
    hold_out_test: Annotated[int | None, Option("Draw N for a test set: text files in DATA.", metavar="N", min=1)] = (
        None
    )
    source_language: Annotated[
        str | None, Option("Source language code.", ("-s", "--source-language"), metavar="LANG")
    ] = None
    target_language: Annotated[
        str | None, Option("Target language code.", ("-t", "--target-language"), metavar="LANG")
    ] = None
    vocab_size: Annotated[int | None, Option("Pieces in a vocabulary (data.tokenizer.vocab_size).", metavar="N")] = None
    joint: Annotated[
        bool | None,
        Option("One tokenizer for both sides, or one each (data.tokenizer.joint).", ("--joint/--separate",)),
    ] = None
    tokenizer: Annotated[
        Path | None, Option("Use this SentencePiece model, or that of data or a run.", metavar="MODEL")
    ] = None
    merge: Annotated[
        tuple[Path, ...], Option("Only join data prepared apart with one tokenizer. Repeatable.", metavar="DATA")
    ] = ()
    config: Annotated[
        tuple[Path, ...], Option("Settings file; later files win.", ("-c", "--config"), metavar="YAML")
    ] = ()
    overrides: Annotated[
        tuple[str, ...],
        Option("One setting, for example train.learning_rate=3e-4; wins over files.", ("--set",), metavar="KEY=VALUE"),
    ] = ()
    report: Annotated[Path | None, Option("Write the report as a web page there, too.", metavar="FILE.html")] = None
    processes: Annotated[int | None, Option("Processes to use. Changes speed only.", metavar="N", min=1)] = None
    dry_run: Annotated[bool, Option("Read, check, count and report; make nothing.")] = False

    @property
    def beside_merge(self) -> bool:
        """Whether more is given than --merge has a use for."""
        return any(
            getattr(self, one.name) not in (one.default, None, False)
            for one in fields(self)
            if one.name not in ("output", "merge")
        )


RULES: tuple[Rule[PrepareOptions], ...] = (
    Rule(
        lambda o: o.output is None and not o.dry_run,
        "-o DATA is needed: the directory to make",
        "or --dry-run for the report alone",
    ),
    Rule(
        lambda o: o.merge and o.beside_merge,
        "--merge joins data directories as they are: beside it there is only -o DATA",
    ),
    Rule(
        lambda o: o.report is not None and o.report.suffix.lower() != ".html",
        "--report {o.report}: not the name of a web page",
        "name the file .html",
    ),
)
