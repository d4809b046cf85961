"""Claim: a step of fine-tuning an encoder of transformers takes at most 1.1 times one of a bare
loop. n = 5.

BERT of four layers of width 256 with random weights, 512 made-up texts of 4 to 48 bytes, batches
of 32 with similar lengths, AdamW with a linear schedule (``--short``: one layer of width 32, 128
texts). The bare loop takes the same batches, whose tensors lie in memory, calls the network of
transformers itself, and is what a good engineer writes by hand. One core. Also prints how many
tokens are real and how many are computed.

Inside the clock: a steady epoch, the mean of the second to fourth of a fit; each side validates on
64 texts after every epoch; limbeck also writes its CSV log and a checkpoint, as in a study.
"""

import argparse

import torch
from common import Contestant, Goal, alternate, arguments, epoch_of_fit, epoch_of_loop, report
from transformers import get_linear_schedule_with_warmup

from limbeck.data import Dataset
from limbeck.data.dataset import Split
from limbeck.data.padding import describe_lengths
from limbeck.data.study_data import StudyData
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.losses import Objective
from limbeck.models import HuggingFaceClassifier
from limbeck.training.optimizer import Optimizer
from limbeck.training.task import DistillationTask

LENGTH, SHORTEST, CLASSES, BATCH = 48, 4, 20, 32
TOKENIZER = ByteTokenizer()
PADDING = TOKENIZER.padding
OPTIMIZER = Optimizer(name="adamw", lr=1e-4, weight_decay=0.01, schedule="linear")
STEPS = 1000
"""Length of the schedule of the bare loop, which does not affect its time."""


class Loop:
    """A bare loop of PyTorch over the batches of an epoch.

    Args:
        model: Classifier, of which the network of transformers is trained.
        data: Dataset.
    """

    def __init__(self, model: HuggingFaceClassifier, data: Dataset):
        batches = StudyData(data, seeds=[0], batch_size=BATCH)
        device = torch.device("cpu")
        self.net = model.net
        self.batches = [self._batch(b.x[0], b.y[0]) for b in batches.train_batches(device)]
        self.val_batches = [self._batch(b.x[0], b.y[0]) for b in batches.val_batches(device)]
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=OPTIMIZER.lr, weight_decay=OPTIMIZER.weight_decay, fused=True
        )
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, STEPS // 10, STEPS)

    def _batch(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        is_token = ids != PADDING
        ids = torch.where(is_token, ids, 0).long()
        return {"input_ids": ids, "attention_mask": is_token.long(), "labels": labels}

    def epoch(self) -> None:
        """Train for an epoch, then validate."""
        self.net.train()
        for batch in self.batches:
            loss = self.net(**batch).loss
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
        self.net.eval()
        with torch.inference_mode():
            for batch in self.val_batches:
                self.net(**batch)


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    data = texts(options)

    def ours() -> float:
        task = DistillationTask(
            model(options),
            None,
            Objective(hard_weight=1.0, soft_weight=0.0),
            optimizer=OPTIMIZER,
            seeds=[0],
        )
        return epoch_of_fit(task, StudyData(data, seeds=[0], batch_size=BATCH), options)

    contestants = {
        "limbeck": Contestant(ours),
        "bare loop": Contestant(lambda: epoch_of_loop(Loop(model(options), data).epoch, options)),
    }
    seconds = alternate(contestants, options)
    tokens = describe_lengths(data.train.inputs, PADDING, BATCH)
    report(seconds, [Goal("limbeck", "bare loop", at_most=1.1)], options, tokens=tokens)


def model(options: argparse.Namespace) -> HuggingFaceClassifier:
    """Return a classifier with random weights."""
    width, layers = (32, 1) if options.short else (256, 4)
    config = {
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
    }
    torch.manual_seed(0)
    return HuggingFaceClassifier(
        (LENGTH,), CLASSES, vocabulary=TOKENIZER.padded_size, padding=PADDING, config=config
    )


def texts(options: argparse.Namespace) -> Dataset:
    """Return made-up texts of different lengths."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        ids = torch.randint(1, TOKENIZER.size, (count, LENGTH), generator=generator)
        lengths = torch.randint(SHORTEST, LENGTH + 1, (count, 1), generator=generator)
        ids[torch.arange(LENGTH) >= lengths] = PADDING
        labels = torch.randint(CLASSES, (count,), generator=generator)
        return Split(ids.int(), labels)

    counts = (128, 32, 32) if options.short else (512, 64, 32)
    names = [str(number) for number in range(CLASSES)]
    splits = [split(count) for count in counts]
    return Dataset.from_splits("texts", *splits, class_names=names, tokenizer=TOKENIZER)


if __name__ == "__main__":
    main()
