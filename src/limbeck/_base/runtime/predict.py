"""Predict images, texts or the rows of tables."""

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from .bundle import BATCH_SIZE, MAX_VALUES, Bundle
from .errors import InputError, RuntimeFailure
from .folders import input_files
from .images import value_limits
from .predictions import ArrayTable, ClassTable, LabelTable, PredictionTable, ValueTable
from .printable import printable
from .samples import Sample, Text
from .value_range import FULL_RANGE, common_range, describe_range


def predict(
    bundle_path: str | Path,
    paths: Sequence[str | Path],
    *,
    model: str | None = None,
    top: int = 1,
    table_format: str = "csv",
    abstain: float | str = 0.0,
    invert: bool = False,
    out: TextIO | None = None,
) -> int:
    """Answer images, texts or the rows of tables, and write a table of classes or values.

    Args:
        bundle_path: Folder or zip file of the bundle.
        paths: Image files, or CSV or Parquet files if the bundle reads tables or texts (of texts
            also ``.txt`` files of one text), and folders of them, with their subfolders. Every file
            in a folder, or every row of its files, has a row of the table; see
            :func:`files_below` for those that are skipped. A :class:`Text` is classified itself.
        model: Kind of model, ``fp32`` or ``int8``; None for the bundle's default.
        top: Number of classes to list for each input.
        table_format: Format of the table: ``csv``, ``jsonl`` for one JSON object per line, or
            ``npy`` for an array of values.
        abstain: Smallest confidence for which a class is returned, from 0 to 1, or the error rate
            that answers may have at most, such as ``1%``: one that the model card lists.
        invert: Whether to invert the brightness, for dark objects on a light ground.
        out: Stream to write to; None for standard output.

    Returns:
        Number of inputs that cannot be read; the column ``error`` has the reasons.

    Raises:
        RuntimeFailure: If there is no file, or an argument is out of range.
        InputError: If a table cannot be read.
        BundleError: If the bundle is damaged.
    """
    bundle = Bundle(bundle_path)
    if bundle.scale is not None or bundle.label_thresholds is not None:
        _check_no_classes(top, abstain)
    elif not 1 <= top <= len(bundle.labels):
        classes = len(bundle.labels)
        raise RuntimeFailure(f"--top {top} should be from 1 to {classes}, the number of classes.")
    least_confidence = _least_confidence(bundle, model or bundle.default_kind, abstain)
    texts = [path for path in paths if isinstance(path, Text)]
    paths = [path for path in paths if not isinstance(path, Text)]
    if texts and not bundle.reads_texts:
        kind = bundle.preprocess["kind"]
        raise RuntimeFailure(f"--text is for a model of texts, but this one reads {kind} files.")
    files = input_files(paths) if paths or not texts else []
    session = bundle.load(model)
    samples = _read_samples(bundle, texts, files, invert=invert)
    table: PredictionTable
    out = sys.stdout if out is None else out
    place = ["file", *(["line"] if bundle.reads_tables else [])]
    place += ["id"] if bundle.id_column is not None else []
    if bundle.scale is not None and table_format != "npy":
        table = ValueTable(bundle.labels, table_format, out, place=place)
    elif bundle.scale is not None:
        table = ArrayTable(bundle.labels, out)
    elif (thresholds := bundle.label_thresholds) is not None:
        table = LabelTable(bundle.labels, thresholds, table_format, out, place=place)
    else:
        table = ClassTable(
            bundle.labels,
            table_format,
            out,
            place=place,
            top=top,
            least_confidence=least_confidence,
        )
    answer = session.confidences if isinstance(table, ClassTable) else session.logits
    _write_answers(bundle, samples, answer, table, None if bundle.reads_tables else len(files))
    table.finish()
    return table.errors


