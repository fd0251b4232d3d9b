"""The text encoder: one pass over a message gives its sentence vector, its anger and its valence.

The model is an int8 ONNX file with its tokenizer beside it in ``models/encoder``, described by the MODEL_CARD.md there.
It is loaded once a process, and the last readings are kept: all who want to know about a message share one pass.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from bot.nlu.script import simplify

__all__ = ["DIMENSIONS", "EncoderDamaged", "EncoderError", "EncoderFailed", "EncoderMissing", "Reading", "TextEncoder",
           "check_files", "load_encoder", "prepared"]

DIMENSIONS = 384
CHECKSUMS = "SHA256SUMS"
NEEDED = ("model.onnx", "tokenizer.json", "config.json")
REMEMBERED = 256
WORTH_SHARING = 64  # texts at once from which they are shared between the cores: training, not serving

_KEPT_CHARACTERS = 600  # at each end of a long text: fills the model's window in any script that is read
_SEARCHED_CHARACTERS = 4_000  # at each end of a long text: where those are looked for, past any blank space

Vector = npt.NDArray[np.float32]


class EncoderError(ValueError):
    """The text encoder cannot be used."""


class EncoderMissing(EncoderError):
    """A file of the text encoder is missing."""


class EncoderDamaged(EncoderError):
    """A file of the text encoder is not the one that was released."""


class EncoderFailed(EncoderError):
    """The text encoder was loaded, but did not read a text."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the encoder made of one text.

    Attributes:
        vector: Of unit length, shape (384,), read-only; the larger the dot product of two, the more alike the texts.
            All zeros where there was nothing to read.
        anger: How sure the model is that the writer is angry at the shop, in [0, 1].
        valence: "negative", "neutral" or "positive".
    """

    vector: Vector
    anger: float
    valence: str


class TextEncoder:
    """Reads texts. Safe to use from several threads.

    Attributes:
        name: The start of the SHA-256 of the model, to tell vectors of two encoders apart.
    """

    def __init__(self, name: str, session: onnxruntime.InferenceSession, tokenizer: Tokenizer,
                 config: dict[str, Any]) -> None:
        """Use ``load``."""
        self.name = name
        self._session = session
        self._tokenizer = tokenizer
        self._begin, self._end = (int(tokenizer.token_to_id(piece)) for piece in ("<s>", "</s>"))
        self._longest = int(config["max_tokens"])
        self._scale, self._shift = float(config["anger"]["scale"]), float(config["anger"]["shift"])
        self._valences: list[str] = config["valence"]
        self._remembered: OrderedDict[str, Reading] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> TextEncoder:
        """Loads the encoder after checking that its files are the released ones.

        Args:
            folder: Where the files are.
            threads: How many threads one pass may use.

        Raises:
            EncoderMissing: A file is not there.
            EncoderDamaged: A file's SHA-256 is not the one in ``SHA256SUMS``, or the model does not load.
        """
        digests = check_files(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # one long message must not keep its memory for good
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options,
                                                   providers=["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            config = json.loads((folder / "config.json").read_text(encoding="utf8"))
            _return_freed_memory()
            return cls(digests["model.onnx"][:16], session, tokenizer, config)
        except Exception as error:  # both libraries raise classes of their own that share no root
            raise EncoderDamaged(f"the text encoder in {folder} does not load: {error}") from error

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Reads texts, in their order; what was read lately costs nothing.

        Any string will do: empty, of any length, with characters that are no text. Of a long one the start and the end
        are read. Traditional Chinese is read as Simplified. What a text gives does not depend on the texts beside it.

        Raises:
            EncoderFailed: The model did not run, or what it gave are no numbers.
        """
        if len(texts) < WORTH_SHARING:
            return [self._recall(prepared(text)) for text in texts]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda text: self._recall(prepared(text)), texts))

    def encode(self, texts: Sequence[str]) -> Vector:
        """The vectors alone, shape (texts, 384). Raises as ``read`` does."""
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return np.stack([reading.vector for reading in self.read(texts)])

    def _recall(self, text: str) -> Reading:
        with self._lock:
            if text in self._remembered:
                self._remembered.move_to_end(text)
                return self._remembered[text]
        reading = self._run(text)
        with self._lock:
            self._remembered[text] = reading
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return reading

    def _run(self, text: str) -> Reading:
        """One text a pass: an int8 pass takes its scales over the whole batch, so a neighbour would change it."""
        if not text:
            return Reading(_fixed(np.zeros(DIMENSIONS, np.float32)), 0.0, "neutral")
        try:
            ids = self._window(self._tokenizer.encode(text, add_special_tokens=False).ids)
            tokens = np.array([ids], dtype=np.int64)
            vector, anger, valence = self._session.run(["vector", "anger", "valence"],
                                                       {"input_ids": tokens, "attention_mask": np.ones_like(tokens)})
        except Exception as error:  # both libraries raise classes of their own that share no root
            raise EncoderFailed(f"the text encoder did not run: {type(error).__name__}") from error
        if not (np.isfinite(vector).all() and np.isfinite(anger).all() and np.isfinite(valence).all()):
            raise EncoderFailed("the text encoder gave values that are no numbers")
        return Reading(_fixed(vector[0]), _sigmoid(self._scale * float(anger[0]) + self._shift),
                       self._valences[int(valence[0].argmax())])

    def _window(self, ids: list[int]) -> list[int]:
        room = self._longest - 2
        if len(ids) > room:
            ids = ids[:room // 2] + ids[-(room - room // 2):]
        return [self._begin, *ids, self._end]


def load_encoder(folder: Path) -> TextEncoder:
    """The encoder of ``folder``, loaded once a process. Raises as ``TextEncoder.load`` does."""
    return _loaded(folder.resolve())


@functools.lru_cache(maxsize=2)
def _loaded(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder)


def check_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the encoder, compared with the released ones.

    Raises:
        EncoderMissing: A file is not there.
        EncoderDamaged: A file is another one.
    """
    for name in (CHECKSUMS, *NEEDED):
        if not (folder / name).is_file():
            raise EncoderMissing(f"the text encoder's file {folder / name} is missing; restore it from the release")
    lines = (folder / CHECKSUMS).read_text(encoding="utf8", errors="replace").splitlines()
    released = {parts[1]: parts[0] for parts in map(str.split, lines) if len(parts) == 2}
    for name in NEEDED:
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != released.get(name):
            raise EncoderDamaged(f"the text encoder's file {folder / name} is damaged; restore it from the release")
    return released


def _return_freed_memory() -> None:
    """Loading takes 20 MB for a moment, which glibc would keep; other C libraries give such memory back themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def prepared(text: str) -> str:
    """A text as the model is given it: valid, Simplified, its blanks single, a long one without its middle."""
    if len(text) > 2 * _SEARCHED_CHARACTERS:
        text = f"{text[:_SEARCHED_CHARACTERS]} {text[-_SEARCHED_CHARACTERS:]}"
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", " ")
    plain = " ".join(valid.split())
    if len(plain) > 2 * _KEPT_CHARACTERS:
        plain = f"{plain[:_KEPT_CHARACTERS]} {plain[-_KEPT_CHARACTERS:]}"
    return simplify(plain)


def _fixed(vector: Vector) -> Vector:
    vector = vector.astype(np.float32)
    vector.setflags(write=False)
    return vector


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, logit))))
