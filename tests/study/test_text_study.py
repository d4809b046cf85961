"""A whole study on a text of known entropy."""

import copy
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import norm
from support.markov import markov_text
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, NoViews, TransferSet, text_file
from limbeck.data.batches import TrainBatches
from limbeck.deploy.choose import choose_student
from limbeck.losses import StackedObjective
from limbeck.losses.sparse import SparseTargets
from limbeck.models import GPT, load_model
from limbeck.run.summary import parse_summary
from limbeck.store.answers import TeacherPass
from limbeck.store.build import open_store
from limbeck.teacher.signal import LiveTeacher

BLOCK = 32
SYMBOLS = "abcdef"
HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0, temperature=1.0)
FAST = Optimizer(name="adamw", lr=0.005, schedule="one_cycle")
gpt = partial(GPT, width=32, layers=1, heads=1)
ALPHA = 1e-6  # false alarms of the tests that draw


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The text's file, its entropy in nats a byte, and the source's transitions."""
    written, entropy, transitions = markov_text(SYMBOLS, 60_000, seed=1)
    file = tmp_path_factory.mktemp("source") / "chain.txt"
    file.write_text(written)
    return file, entropy, transitions


@pytest.fixture(scope="module")
def data(source):
    return text_file(source[0], block=BLOCK, cache=source[0].parent / "cache")


def study_of(data, out, **options):
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=SOFT)}
    settings = {
        "student": gpt,
        "teacher": Teacher(model=gpt, epochs=6, batch_size=16, optimizer=FAST),
        "seeds": 2,
        "epochs": 6,
        "batch_size": 16,
        "optimizer": FAST,
        "store": {"folder": out.parent / "store"},
    }
    return make_study(data, options.pop("arms", arms), out, **{**settings, **options})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, study_of(
        data, out, store={"folder": out.parent / "store", "kind": "sampled", "k": 3}
    ).run()


@pytest.fixture(scope="module")
def teacher(finished):
    return load_model(finished[0] / "teacher").model


# What no model can beat, a good one reaches -------------------------------------------------------


def test_teacher_control_and_student_reach_the_entropy_of_the_source(source, data, finished):
    _, entropy, transitions = source
    summary = finished[1]
    reached = [summary.teacher.test.nll] + [s.test.nll for arm in summary.arms for s in arm.seeds]
    # What the true source gives this very text: its entropy, but for the chance that lies in 3,000
    # bytes of it.
    place = np.zeros(256, dtype=int)
    place[list(SYMBOLS.encode())] = range(len(SYMBOLS))
    test = data.open_test()
    least = float(
        -np.log(transitions[place[test.inputs.numpy()], place[test.labels.numpy()]]).mean()
    )
    assert len(reached) == 5
    assert least == pytest.approx(entropy, rel=0.05)
    assert reached == pytest.approx([least] * 5, rel=0.01)


def test_the_summary_of_text(data, finished):
    out, summary = finished
    assert parse_summary(json.loads((out / "summary.json").read_text())) == summary
    assert summary.measure == "bits_per_byte"
    tokens = data.test_size * BLOCK
    assert summary.data.tokens["test"] == summary.data.bytes["test"] == tokens
    assert (summary.data.tokenizer, summary.data.block) == ("bytes", BLOCK)
    for found in (
        summary.teacher.test,
        summary.arms[0].seeds[0].test,
        summary.arms[1].mean,
    ):
        assert found.bits_per_byte == pytest.approx(
            found.nll / math.log(2)
        )  # a byte is a token here
    seed = summary.arms[0].seeds[0].test
    assert seed.perplexity == pytest.approx(math.exp(seed.nll))
    with np.load(out / "predictions.npz", allow_pickle=False) as kept:
        nll = kept["nll/students/soft/seed1"]
        assert nll.shape == (data.test_size, BLOCK)
        assert nll.mean() == pytest.approx(summary.arms[1].seeds[1].test.nll, rel=1e-5)


def test_the_comparison_of_text_is_in_bits_per_byte(finished):
    _, summary = finished
    (comparison,) = summary.comparisons
    delta = comparison.delta_bits_per_byte
    arms = {arm.name: [s.test.bits_per_byte for s in arm.seeds] for arm in summary.arms}
    assert delta.per_seed == pytest.approx(
        [a - c for a, c in zip(arms["soft"], arms["hard"], strict=True)], abs=1e-6
    )
    assert (
        delta.ci95_total[0] <= delta.ci95[0] <= delta.mean <= delta.ci95[1] <= delta.ci95_total[1]
    )
    assert comparison.mcnemar_p is None
    assert 0 <= comparison.p_value <= 1


# Stored answers -----------------------------------------------------------------------------------


def stored(teacher, data, folder, *, rows=None, **kind):
    rows = torch.arange(len(data.train)) if rows is None else rows
    teacher_pass = TeacherPass(
        teacher=LiveTeacher(teacher),
        inputs=data.train.inputs,
        rows=rows,
        views=NoViews(),
        classes=256,
        positions=BLOCK,
        vocabulary=data.tokenizer.digest,
    )
    return open_store(
        teacher_pass,
        teacher_pass.header(kind.pop("dtype", "float16"), **kind),
        folder,
        StageProgress(enabled=False),
    )


def batches(data, **options):
    settings = {"views": NoViews(), "seeds": [0, 1], "batch_size": 24, "epoch": lambda: 3}
    return TrainBatches(data.train, torch.arange(len(data.train)), None, **{**settings, **options})


@pytest.mark.parametrize(("kind", "k"), [("dense", 0), ("topk", 256), ("sampled", 256)])
def test_stored_answers_are_the_live_ones_whatever_the_order(teacher, data, tmp_path, kind, k):
    signal, live = stored(teacher, data, tmp_path, kind=kind, k=k), LiveTeacher(teacher)
    for batch in list(batches(data))[:3]:
        now = live(batch.x, batch.sample).log_softmax(-1)
        found = signal(batch.x, batch.sample, batch.view)
        if isinstance(found, SparseTargets):
            found = torch.full_like(now, float("-inf")).scatter(-1, found.ids, found.log_p)
        torch.testing.assert_close(
            found.log_softmax(-1).exp(), now.exp(), rtol=6e-3, atol=1e-6
        )  # of float16


def gradients(signal, data):
    """Of the soft loss, summed over the training tokens, in the logits that follow each symbol,
    ``[256, 256]``.
    """
    objective, table = StackedObjective([SOFT]), torch.zeros(256, 256, requires_grad=True)
    for batch in batches(data, seeds=[0], batch_size=100):
        found = signal(batch.x, batch.sample, batch.view)
        flat = (lambda part: part.flatten(1, 2)) if isinstance(found, torch.Tensor) else None
        targets = flat(found) if flat else found.map(lambda part: part.flatten(1, 2))
        logits = table[batch.x.flatten(1)][None]
        objective(logits, targets, batch.y.flatten(1), counts=(1.0, 1.0)).loss.sum().backward()
    return table.grad


def test_sampled_answers_give_the_dense_gradient_in_the_mean(teacher, data, tmp_path):
    dense = gradients(stored(teacher, data, tmp_path, dtype="float32"), data)
    for k in (1, 2, 4):
        signal = stored(teacher, data, tmp_path, kind="sampled", k=k)
        found, spread = gradients(signal, data), torch.zeros(256, 256)
        for batch in batches(
            data, seeds=[0], batch_size=100
        ):  # the variance of the draws, token by token
            p = LiveTeacher(teacher)(batch.x, batch.sample).softmax(-1).flatten(0, 2)
            drawn = signal(batch.x, batch.sample, batch.view)
            w = torch.zeros_like(p).scatter(
                -1, drawn.ids.flatten(0, 2), drawn.log_p.flatten(0, 2).exp()
            )
            spread.index_add_(0, batch.x.flatten(), (w - p).square())
        often = spread > 30  # so that the sum over tokens is as good as normal
        z = (found - dense)[often] / spread[often].sqrt()
        assert often.sum() >= (5 if k == 4 else 15)
        assert float(z.abs().max()) < norm.isf(ALPHA / 2 / len(z))
        if k == 1:  # and it would notice: without a class's share of the draws
            assert float((dense[often] / spread[often].sqrt()).abs().max()) > norm.isf(
                ALPHA / 2 / len(z)
            )


def test_most_probable_answers_with_their_tail_give_the_dense_gradient(teacher, data, tmp_path):
    seen = list(SYMBOLS.encode())
    dense = gradients(stored(teacher, data, tmp_path, dtype="float32"), data)
    size = float(dense[seen].abs().max())
    for k in (3, 6):
        signal = stored(teacher, data, tmp_path, kind="topk", k=k)
        found = gradients(signal, data)
        top = LiveTeacher(teacher)(data.train.inputs[:100].long(), None).mean(1).mean(0)
        assert len(top) == 256
        # Each row sums to 0 for both, and what a token's K classes get is the dense share.
        torch.testing.assert_close(found.sum(-1), dense.sum(-1), atol=1e-3 * size, rtol=0)
        if k == 6:
            assert float((found - dense)[seen][:, seen].abs().max()) < 2e-3 * size

    def renormalised(x, sample, view):
        kept = stored(teacher, data, tmp_path, kind="topk", k=3)(x, sample, view)
        return SparseTargets(kept.ids, kept.log_p.log_softmax(-1), None, 256)

    assert float((gradients(renormalised, data) - dense).abs().max()) > 0.05 * size


def test_targets_of_the_next_position_raise_the_loss(teacher, data, tmp_path):
    batch = next(iter(batches(data)))
    logits = LiveTeacher(teacher)(batch.x, batch.sample)[None].flatten(-3, -2)
    targets = stored(teacher, data, tmp_path)(batch.x, batch.sample, batch.view).flatten(1, 2)
    y = batch.y.flatten(1)
    objective = StackedObjective([Objective(hard_weight=0.5, soft_weight=0.5, temperature=1.0)])
    at_home = objective(logits, targets, y)
    moved = objective(logits, targets.roll(1, 1), y.roll(1, 1))
    assert float(at_home.soft.max()) < 1e-4
    assert float((moved.soft - at_home.soft).min()) > 0.3
    assert float((moved.hard - at_home.hard).min()) > 0.3


# What should change nothing -----------------------------------------------------------------------


def test_the_order_of_blocks_in_a_batch_changes_nothing(teacher, data, tmp_path):
    signal, student = (
        stored(teacher, data, tmp_path, kind="sampled", k=3),
        gpt((BLOCK,), 256).double(),
    )
    batch = next(iter(batches(data, seeds=[0])))

    def gradient(order):
        x, y, sample, view = (part[:, order] for part in batch[:4])
        targets = signal(x, sample, view).map(lambda part: part.flatten(1, 2))
        terms = StackedObjective([Objective(temperature=1.0)])(
            student(x[0])[None, None].flatten(-3, -2), targets, y.flatten(1)
        )
        return torch.autograd.grad(terms.loss.sum(), list(student.parameters()))

    before, after = gradient(torch.arange(24)), gradient(torch.randperm(24))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def weights(run):
    files = sorted(run.glob("students/*/*/model.safetensors"))
    return {str(file.relative_to(run)): load_file(file) for file in files}


def test_accumulated_gradients_are_those_of_whole_batches(teacher, data, tmp_path):
    trained = {}
    for size, parts in ((32, 1), (8, 4)):
        study_of(
            data,
            tmp_path / f"{size}",
            teacher=teacher,
            batch_size=size,
            epochs=2,
            transfer=TransferSet(samples=128),
            trainer={"precision": "64-true", "accumulate_grad_batches": parts},
        ).run()
        trained[size] = weights(tmp_path / f"{size}")
    assert len(trained[32]) == 4
    for name, tensors in trained[32].items():
        torch.testing.assert_close(trained[8][name], tensors, rtol=1e-6, atol=1e-9)


def test_a_student_alone_learns_what_it_learns_in_its_cohort(teacher, data, tmp_path):
    options = {
        "teacher": teacher,
        "epochs": 1,
        "trainer": {"precision": "64-true"},
        "transfer": TransferSet(samples=160),
    }
    study_of(data, tmp_path / "both", seeds=[0, 4], **options).run()
    study_of(
        data, tmp_path / "alone", seeds=[4], arms={"soft": Arm(objective=SOFT)}, **options
    ).run()
    together, alone = weights(tmp_path / "both"), weights(tmp_path / "alone")
    assert list(alone) == ["students/soft/seed4/model.safetensors"]
    for name, tensors in alone.items():
        torch.testing.assert_close(
            together[name], {n: t.float() for n, t in tensors.items()}, rtol=1e-5, atol=1e-7
        )


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": "prior"}, "bias=prior is for classes"),
        (
            {"transfer": TransferSet(labelled=3)},
            "transfer.labelled=3 needs samples of one class each",
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
                "arms": {
                    "soft": Arm(objective=Objective(temperature=1.0)),
                    "hot": Arm(objective=Objective(temperature=4.0)),
                },
                "store": {"kind": "sampled"},
            },
            "draws a teacher's tokens at one temperature, but the arms have 1, 4",
        ),
        (
            {"arms": {"hard": Arm(objective=HARD, control=["hard"])}},
            r"arms.hard.control='hard' is not another arm",
        ),
        ({"arms": {"hard": Arm(objective=HARD, epochs=0)}}, "arms.hard.epochs=0"),
    ],
)
def test_settings_that_text_has_not(data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study_of(data, tmp_path / "run", **options).check()


def test_a_teacher_of_another_block_or_vocabulary(data, tmp_path):
    for model in (
        GPT((BLOCK // 2,), 256, width=8, layers=1, heads=1),
        GPT((BLOCK,), 300, width=8, layers=1, heads=1),
    ):
        with pytest.raises(
            Exception,
            match=r"cannot read inputs of shape \[32\]|300 tokens, but the dataset has 256",
        ):
            study_of(data, tmp_path / "run", teacher=model).check()


def test_several_controls_and_epochs_of_an_arm(data, teacher, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "longer": Arm(objective=HARD, epochs=2),
        "soft": Arm(objective=SOFT, control=["hard", "longer"]),
    }
    study = study_of(
        data,
        tmp_path / "run",
        arms=arms,
        teacher=teacher,
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
    assert any("differ in epochs too" in warning for warning in summary.warnings)


def test_a_shuffled_teacher_is_never_the_headline_nor_what_leaves(data, teacher, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=SOFT, control=["hard", "hard"]),
        "shuffled": Arm(
            objective=Objective(
                hard_weight=0.999, soft_weight=0.001, temperature=1.0, shuffled=True
            )
        ),
    }
    out, options = (
        tmp_path / "run",
        {"teacher": teacher, "epochs": 1, "transfer": TransferSet(samples=64)},
    )
    summary = study_of(data, out, arms=arms, **options).run()
    assert [c.arm for c in summary.comparisons] == ["soft", "shuffled"]
    for comparison in summary.comparisons:
        assert comparison.main == (comparison.arm == "soft")
    assert choose_student(summary)[0] == "soft"


def test_students_with_large_logits_are_trained_one_by_one(data, tmp_path, monkeypatch):
    study = study_of(data, tmp_path / "run")
    assert len(study.cohorts()) == 1
    monkeypatch.setattr(
        "limbeck.study.cohorts.MOST_LOGITS", 16 * BLOCK * 256 * 2
    )  # of two students for a batch
    assert [len(list(cohort.students())) for cohort in study.cohorts()] == [2, 2]
    monkeypatch.setattr("limbeck.study.cohorts.MOST_LOGITS", 16 * BLOCK * 256)
    assert len(study.cohorts()) == 4


def test_chunked_steps_are_whole_steps(data, teacher, tmp_path, monkeypatch):
    options = {
        "teacher": teacher,
        "epochs": 1,
        "seeds": 1,
        "trainer": {"precision": "64-true"},
        "transfer": TransferSet(samples=64),
    }
    arms = {
        "soft": Arm(objective=Objective(temperature=2.0)),
        "hard": Arm(objective=HARD, control=[]),
    }
    for name, store in (
        ("live", "off"),
        ("topk", {"kind": "topk", "k": 4, "folder": tmp_path / "store"}),
    ):
        found = {}
        for limit in (1 << 60, 1):
            monkeypatch.setattr("limbeck.training.chunked_steps.CHUNKED_FROM", limit)
            monkeypatch.setattr(
                "limbeck.training.cohort.stack.MAX_STACKED", 1
            )  # each student alone
            out = tmp_path / f"{name}{limit}"
            study_of(data, out, store=store, arms=arms, **options).run()
            found[limit] = weights(out)
        for file, tensors in found[1].items():
            torch.testing.assert_close(found[1 << 60][file], tensors, rtol=1e-6, atol=1e-9)


def test_padding_that_a_loader_marks_changes_nothing(teacher):
    """Positions whose label is -100 count nowhere, as if the block were shorter."""
    from limbeck.training.module import DistillationModule

    student = gpt((BLOCK,), 256).double()
    x = torch.randint(97, 103, (4, BLOCK))
    y = torch.randint(97, 103, (4, BLOCK))

    def gradient(x, y):
        module = DistillationModule(
            student, copy.deepcopy(teacher).double(), Objective(temperature=2.0)
        )
        return torch.autograd.grad(
            module.training_step((x, y), 0), list(student.parameters()), allow_unused=True
        )

    short = gradient(x[:, :20], y[:, :20])
    padded = y.clone()
    padded[:, 20:] = -100
    for one, other in zip(short, gradient(x, padded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_part_of_the_blocks(data):
    index, labels = TransferSet(samples=0.25).select(data.train)
    assert len(index) == round(len(data.train) / 4)
    assert torch.equal(labels, data.train.labels[index])
    assert isinstance(data, Dataset)
