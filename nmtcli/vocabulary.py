"""The four special ids, the same in every tokenizer, shard and model that `nmt` writes."""

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL = 4  # ids below this one are never part of a sentence, except UNK
