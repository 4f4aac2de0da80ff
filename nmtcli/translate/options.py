"""The options of `nmt translate`, and which of them go together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nmtcli.options import Option, Rule
from nmtcli.paths import PIPE

_SEARCH, _DRAWING, _WORDING = "Search", "Sampling and minimum Bayes risk", "What translations must say"
_LINES, _LINKS, _RUNNING = "Long lines and unknown words", "Which words translate which", "How it runs"


@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """What `translate_file` translates, with which models, how, and where to. A path of `-` is stdin or stdout.

    Options named like a setting of search replace that setting of the model; None keeps it.
    """

    models: Annotated[
        tuple[Path, ...],
        Option("Run, checkpoint or export; several times for an ensemble.", ("-m", "--model"), metavar="MODEL"),
    ]
    source: Annotated[Path, Option("Text; - is stdin.", ("-i", "--input"), metavar="FILE")] = PIPE
    output: Annotated[Path, Option("Translations; - is stdout.", ("-o", "--output"), metavar="FILE")] = PIPE
    input_format: Annotated[
        Literal["auto", "text", "jsonl"], Option('jsonl: objects with "source"; auto: if the first line is one.')
    ] = "auto"
    form: Annotated[
        Literal["text", "tsv", "jsonl", "moses"],
        Option("tsv, jsonl and moses carry scores and n-best lists.", ("--format",)),
    ] = "text"
    weights: Annotated[str | None, Option("What each model of an ensemble counts; else alike.", metavar="2,1")] = None
    ensemble_mean: Annotated[
        Literal["probability", "log-probability"], Option("What of the models of an ensemble is averaged.")
    ] = "probability"
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Where to compute.")] = "auto"
    method: Annotated[
        Literal["beam", "sampling", "mbr"] | None,
        Option(
            "beam; sampling: drawn at random; mbr: the sample most like the others. Default: the model's, beam.",
            panel=_SEARCH,
        ),
    ] = None
    beam_size: Annotated[
        int | None, Option("1 is greedy. Default: the model's, 5.", ("-b", "--beam-size", "--beam"), panel=_SEARCH)
    ] = None
    n_best: Annotated[
        int, Option("Translations of a line; not for text.", ("--n-best", "--nbest"), min=1, max=10_000, panel=_SEARCH)
    ] = 1
    length_penalty: Annotated[
        float | None,
        Option(
            "Higher for longer translations. Default: the model's, 1.", ("--length-penalty", "--lenpen"), panel=_SEARCH
        ),
    ] = None
    length_normalization: Annotated[
        Literal["gnmt", "average"] | None,
        Option(
            "What scores are divided by: ((5 + length) / 6) or length, to that power. Default: the model's, gnmt.",
            panel=_SEARCH,
        ),
    ] = None
    coverage_penalty: Annotated[
        float | None,
        Option("Higher for fewer source words left out; needs attention. Default: the model's, 0.", panel=_SEARCH),
    ] = None
    min_length: Annotated[int | None, Option("Fewest target tokens.", panel=_SEARCH)] = None
    max_length: Annotated[int | None, Option("Most target tokens.", panel=_SEARCH)] = None
    max_length_factor: Annotated[
        float | None, Option("Most target tokens for each source token. Default: the model's, 2.", panel=_SEARCH)
    ] = None
    no_repeat_ngram: Annotated[
        int | None, Option("No N tokens in a row occur twice; 0 for none.", metavar="N", panel=_SEARCH)
    ] = None
    beam_groups: Annotated[int | None, Option("Parts of the beam that are kept unlike each other.", panel=_SEARCH)] = (
        None
    )
    batch_tokens: Annotated[
        int | None,
        Option(
            "Source tokens at a time. Default: the model's, 2000.", ("--batch-tokens", "--max-tokens"), panel=_SEARCH
        ),
    ] = None
    overrides: Annotated[
        tuple[str, ...],
        Option(
            "Any other setting of search, for example search.stopping=bound.",
            ("--set",),
            metavar="KEY=VALUE",
            panel=_SEARCH,
        ),
    ] = ()
    temperature: Annotated[float | None, Option("Below 1 for likelier translations. Default: 1.", panel=_DRAWING)] = (
        None
    )
    top_k: Annotated[int | None, Option("Draw among so many likeliest tokens.", panel=_DRAWING)] = None
    top_p: Annotated[float | None, Option("Draw among those with so much probability together.", panel=_DRAWING)] = None
    seed: Annotated[int | None, Option("The same seed draws the same. Default: 1.", panel=_DRAWING)] = None
    terminology: Annotated[
        Path | None,
        Option("Source term, tab, target term: where the one occurs the other must.", metavar="TSV", panel=_WORDING),
    ] = None
    ban: Annotated[
        Path | None, Option("Words or phrases, a line each, not to use.", metavar="FILE", panel=_WORDING)
    ] = None
    placeholders: Annotated[
        bool, Option("Keep tags, {name}, __NAME__ and %s as often as they come.", panel=_WORDING)
    ] = False
    long_lines: Annotated[
        Literal["split", "cut", "refuse"],
        Option("What is done with a longer line; split: at sentences or clauses, then joined.", panel=_LINES),
    ] = "split"
    max_source_tokens: Annotated[int, Option("Longest line taken whole.", min=1, panel=_LINES)] = 200
    replace_unknown: Annotated[
        bool, Option("Put the source word a translation drew on for a word unknown to it.", panel=_LINES)
    ] = False
    dictionary: Annotated[
        Path | None,
        Option("Its translation instead: source word, tab, target word.", metavar="TSV", panel=_LINES),
    ] = None
    alignment: Annotated[
        Path | None,
        Option("Linked words, 0-0 1-2, a line each; - is beside the text.", metavar="FILE", panel=_LINKS),
    ] = None
    attention: Annotated[
        Path | None,
        Option(
            "Draw where the model looked (.html, .png; - is the terminal), or the numbers (.json; .jsonl, all lines).",
            metavar="FILE",
            panel=_LINKS,
        ),
    ] = None
    attention_layer: Annotated[
        int | None,
        Option(
            "Decoder layer whose attention draws, links and replaces words, from 1. Default: the last but one.",
            metavar="N",
            min=1,
            panel=_LINKS,
        ),
    ] = None
    attention_head: Annotated[
        int | None, Option("Its head, from 1. Default: their mean.", metavar="N", min=1, panel=_LINKS)
    ] = None
    stream: Annotated[
        bool, Option("Translate a line as soon as it comes; always so where one types.", panel=_RUNNING)
    ] = False
    resume: Annotated[bool, Option("Go on with -o FILE after a crash, to the same bytes.", panel=_RUNNING)] = False
    overwrite: Annotated[bool, Option("Begin an interrupted -o FILE again from its first line.", panel=_RUNNING)] = (
        False
    )
    processes: Annotated[
        int | None,
        Option(
            "Workers of one thread each, instead of threads; on the CPU unless --device is cuda.",
            metavar="N",
            min=1,
            panel=_RUNNING,
        ),
    ] = None
    devices: Annotated[
        str | None,
        Option("A worker on each of these GPUs, counted from 0.", metavar="0,1", panel=_RUNNING),
    ] = None
    quantize: Annotated[
        Literal["int8", "bf16", "fp16"] | None,
        Option("Compute in fewer bits: int8 on a CPU, fp16 on a GPU, bf16 on both.", panel=_RUNNING),
    ] = None
    shortlist: Annotated[
        bool,
        Option("Keep to tokens likely for each sentence (nmt export --vocabulary-shortlist).", panel=_RUNNING),
    ] = False

    @property
    def attention_format(self) -> Literal["all lines", "drawing"] | None:
        """`all lines` for a .jsonl file, which has the attention of all lines, not only of the first."""
        if self.attention is None:
            return None
        return "all lines" if self.attention.suffix.lower() == ".jsonl" else "drawing"


RULES: tuple[Rule[TranslateOptions], ...] = (
    Rule(
        lambda o: o.n_best > 1 and o.form == "text",
        "--n-best {o.n_best} would break one line out for each line in",
        "use --format tsv or jsonl, or moses",
    ),
    Rule(
        lambda o: o.alignment == PIPE and o.form == "text",
        "--alignment - has no place beside plain text",
        "--alignment FILE, or --format tsv or jsonl",
    ),
    Rule(lambda o: o.stream and (o.processes or 1) > 1, "--stream is for one process", "leave --processes out"),
    Rule(lambda o: o.resume and o.output == PIPE, "--resume goes on with a file", "give it by -o FILE"),
    Rule(
        lambda o: o.overwrite and o.output == PIPE,
        "--overwrite begins a file again",
        "give it by -o FILE, or leave the option out",
    ),
    Rule(
        lambda o: o.resume and o.stream,
        "--resume and --stream exclude each other: what comes together is no matter of the text alone",
    ),
    Rule(
        lambda o: o.resume and o.attention_format == "drawing",
        "--attention {o.attention}: is drawn when all is done, and cannot go on",
        "a .jsonl file can, or leave it out",
    ),
    Rule(lambda o: o.resume and o.overwrite, "--resume and --overwrite exclude each other"),
    Rule(
        lambda o: o.weights is not None and len(o.models) == 1,
        "--weights {o.weights}: one model is no ensemble",
        "give -m MODEL several times",
    ),
    Rule(
        lambda o: o.ensemble_mean != "probability" and len(o.models) == 1,
        "--ensemble-mean {o.ensemble_mean}: one model is no ensemble",
        "give -m MODEL several times",
    ),
    Rule(
        lambda o: o.devices is not None and (o.processes is not None or o.device == "cpu"),
        "--devices is for GPUs; it excludes --processes and --device cpu",
    ),
)
