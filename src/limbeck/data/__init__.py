"""Data sets, transfer sets, views, and the batches made of them."""

from limbeck.data.dataset import Dataset, Split
from limbeck.data.images import digits, fashion_mnist, mnist
from limbeck.data.transfer import TransferSet
from limbeck.data.views import NoViews, Shift, Views

__all__ = ["Dataset", "NoViews", "Shift", "Split", "TransferSet", "Views", "digits", "fashion_mnist", "mnist"]
