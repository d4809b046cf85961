"""Studies that add constants to the logits of trained students."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective
from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data import Dataset, TransferSet
from limbeck.data.dataset import as_float
from limbeck.evaluation.bias import class_prior, prior_bias, recall
from limbeck.evaluation.evaluate import predict
from limbeck.models import MLP, Graded, load_model
from limbeck.models.bias import add_to_logits
from limbeck.report.terminal import print_summary
from limbeck.run.folder import RunFolder
from limbeck.run.records import to_json
from limbeck.run.summary import parse_summary, read_summary

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0)


class Unbiased(nn.Module):
    """The last layer has no bias; another layer has one of the same size."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 3), nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.last(torch.relu(self.first(x.flatten(1))))


@pytest.fixture(scope="module")
def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (300, 1, 4, 4), generator=draw).to(torch.uint8)
    y = ((x.flatten(1).float() - 128) @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(
        x[:200], y[:200], x[200:], y[200:], name="tiny", val=60, class_names=list("abc")
    )


def study(data, out, **options):
    torch.manual_seed(5)
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=SOFT)}
    usual = {
        "student": partial(MLP, hidden=[8]),
        "teacher": MLP((1, 4, 4), 3, hidden=[9]),
        "seeds": 2,
        "epochs": 3,
        "bias": "prior",
        "transfer": TransferSet(without=["b"]),
        "store": "off",
    }
    return make_study(data, arms, out, **{**usual, **options})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    return study(data, out).run(), out


def test_adjusted_results_equal_those_of_the_saved_students(data, finished):
    summary, out = finished
    prior, test = class_prior(data.train.labels, 3), data.open_test()
    for arm in summary.arms:
        assert [entry.how for entry in arm.adjusted] == ["prior", "chosen on test"]
        for plain, seed in zip(arm.seeds, arm.adjusted[0].seeds, strict=True):
            folder = RunFolder(out).student(arm.name, seed.seed)
            trained, moved = load_model(folder).model, load_model(folder / "prior").model
            bias = prior_bias(predict(trained, [as_float(data.train.inputs)]), prior, [1])
            assert seed.bias == pytest.approx(bias.tolist(), abs=1e-6)
            assert seed.bias[0] == seed.bias[2] == 0
            logits = predict(moved, [as_float(test.inputs)])
            assert torch.allclose(
                logits, predict(trained, [as_float(test.inputs)]) + bias.float(), atol=1e-5
            )
            assert seed.test.errors == int((logits.argmax(1) != test.labels).sum())
            shares = [
                float((logits.argmax(1) == test.labels)[test.labels == c].double().mean())
                for c in range(3)
            ]
            assert seed.recall == pytest.approx(shares)
            shares = recall(predict(trained, [as_float(test.inputs)]), test.labels)
            assert plain.recall == pytest.approx(shares)


def test_biases_chosen_on_the_test_split_are_not_compared(finished):
    summary, _ = finished
    assert [(c.how, c.arm, c.control) for c in summary.adjusted_comparisons] == [
        ("prior", "soft", "hard")
    ]
    for arm in summary.arms:
        for best, plain in zip(arm.adjusted[1].seeds, arm.seeds, strict=True):
            assert best.test.errors <= plain.test.errors


def test_the_comparison_with_the_prior_uses_adjusted_errors(finished):
    summary, _ = finished
    errors = {a.name: [s.test.errors for s in a.adjusted[0].seeds] for a in summary.arms}
    expected = tuple(s - h for s, h in zip(errors["soft"], errors["hard"], strict=True))
    assert summary.adjusted_comparisons[0].delta_errors.per_seed == expected
    assert summary.arms[1].adjusted[0].mean.errors == np.mean(errors["soft"])


