"""Conversions from other tools, papers and common mistakes: the cells of the documentation are run.

The loss of each tool is written as in its source code, in float64. Value and gradient have to equal
those of the settings that the documentation names.
"""

import re
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from support.documents import DOCS, rows
from support.tensors import labels, randn
from torch import nn

from limbeck.losses import Objective, attention_loss, hint_loss

SAMPLES, CLASSES, LENGTH = 6, 5, 3
DISTILLATION = DOCS / "concepts" / "distillation.md"
COMING_FROM = DOCS / "coming-from.md"
LOSSES = DOCS / "reference" / "losses.md"


def number(cell, values):
    """Value of a cell such as "1 − `alpha`" or "`loss_weights[1]` / C"."""
    code = re.sub(r" \(.*\)", "", cell).replace("`", "").replace("−", "-")
    code = re.sub(r"^2 (\w)", r"2 * \1", code)
    return float(eval(code, {"C": CLASSES}, values))


def batch(shape=(SAMPLES,)):
    return randn(*shape, CLASSES), randn(*shape, CLASSES, seed=1), labels(*shape)


def value_and_gradient(loss, z):
    z = z.clone().requires_grad_()
    value = loss(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def assert_equal_losses(theirs, ours, z):
    torch.testing.assert_close(
        value_and_gradient(ours, z), value_and_gradient(theirs, z), rtol=1e-9, atol=1e-12
    )


# All conventions in one table ---------------------------------------------------------------------


def kl(z, v, t, reduction="batchmean"):
    return F.kl_div((z / t).log_softmax(-1), (v / t).softmax(-1), reduction=reduction)


def soft_cross_entropy(z, v, t):
    return -((v / t).softmax(-1) * (z / t).log_softmax(-1)).sum(-1).mean()


def two_weights(hard, soft):
    """CE(labels) and T^2 times the batchmean of the KL, weighted by two of a tool's settings."""

    def loss(z, v, y, values):
        t = values["temperature"]
        weights = number(hard, values), number(soft, values)
        return weights[0] * F.cross_entropy(z, y) + weights[1] * t**2 * kl(z, v, t)

    return loss


def trl(z, v, y, values):
    t, beta = values["temperature"], values["beta"]
    log_q, log_p = (z / t).log_softmax(-1), (v / t).log_softmax(-1)
    if beta == 0:
        return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    if beta == 1:
        return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    beta = torch.tensor(beta, dtype=z.dtype)
    mixture = torch.logsumexp(torch.stack([log_q + torch.log(1 - beta), log_p + beta.log()]), 0)
    of_teacher = F.kl_div(mixture, log_p, reduction="batchmean", log_target=True)
    of_student = F.kl_div(mixture, log_q, reduction="batchmean", log_target=True)
    return beta * of_teacher + (1 - beta) * of_student


def pytorch_tutorial(z, v, y, values):
    t = values["temperature"]
    p, log_q = (v / t).softmax(-1), (z / t).log_softmax(-1)
    soft = (p * (p.log() - log_q)).sum() / len(z) * t**2
    weights = values["soft_target_loss_weight"], values["ce_loss_weight"]
    return weights[0] * soft + weights[1] * F.cross_entropy(z, y)


def kd_lib(z, v, y, values):
    t, weight = values["temperature"], values["distil_weight"]
    soft = F.mse_loss((v / t).softmax(1), (z / t).softmax(1))
    return (1 - weight) * F.cross_entropy(z, y) + weight * t * t * soft


def text_brewer(z, v, y, values):
    soft = soft_cross_entropy(z, v, values["temperature"])
    return values["kd_loss_weight"] * soft + values["hard_label_weight"] * F.cross_entropy(z, y)


def neural_compressor(soft):
    def loss(z, v, y, values):
        t, weights = values["temperature"], values["loss_weights"]
        return weights[0] * F.cross_entropy(z, y) + weights[1] * t**2 * soft(z, v, t)

    return loss


def mean_kl(z, v, t):
    """``nn.KLDivLoss()``: a mean over samples and classes."""
    return F.kl_div((z / t).log_softmax(-1), (v / t).softmax(-1), reduction="none").mean()


TOOLS = {
    "timm, `LogitDistillationTask`": two_weights("task_loss_weight", "distill_loss_weight"),
    "TRL, `generalized_jsd_loss`": trl,
    "PyTorch tutorial": pytorch_tutorial,
    "Keras example": two_weights("alpha", "1 - alpha"),
    "torchdistill, `KDLoss`": two_weights("alpha", "beta"),
    "RepDistiller": two_weights("gamma", "alpha"),
    "mdistiller, `KD`": two_weights("CE_WEIGHT", "KD_WEIGHT"),
    "KD_Lib, `VanillaKD`": kd_lib,
    "MMRazor, `KLDivergence`": two_weights("1", "loss_weight"),
    "TextBrewer, `ce`": text_brewer,
    "DistilBERT script": two_weights("alpha_mlm", "alpha_ce"),
    "Neural Compressor, `CE`, `CE`": neural_compressor(soft_cross_entropy),
    "Neural Compressor, `CE`, `KL`": neural_compressor(mean_kl),
    "fasterai, `SoftTarget`": two_weights("1 - weight", "weight"),
    "fasterai, earlier": two_weights("1 - α", "2 * α"),
}
PAPER = "Hinton, Vinyals and Dean 2015"  # gives no numbers
CONVENTIONS = {row[0]: row[1:] for row in rows(COMING_FROM, "## All conventions in one table")}
VALUES = {
    "task_loss_weight": 0.3,
    "distill_loss_weight": 0.8,
    "ce_loss_weight": 0.75,
    "soft_target_loss_weight": 0.25,
    "alpha": 0.3,
    "beta": 0.6,
    "gamma": 0.9,
    "CE_WEIGHT": 0.1,
    "KD_WEIGHT": 0.9,
    "distil_weight": 0.7,
    "loss_weight": 0.4,
    "hard_label_weight": 0.2,
    "kd_loss_weight": 1.3,
    "alpha_mlm": 0.5,
    "alpha_ce": 2.0,
    "loss_weights": [0.5, 0.7],
    "weight": 0.35,
    "α": 0.35,
    "temperature": 3.0,
}


def test_every_row_is_tried():
    assert CONVENTIONS.keys() == TOOLS.keys() | {PAPER}


TRL, TORCHDISTILL = "TRL, `generalized_jsd_loss`", "torchdistill, `KDLoss`"
CASES = [
    *((tool, {}, 0) for tool in TOOLS if tool != TRL),
    (TORCHDISTILL, {"beta": 1 - VALUES["alpha"]}, 1),  # its default
    *((TRL, {"beta": beta}, number) for number, beta in enumerate((0, 0.6, 1))),
]


@pytest.mark.parametrize(("tool", "values", "choice"), CASES)
def test_a_convention_is_the_loss_of_the_tool(tool, values, choice):
    """If a cell names several values, ``choice`` is the number of one of them."""
    hard, soft, _, kinds = CONVENTIONS[tool]
    values = VALUES | values
    weights, names = soft.split(", or "), re.findall(r"`(\w+)`", kinds)
    ours = Objective(
        hard_weight=number(hard, values),
        soft_weight=number(weights[min(choice, len(weights) - 1)], values),
        temperature=values["temperature"],
        soft=names[min(choice, len(names) - 1)],
        scale_by_t2="no $T^2$" not in kinds,
        teacher_share=VALUES["beta"],
    )
    z, v, y = batch()
    assert_equal_losses(lambda z: TOOLS[tool](z, v, y, values), lambda z: ours(z, v, y).loss, z)


TIMM_WEIGHTS = {
    "`--task-loss-weight w` and `--distill-loss-weight v`": {
        "task_loss_weight": 0.3,
        "distill_loss_weight": 0.6,
    },
    "`--task-loss-weight w` alone": {"task_loss_weight": 0.3},
    "`--distill-loss-weight v` alone": {"distill_loss_weight": 0.6},
    "neither weight": {},
}


@pytest.mark.slow  # importing timm takes seconds
@pytest.mark.parametrize("row", TIMM_WEIGHTS)
def test_weights_of_timm_are_those_of_its_task(row):
    task = pytest.importorskip("timm.task")
    cell = dict(rows(COMING_FROM, "## timm"))[row].replace("−", "-").replace("`", "")
    weights = dict(re.findall(r"(\w+_weight) ?= ?([\w. -]+?)(?=$|,| \w+_weight)", cell))
    assert weights.keys() == {"hard_weight", "soft_weight"}
    names = {"w": 0.3, "v": 0.6}
    ours = Objective(
        temperature=4.0, **{name: float(eval(code, names)) for name, code in weights.items()}
    )
    student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES)) for _ in range(2))
    for model in (student, teacher):
        model.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        model.num_classes, model.in_chans = CLASSES, 3
    theirs = task.LogitDistillationTask(
        student,
        teacher,
        criterion=nn.CrossEntropyLoss(),
        temperature=4.0,
        verbose=False,
        **TIMM_WEIGHTS[row],
    )
    x, y = randn(SAMPLES, 3, 2, 2).float(), labels(SAMPLES)
    result = ours(student(x), teacher(x), y).loss
    torch.testing.assert_close(result, theirs(x, y)["loss"], rtol=1e-5, atol=1e-6)


