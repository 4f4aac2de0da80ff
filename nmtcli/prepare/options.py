"""The options of `nmt prepare` and their rules."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from nmtcli.options import CommandOptions, Option, Rule


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(CommandOptions):
    """Text, output directory and settings of `prepare`.

    Source and target files pair up in order. Files of `train`, `valid` and `test` have both sides.
    """

    output: Annotated[
        Path | None, Option("Data directory to create; not with --dry-run.", ("-o", "--output"), metavar="DATA")
    ] = None
    train_source: Annotated[
        tuple[str, ...], Option("Training text, source side: a path or a URL.", metavar="FILE")
    ] = ()
    train_target: Annotated[
        tuple[str, ...], Option("Training text, target side, line-aligned with the source.", metavar="FILE")
    ] = ()
    train_alignment: Annotated[
        tuple[str, ...], Option("Word alignment of the training text (Pharaoh format).", metavar="FILE")
    ] = ()
    train: Annotated[
        tuple[str, ...], Option("Training text, both sides: TSV, JSONL, CSV, Parquet or TMX.", metavar="FILE")
    ] = ()
    valid_source: Annotated[tuple[str, ...], Option("Validation text, source side.", metavar="FILE")] = ()
    valid_target: Annotated[tuple[str, ...], Option("Validation text, target side.", metavar="FILE")] = ()
    valid: Annotated[tuple[str, ...], Option("Validation text, both sides.", metavar="FILE")] = ()
    test_source: Annotated[
        tuple[str, ...], Option("Test text, source side; training pairs with its lines are dropped.", metavar="FILE")
    ] = ()
    test_target: Annotated[tuple[str, ...], Option("Test text, target side.", metavar="FILE")] = ()
    hold_out: Annotated[int | None, Option("Hold out N training pairs for validation.", metavar="N", min=1)] = None
    hold_out_test: Annotated[
        int | None, Option("Hold out N training pairs as a test set: text files in DATA.", metavar="N", min=1)
    ] = None
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
        Path | None, Option("Use this SentencePiece model, or that of a data directory or run.", metavar="MODEL")
    ] = None
    merge: Annotated[
        tuple[Path, ...], Option("Merge data directories that share a tokenizer. Repeatable.", metavar="DATA")
    ] = ()
    config: Annotated[
        tuple[Path, ...],
        Option("Settings file; later files override earlier ones.", ("-c", "--config"), metavar="YAML"),
    ] = ()
    overrides: Annotated[
        tuple[str, ...],
        Option("Setting that overrides files: train.learning_rate=3e-4.", ("--set",), metavar="KEY=VALUE"),
    ] = ()
    report: Annotated[Path | None, Option("Also write the report to this web page.", metavar="FILE.html")] = None
    processes: Annotated[int | None, Option("Number of processes. Affects speed only.", metavar="N", min=1)] = None
    scheduler: Annotated[
        str | None,
        Option(
            "Prepare on the workers of this Dask scheduler: its address, or its --scheduler-file.",
            metavar="ADDRESS|FILE",
        ),
    ] = None
    dry_run: Annotated[bool, Option("Print the report only; write no data.")] = False

    @property
    def beside_merge(self) -> bool:
        """Whether an option is given that --merge does not use."""
        return any(
            (type(getattr(self, one.name)), getattr(self, one.name)) != (type(one.default), one.default)
            for one in fields(self)
            if one.name not in ("output", "merge")
        )


RULES: tuple[Rule[PrepareOptions], ...] = (
    Rule(
        lambda o: o.output is None and not o.dry_run,
        "-o DATA is missing: the data directory to create",
        "or give --dry-run for the report only",
    ),
    Rule(
        lambda o: o.merge and o.beside_merge,
        "--merge takes no other options than -o DATA",
    ),
    Rule(
        lambda o: o.report is not None and o.report.suffix.lower() != ".html",
        "--report {o.report}: the file name must end in .html",
    ),
    Rule(
        lambda o: o.scheduler is not None and (o.processes is not None or o.dry_run),
        "--scheduler {o.scheduler}: the workers of a cluster exclude --processes and --dry-run",
        "leave one of them out",
    ),
)
