"""A small store for tests; run as a program it builds that store slowly and notes what it asked."""

import io
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from limbeck._base.progress import StageProgress
from limbeck.data import NoViews, Shift, Views
from limbeck.data.dataset import as_float
from limbeck.models import MLP, Normalized
from limbeck.store import key as store_header
from limbeck.store.answers import Answers
from limbeck.store.store import open_store
from limbeck.teacher.signal import LiveTeacher

SAMPLES, CLASSES, SHARD_ROWS, VIEWS = 40, 3, 10, 9
SHARD = SHARD_ROWS * VIEWS
SHAPE = (1, 4, 4)
BLOCKS, POSITIONS, TOKENS = 30, 8, 20


def images(samples=SAMPLES):
    draw = torch.Generator().manual_seed(5)
    return torch.randint(256, (samples, *SHAPE), generator=draw).to(torch.uint8)


def model(seed=0, mean=0.5, **arguments):
    torch.manual_seed(seed)
    return Normalized(MLP(SHAPE, CLASSES, hidden=[7], **arguments), [mean], [0.25])


class Mixed(Views):
    """Each sample with another one of the pool over it."""

    count, mixes, name, plain = 4, True, "mixed", 0

    def apply(self, inputs, view, sample):
        raise NotImplementedError

    def show(self, inputs, sample, view, pool):
        other = pool[(sample * 7 + view) % len(pool)]
        return (as_float(inputs[sample]) + as_float(inputs[other])) / 2


def answers(**changes):
    """Answers to all images in nine views, or with changes."""
    usual = {
        "teacher": LiveTeacher(model()),
        "inputs": images(),
        "views": Shift(1),
        "classes": CLASSES,
    }
    made = {**usual, **changes}
    return Answers(**{"rows": torch.arange(len(made["inputs"])), **made})


def counting(made, log, delay=0.0):
    """The same answers, each question noted in a list or a file."""

    def ask(x):
        time.sleep(delay)
        if isinstance(log, list):
            log.append(len(x))
        else:
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{len(x)}\n")
        return made.teacher.answer(x)

    return Answers(**{**vars(made), "ask": ask})


def opened(made, root, dtype="float32", say=None, **kept):
    """The stored teacher; what is said goes to ``say``, a text stream; ``kept`` is kind and k."""
    progress = StageProgress(
        enabled=say is not None, console=Console(file=say or io.StringIO(), width=500)
    )
    return open_store(made, made.header(dtype, **kept), Path(root), progress)


def place(root, made=None, dtype="float32", **kept):
    """The folder of a store."""
    return Path(root) / (made or answers()).header(dtype, **kept).key


class NextToken(nn.Module):
    """A language model of one layer: logits ``[B, T, C]`` for ids ``[B, T]``, each of its token and
    those before.
    """

    def __init__(self, seed=0, tokens=TOKENS, scale=3.0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding.from_pretrained(
            scale * torch.randn(tokens, tokens, generator=draw)
        )

    def forward(self, ids):
        assert ids.dtype == torch.int64
        rows = self.embedding(ids)
        return rows.cumsum(1) / torch.arange(1, ids.shape[1] + 1, device=ids.device)[:, None]


def blocks(count=BLOCKS, seed=6):
    """Overlapping views of one array of token ids, as text comes from a file."""
    ids = torch.randint(
        TOKENS, (count * POSITIONS + 1,), generator=torch.Generator().manual_seed(seed)
    )
    return ids.to(torch.int32)[:-1].view(count, POSITIONS)


def text_answers(**changes):
    """Answers to each token of some blocks."""
    usual = {
        "teacher": LiveTeacher(NextToken()),
        "inputs": blocks(),
        "views": NoViews(),
        "classes": TOKENS,
        "positions": POSITIONS,
        "vocabulary": "a" * 64,
        "data_name": "text",
    }
    return answers(**{**usual, **changes})


class Scaled(nn.Module):
    """A model's logits times a number."""

    def __init__(self, factor):
        super().__init__()
        self.net, self.factor = model(), factor

    def forward(self, x):
        return self.net(x) * self.factor


if __name__ == "__main__":
    torch.set_num_threads(1)
    store_header.SHARD_ANSWERS = SHARD
    folder, notes, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    logits = opened(counting(answers(), notes, seconds), folder, say=sys.stderr).records
    print(store_header.hashlib.sha256(logits.numpy().tobytes()).hexdigest())
