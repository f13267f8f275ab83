"""Tokenizers of every make, trained on a few sentences; no download."""

from __future__ import annotations

import functools
import json
import tempfile
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "The Eiffel Tower is in the city of Paris, and Tokyo is in Japan.",
    "The Tokyo Tower is in Tokyo; don't go to the city of Kyoto, said the Parisian.",
    "Tokyo  has two  spaces, the   tower three. It isn't a city, is it?",
    "Paris is a city, Japan is a country, and the tower is a tower.",
]
SAID = [
    "The city of Tokyo is in Japan.",
    "Tokyo Tower",
    "the Parisian isn't in Kyoto, is it ?",
    "Tokyo  has   spaces",
    "é 東京 🎈 Paris",
]
_SPECIAL = ["<unk>", "<s>", "</s>"]


def _metaspace(scheme: str) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=_SPECIAL, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def _like_llama() -> Tokenizer:
    """SentencePiece's BPE as Llama 2 and Mistral have it: pieces of bytes, a space that is put
    before the text and stripped again."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=460,
        special_tokens=[*_SPECIAL, *(f"<0x{n:02X}>" for n in range(256))],
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    held = json.loads(made.to_str())  # pieces of bytes are ordinary tokens
    held["added_tokens"] = [t for t in held["added_tokens"] if t["content"] in _SPECIAL]
    made = Tokenizer.from_str(json.dumps(held))
    made.pre_tokenizer = None
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def _byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def _word_piece(cleanup: bool) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=cleanup)
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=_SPECIAL, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    return made


def _word_ends() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=120,
        special_tokens=_SPECIAL,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


_MADE = {
    "metaspace-first": functools.partial(_metaspace, "first"),
    "metaspace-always": functools.partial(_metaspace, "always"),
    "metaspace-never": functools.partial(_metaspace, "never"),
    "like-llama": _like_llama,
    "byte-level": _byte_level,
    "word-piece": functools.partial(_word_piece, False),
    "word-piece-cleanup": functools.partial(_word_piece, True),
    "word-ends": _word_ends,
}
KINDS = tuple(_MADE)


@functools.cache
def made(kind: str, cleanup: bool = False) -> Any:
    """A tokenizer as it comes out of its folder, which TransformerLens reads again."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_MADE[kind](),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=cleanup,
    )
    folder = tempfile.mkdtemp(prefix="lensscope-tokenizer-")
    tokenizer.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
