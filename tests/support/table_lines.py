"""A table as the lines of a CSV file, and its samples in the order of the file."""

import numpy as np
import torch

from support.image_files import splits_of


def lines(count=60):
    """Lines of a table: a number, a category, a number with gaps, and a label."""
    rows = ["age,colour,income,bought"]
    for n in range(count):
        income = "" if n % 5 == 0 else 1000.5 + n
        rows.append(
            f"{20 + 2 * n},{('red', 'blue', 'green')[n % 3]},{income},{('no', 'yes')[n % 2]}"
        )
    return rows


def joined(data):
    """Inputs and labels of all splits in the order of the file."""
    splits = splits_of(data).values()
    ids = np.concatenate([split.sample_ids for split in splits])
    order = torch.from_numpy(np.argsort(ids))
    inputs = torch.cat([split.inputs for split in splits])
    return inputs[order], torch.cat([split.labels for split in splits])[order]