def test_torchdistill_without_labels_is_the_plain_kl():
    """alpha = 0: ``hard_weight=0 soft_weight=1 scale_by_t2=false``."""
    text = COMING_FROM.read_text(encoding="utf-8")
    assert "`hard_weight=0 soft_weight=1 scale_by_t2=false`" in text
    ours = Objective(hard_weight=0, soft_weight=1, scale_by_t2=False, temperature=3.0)
    z, v, y = batch()
    assert_equal_losses(lambda z: kl(z, v, 3.0), lambda z: ours(z, v, y).loss, z)


# Traps --------------------------------------------------------------------------------------------

MISTAKES = {
    "`KLDivLoss()`": lambda z, v, t: t**2 * mean_kl(z, v, t),
    '`reduction="sum"`': lambda z, v, t: t**2 * kl(z, v, t, "sum"),
    '`reduction="batchmean"`': lambda z, v, t: t**2 * kl(z, v, t, "batchmean"),
    "no factor $T^2$": lambda z, v, t: kl(z.flatten(0, -2), v.flatten(0, -2), t),
    "`mse_loss(softmax, softmax)`": lambda z, v, t: F.mse_loss(
        (z / t).softmax(-1), (v / t).softmax(-1)
    ),
    "`mse_loss(z, v)` on raw logits": lambda z, v, t: F.mse_loss(z, v),
    "`mse_loss(z / T, v / T)`": lambda z, v, t: F.mse_loss(z / t, v / t),
}
FACTORS = {
    "divided by C": 1 / CLASSES,
    "times B L": SAMPLES * LENGTH,
    "times L": LENGTH,
    "twice the": 2,
}
TRAPS = {row[0]: row[2] for row in rows(DISTILLATION, "## Traps") if row[2].strip()}


