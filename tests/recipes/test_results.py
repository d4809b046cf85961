"""The results on record: pages, figures and results.json agree, and no recipe is missing."""

import json
import sys
from pathlib import Path

import pytest

from limbeck._base.errors import LimbeckError
from limbeck.cli.config.groups import choices

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
MAX_SIZE = 1_000_000


@pytest.fixture(scope="module")
def tools():
    """``record`` and ``pages`` of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import pages
        import record

        yield record, pages
    for name in ("record", "pages", "page_tables"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def on_record():
    return json.loads((RESULTS / "results.json").read_text(encoding="utf-8"))


def test_the_pages_say_what_results_json_says(tools, on_record, tmp_path):
    record, pages = tools
    (tmp_path / "introductions").symlink_to(RESULTS / "introductions")
    files = list(pages.write_pages(on_record, tmp_path, record.read_goals()["without"]))
    assert len(files) == len(set(map(pages.page_name, on_record["entries"]))) + 1
    for page in files:
        again = "write it anew with: python benchmarks/record.py"
        assert page.read_text(encoding="utf-8") == (RESULTS / page.name).read_text(
            encoding="utf-8"
        ), again


def test_goals_are_judged_as_they_stand(tools, on_record):
    record, _ = tools
    goals = record.read_goals()["goals"]
    for entry in on_record["entries"]:
        assert entry["goals"] == record.judge(goals.get(entry["name"], []), entry)


def test_every_recipe_has_a_page_or_a_reason(tools, on_record):
    record, _ = tools
    known = record.read_goals()
    recorded = {entry["recipe"] for entry in on_record["entries"]}
    assert set(choices("recipe")) <= recorded | set(known["without"])


def test_results_hold_no_place_of_a_machine_and_all_figures(on_record):
    for entry in on_record["entries"]:
        assert "/" not in entry["command"].replace("timm/", "")
        assert all((RESULTS / figure["file"]).is_file() for figure in entry["figures"])
    selected = {figure["file"] for entry in on_record["entries"] for figure in entry["figures"]}
    assert {file.name for file in RESULTS.glob("*-figure-*.svg")} == selected


def test_files_of_results_are_small(tools, on_record):
    record, _ = tools
    text = (RESULTS / "results.json").read_text(encoding="utf-8")
    assert text == record.compact_json(on_record) + "\n", "write it with benchmarks/record.py"
    large = [file.name for file in RESULTS.rglob("*") if file.stat().st_size > MAX_SIZE]
    assert not large


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2], "b": None}, '{"a": [1, 2], "b": null}'),
        ([], "[]"),
        (list(range(60)), f"[{', '.join(map(str, range(60)))}]"),
        ({"x" * 60: 1.5, "y" * 60: None}, f'{{"{"x" * 60}": 1.5, "{"y" * 60}": null}}'),
        (["é" * 60, [{"z" * 96: 1}]], f'[\n "{"é" * 60}",\n [\n  {{"{"z" * 96}": 1}}\n ]\n]'),
    ],
)
def test_results_take_few_lines(tools, value, text):
    assert tools[0].compact_json(value) == text
    assert json.loads(text) == value


# Goals, commands and entries ----------------------------------------------------------------------


def arm(name, validation, errors, **more):
    return {
        "name": name,
        "validation_errors": validation,
        "mean": {"errors": errors, "accuracy": 1 - errors / 100},
        **more,
    }


ENTRY = {
    "teacher": {"test": {"errors": 3}},
    "arms": [
        arm("soft,temperature=1", 9, 5),
        arm("soft,temperature=4", 8, 7),
        arm("softer", 1, 1),
        arm("hard", 2, 10),
    ],
    "comparisons": [
        {"arm": "soft,temperature=4", "verdict": "helps", "delta_errors": {"mean": -3.0}}
    ],
}


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        ({"of": "teacher", "value": "test.errors", "at_most": 3}, 3, True),
        (
            {"chosen": "soft", "value": "mean.errors", "at_most": 5},
            7,
            False,
        ),  # by validation, not by test errors
        ({"chosen": "soft", "value": "verdict", "equals": "helps"}, "helps", True),
        ({"chosen": "soft", "value": "delta_errors.mean", "at_most": -4}, -3.0, False),
        ({"arm": "hard", "value": "mean.accuracy", "at_least": 0.9}, 0.9, True),
        ({"arm": "hard", "value": "verdict", "equals": "helps"}, None, None),
        ({"arm": "absent", "value": "mean.errors", "at_most": 1}, None, None),
        ({"arm": "hard", "adjusted": "prior", "value": "mean.errors", "at_most": 1}, None, None),
    ],
)
def test_judging_a_goal(tools, goal, value, met):
    record, _ = tools
    (result,) = record.judge([{"goal": "something", **goal}], ENTRY)
    assert (result["value"], result["met"]) == (value, met)


def test_recall_is_the_mean_over_seeds(tools):
    record, _ = tools
    adjusted = {
        "how": "prior",
        "mean": {"errors": 4},
        "seeds": [{"recall": [1.0, 0.5]}, {"recall": [1.0, 1.0]}],
    }
    entry = {"teacher": None, "arms": [arm("soft", 1, 5, adjusted=[adjusted])], "comparisons": []}
    goals = [
        {"goal": "ones", "arm": "soft", "adjusted": "prior", "value": "recall.1", "at_least": 0.75}
    ]
    assert record.judge(goals, entry)[0]["value"] == 0.75


def test_a_command_names_no_place_of_a_machine(tools):
    record, _ = tools
    overrides = {
        "recipe=mnist": "recipe=mnist",
        "data.root=/data/m": "data.root=DIR",
        "teacher.from=[/a/b,/a/c]": "teacher.from=RUN",
        "out=runs/x": None,
        "student.hidden=[3],[4,4]": "'student.hidden=[3],[4,4]'",
        "+data.extra=/home/me/file.csv": "+data.extra=PATH",
        "student=timm/resnet18": "student=timm/resnet18",
    }
    manifest = {"verb": "run", "multirun": True, "config_dir": None, "overrides": list(overrides)}
    message = " ".join(["limbeck run -m", *filter(None, overrides.values())])
    assert record.portable(manifest) == message


@pytest.mark.slow
def test_a_finished_run_becomes_an_entry(tools, tmp_path, capsys):
    from limbeck.cli.main import main

    record, pages = tools
    small = (
        "teacher=mlp",
        "teacher.model.hidden=[8]",
        "teacher.epochs=1",
        "epochs=2",
        "student.hidden=[4]",
        "seeds=2",
    )
    run = tmp_path / "run"
    assert main(["run", *small, "logger=csv", "store=off", f"out={run}"]) == 0
    entry, figures = record.entry_of(run, commit="abc")
    assert entry["name"] == "digits"
    assert (
        [figure["file"] for figure in entry["figures"]]
        == list(figures)
        == ["digits-figure-1.svg", "digits-figure-2.svg"]
    )
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert [arm["mean"] for arm in entry["arms"]] == [arm["mean"] for arm in summary["arms"]]
    assert json.loads(json.dumps(entry)) == entry
    page = pages.page_of(
        "digits", {"entries": [{**entry, "goals": []}]}, "# Title\n\nYes.\n\n---\n\nMore.\n"
    )
    assert page.startswith("# Title\n\nYes.\n\n    limbeck run teacher=mlp")
    assert page.endswith("\n\nMore.\n")
    assert f"| hard | {entry['arms'][0]['params']:,} | labels only | all, 100 labelled |" in page


def test_a_quick_run_is_not_recorded(tools, tmp_path, capsys):
    from limbeck.cli.main import main

    record, _ = tools
    assert (
        main(
            [
                "run",
                "quick=true",
                "teacher=none",
                "~arms.soft",
                "seeds=1",
                "logger=csv",
                f"out={tmp_path / 'run'}",
            ]
        )
        == 0
    )
    with pytest.raises(LimbeckError, match="smoke test"):
        record.entry_of(tmp_path / "run")


def test_a_goal_is_that_of_the_arm_that_validation_chose(tools):
    record, _ = tools
    arms = [
        {"name": "hard", "mean": {"errors": 9}},
        {"name": "soft,lr=0.01", "mean": {"errors": 5}, "candidates": 3},
    ]
    comparisons = [{"arm": "soft,lr=0.01", "verdict": "helps"}]
    entry = {"arms": arms, "comparisons": comparisons, "teacher": None}
    goals = [
        {"goal": "errors", "arm": "soft", "value": "mean.errors", "at_most": 5},
        {"goal": "verdict", "arm": "soft", "value": "verdict", "equals": "helps"},
        {"goal": "control", "arm": "hard", "value": "mean.errors", "at_most": 8},
    ]
    assert [goal["met"] for goal in record.judge(goals, entry)] == [True, True, False]