def test_plain_results_do_not_depend_on_biases(data, finished, tmp_path):
    plain = study(data, tmp_path / "run", bias=None).run()
    assert plain.adjusted_comparisons is None
    for with_bias, without in zip(finished[0].arms, plain.arms, strict=True):
        assert without.adjusted is None
        assert without.mean == with_bias.mean
    assert plain.comparisons == finished[0].comparisons


def test_nothing_is_chosen_on_the_test_split_if_all_classes_are_in_the_transfer_set(data, tmp_path):
    splits = data.train, data.val, data.open_test()
    graded = Dataset.from_splits("graded", *splits, class_names=data.class_names, ordinal=True)
    summary = study(graded, tmp_path / "run", transfer=None, bias="kappa").run()
    for arm in summary.arms:
        assert [entry.how for entry in arm.adjusted] == ["kappa"]
        assert arm.absent == ()
    assert (tmp_path / "run" / "students" / "soft" / "seed1" / "kappa" / "model.json").is_file()


def test_a_warning_names_students_without_a_bias(data, tmp_path):
    summary = study(data, tmp_path / "run", student=Unbiased).run()
    assert [
        w
        for w in summary.warnings
        if "students of arm 'soft' have no bias in their last layer" in w
    ]
    assert read_summary(RunFolder(tmp_path / "run")) == summary
    assert not (tmp_path / "run" / "students" / "soft" / "seed0" / "prior").exists()


def test_a_model_without_a_bias_is_not_changed():
    model = Unbiased().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not add_to_logits(model, torch.tensor([1.0, 2.0, 3.0]), torch.randn(5, 1, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_unknown_bias_is_refused(data, tmp_path):
    with pytest.raises(
        ConfigError, match="bias='posterior' is unknown; choose one of prior, kappa, or null"
    ):
        study(data, tmp_path / "run", bias="posterior")


def test_kappa_is_for_graded_classes(data, tmp_path):
    with pytest.raises(
        ConfigError, match=r"bias=kappa is for graded classes, but those of tiny are not"
    ):
        study(data, tmp_path / "run", bias="kappa").run()
    assert not (tmp_path / "run").exists()


def test_the_squared_error_of_grades_is_for_a_student_of_one_score(data, tmp_path):
    arms = {"a": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0, hard="squared_error"))}
    student = partial(MLP, hidden=[4])
    with pytest.raises(
        ConfigError,
        match=r"arms\.a: objective\.hard=squared_error requires a student with a single",
    ):
        make_study(data, arms, tmp_path / "run", student=student).check()
    make_study(data, arms, tmp_path / "run", student=partial(Graded, student)).check()


def test_damaged_entries_are_refused(finished):
    summary, _ = finished
    content = to_json(summary)
    arm = {**content["arms"][0], "adjusted": [{"how": "prior"}]}
    with pytest.raises(UntrustedFileError, match=r"arms\[0\].adjusted\[0\].seeds is missing"):
        parse_summary({**content, "arms": [arm]})


@pytest.mark.parametrize("width", [60, 140])
def test_page_and_terminal_show_adjusted_results_in_their_own_table(finished, width, real_report):
    summary, out = finished
    file = io.StringIO()
    print_summary(summary, Console(file=file, width=width))
    results, adjusted = file.getvalue().split(
        "With biases set by the class prior (no labels used):"
    )
    assert "as trained" not in results
    rows = [line for line in adjusted.splitlines() if line.startswith(("hard ", "soft "))]
    assert len(rows) == 6
    assert max(map(len, adjusted.splitlines())) <= width
    plain, prior = summary.arms[0].seeds, summary.arms[0].adjusted[0]
    for row, seeds in ((rows[0], plain), (rows[1], prior.seeds)):
        assert row.endswith(f"{100 * np.mean([seed.recall[1] for seed in seeds]):.2f} %")
    assert f"{prior.mean.errors:.1f} ±" in rows[1]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index('id="results"') < page.index('id="adjusted"')
    assert "Set by the class prior" in page or "set by the class prior" in page
    assert page.count("chosen on the test split*") == 2
