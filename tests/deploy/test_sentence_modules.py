"""Folders of sentence encoders whose tokenizers have no token of their own for padding."""

import json

import numpy as np
import pytest
import torch
from support.sentence_encoders import TEXTS, write_encoder, write_texts

from limbeck._base.errors import ConfigError
from limbeck.data import sentences
from limbeck.deploy.sentence_modules import write_modules
from limbeck.losses.vectors import unit
from limbeck.models.huggingface.sentence_encoder import load_sentence_encoder
from limbeck.study.texts import frame_of, texts_of


def encoder_of(folder, tmp_path):
    """The encoder in a folder, and the texts that its tokenizer encodes."""
    file = write_texts(tmp_path / "texts.csv")
    data = sentences(file, tokenizer=folder, length=24, cache=tmp_path / "cache")
    return load_sentence_encoder(folder, texts_of(data), frame_of(data)), data


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def without_padding(content):
    del content["added_tokens"][0]
    del content["model"]["vocab"]["[PAD]"]


def without_special_padding(content):
    del content["added_tokens"][0]


def without_special_tokens(content):
    content["added_tokens"] = []
    content["post_processor"] = None


@pytest.mark.parametrize(
    ("change", "own_padding", "pad_token"),
    [
        (lambda content: None, 0, "[PAD]"),
        (lambda content: None, 3, "[SEP]"),
        (without_padding, 0, "[UNK]"),
        (without_padding, 3, "[SEP]"),
        (without_special_padding, 0, "[UNK]"),
        (without_padding, 9, "[UNK]"),  # a word, which would be cut out of longer ones
    ],
)
@torch.no_grad()
def test_transformers_pads_batches_with_a_special_token(tmp_path, change, own_padding, pad_token):
    from transformers import AutoModel, AutoTokenizer

    folder = write_encoder(tmp_path / "encoder")
    edit(folder / "tokenizer.json", change)
    edit(folder / "config.json", lambda content: content.update(pad_token_id=own_padding))
    student, data = encoder_of(folder, tmp_path)
    (tmp_path / "out").mkdir()
    write_modules(tmp_path / "out", student, data)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.pad_token == pad_token
    texts = [*TEXTS[:10], "a"]
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    rows, _ = data.tokenizer.encode_texts([(text,) for text in texts], 24)
    for ids, mask, row in zip(inputs["input_ids"], inputs["attention_mask"], rows, strict=True):
        assert ids[mask.bool()].tolist() == [i for i in row.tolist() if i != data.padding]
    features = AutoModel.from_pretrained(tmp_path / "out").eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors = unit((features * mask).sum(1) / mask.sum(1)).numpy()
    expected = unit(student(torch.from_numpy(rows))).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path):
    folder = write_encoder(tmp_path / "encoder")
    edit(folder / "tokenizer.json", without_special_tokens)
    student, data = encoder_of(folder, tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match=r"needs a special token to pad texts with.*writes a bun"):
        write_modules(tmp_path / "out", student, data)
    assert not list((tmp_path / "out").iterdir())
