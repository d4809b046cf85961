"""The feature term of an objective: layers of a teacher guide layers of a student."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.data.inputs import Inputs, ModelInputs, call, map_inputs
from limbeck.losses.features import ATTENTION_SCORES, Feature, feature_loss, projection
from limbeck.models import OutputMap
from limbeck.models.eval_mode import eval_mode
from limbeck.models.huggingface.base import TransformersModel
from limbeck.models.normalized import InputWrapper
from limbeck.teacher.signal import LiveTeacher, TeacherSignal

MAX_SUGGESTIONS = 3


def find_layer(model: nn.Module, path: str, role: str) -> nn.Module:
    """Find the layer at a path; paths do not include the wrappers of inputs and outputs.

    Args:
        model: Model to search.
        path: Path of the layer, as in ``features.3``.
        role: Role of the model, for messages: ``student`` or ``teacher``.

    Raises:
        ConfigError: If there is no such layer; the message suggests similar names.
    """
    model = model.net if isinstance(model, OutputMap) else model
    is_wrapper = isinstance(model, (InputWrapper, TransformersModel))
    inner: nn.Module = model.net if is_wrapper else model  # type: ignore[assignment]
    names = [name for name, _ in inner.named_modules() if name]
    if is_wrapper and path not in names:
        path = path.removeprefix("net.")
    if path in names:
        return inner.get_submodule(path)
    nearest = difflib.get_close_matches(path, names, n=MAX_SUGGESTIONS)
    if not names:
        hint = "It has no layers."
    elif nearest:
        hint = f"Did you mean {', '.join(nearest)}?"
    else:
        outer = [name for name in names if "." not in name] or names
        hint = f"Its layers are {', '.join(outer)}."
    raise ConfigError(f"objective.features: the {role} has no layer {path}. {hint}")


class GuidedTerms(NamedTuple):
    """Loss terms of a student with features, ``[A, S]`` each; ``feature`` includes its weights."""

    loss: Tensor
    hard: Tensor
    soft: Tensor
    feature: Tensor


class FeatureTerm(nn.Module):
    """The weighted sum of the losses of features.

    Its parameters are the projections of hints. They are trained together with the student but are
    not part of it.

    Args:
        features: Pairs of layers.
        student: Student, trained alone.
        signal: Teacher, a single live model, because a store has no layers.
        seed: Seed of the projections' initial weights.

    Raises:
        ConfigError: If a path names no layer, or the teacher is not one live model.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        student: nn.Module,
        signal: TeacherSignal | None,
        *,
        seed: int = 0,
    ):
        super().__init__()
        self.features, self.seed = list(features), seed
        if not isinstance(signal, LiveTeacher) or len(signal.models) != 1:
            raise ConfigError(
                "objective.features needs the layers of a single teacher model; got "
                f"{_describe(signal)}. Use one of its members (teacher.members=1), or "
                "objective.features=[]."
            )
        # Tuples keep both models out of this module's submodules.
        self._models = student, signal
        teacher = signal.models[0]
        self._layers = (
            tuple(find_layer(student, feature.student, "student") for feature in self.features),
            tuple(find_layer(teacher, feature.teacher, "teacher") for feature in self.features),
        )
        if any(feature.kind == ATTENTION_SCORES for feature in self.features):
            _return_attention_weights(student)
            _return_attention_weights(teacher)
        self.projections = nn.ModuleList()
        self._outputs: dict[tuple[int, int], Tensor] = {}

    @property
    def is_fitted(self) -> bool:
        """Whether the projections exist."""
        return len(self.projections) == len(self.features)

    @contextmanager
    def record_outputs(self) -> Iterator[None]:
        """Record the outputs of the layers; the hooks are removed afterwards."""
        self._outputs = {}
        hooks = [
            layer.register_forward_hook(self._recorder(side, i))
            for side, layers in enumerate(self._layers)
            for i, layer in enumerate(layers)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _recorder(self, side: int, i: int) -> Callable[[nn.Module, object, object], None]:
        # An attention layer returns its features and its weights.
        item = 1 if self.features[i].kind == ATTENTION_SCORES else 0

        def record(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, tuple) and len(output) > item:
                output = output[item]
            elif item:
                return
            if isinstance(output, Tensor):
                self._outputs[side, i] = output.clone()  # the next layer may work in place

        return record

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Outputs of the layers of student and teacher, by feature."""
        pairs = []
        for i, feature in enumerate(self.features):
            student_output = self._output(0, i, f"student's layer {feature.student}")
            teacher_output = self._output(1, i, f"teacher's layer {feature.teacher}")
            pairs.append((student_output, teacher_output))
        return pairs

    def _output(self, side: int, i: int, layer: str) -> Tensor:
        if self.features[i].kind == ATTENTION_SCORES:
            return self._attention_weights(side, i, layer)
        if (side, i) not in self._outputs:
            raise ConfigError(
                f"objective.features: the {layer} returned no tensor. Name a layer that takes part "
                "in the forward pass and returns a single tensor."
            )
        return self._outputs[side, i]

    def _attention_weights(self, side: int, i: int, layer: str) -> Tensor:
        weights = self._outputs.get((side, i))
        if weights is None or weights.ndim != 4:
            raise ConfigError(
                f"objective.features: the {layer} returned no attention weights [B, heads, tokens, "
                "tokens]. Name an attention layer, such as bert.encoder.layer.1.attention.self."
            )
        return weights

    @torch.no_grad()
    def fit_to(self, x: ModelInputs, teacher_x: ModelInputs | None = None) -> None:
        """Create the projections for the shapes of a sample's features in student and teacher.

        Args:
            x: Inputs ``[B, *shape]``, or several inputs.
            teacher_x: Inputs of the teacher; None for the same inputs.

        Raises:
            ConfigError: If the shapes of a pair of layers cannot be matched.
        """
        student, signal = self._models
        first = next(student.parameters(), None)

        def sample(values: Tensor) -> Tensor:
            return values[:1] if first is None else values[:1].to(first.device)

        with self.record_outputs(), eval_mode(student):
            call(student, map_inputs(x, sample))
            signal.answer(map_inputs(x if teacher_x is None else teacher_x, sample))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            projections = [
                projection(feature, own.shape, other.shape).to(own)
                for feature, (own, other) in zip(self.features, self._pairs(), strict=True)
            ]
        self.projections = nn.ModuleList(projections)
        self._outputs = {}

    def forward(self, x: ModelInputs) -> Tensor:
        """Weighted sum of the losses of the recorded outputs, ``[B]``.

        Args:
            x: Inputs of the student. Padding of texts is left out of the losses.
        """
        pairs, self._outputs = self._pairs(), {}
        mask = token_mask(x, self._models[0])
        terms = []
        for feature, (own, other), project in zip(
            self.features, pairs, self.projections, strict=True
        ):
            loss = feature_loss(feature, own, other, project, _mask_for(own, mask))
            terms.append(feature.weight * loss)
        return torch.stack(terms).sum(0)


def token_mask(x: ModelInputs, student: nn.Module) -> Tensor | None:
    """Whether each position of texts holds a token, ``[B, L]``; None for other inputs.

    It is the ``attention_mask`` of a batch, or derived from the id of the student's padding.

    Args:
        x: Inputs of the student.
        student: Student.
    """
    if isinstance(x, Inputs):
        return x.by_name.get("attention_mask")
    padding = getattr(student, "padding", None)
    if type(padding) is not int or x.ndim != 2 or x.is_floating_point():
        return None
    return x != padding


def _mask_for(output: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return the mask if it fits the tokens of an output; None otherwise.

    Args:
        output: Layer ``[B, L, D]``, or attention weights ``[B, A, L, L]``.
        mask: Whether each position holds a token, ``[B, L]``.
    """
    first_of_tokens = 2 if output.ndim == 4 else 1
    length = output.shape[first_of_tokens:][:1]
    fits = mask is not None and mask.shape == (len(output), *length)
    return mask if fits else None


def _return_attention_weights(model: nn.Module) -> None:
    """Let a network of transformers compute its attention in the way that returns the weights."""
    for module in model.modules():
        choose = getattr(module, "set_attn_implementation", None)
        if choose is not None:
            choose("eager")
            return


def _describe(signal: TeacherSignal | None) -> str:
    if isinstance(signal, LiveTeacher):
        return f"an ensemble of {len(signal.models)}"
    return "a store, or no teacher"


def check_features(
    features: Sequence[Feature], student: nn.Module, teacher: LiveTeacher, blank: Tensor
) -> None:
    """Check before the training that the layers exist and can be matched.

    Args:
        features: Features of an objective.
        student: Student before its training.
        teacher: Teacher, trained or not.
        blank: Empty input ``[1, *shape]``.

    Raises:
        ConfigError: If a layer does not exist, two cannot be matched, or the teacher is an
            ensemble.
    """
    FeatureTerm(features, student, teacher).fit_to(blank)
