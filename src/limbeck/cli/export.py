"""``limbeck export``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import ConfigError
from limbeck._base.printable import path_from_here
from limbeck.cli.parsers import add_settings, add_trust, add_verb, trust_of
from limbeck.cli.terminal import say
from limbeck.cli.verb_settings import Setting, read_settings

if TYPE_CHECKING:
    from limbeck.deploy.export import ExportOptions, ExportResult
    from limbeck.run.folder import RunFolder

SETTINGS = {
    "to": Setting(
        str,
        "to=FOLDER",
        "folder to write (default: bundle, or the format, in the run folder)",
    ),
    "arm": Setting(str, "arm=soft", "arm of the student (default: the best in validation)"),
    "seed": Setting(int, "seed=0", "seed of the student (default: the best in validation)"),
    "int8": Setting(
        bool, "int8=false", "whether to add a model in 8 bits (default: if it errs little)"
    ),
    "int8_share": Setting(
        float,
        "int8_share=0.002",
        "errors that 8 bits may add, as a share of the test samples (default: 0.001)",
    ),
    "adjusted": Setting(
        str, "adjusted=prior", "export the student with the constants that bias=prior added"
    ),
    "zipped": Setting(bool, "zipped=false", "whether to write a zip file, too (default: true)"),
    "format": Setting(
        str,
        "format=c",
        "instead of a bundle: c (source code for microcontrollers, of MLPs), executorch (for "
        "phones), or sentence_transformers (of embeddings)",
    ),
    "overwrite": Setting(bool, "overwrite=true", "replace an earlier export"),
}

OTHER_SETTINGS = {
    "c": ("to", "arm", "seed", "overwrite", "int8", "int8_share", "adjusted"),
    "executorch": ("to", "arm", "seed", "overwrite", "adjusted"),
    "sentence_transformers": ("to", "arm", "seed", "overwrite"),
}
"""Settings of each format other than bundles."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck export``."""
    text = "export the best student of a run to ONNX, as a bundle that runs without PyTorch"
    parser = add_verb(verbs, "export", text, run, run="folder of a finished run")
    add_settings(parser, SETTINGS)
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export a student of a run."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.export import ExportOptions, export, open_destination

    settings = read_settings(arguments.settings, SETTINGS)
    if "to" in settings:
        settings["to"] = Path(settings["to"]).absolute()
    name = take_format(settings)
    if name == "sentence_transformers":
        return _export_folder(arguments, settings)
    options = ExportOptions(**settings)
    if name == "c":
        return _export_c(arguments, options)
    if name == "executorch":
        return _export_executorch(arguments, options)

    def check(folder: "RunFolder") -> None:
        open_destination(folder.path, options)

    with open_finished_run(arguments.run, trust_of(arguments), check) as study:
        bundle = export(study.folder, study.data, options, build=study.build)
    say(closing_message(bundle))
    return 0


def take_format(settings: dict[str, Any]) -> str:
    """Remove the setting ``format``, and return its value.

    Raises:
        ConfigError: If the format is unknown, or does not have another setting.
    """
    name = str(settings.pop("format", "bundle"))
    if name == "bundle":
        return name
    if name not in OTHER_SETTINGS:
        formats = ", ".join(["bundle", *OTHER_SETTINGS])
        raise ConfigError(f"format={name!r} is unknown. Choose one of {formats}.")
    others = [key for key in settings if key not in OTHER_SETTINGS[name]]
    if others:
        raise ConfigError(f"{others[0]}= is for bundles, not for format={name}. Leave it out.")
    return name


def _export_c(arguments: argparse.Namespace, options: "ExportOptions") -> int:
    """Export a student of dense layers as C source code."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.c_code import export_c
    from limbeck.deploy.c_code.export import c_destination
    from limbeck.report.formats import file_size

    def check(folder: "RunFolder") -> None:
        c_destination(folder.path, options)

    with open_finished_run(arguments.run, trust_of(arguments), check) as study:
        result = export_c(study.folder, study.data, options, build=study.build)
    lines = [
        str(result),
        "",
        f"C source code: {result.folder}, arm {result.arm}, seed {result.seed}",
        f"constants: {file_size(result.weight_bytes)}, memory between the layers: "
        f"{file_size(result.buffer_bytes)}",
    ]
    if result.output is None:
        lines.append(
            "not tested here: no C compiler (cc) compiled and ran it; test.c tests the device"
        )
    else:
        lines.append(f"compiled and run here: {'; '.join(result.output.splitlines())}")
    if result.note:
        lines.append(f"note: {result.note}")
    say("\n".join(lines))
    return 0


def _export_executorch(arguments: argparse.Namespace, options: "ExportOptions") -> int:
    """Export a student as a program of ExecuTorch."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.executorch.export import executorch_destination, export_executorch
    from limbeck.deploy.executorch.lowering import check_executorch_is_installed
    from limbeck.report.formats import file_size

    def check(folder: "RunFolder") -> None:
        check_executorch_is_installed()
        executorch_destination(folder.path, options)

    with open_finished_run(arguments.run, trust_of(arguments), check) as study:
        result = export_executorch(study.folder, study.data, options, build=study.build)
    others = ", ".join(result.other_operators) or "none"
    lines = [
        str(result),
        "",
        f"ExecuTorch program: {result.folder} ({file_size(result.bytes)}), arm {result.arm}, "
        f"seed {result.seed}",
        f"operators that XNNPACK does not compute: {others}",
    ]
    if result.note:
        lines.append(f"note: {result.note}")
    say("\n".join(lines))
    return 0


def _export_folder(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Export a student of embeddings for sentence-transformers."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.sentence_folder import export_sentence_folder, sentence_destination
    from limbeck.report.formats import file_size

    to, overwrite = settings.get("to"), settings.get("overwrite", False)

    def check(folder: "RunFolder") -> None:
        sentence_destination(folder.path, to, overwrite=overwrite)

    with open_finished_run(arguments.run, trust_of(arguments), check) as study:
        result = export_sentence_folder(study.folder, study.data, build=study.build, **settings)
    size = folder_size(result.folder)
    lines = [
        f"sentence encoder: {result.folder} ({file_size(size)}), arm {result.arm}, "
        f"seed {result.seed}"
    ]
    if result.note:
        lines.append(f"note: {result.note}")
    lines.append(f"in Python: SentenceTransformer({str(result.folder)!r}).encode(texts)")
    say("\n".join(lines))
    return 0


def folder_size(folder: Path) -> int:
    """Return the size of all files of a folder in bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def closing_message(bundle: "ExportResult") -> str:
    """Describe the stages of the export, the location of the bundle and the next step."""
    from limbeck.report.formats import file_size

    size = folder_size(bundle.folder)
    folder = path_from_here(bundle.folder)
    lines = [
        str(bundle),
        "",
        f"bundle: {folder} ({file_size(size)}), arm {bundle.arm}, seed {bundle.seed}",
    ]
    if bundle.archive is not None:
        archive_size = file_size(bundle.archive.stat().st_size)
        lines.append(f"zip file: {path_from_here(bundle.archive)} ({archive_size})")
    if bundle.note:
        lines.append(f"note: {bundle.note}")
    lines.append(f"on the device: python {Path(bundle.folder.name) / 'run.py'} verify")
    return "\n".join(lines)
