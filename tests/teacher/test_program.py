import pickle

import pytest
import torch
from torch import nn

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models import MLP
from limbeck.teacher.adapt import as_models
from limbeck.teacher.program import ProgramTeacher, load_program
from limbeck.teacher.signal import LiveTeacher

X = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))


def export(model, *, batch=None, scale=2):
    """A program for any or a fixed number of samples."""
    shapes = None if batch else ({0: torch.export.Dim("N")},)
    return torch.export.export(
        model.eval(), (torch.rand(batch or scale, 4),), dynamic_shapes=shapes
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MLP((4,), 3, hidden=[5], dropout=0.5).eval()


@pytest.fixture(scope="module")
def program(model):
    return export(model)


def test_a_program_answers_as_its_model(model, program):
    (teacher,) = as_models(program)
    with torch.no_grad():
        torch.testing.assert_close(LiveTeacher(teacher)(X), model(X))
    assert teacher.parameter_count == sum(p.numel() for p in model.parameters())


def test_a_fixed_number_of_samples_is_filled(model):
    teacher = ProgramTeacher(export(model, batch=3))
    with torch.no_grad():
        torch.testing.assert_close(LiveTeacher(teacher)(X), model(X))


@pytest.mark.parametrize("batch", [None, 3])
def test_another_process_has_the_same_program(model, batch):
    teacher = ProgramTeacher(export(model, batch=batch), "mine.pt2")
    copy = pickle.loads(pickle.dumps(teacher))
    assert torch.equal(copy.compute(X), teacher.compute(X))
    assert torch.equal(copy.digest, teacher.digest)
    assert (copy.name, copy.parameter_count) == ("mine.pt2", teacher.parameter_count)


def test_other_weights_or_another_graph_are_another_program(model, program):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return 2 * self.net(x)

    torch.manual_seed(1)
    others = [export(MLP((4,), 3, hidden=[5], dropout=0.5)), export(Doubled())]
    digests = [ProgramTeacher(other).digest.tolist() for other in [program, *others]]
    assert len({tuple(digest) for digest in digests}) == 3
    assert ProgramTeacher(program).digest.tolist() == digests[0]


def test_a_file_is_loaded_only_if_it_is_trusted(model, program, tmp_path):
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(
        UntrustedFileError, match=r"can run code that it contains.*teacher\.trust_pickle=true"
    ):
        load_program(tmp_path / "model.pt2", trust=False)
    teacher = load_program(tmp_path / "model.pt2", trust=True)
    with torch.no_grad():
        torch.testing.assert_close(LiveTeacher(teacher)(X), model(X))
    assert teacher.name == "model.pt2"


def test_files_that_are_no_programs(tmp_path):
    with pytest.raises(TeacherError, match="does not exist"):
        load_program(tmp_path / "none.pt2", trust=True)
    (tmp_path / "bad.pt2").write_bytes(b"nonsense")
    with pytest.raises(UntrustedFileError, match="cannot be loaded as a program"):
        load_program(tmp_path / "bad.pt2", trust=True)


def test_inputs_that_do_not_fit(program):
    with pytest.raises(TeacherError, match=r"cannot process inputs of shape \[2, 9\]"):
        LiveTeacher(ProgramTeacher(program))(torch.rand(2, 9))
