"""Losses between layers of student and teacher: hints, cosines, attention and relations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.checks import check_count, check_keys, field_names
from limbeck._base.errors import ConfigError
from limbeck.losses.base import MAX_NUMBER, is_number
from limbeck.losses.divergences import upcast
from limbeck.losses.relations import attention_scores_loss, relation_loss, token_mean

DIMENSIONS = {
    "hint": (2, 3, 4),
    "cosine": (2, 3),
    "attention": (3, 4),
    "relation": (3,),
    "attention_scores": (4,),
}
"""Numbers of dimensions of the layers that each kind of loss can compare."""
PROJECTED = ("hint", "cosine")
"""Kinds of losses that compare layers feature by feature."""
ATTENTION_SCORES = "attention_scores"
"""Kind of loss whose layers are attentions; it takes their weights and not their output."""

FORMS = {
    2: "[B, features]",
    3: "[B, tokens, features] with equal numbers of tokens",
    4: "[B, channels, height, width]",
}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A layer of the student that is guided by a layer of the teacher.

    Attributes:
        kind: Name of the loss: ``hint`` (Romero et al. 2015, :func:`hint_loss`), ``cosine`` (Sanh
            et al. 2019, :func:`cosine_loss`), ``attention`` (Zagoruyko and Komodakis 2017,
            :func:`attention_loss`), ``relation`` (Wang et al. 2021, :func:`relation_loss`) or
            ``attention_scores`` (Jiao et al. 2020, :func:`attention_scores_loss`).
        student: Path of the student's layer, as in ``features.3``.
        teacher: Path of the teacher's layer.
        weight: Weight of the loss.
        heads: Number of parts of the features of a ``relation``, a divisor of both widths.

    Raises:
        ConfigError: If a value is out of range.
    """

    kind: str
    student: str
    teacher: str
    weight: float = 1.0
    heads: int = 1

    def __post_init__(self) -> None:
        if self.kind not in DIMENSIONS:
            raise ConfigError(
                f"objective.features: kind={self.kind!r} is unknown. Choose one of "
                f"{', '.join(DIMENSIONS)}."
            )
        for name in ("student", "teacher"):
            path = getattr(self, name)
            if not isinstance(path, str) or not path:
                raise ConfigError(
                    f"objective.features: {name}={path!r} is not valid: expected the path of a "
                    "layer, as in features.3."
                )
        if not is_number(self.weight) or self.weight <= 0:
            raise ConfigError(
                f"objective.features: weight={self.weight!r} is not valid: expected a number "
                f"above 0, at most {MAX_NUMBER:,.0f}."
            )
        check_count("objective.features: heads", self.heads)
        if self.heads != 1 and self.kind != "relation":
            raise ConfigError(
                f"objective.features: heads={self.heads} is for kind: relation, not {self.kind}. "
                "Remove heads."
            )

    @classmethod
    def of(cls, value: Any) -> Self:
        """Create a feature from its settings; return a feature unchanged.

        Raises:
            ConfigError: If a key is missing or unknown.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping) or not {"kind", "student", "teacher"} <= value.keys():
            raise ConfigError(
                f"objective.features: {value!r} is not valid: expected settings as in {{kind: "
                "hint, student: features.3, teacher: features.6, weight: 1.0}."
            )
        check_keys(value, field_names(cls), "objective.features")
        return cls(**value)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"{self.kind} {self.student} from {self.teacher}"


def hint_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Compute half the mean squared distance between projected student layer and teacher layer.

    .. math:: \frac{1}{2 n} \lVert r(g) - h \rVert^2

    Romero et al. do not divide by the size n. The division makes the weight independent of n.

    Args:
        student: Projected layer r(g), ``[B, ...]``.
        teacher: Layer h, of the same shape.
        mask: Whether a position has a token, ``[B, L]``, for layers ``[B, L, D]`` of texts of
            different lengths; None for all.

    Returns:
        ``[B]``.

    References:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, equation 3.
    """
    squares = (upcast(student) - upcast(teacher)).square()
    if mask is not None:
        return token_mean(squares.mean(-1), mask) / 2
    return squares.flatten(1).mean(1) / 2


def cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Compute 1 minus the cosine similarity of projected student layer and teacher layer.

    .. math:: 1 - \frac{r(g) \cdot h}{\lVert r(g) \rVert \lVert h \rVert}

    For tokens it is the mean over them, as in the training of DistilBERT.

    Args:
        student: Projected layer r(g), ``[B, D]`` or ``[B, L, D]``.
        teacher: Layer h, of the same shape.
        mask: Whether a position has a token, ``[B, L]``; None for all.

    Returns:
        ``[B]``, from 0 to 2.

    References:
        Sanh et al., "DistilBERT, a distilled version of BERT", 2019, section 3.
    """
    distance = 1 - F.cosine_similarity(upcast(student), upcast(teacher), dim=-1)
    return distance if distance.ndim == 1 else token_mean(distance, mask)


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Compute half the squared distance between two attention maps of norm 1.

    .. math:: \frac{1}{2} \left\lVert \frac{Q_S}{\lVert Q_S \rVert} - \frac{Q_T}{\lVert Q_T \rVert}
        \right\rVert^2, \quad Q = \sum_c A_c^2

    The loss is 1 minus the cosine similarity of the maps, from 0 to 1. Equation 2 of the paper uses
    the distance itself, whose gradient has no limit where the maps agree. The authors' code squares
    it too.

    Args:
        student: Activations ``[B, C, H, W]``, or ``[B, L, D]`` of tokens.
        teacher: Activations of the same form. The number of channels may differ. If the maps differ
            in size, the larger one is pooled to the smaller.
        mask: Whether a position has a token, ``[B, L]``; None for all.

    Returns:
        ``[B]``.

    References:
        Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017, equation 2.
    """
    q_s, q_t = pool_to_common_size(_attention_map(student), _attention_map(teacher))
    if mask is not None:
        q_s, q_t = q_s * mask, q_t * mask
    q_s = F.normalize(q_s.flatten(1), dim=1)
    q_t = F.normalize(q_t.flatten(1), dim=1)
    return (q_s - q_t).square().sum(1) / 2


