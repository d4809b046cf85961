"""Data sets, transfer sets, views, and the batches made of them."""

from limbeck.data.crops import Crop, Flip, Shift
from limbeck.data.dataset import Dataset, Split
from limbeck.data.distortions import Affine, Elastic
from limbeck.data.images import digits, fashion_mnist, mnist
from limbeck.data.mixup import Mixup
from limbeck.data.transfer import TransferSet
from limbeck.data.views import Chain, NoViews, Views

__all__ = [
    "Affine", "Chain", "Crop", "Dataset", "Elastic", "Flip", "Mixup", "NoViews", "Shift", "Split", "TransferSet",
    "Views", "digits", "fashion_mnist", "mnist",
]  # fmt: skip
