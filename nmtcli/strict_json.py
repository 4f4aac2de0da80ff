"""Standard JSON: numbers that are not finite become null."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


def dumps(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON text in valid Unicode; dataclasses become objects, lone surrogates `?`."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "replace").decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return _finite(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value
