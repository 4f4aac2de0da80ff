"""The library function `prepare`: make a data directory from text and settings, or merge data directories."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtcli.checkpoint import INFO, RunDirectory, model_files, read_info
from nmtcli.config import CorpusConfig, DataConfig
from nmtcli.data.directory import MANIFEST_FILE, Manifest
from nmtcli.errors import UserError
from nmtcli.interchange.models import is_foreign_model, local_model
from nmtcli.options import Tell, check_rules, silent
from nmtcli.paths import PIPE, require_apart
from nmtcli.prepare.cluster import prepare_on_cluster
from nmtcli.prepare.hold_out import names
from nmtcli.prepare.merging import merge
from nmtcli.prepare.options import RULES, PrepareOptions
from nmtcli.prepare.pipeline import Job, prepare_data, survey
from nmtcli.prepare.report.page import page
from nmtcli.prepare.report.report import Report
from nmtcli.prepare.rows import OnProgress
from nmtcli.settings import load_config
from nmtcli.staging import check_output, write_output


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`."""

    report: Report | None  # None for merged data
    merged: Manifest | None = None
    already_prepared: bool = False
    test_texts: tuple[Path, ...] = ()  # of a test set that was held out


def prepare(options: PrepareOptions, tell: Tell = silent, on_progress: OnProgress = lambda *_: None) -> Prepared:
    """Make a data directory, unless it exists with the same fingerprint; without `output` only the report.

    Raises DataError for errors in the text, and UserError for errors in the options.
    """
    check_rules(options, RULES)
    if options.merge:
        assert options.output is not None  # by the rules
        return Prepared(None, merge(options.output, options.merge))
    data, tokenizer, output = _settings(options), options.tokenizer, None if options.dry_run else options.output
    corpora = (*data.train, *data.valid, *data.test)
    texts = [text for one in corpora for text in (one.source, one.target, one.path, one.alignment) if text is not None]
    inputs = [*map(Path, texts), *options.config]
    inputs += (model_files(tokenizer) or [tokenizer]) if tokenizer else []
    require_apart(inputs, [PIPE, *([options.report] if options.report is not None else [])])
    if options.report is not None:
        check_output(options.report)
    if tokenizer is not None and (RunDirectory(tokenizer).checkpoints.is_dir() or is_foreign_model(tokenizer)):
        tokenizer = local_model(tokenizer)  # a run keeps its tokenizers with its checkpoints
    if tokenizer is not None:
        data = _with_languages(data, tokenizer)
    job = Job(data, tokenizer, options.processes)
    if output is None:
        report, existing = survey(job, on_progress), False
    elif options.scheduler is not None:
        report, existing = prepare_on_cluster(output, job, options.scheduler, tell, on_progress)
    else:
        report, existing = prepare_data(output, job, on_progress)
    if options.report is not None:
        write_output(options.report, page(report).encode("utf-8", "replace"))
        tell(f"{options.report}: the report")
    held_out = tuple(output / name for name in names("test", data)) if output and data.hold_out_test else ()
    return Prepared(report, None, existing, held_out)


def _with_languages(data: DataConfig, tokenizer: Path) -> DataConfig:
    """The settings with missing languages taken from the data or model of the tokenizer."""
    if (tokenizer / MANIFEST_FILE).is_file():
        known: Any = Manifest.load(tokenizer).data
    elif (tokenizer / INFO).is_file():
        known = read_info(tokenizer)
    else:
        return data
    sides = ("source_language", "target_language")
    missing = [side for side in sides if getattr(data, side) == type(data).model_fields[side].default]
    return data.model_copy(update={side: getattr(known, side) for side in missing})


def _settings(options: PrepareOptions) -> DataConfig:
    """The data settings; options override them, and corpora given as options replace those in settings files."""
    flags = {
        "data.source_language": options.source_language,
        "data.target_language": options.target_language,
        "data.tokenizer.vocab_size": options.vocab_size,
        "data.tokenizer.joint": options.joint,
        "data.hold_out": options.hold_out,
        "data.hold_out_test": options.hold_out_test,
    }
    given = {
        "train": _corpora("train", options.train_source, options.train_target, options.train, options.train_alignment),
        "valid": _corpora("valid", options.valid_source, options.valid_target, options.valid),
        "test": _corpora("test", options.test_source, options.test_target),
    }
    named = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    data = load_config(files=options.config, overrides=[*options.overrides, *named]).data
    corpora = {split: tuple(map(CorpusConfig.model_validate, items)) for split, items in given.items() if items}
    return data.model_copy(update=corpora)


def _corpora(
    split: str, sources: Sequence[str], targets: Sequence[str], both: Sequence[str] = (), alignments: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Files of each side in order, with their alignments if any, then files of both.

    Raises UserError if they do not pair up.
    """
    if len(sources) != len(targets):
        raise UserError(
            f"{len(sources)} --{split}-source and {len(targets)} --{split}-target files:"
            " they pair up in order, so their numbers must be equal"
        )
    if alignments and len(alignments) != len(sources):
        raise UserError(
            f"{len(alignments)} --{split}-alignment and {len(sources)} --{split}-source files:"
            " they pair up in order, so their numbers must be equal",
            "if only some corpora have an alignment, list them in a YAML file under data.train",
        )
    pairs = [{"source": source, "target": target} for source, target in zip(sources, targets, strict=True)]
    if alignments:
        pairs = [pair | {"alignment": name} for pair, name in zip(pairs, alignments, strict=True)]
    return [*pairs, *({"path": path} for path in both)]
