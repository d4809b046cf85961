"""Check that objectives in one stack compute what each computes alone."""

import torch

from limbeck.losses import StackedObjective


def assert_equal_to_each_alone(arms, z, v, y):
    """Compare losses and gradients of the stack with those of every objective alone.

    Args:
        arms: Objectives.
        z: Logits ``[A, S, B, C]``.
        v: Logits of the teacher ``[S, B, C]``.
        y: Labels ``[S, B]``.
    """
    z = z.requires_grad_()
    result = StackedObjective(arms)(z, v, y)
    gradient = torch.autograd.grad(result.loss.sum(), z)[0]
    for arm, objective in enumerate(arms):
        alone = z[arm].detach().clone().requires_grad_()
        expected = objective(alone, v, y)
        torch.testing.assert_close(
            [term[arm] for term in result], list(expected), rtol=1e-12, atol=1e-14
        )
        torch.testing.assert_close(
            gradient[arm], torch.autograd.grad(expected.loss.sum(), alone)[0]
        )
