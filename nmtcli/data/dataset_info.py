"""The metadata files of a split for the library `datasets`: `state.json` and `dataset_info.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa


def describe(directory: Path, names: Sequence[str], schema: Any, rows: int, fingerprint: str) -> None:
    """Write the metadata of the files `names` in a directory, with `rows` rows in all."""
    _write_json(directory / "state.json", _state(names, fingerprint))
    _write_json(directory / "dataset_info.json", _dataset_info(schema, directory.name, rows))


def _state(names: Sequence[str], fingerprint: str) -> dict[str, Any]:
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _dataset_info(schema: Any, split: str, rows: int) -> dict[str, Any]:
    features = {field.name: _feature(field.type) for field in schema}
    return {
        "citation": "",
        "description": "",
        "features": features,
        "homepage": "",
        "license": "",
        "splits": {split: {"name": split, "num_examples": rows}},
    }


def _feature(kind: Any) -> dict[str, Any]:
    if pa.types.is_list(kind):
        # every release of datasets reads "Sequence"; newer ones write "List"
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": str(kind), "_type": "Value"}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
