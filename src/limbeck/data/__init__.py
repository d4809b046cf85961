"""Data sets, transfer sets, views, and the batches made of them."""

from limbeck.data.cifar import cifar10, cifar100
from limbeck.data.crops import Crop, Flip, Shift
from limbeck.data.dataset import Dataset, Split
from limbeck.data.distortions import Affine, Elastic
from limbeck.data.folders import image_folder
from limbeck.data.images import digits, fashion_mnist, mnist
from limbeck.data.mixup import Mixup
from limbeck.data.noise import SparseNoise, StrokeNoise, UniformNoise
from limbeck.data.sources import ImagesFrom, Source
from limbeck.data.tables import aptos, image_csv
from limbeck.data.texts import text, text_folder
from limbeck.data.transfer import TransferSet
from limbeck.data.views import Chain, Choice, NoViews, Views

__all__ = [
    "Affine", "Chain", "Choice", "Crop", "Dataset", "Elastic", "Flip", "ImagesFrom", "Mixup", "NoViews", "Shift",
    "Source", "SparseNoise", "Split", "StrokeNoise", "TransferSet", "UniformNoise", "Views", "aptos", "cifar10",
    "cifar100", "digits", "fashion_mnist", "image_csv", "image_folder", "mnist", "text", "text_folder",
]  # fmt: skip
