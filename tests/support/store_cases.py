"""A small store for tests."""

import io
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from limbeck._base.progress import StageProgress
from limbeck.data import NoViews, Shift, Views
from limbeck.data.dataset import as_float
from limbeck.models import MLP, Normalized
from limbeck.store.answers import FullPrecision, TeacherPass
from limbeck.store.build import open_store
from limbeck.store.files import ANSWERS
from limbeck.store.verify import NUM_INPUTS
from limbeck.teacher.signal import LiveTeacher

SAMPLES, CLASSES, SHARD_ROWS, VIEWS = 40, 3, 10, 9
SHARD = SHARD_ROWS * VIEWS
SHAPE = (1, 4, 4)
BLOCKS, POSITIONS, TOKENS = 30, 8, 20


def images(samples=SAMPLES):
    draw = torch.Generator().manual_seed(5)
    return torch.randint(256, (samples, *SHAPE), generator=draw).to(torch.uint8)


def model(seed=0, mean=0.5, size=None, **arguments):
    torch.manual_seed(seed)
    return Normalized(MLP(SHAPE, CLASSES, hidden=[7], **arguments), [mean], [0.25], size=size)


class Mixed(Views):
    """Each sample with another one of the pool over it."""

    count, mixes, name, plain = 4, True, "mixed", 0

    def apply(self, inputs, view, sample):
        raise NotImplementedError

    def show(self, inputs, sample, view, pool):
        other = pool[(sample * 7 + view) % len(pool)]
        return (as_float(inputs[sample]) + as_float(inputs[other])) / 2


class Patched(LiveTeacher):
    """A teacher with the same key whose answers are another function of the inputs."""

    def __init__(self, teacher, answer):
        super().__init__(teacher.models, combine=teacher.combine)
        self.answer = answer


class Renamed(FullPrecision):
    """Computation in float32 under another name."""

    def __init__(self, precision):
        self.precision = precision


def image_pass(**changes):
    """A pass over all images in nine views, or with changes."""
    usual = {
        "teacher": LiveTeacher(model()),
        "inputs": images(),
        "views": Shift(1),
        "classes": CLASSES,
    }
    arguments = {**usual, **changes}
    return TeacherPass(**{"rows": torch.arange(len(arguments["inputs"])), **arguments})


def answering(teacher_pass, answer):
    """The same pass with another function from inputs to logits."""
    return replace(teacher_pass, teacher=Patched(teacher_pass.teacher, answer))


def counting(teacher_pass, log, delay=0.0):
    """The same pass; the size of each batch is logged in a list or a file."""
    teacher = teacher_pass.teacher

    def answer(x):
        time.sleep(delay)
        if isinstance(log, list):
            log.append(len(x))
        else:
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{len(x)}\n")
        return teacher.answer(x)

    return answering(teacher_pass, answer)


def open_quietly(teacher_pass, root, dtype="float32", console=None, **stored):
    """Open a store; messages go to ``console``, a text stream; ``stored`` is kind and k."""
    stream = Console(file=console or io.StringIO(), width=500)
    progress = StageProgress(enabled=console is not None, console=stream)
    header = teacher_pass.header(dtype, **stored)
    return open_store(teacher_pass, header, Path(root), progress)


def open_counted(teacher_pass, root, dtype="float32"):
    """Open a store; also the number of inputs asked besides the comparison, and the messages."""
    log, console = [], io.StringIO()
    stored = open_quietly(counting(teacher_pass, log), root, dtype, console)
    return stored, sum(log) - NUM_INPUTS, console.getvalue()


def folder_of(root, teacher_pass=None, dtype="float32", **stored):
    """The folder of a store."""
    return Path(root) / (teacher_pass or image_pass()).header(dtype, **stored).key


class NextToken(nn.Module):
    """A language model of one layer: logits ``[B, T, C]`` for ids ``[B, T]``."""

    def __init__(self, seed=0, tokens=TOKENS, scale=3.0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        weights = scale * torch.randn(tokens, tokens, generator=draw)
        self.embedding = nn.Embedding.from_pretrained(weights)

    def forward(self, ids):
        assert ids.dtype == torch.int64
        rows = self.embedding(ids)
        return rows.cumsum(1) / torch.arange(1, ids.shape[1] + 1, device=ids.device)[:, None]


def blocks(count=BLOCKS, seed=6):
    """Overlapping views of one array of token ids, as text comes from a file."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(TOKENS, (count * POSITIONS + 1,), generator=draw)
    return ids.to(torch.int32)[:-1].view(count, POSITIONS)


def text_pass(**changes):
    """A pass over each token of some blocks."""
    usual = {
        "teacher": LiveTeacher(NextToken()),
        "inputs": blocks(),
        "views": NoViews(),
        "classes": TOKENS,
        "positions": POSITIONS,
        "vocabulary": "a" * 64,
        "data_name": "text",
    }
    return image_pass(**{**usual, **changes})


class Scaled(nn.Module):
    """A model's logits times a number."""

    def __init__(self, factor):
        super().__init__()
        self.net, self.factor = model(), factor

    def forward(self, x):
        return self.net(x) * self.factor


def change_a_byte(folder):
    with (folder / ANSWERS).open("r+b") as file:
        file.seek(2 * SHARD * CLASSES * 4 + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
