"""Small tables with numbers, categories and missing values."""

import numpy as np

from limbeck.data import Dataset, TableColumns

COLUMNS = TableColumns(("age", "colour", "income"), (None, ("red", "green", "blue"), None))
NAN = float("nan")


def table_rows(count, seed=0):
    """Rows whose class depends on a number, a category and whether the income is missing."""
    draw = np.random.default_rng(seed)
    age, colour = draw.normal(50, 20, count), draw.integers(0, 3, count).astype(float)
    income = draw.lognormal(8, 1, count)
    income[draw.random(count) < 0.3] = NAN
    score = (age - 50) / 20 + np.array([-1.0, 0.0, 1.0])[colour.astype(int)] + np.isnan(income)
    y = (score > 0.3).astype(int)
    colour[draw.random(count) < 0.1] = NAN
    return np.stack([age, colour, income], 1).astype(np.float32), y


def table_dataset(train=120, val=40, test=60):
    x, y = table_rows(train + val + test)
    first = train + val
    return Dataset.from_arrays(
        x[:first], y[:first], x[first:], y[first:], name="customers", val=val, columns=COLUMNS
    )


def write_table(file, count=200, seed=0):
    """A CSV file of :func:`table_rows`, whose column ``buys`` has the labels."""
    x, y = table_rows(count, seed)
    lines = ["age,colour,income,buys"]
    for (age, colour, income), label in zip(x, y, strict=True):
        cells = [f"{age:.1f}", "", "", ("no", "yes")[label]]
        if colour == colour:
            cells[1] = COLUMNS.categories[1][int(colour)]
        if income == income:
            cells[2] = f"{income:.2f}"
        lines.append(",".join(cells))
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
