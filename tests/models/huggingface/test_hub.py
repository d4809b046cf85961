"""Models read from a folder of transformers or from the hub, and folders that are refused."""

import json
import pickle
import time

import pytest
import torch
from support.huggingface_models import CLASSES, KINDS, LENGTH, ids_of, new_model, rewrite, theirs
from support.saved_models import Exploding

from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck.models import HuggingFace

pytest.importorskip("transformers")


def test_without_a_network_a_name_is_a_resource_error(monkeypatch, tmp_path):
    """A refused connection is reported at once, not after the client's many attempts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(
        ResourceError, match=r"could not be downloaded from the hub.*choose a local folder"
    ) as e:
        HuggingFace((LENGTH,), CLASSES, path="someone/some-model")
    assert e.value.exit_code == 6
    assert time.monotonic() - start < 5


def test_a_name_unknown_to_the_hub_is_refused(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    def unknown(*_, **__):
        raise HFValidationError("no such name")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(
        ConfigError,
        match="someone/nothing is not a local folder, and the hub has no model of that name",
    ):
        HuggingFace((LENGTH,), CLASSES, path="someone/nothing")


@pytest.mark.parametrize("reachable", [True, False])
def test_a_name_on_the_hub_is_downloaded_or_read_from_the_cache(monkeypatch, folder, reachable):
    """What was fetched before serves without a network; never more is asked for than settings and
    safetensors.
    """
    import huggingface_hub

    def info(*_, timeout, **__):
        assert timeout <= 10
        if not reachable:
            raise OSError("no route to host")

    def snapshot(name, *, allow_patterns, local_files_only=False):
        assert name == "someone/model"
        assert local_files_only is not reachable
        assert all(pattern.endswith((".json", ".safetensors")) for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    model = HuggingFace((LENGTH,), CLASSES, path="someone/model").eval()
    assert torch.equal(model(ids_of()), new_model().eval()(ids_of()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_save_pretrained_gives_the_same_logits_as_in_transformers(tmp_path, kind):
    net = new_model(kind).net
    net.save_pretrained(tmp_path, max_shard_size="2KB" if kind == "llama" else "1GB")
    model = HuggingFace((LENGTH - 2,), CLASSES - 1, path=str(tmp_path))
    assert model.training
    model.eval()
    ids = ids_of(CLASSES - 1, LENGTH - 2)
    assert torch.equal(model(ids), theirs(tmp_path, ids)[..., : CLASSES - 1])
    assert model.padded == 1


def test_half_precision_becomes_float32(tmp_path):
    new_model().net.to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in HuggingFace((LENGTH,), CLASSES, path=tmp_path).parameters()} == {
        torch.float32
    }


def test_the_vocabulary_is_that_of_the_tokenizer_in_the_folder(folder):
    tokenizers = pytest.importorskip("tokenizers")
    assert HuggingFace((LENGTH,), CLASSES, path=folder).vocabulary is None
    words = {"a": 0, "b": 1, "d": 4}  # the added one gets the id 3
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="a"))
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    model = HuggingFace((LENGTH,), CLASSES, path=folder)
    assert model.vocabulary == ["a", "b", "<unused 2>", "<end>", "d"]
    for content in ("{", "[]", '{"model": 1}'):
        (folder / "tokenizer.json").write_text(content)
        with pytest.raises(UntrustedFileError, match=r"tokenizer\.json"):
            HuggingFace((LENGTH,), CLASSES, path=folder).vocabulary  # noqa: B018


def test_a_folder_without_a_model_is_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"does not exist\. Choose a folder"):
        HuggingFace((LENGTH,), CLASSES, path=tmp_path / "no where")
    with pytest.raises(ConfigError, match="is a file"):
        HuggingFace((LENGTH,), CLASSES, path=folder / "config.json")
    (folder / "model.safetensors").rename(folder / "kept")
    with pytest.raises(ConfigError, match=r"contains no model\.safetensors"):
        HuggingFace((LENGTH,), CLASSES, path=folder)
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"contains no config\.json"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, "[1]", "null"], ids=lambda text: text[:4]
)
def test_damaged_settings_are_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UntrustedFileError, match=r"config\.json"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


def test_an_unknown_architecture_in_a_folder_is_refused(folder):
    rewrite(folder / "config.json", model_type="gpt9")
    with pytest.raises(
        ConfigError, match=r"config\.json: transformers has no causal language model"
    ):
        HuggingFace((LENGTH,), CLASSES, path=folder)


@pytest.mark.parametrize("damage", ["cut", "header", "empty"])
def test_damaged_weights_are_refused(folder, damage):
    file = folder / "model.safetensors"
    good = file.read_bytes()
    file.write_bytes(
        {"cut": good[: len(good) // 2], "header": b"\xff" * 20 + good[20:], "empty": b""}[damage]
    )
    with pytest.raises(UntrustedFileError, match="damaged or cannot be read"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


def test_pickled_weights_are_refused_unread(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploding()))
    with pytest.raises(
        UntrustedFileError, match=r"pytorch_model\.bin is a pickle that torch\.save"
    ):
        HuggingFace((LENGTH,), CLASSES, path=folder)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "pytorch_model.bin"}})
    )
    with pytest.raises(UntrustedFileError, match=r"names the file 'pytorch_model\.bin'"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


@pytest.mark.parametrize("parts", [1, 2])
def test_weights_of_torch_save_are_read_as_data(folder, parts):
    state = dict(new_model().net.state_dict())
    names = {}
    for number, name in enumerate(state):
        names[name] = f"pytorch_model-0000{1 + number % parts}-of-0000{parts}.bin"
    if parts == 1:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        for file in set(names.values()):
            torch.save({name: state[name] for name in state if names[name] == file}, folder / file)
        index = {"metadata": {}, "weight_map": names}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    model = HuggingFace((LENGTH,), CLASSES, path=folder).eval()
    assert torch.equal(model(ids_of()), new_model().eval()(ids_of()))
    rewrite(folder / "config.json", n_layer=3)
    with pytest.raises(
        ConfigError, match=r"do not fit config\.json: transformer\.h\.2.*is missing"
    ):
        HuggingFace((LENGTH,), CLASSES, path=folder)


def test_an_adapter_is_refused(folder):
    """transformers would load the model that it names instead of the one in the folder."""
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/model"}')
    with pytest.raises(ConfigError, match="contains an adapter"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", 3, None])
def test_parts_outside_of_the_folder_are_refused(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(UntrustedFileError, match=r"expected a \.safetensors file"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


def test_an_incomplete_copy_is_refused(tmp_path):
    new_model().net.save_pretrained(tmp_path, max_shard_size="2KB")
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(UntrustedFileError, match=r"lacks model-00002.*not complete"):
        HuggingFace((LENGTH,), CLASSES, path=tmp_path)


def test_weights_of_another_architecture_are_refused(folder):
    rewrite(folder / "config.json", n_layer=3)
    with pytest.raises(
        ConfigError, match=r"do not fit config\.json: transformer\.h\.2.*is missing"
    ):
        HuggingFace((LENGTH,), CLASSES, path=folder)
    rewrite(folder / "config.json", n_layer=2, n_embd=32)
    with pytest.raises(ConfigError, match=r"has the shape \[16\], not \[32\]"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


@pytest.mark.parametrize("settings", [{"n_layer": 100_000}, {"n_embd": 100_000, "n_head": 1000}])
def test_settings_of_a_larger_model_take_no_memory(folder, settings):
    rewrite(folder / "config.json", **settings)
    with pytest.raises(ConfigError, match=r"do not fit config\.json: .* in a file of"):
        HuggingFace((LENGTH,), CLASSES, path=folder)


def test_code_in_a_folder_is_never_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    rewrite(
        folder / "config.json",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
        attn_implementation="someone/kernels",
        _attn_implementation_internal="someone/kernels",
        _name_or_path="someone/model",
        trust_remote_code=True,
    )
    model = HuggingFace((LENGTH,), CLASSES, path=folder).eval()
    assert "auto_map" not in model.arguments["config"]
    assert torch.equal(model(ids_of()), new_model().eval()(ids_of()))
