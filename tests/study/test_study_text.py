"""Settings of a study on text."""

import pytest
import torch
from support.text_studies import BLOCK, HARD, SOFT, study_of

from limbeck import Arm, Objective
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, TransferSet
from limbeck.deploy.choice import choose_student
from limbeck.models import GPT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": "prior"}, "bias=prior is for classifiers"),
        (
            {"transfer": TransferSet(labelled=3)},
            "transfer.labelled=3 needs samples with a class",
        ),
        ({"transfer": TransferSet(samples=10**6)}, "transfer.samples=1000000"),
        (
            {
                "arms": {"soft": Arm(objective=Objective(soft="dkd", temperature=1.0))},
                "store": {"kind": "sampled"},
            },
            "arms.soft: objective.soft=dkd needs a teacher's whole distribution",
        ),
        (
            {
                "arms": {"soft": Arm(objective=Objective(temperature=0.5))},
                "store": {"kind": "topk"},
            },
            r"arms.soft: objective.temperature=0.5 is below 1.*store.kind=dense or sampled",
        ),
        (
            {
                "arms": {
                    "soft": Arm(objective=Objective(temperature=1.0)),
                    "hot": Arm(objective=Objective(temperature=4.0)),
                },
                "store": {"kind": "sampled"},
            },
            "samples a teacher's tokens at one temperature, but the arms have 1, 4",
        ),
        (
            {"arms": {"hard": Arm(objective=HARD, control=["hard"])}},
            r"arms.hard.control='hard' is not another arm",
        ),
        ({"arms": {"hard": Arm(objective=HARD, epochs=-1)}}, "arms.hard.epochs=-1"),
    ],
)
def test_settings_that_text_cannot_have_are_refused(text_data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study_of(text_data, tmp_path / "run", **options).check()


def test_a_teacher_of_another_block_or_vocabulary_is_refused(text_data, tmp_path):
    for model in (
        GPT((BLOCK // 2,), 256, width=8, layers=1, heads=1),
        GPT((BLOCK,), 300, width=8, layers=1, heads=1),
    ):
        with pytest.raises(
            Exception,
            match=r"cannot read inputs of shape \[32\]|300 tokens, but the dataset has 256",
        ):
            study_of(text_data, tmp_path / "run", teacher=model).check()


def test_an_arm_may_have_several_controls_and_its_own_epochs(text_data, text_teacher, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "longer": Arm(objective=HARD, epochs=2),
        "soft": Arm(objective=SOFT, control=["hard", "longer"]),
    }
    study = study_of(
        text_data,
        tmp_path / "run",
        arms=arms,
        teacher=text_teacher,
        epochs=1,
        transfer=TransferSet(samples=100),
    )
    assert [[plan.name for plan in cohort.arms] for cohort in study.cohorts()] == [
        ["hard", "soft"],
        ["longer"],
    ]
    summary = study.run()
    assert [(c.arm, c.control, c.main) for c in summary.comparisons] == [
        ("soft", "hard", True),
        ("soft", "longer", False),
    ]
    assert [arm.epochs for arm in summary.arms] == [1, 2, 1]
    assert any("also differ in epochs" in warning for warning in summary.warnings)


def test_a_shuffled_arm_is_neither_main_nor_exported(text_data, text_teacher, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=SOFT, control=["hard", "hard"]),
        "shuffled": Arm(
            objective=Objective(
                hard_weight=0.999, soft_weight=0.001, temperature=1.0, shuffled=True
            )
        ),
    }
    out = tmp_path / "run"
    options = {"teacher": text_teacher, "epochs": 1, "transfer": TransferSet(samples=64)}
    summary = study_of(text_data, out, arms=arms, **options).run()
    assert [c.arm for c in summary.comparisons] == ["soft", "shuffled"]
    for comparison in summary.comparisons:
        assert comparison.main == (comparison.arm == "soft")
    assert choose_student(summary)[0] == "soft"


def test_a_transfer_set_may_be_a_share_of_the_blocks(text_data):
    index, labels = TransferSet(samples=0.25).select(text_data.train)
    assert len(index) == round(len(text_data.train) / 4)
    assert torch.equal(labels, text_data.train.labels[index])
    assert isinstance(text_data, Dataset)
