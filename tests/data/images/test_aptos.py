import pytest
import torch
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
