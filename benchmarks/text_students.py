"""Claim: a bag of embeddings classifies texts 200 times faster than a transformer encoder of four
layers, the default teacher of texts, on one core. n = 5.

Texts of 32 tokens from a vocabulary of 8,192, in batches of 256 (``--short``: 32), 20 classes,
untrained weights, which do not affect the time. Also the convolutional network and the small
encoder. Inside the clock: the forward pass in PyTorch, float32; the seconds are those of 10,000
texts.
"""

import torch
from common import Contestant, Goal, alternate, arguments, clock, report
from torch import nn

from limbeck.models import BagOfEmbeddings, TextCNN, TextEncoder

LENGTH, VOCABULARY, CLASSES = 32, 8192, 20
TEACHER = "encoder of 4 x 256"
BATCHES = {"bag": 1000, "text CNN": 12, "encoder of 2 x 128": 4, TEACHER: 1}
"""Number of batches of each model that are timed together."""
TEXTS = 10_000


def models() -> dict[str, nn.Module]:
    """Return the students and the teacher."""
    settings = {"vocabulary": VOCABULARY, "padding": 0}
    shape = (LENGTH,)
    return {
        "bag": BagOfEmbeddings(shape, CLASSES, **settings),
        "text CNN": TextCNN(shape, CLASSES, **settings),
        "encoder of 2 x 128": TextEncoder(shape, CLASSES, **settings),
        TEACHER: TextEncoder(shape, CLASSES, width=256, layers=4, heads=4, **settings),
    }


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    ids = torch.randint(1, VOCABULARY, (32 if options.short else 256, LENGTH))

    def contestant(name: str, model: nn.Module) -> Contestant:
        model.eval()
        batches = 1 if options.short else BATCHES[name]

        def seconds() -> float:
            start = clock()
            with torch.inference_mode():
                for _ in range(batches):
                    model(ids)
            return (clock() - start) * TEXTS / (batches * len(ids))

        return Contestant(seconds)

    contestants = {name: contestant(name, model) for name, model in models().items()}
    goals = [Goal(TEACHER, "bag", at_least=200)]
    report(alternate(contestants, options), goals, options)


if __name__ == "__main__":
    main()
