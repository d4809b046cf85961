"""``cost.json``: what the models of a finished run cost to run, joined to what they get wrong."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from torch import nn

from limbeck._base.errors import ConfigError, DataError
from limbeck._base.files import write_json
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset
from limbeck.deploy.choose import check_no_text, choose_student
from limbeck.deploy.cost import BATCH, Costed, measure, multiply_adds
from limbeck.deploy.onnx_export import (
    calibration_inputs,
    need_onnx,
    onnx_logits,
    quantize,
    to_onnx,
    write_model,
)
from limbeck.models import count_parameters, load_model, model_name
from limbeck.models.files.checkpoint import describe
from limbeck.report.page import write_report
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import hardware, installed_versions

SCHEMA = 1


def cost(
    run: str | Path,
    data: Dataset,
    *,
    combine: str = "probabilities",
    build: Callable[[str], nn.Module] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the teacher and one student of each architecture; write ``cost.json`` and the report
    anew.

    Of each architecture the student with the fewest validation errors is taken. Errors of 8-bit
    models are counted on the test split.

    Args:
        run: a finished run.
        data: the data set of the run.
        combine: how the answers of several teachers become one, as in the run.
        build: makes the empty student of an arm, for classes of a user's own; these are measured in
            ONNX Runtime alone.
        progress: show progress on standard error.

    Returns:
        The content of ``cost.json``.

    Raises:
        ConfigError: ONNX cannot express a model, or the data is text.
        DataError: the data set is not the one of the run.
        ResourceError: libraries are missing, or a measurement failed.
    """
    check_no_text(data, "cost")
    need_onnx()
    folder = RunFolder(run)
    summary = folder.read_summary()
    if folder.read_json(folder.manifest).get("digests", {}).get("data") != data.digest():
        raise DataError(
            f"{folder.path}: the data is not that of the run (its digest is another). Put it back."
        )
    kinds: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for arm in summary["arms"]:
        kinds.setdefault((arm["student"], arm["params"]), []).append(arm)
    if not kinds and summary["teacher"] is None:
        raise ConfigError(f"{folder.path} has no models to measure.")
    shown = StageProgress(enabled=progress)
    with tempfile.TemporaryDirectory(prefix="limbeck-") as aside:
        models = []
        with shown.stage("exporting", len(kinds) + 1) as advance:
            if summary["teacher"] is not None:
                places = folder.teachers()
                loaded = [load_model(place).model for place in places]
                models.append(
                    _exported("teacher", loaded, places, data, Path(aside) / "teacher", combine)
                )
            advance(1)
            for number, arms in enumerate(kinds.values()):
                arm, seed = choose_student({"arms": arms})
                place = folder.student(arm, seed)
                student = load_model(place, None if build is None else _builder(build, arm)).model
                models.append(_exported(arm, [student], [place], data, Path(aside) / str(number)))
                advance(number + 2)
        with shown.stage("measuring", 1.0) as advance:
            rows = measure(models, data.train.inputs[:BATCH].numpy(), advance)
    content = {
        "schema": SCHEMA,
        "rows": rows,
        "hardware": asdict(hardware()),
        "versions": installed_versions(),
        "batch": BATCH,
    }
    write_json(folder.cost, content)
    write_report(folder.path)
    return content


def _builder(build: Callable[[str], nn.Module], arm: str) -> Callable[[], nn.Module]:
    return lambda: build(arm)


def _exported(
    name: str,
    models: Sequence[nn.Module],
    places: Sequence[Path],
    data: Dataset,
    aside: Path,
    combine: str = "probabilities",
) -> Costed:
    """The models as ONNX files in a folder; their mean is what counts."""
    aside.mkdir()
    files: dict[str, list[Path]] = {"fp32": [], "int8": []}
    calibration = calibration_inputs(data.train.inputs)
    (aside / "labels.json").write_text(
        '{"labels": ' + str(list(range(data.classes))) + "}", encoding="utf-8"
    )
    for number, model in enumerate(models):
        exported = to_onnx(model, data.train.inputs[:2])
        for kind, content in (("fp32", exported), ("int8", quantize(exported, calibration, aside))):
            files[kind].append(aside / f"{kind}-{number}.onnx")
            write_model(content, files[kind][-1])
    test = data.open_test()
    errors = {}
    for kind, members in files.items():
        answers = [
            onnx_logits(file.read_bytes(), kind, test.inputs, data.class_names) for file in members
        ]
        shares = [
            softmax(logits, axis=1) if combine == "probabilities" else logits for logits in answers
        ]
        errors[kind] = int((np.mean(shares, axis=0).argmax(1) != test.labels.numpy()).sum())
    rebuilt = all(describe(model)["builder"] for model in models)
    return Costed(
        name=name,
        kind=model_name(models[0])
        if len(models) == 1
        else f"{len(models)} x {model_name(models[0])}",
        params=sum(map(count_parameters, models)),
        folders=places if rebuilt else [],
        onnx=files,
        macs=sum(multiply_adds(model, data.train.inputs[:1]) for model in models),
        errors=errors,
    )
