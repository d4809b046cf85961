"""Batches of a user's own loaders, in the forms that people have."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.batch_forms import (
    LABEL_KEYS,
    BatchNames,
    Key,
    Names,
    arrays_in,
    build_inputs,
    choose,
    describe_tuple,
    fields_of,
    get_part,
    inner_fields,
    is_class_vector,
    is_sequence,
    join,
    keys_of,
    length_of,
)
from limbeck.data.batches import Batch, own_inputs
from limbeck.data.inputs import (
    Inputs,
    ModelInputs,
    map_inputs,
    match_double,
    parameters_of,
    tensors_of,
)
from limbeck.data.labels import as_class_numbers, as_tensor, as_values, repeats_tokens, shift_labels
from limbeck.losses.base import UNLABELLED


class BatchReader:
    """Reader of the batches of a loader, for a student and its teacher.

    It reads pairs ``(x, y)`` of tensors, arrays or lists, tuples of more parts, and dictionaries.
    Entries of a dictionary are passed by name if the model's ``forward`` has arguments of these
    names.

    Args:
        names: Names of inputs and labels.
        student: Model that takes the inputs; None if it takes a single one. Floats of NumPy's
            default type, float64, are converted to float32 unless the model has such weights.
        teacher: Teacher, if there is one.
        needs_labels: Whether a batch without labels is an error. Otherwise its samples are
            unlabelled.
        has_classes: Whether labels are class numbers or tokens, instead of values or several labels
            of 0 and 1.
    """

    def __init__(
        self,
        names: BatchNames | None = None,
        student: nn.Module | None = None,
        teacher: nn.Module | None = None,
        *,
        needs_labels: bool = True,
        has_classes: bool = True,
    ):
        self.names = names or BatchNames()
        self._model = student
        self._needs_labels = needs_labels
        self._has_classes = has_classes
        self._student = parameters_of(student)
        self._teacher = None if teacher is None else parameters_of(teacher)
        self._shifts: bool | None = None
        self._has_warned = False

    def read(self, batch: object) -> Batch:
        """Convert a user's batch to a batch for one seed; a :class:`Batch` is not changed.

        Raises:
            DataError: If the batch has another form, if it is empty, or if inputs and labels do not
                match.
        """
        if isinstance(batch, Batch):
            return self._match_double(batch)
        if not self._needs_labels and not self._has_labels(batch):
            return self._read_unlabelled(batch)
        fields = fields_of(batch)
        label_key = self._label_key(fields)
        y = as_tensor(get_part(fields, label_key, "labels"), "labels")
        if y.ndim == 0:
            raise DataError(
                "A batch should have a label for each input, but has a single label. If the loader "
                "is a dataset, wrap it: DataLoader(dataset, batch_size=64)."
            )
        parts = {key: value for key, value in fields.items() if key != label_key}
        others = inner_fields(parts, len(y))
        place = label_key if others is parts else None  # of the labels among the inputs
        inputs, teacher_inputs = self._inputs(others, place, len(y))
        x = tensors_of(inputs)[0]
        if x.ndim == 0 or len(x) != len(y):
            raise DataError(
                f"A batch should have one label per input, but has inputs of shape "
                f"{list(x.shape)} and labels of shape {list(y.shape)}."
            )
        if len(x) == 0:
            raise DataError("A batch of the loader is empty; expected at least one sample.")
        y = self._shift(as_class_numbers(x, y), others) if self._has_classes else as_values(y)
        return self._batch(inputs, y, teacher_inputs)

    def _batch(self, inputs: ModelInputs, y: Tensor, teacher_inputs: ModelInputs | None) -> Batch:
        x = tensors_of(inputs)[0]
        several = inputs if isinstance(inputs, Inputs) else None
        batch = Batch(x[None], y[None], inputs=several, teacher_inputs=teacher_inputs)
        return self._match_double(batch)

    def _has_labels(self, batch: object) -> bool:
        """Whether a batch may have labels: it is a pair, or has the key of labels."""
        if isinstance(batch, Mapping):
            return any(key in LABEL_KEYS or key == self.names.labels for key in batch)
        return isinstance(batch, (tuple, list)) and len(batch) > 1

    def _read_unlabelled(self, batch: object) -> Batch:
        fields: dict[Key, Any] = {0: batch}
        if not isinstance(batch, Tensor):
            fields = fields_of(batch)
        inputs, teacher_inputs = self._inputs(inner_fields(fields, None), None, None)
        x = tensors_of(inputs)[0]
        if x.ndim == 0 or len(x) == 0:
            raise DataError("A batch of the loader is empty; expected at least one sample.")
        y = torch.full((len(x),), UNLABELLED, device=x.device)
        if not self._has_classes:
            y = torch.full((len(x), 1), torch.nan, device=x.device)
        return self._batch(inputs, y, teacher_inputs)

    def read_inputs(self, batch: object) -> ModelInputs:
        """Return the student's inputs of a batch with or without labels."""
        if isinstance(batch, Tensor):
            return self._match(batch)
        if isinstance(batch, (tuple, list)) and len(batch) > 2:
            return own_inputs(self.read(batch))
        fields = fields_of(batch)
        labels = 1 if is_sequence(fields) and self.names.labels is None else self.names.labels
        others = {key: value for key, value in fields.items() if key not in (*LABEL_KEYS, labels)}
        return map_inputs(self._inputs(inner_fields(others, None), None, None)[0], self._match)

    def _match(self, values: Tensor) -> Tensor:
        return values if self._model is None else match_double(values, self._model)

    def _match_double(self, batch: Batch) -> Batch:
        if batch.x.dtype == torch.float64:
            batch = batch._replace(x=self._match(batch.x))
        if batch.inputs is None:
            return batch
        inputs = map_inputs(batch.inputs, self._match)
        assert isinstance(inputs, Inputs)
        return batch._replace(inputs=inputs)

    def _label_key(self, fields: Mapping[Key, Any]) -> Key:
        """Return the key or position of the labels."""
        key = self.names.labels
        if key is not None:
            return len(fields) + key if isinstance(key, int) and key < 0 else key
        if not is_sequence(fields):
            keys: list[Key] = [key for key in fields if key in LABEL_KEYS]
            if len(keys) == 1:
                return keys[0]
            raise DataError(
                f"A batch is a dictionary with the keys {join(fields)}, of which "
                f"{join(keys) if keys else 'none'} may be the labels; expected one of "
                f"{', '.join(LABEL_KEYS)}. Name the key, as in labels={list(fields)[-1]!r}."
            )
        if len(fields) == 2:
            return 1
        return self._label_position(fields)

    def _label_position(self, fields: Mapping[Key, Any]) -> Key:
        """Return the position of the labels in a tuple: the first whole number per sample."""
        inputs = [] if self.names.inputs is None else keys_of(self.names.inputs)
        samples = length_of(fields.get(0))
        candidates = []
        for position, part in fields.items():
            if position not in inputs and is_class_vector(part, samples):
                candidates.append(position)
        if not candidates or 0 in candidates or (len(candidates) > 1 and candidates[0] != 1):
            raise DataError(
                f"A batch should be a pair (x, y), got {describe_tuple(fields)}. Name the "
                "positions of inputs and labels, as in inputs=0, labels=2."
            )
        if len(candidates) > 1 and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"A batch is {describe_tuple(fields)}. Part 1 is used as the labels, and "
                f"{join(candidates[1:])} is left out. Name the labels to hide this warning: "
                "labels=1.",
                LimbeckWarning,
                stacklevel=2,
            )
        return candidates[0]

    def _inputs(
        self, others: Mapping[Key, Any], label_key: Key | None, samples: int | None
    ) -> tuple[ModelInputs, ModelInputs | None]:
        """Return the inputs of the student, and those of the teacher if they differ."""
        if not others:
            raise DataError("A batch has labels but no inputs; expected a pair (x, y).")
        names, teacher_names = self.names.inputs, self.names.teacher_inputs
        if names is None:
            foreign = [] if teacher_names is None else keys_of(teacher_names)
            own = {key: value for key, value in others.items() if key not in foreign} or others
            if is_sequence(own):
                names = self._positions(own, label_key, samples)
            else:
                arrays = arrays_in(own, samples)
                names = choose(arrays, others, self._student)
                if self._teacher is not None and teacher_names is None:
                    teacher_names = choose(arrays, others, self._teacher, default=names)
        inputs = build_inputs(names, others)
        if self._teacher is None or teacher_names is None or teacher_names == names:
            return inputs, None
        return inputs, build_inputs(teacher_names, others)

    def _positions(
        self, others: Mapping[Key, Any], label_key: Key | None, samples: int | None
    ) -> Names:
        """Return the positions of the inputs in a tuple: the parts before the labels."""
        keys = list(others)
        if isinstance(label_key, int) and label_key > 0:
            keys = [key for key in keys if isinstance(key, int) and key < label_key] or keys
        if len(keys) == 1:
            return keys[0]
        arrays = arrays_in(others, samples)
        if len(keys) > self._student.positions or any(key not in arrays for key in keys):
            raise DataError(
                f"A batch has {len(keys)} parts besides its labels, {describe_tuple(others)}, but "
                f"the model takes {self._student.positions} by position. Name the inputs, as in "
                "inputs=0."
            )
        return keys

    def _shift(self, y: Tensor, others: Mapping[Key, Any]) -> Tensor:
        """Shift labels that repeat the tokens, as those of transformers, to the next tokens."""
        ids = others.get("input_ids")
        if ids is None or y.ndim != 2:
            return y
        if self._shifts is None:
            self._shifts = repeats_tokens(as_tensor(ids, "inputs"), y)
        return shift_labels(y) if self._shifts else y
