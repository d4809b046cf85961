"""Losses of vectors, for embeddings: of a text against another view of it, and against a teacher's.

Only directions count, except for :func:`squared_distance`: neighbours are compared by their cosine.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses.divergences import upcast

CONTRAST_TEMPERATURE = 0.05
"""Temperature of the softmax over the texts of a batch (Gao et al. 2021)."""


def unit(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1, in float32 or more; a vector of zeros stays one.

    Args:
        vectors: Vectors, ``[..., D]``.
    """
    return F.normalize(upcast(vectors), dim=-1)


def contrastive(student: Tensor, labels: Tensor) -> Tensor:
    r"""Compute the contrastive loss of texts and other views of them, without any label.

    .. math:: -\log \frac{\exp(\cos(z_i, z'_i) / \tau)}{\sum_j \exp(\cos(z_i, z'_j) / \tau)},
        \quad \tau = 0.05

    Each text has to be recognised among the other views of all texts of the batch.

    Args:
        student: Vectors z of the texts, ``[..., B, D]``.
        labels: Vectors z' of their other views, ``[..., B, D]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018. Gao, Yao
        and Chen, "SimCSE: Simple Contrastive Learning of Sentence Embeddings", 2021.
    """
    cosines = unit(student) @ unit(labels).mT / CONTRAST_TEMPERATURE
    return cosines.logsumexp(-1) - cosines.diagonal(dim1=-2, dim2=-1)


def cosine_distance(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Compute the cosine distance of a student's vectors from its teacher's.

    .. math:: 1 - \cos(z, v)

    Args:
        student: Vectors z, ``[..., B, D]``.
        teacher: Vectors v, broadcastable to ``student``.
        temperature: Without effect: vectors have no temperature.

    Returns:
        ``[..., B]``, from 0 to 2.
    """
    return 1 - (unit(student) * unit(teacher)).sum(-1)


def squared_distance(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Compute the squared distance of a student's vectors from its teacher's.

    .. math:: \lVert z - v \rVert^2

    Unlike the other losses, it also teaches the lengths of the vectors.

    Args:
        student: Vectors z, ``[..., B, D]``.
        teacher: Vectors v, broadcastable to ``student``.
        temperature: Without effect: vectors have no temperature.

    Returns:
        ``[..., B]``.

    References:
        Reimers and Gurevych, "Making Monolingual Sentence Embeddings Multilingual using Knowledge
        Distillation", 2020.
    """
    return (upcast(student) - upcast(teacher)).square().sum(-1)


def similarity_difference(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Compute how the similarities of the texts of a batch differ between student and teacher.

    .. math:: \frac{1}{B - 1} \sum_{j \ne i} (\cos(z_i, z_j) - \cos(v_i, v_j))^2

    The student may turn its space of vectors freely. A batch of one text has a loss of 0.

    Args:
        student: Vectors z, ``[..., B, D]``.
        teacher: Vectors v, ``[..., B, D]``, in any number of dimensions.
        temperature: Without effect: vectors have no temperature.

    Returns:
        ``[..., B]``.

    References:
        Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019. Park et al.,
        "Relational Knowledge Distillation", 2019.
    """
    own, other = unit(student), unit(teacher)
    difference = own @ own.mT - other @ other.mT
    is_same = torch.eye(difference.shape[-1], dtype=torch.bool, device=difference.device)
    squares = difference.square().masked_fill(is_same, 0.0)
    return squares.sum(-1) / max(1, difference.shape[-1] - 1)
