"""Claim: exported students make the same errors as in PyTorch in float32, and MLPs make at most 5
errors of 10,000 more in 8 bits.

``python benchmarks/export.py RUN...`` exports the best student of each finished run, measures its
cost, and writes docs/results/export.md and export.json. Errors are exact counts on the whole test
split. Latencies are medians of three rounds in which all models take turns, on one core. With
--short a student is trained for a few seconds and exported.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck._base.errors import ExportError
from limbeck._base.files import write_json, write_text
from limbeck.cli.config.reopen import open_finished_run
from limbeck.cli.main import main as limbeck
from limbeck.deploy.export import ExportOptions, export
from limbeck.deploy.run_cost import cost
from limbeck.report.formats import file_size
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import now
from limbeck.run.summary import read_summary

RESULTS = Path(__file__).parents[1] / "docs" / "results"
MAX_ADDITIONAL_ERRORS = 5
"""Additional errors of 10,000 that an MLP may have in 8 bits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a finished run folder")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a student trained for a few seconds; nothing is written",
    )
    options = parser.parse_args()
    if options.short:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            settings = ["seeds=2", "epochs=10", "teacher.epochs=5", "logger=csv", f"out={run}"]
            assert limbeck(["run", *settings]) == 0
            entries = [entry_of(run)]
    else:
        entries = [entry_of(run) for run in options.runs]
    print(table(entries))
    if not options.short:
        write_json(RESULTS / "export.json", {"schema": 1, "when": now(), "entries": entries})
        write_text(RESULTS / "export.md", page(entries))
    assert all(entry["errors"]["onnx fp32"] == entry["errors"]["student"] for entry in entries)


def entry_of(run: Path) -> dict[str, Any]:
    """Export the best student of a run; return its errors at each stage and its costs."""
    with open_finished_run(run) as study, tempfile.TemporaryDirectory() as aside:
        options = ExportOptions(to=Path(aside) / "bundle")
        try:
            result = export(study.folder, study.data, options, build=study.build)
        except ExportError:  # the 8-bit model makes too many errors
            options = replace(options, int8=False)
            result = export(study.folder, study.data, options, build=study.build)
        costs = cost(study.folder, study.data, build=study.build, combine=study.combine)
    summary = read_summary(RunFolder(run))
    arm = next(entry for entry in summary.arms if entry.name == result.arm)
    kind = next(row.kind for row in costs.rows if row.kind == arm.student)
    rows = [row for row in costs.rows if row.kind == kind and row.model != "teacher"]
    return {
        "data": summary.data.name,
        "test": summary.data.test,
        "student": arm.student,
        "arm": result.arm,
        "seed": result.seed,
        "params": arm.params,
        "errors": {stage.name: stage.errors for stage in result.stages},
        "difference": {stage.name: stage.max_difference for stage in result.stages},
        "changed": {stage.name: stage.class_changes for stage in result.stages},
        "hardware": costs.hardware,
        "versions": costs.versions,
        "costs": {
            f"{row.runtime} {row.precision}": {
                "bytes": row.bytes,
                "memory": row.memory,
                "ms": row.threads["1"].latency_ms.median,
                "per_second": row.threads["1"].per_second,
            }
            for row in rows
        },
    }


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Format the entries as a table in Markdown."""
    ways = ("torch fp32", "onnx fp32", "onnx int8")
    lines = [
        "| data | student | errors: PyTorch | ONNX | int8 | largest difference of logits, ONNX | "
        "file: ONNX | int8 | "
        "latency: PyTorch | ONNX | int8 |",
        "| --- " * 11 + "|",
    ]
    for entry in entries:
        errors, costs = entry["errors"], entry["costs"]
        cells = [entry["data"], f"{entry['student']} ({entry['arm']})"]
        cells += [
            str(errors.get(stage, "refused")) for stage in ("student", "onnx fp32", "onnx int8")
        ]
        cells += [
            f"{entry['difference']['onnx fp32']:.1e}",
            *(file_size(costs[way]["bytes"]) for way in ways[1:]),
        ]
        cells += [f"{costs[way]['ms']:.3f} ms" if way in costs else "–" for way in ways]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(entries: Sequence[Mapping[str, Any]]) -> str:
    """Format ``export.md``."""
    more_errors = []
    for entry in entries:
        if "convnet" not in entry["student"]:
            errors = entry["errors"]
            more_errors.append(errors.get("onnx int8", entry["test"]) - errors["onnx fp32"])
    worst = max(more_errors, default=0)
    verdict = "met" if worst <= MAX_ADDITIONAL_ERRORS else "missed"
    versions, hardware = entries[0]["versions"], entries[0]["hardware"]
    lines = [
        "# Exported students",
        "",
        "One student of each run was exported by `limbeck export`, evaluated on all "
        f"{entries[0]['test']:,} test images at each stage, and measured by `limbeck cost`.",
        "",
        table(entries),
        "",
        "* In float32 the errors are the same in PyTorch and ONNX. The goal is **met**.",
        f"* In 8 bits MLPs make at most {worst:+d} errors more (goal: at most "
        f"{MAX_ADDITIONAL_ERRORS} of 10,000). The goal is **{verdict}**.",
        "",
        f"The measurements are from torch {versions['torch']} on {hardware['cores']} cores of "
        f"{hardware['cpu']}. Latency is that of one image on one core, the median over three "
        "rounds in which all models take turns.",
        "Other programs used the machine, so compare within a row. "
        "`python benchmarks/export.py RUN...` made this page; all numbers are in `export.json`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
