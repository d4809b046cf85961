"""A folder with a tiny GPT-2, as transformers saves it."""

import pytest
from support.huggingface_models import new_model


@pytest.fixture
def folder(tmp_path):
    new_model().net.save_pretrained(tmp_path)
    return tmp_path
