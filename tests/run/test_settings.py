"""Settings of a run are compared by meaning, and each difference is named."""

import pytest

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.run import settings
from limbeck.run.folder import RunFolder
from limbeck.run.renamed_targets import MOVED, REPLACED
from limbeck.run.settings import changed_settings, check_same_settings, read_settings

EARLIER = {
    "epochs": 2,
    "optimizer": {"name": "adam", "lr": 0.001},
    "data": {"_target_": next(iter(MOVED))},
    "logger": {"tensorboard": {"_target_": next(iter(REPLACED))}},
    "arms": {"hard": {"objective": {"hard_weight": 1}}, "soft": {}},
    "seeds": [0, 1],
    "trainer": {"devices": 2, "num_nodes": 1},
    "out": "runs/a",
}
DEFAULTS = {"": {"examples": 8}, "objective": {"smoothing": 0.0}, "optimizer": {"momentum": 0.9}}


def changes(**now):
    return changed_settings(EARLIER, {**EARLIER, **now}, DEFAULTS)


@pytest.mark.parametrize(
    "now",
    [
        {},
        {"epochs": 2.0},
        {"epochs": "2"},
        {"optimizer": {"lr": "1e-3", "name": "adam"}},
        {"optimizer": {"lr": 1e-3, "name": "adam", "momentum": 0.9}},
        {"data": {"_target_": next(iter(MOVED.values()))}},
        {"logger": {"tensorboard": {"_target_": next(iter(REPLACED.values()))}}},
        {"arms": {"hard": {"objective": {"hard_weight": 1.0, "smoothing": 0}}, "soft": {}}},
        {"examples": 8, "bias": None},
        {"out": "runs/b", "overwrite": True},
        {"trainer": {"devices": 4, "num_nodes": 2}},
    ],
)
def test_settings_of_the_same_meaning_are_equal(now):
    assert changes(**now) == []
    assert changed_settings({**EARLIER, **now}, EARLIER, DEFAULTS) == []


@pytest.mark.parametrize(
    ("now", "change"),
    [
        ({"epochs": 3}, "epochs: 2 in the run, 3 now"),
        ({"epochs": None}, "epochs: 2 in the run, None now"),
        ({"epochs": True}, "epochs: 2 in the run, True now"),
        ({"optimizer": {"name": "adam", "lr": 0.002}}, "optimizer.lr: 0.001 in the run, 0.002 now"),
        (
            {"optimizer": {"name": "adam", "lr": 0.001, "momentum": 0.5}},
            "optimizer.momentum: 0.9 in the run, 0.5 now",
        ),
        ({"seeds": [0, 2]}, "seeds[1]: 1 in the run, 2 now"),
        ({"seeds": [0]}, "seeds: [0, 1] in the run, [0] now"),
        ({"quick": True}, "quick: not set in the run, True now"),
        (
            {"arms": {"soft": {}, "hard": {"objective": {"hard_weight": 1}}}},
            "the order of arms: hard, soft in the run, soft, hard now",
        ),
        (
            {"arms": {"hard": {"objective": {"hard_weight": 1}}}},
            "arms.soft: {} in the run, not set now",
        ),
    ],
)
def test_a_changed_setting_is_named_with_both_values(now, change):
    assert changes(**now) == [change]


def test_a_removed_setting_with_its_former_default_is_no_change(monkeypatch):
    monkeypatch.setattr(settings, "REMOVED", {"objective.alpha": 0.5})
    for value, expected in [(0.5, []), (0.7, ["objective.alpha: 0.7 in the run, 0.5 now"])]:
        earlier = {**EARLIER, "objective": {"alpha": value}}
        assert changed_settings(earlier, {**EARLIER, "objective": {}}, DEFAULTS) == expected


def test_the_message_lists_the_first_changes(tmp_path):
    run = RunFolder(tmp_path)
    run.config.write_text("{a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1}")
    check_same_settings(run, read_settings(run), {})
    with pytest.raises(ConfigError, match=r"a: 1 in the run, 2 now; .*e: 1 .*; and 2 more\. Res"):
        check_same_settings(run, dict.fromkeys("abcdefg", 2), {})


@pytest.mark.parametrize("content", [b"\xff\x00", b"[1]", b"a: [", b"a: " + b"[" * 3000, b""])
def test_damaged_settings_are_named(tmp_path, content):
    run = RunFolder(tmp_path)
    run.config.write_bytes(content)
    with pytest.raises(UntrustedFileError, match=r"config\.yaml is damaged"):
        read_settings(run)


def test_a_folder_in_place_of_the_settings_is_named(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(UntrustedFileError, match=r"config\.yaml is damaged: it is a folder\."):
        read_settings(RunFolder(tmp_path))
