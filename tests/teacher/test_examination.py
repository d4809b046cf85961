"""Teachers are examined on validation samples: the diagnosis, and the line that mends it."""

import numpy as np
import pytest
import torch
from support.examined import levels, linear_teacher, prototypes
from torch import nn

from limbeck._base.errors import LimbeckWarning, TeacherError
from limbeck.data import Dataset
from limbeck.models import MLP, ConvNet, Normalized, OutputMap
from limbeck.run.finding import Finding
from limbeck.teacher import examination
from limbeck.teacher.examination import (
    are_probabilities,
    draw_sample,
    examine_answers,
    examine_models,
    is_chance,
    raise_or_warn,
)
from limbeck.teacher.remedies import ModuleRemedies, SettingRemedies


@pytest.fixture(scope="module")
def data():
    return prototypes(11)


@pytest.fixture(scope="module")
def colour_data():
    return prototypes(10, channels=3, noise=0.5)


def examine(model, data, remedies=None):
    return examine_models([model], data, [remedies or SettingRemedies()])


def only(findings):
    assert len(findings) == 1
    return findings[0]


def mended(model, line):
    """The teacher after a line of Python."""
    import limbeck.models

    names = {"teacher": model, "limbeck": limbeck}
    exec(line, names)
    return names["teacher"]


def check_remedy(model, data, pattern):
    """Check the diagnosis, and that the line of Python mends it."""
    finding = only(examine(model, data, ModuleRemedies(model)))
    assert finding.level == "stop"
    assert pattern in finding.text
    assert levels(examine(mended(model, finding.remedy), data)) == ["ok"]
    return only(examine(model, data)).remedy


def test_a_good_teacher_is_described(data):
    finding = only(examine(linear_teacher(data), data))
    assert finding.level == "ok"
    assert "of 400 validation samples" in finding.text
    assert "its confidence is right at temperature" in finding.evidence


def test_a_shuffled_teacher(data):
    columns = np.random.default_rng(2).permutation(11)
    names = [None] * 11
    for number, column in enumerate(columns):
        names[column] = str(number)
    line = check_remedy(linear_teacher(data, columns=columns), data, "in another order")
    assert line == f"'teacher.classes=[{','.join(names)}]'"


def test_a_teacher_of_folders_sorted_as_text(data):
    columns = [sorted(data.class_names).index(name) for name in data.class_names]
    line = check_remedy(linear_teacher(data, columns=columns), data, "sorted as text")
    assert line == "'teacher.classes=[0,1,10,2,3,4,5,6,7,8,9]'"


@pytest.mark.parametrize(
    ("columns", "pattern"),
    [
        ([*range(1, 11), 0], "shifted by one"),
        ([10, *range(10)], "shifted by one"),
        (range(10, -1, -1), "reversed"),
    ],
)
def test_other_patterns(data, columns, pattern):
    check_remedy(linear_teacher(data, columns=list(columns)), data, pattern)


@pytest.mark.parametrize(
    ("mean", "std", "names"),
    [
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], ["imagenet"]),
        ([0.5], [0.5], ["symmetric", "imagenet"]),  # the same for this linear teacher
    ],
)
def test_a_teacher_that_expects_another_normalisation(colour_data, mean, std, names):
    shape = (-1, 1, 1)
    model = linear_teacher(
        colour_data, mean=torch.tensor(mean).view(shape), std=torch.tensor(std).view(shape)
    )
    assert levels(examine(Normalized(model, mean, std), colour_data)) == ["ok"]
    line = check_remedy(model, colour_data, "normalised in another way")
    assert line in [f"teacher.normalization={name}" for name in names]


def test_a_teacher_with_the_wrong_normalisation_in_its_file(colour_data):
    model = Normalized(linear_teacher(colour_data), [0.9], [0.1])
    line = check_remedy(model, colour_data, "values from 0 to 1")
    assert line == "teacher.normalization=none"


def test_probabilities_given_as_logits(data):
    model = nn.Sequential(linear_teacher(data), nn.Softmax(-1))
    assert levels(examine(OutputMap(model, range(11), probabilities=True), data)) == ["ok"]
    finding = only(examine(model, data))
    assert (finding.level, finding.remedy) == ("stop", "teacher.outputs=probabilities")
    assert levels(examine(nn.Sequential(model, nn.Threshold(-1.0, 0.0)), data)) == ["stop"]
    logs = nn.Sequential(linear_teacher(data), nn.LogSoftmax(-1))
    assert levels(examine(logs, data)) == ["ok"]


def test_several_mistakes_are_named_together(data):
    model = nn.Sequential(linear_teacher(data, columns=np.roll(np.arange(11), 5)), nn.Softmax(-1))
    findings = examine(model, data)
    assert levels(findings) == ["stop", "stop"]
    with pytest.raises(TeacherError) as caught:
        raise_or_warn(findings, "Go on.")
    assert len(str(caught.value).splitlines()) == 3


