"""Sentence encoders: vectors against a plain computation of transformers, and bad folders."""

import json

import pytest
import torch
from support.encoders import SMALL, texts_of, write_bert
from support.sentence_encoders import write_encoder

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.models import SentenceEncoder, load_model, save_model
from limbeck.models.huggingface.pooling import POOLINGS, pool
from limbeck.models.huggingface.sentence_encoder import load_sentence_encoder
from limbeck.models.huggingface.texts import Texts

LENGTH = 12


def load(folder, length=LENGTH):
    from tokenizers import Tokenizer

    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    return load_sentence_encoder(folder, Texts((length,), size, 0), ([2], [3]))


def plain(folder, ids, pooling):
    """Vectors of a plain loop over texts without padding."""
    from transformers import AutoModel

    net = AutoModel.from_pretrained(folder).eval()
    vectors = []
    for row in ids:
        features = net(row[row != 0][None]).last_hidden_state[0]
        vector = {
            "mean": features.mean(0),
            "cls": features[0],
            "max": features.max(0).values,
            "mean_sqrt_len": features.sum(0) / len(features) ** 0.5,
        }[pooling]
        vectors.append(vector)
    return torch.stack(vectors)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len"])
def test_vectors_are_those_of_transformers_in_batches_with_padding(tmp_path, pooling):
    folder = write_encoder(tmp_path / "encoder", pooling=pooling, normalize=pooling == "mean")
    ids = texts_of(12, 5, 8)
    expected = plain(folder, ids, pooling)
    if pooling == "mean":
        expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(load(folder)(ids), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_vector_of_a_token_is_that_of_the_text_of_this_token(tmp_path):
    model = load(write_encoder(tmp_path / "encoder"))
    vectors = model.token_vectors()
    assert vectors.shape == (model.arguments["vocabulary"], 16)
    torch.testing.assert_close(vectors[7], model(torch.tensor([[2, 7, 3]]))[0])


@torch.no_grad()
def test_a_saved_encoder_is_rebuilt_with_the_same_vectors(tmp_path):
    model, ids = load(write_encoder(tmp_path / "encoder", pooling="cls")), texts_of(12, 5)
    save_model(model, tmp_path / "saved", class_names=[])
    loaded = load_model(tmp_path / "saved").model
    assert isinstance(loaded, SentenceEncoder)
    assert torch.equal(loaded(ids), model(ids))


def test_the_last_token_is_that_before_the_padding():
    assert "lasttoken" in POOLINGS
    features = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pool(features, mask, "lasttoken").tolist() == [[2, 3], [10, 11]]


def test_a_folder_without_pooling_is_refused(tmp_path):
    write_bert(tmp_path / "bert", ["a few words"], ["a", "b"])
    with pytest.raises(ConfigError, match=r"no modules\.json, so it does not say how token"):
        load(tmp_path / "bert")


def test_a_causal_language_model_is_refused(tmp_path):
    folder = write_encoder(tmp_path / "encoder")
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="no encoder of model_type 'gpt2'"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('[{"type": "x.Dense", "path": ""}]', ConfigError, "a module Dense, which limbeck"),
        ('[{"type": "x.Transformer", "path": ""}]', ConfigError, "has no Pooling"),
        ('[{"type": "x.Transformer", "path": "../.."}]', UntrustedFileError, "outside of its own"),
        ("{}", UntrustedFileError, "should be a list of modules"),
        ("[", UntrustedFileError, "is damaged"),
    ],
)
def test_modules_that_limbeck_does_not_read_are_named(tmp_path, content, error, message):
    folder = write_encoder(tmp_path / "encoder")
    (folder / "modules.json").write_text(content)
    with pytest.raises(error, match=message):
        load(folder)


def test_two_kinds_of_pooling_are_refused(tmp_path):
    folder = write_encoder(tmp_path / "encoder")
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    with pytest.raises(ConfigError, match="pooling by cls and mean"):
        load(folder)


def test_longer_texts_than_the_encoder_was_made_for_are_refused(tmp_path):
    folder = write_encoder(tmp_path / "encoder", max_length=10)
    with pytest.raises(ConfigError, match=r"Set data\.length=10 or less"):
        load(folder)


def test_an_unknown_pooling_of_new_settings_is_refused():
    config = {"model_type": "bert", **SMALL}
    with pytest.raises(ConfigError, match="pooling='sum' is unknown"):
        SentenceEncoder((12,), vocabulary=30, padding=0, config=config, pooling="sum")


@torch.no_grad()
def test_a_student_starts_from_layers_of_its_teacher_and_pools_as_it_does(tmp_path):
    folder = write_encoder(tmp_path / "encoder", pooling="cls", normalize=False)
    teacher = load(folder)
    settings = {"vocabulary": teacher.arguments["vocabulary"], "init": "teacher"}
    student = SentenceEncoder((LENGTH,), 16, teacher=teacher, layers=[1], **settings)
    assert (student.pooling, student.normalize) == ("cls", False)
    assert student.frame == teacher.frame
    own, layers = student.net.encoder.layer, teacher.net.encoder.layer
    assert (len(own), len(layers)) == (1, 2)
    for name, weight in own[0].state_dict().items():
        assert torch.equal(weight, layers[1].state_dict()[name])
    whole = SentenceEncoder((LENGTH,), 16, teacher=teacher, layers=2, **settings).eval()
    ids = texts_of(12, 5, 8)
    assert torch.equal(whole(ids), teacher(ids))
    assert len(SentenceEncoder((LENGTH,), 16, teacher=teacher, **settings).net.encoder.layer) == 1
    of_folder = SentenceEncoder((LENGTH,), path=folder, layers=1, vocabulary=20)
    assert len(of_folder.net.encoder.layer) == 1


def test_a_student_that_cannot_start_so_is_refused(tmp_path):
    teacher = load(write_encoder(tmp_path / "encoder"))
    settings = {"vocabulary": teacher.arguments["vocabulary"], "init": "teacher"}
    with pytest.raises(ConfigError, match="vectors have 16 dimensions, but the teacher's have 8"):
        SentenceEncoder((LENGTH,), 8, teacher=teacher, **settings)
    with pytest.raises(ConfigError, match="sentence encoder of transformers, but the teacher is"):
        SentenceEncoder((LENGTH,), 16, teacher=torch.nn.Linear(2, 2), **settings)
    with pytest.raises(ConfigError, match="needs a teacher, but there is none"):
        SentenceEncoder((LENGTH,), 16, **settings)
    with pytest.raises(ConfigError, match="layers=3"):
        SentenceEncoder((LENGTH,), 16, teacher=teacher, layers=3, **settings)
