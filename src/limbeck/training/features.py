"""The feature term of an objective: layers of a student guided by layers of a teacher, read while
they answer.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.losses.features import Feature, feature_loss, projection
from limbeck.models import Normalized
from limbeck.teacher.signal import LiveTeacher, TeacherSignal

MOST_SUGGESTED = 3


def find_layer(model: nn.Module, path: str, whose: str) -> nn.Module:
    """The layer that a path names; a model behind its normalisation is named as if it stood alone.

    Raises:
        ConfigError: there is none, with the names that come near.
    """
    inner = model.net if isinstance(model, Normalized) else model
    names = [name for name, _ in inner.named_modules() if name]
    short = (
        path.removeprefix("net.") if isinstance(model, Normalized) and path not in names else path
    )
    if short in names:
        return inner.get_submodule(short)
    near = difflib.get_close_matches(short, names, n=MOST_SUGGESTED)
    known = near or [name for name in names if "." not in name] or names
    raise ConfigError(
        f"objective.features: the {whose} has no layer {path}; "
        f"{'did you mean' if near else 'it has'} "
        f"{', '.join(known)}{'?' if near else '.'}"
    )


class FeatureTerm(nn.Module):
    """The weighted sum of the losses of features. Its parameters are the projections of hints,
    trained with the student and dropped with this module.

    Args:
        features: which layers.
        student: trained alone.
        signal: the teacher; one live model, since a store has answers only.
        seed: of the projections' first weights.

    Raises:
        ConfigError: a path names no layer, or the teacher is not one model that can be asked.
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
            found = (
                f"an ensemble of {len(signal.models)}"
                if isinstance(signal, LiveTeacher)
                else "none to be asked"
            )
            raise ConfigError(
                f"objective.features needs the layers of a teacher of one model; found {found}. "
                "Use one of its members "
                "(teacher.members=1), or objective.features=[]."
            )
        # In tuples, so that neither model enters this module's tree.
        self._models = student, signal
        teacher = signal.models[0]
        self._layers = (
            tuple(find_layer(student, feature.student, "student") for feature in self.features),
            tuple(find_layer(teacher, feature.teacher, "teacher") for feature in self.features),
        )
        self.projections = nn.ModuleList()
        self._seen: dict[tuple[int, int], Tensor] = {}

    @property
    def is_fitted(self) -> bool:
        """Whether the projections are there."""
        return len(self.projections) == len(self.features)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what the layers give to the inputs that are shown meanwhile; hooks stay no longer."""
        self._seen = {}
        hooks = [
            layer.register_forward_hook(self._keep(whose, i))
            for whose, layers in enumerate(self._layers)
            for i, layer in enumerate(layers)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _keep(self, whose: int, i: int) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                self._seen[whose, i] = output.clone()  # what follows may work in place

        return hook

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """What the layers of student and teacher gave, by feature."""
        for i, feature in enumerate(self.features):
            for whose, path in (("student", feature.student), ("teacher", feature.teacher)):
                if (whose == "teacher", i) not in self._seen:
                    raise ConfigError(
                        f"objective.features: the {whose}'s layer {path} gave no tensor when the "
                        f"{whose} answered; "
                        "name one that takes part and gives a single tensor."
                    )
        return [(self._seen[0, i], self._seen[1, i]) for i in range(len(self.features))]

    @torch.no_grad()
    def fit_to(self, x: Tensor) -> None:
        """Make the projections for the shapes that a sample has within student and teacher.

        Args:
            x: inputs ``[B, *shape]``.

        Raises:
            ConfigError: the shapes of a pair of layers cannot be matched.
        """
        student, signal = self._models
        first = next(student.parameters(), None)
        x = x[:1] if first is None else x[:1].to(first.device)
        in_training = [(module, module.training) for module in student.modules()]
        try:
            with self.watching():
                student.eval()(x)
                signal.answer(x)
        finally:
            for module, training in in_training:
                module.training = training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            made = [
                projection(feature, own.shape, other.shape).to(own)
                for feature, (own, other) in zip(self.features, self._pairs(), strict=True)
            ]
        self.projections = nn.ModuleList(made)
        self._seen = {}

    def forward(self) -> Tensor:
        """The term for what was watched last, ``[B]``: losses times their weights, summed."""
        pairs, self._seen = self._pairs(), {}
        total = [
            feature.weight * feature_loss(feature, own, other, project)
            for feature, (own, other), project in zip(
                self.features, pairs, self.projections, strict=True
            )
        ]
        return torch.stack(total).sum(0)


def check_features(
    features: Sequence[Feature], student: nn.Module, teacher: LiveTeacher, blank: Tensor
) -> None:
    """Check, before anything is trained, that the layers exist and can be matched.

    Args:
        features: of an objective.
        student: untrained, as the teacher may be.
        teacher: who will answer.
        blank: one empty input, ``[1, *shape]``.

    Raises:
        ConfigError: a layer does not exist, or two cannot be matched; or the teacher is an
            ensemble.
    """
    FeatureTerm(features, student, teacher).fit_to(blank)
