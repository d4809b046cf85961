"""Controls wider than the chosen student: the size at which no teacher is needed."""

import json
from dataclasses import replace
from statistics import fmean

import pytest
from support.searches import ModelOfSize, make_search, make_study, make_trial

from limbeck import RunOptions
from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data import digits
from limbeck.deploy.choice import choose_student, number_of_students
from limbeck.report.worth_in_bytes import worth_in_bytes
from limbeck.run.folder import RunFolder
from limbeck.run.search import WiderControl, read_search
from limbeck.run.summary import read_summary
from limbeck.search import needs
from limbeck.search.settings import SearchSettings
from limbeck.search.space import MAX_WIDTH


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """Export and report take seconds; the tests of the command line have the real ones."""
    monkeypatch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))
    monkeypatch.setattr("limbeck.study.study.write_report", lambda *_: None)


def make_wider_study(out, factors, **changes):
    study = make_study(out, trials=2, **changes)
    study.search = replace(study.search, wider_controls=factors)
    return study


def test_wider_controls_are_measured_and_join_the_final_study(tmp_path):
    summary = make_wider_study(tmp_path / "run", (1.5, 3), space={"depth": [1, 1]}).run()
    search = read_search(RunFolder(tmp_path / "run"))
    width = search.winner.settings["width"]
    wide = [f"control,width={round(factor * width)}" for factor in (1.5, 3)]
    assert [arm.name for arm in summary.arms] == ["control", "distilled", *wide]
    for arm, factor, control in zip(summary.arms[2:], (1.5, 3), search.wider_controls, strict=True):
        wide = round(factor * width)
        params = 6 * wide + wide + 4 * wide + 4
        assert (control.name, control.width, control.params) == (arm.name, wide, params)
        assert control.size == 100 + 4 * params  # above the budget or not
        assert arm.params == params
        assert arm.student == control.architecture
        assert (arm.control, arm.reference) == (True, True)
        assert arm.optimizer == summary.arm("control").optimizer
    assert [entry.arm for entry in summary.comparisons] == ["distilled"]
    assert read_summary(RunFolder(tmp_path / "run")) == summary


def test_a_wider_control_is_never_exported(tmp_path):
    summary = make_wider_study(tmp_path / "run", (2,)).run()
    zero = {"errors": 0, "nll": 0.0}
    best = tuple(replace(seed, val=replace(seed.val, **zero)) for seed in summary.arms[-1].seeds)
    arms = tuple(replace(arm, seeds=best) if arm.reference else arm for arm in summary.arms)
    summary = replace(summary, arms=arms)
    assert choose_student(summary, with_controls=True)[0] in ("control", "distilled")
    wide = summary.arms[-1].name
    assert choose_student(summary, wide)[0] == wide
    assert number_of_students(summary) == 4


def test_a_finished_search_goes_on_with_the_same_controls(tmp_path):
    summary = make_wider_study(tmp_path / "run", (2,)).run()
    (tmp_path / "run" / "summary.json").unlink()
    again = make_wider_study(tmp_path / "run", (2,), resume=True).run()
    assert [arm.seeds for arm in again.arms] == [arm.seeds for arm in summary.arms]


def test_widths_that_rounding_makes_equal_are_tried_once(tmp_path):
    study = make_wider_study(tmp_path / "run", (1.01, 2, 2.01), space={"width": 4, "depth": 1})
    summary = study.run()
    assert [arm.name for arm in summary.arms] == ["control", "distilled", "control,width=8"]


def test_a_student_without_a_width_has_no_wider_controls():
    students = {"students": ["mlp", "torchvision/resnet18"]}
    settings = {"budget": {"size": "1kB"}, "search": students, "wider_controls": [2]}
    with pytest.raises(ConfigError, match="torchvision/resnet18 has no width to multiply"):
        SearchSettings.of(settings).check(digits())


@pytest.mark.parametrize(
    "value", ["2", [1], [0.5], [True], [2, 2], [float("nan")], [1000], {"a": 1}]
)
def test_factors_that_make_no_sense_are_refused(value):
    with pytest.raises(ConfigError, match=r"wider_controls=.* should"):
        SearchSettings.of({"budget": {"size": "1kB"}, "wider_controls": value})


