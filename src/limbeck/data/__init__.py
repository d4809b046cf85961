"""Datasets, transfer sets, views and batches."""

from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.aptos import aptos
from limbeck.data.images.cifar import cifar10, cifar100
from limbeck.data.images.csv_table import image_csv
from limbeck.data.images.digit_pairs import digit_pairs
from limbeck.data.images.digits import digits
from limbeck.data.images.folders import image_folder
from limbeck.data.images.image_table import image_table
from limbeck.data.images.mnist import fashion_mnist, mnist
from limbeck.data.indexed import Indexed
from limbeck.data.sources.base import Source
from limbeck.data.sources.images import ImagesFrom
from limbeck.data.sources.noise import SparseNoise, StrokeNoise, UniformNoise
from limbeck.data.tables.breast_cancer import breast_cancer
from limbeck.data.tables.columns import TableColumns
from limbeck.data.tables.datasets import table
from limbeck.data.tables.diabetes import diabetes
from limbeck.data.text.class_folders import text_folders
from limbeck.data.text.datasets import text_file, text_folder
from limbeck.data.text.sentences import sentences
from limbeck.data.text.text_table import text_csv
from limbeck.data.transfer_set import TransferSet
from limbeck.data.views.base import NoViews, Views
from limbeck.data.views.combine import Chain, Choice
from limbeck.data.views.crops import Crop, Flip, Shift
from limbeck.data.views.distortions import Affine, Elastic
from limbeck.data.views.mixup import Mixup

__all__ = [
    "Affine",
    "Chain",
    "Choice",
    "Crop",
    "Dataset",
    "Elastic",
    "Flip",
    "ImagesFrom",
    "Indexed",
    "Mixup",
    "NoViews",
    "Shift",
    "Source",
    "SparseNoise",
    "Split",
    "StrokeNoise",
    "TableColumns",
    "TransferSet",
    "UniformNoise",
    "Views",
    "aptos",
    "breast_cancer",
    "cifar10",
    "cifar100",
    "diabetes",
    "digit_pairs",
    "digits",
    "fashion_mnist",
    "image_csv",
    "image_folder",
    "image_table",
    "mnist",
    "sentences",
    "table",
    "text_csv",
    "text_file",
    "text_folder",
    "text_folders",
]