def _attention_map(activations: Tensor) -> Tensor:
    """Sum the squares over channels, ``[B, H, W]`` or ``[B, L]``."""
    channels = 1 if activations.ndim == 4 else -1
    return upcast(activations).square().sum(channels)


def pool_to_common_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool student and teacher maps to the smaller height and width.

    Args:
        student: Maps, ``[..., H, W]``; a tensor with fewer than 3 dimensions is not changed.
        teacher: Maps of the same form.
    """
    if student.ndim < 3 or student.shape[-2:] == teacher.shape[-2:]:
        return student, teacher
    height = min(student.shape[-2], teacher.shape[-2])
    width = min(student.shape[-1], teacher.shape[-1])
    return (
        F.adaptive_avg_pool2d(student, (height, width)),
        F.adaptive_avg_pool2d(teacher, (height, width)),
    )


def projection(feature: Feature, student: Sequence[int], teacher: Sequence[int]) -> nn.Module:
    """Create the module that maps a layer of the student to the size of the teacher's layer.

    For a hint it is a 1 x 1 convolution or a linear layer; for a cosine a linear layer if the sizes
    differ; for the others the identity.

    Args:
        feature: Paths of the layers.
        student: Shape of the output of the student's layer, ``[B, ...]``.
        teacher: Shape of the output of the teacher's layer.

    Raises:
        ConfigError: If the shapes cannot be matched.
    """
    if feature.kind == ATTENTION_SCORES:
        _check_attentions(feature, student, teacher)
        return nn.Identity()
    dimensions = DIMENSIONS[feature.kind]
    comparable = len(student) == len(teacher) and len(student) in dimensions
    if not comparable or (len(student) == 3 and student[1] != teacher[1]):
        raise ConfigError(
            f"objective.features: a {feature.kind} cannot match the student's {feature.student}, "
            f"of shape {_format(student)}, with the teacher's {feature.teacher}, of shape "
            f"{_format(teacher)}. Both have to be {' or both '.join(FORMS[n] for n in dimensions)}."
        )
    if feature.kind == "relation" and (student[-1] % feature.heads or teacher[-1] % feature.heads):
        raise ConfigError(
            f"objective.features: heads={feature.heads} should divide the widths of "
            f"{feature.student} and {feature.teacher}, {student[-1]} and {teacher[-1]}."
        )
    is_same = feature.kind == "cosine" and student[-1] == teacher[-1]
    if feature.kind not in PROJECTED or is_same:
        return nn.Identity()
    if len(student) == 4:
        return nn.Conv2d(student[1], teacher[1], 1)
    return nn.Linear(student[-1], teacher[-1])


def _check_attentions(feature: Feature, student: Sequence[int], teacher: Sequence[int]) -> None:
    """Check that two attentions have as many heads.

    Raises:
        ConfigError: If they have not.
    """
    if student[1:] != teacher[1:]:
        raise ConfigError(
            f"objective.features: {feature.kind} cannot match the student's {feature.student} with "
            f"{student[1]} heads and the teacher's {feature.teacher} with {teacher[1]}, of shapes "
            f"{_format(student)} and {_format(teacher)}. Both need as many heads and tokens."
        )


def _format(shape: Sequence[int]) -> str:
    return f"[{', '.join(['B', *map(str, shape[1:])])}]"


def feature_loss(
    feature: Feature,
    student: Tensor,
    teacher: Tensor,
    projection: nn.Module,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the unweighted loss of one feature from the outputs of its layers, ``[B]``.

    Args:
        feature: Kind of the loss.
        student: Output of the student's layer; for ``attention_scores`` its attention weights.
        teacher: Output of the teacher's layer, or its attention weights.
        projection: Module of :func:`projection`.
        mask: Whether a position has a token, ``[B, L]``, for layers of tokens; None for all.
    """
    teacher = teacher.detach()
    if feature.kind == ATTENTION_SCORES:
        return attention_scores_loss(student, teacher, mask)
    if student.ndim != 3:
        mask = None
    if feature.kind == "attention":
        return attention_loss(student, teacher, mask)
    if feature.kind == "relation":
        return relation_loss(student, teacher, mask, heads=feature.heads)
    if feature.kind == "cosine":
        return cosine_loss(projection(student), teacher, mask)
    if student.ndim == 4:
        student, teacher = pool_to_common_size(student, teacher)
    return hint_loss(projection(student), teacher, mask)
