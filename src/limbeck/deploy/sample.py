"""``limbeck sample``: teacher, control and student of a run go on with the same text."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from limbeck._base.checks import check_count, check_seed
from limbeck._base.errors import ConfigError, DataError
from limbeck._base.progress import Advance, StageProgress
from limbeck.data import Dataset
from limbeck.deploy.shown import Shown, shown_models
from limbeck.run.folder import RunFolder

NARROWEST = 30
"""Columns of a text beside others; in a narrower terminal they stand one below the other."""


@dataclass(frozen=True)
class Sampled:
    """What a model wrote.

    Attributes:
        role: ``teacher``, ``control`` or ``student``.
        name: of the arm.
        about: architecture, size and test result.
        text: its continuation, without the prompt.
    """

    role: str
    name: str
    about: str
    text: str


def sample(
    run: str | Path,
    data: Dataset,
    prompt: str,
    *,
    tokens: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
    arm: str | None = None,
    combine: str = "probabilities",
    build: Callable[[str], Any] | None = None,
    progress: bool = True,
) -> list[Sampled]:
    """Let the models of a finished run write.

    Every model draws with the same random numbers. It sees as many of the last tokens as a block
    has.

    Args:
        run: a finished run on text.
        data: the data set of the run.
        prompt: text to go on with; at least one token.
        tokens: how many to draw.
        temperature: of the softmax they are drawn from; 0 takes the likeliest one each time.
        seed: of the draws.
        arm: of the student; None for the best distilled one on the validation split.
        combine: how the answers of several teachers become one, as in the run.
        build: makes the empty student of an arm, for classes of a user's own.
        progress: show progress on standard error.

    Raises:
        ConfigError: the run is not on text, the prompt is empty or no text, or a number is out of
            range.
        DataError: the text is not that of the run.
    """
    if data.tokenizer is None:
        raise ConfigError(
            f"limbeck sample is for runs on text; {data.name} is none. limbeck demo shows images."
        )
    check_count("tokens", tokens)
    check_seed("seed", seed)
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not 0 <= temperature < math.inf
    ):
        raise ConfigError(
            f"temperature={temperature!r} should be a number, not negative; 0 takes the likeliest "
            "token."
        )
    folder = RunFolder(run)
    if folder.read_json(folder.manifest).get("digests", {}).get("data") != data.digest():
        raise DataError(
            f"{folder.path}: the text is not that of the run, nor may its tokens be (its digest is "
            "another). Put it "
            "back where it was."
        )
    try:
        start = torch.as_tensor(data.tokenizer.encode(prompt)).long()
    except UnicodeEncodeError:
        raise ConfigError("The prompt is no text in UTF-8.") from None
    if not len(start):
        raise ConfigError(
            "The prompt is empty; give some text to go on with, as in limbeck sample RUN 'The '."
        )
    models = shown_models(run, arm=arm, combine=combine, build=build)
    shown = StageProgress(enabled=progress)
    with shown.stage("writing", len(models) * tokens) as advance:
        found = []
        for number, model in enumerate(models):
            told = partial(_advance, advance, number * tokens)
            ids = _drawn(model, start, tokens, data.shape[0], temperature, seed, told)
            found.append(
                Sampled(model.role, model.name, model.about, data.tokenizer.decode(ids.tolist()))
            )
    return found


def _advance(advance: Advance, before: int, done: int) -> None:
    advance(before + done)


def _drawn(
    model: Shown,
    start: Tensor,
    tokens: int,
    block: int,
    temperature: float,
    seed: int,
    advance: Callable[[int], None],
) -> Tensor:
    """The tokens that a model draws, int64 ``[tokens]``."""
    ids, generator = start, torch.Generator().manual_seed(seed)
    for done in range(tokens):
        logits = model.answer(ids[-block:].unsqueeze(0))[0, -1].double()
        uniform = torch.rand(1, generator=generator, dtype=torch.float64)
        if temperature == 0:
            chosen = logits.argmax(keepdim=True)
        else:
            steps = torch.softmax(logits / temperature, -1).cumsum(-1)
            chosen = torch.searchsorted(steps, uniform * steps[-1]).clamp(max=len(logits) - 1)
        ids = torch.cat([ids, chosen])
        advance(done + 1)
    return ids[len(start) :]


def print_sampled(prompt: str, found: list[Sampled], console: Console | None = None) -> None:
    """Print what the models wrote: side by side in a wide terminal, else one below the other; the
    prompt dimmed.
    """
    console = console or Console(highlight=False)
    texts = [
        Text(prompt, style="dim") + Text(_visible(part.text), style="default") for part in found
    ]
    if console.is_terminal and console.width >= NARROWEST * len(found):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=True, expand=True)
        for part in found:
            table.add_column(
                Text(_title(part), style="bold") + Text(f"\n{part.about}\n", style="dim"), ratio=1
            )
        table.add_row(*texts)
        console.print(table)
        return
    for part, text in zip(found, texts, strict=True):
        console.print(Text(_title(part), style="bold") + Text(f" ({part.about})", style="dim"))
        console.print(text)
        console.print()


def _title(part: Sampled) -> str:
    return part.role if part.role == part.name else f"{part.role}: {part.name}"


def _visible(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
