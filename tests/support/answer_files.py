"""Files of a teacher's answers in every form, written without limbeck."""

import csv
import json

import numpy as np

NAMES = ("cat", "dog", "owl")
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25], [0.6, 0.3, 0.1]], np.float32
)
LOGITS = np.log(PROBABILITIES) * 2 + 1


def write_csv(file, header, rows, delimiter=","):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return file


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def table(values, ids=None, **columns):
    """Rows of ids, further columns and values, for :func:`write_csv`."""
    ids = range(len(values)) if ids is None else ids
    others = list(columns.values())
    return [
        [sample, *(column[row] for column in others), *map(float, values[row])]
        for row, sample in enumerate(ids)
    ]