class NotFinite(nn.Module):
    def forward(self, x):
        logits = torch.zeros(len(x), 11)
        logits[::7] = float("nan")
        return logits


def test_nan(data):
    finding = only(examine(NotFinite(), data))
    assert finding.level == "stop"
    assert "NaN" in finding.evidence


class WithoutClass(nn.Module):
    """A teacher that excludes a class."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        logits[:, 3] = -torch.inf
        return logits


def test_an_excluded_class_is_no_fault(data):
    assert levels(examine(WithoutClass(linear_teacher(data)), data)) == ["ok"]


def test_an_untrained_teacher_is_a_warning_at_most(data):
    for seed in range(3):
        torch.manual_seed(seed)
        for model in (MLP((1, 8, 8), 11), ConvNet((1, 8, 8), 11, channels=[4], strides=[1])):
            assert "stop" not in levels(examine(model, data))


def test_a_constant_teacher_is_no_better_than_chance(data):
    model = linear_teacher(data)
    with torch.no_grad():
        model[1].weight.zero_()
    finding = only(examine(model, data))
    assert finding.level == "warning"
    with pytest.warns(LimbeckWarning, match="no better than chance"):
        raise_or_warn([finding], "")


def test_chance_depends_on_the_predictions_and_not_on_the_majority():
    labels = np.array([0] * 90 + [1] * 10)
    assert is_chance(np.zeros(100, int), labels)
    skilled = labels.copy()
    skilled[:30] = 1  # worse than always 0, but it knows class 1
    assert not is_chance(skilled, labels)
    assert not is_chance(np.zeros(20, int), labels[:20])  # too few to say


def test_members_are_examined_one_by_one(data):
    good, bad = linear_teacher(data), linear_teacher(data, columns=np.roll(np.arange(11), 5))
    findings = examine_models([good, bad], data, [SettingRemedies()] * 2)
    assert levels(findings) == ["stop", "ok"]
    assert "member 1 of the teacher" in findings[0].text


def test_the_sample_is_bounded_and_from_the_validation_split(monkeypatch):
    data = prototypes(3, val=50)
    sample = draw_sample(data)
    assert len(sample.labels) == 50
    rows = {row.numpy().tobytes() for row in data.val.inputs}
    assert {row.numpy().tobytes() for row in sample.inputs} <= rows
    monkeypatch.setattr(examination, "MAX_SAMPLES", 20)
    monkeypatch.setattr(examination, "MIN_SAMPLES", 6)
    assert len(draw_sample(data).labels) == 20
    assert len(draw_sample(data, members=2).labels) == 10
    monkeypatch.setattr(examination, "MAX_VALUES", 64 * 8)
    assert len(draw_sample(data).labels) == 8


def test_the_test_split_is_not_used(data, monkeypatch):
    def refuse(self):
        raise AssertionError

    monkeypatch.setattr(Dataset, "open_test", refuse)
    monkeypatch.setattr(Dataset, "test_inputs", property(refuse))
    assert levels(examine(linear_teacher(data), data)) == ["ok"]


class Random(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x) + 1e-3 * torch.rand(len(x), 1)


def test_an_examination_leaves_random_numbers_and_weights_alone(data):
    net = linear_teacher(data)
    before = [weight.clone() for weight in net.parameters()]
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    examine(Random(net), data)
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, before, net.parameters()))


def test_a_teacher_in_half_precision_keeps_it(colour_data):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
    model = linear_teacher(colour_data, mean=mean, std=0.226).to(torch.bfloat16)
    examine(model, colour_data)
    assert model[1].weight.dtype == torch.bfloat16


def test_rows_that_are_nearly_probabilities_are_none():
    rows = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert are_probabilities(rows)
    assert not are_probabilities(rows + 0.2)
    assert not are_probabilities(rows * 2 - 0.5)


def test_a_message_has_text_evidence_and_remedy():
    finding = Finding(level="stop", subject="teacher", text="A.", evidence="B.", remedy="c=1")
    assert finding.message == "A. B. To mend it: c=1"
    assert Finding(level="ok", subject="data", text="A.").message == "A."


def test_answers_that_are_labels_have_no_calibration(data):
    logits = torch.full((len(data.val), data.classes), -16.0)
    logits[torch.arange(len(data.val)), data.val.labels] = 0.0
    finding = only(examine_answers(logits, data.val.labels, data, SettingRemedies()))
    assert finding.level == "ok"
    assert finding.evidence == "Its answers name a class, without a confidence."
    softer = only(examine_answers(logits / 8, data.val.labels, data, SettingRemedies()))
    assert "Calibration error" in softer.evidence
