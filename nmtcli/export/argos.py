"""Packages of Argos Translate, which LibreTranslate serves too: one zip file of a CTranslate2 model and a tokenizer.

The package has one tokenizer, which segments the source and joins the target pieces. Joining needs no vocabulary except
for bytes of rare characters, so a source tokenizer with bytes can join any target pieces.
"""

import json
import zipfile
from pathlib import Path

from nmtcli.checkpoint import CARD, ModelInfo
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.translate.runtimes.ctranslate2 import FOLDER

PACKAGE_VERSION = "1.0"
ARGOS_VERSION = "1.9"  # the first with this form of tokenizer and of CTranslate2 models


def write_argos(model: Path, info: ModelInfo, tokenizers: Tokenizers, file: Path) -> None:
    """Write the package of a CTranslate2 export, the directory `model` with its card."""
    root = f"translate-{info.source_language}_{info.target_language}-{PACKAGE_VERSION.replace('.', '_')}"
    metadata = {
        "type": "translate",
        "package_version": PACKAGE_VERSION,
        "argos_version": ARGOS_VERSION,
        "from_code": info.source_language,
        "from_name": _language_name(info.source_language),
        "to_code": info.target_language,
        "to_name": _language_name(info.target_language),
    }
    tokenizer = model / "sentencepiece.model"
    tokenizers.source.save(tokenizer)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(f"{root}/metadata.json", json.dumps(metadata, indent=2) + "\n")
        package.write(tokenizer, f"{root}/{tokenizer.name}")
        package.write(model / CARD, f"{root}/{CARD}")
        for part in sorted((model / FOLDER).iterdir()):
            package.write(part, f"{root}/model/{part.name}")


def _language_name(code: str) -> str:
    """The English name of a language; its code where that is unknown or Babel is not installed."""
    try:
        from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - an extra
    except ImportError:
        return code
    try:
        return Locale.parse(code, sep="-" if "-" in code else "_").english_name or code
    except (UnknownLocaleError, ValueError):
        return code
