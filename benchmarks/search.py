"""Claim: `limbeck fit` reaches in a quarter of the time the front that sequential Optuna has at the
end of it. n = 3.

Both search MLPs of at most 100 kB for MNIST, of one or two hidden layers with 4 to 128 units, with
temperature, weights and learning rate, by TPE with the same two objectives and the same constraint,
for the same number of seconds (``--seconds``; ``--short``: a few). Sequential Optuna trains one
student after the other in a plain loop on tensors in memory, with the teacher's logits computed
once; limbeck trains four students of an architecture at a time. Both measure the exported student
before they train it. The teacher is trained before the clock starts. The front is compared by its
hypervolume of cost and validation error rate, up to (1, 1). The cost is the share of the budget, at
least a half, for both. A search that does not reach the front of the other counts with its whole
time.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import optuna
import torch
from common import Goal, arguments, fresh_folder, report, small_or_whole
from torch import nn
from torch.nn import functional as F

from limbeck import Optimizer, RunOptions, Schedule, train
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.models import MLP
from limbeck.run.search import Search, write_search
from limbeck.search import rounds
from limbeck.search.budget import Budget
from limbeck.search.needs import NeedsMeter
from limbeck.search.pruning import cost_of
from limbeck.search.settings import SearchSettings
from limbeck.search.space import SearchSpace, student_builder
from limbeck.search.study import SearchStudy
from limbeck.study.arms import build

PLAIN, LIMBECK = "sequential Optuna", "limbeck fit"
SPACE = SearchSpace(students=["mlp"], width=(4, 128), depth=(1, 2))
BUDGET = Budget(size="100kB")
BATCH, LR = 256, 0.003

Points = list[tuple[float, float, float]]
"""Seconds, cost and validation error rate of each student."""


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Return the area that a front dominates, up to (1, 1)."""
    front: list[tuple[float, float]] = []
    for cost, errors in sorted(points):
        if cost <= 1 and (not front or errors < front[-1][1]):
            front.append((cost, errors))
    ends = [*front, (1.0, 0.0)]
    return sum((after[0] - here[0]) * (1 - here[1]) for here, after in pairwise(ends))


def seconds_to_reach(points: Points, target: float, limit: float) -> float:
    """Return the time at which a search reaches a hypervolume; the limit if it does not."""
    for number, point in enumerate(points, start=1):
        if hypervolume([(cost, errors) for _, cost, errors in points[:number]]) >= target:
            return point[0]
    return limit


