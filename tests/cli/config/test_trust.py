"""Folders that the settings of a run may name for caches."""

import pytest

from limbeck.cli.config.trust import foreign_settings


@pytest.mark.parametrize(
    ("folder", "is_foreign"),
    [
        ("run/store", False),
        ("new/store", False),  # of a run that was interrupted before it stored anything
        ("empty", False),
        ("answers", False),
        ("work", True),
        ("work/notes.txt", True),
        (".ssh/new", True),
        ("../outside", True),
        ("link/new", True),
        ("/", True),
    ],
)
def test_a_cache_is_new_or_one_of_limbeck(folder, is_foreign, tmp_path, monkeypatch):
    here = tmp_path / "here"
    for name in ("run", "empty", "work", f"answers/{'0' * 32}"):
        (here / name).mkdir(parents=True)
    (here / "work" / "notes.txt").write_text("mine", encoding="utf-8")
    (here / "link").symlink_to(tmp_path)
    monkeypatch.chdir(here)
    settings = list(foreign_settings({"store": {"folder": folder}}, here / "run", []))
    assert bool(settings) == is_foreign, settings


def test_views_of_a_member_are_limbecks_own(tmp_path):
    members = [{"views": "shift"}, 3, {"views": "mine"}]
    settings = list(foreign_settings({"teacher": {"members": members}}, tmp_path, ["shift"]))
    assert settings == ["teacher.members[2].views=mine"]


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"data": {"root": "s3://bucket/photos"}}, "data.root=s3://bucket/photos"),
        ({"data": {"path": "https://host/a.csv"}}, "data.path=https://host/a.csv"),
        ({"store": {"folder": "s3://bucket/answers"}}, "store.folder=s3://bucket/answers"),
        ({"teacher": {"from": ["a.pt", "hf://u/m"]}}, "teacher.from[1]=hf://u/m"),
        ({"teacher": {"from": [{"from": "gs://b/m"}]}}, "teacher.from[0].from=gs://b/m"),
    ],
)
def test_addresses_need_trust(settings, part, tmp_path):
    parts = list(foreign_settings(settings, tmp_path, ()))
    assert parts == [f"{part}, which may be read over the network"]


def test_a_column_name_with_colons_is_no_address(tmp_path):
    settings = {"data": {"path": "std::vector.csv", "label": "a://b"}}
    assert list(foreign_settings(settings, tmp_path, ())) == []
