"""The options of `nmt translate`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nmtcli.config.search import SAMPLING_SETTINGS, SearchConfig
from nmtcli.options import CommandOptions, Option, Rule
from nmtcli.paths import PIPE, file_format

_DECODING, _SAMPLING, _CONSTRAINTS = "Decoding", "Sampling and minimum Bayes risk", "Lexical constraints"
_TEXT = "Paragraphs, protected text and tags"
_LINES, _ALIGNMENT, _RUNNING = "Long lines and unknown words", "Word alignment and attention", "Running"

# Decoding settings without an option of their own; --set reaches every setting.
_SET_ONLY = {"min_length_factor", "max_length_offset", "stopping", "beam_diversity", "mbr_samples", "mbr_metric"}
_NAMES = {
    "beam_size": ("-b", "--beam-size", "--beam"),
    "length_penalty": ("--length-penalty", "--lenpen"),
    "batch_tokens": ("--batch-tokens", "--max-tokens"),
}


def _setting_fields() -> Iterator[tuple[str, Any, Any]]:
    """A field for each decoding setting: of the setting's type, or None to keep the model's; with its description."""
    for name, setting in SearchConfig.model_fields.items():
        if name in _SET_ONLY:
            continue
        usual = "none" if setting.default is None else str(setting.default).removesuffix(".0")
        text = re.sub("[a-z]+(_[a-z]+)+", lambda key: f"--{key[0].replace('_', '-')}", str(setting.description))
        panel = _SAMPLING if name in SAMPLING_SETTINGS else _DECODING
        option = Option(f"{text} Default: the model's, {usual}.", _NAMES.get(name, ()), panel=panel)
        yield name, Annotated[setting.annotation | None, option], field(default=None)  # type: ignore[operator]


if TYPE_CHECKING:
    _SettingOptions = CommandOptions
else:
    _SettingOptions = make_dataclass(
        "_SettingOptions", _setting_fields(), bases=(CommandOptions,), frozen=True, kw_only=True
    )


@dataclass(frozen=True, kw_only=True)
class TranslateOptions(_SettingOptions):
    """The options of `translate_file`. The path `-` is stdin or stdout.

    An option with the name of a decoding setting replaces that setting of the model; None keeps it.
    """

    models: Annotated[
        tuple[Path, ...],
        Option("Run, checkpoint or export; repeat it for an ensemble.", ("-m", "--model"), metavar="MODEL"),
    ]
    source: Annotated[
        Path, Option("Text, document or folder (default - is stdin).", ("-i", "--input"), metavar="FILE")
    ] = PIPE
    output: Annotated[
        Path,
        Option(
            "File or folder of translations (default - is stdout); .gz, .bz2, .xz and .zst are compressed.",
            ("-o", "--output"),
            metavar="FILE",
        ),
    ] = PIPE
    input_format: Annotated[
        Literal["auto", "text", "jsonl"],
        Option('jsonl: objects with "source"; auto: jsonl if the first line is such an object.'),
    ] = "auto"
    form: Annotated[
        Literal["text", "tsv", "jsonl", "moses", "tmx"],
        Option(
            "Output format; tsv, jsonl and moses have scores and n-best lists; tmx is a translation memory.",
            ("--format",),
        ),
    ] = "text"
    token_scores: Annotated[
        bool, Option("Add the tokens of each candidate and their log-probabilities (only --format jsonl).")
    ] = False
    weights: Annotated[str | None, Option("Ensemble weights (default: equal).", metavar="2,1")] = None
    ensemble_mean: Annotated[
        Literal["probability", "log-probability"], Option("Ensemble average: of probabilities or of log-probabilities.")
    ] = "probability"
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Device; auto: a GPU if there is one.")] = "auto"
    n_best: Annotated[
        int,
        Option(
            "Candidates per line (not for --format text).", ("--n-best", "--nbest"), min=1, max=10_000, panel=_DECODING
        ),
    ] = 1
    overrides: Annotated[
        tuple[str, ...],
        Option(
            "Any other decoding setting, for example search.stopping=bound. Repeatable.",
            ("--set",),
            metavar="KEY=VALUE",
            panel=_DECODING,
        ),
    ] = ()
    terminology: Annotated[
        Path | None,
        Option("Terminology: source term, tab, target term that must be used.", metavar="TSV", panel=_CONSTRAINTS),
    ] = None
    ban: Annotated[
        Path | None, Option("Banned words or phrases, one per line.", metavar="FILE", panel=_CONSTRAINTS)
    ] = None
    split_sentences: Annotated[
        bool, Option("Translate each sentence of a line by itself; lines are paragraphs.", panel=_TEXT)
    ] = False
    source_language: Annotated[
        str | None, Option("Language for splitting sentences. Default: the model's.", metavar="CODE", panel=_TEXT)
    ] = None
    target_language: Annotated[
        str | None,
        Option(
            "Language of the translation; for a multilingual model, adds its tag <2CODE>.", metavar="CODE", panel=_TEXT
        ),
    ] = None
    protect: Annotated[
        Literal["auto", "mask", "copy", "none"],
        Option(
            "Keep URLs, numbers, {name}, %s, tags unchanged: mask (placeholder symbols that the model knows) or copy"
            " (lexical constraints); auto: mask what the model knows.",
            panel=_TEXT,
        ),
    ] = "auto"
    protect_kinds: Annotated[
        str | None,
        Option("Protect these only: tag,url,email,icu,variable,symbol,number.", metavar="KIND,…", panel=_TEXT),
    ] = None
    protect_patterns: Annotated[
        Path | None,
        Option("Also protect matches of these regular expressions, one a line.", metavar="FILE", panel=_TEXT),
    ] = None
    localize_numbers: Annotated[
        bool, Option("Write protected numbers as the target language does: 12,500.5 as 12.500,5.", panel=_TEXT)
    ] = False
    tags: Annotated[
        Literal["keep", "transfer"],
        Option("transfer: translate without tags and put them back by word alignment.", panel=_TEXT),
    ] = "keep"
    on_violation: Annotated[
        Literal["keep", "source", "fail"],
        Option(
            "If a translation lost protected text or tags: keep it, write the source, or leave the line empty (fail).",
            panel=_TEXT,
        ),
    ] = "keep"
    long_lines: Annotated[
        Literal["split", "cut", "refuse"],
        Option("Lines over --max-source-tokens: split at sentences or clauses, cut, or refuse.", panel=_LINES),
    ] = "split"
    max_source_tokens: Annotated[int, Option("Maximum length of a line, in tokens.", min=1, panel=_LINES)] = 200
    replace_unknown: Annotated[bool, Option("Replace UNK with the most-attended source word.", panel=_LINES)] = False
    dictionary: Annotated[
        Path | None,
        Option("Replace UNK by dictionary: source word, tab, target word.", metavar="TSV", panel=_LINES),
    ] = None
    alignment: Annotated[
        Path | None,
        Option(
            "Write the word alignment (Pharaoh format, 0-0 1-2); - adds it to the output.",
            metavar="FILE",
            panel=_ALIGNMENT,
        ),
    ] = None
    attention: Annotated[
        Path | None,
        Option(
            "Write attention heat maps (.html, .png; - is the terminal) or weights (.json; .jsonl: all lines).",
            metavar="FILE",
            panel=_ALIGNMENT,
        ),
    ] = None
    attention_layer: Annotated[
        int | None,
        Option(
            "Decoder layer of heat maps, alignment and UNK replacement, from 1. Default: the last but one.",
            metavar="N",
            min=1,
            panel=_ALIGNMENT,
        ),
    ] = None
    attention_head: Annotated[
        int | None, Option("Attention head, from 1. Default: mean of the heads.", metavar="N", min=1, panel=_ALIGNMENT)
    ] = None
    stream: Annotated[bool, Option("Translate each line as it arrives (always on at a terminal).", panel=_RUNNING)] = (
        False
    )
    resume: Annotated[bool, Option("Resume an interrupted -o FILE; the result is byte-identical.", panel=_RUNNING)] = (
        False
    )
    overwrite: Annotated[bool, Option("Restart an interrupted -o FILE from its first line.", panel=_RUNNING)] = False
    processes: Annotated[
        int | None,
        Option(
            "Number of worker processes with one thread each; on the CPU unless --device is cuda.",
            metavar="N",
            min=1,
            panel=_RUNNING,
        ),
    ] = None
    devices: Annotated[
        str | None,
        Option("Start one worker on each of these GPUs, from 0.", metavar="0,1", panel=_RUNNING),
    ] = None
    scheduler: Annotated[
        str | None,
        Option(
            "Translate on the workers of this Dask scheduler: its address, or its --scheduler-file.",
            metavar="ADDRESS|FILE",
            panel=_RUNNING,
        ),
    ] = None
    quantize: Annotated[
        Literal["int8", "bf16", "fp16"] | None,
        Option("Quantization: int8 on a CPU, fp16 on a GPU, bf16 on either.", panel=_RUNNING),
    ] = None
    shortlist: Annotated[
        bool,
        Option("Use the vocabulary shortlist of the model (nmt export --vocabulary-shortlist).", panel=_RUNNING),
    ] = False

    @property
    def several_workers(self) -> bool:
        """Whether other processes or machines translate."""
        return (self.processes or 1) > 1 or "," in (self.devices or "") or self.scheduler is not None

    @property
    def attention_format(self) -> Literal["all lines", "heat maps"] | None:
        """`all lines` for a .jsonl file, compressed or not; other formats have the attention of the first lines."""
        if self.attention is None:
            return None
        return "all lines" if file_format(self.attention) == ".jsonl" else "heat maps"


RULES: tuple[Rule[TranslateOptions], ...] = (
    Rule(
        lambda o: o.n_best > 1 and o.form in {"text", "tmx"},
        "--n-best {o.n_best} is not possible with --format {o.form}: it has one translation for each input line",
        "use --format tsv, jsonl or moses",
    ),
    Rule(
        lambda o: o.token_scores and o.form != "jsonl",
        "--token-scores is not possible with --format {o.form}: it has no field for them",
        "use --format jsonl",
    ),
    Rule(
        lambda o: o.alignment == PIPE and o.form in {"text", "tmx"},
        "--alignment - is not possible with --format {o.form}",
        "use --alignment FILE, or --format tsv or jsonl",
    ),
    Rule(
        lambda o: o.stream and o.several_workers and o.scheduler is None,
        "--stream cannot be combined with several --processes or --devices",
        "leave --stream out, or use one worker",
    ),
    Rule(lambda o: o.resume and o.output == PIPE, "--resume needs an output file", "give -o FILE"),
    Rule(
        lambda o: o.overwrite and o.output == PIPE,
        "--overwrite needs an output file",
        "give -o FILE, or leave --overwrite out",
    ),
    Rule(
        lambda o: o.resume and o.stream,
        "--resume and --stream are mutually exclusive: the batches of --stream depend on when lines arrive",
        "leave --stream out",
    ),
    Rule(
        lambda o: o.resume and o.attention_format == "heat maps",
        "--attention {o.attention}: is written at the end and cannot be resumed",
        "use a .jsonl file, or leave --attention out",
    ),
    Rule(
        lambda o: o.protect == "none" and (o.protect_kinds or o.protect_patterns or o.localize_numbers),
        "--protect none excludes --protect-kinds, --protect-patterns and --localize-numbers",
        "use --protect mask or copy",
    ),
    Rule(lambda o: o.resume and o.overwrite, "--resume and --overwrite are mutually exclusive", "give one of them"),
    Rule(
        lambda o: o.weights is not None and len(o.models) == 1,
        "--weights {o.weights}: needs several models",
        "give -m MODEL several times",
    ),
    Rule(
        lambda o: o.ensemble_mean != "probability" and len(o.models) == 1,
        "--ensemble-mean {o.ensemble_mean}: needs several models",
        "give -m MODEL several times",
    ),
    Rule(
        lambda o: o.devices is not None and (o.processes is not None or o.device == "cpu"),
        "--devices selects GPUs; it excludes --processes and --device cpu",
        "leave one of them out",
    ),
    Rule(
        lambda o: o.scheduler is not None and (o.processes is not None or o.devices is not None or o.stream),
        "--scheduler {o.scheduler}: the workers of a cluster exclude --processes, --devices and --stream",
        "leave one of them out",
    ),
)
