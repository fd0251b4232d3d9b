"""The text encoder: one forward pass gives a sentence vector, the anger and the valence of a message.

The model is an int8 ONNX file with a tokenizer beside it (`models/encoder/`, described in its MODEL_CARD.md). It is loaded
once a process; the last readings are kept, so that everything that wants to know about one message shares one pass.
"""
from __future__ import annotations

import functools
import hashlib
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from transformers import PreTrainedTokenizerFast

from bot.nlu.script import simplify

DIMENSIONS = 384
CHECKSUMS = "SHA256SUMS"
NEEDED = ("model.onnx", "tokenizer.json", "config.json")
KEPT_CHARACTERS = 600  # at each end of a long text: more than fills the model's window in any script
BATCH = 32
REMEMBERED = 256

Vector = npt.NDArray[np.float32]


class EncoderError(Exception):
    """The text encoder cannot be used."""


class EncoderMissing(EncoderError):
    """A file of the text encoder is missing."""


class EncoderDamaged(EncoderError):
    """A file of the text encoder is not the one that was released."""


@dataclass(frozen=True)
class Reading:
    """What the encoder made of one text.

    Attributes:
        vector: of unit length, shape (384,); the nearer two are (dot product), the more alike the texts.
        anger: calibrated probability in [0, 1] that the writer is angry.
        valence: "negative", "neutral" or "positive".
    """

    vector: Vector
    anger: float
    valence: str


class TextEncoder:
    """Reads texts. Safe to use from several threads."""

    def __init__(self, name: str, session: onnxruntime.InferenceSession, tokenizer: PreTrainedTokenizerFast,
                 config: dict[str, Any]) -> None:
        """Use :meth:`load`."""
        self.name = name
        self._session = session
        self._tokenizer = tokenizer
        self._longest = int(config["max_tokens"])
        self._scale, self._shift = float(config["anger"]["scale"]), float(config["anger"]["shift"])
        self._valences: list[str] = config["valence"]
        self._remembered: OrderedDict[str, Reading] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> TextEncoder:
        """Load the encoder after checking that its files are the released ones.

        Raises:
            EncoderMissing: a file is not there.
            EncoderDamaged: a file's SHA-256 is not the one in ``SHA256SUMS``, or the model does not load.
        """
        digests = check_files(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # one long message must not keep its memory for good
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>", cls_token="<s>",
                sep_token="</s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")
            config = json.loads((folder / "config.json").read_text(encoding="utf8"))
            return cls(digests["model.onnx"][:16], session, tokenizer, config)
        except (KeyError, ValueError, RuntimeError) as error:
            raise EncoderDamaged(f"the text encoder in {folder} does not load: {error}") from error

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Read texts, batched by length; what was read lately costs nothing.

        Any string will do: empty, of any length, with characters that are no text. Of a long one the start and the end
        are read. Traditional Chinese is read as Simplified.
        """
        prepared = [prepared(text) for text in texts]
        with self._lock:
            known = {text: self._remembered[text] for text in prepared if text in self._remembered}
        new = sorted({text for text in prepared if text not in known}, key=len)
        for start in range(0, len(new), BATCH):
            batch = new[start:start + BATCH]
            known.update(zip(batch, self._run(batch), strict=True))
        with self._lock:
            for text in new:
                self._remembered[text] = known[text]
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return [known[text] for text in prepared]

    def encode(self, texts: Sequence[str]) -> Vector:
        """The vectors alone, shape (texts, 384)."""
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return np.stack([reading.vector for reading in self.read(texts)])

    def _run(self, texts: Sequence[str]) -> list[Reading]:
        sequences = [self._window(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
        width = max(len(ids) for ids in sequences)
        tokens = np.full((len(sequences), width), self._tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(sequences), width), np.int64)
        for row, ids in enumerate(sequences):
            tokens[row, :len(ids)] = ids
            mask[row, :len(ids)] = 1
        vectors, anger, valence = self._session.run(["vector", "anger", "valence"],
                                                    {"input_ids": tokens, "attention_mask": mask})
        return [Reading(vector, _sigmoid(self._scale * float(logit) + self._shift), self._valences[int(scores.argmax())])
                for vector, logit, scores in zip(vectors, anger, valence, strict=True)]

    def _window(self, ids: list[int]) -> list[int]:
        room = self._longest - 2
        if len(ids) > room:
            ids = ids[:room // 2] + ids[-(room - room // 2):]
        return [self._tokenizer.bos_token_id, *ids, self._tokenizer.eos_token_id]


@functools.lru_cache(maxsize=2)
def load_encoder(folder: Path) -> TextEncoder:
    """The encoder of ``folder``, loaded once a process. Raises as :meth:`TextEncoder.load` does."""
    return TextEncoder.load(folder)


def check_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the encoder, compared with the released ones.

    Raises:
        EncoderMissing: a file is not there.
        EncoderDamaged: a file is another one.
    """
    for name in (CHECKSUMS, *NEEDED):
        if not (folder / name).is_file():
            raise EncoderMissing(f"the text encoder's file {folder / name} is missing; restore it from the release")
    released = dict(reversed(line.split()) for line in (folder / CHECKSUMS).read_text().splitlines())
    for name in NEEDED:
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != released.get(name):
            raise EncoderDamaged(f"the text encoder's file {folder / name} is damaged; restore it from the release")
    return released


def prepared(text: str) -> str:
    if len(text) > 2 * KEPT_CHARACTERS:
        text = f"{text[:KEPT_CHARACTERS]} {text[-KEPT_CHARACTERS:]}"
    return simplify(text.encode("utf8", "replace").decode("utf8").replace("\0", " ").strip())


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, x))))
