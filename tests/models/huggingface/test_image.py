"""Image classifiers of transformers read from a folder, with their normalisation and size."""

import json

import pytest
import torch
from support.huggingface_models import rewrite
from torch.nn import functional as F

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.models import LoadedModel
from limbeck.models.huggingface.image import is_image_classifier, load_image_classifier
from limbeck.models.output import logits_of
from limbeck.teacher.files import load_other

transformers = pytest.importorskip("transformers")

SIZES = {
    "image_size": 8,
    "patch_size": 4,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def save(folder, names=("cat", "dog", "eel"), kind="ViT", network="ForImageClassification"):
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        **SIZES,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    model = getattr(transformers, f"{kind}{network}")(config).eval()
    model.save_pretrained(folder)
    processor = {
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
        "size": {"height": 8, "width": 8},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def theirs(model, x, mean=MEAN, std=STD, size=8):
    mean, std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
    if x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    with torch.no_grad():
        return model(((x - mean) / std).expand(-1, 3, -1, -1)).logits


def ours(model, x=X):
    with torch.no_grad():
        return logits_of(model(x), len(x), "teacher")


@pytest.mark.parametrize("network", ["ForImageClassification", "ForImageClassificationWithTeacher"])
def test_a_folder_is_a_teacher_with_its_normalisation_and_size(tmp_path, network):
    model = save(tmp_path, kind="DeiT", network=network)
    result = load_other(tmp_path)
    assert isinstance(result, LoadedModel)
    torch.testing.assert_close(ours(result.model), theirs(model, X))
    assert result.description == {"class_names": ["cat", "dog", "eel"]}
    assert not result.model.training
    grey = X[:, :1]
    torch.testing.assert_close(ours(result.model, grey), theirs(model, grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("changes", "mean", "std"),
    [
        (
            {"rescale_factor": 1 / 127.5, "rescale_offset": True},
            [0.75, 0.7, 0.65],
            [0.1, 0.15, 0.2],
        ),
        ({"do_normalize": False}, [0.0] * 3, [1.0] * 3),
        ({"size": 8}, MEAN, STD),
        ({"size": {"shortest_edge": 8}}, MEAN, STD),
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 8}, MEAN, STD),
    ],
)
def test_the_settings_of_the_image_processor_are_followed(tmp_path, changes, mean, std):
    model = save(tmp_path)
    rewrite(tmp_path / "preprocessor_config.json", **changes)
    result, _ = load_image_classifier(tmp_path)
    torch.testing.assert_close(ours(result), theirs(model, X, mean, std))


def test_without_a_processor_images_are_used_as_they_are(tmp_path):
    model = save(tmp_path, names=("LABEL_0", "LABEL_1"))
    (tmp_path / "preprocessor_config.json").unlink()
    result, names = load_image_classifier(tmp_path)
    x = X[..., :8, :8]
    torch.testing.assert_close(ours(result, x), theirs(model, x, [0.0], [1.0]))
    assert names is None


def test_pickled_weights_are_read_as_data(tmp_path):
    model = save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(ours(load_image_classifier(tmp_path)[0]), theirs(model, X))


@pytest.mark.parametrize(
    "processor",
    [
        {"image_mean": "a"},
        {"image_std": None},
        {"rescale_factor": 0},
        {"size": {"width": 3}},
        {"size": -1},
        {"size": {"height": 10**9, "width": 8}},
    ],
)
def test_a_damaged_processor_is_refused(tmp_path, processor):
    save(tmp_path)
    rewrite(tmp_path / "preprocessor_config.json", **processor)
    with pytest.raises(UntrustedFileError, match=r"preprocessor_config\.json is damaged"):
        load_image_classifier(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "no image classifier of model_type 'gpt2'"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"num_hidden_layers": 100_000}, "do not fit config"),
        ({"hidden_size": 100_000, "num_attention_heads": 1000}, "do not fit config"),
        ({"num_hidden_layers": 2}, "is missing"),
        ({"hidden_size": "a"}, "transformers cannot"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
    save(tmp_path)
    rewrite(tmp_path / "config.json", **changes)
    with pytest.raises(ConfigError, match=message):
        load_image_classifier(tmp_path)


def test_code_in_a_folder_is_never_run(tmp_path):
    model = save(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    rewrite(
        tmp_path / "config.json",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"},
        trust_remote_code=True,
    )
    torch.testing.assert_close(ours(load_image_classifier(tmp_path)[0]), theirs(model, X))


def test_other_folders_are_no_image_classifiers(tmp_path):
    assert not is_image_classifier(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    assert not is_image_classifier(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    assert not is_image_classifier(tmp_path)
    assert load_other(tmp_path) is None
