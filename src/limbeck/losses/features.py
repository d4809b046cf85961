"""Losses on a layer of the student and one of the teacher: hints and attention transfer. They need
torch alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.checks import LARGEST, closest
from limbeck._base.errors import ConfigError
from limbeck.losses.divergences import upcast

KINDS = ("hint", "attention")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A layer of the student that is guided by one of the teacher.

    Attributes:
        kind: ``hint`` (Romero et al. 2015, :func:`hint_loss`) or ``attention`` (Zagoruyko and
            Komodakis 2017,
            :func:`attention_loss`).
        student: path of the student's layer, as in ``features.3``.
        teacher: path of the teacher's.
        weight: what its loss counts.

    Raises:
        ConfigError: a value is out of range.
    """

    kind: str
    student: str
    teacher: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"objective.features: kind={self.kind!r} is unknown; choose one of "
                f"{', '.join(KINDS)}."
            )
        for name in ("student", "teacher"):
            path = getattr(self, name)
            if not isinstance(path, str) or not path:
                raise ConfigError(
                    f"objective.features: {name}={path!r} should be a layer's path, as in "
                    "features.3."
                )
        weight = self.weight
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not 0 < weight <= LARGEST
        ):
            raise ConfigError(
                f"objective.features: weight={weight!r} should be a number above 0, at most "
                f"{LARGEST:,.0f}."
            )

    @classmethod
    def of(cls, value: Any) -> Self:
        """A feature as it is, or from its settings.

        Raises:
            ConfigError: a key is missing or unknown.
        """
        if isinstance(value, cls):
            return value
        known = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or not {"kind", "student", "teacher"} <= value.keys():
            raise ConfigError(
                f"objective.features: {value!r} should be settings as in {{kind: hint, student: "
                "features.3, teacher: "
                "features.6, weight: 1.0}."
            )
        for key in value:
            if key not in known:
                near = closest(str(key), known)
                hint = f"; did you mean {near}?" if near else f"; known are {', '.join(known)}."
                raise ConfigError(f"objective.features: unknown key {key}{hint}")
        return cls(**{str(key): part for key, part in value.items()})

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"{self.kind} {self.student} from {self.teacher}"


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Half the squared distance of the projected student's layer from the teacher's, divided by
    its size n.

    .. math:: \frac{1}{2 n} \lVert r(g) - h \rVert^2

    Romero et al. do not divide; the division keeps the weight independent of the layer's size.

    Args:
        student: r(g), ``[B, ...]``.
        teacher: h, of the same shape.

    Returns:
        ``[B]``.

    References:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, equation 3.
    """
    return (upcast(student) - upcast(teacher)).square().flatten(1).mean(1) / 2


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Half the squared distance of two attention maps, each of norm 1: where the layers look,
    whatever their width.

    .. math:: \frac{1}{2} \left\lVert \frac{Q_S}{\lVert Q_S \rVert} - \frac{Q_T}{\lVert Q_T \rVert}
        \right\rVert^2, \quad Q = \sum_c A_c^2

    It is 1 less the cosine of the maps, from 0 to 1. Equation 2 of the paper has the distance
    itself, whose gradient has no limit where the maps agree; its authors' code squares too.

    Args:
        student: activations ``[B, C, H, W]`` or, of tokens, ``[B, L, D]``.
        teacher: likewise; channels may differ in number, and maps in size: the larger is pooled to
            the smaller.

    Returns:
        ``[B]``.

    References:
        Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017, equation 2.
    """
    maps = [
        upcast(layer).square().sum(1 if layer.ndim == 4 else -1) for layer in (student, teacher)
    ]
    q_s, q_t = (F.normalize(q.flatten(1), dim=1) for q in pooled_alike(*maps))
    return (q_s - q_t).square().sum(1) / 2


def pooled_alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both at the smaller of their spatial sizes, by averages.

    Args:
        student: ``[..., H, W]``; of other than images (fewer than 3 dimensions) it stays as it is.
        teacher: likewise.
    """
    if student.ndim < 3 or student.shape[-2:] == teacher.shape[-2:]:
        return student, teacher
    size = tuple(map(min, zip(student.shape[-2:], teacher.shape[-2:], strict=True)))
    return F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)  # type: ignore[arg-type]


def projection(feature: Feature, student: Sequence[int], teacher: Sequence[int]) -> nn.Module:
    """What makes a layer of the student comparable with one of the teacher: a new 1 x 1 convolution
    or linear map for a hint, nothing for attention.

    Args:
        feature: names the layers.
        student: shape of its layer's output, ``[B, ...]``.
        teacher: likewise.

    Raises:
        ConfigError: the shapes cannot be matched.
    """
    known = {"hint": (2, 3, 4), "attention": (3, 4)}[feature.kind]
    same_form = len(student) == len(teacher) and len(student) in known
    if not same_form or (len(student) == 3 and student[1] != teacher[1]):
        forms = {
            2: "[B, features]",
            3: "[B, tokens, features] with as many tokens",
            4: "[B, channels, height, width]",
        }
        raise ConfigError(
            f"objective.features: a {feature.kind} cannot match the student's {feature.student}, "
            "of shape "
            f"{_shown(student)}, with the teacher's {feature.teacher}, of shape {_shown(teacher)}; "
            "both should be "
            f"{' or both '.join(forms[n] for n in known)}."
        )
    if feature.kind == "attention":
        return nn.Identity()
    return (
        nn.Conv2d(student[1], teacher[1], 1)
        if len(student) == 4
        else nn.Linear(student[-1], teacher[-1])
    )


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(['B', *map(str, shape[1:])])}]"


def feature_loss(
    feature: Feature, student: Tensor, teacher: Tensor, projection: nn.Module
) -> Tensor:
    """The loss of one feature, without its weight, ``[B]``, for what the two layers gave."""
    teacher = teacher.detach()
    if feature.kind == "attention":
        return attention_loss(student, teacher)
    if student.ndim == 4:
        student, teacher = pooled_alike(student, teacher)
    return hint_loss(projection(student), teacher)
