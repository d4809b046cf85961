"""Claim: with 128,000 classes the chunked loss needs 5 times less memory than the direct one, and
takes at most 1.2 times as long. n = 5.

The benchmark measures the last layer of a language model and its loss, hard and soft KL at T = 2,
forward and backward, with labels and a teacher at N positions of 256 features. *Dense*: the
teacher's logits are computed from its hidden states and last layer, at once or chunk by chunk;
N = 2048. *Sparse*: the teacher gives 16 classes and the total probability of the others; N = 4096.

Time: one step, directly and in chunks in turn, in one process. Memory: the peak of a separate
process that takes one step, including PyTorch, both layers and their gradients; n = 1 (Linux).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses import Objective, SparseTargets, StackedObjective, chunked_loss

CLASSES, WIDTH, STORED = 128_000, 256, 16
POSITIONS = {"dense": 2048, "sparse": 4096}
SMALL = {"CLASSES": 2_000, "WIDTH": 32, "POSITIONS": {"dense": 512, "sparse": 512}}
HOW = ("directly", "in chunks")
SAVING = 5


def teacher_of(kind: str, n: int) -> Callable[[slice], Tensor | SparseTargets]:
    """Return a teacher that answers for a slice of ``n`` positions."""
    if kind == "dense":
        hidden, weight = torch.randn(n, WIDTH), torch.randn(CLASSES, WIDTH).div_(WIDTH**0.5)
        return lambda part: F.linear(hidden[part], weight)
    distance = CLASSES // STORED
    ids = torch.randint(distance, (n, STORED)) + torch.arange(STORED) * distance
    log_p = torch.randn(n, STORED + 1).log_softmax(-1)
    rest = log_p[:, STORED:]
    tail = torch.cat([rest, rest - torch.tensor(CLASSES - STORED).log() - 1], -1)
    targets = SparseTargets(ids, log_p[:, :STORED], tail, CLASSES)
    return lambda part: targets.map(lambda values: values[part])


def steps(kind: str) -> dict[str, Callable[[], None]]:
    """Return a step directly and one in chunks, on the same numbers."""
    torch.manual_seed(0)
    n = POSITIONS[kind]
    hidden = torch.randn(n, WIDTH).requires_grad_()
    weight = torch.randn(CLASSES, WIDTH).div_(WIDTH**0.5).requires_grad_()
    labels, teacher = torch.randint(CLASSES, (n,)), teacher_of(kind, n)
    objective = StackedObjective([Objective(hard_weight=0.5, soft_weight=0.5, temperature=2.0)])

    def loss(logits: Tensor, part: slice) -> Tensor:
        return torch.cat(tuple(objective(logits[None], teacher(part), labels[part], counts=(n, n))))

    def whole() -> Tensor:
        return loss(F.linear(hidden, weight), slice(0, n))[0]

    def chunks() -> Tensor:
        return chunked_loss(hidden, weight, loss)[0]

    def step(value: Callable[[], Tensor]) -> None:
        hidden.grad = weight.grad = None
        value().backward()

    return {"directly": lambda: step(whole), "in chunks": lambda: step(chunks)}


def peak(kind: str, how: str, short: bool) -> float:
    """Return the peak memory in GB of a process that takes one step."""
    small = f"vars(chunked_loss).update({SMALL!r}); " if short else ""
    code = f"import chunked_loss; {small}chunked_loss.steps({kind!r})[{how!r}]()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"one step, {kind}, {how}, failed, see the message above")
    return usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    # Imported here, as the processes that take one step import this file and need PyTorch alone.
    from common import VERDICTS, Contestant, Goal, alternate, arguments, report

    options = arguments(__doc__)
    if options.short:
        globals().update(SMALL)
    names = {(kind, how): f"{kind}, {how}" for kind in POSITIONS for how in HOW}
    peaks = {name: peak(kind, how, options.short) for (kind, how), name in names.items()}
    seconds: dict[str, list[float]] = {}
    for kind in POSITIONS:
        contestants = {names[kind, how]: Contestant(step) for how, step in steps(kind).items()}
        seconds |= alternate(contestants, options)
    goals = [Goal(names[kind, HOW[1]], names[kind, HOW[0]], at_most=1.2) for kind in POSITIONS]
    report(
        seconds,
        goals,
        options,
        GB_at_the_peak={name: round(value, 2) for name, value in peaks.items()},
    )
    memory_goals = []
    for kind in POSITIONS:
        over, under = (names[kind, how] for how in HOW)
        ratio = peaks[over] / peaks[under]
        met = None if options.short else ratio >= SAVING
        print(
            f"  {f'memory, {over} / {under}':<60} {ratio:.1f}     at least {SAVING}: "
            f"{VERDICTS[met]}"
        )
        memory_goals.append(
            {
                "over": f"GB, {over}",
                "under": under,
                "goal": f"at least {SAVING}",
                "ratios": [ratio],
                "median": ratio,
                "met": met,
            }
        )
    if options.json:
        content = json.loads(options.json.read_text(encoding="utf-8"))
        content["goals"] += memory_goals
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
