"""The network that is trained: a sentence vector, how angry and how glad or sad, from one pass over a text.

The vector is taught by two: the base's own vector, so that it stays a general one, and the intents of the examples, so
that what a shop is asked for lies apart. The head that knows the intents is left behind when the network is exported:
the shop's own intents are learnt from the vectors when the dialogue model is trained.
"""
from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bot.training.base_encoder import BaseEncoder, Sizes

VALENCES = ("negative", "neutral", "positive")
HEADS = ("notice", "judge", "anger", "valence", "intents")

_SHARPNESS = 16.0
"""What a cosine to an intent is multiplied by before the softmax."""

_LOWEST = -1e4
"""Added to the score of padding before a softmax."""


class Layer(nn.Module):
    """One transformer layer, normalised after each of its two blocks."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.attend = nn.Linear(sizes.hidden, 3 * sizes.hidden)
        self.gather = nn.Linear(sizes.hidden, sizes.hidden)
        self.gather_norm = nn.LayerNorm(sizes.hidden, eps=1e-12)
        self.widen = nn.Linear(sizes.hidden, sizes.inner)
        self.narrow = nn.Linear(sizes.inner, sizes.hidden)
        self.narrow_norm = nn.LayerNorm(sizes.hidden, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """Tokens [texts, length, hidden] to the same shape; ``padding`` [texts, 1, 1, length] is added to scores."""
        texts, length, hidden = tokens.shape
        query, key, value = (part.reshape(texts, length, self.heads, hidden // self.heads).transpose(1, 2)
                             for part in self.attend(tokens).split(hidden, dim=-1))
        scores = query @ key.transpose(-1, -2) * (hidden // self.heads) ** -0.5 + padding
        mixed = (self.dropout(scores.softmax(-1)) @ value).transpose(1, 2).reshape(texts, length, hidden)
        tokens = self.gather_norm(tokens + self.dropout(self.gather(mixed)))
        return self.narrow_norm(tokens + self.dropout(self.narrow(functional.gelu(self.widen(tokens)))))


class EmotionEncoder(nn.Module):
    """The encoder with its two heads.

    The sentence vector is the mean over the tokens. The heads look at the first token and at an average that they
    weigh themselves, so that what they learn leaves the mean alone.
    """

    def __init__(self, sizes: Sizes, vocabulary: int, intents: int, frozen_layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.frozen_layers = frozen_layers
        self.words = nn.Embedding(vocabulary, sizes.hidden)
        self.positions = nn.Embedding(sizes.positions, sizes.hidden)
        self.first_norm = nn.LayerNorm(sizes.hidden, eps=1e-12)
        self.layers = nn.ModuleList(Layer(sizes, 0.0 if index < frozen_layers else dropout)
                                    for index in range(sizes.layers))
        self.notice = nn.Linear(sizes.hidden, 1)
        self.judge = nn.Linear(2 * sizes.hidden, 256)
        self.anger = nn.Linear(256, 1)
        self.valence = nn.Linear(256, len(VALENCES))
        self.intents = nn.Linear(sizes.hidden, intents, bias=False)

    @classmethod
    def from_base(cls, base: BaseEncoder, intents: int, frozen_layers: int) -> EmotionEncoder:
        """The base with untrained heads; the embeddings and the lower layers do not learn."""
        network = cls(base.sizes, len(base.kept), intents, frozen_layers)
        tensors = {name: torch.from_numpy(value) for name, value in base.tensors().items()}
        missing, unexpected = network.load_state_dict(tensors, strict=False)
        assert not unexpected and all(name.split(".")[0] in HEADS for name in missing)
        for part in (network.words, network.positions, network.first_norm, *network.layers[:frozen_layers]):
            part.requires_grad_(False)
        return network

    def keep_layers(self, number: int) -> None:
        """Leaves out learning layers, evenly, until there are ``number`` layers in all."""
        places = np.linspace(self.frozen_layers, len(self.layers) - 1, number - self.frozen_layers).round().astype(int)
        kept = [*range(self.frozen_layers), *places]
        self.layers = nn.ModuleList(self.layers[place] for place in kept)

    def lower(self, ids: Tensor, padding: Tensor) -> Tensor:
        """What the frozen part makes of the tokens."""
        tokens = self.first_norm(self.words(ids) + self.positions.weight[:ids.shape[1]])
        for layer in self.layers[:self.frozen_layers]:
            tokens = layer(tokens, padding)
        return tokens

    def upper(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """What the learning part makes of that."""
        for layer in self.layers[self.frozen_layers:]:
            tokens = layer(tokens, padding)
        return tokens

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and mask [texts, length] to vector [texts, hidden], anger [texts] and valence [texts, 3], all logits."""
        padding = padding_of(mask)
        return self.read(self.upper(self.lower(ids, padding), padding), mask)

    def read(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three outputs from the last layer's tokens."""
        weights = (self.notice(tokens).squeeze(-1) + (1 - mask.float()) * _LOWEST).softmax(-1)
        noticed = (weights.unsqueeze(1) @ tokens).squeeze(1)
        judged = torch.relu(self.judge(torch.cat([tokens[:, 0], noticed], dim=-1)))
        return sentence_vector(tokens, mask), self.anger(judged).squeeze(-1), self.valence(judged)


    def intent_scores(self, vector: Tensor) -> Tensor:
        """Sentence vectors [texts, hidden] to a logit for each intent [texts, intents]."""
        return _SHARPNESS * vector @ functional.normalize(self.intents.weight, dim=-1).T


class Teacher(nn.Module):
    """The upper layers as they were before training: what the sentence vector must stay close to."""

    def __init__(self, network: EmotionEncoder) -> None:
        super().__init__()
        self.layers = copy.deepcopy(network.layers[network.frozen_layers:]).requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The base's own sentence vector, from the tokens of the frozen part."""
        padding = padding_of(mask)
        for layer in self.layers:
            tokens = layer(tokens, padding)
        return sentence_vector(tokens, mask)


def padding_of(mask: Tensor) -> Tensor:
    """A mask [texts, length] of 1 and 0 as what is added to attention scores."""
    return (1 - mask[:, None, None, :].float()) * _LOWEST


def sentence_vector(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean of the tokens that are there, of length 1."""
    present = mask.unsqueeze(-1).to(tokens.dtype)
    return functional.normalize((tokens * present).sum(1) / present.sum(1), dim=-1)
