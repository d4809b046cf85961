"""Files of the modules of sentence-transformers: a static table, or an encoder with its pooling."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, ExportError
from limbeck._base.files import write_bytes
from limbeck._base.reading import parse_json
from limbeck.data import Dataset
from limbeck.data.batches import EvaluationBatches
from limbeck.evaluation.evaluate import predict
from limbeck.losses.vectors import unit
from limbeck.models import BagOfEmbeddings, SentenceEncoder
from limbeck.models.huggingface.sentence_encoder import load_sentence_encoder
from limbeck.models.huggingface.texts import Texts

FORMAT = "sentence_transformers"
"""Name of the format, and of the folder in the run folder."""
MODULES = "modules.json"
DIFFERENCE = 1e-5
"""Largest difference of a value between the vectors of the folder and the student's."""


def write_modules(folder: Path, student: nn.Module, data: Dataset) -> None:
    """Write the modules of a student, and check their vectors on all test texts.

    Args:
        folder: Folder of the sentence encoder, which exists.
        student: Bag of embeddings without hidden layers, or a sentence encoder of transformers.
        data: Dataset of the run.

    Raises:
        ConfigError: If the format cannot express the student.
        ExportError: If the vectors differ.
    """
    if isinstance(student, SentenceEncoder):
        _write_encoder(folder, student, data)
    else:
        _write_static(folder, student, data)


def _write_list(folder: Path, kinds: Sequence[str]) -> None:
    """Write the list of modules, of which the first is in the folder itself."""
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    _write_json(folder / MODULES, modules)


def _write_json(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    write_bytes(file, json.dumps(content, indent=2).encode())


# A static table -----------------------------------------------------------------------------------


def _write_static(folder: Path, student: nn.Module, data: Dataset) -> None:
    table = static_table(student)
    batches = _test_texts(data)
    _check(student, batches, [table[ids].sum(1) for ids in batches])
    length = data.shape[0] - len(getattr(student, "special", ()))
    write_bytes(folder / "model.safetensors", save({"embedding.weight": table}))
    write_bytes(folder / "tokenizer.json", _tokenizer_of(data, length))
    _write_list(folder, ["StaticEmbedding", "Normalize"])
    _write_json(folder / "1_Normalize" / "config.json", {})


def static_table(student: nn.Module) -> Tensor:
    """Return one vector per token, whose mean over a text has the direction of its vector.

    Args:
        student: Bag of embeddings without hidden layers.

    Returns:
        float32, ``[V, D]``; 0 for special tokens and the padding, which do not count.

    Raises:
        ConfigError: If the student is another model.
    """
    if not isinstance(student, BagOfEmbeddings) or student.arguments["hidden"]:
        name = getattr(student, "name", type(student).__name__)
        raise ConfigError(
            f"format={FORMAT} is for a bag of embeddings without hidden layers (student=bag) or a "
            f"sentence encoder (student=sentence_encoder), but the student is {name}, which has no "
            "module there."
        )
    last = student.layers[-1]
    assert isinstance(last, nn.Linear)
    table = student.tokens.weight.double() @ last.weight.double().T + last.bias.double()
    table[[student.padding, *student.special]] = 0.0
    return table.detach().float().contiguous()


# An encoder ---------------------------------------------------------------------------------------


def _write_encoder(folder: Path, student: SentenceEncoder, data: Dataset) -> None:
    assert data.tokenizer is not None
    length = data.shape[0]
    tokenizer = _tokenizer_of(data, length)
    own_padding = student.net.config.get_text_config().pad_token_id
    pad_token = _pad_token(tokenizer, (own_padding, data.tokenizer.padding))
    student.save(folder)
    write_bytes(folder / "tokenizer.json", tokenizer)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "pad_token": pad_token,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": length})
    normalize = ["Normalize"] if student.normalize else []
    _write_list(folder, ["Transformer", "Pooling", *normalize])
    pooling = {"word_embedding_dimension": student.dimensions, "pooling_mode": student.pooling}
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    if normalize:
        _write_json(folder / "2_Normalize" / "config.json", {})
    texts = Texts(data.shape, data.tokenizer.padded_size, data.tokenizer.padding)
    saved = load_sentence_encoder(folder, texts, student.frame)
    batches = _test_texts(data)
    _check(student, batches, [predict(saved, batches)])


def _pad_token(tokenizer: bytes, candidates: Sequence[int]) -> str:
    """Return the token with which sentence-transformers pads the texts of a batch.

    Padding is masked, so any special token will do. Other tokens will not: what is declared as
    padding is cut out of texts before they are encoded.

    Args:
        tokenizer: Content of ``tokenizer.json``.
        candidates: Token ids of which the first that is special is preferred.

    Raises:
        ConfigError: If the tokenizer has no special tokens.
    """
    entries = parse_json(tokenizer).get("added_tokens") or []
    special = {entry["id"]: entry["content"] for entry in entries if entry["special"]}
    if not special:
        raise ConfigError(
            f"format={FORMAT} needs a special token to pad texts with, such as [PAD], but the "
            "tokenizer of the run has no special tokens. 'limbeck export RUN' without format= "
            "writes a bundle, which needs none."
        )
    number = next((number for number in candidates if number in special), min(special))
    return special[number]


# Both ---------------------------------------------------------------------------------------------


def _tokenizer_of(data: Dataset, length: int) -> bytes:
    """Return the tokenizer, which cuts texts to a number of tokens."""
    tokenizer = data.tokenizer
    if tokenizer is None or tokenizer.file is None:
        name = "none" if tokenizer is None else tokenizer.name
        raise ConfigError(
            f"format={FORMAT} needs a tokenizer of the package tokenizers, but that of the run is "
            f"{name}."
        )
    content: Any = parse_json(tokenizer.file)
    content["truncation"] = {
        "direction": "Right",
        "max_length": length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _test_texts(data: Dataset) -> list[Tensor]:
    """Return the batches of token ids of the test split."""
    return [batch.x[0] for batch in EvaluationBatches(data.open_test())]


def _check(student: nn.Module, batches: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
    """Compare the vectors of the folder with the student's on the test split."""
    expected = unit(predict(student, batches))
    difference = float((unit(torch.cat(list(vectors))) - expected).abs().max())
    if not difference <= DIFFERENCE:
        raise ExportError(
            f"The vectors of the folder differ from the student's by up to {difference:.2g}, so "
            "nothing was written."
        )
