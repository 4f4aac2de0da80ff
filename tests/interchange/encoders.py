"""Folders of small random encoders, saved by transformers with a tokenizer trained on a few lines."""

from pathlib import Path

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

FAMILIES = ("bert", "distilbert", "modernbert", "roberta", "xlm-roberta")
BERT_LIKE = ("bert", "distilbert", "modernbert")  # in the names of their special tokens
WIDTH, LAYERS, POSITIONS = 32, 3, 40

LINES = [
    "zero one two three four five six seven eight nine",
    "Don't stop: the café's prices (about 3,50 €) rose!",
    "Привет, мир! Как дела?",
    "我爱你。今天天气很好。",
    "שלום עולם, مرحبا بالعالم",
    "नमस्ते दुनिया unbelievable 😀 tokenization",
]


def make(family: str, folder: Path, **settings: object) -> Path:
    """A random encoder of a family in `folder`; `settings` are of its config.json."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = make_tokenizer(family)
    special = dict(zip(("pad", "cls", "sep", "unk", "mask"), special_names(family), strict=True))
    named = {f"{key}_token": name for key, name in special.items()}
    named |= {"bos_token": special["cls"], "eos_token": special["sep"]}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    if family == "distilbert":
        sizes = {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 48}
    ids = {key: tokenizer.token_to_id(special[name]) for key, name in (("pad", "pad"), ("bos", "cls"), ("eos", "sep"))}
    if family == "modernbert":
        sizes["local_attention"] = 8
        ids |= {"cls": ids["bos"], "sep": ids["eos"]}
    positions = POSITIONS + ids["pad"] + 1 if family in ("roberta", "xlm-roberta") else POSITIONS
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=tokenizer.get_vocab_size() + 3,
        max_position_embeddings=positions,
        initializer_range=0.2,
        **sizes,
        **{f"{key}_token_id": number for key, number in ids.items()},
        **settings,
    )
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def special_names(family: str) -> tuple[str, ...]:
    """The names of padding, the tokens before and after a sentence, the unknown token and the mask."""
    if family in BERT_LIKE:
        return "[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"
    return "<pad>", "<s>", "</s>", "<unk>", "<mask>"


def make_tokenizer(family: str) -> tokenizers.Tokenizer:
    """A tokenizer of the kind that a family has, trained on a few lines."""
    pad, before, after, unknown, mask = special_names(family)
    special = [before, pad, after, unknown, mask] if family == "xlm-roberta" else [pad, unknown, before, after, mask]
    known = LINES[:4]  # other lines have unknown characters
    if family in ("bert", "distilbert"):
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=family == "bert")
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = tokenizers.decoders.WordPiece()
        trainer: object = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    elif family == "xlm-roberta":
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = tokenizers.decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=150, special_tokens=special, unk_token=unknown, show_progress=False
        )
    else:
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(known, trainer)
    around = [(name, tokenizer.token_to_id(name)) for name in (before, after)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}", pair=f"{before} $A {after} $B {after}", special_tokens=around
    )
    return tokenizer
