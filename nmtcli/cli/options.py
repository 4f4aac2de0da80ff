"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigFiles = Annotated[
    list[Path] | None, typer.Option("-c", "--config", metavar="YAML", help="Settings file; later files win.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, for example train.learning_rate=3e-4; wins over files."
    ),
]
Preset = Annotated[str | None, typer.Option("--preset", metavar="NAME", help="Named model to start from.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")]
