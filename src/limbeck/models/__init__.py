"""Models and their files."""

from limbeck.models.bag import BagOfEmbeddings
from limbeck.models.classifier import Classifier
from limbeck.models.convnet import ConvNet
from limbeck.models.files.weights import LoadedModel, load_model, load_weights, save_model
from limbeck.models.gpt import GPT
from limbeck.models.graded import Graded
from limbeck.models.huggingface.classifier import HuggingFaceClassifier
from limbeck.models.huggingface.model import HuggingFace
from limbeck.models.huggingface.sentence_encoder import SentenceEncoder
from limbeck.models.mlp import MLP
from limbeck.models.normalized import Normalized, count_parameters, model_name
from limbeck.models.output_map import OutputMap
from limbeck.models.protocols import HasLastLayer, LastLayer
from limbeck.models.regressor import Regressor
from limbeck.models.table import TableEncoder, TableModel
from limbeck.models.text_cnn import TextCNN
from limbeck.models.text_encoder import TextEncoder
from limbeck.models.zoo import TimmModel, TorchvisionModel

__all__ = [
    "GPT",
    "MLP",
    "BagOfEmbeddings",
    "Classifier",
    "ConvNet",
    "Graded",
    "HasLastLayer",
    "HuggingFace",
    "HuggingFaceClassifier",
    "LastLayer",
    "LoadedModel",
    "Normalized",
    "OutputMap",
    "Regressor",
    "SentenceEncoder",
    "TableEncoder",
    "TableModel",
    "TextCNN",
    "TextEncoder",
    "TimmModel",
    "TorchvisionModel",
    "count_parameters",
    "load_model",
    "load_weights",
    "model_name",
    "save_model",
]
