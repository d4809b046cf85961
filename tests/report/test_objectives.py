import pytest

from limbeck.report.objectives import objective, optimizer

SOFT = {"hard_weight": 0.1, "soft_weight": 0.9, "temperature": 4.0, "soft": "kl"}
LABELS = {"hard_weight": 1.0, "soft_weight": 0.0}
HINT = {"kind": "hint", "student": "a.1", "teacher": "b", "weight": 2.0}
SOFT_TEXT = "hard_weight 0.1, soft_weight 0.9, temperature 4, soft kl"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "–"),
        (SOFT, SOFT_TEXT),
        (SOFT | {"scale_by_t2": False}, f"{SOFT_TEXT}, not scaled by T²"),
        (SOFT | {"standardise": True}, f"{SOFT_TEXT}, standardised"),
        (SOFT | {"class_weights": [1.0, 2.5]}, f"{SOFT_TEXT}, class weights 1 2.5"),
        (
            SOFT | {"shuffled": True, "label_smoothing": 0.1},
            f"{SOFT_TEXT}, shuffled teacher, label_smoothing 0.1",
        ),
        (
            SOFT | {"soft": "dkd", "target_weight": 1.0, "nontarget_weight": 8.0},
            "hard_weight 0.1, soft_weight 0.9, temperature 4, soft dkd, target_weight 1, "
            "nontarget_weight 8",
        ),
        (
            SOFT | {"soft": "jensen_shannon", "teacher_share": 0.3},
            "hard_weight 0.1, soft_weight 0.9, temperature 4, soft jensen_shannon, "
            "teacher_share 0.3",
        ),
        (LABELS | {"temperature": 4.0, "soft": "kl"}, "labels only"),
        (LABELS | {"hard_weight": 2.0}, "labels only (hard_weight 2)"),
        (LABELS | {"class_weights": "balanced"}, "labels only, class weights balanced"),
        (LABELS | {"label_smoothing": 0.1}, "labels only, label_smoothing 0.1"),
        (
            LABELS | {"features": [HINT], "hard": "squared_error"},
            "hard_weight 1, hint a.1 from b (weight 2), hard squared_error",
        ),
    ],
)
def test_an_objective_fits_on_one_line(settings, text):
    assert objective(settings) == text


def test_defaults_are_not_mentioned():
    defaults = {"teacher_share": 0.5, "label_smoothing": 0.0, "shuffled": False}
    assert objective(SOFT | defaults) == SOFT_TEXT


def test_an_optimizer_fits_on_one_line():
    settings = {"name": "adam", "lr": 0.001, "weight_decay": 0.0, "schedule": "one_cycle"}
    assert optimizer(settings) == "adam, lr 0.001, one_cycle"
    assert optimizer({}) == "–"
