"""Models of transformers built from settings, and settings that are refused."""

import pytest
import torch
from support.huggingface_models import CLASSES, GPT2, KINDS, LENGTH, PLAIN, SMALL, ids_of, new_model

from limbeck._base.errors import ConfigError
from limbeck.models import HuggingFace, load_model, save_model
from limbeck.models.huggingface import hub as hub_module
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack

pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_come_from_the_data(kind):
    model = new_model(kind)
    assert model.training
    assert model(ids_of()).shape == (3, LENGTH, CLASSES)
    assert model.net.config.vocab_size == CLASSES
    assert model.positions == (None if kind == "bloom" else LENGTH)
    assert (model.padded, model.vocabulary) == (0, None)
    assert model.name == f"{kind}-2x16"
    if model.positions:
        with pytest.raises(
            ConfigError, match="A block of 9 tokens is longer than the model's 8 positions"
        ):
            model(ids_of(length=9))


def test_the_seed_alone_decides_the_initial_weights():
    first, second, other = new_model(seed=1), new_model(seed=1), new_model(seed=2)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_features_times_the_output_or_there_is_none(kind):
    model = new_model(kind).eval()
    if kind not in PLAIN:
        assert model.last_layer() is None
        return
    weight, bias = model.last_layer()
    result = model.hidden(ids_of()) @ weight.T + (0 if bias is None else bias)
    torch.testing.assert_close(result, model(ids_of()), rtol=1e-4, atol=1e-5)
    result.sum().backward()
    assert weight.shape == (CLASSES, 16)
    assert bool(model.net.get_output_embeddings().weight.grad.abs().sum() > 0)


def test_a_padded_vocabulary_is_cut():
    model = new_model(vocab_size=CLASSES + 5).eval()
    assert model.padded == 5
    whole = model.net(ids_of()).logits
    assert torch.equal(model(ids_of()), whole[..., :CLASSES])
    weight, _ = model.last_layer()
    torch.testing.assert_close(
        model.hidden(ids_of()) @ weight.T, whole[..., :CLASSES], rtol=1e-4, atol=1e-5
    )


def test_parts_keep_their_modes():
    model = new_model()
    assert all(part.training for part in model.modules())


def test_each_seed_is_a_cohort_of_its_own():
    assert "no stacked form" in reason_not_to_stack(new_model(), 2)
    cohort = Cohort.of_one(new_model().eval())
    weight, _ = cohort.output
    ids = ids_of()[None]
    assert cohort(ids).shape == (1, 1, 3, LENGTH, CLASSES)
    torch.testing.assert_close(
        cohort.hidden(ids) @ weight[0, 0].T, cohort(ids), rtol=1e-4, atol=1e-5
    )
    assert Cohort.of_one(new_model("gemma2")).output is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model_type": "lama"},
            "no causal language model of model_type 'lama'. Did you mean llama",
        ),
        ({"n_embd": 4}, "model_type None"),
        ({"model_type": "vit"}, "no causal language model of model_type 'vit'"),
        (GPT2 | {"n_embed": 8}, "unknown setting n_embed. Did you mean n_embd"),
        (GPT2 | {"n_embd": "wide"}, "cannot"),
        (GPT2 | {"n_head": 3}, "cannot build the model"),
        (GPT2 | {"activation_function": "magic"}, "cannot build the model"),
        (GPT2 | {"vocab_size": CLASSES - 1}, "vocabulary has 29 entries but the data's has 30"),
        (
            GPT2 | {"n_positions": LENGTH - 1},
            "a block of 8 tokens is longer than the model's 7 positions",
        ),
        (GPT2 | {"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        (SMALL | {"model_type": "bert"}, "sees the tokens that it should predict.*is_decoder"),
    ],
)
def test_settings_that_fit_no_model_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HuggingFace((LENGTH,), CLASSES, config=settings)


def test_path_or_settings_and_blocks_of_tokens_are_needed():
    with pytest.raises(ConfigError, match=r"needs the folder or name of a model \(path\)"):
        HuggingFace((LENGTH,), CLASSES)
    with pytest.raises(ConfigError, match="needs blocks of tokens"):
        HuggingFace((3, 8, 8), CLASSES, config=GPT2)


def test_bert_as_a_decoder_is_causal():
    made_one = HuggingFace(
        (LENGTH,), CLASSES, config=SMALL | {"model_type": "bert", "is_decoder": True}
    )
    assert made_one(ids_of()).shape == (3, LENGTH, CLASSES)


def test_a_missing_transformers_is_named_with_its_extra(monkeypatch, folder):
    save_model(new_model(), folder, class_names=[str(i) for i in range(CLASSES)])
    monkeypatch.setattr(hub_module, "find_spec", lambda name: None)
    for make in (lambda: HuggingFace((LENGTH,), CLASSES, config=GPT2), lambda: load_model(folder)):
        with pytest.raises(ConfigError, match=r"pip install 'limbeck\[hf\]'"):
            make()
