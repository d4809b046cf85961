"""Models of transformers: built from settings, saved, loaded, and refused."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.huggingface_models import (
    CLASSES,
    GPT2,
    KINDS,
    LENGTH,
    PLAIN,
    SMALL,
    ids_of,
    new_model,
    rewrite,
    theirs,
)
from torch import nn

from limbeck._base.errors import ConfigError, LimbeckError, TeacherError, UntrustedFileError
from limbeck.models import (
    HuggingFace,
    Normalized,
    count_parameters,
    load_model,
    load_weights,
    save_model,
)
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
    assert cohort(ids_of()[None]).shape == (1, 1, 3, LENGTH, CLASSES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model_type": "lama"},
            "no causal language model of model_type 'lama'. Did you mean llama",
        ),
        ({"n_embd": 4}, "model_type None"),
        ({"model_type": "vit"}, "model_type 'vit'. Models of this type do other tasks"),
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


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_bitwise_in_limbeck_and_in_transformers(tmp_path, kind):
    model = new_model(kind, vocab_size=CLASSES + 2).eval()
    names = [f"t{i}" for i in range(CLASSES)]
    save_model(model, tmp_path, class_names=names)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "config.json",
        "model.json",
        "model.safetensors",
    ]
    before = torch.get_rng_state()
    result = load_model(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(part.training for part in result.model.modules())
    assert torch.equal(result.model(ids_of()), model(ids_of()))
    assert torch.equal(theirs(tmp_path, ids_of())[..., :CLASSES], model(ids_of()))
    described = result.description
    assert (described["builder"], described["padded"], described["class_names"]) == (
        "huggingface",
        2,
        names,
    )
    assert described["params"] == count_parameters(result.model) == count_parameters(model)
    assert (result.model.last_layer() is None) == (model.last_layer() is None)


def test_the_files_are_those_of_transformers(tmp_path):
    from safetensors import safe_open

    model = new_model()
    save_model(model, tmp_path, class_names=["?"] * CLASSES)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
    assert names == set(model.net.state_dict()) - {"lm_head.weight"}, "tied weights once"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "gpt2"


def test_a_model_trained_from_a_path_is_saved_too(folder, tmp_path):
    model = HuggingFace((LENGTH,), CLASSES, path=folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    save_model(model, tmp_path / "saved", class_names=["?"] * CLASSES)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()  # nothing of the first folder is needed again
    assert torch.equal(load_model(tmp_path / "saved").model(ids_of()), model.eval()(ids_of()))


def test_weights_of_transformers_fill_a_model(folder):
    result = load_model(folder, new_model)
    assert torch.equal(result.model(ids_of()), new_model().eval()(ids_of()))
    wrong = lambda: new_model(n_layer=1)  # noqa: E731
    with pytest.raises(
        TeacherError,
        match=r"does not fit the model gpt2-1x16: transformer\.h\.1.*does not belong to this model",
    ):
        load_model(folder, wrong)
    with pytest.raises(TeacherError, match="is missing"):
        load_weights(new_model(n_layer=3), folder / "model.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {}},
        {"config": None},
        {"config": 3},
        {"config": {"model_type": "gpt2"}},
        {"config": {"model_type": "no_such"}},
        {"config": {"model_type": ["gpt2"]}},
        {"path": "someone/model"},
        {"shape": [10**9]},
        {"shape": "8"},
        {"classes": 10**9},
        {"classes": "30"},
        {"trust_remote_code": True},
        {"_target_": "os.system"},
    ],
    ids=str,
)
def test_a_changed_description_is_refused(tmp_path, changes):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    described = json.loads((tmp_path / "model.json").read_text())
    rewrite(tmp_path / "model.json", arguments=described["arguments"] | changes)
    with pytest.raises(UntrustedFileError, match="cannot be built") as caught:
        load_model(tmp_path)
    assert str(tmp_path / "model.json") in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"n_embd": 16 * 10**6},
        {"n_embd": 10**30},
        {"n_inner": 10**9},
        {"n_positions": 10**9},
        {"vocab_size": 10**12},
        {"n_layer": 10**9},
        {"n_head": 10**9},
        {"n_layer": 3},
        {"n_embd": 18},
    ],
    ids=str,
)
def test_absurd_sizes_take_neither_memory_nor_time(tmp_path, config, monkeypatch):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    arguments = json.loads((tmp_path / "model.json").read_text())["arguments"]
    rewrite(tmp_path / "model.json", arguments=arguments | {"config": arguments["config"] | config})
    if max(config.values()) > 100:
        monkeypatch.setattr(
            HuggingFace, "load_weights", lambda *_: pytest.fail("memory was asked for")
        )
    start = time.monotonic()
    with pytest.raises(LimbeckError, match=r"cannot be built|does not fit"):
        load_model(tmp_path)
    assert time.monotonic() - start < 5


def test_experts_that_no_weights_have_are_refused(tmp_path):
    save_model(new_model("mixtral"), tmp_path, class_names=["?"] * CLASSES)
    arguments = json.loads((tmp_path / "model.json").read_text())["arguments"]
    rewrite(
        tmp_path / "model.json",
        arguments=arguments | {"config": arguments["config"] | {"num_local_experts": 10**9}},
    )
    with pytest.raises(UntrustedFileError, match="num_local_experts 1000000000"):
        load_model(tmp_path)


def test_code_named_in_a_description_is_never_run(tmp_path, monkeypatch):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = json.loads((tmp_path / "model.json").read_text())["arguments"]
    selected = {
        "auto_map": {"AutoModelForCausalLM": "evil.Model"},
        "attn_implementation": "someone/kernels",
    }
    rewrite(
        tmp_path / "model.json", arguments=arguments | {"config": arguments["config"] | selected}
    )
    assert torch.equal(load_model(tmp_path).model(ids_of()), new_model().eval()(ids_of()))


def test_a_normalisation_is_refused(tmp_path):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    rewrite(tmp_path / "model.json", normalize={"mean": [0.5], "std": [1.0]})
    with pytest.raises(UntrustedFileError, match="no normalisation"):
        load_model(tmp_path)


def test_one_changed_byte_is_noticed(tmp_path):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    weights = load_file(tmp_path / "model.safetensors")
    weights["transformer.wpe.weight"][0, 0] += 1
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UntrustedFileError, match="SHA-256"):
        load_model(tmp_path)


def test_a_failed_save_keeps_the_last_model(tmp_path, monkeypatch):
    model = new_model()
    save_model(model, tmp_path, class_names=["?"] * CLASSES)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(model.net), "save_pretrained", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(new_model(seed=1), tmp_path, class_names=["?"] * CLASSES)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_nothing_is_printed(tmp_path, capfd):
    save_model(new_model(), tmp_path, class_names=["?"] * CLASSES)
    load_model(tmp_path)
    HuggingFace((LENGTH,), CLASSES, path=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_tied_tensors_are_saved_once_each(tmp_path):
    """A module of a user's own that holds one of transformers keeps all names."""
    model = nn.Sequential(new_model().net)
    save_model(Normalized(model, [0.0], [1.0]), tmp_path, class_names=["?"])
    names = load_file(tmp_path / "model.safetensors")
    assert torch.equal(names["net.0.lm_head.weight"], names["net.0.transformer.wte.weight"])
