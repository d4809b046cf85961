"""Folders of tiny sentence encoders with random weights, and texts for them."""

import json
from pathlib import Path

import torch

from support.encoders import write_bert
from support.reviews import make_reviews, write_csv

TEXTS = [text for text, _ in make_reviews(120)]


def write_encoder(folder, *, pooling="mean", normalize=True, modules=(), max_length=128, **sizes):
    """Write a folder as sentence-transformers does, with a tokenizer of the words of texts."""
    folder = Path(folder)
    write_bert(folder, TEXTS, ["a", "b"], **sizes)
    _strip_head(folder)
    names = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens"}
    names["mean_sqrt_len"] = "mean_sqrt_len_tokens"
    flags = {f"pooling_mode_{flag}": mode == pooling for mode, flag in names.items()}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, **flags})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else []), *modules]
    entries = [
        {
            "idx": number,
            "name": str(number),
            "path": "" if kind == "Transformer" else f"{number}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    return folder


def _strip_head(folder):
    """Save the encoder inside a classifier, with weights far from their initial values."""
    from transformers import AutoModel

    torch.manual_seed(1)
    net = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    net.save_pretrained(folder)


def write_texts(file, count=120):
    """Write texts with labels as a CSV file."""
    return write_csv(file, make_reviews(count))
