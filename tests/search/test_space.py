"""Search spaces: the students that fit a dataset, and their sizes."""

import numpy as np
import pytest
import torch
from support.reviews import make_reviews, write_csv
from support.tables import table_dataset

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, text_csv
from limbeck.models import model_name
from limbeck.search.space import KINDS, SearchSpace, student_builder
from limbeck.study.arms import build


def images(side=8):
    x = torch.zeros(40, 1, side, side, dtype=torch.uint8)
    x[:, 0, 0, 0] = torch.arange(40)
    y = torch.arange(40) % 4
    return Dataset.from_arrays(x[:30], y[:30], x[30:], y[30:], name="images", val=6)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "reviews.csv"
    write_csv(file, make_reviews(60), header=("text", "label"))
    return text_csv(str(file), label="label", tokenizer="bytes")


def test_images_have_two_kinds_tables_one_and_texts_three(texts):
    space = SearchSpace()
    assert space.kinds(images()) == ["mlp", "convnet"]
    assert space.kinds(texts) == ["bag", "text_cnn", "encoder"]
    assert space.kinds(table_dataset()) == ["mlp"]


def test_models_of_libraries_are_for_images(texts):
    space = SearchSpace(students=["timm/mobilenetv3_small_050", "torchvision/resnet18"])
    assert space.kinds(images()) == list(space.students)
    with pytest.raises(ConfigError, match="Choose among bag, text_cnn, encoder"):
        space.kinds(texts)
    assert space.parameters_of_student("torchvision/resnet18") == []


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
@pytest.mark.parametrize("end", [0, 1])
def test_every_student_of_images_can_be_built(kind, end):
    check_ends(kind, end, images())


@pytest.mark.parametrize("kind", ["bag", "text_cnn", "encoder"])
@pytest.mark.parametrize("end", [0, 1])
def test_every_student_of_texts_can_be_built(kind, end, texts):
    check_ends(kind, end, texts)


def check_ends(kind, end, data):
    """Build the smallest or the largest student of a kind."""
    settings = {"student": kind, "width": int(KINDS[kind].width[end])}
    settings["depth"] = int(KINDS[kind].depth[end])
    model = build(student_builder(settings, data.shape), data, 0).eval()
    inputs = data.train.inputs[:2]
    outputs = model(inputs if data.tokenizer is not None else inputs.float() / 255)
    assert outputs.shape == (2, data.classes)


@pytest.mark.parametrize(
    ("side", "stride", "strides", "channels"),
    [
        (28, 2, [2, 1, 2, 1, 2, 1], [4, 4, 8, 8, 16, 16]),
        (28, 1, [1, 2, 1, 2, 1, 2], [4, 8, 8, 16, 16, 32]),
        (8, 2, [2, 1, 1, 1], [4, 4, 4, 4]),
        (8, 1, [1, 2, 1, 1], [4, 8, 8, 8]),
        (4, 2, [1, 1], [4, 4]),
    ],
)
def test_every_second_convolution_halves_an_image_that_is_large_enough(
    side, stride, strides, channels
):
    settings = {"student": "convnet", "width": 4, "depth": len(strides), "stride": stride}
    model = build(student_builder(settings, (1, side, side)), images(side), 0)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [layer.stride[0] for layer in convolutions] == strides
    assert [layer.out_channels for layer in convolutions] == channels


def test_width_and_depth_are_those_of_the_settings():
    settings = {"student": "mlp", "width": 7, "depth": 2}
    model = build(student_builder(settings, (1, 8, 8)), images(), 0)
    assert model_name(model) == "64-7-7-4"
    width, depth = SearchSpace(width=[5, 9], depth=3).parameters_of_student("mlp")
    assert (width.low, width.high, width.is_whole, width.is_log) == (5, 9, True, True)
    assert (depth.low, depth.high) == (3, 3)


def test_the_learning_rate_is_near_that_of_the_study():
    *_, rate = SearchSpace().parameters_of_training(0.01, has_temperature=True)
    assert (rate.low, rate.high) == pytest.approx((0.01 / 3, 0.1))
    *_, rate = SearchSpace(lr=[0.1, 0.2]).parameters_of_training(0.01, has_temperature=True)
    assert (rate.low, rate.high) == (0.1, 0.2)


def test_values_have_no_temperature():
    names = [p.name for p in SearchSpace().parameters_of_training(0.01, has_temperature=False)]
    assert names == ["soft_weight", "lr"]


def test_unknown_students_are_one_message():
    with pytest.raises(ConfigError, match="does not know: 'spaceship'"):
        student_builder({"student": "spaceship", "width": 8}, (8,))
    with pytest.raises(ConfigError, match="does not know: 'mlp'"):
        student_builder({"student": "mlp"}, (8,))


def test_vectors_are_for_mlps():
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    data = Dataset.from_arrays(x[:30], [0, 1] * 15, x[30:], [0, 1] * 5, val=6)
    assert SearchSpace().kinds(data) == ["mlp"]


def test_the_cheapest_convnet_halves_the_image_in_its_first_layer():
    """A stride of 1 would have more multiply-adds, and as many parameters."""
    settings = {"student": "convnet", "width": 4, "depth": 1, "stride": 2}
    assert SearchSpace().cheapest("convnet") == settings
    assert SearchSpace(stride=1).cheapest("convnet") == {**settings, "stride": 1}
    assert SearchSpace().cheapest("mlp") == {"student": "mlp", "width": 4, "depth": 1}


def test_a_stride_is_1_or_2():
    with pytest.raises(ConfigError, match=r"search.stride"):
        SearchSpace(stride=[1, 3])
