"""Outputs of a teacher from files, brought to the classes of a dataset."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from limbeck._base.errors import ConfigError, LimbeckWarning, TeacherError
from limbeck.data import Dataset
from limbeck.data.checks import join_some
from limbeck.data.inputs import match_floats
from limbeck.models import LoadedModel, OutputMap
from limbeck.teacher.checks import probe
from limbeck.teacher.class_names import Names, check_names, read_names

KINDS = ("logits", "probabilities")


@dataclass(frozen=True, kw_only=True)
class TeacherOutputs:
    """What the outputs of a teacher are.

    Attributes:
        classes: Names of the outputs in their order, with None for outputs that are no class of the
            data; None for those in the teacher's ``model.json``, or else those of the data.
        map: File with these names, see :func:`~limbeck.teacher.class_names.read_names`.
        kind: Kind of the outputs: ``logits`` or ``probabilities``.

    Raises:
        ConfigError: If a value is not valid.
    """

    classes: Sequence[str | None] | None = None
    map: str | Path | None = None
    kind: str = "logits"

    def __post_init__(self) -> None:
        if self.classes is not None and self.map is not None:
            raise ConfigError("teacher.classes and teacher.map both name the outputs. Set one.")
        if self.map is not None and not isinstance(self.map, str | Path):
            raise ConfigError(f"teacher.map={self.map!r} should be the path of a file.")
        if self.classes is not None:
            object.__setattr__(self, "classes", check_names(self.classes, "teacher.classes"))
        if self.kind not in KINDS:
            raise ConfigError(
                f"teacher.outputs={self.kind!r} is unknown; choose one of {', '.join(KINDS)}."
            )

    @cached_property
    def names(self) -> Names | None:
        """Names of the outputs; None if they are not given.

        Raises:
            TeacherError: If the file cannot be read.
        """
        if self.map is not None:
            return read_names(Path(self.map).expanduser())
        return None if self.classes is None else tuple(self.classes)

    @property
    def is_given(self) -> bool:
        """Whether the user says anything about the outputs."""
        return self != TeacherOutputs()

    def apply(self, loaded: LoadedModel, data: Dataset, where: str) -> LoadedModel:
        """Return a teacher with one logit per class of a dataset, in the order of its classes.

        A teacher whose ``model.json`` names all classes of the data, in another order or among
        others, is mapped by these names.

        Args:
            loaded: Teacher.
            data: Dataset of the study.
            where: Origin of the teacher, for messages.

        Raises:
            ConfigError: If the dataset is text.
            TeacherError: If the names do not fit the teacher, or a class of the data is missing.

        Warns:
            LimbeckWarning: If the teacher is mapped by the names in its ``model.json``.
        """
        if data.positions is not None:
            if self.is_given:
                raise ConfigError(
                    "teacher.classes, teacher.map and teacher.outputs are for classifiers, but "
                    f"{data.name} is a text dataset."
                )
            return loaded
        if not data.kind.has_classes and self.kind == "probabilities":
            raise ConfigError(
                f"teacher.outputs=probabilities is for classifiers, but {data.name} is for "
                f"{data.kind.description}."
            )
        names = self.names or _own_names(loaded, data, where)
        is_mapped = names is not None and list(names) != data.class_names
        if not is_mapped and self.kind == "logits":
            return loaded
        blank = match_floats(data.blank(1), loaded.model)
        count = probe(loaded.model, blank, data.answer_shape, where=where)
        is_binary = count == 1 and data.classes == 2 and data.kind.has_classes
        count = 2 if is_binary else count
        columns = list(range(count)) if names is None else _columns(names, count, data, where)
        model = OutputMap(loaded.model, columns, probabilities=self.kind == "probabilities")
        description = dict(loaded.description)
        if names is not None:
            description["class_names"] = list(data.class_names)
        return LoadedModel(model.eval(), description)


def _own_names(loaded: LoadedModel, data: Dataset, where: str) -> Names | None:
    """Return the names in ``model.json`` if they include all classes of the data."""
    own = loaded.description.get("class_names")
    if own is None or own == data.class_names or not set(own) >= set(data.class_names):
        return None
    use = "are brought to the order of the dataset's"
    if len(own) > data.classes:
        use = f"are cut to the {data.classes} of the dataset"
    warnings.warn(
        f"{where}: the {len(own)} classes of the teacher {use}, by their names.",
        LimbeckWarning,
        stacklevel=3,
    )
    return tuple(own)


def _columns(names: Names, count: int, data: Dataset, where: str) -> list[int]:
    """Return the number of the output of each class of the data."""
    if len(names) != count:
        raise TeacherError(
            f"{where}: teacher.classes names {len(names)} outputs, but the teacher has {count}. "
            "Name all of them in their order, with null for those that are no class of the data."
        )
    missing = [name for name in data.class_names if name not in names]
    if missing:
        raise TeacherError(
            f"{where}: the teacher has no output for {len(missing)} of {data.classes} classes of "
            f"the dataset: {join_some(missing)}. Its outputs are "
            f"{join_some([str(name) for name in names])}."
        )
    position = {name: number for number, name in enumerate(names)}
    return [position[name] for name in data.class_names]
