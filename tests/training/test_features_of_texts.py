"""Losses between layers of encoders of transformers, whose texts are padded."""

import copy

import pytest
import torch
from support.encoders import PADDING, new_classifier, texts_of

from limbeck._base.errors import ConfigError
from limbeck.data.inputs import Inputs
from limbeck.losses import Feature
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.features import FeatureTerm, find_layer, token_mask

pytest.importorskip("transformers")

FEATURES = [
    Feature(kind="hint", student="bert.embeddings", teacher="bert.embeddings"),
    Feature(kind="cosine", student="bert.encoder.layer.1", teacher="net.bert.encoder.layer.3"),
    Feature(
        kind="relation",
        student="bert.encoder.layer.1.attention.self.value",
        teacher="bert.encoder.layer.3.attention.self.value",
        heads=4,
    ),
    Feature(
        kind="attention",
        student="bert.encoder.layer.0.attention",  # returns a tuple
        teacher="bert.encoder.layer.0.attention",
    ),
]


@pytest.fixture
def models():
    student = new_classifier(seed=1, num_hidden_layers=2, hidden_size=8, intermediate_size=8)
    return student, LiveTeacher(new_classifier())


def term_of(models, features, ids):
    student, teacher = models
    term = FeatureTerm(features, student, teacher)
    term.fit_to(ids)
    return term


def loss_of(term, models, ids):
    student, teacher = models
    with torch.no_grad(), term.record_outputs():
        student(ids)
        teacher.answer(ids)
        return term(ids)


def test_padding_changes_no_loss_between_layers(models):
    ids = texts_of(4, 9)
    term = term_of(models, FEATURES, ids)
    together = loss_of(term, models, ids)
    alone = torch.cat([loss_of(term, models, ids[:1, :4]), loss_of(term, models, ids[1:, :9])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together > 0.1).all()


def test_a_copy_of_the_teacher_has_no_loss_but_that_of_its_projections():
    student, teacher = new_classifier(), LiveTeacher(new_classifier())
    features = [
        Feature(kind=kind, student=path, teacher=path)
        for kind, path in (
            ("cosine", "bert.encoder.layer.2"),
            ("relation", "bert.encoder.layer.2.attention.self.key"),
            ("attention", "bert.encoder.layer.2"),
        )
    ]
    ids = texts_of(4, 9)
    term = term_of((student, teacher), features, ids)
    assert not list(term.parameters())
    assert loss_of(term, (student, teacher), ids).abs().max() < 1e-5


def test_attention_scores_are_the_scaled_products_of_queries_and_keys():
    """Jiao et al. 2020, equation 7, in float64, from the linear layers of the attention."""
    student, teacher = new_classifier(seed=1, num_hidden_layers=2), new_classifier()
    paths = "bert.encoder.layer.1.attention.self", "bert.encoder.layer.3.attention.self"
    feature = Feature(kind="attention_scores", student=paths[0], teacher=paths[1])
    ids, lengths = texts_of(4, 9), (4, 9)
    result = loss_of(
        term_of((student, LiveTeacher(teacher)), [feature], ids),
        (student, LiveTeacher(teacher)),
        ids,
    )
    own, other = (
        _scores(model, path, ids) for model, path in zip((student, teacher), paths, strict=True)
    )
    for row, length in enumerate(lengths):
        difference = (own - other)[row, :, :length, :length]
        centred = difference - difference.mean(-1, keepdim=True)
        torch.testing.assert_close(
            result[row].double(), centred.square().mean(), rtol=1e-4, atol=1e-6
        )


def _scores(model, path, ids):
    """Scores ``[B, A, L, L]`` of an attention in float64."""
    model, outputs = copy.deepcopy(model).double(), []
    attention = model.net.get_submodule(path)
    for layer in (attention.query, attention.key):
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        model(ids)
    queries, keys = (output.unflatten(-1, (2, 8)).transpose(1, 2) for output in outputs)
    return queries @ keys.mT / 8**0.5


def test_attention_scores_of_padding_and_dropout_change_nothing(models):
    student, teacher = new_classifier(seed=1, num_hidden_layers=2), models[1]
    path = "bert.encoder.layer.1.attention.self"
    feature = Feature(kind="attention_scores", student=path, teacher=path)
    ids = texts_of(4, 9)
    term = term_of((student, teacher), [feature], ids)
    together = loss_of(term, (student, teacher), ids)
    for row, length in enumerate((4, 9)):
        alone = loss_of(term, (student, teacher), ids[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-6)
    student.train()
    with term.record_outputs():
        student(ids)
        teacher.answer(ids)
        term(ids).sum().backward()
    gradient = student.net.get_submodule(path).query.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_layer_without_attention_weights_is_named(models):
    path = "bert.encoder.layer.1.output"
    feature = Feature(kind="attention_scores", student=path, teacher=path)
    with pytest.raises(ConfigError, match=r"layer bert\.encoder\.layer\.1\.output returned no att"):
        term_of(models, [feature], texts_of(4))


def test_the_mask_of_a_batch_comes_before_the_padding_of_a_model():
    ids, model = texts_of(4, 9), new_classifier()
    assert torch.equal(token_mask(ids, model), ids != PADDING)
    mask = torch.ones_like(ids)
    assert token_mask(Inputs((), {"input_ids": ids, "attention_mask": mask}), model) is mask
    assert token_mask(torch.rand(2, 3), model) is None
    assert token_mask(ids, torch.nn.Linear(2, 2)) is None


def test_layers_are_found_with_and_without_the_name_of_the_wrapper():
    model = new_classifier()
    layer = model.net.bert.encoder.layer[1]
    assert find_layer(model, "bert.encoder.layer.1", "student") is layer
    assert find_layer(model, "net.bert.encoder.layer.1", "student") is layer
    with pytest.raises(ConfigError, match=r"no layer bert\.encoder\.layer\.9\. Did you mean"):
        find_layer(model, "bert.encoder.layer.9", "student")
