"""Cost of students before they are trained."""

from collections.abc import Mapping

from torch import nn

from limbeck._base.progress import StageProgress
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.data.model_facts import model_facts
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.cost_models import cost_model, measure_models
from limbeck.deploy.onnx_export import check_onnx_is_installed
from limbeck.models import save_model
from limbeck.run.cost import Cost


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
        ConfigError: If a student cannot be exported to ONNX, or the dataset is text in blocks or
            has embeddings.
        ResourceError: If a library is missing or a measurement fails.
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
                models.append(cost_model(name, [student], [path], data, folder))
                advance(number)
        with stages.stage("measuring", 1.0) as advance:
            return measure_models(models, data, advance)