def _read_samples(
    bundle: Bundle, texts: Sequence[str], files: Sequence[Path], *, invert: bool
) -> Iterator[Sample]:
    """Read the inputs; tables are opened before the first is read."""
    if bundle.reads_texts:
        return bundle.texts(texts, files)
    if bundle.reads_tables:
        tables = [bundle.open_table(file) for file in files]
        return itertools.chain.from_iterable(map(bundle.rows, tables))
    return _read_files(bundle, files, invert=invert)


def _read_files(bundle: Bundle, files: Sequence[Path], *, invert: bool) -> Iterator[Sample]:
    """Read files of one input each."""
    value_range = None
    if bundle.preprocess["kind"] == "image" and bundle.value_range is None:
        value_range = _range_of_files(files)
    for file in files:
        try:
            array = bundle.array(file, invert=invert, value_range=value_range)
            yield Sample(file, None, array, "")
        except InputError as error:
            yield Sample(file, None, None, str(error))


def _write_answers(
    bundle: Bundle,
    samples: Iterator[Sample],
    answer: Callable[[np.ndarray], np.ndarray],
    table: PredictionTable,
    total: int | None,
) -> None:
    """Answer inputs in batches, write a table of the answers, and show the progress."""
    batch_size = max(1, min(BATCH_SIZE, MAX_VALUES // math.prod(bundle.shape)))
    shows_progress = sys.stderr.isatty() and (total is None or total > BATCH_SIZE)
    total_text = "" if total is None else f" of {total}"
    count = 0
    while batch := list(itertools.islice(samples, batch_size)):
        answers = _answers(bundle, batch, answer)
        for sample, outputs in zip(batch, answers, strict=True):
            if outputs is None:
                table.write_error(sample)
            else:
                table.write(sample, outputs)
        count += len(batch)
        if shows_progress:
            print(f"\r{count}{total_text}", end="", file=sys.stderr)
    if shows_progress:
        print(file=sys.stderr)


def _check_no_classes(top: int, abstain: float | str) -> None:
    """Check that no option of classes is given for a regression, or for several labels."""
    options = {"--top": top != 1, "--abstain": str(abstain).strip() not in ("0", "0.0")}
    for option, is_given in options.items():
        if is_given:
            raise RuntimeFailure(
                f"{option} is for classes, of which one is the answer, but this model predicts "
                "values or several labels. Leave it out."
            )


def _answers(
    bundle: Bundle, batch: list[Sample], answer: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray | None]:
    """Return the answer to each sample; None where there is none, with the reason in it."""
    rows = [row for row, sample in enumerate(batch) if sample.array is not None]
    answers: list[np.ndarray | None] = [None] * len(batch)
    if not rows:
        return answers
    arrays = [array for sample in batch if (array := sample.array) is not None]
    for row, outputs in zip(rows, answer(bundle.stack(arrays)), strict=True):
        if np.isfinite(outputs).all():
            answers[row] = outputs
        else:
            error = f"{batch[row].file} (the model's outputs for it are NaN or infinite)"
            batch[row] = batch[row]._replace(array=None, error=error)
    return answers


def _least_confidence(bundle: Bundle, kind: str, abstain: float | str) -> float:
    """Return the confidence that ``--abstain`` asks for.

    Raises:
        RuntimeFailure: If it is no confidence, and no error rate that the bundle knows.
    """
    text = str(abstain).strip()
    thresholds = bundle.thresholds.get(kind, {})
    if text in thresholds:
        return float(thresholds[text])
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    rates = ", ".join(thresholds) or "none for this model"
    raise RuntimeFailure(
        f"--abstain {printable(text)} should be a confidence from 0 to 1, or an error rate that "
        f"the bundle guarantees: {rates}."
    )


def _range_of_files(files: Sequence[Path]) -> tuple[float, float] | None:
    """Return the range of the images with more than 8 bits, and print it."""
    value_range = common_range(value_limits(file) for file in files)
    if value_range not in (None, FULL_RANGE):
        print(f"note: {describe_range(value_range)}", file=sys.stderr)
    return value_range
