"""A small model that was saved."""

import pytest
from support.saved_models import NAMES, small

from limbeck.models import save_model


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    save_model(small(), folder, class_names=NAMES)
    return folder
