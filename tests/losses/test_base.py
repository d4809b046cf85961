"""A new soft loss needs one entry in the table; objective, sweep and report read it."""

import pytest
import torch

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.losses import SOFT_LOSSES, Objective, SoftLoss, StackedObjective
from limbeck.losses.soft import own_settings
from limbeck.report.objectives import objective as in_words


def absolute_error(student, teacher, *, temperature=1.0, labels=None, teacher_share=0.5):
    """Weighted L1 distance of the softened probabilities; unlabelled samples count twice."""
    p = (teacher.float() / temperature).softmax(-1)
    q = (student.float() / temperature).softmax(-1)
    distance = (p - q).abs().sum(-1) * teacher_share
    return distance if labels is None else torch.where(labels < 0, 2 * distance, distance)


@pytest.fixture
def entry(monkeypatch):
    loss = SoftLoss(
        "absolute",
        absolute_error,
        settings=SOFT_LOSSES["jensen_shannon"].settings,
        uses_labels=True,
        soft_weight=2.5,
    )
    monkeypatch.setitem(SOFT_LOSSES, loss.name, loss)
    return loss


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_objective_computes_it_with_its_settings_and_labels(entry):
    z, v, y = logits(6, 5), logits(6, 5, seed=1), torch.tensor([0, 1, -100, 3, 4, 0])
    objective = Objective(soft="absolute", temperature=2.0, teacher_share=0.25)
    expected = 4 * absolute_error(z, v, temperature=2.0, labels=y, teacher_share=0.25).mean()
    torch.testing.assert_close(objective(z, v, y).soft, expected)


def test_only_its_own_arms_of_a_stack_use_it(entry):
    arms = [Objective(), Objective(soft="absolute", teacher_share=0.1), Objective(soft="absolute")]
    z, v, y = logits(3, 6, 5), logits(6, 5, seed=1), torch.tensor([0, 1, -100, 3, 4, 0])
    terms = StackedObjective(arms)(z, v, y)
    for arm, objective in enumerate(arms):
        torch.testing.assert_close(terms.soft[arm], objective(z[arm], v, y).soft)


def test_settings_it_does_not_support_are_refused(entry):
    with pytest.raises(ConfigError, match=r"standardise=true works with .*not with absolute"):
        Objective(soft="absolute", standardise=True)


def test_it_is_composed_and_swept_without_a_file(entry):
    settings = compose(["objective=absolute"]).objective
    assert (settings.soft, settings.soft_weight) == ("absolute", 2.5)
    arms = compose(["objective=absolute", "objective.teacher_share=0.1,0.2"], multirun=True).arms
    assert list(arms) == ["hard", "soft,teacher_share=0.1", "soft,teacher_share=0.2"]
    with pytest.raises(ConfigError, match="Did you mean absolute"):
        compose(["objective=absolut"])


def test_the_report_names_its_settings(entry):
    settings = Objective(soft="absolute", teacher_share=0.25).as_dict()
    assert "soft absolute, teacher_share 0.25" in in_words(settings)


def test_settings_are_declared_only_in_the_entries():
    objective = Objective()
    for name, setting in own_settings().items():
        assert getattr(objective, name) == setting.default
        with pytest.raises(ConfigError, match=rf"objective\.{name}="):
            Objective(**{name: -1.0})


def test_a_shared_setting_has_one_default():
    for loss in SOFT_LOSSES.values():
        for setting in loss.settings:
            assert own_settings()[setting.name] == setting