def search_in_turn(
    data: Dataset, teacher: nn.Module, epochs: int, limit: float, seed: int
) -> Points:
    """Search with Optuna, one student after the other."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = time.perf_counter()
    inputs, labels = as_float(data.train.inputs), data.train.labels
    with torch.inference_mode():
        answers = torch.cat([teacher(part) for part in inputs.split(1024)]).clone()
    meter = NeedsMeter(data, BUDGET)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    *_, rate = SPACE.parameters_of_training(LR, has_temperature=True)
    points: Points = []
    while time.perf_counter() - start < limit:
        trial = study.ask()
        settings: dict[str, Any] = {"student": "mlp"}
        settings["width"] = trial.suggest_int("width", *SPACE.width, log=True)
        settings["depth"] = trial.suggest_int("depth", *SPACE.depth)
        temperature = trial.suggest_float("temperature", *SPACE.temperature, log=True)
        soft = trial.suggest_float("soft_weight", *SPACE.soft_weight)
        lr = trial.suggest_float("lr", rate.low, rate.high, log=True)
        builder = student_builder(settings, data.shape)
        share = BUDGET.share(meter.measure(settings, builder).needs)
        trial.set_constraint("budget", share - 1)
        if share > 1:
            study.tell(trial, [share, float(len(data.val))])
            continue
        model = build(builder, data, seed)
        loss = partial(distillation_loss, temperature=temperature, soft=soft)
        train_plainly(model, (inputs, labels, answers), loss, epochs, lr)
        with torch.inference_mode():
            wrong = model.eval()(as_float(data.val.inputs)).argmax(-1) != data.val.labels
        cost = cost_of(share, None)
        study.tell(trial, [cost, float(wrong.sum())])
        points.append((time.perf_counter() - start, cost, float(wrong.float().mean())))
    return points


def distillation_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    answers: torch.Tensor,
    *,
    temperature: float,
    soft: float,
) -> torch.Tensor:
    """Return the objective of Hinton et al. 2015."""
    log_student = F.log_softmax(logits / temperature, -1)
    log_teacher = F.log_softmax(answers / temperature, -1)
    kl = F.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean")
    return (1 - soft) * F.cross_entropy(logits, labels) + soft * temperature**2 * kl


def train_plainly(
    model: nn.Module,
    samples: tuple[torch.Tensor, ...],
    loss: Callable[..., torch.Tensor],
    epochs: int,
    lr: float,
) -> None:
    """Train a student in a plain loop on tensors in memory."""
    steps = epochs * -(-len(samples[0]) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(samples[0])).split(BATCH):
            x, labels, answers = (part[rows] for part in samples)
            optimizer.zero_grad()
            loss(model(x), labels, answers).backward()
            optimizer.step()
            schedule.step()


def search_with_limbeck(
    data: Dataset, teacher: nn.Module, epochs: int, limit: float, seed: int
) -> Points:
    """Run `limbeck fit`, and return the students of its search alone."""
    points: Points = []
    numbers: set[int] = set()
    start = time.perf_counter()

    def watch(folder: Any, search: Search) -> None:
        write_search(folder, search)
        seconds = time.perf_counter() - start  # with the teacher's answers, as the other side
        for trial in search.results:
            if trial.number not in numbers:
                assert trial.value is not None
                numbers.add(trial.number)
                points.append((seconds, cost_of(trial.share, None), trial.value / len(data.val)))

    space = SearchSpace(students=["mlp"], width=SPACE.width, depth=SPACE.depth, seed=seed)
    settings = SearchSettings(budget=BUDGET, space=space, hours=limit / 3600)
    with fresh_folder() as folder, ExitStack() as stack:
        stack.enter_context(mock.patch.object(rounds, "write_search", watch))
        SearchStudy(
            data,
            settings,
            teacher=teacher,
            seeds=1,
            schedule=Schedule(
                epochs=epochs, batch_size=BATCH, optimizer=Optimizer(lr=LR, schedule="one_cycle")
            ),
            out=folder / "run",
            options=RunOptions(progress=False, examples=0, check_teacher=False),
        ).run()
    return points


def add_options(parser: argparse.ArgumentParser) -> None:
    text = "duration of each search (default: 900; 8 with --short)"
    parser.add_argument("--seconds", type=float, help=text)
    text = "epochs of each student (default: 10; 1 with --short)"
    parser.add_argument("--epochs", type=int, help=text)


def main() -> None:
    options = arguments(__doc__, repeats=3, add=add_options)
    torch.set_num_threads(1)
    data = small_or_whole(options)
    limit = options.seconds or (8 if options.short else 900)
    epochs = options.epochs or (1 if options.short else 10)
    teacher = build(partial(MLP, hidden=[16] if options.short else [800, 800]), data, 0)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(as_float(data.train.inputs), data.train.labels),
        batch_size=BATCH,
        shuffle=True,
    )
    train(teacher, loader, epochs=1 if options.short else 20, progress=False)
    seconds: dict[str, list[float]] = {PLAIN: [], LIMBECK: []}
    facts: dict[str, list[float]] = {}
    for seed in range(1 if options.short else options.repeats):
        results = {
            name: call(data, teacher, epochs, limit, seed)
            for name, call in ((PLAIN, search_in_turn), (LIMBECK, search_with_limbeck))
        }
        for name, points in results.items():
            area = hypervolume([point[1:] for point in points])
            facts.setdefault(f"students of {name}", []).append(len(points))
            facts.setdefault(f"hypervolume of {name}", []).append(round(area, 4))
        target = facts[f"hypervolume of {PLAIN}"][-1]
        seconds[PLAIN].append(limit)
        seconds[LIMBECK].append(seconds_to_reach(results[LIMBECK], target, limit))
    report(seconds, [Goal(PLAIN, LIMBECK, at_least=4.0)], options, **facts)


if __name__ == "__main__":
    main()
