"""The task of a worker: judge a block in the first pass, encode it in the second."""

from functools import cache
from pathlib import Path

from nmtcli.config import DataConfig
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.encoding import EncodedBlock, EncodingTask, ReadyBlock
from nmtcli.prepare.reading import RawBlock, ReadBlock, ReadingTask


class BlockWork:
    """The task of both passes for both splits; each part is built at its first block."""

    def __init__(self, config: DataConfig, held_out: HeldOut, tokenizers: Path, threads: int | None) -> None:
        """`tokenizers` is the directory that has them when the second pass begins."""
        self._reading = cache(lambda training: ReadingTask(config, held_out, training=training))
        self._encoding = cache(lambda training: EncodingTask(config, tokenizers, training=training, threads=threads))

    def __call__(self, item: RawBlock | ReadyBlock) -> ReadBlock | EncodedBlock:
        """Judge or encode a block."""
        if isinstance(item, RawBlock):
            return self._reading(item.training)(item.block)
        return self._encoding(item.training)(item)
