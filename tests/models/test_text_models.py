"""Students that classify texts: the padding changes nothing, and they are rebuilt and stacked."""

import copy

import pytest
import torch
from support.text_models import LENGTH, PADDING, TEXT_MODELS, build_text_model, random_texts

from limbeck._base.errors import ConfigError
from limbeck.models import BagOfEmbeddings, TextCNN, TextEncoder, load_model, save_model
from limbeck.training.cohort.stack import Cohort


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_text_alone_has_the_logits_that_it_has_in_a_long_batch(name):
    model = build_text_model(name).double().eval()
    ids = random_texts([1, 2, 5, LENGTH, 3])
    logits = model(ids)
    for row, length in enumerate([1, 2, 5, LENGTH, 3]):
        alone = model(ids[row : row + 1, :length])
        torch.testing.assert_close(alone[0], logits[row], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_gradients_do_not_depend_on_the_padding(name):
    model = build_text_model(name).double()
    ids = random_texts([2, 4, 3])
    weights = list(model.parameters())
    cut, full = (
        torch.autograd.grad(model(inputs).square().sum(), weights) for inputs in (ids[:, :4], ids)
    )
    for first, second in zip(cut, full, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-13)
    assert not full[0][PADDING].any()


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_saved_text_models_are_rebuilt(name, tmp_path):
    model = build_text_model(name).eval()
    save_model(model, tmp_path, class_names=["a", "b", "c"])
    loaded = load_model(tmp_path).model
    ids = random_texts([3, 7])
    assert type(loaded) is type(model)
    assert torch.equal(loaded(ids), model(ids))


def test_a_bag_is_the_mean_of_embeddings_and_a_linear_layer():
    model = build_text_model("bag", hidden=[])
    ids = random_texts([3])
    mean = model.tokens.weight[ids[0, :3]].mean(0)
    torch.testing.assert_close(model(ids)[0], model.layers[-1](mean))


def test_a_text_cnn_takes_the_largest_output_over_all_phrases():
    model = build_text_model("text_cnn", sizes=[2]).double()
    (convolution,) = model.convolutions
    ids = random_texts([4])
    x = model.tokens.weight[ids[0, :4]]
    phrases = [torch.zeros(2, x.shape[1], dtype=x.dtype), *x.unfold(0, 2, 1).mT]
    phrases[0][1] = x[0]  # the first token after nothing
    outputs = torch.stack([(convolution.weight * p.T).sum((1, 2)) for p in phrases])
    features = (outputs + convolution.bias).relu().amax(0)
    torch.testing.assert_close(model(ids)[0], model.head(features))


def test_the_attention_of_an_encoder_is_that_of_pytorch():
    block = build_text_model("encoder").blocks[0].double()
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    is_token = torch.tensor([[True] * 5, [True, True, True, False, False]])
    q, k, v = (
        part.unflatten(-1, (block.heads, -1)).transpose(1, 2)
        for part in block.qkv(block.norm1(x)).chunk(3, -1)
    )
    attended = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=is_token[:, None, None]
    )
    y = x + block.out(attended.transpose(1, 2).flatten(2))
    y = y + block.down(torch.nn.functional.gelu(block.up(block.norm2(y))))
    torch.testing.assert_close(block(x, is_token), y)


def test_dropout_of_an_encoder_does_not_depend_on_the_length_of_the_batch():
    model = build_text_model("encoder", dropout=0.5).double().train()
    ids = random_texts([4, 3])
    logits = []
    for inputs in (ids[:, :4], ids):
        torch.manual_seed(0)
        logits.append(model(inputs))
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (BagOfEmbeddings, {"shape": (1, 8, 8)}, r"needs texts \[L\]"),
        (BagOfEmbeddings, {"vocabulary": 0}, r"needs texts \[L\]"),
        (BagOfEmbeddings, {"padding": 9}, "padding=9 should be from 0 to 8"),
        (TextCNN, {"sizes": [2, 2]}, "at least one number, each once"),
        (TextEncoder, {"width": 9}, "multiple of heads=2"),
    ],
)
def test_settings_out_of_range_are_refused(build, options, message):
    arguments = {"shape": (8,), "classes": 2, "vocabulary": 9, "padding": 8, **options}
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


def test_names_show_the_sizes():
    names = [build_text_model(name).name for name in TEXT_MODELS]
    assert names == ["bag-16-8", "text-cnn-8x2-3-4", "encoder-2x16"]


def test_special_tokens_of_a_bag_do_not_count_alone_or_in_a_cohort():
    plain = build_text_model("bag").eval()
    bag = build_text_model("bag", special=[3, 7]).eval()
    bag.load_state_dict(plain.state_dict())
    texts = random_texts([6, 9, 12])
    rows = [row[(row != 3) & (row != 7) & (row != PADDING)] for row in texts]
    expected = torch.cat([plain(row[None]) for row in rows])
    torch.testing.assert_close(bag(texts), expected)
    cohort = Cohort([[bag, copy.deepcopy(bag)]]).eval()
    torch.testing.assert_close(cohort(texts.expand(2, -1, -1))[0, 1], expected)
