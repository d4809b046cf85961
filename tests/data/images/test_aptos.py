import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from support.fundus import write_aptos
from support.image_files import splits_of

from limbeck._base.errors import DataError
from limbeck.data import aptos


def test_photographs_have_grades_and_no_black_border(tmp_path):
    data = aptos(write_aptos(tmp_path, 8), size=32)
    assert (data.name, data.shape, data.classes, data.ordinal) == ("aptos", (3, 32, 32), 5, True)
    assert data.crop_border
    assert data.head(10).ordinal
    labels = torch.cat([split.labels for split in splits_of(data).values()])
    assert labels.bincount().tolist() == [8] * 5
    red = data.train.inputs[:, 0].float()
    assert red[:, 0, 0].mean() < 10 < 100 < red[:, 16, 16].mean()
    assert red[:, 16, :2].mean() > 60, "without the border the disc touches the edge"


@pytest.mark.parametrize("grade", ["5", "-1", "mild?", "1.5"])
def test_grades_out_of_range_are_named(tmp_path, grade):
    table = write_aptos(tmp_path, 1) / "train.csv"
    table.write_text(table.read_text().replace("000000000003,3", f"000000000003,{grade}"))
    with pytest.raises(
        DataError, match=r"1 labels in column diagnosis are not among no retinopathy, .*, 3, 4: "
    ):
        aptos(tmp_path, size=16)


@pytest.mark.slow
def test_photographs_with_borders_of_any_size_are_read(tmp_path):
    """Borders leave discs of all sizes, whose boxes rounding must not put outside the image."""
    random = np.random.default_rng(0)
    write_aptos(tmp_path, 12, size=300)
    for file in sorted((tmp_path / "train_images").iterdir()):
        with Image.open(file) as image:
            smaller = image.resize(random.integers(80, 500, 2).tolist())
        borders = tuple(random.integers(0, 200, 4).tolist())
        ImageOps.expand(smaller, borders, fill=(3, 2, 4)).save(file)
    data = aptos(tmp_path)
    assert data.shape == (3, 224, 224)
    assert sum(map(len, splits_of(data).values())) == 60
