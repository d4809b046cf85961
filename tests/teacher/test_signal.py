import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.models import MLP, ConvNet
from limbeck.teacher.signal import LiveTeacher, StoredTeacher
from limbeck.training.module import DistillationModule

CPU = torch.device("cpu")
IMAGES = torch.randint(
    0, 256, (11, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


class Fixed(nn.Module):
    """Answers the same logits for every input."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits, dtype=torch.float32))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


class Fussy(nn.Module):
    """BatchNorm and Dropout: both would show a teacher left in training mode."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(36, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(8, 4),
        )

    def forward(self, x):
        return self.layers(x)


def images(*batch):
    return torch.rand(*batch, 1, 6, 6)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_unchanged(model, before):
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "make", [Fussy, lambda: ConvNet((1, 6, 6), 4, channels=[4], strides=[1], dropout=0.5)]
)
def test_a_teacher_never_changes(make):
    model = make().train()
    before = snapshot(model)
    teacher = LiveTeacher(model)
    x = images(5)
    first = teacher(x)
    for _ in range(20):
        model.train()
        answer = teacher(x)
        assert torch.equal(answer, first), "dropout would make answers differ"
        assert answer.dtype == torch.float32
        assert not answer.requires_grad
        assert not any(module.training for module in model.modules())
    assert_unchanged(model, before)
    assert all(p.grad is None for p in model.parameters())


def test_one_part_left_in_training_mode_is_noticed():
    model = Fussy().eval()
    model.layers[2].train()
    before = snapshot(model)
    LiveTeacher(model)(images(5) * 9)
    assert_unchanged(model, before)


def test_a_teacher_gets_no_gradient_from_its_input():
    model, x = Fussy(), images(3).requires_grad_()
    assert not LiveTeacher(model)(x).requires_grad
    with torch.enable_grad():
        assert not StoredTeacher(torch.randn(4, 1, 3)).records.requires_grad


def test_a_teacher_is_no_part_of_the_student():
    teacher, student = Fussy(), MLP((1, 6, 6), 4, hidden=[5])
    for signal in (teacher, LiveTeacher(teacher), LiveTeacher([teacher, Fussy()])):
        module = DistillationModule(student, signal)
        own = {id(m) for m in module.modules()}
        assert not own & {id(m) for m in teacher.modules()}
        assert not {id(p) for p in module.parameters()} & {id(p) for p in teacher.parameters()}
        shapes = sorted(tuple(tensor.shape) for tensor in module.state_dict().values())
        assert shapes == sorted(tuple(tensor.shape) for tensor in student.state_dict().values())
        module.train()


def test_a_teacher_is_in_no_checkpoint(tmp_path):
    import lightning as L

    student, teacher = MLP((1, 6, 6), 4, hidden=[5]), Fussy()
    module = DistillationModule(student, LiveTeacher(teacher))
    trainer = L.Trainer(
        max_epochs=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "all.ckpt")
    checkpoint = torch.load(tmp_path / "all.ckpt", weights_only=True)
    sizes = {tensor.numel() for tensor in checkpoint["state_dict"].values()}
    assert sizes == {p.numel() for p in student.parameters()}
    assert b"BatchNorm" not in (tmp_path / "all.ckpt").read_bytes()


LOGITS = st.lists(
    st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=4), min_size=2, max_size=5
)


@settings(max_examples=20, deadline=None)
@given(members=LOGITS)
def test_ensembles_equal_numpy(members):
    models = [Fixed(member) for member in members]
    exact = np.array(members, dtype=np.float64)
    geometric = LiveTeacher(models, combine="logits")(torch.zeros(2, 3))[1].double().numpy()
    np.testing.assert_allclose(geometric, exact.mean(0), atol=1e-4)
    arithmetic = LiveTeacher(models)(torch.zeros(2, 3))[1].double().numpy()
    expected = logsumexp(log_softmax(exact, -1), axis=0) - np.log(len(members))
    np.testing.assert_allclose(arithmetic, expected, atol=1e-4, rtol=1e-5)
    assert np.exp(arithmetic).sum() == pytest.approx(1, abs=1e-5)


