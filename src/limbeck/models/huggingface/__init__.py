"""Causal language models of Hugging Face's transformers."""

from limbeck.models.huggingface.model import HuggingFace

__all__ = ["HuggingFace"]