def trap(name):
    (cell,) = (cell for start, cell in TRAPS.items() if start.startswith(name))
    return cell


def test_every_trap_is_tried():
    assert len(TRAPS) == len(MISTAKES)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reproduced_for_logits_of_several_positions(name):
    cell, t = trap(name), 3.0
    factor = next((value for phrase, value in FACTORS.items() if phrase in cell), 1)
    kind = re.search(r"soft=(\w+)", cell)
    ours = Objective(
        hard_weight=0,
        soft_weight=factor,
        temperature=t,
        soft=kind[1] if kind else "kl",
        scale_by_t2="scale_by_t2=false" not in cell,
    )
    z, v, y = batch((SAMPLES, LENGTH))
    if "mse_loss(z" in name:  # without the pull on the mean logit
        z, v = (x - x.mean(-1, keepdim=True) for x in (z, v))

    def our_loss(z):
        return ours(z.flatten(0, 1), v.flatten(0, 1), y.flatten()).loss

    def their_loss(z):
        if "mse_loss(z" in name:
            z = z - z.mean(-1, keepdim=True)
        return MISTAKES[name](z, v, t)

    assert_equal_losses(their_loss, our_loss, z)


def test_the_factor_t2_may_move_into_the_weight():
    assert "with `soft_weight=w` equals `scale_by_t2=true` with `soft_weight=w/T²`" in " ".join(
        DISTILLATION.read_text(encoding="utf-8").split()
    )
    z, v, y = batch()
    without = Objective(soft_weight=0.8, scale_by_t2=False, temperature=3.0)
    scaled = Objective(soft_weight=0.8 / 9, temperature=3.0)
    assert_equal_losses(lambda z: without(z, v, y).loss, lambda z: scaled(z, v, y).loss, z)


# Losses -------------------------------------------------------------------------------------------


def documented(*formulas):
    text = LOSSES.read_text(encoding="utf-8")
    for formula in formulas:
        assert formula in text


def test_standardisation_of_the_authors_is_another_temperature_and_weight():
    documented(r"$\sqrt{C / (C - 1)}$", "smaller by $(C - 1) / C$")
    t, weight = 2.0, 9.0

    def authors(z, v):
        z, v = (
            (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=1) for x in (z, v)
        )
        return weight * t**2 * kl(z, v, t)

    ours = Objective(
        hard_weight=0,
        soft_weight=weight * (CLASSES - 1) / CLASSES,
        temperature=t * sqrt(CLASSES / (CLASSES - 1)),
        standardise=True,
    )
    z, v, y = batch()
    assert_equal_losses(lambda z: authors(z, v), lambda z: ours(z, v, y).loss, z)


def test_the_settings_of_dist_are_a_weight_of_32():
    documented("T = 4 and weight 2 with the factor: 32 in\n  all")
    z, v, y = batch()
    p, q = (v / 4).softmax(-1), (z / 4).softmax(-1)

    def distance(a, b):
        a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
        return 1 - F.cosine_similarity(a, b, dim=1).mean()

    theirs = 32 * (distance(q, p) + distance(q.T, p.T))
    ours = Objective(soft="dist", hard_weight=0, soft_weight=2, temperature=4)(z, v, y).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_layers_of_the_papers_and_their_code():
    documented(r"their beta is a weight of $2 \beta / (H W)$ here", "equation 3, without $1/n$")
    one, other = randn(4, 3, 5, 6), randn(4, 3, 5, 6, seed=1)

    def attention(x):
        return F.normalize(x.pow(2).mean(1).flatten(1))

    authors = 1000 * (attention(one) - attention(other)).pow(2).mean()
    ours = 2 * 1000 / (5 * 6) * attention_loss(one, other).mean()
    torch.testing.assert_close(ours, authors)
    equation = (one - other).flatten(1).norm(dim=1).square() / 2
    torch.testing.assert_close(one[0].numel() * hint_loss(one, other), equation)
