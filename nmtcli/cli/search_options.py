"""Options of `nmt translate` about the search, and about what translations must say.

Those named as a setting of search replace the model's; `search_settings` gathers them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_SEARCH, _DRAWING, _WORDING = "Search", "Sampling and minimum Bayes risk", "What translations must say"

Method = Annotated[
    Literal["beam", "sampling", "mbr"] | None,
    typer.Option(
        "--method",
        rich_help_panel=_SEARCH,
        help="beam; sampling: drawn at random; mbr: the sample most like the others. Default: the model's, beam.",
    ),
]
BeamSize = Annotated[
    int | None,
    typer.Option("-b", "--beam-size", "--beam", rich_help_panel=_SEARCH, help="1 is greedy. Default: the model's, 5."),
]
NBest = Annotated[
    int,
    typer.Option(
        "--n-best", "--nbest", min=1, max=10_000, rich_help_panel=_SEARCH, help="Translations of a line; not for text."
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        "--length-penalty",
        "--lenpen",
        rich_help_panel=_SEARCH,
        help="Higher for longer translations. Default: the model's, 1.",
    ),
]
LengthNormalization = Annotated[
    Literal["gnmt", "average"] | None,
    typer.Option(
        "--length-normalization",
        rich_help_panel=_SEARCH,
        help="What scores are divided by: ((5 + length) / 6) or length, to that power. Default: the model's, gnmt.",
    ),
]
CoveragePenalty = Annotated[
    float | None,
    typer.Option(
        "--coverage-penalty",
        rich_help_panel=_SEARCH,
        help="Higher for fewer source words left out; needs attention. Default: the model's, 0.",
    ),
]
MinLength = Annotated[int | None, typer.Option("--min-length", rich_help_panel=_SEARCH, help="Fewest target tokens.")]
MaxLength = Annotated[int | None, typer.Option("--max-length", rich_help_panel=_SEARCH, help="Most target tokens.")]
MaxLengthFactor = Annotated[
    float | None,
    typer.Option(
        "--max-length-factor",
        rich_help_panel=_SEARCH,
        help="Most target tokens for each source token. Default: the model's, 2.",
    ),
]
NoRepeatNgram = Annotated[
    int | None,
    typer.Option(
        "--no-repeat-ngram", metavar="N", rich_help_panel=_SEARCH, help="No N tokens in a row occur twice; 0 for none."
    ),
]
BeamGroups = Annotated[
    int | None,
    typer.Option("--beam-groups", rich_help_panel=_SEARCH, help="Parts of the beam that are kept unlike each other."),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        "--max-tokens",
        rich_help_panel=_SEARCH,
        help="Source tokens at a time. Default: the model's, 2000.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        rich_help_panel=_SEARCH,
        help="Any other setting of search, for example search.stopping=bound.",
    ),
]

Temperature = Annotated[
    float | None,
    typer.Option("--temperature", rich_help_panel=_DRAWING, help="Below 1 for likelier translations. Default: 1."),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", rich_help_panel=_DRAWING, help="Draw among so many likeliest tokens.")
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", rich_help_panel=_DRAWING, help="Draw among those with so much probability together."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", rich_help_panel=_DRAWING, help="The same seed draws the same. Default: 1.")
]

Terminology = Annotated[
    Path | None,
    typer.Option(
        "--terminology",
        metavar="TSV",
        rich_help_panel=_WORDING,
        help="Source term, tab, target term: where the one occurs the other must.",
    ),
]
Ban = Annotated[
    Path | None,
    typer.Option("--ban", metavar="FILE", rich_help_panel=_WORDING, help="Words or phrases, a line each, not to use."),
]
Placeholders = Annotated[
    bool,
    typer.Option(
        "--placeholders", rich_help_panel=_WORDING, help="Keep tags, {name}, __NAME__ and %s as often as they come."
    ),
]


def search_settings(options: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Settings of search in the options of a command, by name, and which of them are by `--set`; options win."""
    from nmtcli.config import SearchConfig
    from nmtcli.settings import search_overrides

    given = {name: options[name] for name in SearchConfig.model_fields if options.get(name) is not None}
    overridden = search_overrides(overrides)
    return overridden | given, [name for name in overridden if name not in given]