def test_factors_are_sorted_and_one_number_is_a_list():
    settings = SearchSettings.of({"budget": {"size": "1kB"}, "wider_controls": [3, 2]})
    assert settings.as_dict()["wider_controls"] == [2.0, 3.0]
    assert SearchSettings.of(settings.as_dict()) == settings
    settings = SearchSettings.of({"budget": {"size": "1kB"}, "wider_controls": 2})
    assert settings.wider_controls == (2.0,)


def test_damaged_controls_are_refused(tmp_path):
    make_wider_study(tmp_path / "run", (2,)).run()
    file = tmp_path / "run" / "search.json"
    content = json.loads(file.read_text())
    content["wider_controls"][0]["size"] = -1
    file.write_text(json.dumps(content))
    with pytest.raises(UntrustedFileError, match="wider_controls has a student"):
        read_search(RunFolder(tmp_path / "run"))


# The sentence of the report -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))
        patch.setattr("limbeck.study.study.write_report", lambda *_: None)
        return make_wider_study(tmp_path_factory.mktemp("run"), (2,)).run()


def sentence(summary, control, distilled, wider):
    """The sentence on a student of 10 kB and a control of 40 kB with the errors of each seed."""
    arms = tuple(
        replace(
            arm,
            mean=replace(arm.mean, errors=fmean(errors)),
            seeds=tuple(
                replace(arm.seeds[0], seed=seed, test=replace(arm.mean, errors=number))
                for seed, number in enumerate(errors)
            ),
        )
        for arm, errors in zip(summary.arms, (control, distilled, wider), strict=True)
    )
    search = make_search(make_trial(0, 10, 5), choice=0, size=1e6)
    width = int(summary.arms[-1].name.rpartition("=")[2])
    wide = WiderControl(width=width, architecture="mlp", params=9, size=40_000)
    search = replace(search, wider_controls=(wide,))
    return worth_in_bytes(search, replace(summary, arms=arms))


def test_the_size_is_interpolated(summary):
    assert sentence(summary, [100], [75], [50]) == (
        "Worth of the teacher in bytes: a control reaches the 75 errors of the distilled student "
        "at about 20 kB, 2 times its size (test errors of controls: 10 kB: 100, 40 kB: 50)."
    )


def test_the_size_of_each_seed_is_interpolated_too(summary):
    assert sentence(summary, [100, 100, 100], [75, 100, 50], [50, 50, 50]) == (
        "Worth of the teacher in bytes: a control reaches the 75 errors of the distilled student "
        "at about 20 kB, 2 times its size; by each seed alone: 10 kB to 40 kB "
        "(test errors of controls: 10 kB: 100, 40 kB: 50)."
    )
    text = sentence(summary, [100, 100], [75, 25], [50, 50])
    assert "by each seed alone: 20 kB to more than 40 kB" in text
    text = sentence(summary, [100, 100], [25, 25], [50, 50])
    assert "by each seed alone: more than 40 kB (" in text


def test_no_size_may_be_enough_and_the_same_may_be(summary):
    text = sentence(summary, [100], [40], [50])
    assert (
        "no control reaches the 40 errors of the distilled student, not even with 40 kB, 4 times"
    ) in text
    text = sentence(summary, [90], [100], [50])
    assert "the control of the same size reaches the 100 errors" in text


def test_nothing_is_said_without_wider_controls(summary):
    search = make_search(make_trial(0, 10, 5), choice=0, size=1e6)
    assert worth_in_bytes(search, summary) == ""


def test_controls_that_are_too_wide_are_said_to_be_left_out(tmp_path, capsys):
    space = {"width": MAX_WIDTH // 64, "depth": 1}
    options = RunOptions(progress=True)
    study = make_wider_study(
        tmp_path / "run", (100,), budget={"size": "1MB"}, space=space, options=options
    )
    summary = study.run()
    assert [arm.name for arm in summary.arms] == ["control", "distilled"]
    text = capsys.readouterr().err
    assert "The control of 100 times the width is left out: its width would be 6,400" in text
    search = read_search(RunFolder(tmp_path / "run"))
    assert worth_in_bytes(search, summary) == (
        "Worth of the teacher in bytes: unknown, as no wider control could be trained."
    )
