"""Merge data directories that were prepared separately, for example on several machines."""

from collections.abc import Sequence
from pathlib import Path

from nmtcli.data.digests import sha256
from nmtcli.data.directory import TRAIN, VALID, Manifest, PreparedData, SplitSize, open_data
from nmtcli.data.shards import join
from nmtcli.errors import UserError, each
from nmtcli.prepare.fingerprint import find_existing, require_same
from nmtcli.staging import staged


def merge(output: Path, parts: Sequence[Path]) -> Manifest:
    """Make the data directory `output` from the training pairs of all parts, in order, and their validation pairs.

    All parts need the same tokenizer, settings and validation text. Files are hard-linked, without a copy. A second
    call returns the existing directory. Raises UserError and DataError for parts that do not match.
    """
    existing = find_existing(output)
    opened = each(open_data, parts)
    first = opened[0]
    _require_fitting(parts, opened)
    fingerprints = " ".join(data.manifest.fingerprint for data in opened)
    identity = sha256(f"merged {fingerprints}")
    if existing:
        require_same(output, existing, identity, first.manifest.data)
        return existing
    sizes = [data.manifest.train for data in opened]
    manifest = first.manifest.model_copy(
        update={
            "fingerprint": identity,
            "several_sentences": _mean_share([data.manifest for data in opened]),
            "corpora": tuple(corpus for data in opened for corpus in data.manifest.corpora),
            "hubs": tuple(dict.fromkeys(hub for data in opened for hub in data.manifest.hubs)),
            "parts": tuple(part for data in opened for part in _parts(data.manifest)),
            "train": SplitSize(
                pairs=sum(size.pairs for size in sizes),
                source_tokens=sum(size.source_tokens for size in sizes),
                target_tokens=sum(size.target_tokens for size in sizes),
            ),
        }
    )
    with staged(output) as directory:
        first.tokenizers.save(directory)
        join(directory / TRAIN, [part / TRAIN for part in parts], identity)
        join(directory / VALID, [parts[0] / VALID], identity)
        manifest.save(directory)
    return manifest


def _parts(manifest: Manifest) -> tuple[str, ...]:
    """The fingerprints of the directories a manifest's training text is from: its own, unless it was merged."""
    return manifest.parts or (manifest.fingerprint,)


def _mean_share(parts: Sequence[Manifest]) -> float | None:
    """The share of sources with several sentences of all parts; None if it is not known for one of them."""
    shares = [(part.several_sentences, part.train.pairs) for part in parts]
    known = [share * pairs for share, pairs in shares if share is not None]
    return sum(known) / sum(pairs for _, pairs in shares) if len(known) == len(shares) else None


def _require_fitting(parts: Sequence[Path], opened: Sequence[PreparedData]) -> None:
    """Raise UserError for a part that does not fit the first one, or is given twice, perhaps within merged data."""
    first, one, texts = parts[0], opened[0], opened[0].valid.texts()
    seen: dict[str, Path] = {}
    for path, other in zip(parts, opened, strict=True):
        for fingerprint in _parts(other.manifest):
            if fingerprint in seen:
                raise UserError(f"{path}: its training text is also in {seen[fingerprint]}", "give each part once")
            seen[fingerprint] = path
        if other.manifest.data.hold_out_test is not None:
            raise UserError(
                f"{path}: prepared with --hold-out-test, and its test text may be in the training text of other parts",
                "hold out the test text before cutting the corpus into parts, and give it to each part with"
                " --test-source and --test-target",
            )
        if one.tokenizers != other.tokenizers:
            raise UserError(
                f"{path}: its tokenizer differs from that of {first}", "prepare all parts with the same --tokenizer"
            )
        if path is not first and texts != other.valid.texts():
            raise UserError(
                f"{path}: its validation text differs from that of {first}",
                "prepare all parts with the same validation text, so that no part trains on it",
            )
        if one.manifest.data != other.manifest.data:
            raise UserError(
                f"{path}: prepared with other settings than {first}", "prepare all parts with the same settings"
            )
