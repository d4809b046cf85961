"""APTOS 2019: grades of diabetic retinopathy."""

from pathlib import Path

from limbeck.data.dataset import Dataset
from limbeck.data.images.csv_table import image_csv

GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
"""Grades of diabetic retinopathy, 0 to 4."""


def aptos(
    root: str | Path = "data",
    *,
    size: int = 224,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """Load APTOS 2019: photographs of the retina with five grades of diabetic retinopathy.

    This is the labelled part of the dataset, as Kaggle distributes it: ``train.csv`` with the
    columns ``id_code`` and ``diagnosis``, and ``train_images/<id_code>.png``. Some photographs
    occur more than once; copies of an image are always in the same split.

    Args:
        root: Folder with ``train.csv`` and ``train_images``.
        size: Pixels per side, after the black border is cropped.
        test: Share of the images for testing.
        val: Share of the images for validation.
        split_seed: Seed of the splits.

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If a column, label or image is missing or not as expected.
        ResourceError: If there is no space for the decoded images.

    References:
        Asia Pacific Tele-Ophthalmology Society, "APTOS 2019 Blindness Detection", Kaggle 2019.
    """
    return image_csv(
        root,
        file_column="id_code",
        label_column="diagnosis",
        images="train_images",
        suffix=".png",
        class_names=GRADES,
        size=size,
        test=test,
        val=val,
        split_seed=split_seed,
        crop_border=True,
        ordinal=True,
        name="aptos",
    )
