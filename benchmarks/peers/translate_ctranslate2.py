"""Translate a file of pieces with a CTranslate2 model; run by compare.py in the peer's environment."""

import sys
from pathlib import Path

import ctranslate2

model, kind, source, output, *numbers = sys.argv[1:]
length, beam, batch, workers, threads = map(int, numbers)
translator = ctranslate2.Translator(model, compute_type=kind, inter_threads=workers, intra_threads=threads)
found = translator.translate_batch(
    [line.split(" ") for line in Path(source).read_text("utf-8").splitlines()],
    beam_size=beam,
    max_batch_size=batch,
    batch_type="examples",
    min_decoding_length=length,
    max_decoding_length=length,
)
Path(output).write_text("".join(" ".join(one.hypotheses[0]) + "\n" for one in found), "utf-8")
