"""Cost of students before they are trained."""

from collections.abc import Mapping

from torch import nn

from limbeck._base.progress import StageProgress
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.data.embeddings import set_dimensions
from limbeck.data.model_facts import model_facts
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.cost_models import cost_model, measure_models
from limbeck.deploy.onnx_export import check_onnx_is_installed
from limbeck.models import save_model
from limbeck.run.cost import Cost
from limbeck.teacher.checks import probe


def untrained_cost(
    students: Mapping[str, nn.Module], data: Dataset, *, progress: bool = True
) -> Cost:
    """Measure size, memory and latency of students with random weights.

    These depend on the architecture alone, so that a student that is too large or too slow for a
    device need not be trained.

    Args:
        students: Untrained students by name.
        data: Dataset for which they are built.
        progress: Whether to show progress on standard error.

    Returns:
        Cost of each student in PyTorch, in ONNX Runtime and in 8 bits, without test errors.

    Raises:
        ConfigError: If a student cannot be exported to ONNX, or the dataset is text in blocks.
        ResourceError: If a library is missing or a measurement fails.
        TeacherError: If a student of embeddings gives no vectors.
    """
    check_has_one_answer(data, "cost")
    check_onnx_is_installed()
    stages = StageProgress(enabled=progress)
    with scratch_folder() as temporary:
        models = []
        with stages.stage("exporting", len(students)) as advance:
            for number, (name, student) in enumerate(students.items(), start=1):
                path = temporary / f"torch-{number}"
                save_model(student.eval(), path, **model_facts(data))
                folder = temporary / f"onnx-{number}"
                own_data = _with_dimensions(data, student, name)
                models.append(cost_model(name, [student], [path], own_data, folder))
                advance(number)
        with stages.stage("measuring", 1.0) as advance:
            return measure_models(models, data, advance)


def _with_dimensions(data: Dataset, student: nn.Module, name: str) -> Dataset:
    """Return a dataset of embeddings with the number of dimensions of a student's vectors."""
    if data.kind.outputs != "vectors":
        return data
    return set_dimensions(data, probe(student, data.blank(1), (1,), where=name))
