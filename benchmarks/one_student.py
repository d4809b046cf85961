"""Claim: a tiny student alone, in the training loop, takes at most 1.2 times a bare loop on tensors
in memory. n = 5.

784-50-10, batches of 100, Adam at 1e-3, MNIST's 55,000 training images: once on labels, once
distilled at T = 4 (hard weight 0.1, soft weight 0.9) from logits that lie in memory. The bare loop
is what a good engineer writes by hand: floats in memory, randperm, indexing, the fused Adam. Both
train the same student, which normalises its inputs itself. Also plain Lightning with torchvision's
MNIST and a ``DataLoader``, and the textbook loop without Lightning, both on labels.

Inside the clock: a steady epoch, the mean of the second to fourth of a fit; each side validates on
5,000 images after every epoch; ours also writes its CSV log and a checkpoint, as in a study, and
Lightning its own. Outside: reading the data, building the models.
"""

import torch
from common import (
    EPOCHS,
    MEAN,
    STD,
    Contestant,
    Goal,
    alternate,
    arguments,
    autocast,
    epoch_of_fit,
    epoch_of_loop,
    fresh_folder,
    report,
    small_or_whole,
)
from peers import PlainModule, epoch_of_lightning
from textbook import Bare, Textbook, distillation_loss, loaders, network

from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP, Normalized
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.task import DistillationTask

BATCH = 100
OBJECTIVES = {
    "on labels": {"hard_weight": 1.0, "soft_weight": 0.0},
    "distilled": {"hard_weight": 0.1, "soft_weight": 0.9, "temperature": 4.0},
}


def main() -> None:
    options = arguments(__doc__, device=True)
    data = small_or_whole(options)
    logits = torch.randn(len(data.train), 10)

    def student() -> Normalized:
        return Normalized(MLP(data.shape, 10, hidden=[50]), [MEAN], [STD])

    def ours(kind: str) -> float:
        signal = StoredTeacher(logits[:, None]) if kind == "distilled" else None
        task = DistillationTask(student(), signal, Objective(**OBJECTIVES[kind]), seeds=[0])
        return epoch_of_fit(task, StudyData(data, seeds=[0], batch_size=BATCH), options)

    def bare(kind: str) -> float:
        loop = Bare(
            student(),
            data,
            distillation_loss(**OBJECTIVES[kind]),
            batch_size=BATCH,
            logits=logits if kind == "distilled" else None,
            device=options.device,
            precision=autocast(options),
        )
        return epoch_of_loop(loop.epoch, options)

    contestants = {}
    for kind in OBJECTIVES:
        contestants[f"limbeck, {kind}"] = Contestant(lambda kind=kind: ours(kind))
        contestants[f"bare loop, {kind}"] = Contestant(lambda kind=kind: bare(kind))
    with fresh_folder() as folder:
        loader, loss = (
            loaders(data, folder, batch_size=BATCH, workers=options.workers),
            distillation_loss(),
        )
        textbook = Textbook(network([784, 50, 10]), *loader, loss, device=options.device)
        epochs = 2 if options.short else EPOCHS
        contestants["plain Lightning, on labels"] = Contestant(
            lambda: epoch_of_lightning(
                PlainModule(network([784, 50, 10]), loss),
                *loader,
                epochs=epochs,
                device=options.device,
            )
        )
        contestants["textbook loop"] = Contestant(textbook.epoch)
        seconds = alternate(contestants, options)
    goals = [Goal(f"limbeck, {kind}", f"bare loop, {kind}", at_most=1.2) for kind in OBJECTIVES]
    others = ("plain Lightning, on labels", "textbook loop")
    goals += [Goal(other, "limbeck, on labels", at_least=5) for other in others]
    report(seconds, goals, options)


if __name__ == "__main__":
    main()
