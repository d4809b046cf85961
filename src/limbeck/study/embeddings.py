"""Studies of embeddings: what they need of their teacher."""

from torch import nn

from limbeck._base.errors import TeacherError
from limbeck.data import Dataset
from limbeck.data.embeddings import set_dimensions
from limbeck.study.arms import Teacher
from limbeck.study.teacher_files import load_first
from limbeck.study.texts import prepare_for_texts
from limbeck.teacher.checks import probe

ADVICE = (
    "Set teacher.from to the folder of a sentence encoder, such as all-MiniLM-L6-v2, or to a run."
)


def with_dimensions(data: Dataset, teacher: object) -> Dataset:
    """Return a dataset of embeddings with the number of dimensions of its teacher's vectors.

    Args:
        data: Dataset of any kind; others are returned unchanged.
        teacher: Teacher of the study.

    Raises:
        TeacherError: If the study has no teacher, several, or one that is yet to be trained.
    """
    if data.kind.outputs != "vectors" or data.dimensions is not None:
        return data
    if isinstance(teacher, (list, tuple)) and len(teacher) == 1:
        teacher = teacher[0]
    if isinstance(teacher, str) or hasattr(teacher, "__fspath__"):
        teacher = Teacher(source=[teacher])  # type: ignore[list-item]
    if isinstance(teacher, nn.Module):
        model, where = prepare_for_texts(teacher, data), "teacher"
    elif isinstance(teacher, Teacher) and len(teacher.source or ()) == 1:
        model, where = load_first(teacher, data).model, "teacher.from"
    else:
        raise TeacherError(_reason(teacher))
    return set_dimensions(data, probe(model, data.blank(1), (1,), where=where))


def _reason(teacher: object) -> str:
    """Say why a teacher cannot teach embeddings."""
    need = "Embeddings are judged by the neighbours that one trained sentence encoder finds, but"
    if teacher is None:
        return f"{need} the study has no teacher. {ADVICE}"
    if isinstance(teacher, (list, tuple)) or (isinstance(teacher, Teacher) and teacher.source):
        return f"{need} the study has several teachers, whose vectors have no mean. {ADVICE}"
    return f"{need} the teacher is not a trained model. {ADVICE}"
