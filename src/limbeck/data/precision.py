"""Numbers that float32 rounds until the differences between samples are lost."""

import numpy as np
import torch
from torch import Tensor

MIN_STEPS = 1000
"""Smallest standard deviation of numbers, in steps of float32, that loses nothing by rounding."""


def rounding(values: Tensor) -> list[str]:
    """Describe the rounding of each column, to follow its name; empty where nothing is lost.

    Args:
        values: Numbers ``[N, F]`` of any type; NaN for missing ones.
    """
    exact = values.double()
    mean = exact.nanmean(0)
    deviation = (exact - mean).square().nanmean(0).sqrt()
    with np.errstate(over="ignore", invalid="ignore"):  # infinite ones are named elsewhere
        steps = np.spacing(exact.abs().nan_to_num(0).amax(0).numpy().astype(np.float32))
    is_coarse = deviation < MIN_STEPS * torch.from_numpy(steps)
    texts = []
    for centre, step, coarse in zip(mean.tolist(), steps.tolist(), is_coarse.tolist(), strict=True):
        text = (
            f"has values around {centre:.6g}, which float32 rounds to steps of {step:g}, so "
            "differences between samples are lost. Subtract a constant from it, such as its "
            "smallest value"
        )
        texts.append(text if coarse else "")
    return texts
