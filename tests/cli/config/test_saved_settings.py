"""Settings in the run folder of somebody else."""

import json

import pytest

from limbeck._base.errors import UntrustedFileError
from limbeck.cli.config.saved_settings import add_new_settings, read_saved_settings
from limbeck.run.folder import RunFolder


def write(folder, **sections):
    (folder / "config.yaml").write_text(json.dumps(sections))
    return RunFolder(folder)


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("student", {"student": {"hidden": [1] * 2001}}),
        ("arms.deep", {"arms": {"deep": {"student": {"hidden": [[1] * 1001] * 2}}}}),
        ("data", {"data": {"class_names": ["a"] * 20_001}}),
    ],
)
def test_a_small_file_with_a_model_of_many_layers_takes_no_time(tmp_path, name, sections):
    """100,000 layers took minutes, because each arm copies the settings of its student."""
    with pytest.raises(UntrustedFileError, match=rf"config\.yaml is damaged: {name} has more than"):
        read_saved_settings(write(tmp_path, **sections))


def test_large_sweeps_and_many_classes_are_read(tmp_path):
    arms = {f"t{number}": {"objective": {"temperature": number}} for number in range(1, 3000)}
    run = write(tmp_path, arms=arms, data={"class_names": ["a"] * 19_999})
    assert len(read_saved_settings(run)["arms"]) == 2999


@pytest.mark.parametrize("target", ["limbeck.data.image_folder", "limbeck.data.image_csv"])
def test_images_of_runs_before_version_0_2_keep_their_order_of_classes(tmp_path, target):
    run = write(tmp_path, data={"_target_": target, "root": "in"})
    assert add_new_settings(read_saved_settings(run))["data"]["class_order"] == "text"
    run = write(tmp_path, data={"_target_": target, "root": "in", "class_order": "natural"})
    assert add_new_settings(read_saved_settings(run))["data"]["class_order"] == "natural"
    run = write(tmp_path, data={"_target_": "limbeck.data.digits"})
    assert "class_order" not in add_new_settings(read_saved_settings(run))["data"]
