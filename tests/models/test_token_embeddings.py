"""Embeddings of tokens from a teacher."""

import pytest
import torch
from sklearn.decomposition import PCA
from support.encoders import CLASSES, LENGTH, PADDING, VOCABULARY, new_classifier
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import BagOfEmbeddings, OutputMap, TextEncoder
from limbeck.models.token_embeddings import teacher_embeddings

TEXTS = {"vocabulary": VOCABULARY, "padding": PADDING}


def encoder(width=16):
    torch.manual_seed(0)
    return TextEncoder((LENGTH,), CLASSES, width=width, layers=1, **TEXTS)


def test_embeddings_of_the_same_width_are_those_of_the_teacher_but_for_mean_and_scale():
    teacher = encoder()
    table = teacher_embeddings(OutputMap(teacher, [0, 1, 2]), VOCABULARY, 16)
    centred = teacher.tokens.weight.detach() - teacher.tokens.weight.detach().mean(0)
    torch.testing.assert_close(table, centred / centred.std())


def test_fewer_dimensions_are_the_principal_components():
    teacher = encoder()
    table = teacher_embeddings(teacher, VOCABULARY, 5)
    expected = torch.from_numpy(PCA(5).fit_transform(teacher.tokens.weight.detach().double()))
    expected = (expected / expected.std()).float()
    torch.testing.assert_close(table @ table.T, expected @ expected.T, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(table.abs(), expected.abs(), rtol=1e-3, atol=1e-4)


def test_a_bag_starts_from_an_encoder_of_transformers():
    pytest.importorskip("transformers")
    teacher = new_classifier()
    bag = BagOfEmbeddings((LENGTH,), CLASSES, width=16, init="teacher", teacher=teacher, **TEXTS)
    weight = teacher.net.get_input_embeddings().weight.detach()
    own = bag.tokens.weight.detach()
    distances = [torch.cdist(table, table).flatten() for table in (own, weight)]
    assert torch.corrcoef(torch.stack(distances))[0, 1] > 0.9999
    assert bag.tokens.weight.requires_grad
    assert "init" not in bag.arguments


@pytest.mark.parametrize(
    ("teacher", "width", "message"),
    [
        (None, 4, "needs a teacher"),
        (nn.Linear(2, 2), 4, "the teacher, Linear, has none"),
        (encoder(), 17, "width=17 is more than the 16 dimensions"),
    ],
)
def test_teachers_without_these_embeddings_are_refused(teacher, width, message):
    with pytest.raises(ConfigError, match=message):
        BagOfEmbeddings((LENGTH,), CLASSES, width=width, init="teacher", teacher=teacher, **TEXTS)


def test_embeddings_of_other_tokens_are_refused():
    with pytest.raises(ConfigError, match="30 tokens, but the data has 31"):
        teacher_embeddings(encoder(), VOCABULARY + 1, 4)
