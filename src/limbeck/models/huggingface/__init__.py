"""Models of Hugging Face's transformers: language models and classifiers of texts."""

from limbeck.models.huggingface.classifier import HuggingFaceClassifier
from limbeck.models.huggingface.model import HuggingFace

__all__ = ["HuggingFace", "HuggingFaceClassifier"]