def test_one_member_answers_its_raw_logits():
    for combine in ("probabilities", "logits"):
        assert LiveTeacher([Fixed([3.0, 1.0])], combine=combine)(torch.zeros(1, 3)).tolist() == [
            [3.0, 1.0]
        ]


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_equal_members_are_one_model(combine):
    model, x = Fussy(), images(5)
    torch.testing.assert_close(
        LiveTeacher([model, model], combine=combine)(x).softmax(-1),
        LiveTeacher(model)(x).softmax(-1),
    )


def test_members_of_different_class_counts():
    with pytest.raises(TeacherError, match=r"output \[3, 2\] classes"):
        LiveTeacher([Fixed([1.0, 2.0, 3.0]), Fixed([1.0, 2.0])])(torch.zeros(1, 3))


def test_bad_teachers():
    with pytest.raises(ConfigError, match="at least one model"):
        LiveTeacher([])
    with pytest.raises(
        ConfigError,
        match=r"teacher\.combine='mean' is unknown; choose one of probabilities, logits",
    ):
        LiveTeacher(Fussy(), combine="mean")


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_batches_of_several_seeds(seeds):
    teacher, x = LiveTeacher(Fussy()), images(seeds, 5)
    sample = torch.zeros(seeds, 5, dtype=torch.int64)
    answers = teacher(x, sample, sample)
    assert answers.shape == (seeds, 5, 4)
    for seed in range(seeds):
        torch.testing.assert_close(answers[seed], teacher(x[seed]))


@settings(max_examples=15, deadline=None)
@given(data=st.data(), seeds=st.integers(1, 3), size=st.integers(1, 12))
def test_answers_are_found_by_row_and_view(data, seeds, size):
    logits = torch.arange(7 * 5 * 3, dtype=torch.float32).view(7, 5, 3)
    sample, view = (
        torch.tensor(
            data.draw(
                st.lists(
                    st.lists(st.integers(0, top), min_size=size, max_size=size),
                    min_size=seeds,
                    max_size=seeds,
                )
            )
        )
        for top in (6, 4)
    )
    answer = StoredTeacher(logits)(torch.zeros(seeds, size, 1), sample, view)
    assert answer.shape == (seeds, size, 3)
    expected = (sample[..., None] * 5 + view[..., None]) * 3 + torch.arange(3)
    assert torch.equal(answer, expected.float())


def test_answers_kept_in_half_precision_come_as_floats():
    assert (
        StoredTeacher(torch.zeros(2, 1, 3, dtype=torch.bfloat16))(
            torch.zeros(1, 1), torch.tensor([1]), torch.tensor([0])
        ).dtype
        == torch.float32
    )


def test_stored_answers_need_rows():
    stored = StoredTeacher(torch.zeros(2, 1, 3))
    for sample, view in ((None, None), (torch.tensor([0]), None), (None, torch.tensor([0]))):
        with pytest.raises(TeacherError, match="need each sample's row and view"):
            stored(torch.zeros(1, 1), sample, view)


def test_answers_to_some_rows_are_found_by_their_row():
    stored = StoredTeacher(
        torch.arange(12.0).view(3, 2, 2), rows=torch.tensor([1, 4, 6]), samples=8
    )
    answer = stored(torch.zeros(1, 2, 1), torch.tensor([[6, 1]]), torch.tensor([[1, 0]]))
    assert answer.tolist() == [[[10.0, 11.0], [0.0, 1.0]]]
    for row in (0, 7):
        with pytest.raises(
            TeacherError,
            match=f"no answer for training sample {row}: it holds 3 samples",
        ):
            stored(torch.zeros(2, 1), torch.tensor([4, row]), torch.tensor([0, 0]))
    with pytest.raises(IndexError):
        stored(torch.zeros(1, 1), torch.tensor([4]), torch.tensor([2]))


PAGE_FAULTS = """
import resource

import torch
from limbeck.models import ConvNet
from limbeck.teacher.signal import LiveTeacher

torch.set_num_threads(1)
teacher = LiveTeacher(ConvNet((1, 28, 28), 10))
x = torch.rand(128, 1, 28, 28)
for batch in range(8):
    if batch == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    teacher.answer(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_of_feature_maps_is_used_again():
    """Each batch has 25,000 pages of feature maps, which took a third of its time."""
    command = [sys.executable, "-c", PAGE_FAULTS]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 5000
