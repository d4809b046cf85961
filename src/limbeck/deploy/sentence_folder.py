"""Export of a student of embeddings as a folder that sentence-transformers reads."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from limbeck._base.errors import ConfigError
from limbeck._base.files import write_bytes
from limbeck._base.scratch import scratch_folder
from limbeck._base.version import __version__
from limbeck.data import Dataset
from limbeck.deploy.choice import choose_student, describe_choice
from limbeck.deploy.destination import Destination
from limbeck.deploy.models_of_run import Build, check_data_of_run, load_student, reads_run
from limbeck.deploy.sentence_modules import FORMAT, write_modules
from limbeck.models import BagOfEmbeddings, SentenceEncoder
from limbeck.report.formats import percent
from limbeck.run.folder import RunFolder
from limbeck.run.saved_files import check_results
from limbeck.run.summary import Summary, read_summary


@dataclass(frozen=True)
class SentenceFolder:
    """Result of :func:`export_sentence_folder`.

    Attributes:
        folder: Folder of the sentence encoder.
        arm: Arm of the student.
        seed: Seed of the student.
        note: Reason why the student of a control was exported, or empty.
    """

    folder: Path
    arm: str
    seed: int
    note: str = ""


def sentence_destination(run: str | Path, to: str | Path | None, *, overwrite: bool) -> Destination:
    """Return the destination of a sentence encoder, after a check that it is free.

    Args:
        run: Run folder.
        to: Folder of the sentence encoder; None for ``sentence_transformers`` in the run folder.
        overwrite: Whether an earlier one may be replaced.

    Raises:
        ConfigError: If it cannot be written there, or may not replace what is there.
    """
    folder = RunFolder(run).path
    return Destination.of_format(folder, to, FORMAT, overwrite=overwrite)


@reads_run
def export_sentence_folder(
    run: str | Path,
    data: Dataset,
    *,
    to: str | Path | None = None,
    arm: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    build: Build | None = None,
) -> SentenceFolder:
    """Export a student of embeddings in the format of sentence-transformers.

    The folder of a bag of embeddings holds a table of one vector per token (the module
    ``StaticEmbedding``), to which the last layer of the student is folded, and the module
    ``Normalize``; that of a sentence encoder the modules ``Transformer`` and ``Pooling``, and
    ``Normalize`` if its teacher has it. On all test texts the vectors of the folder are compared
    with those of the student.

    Args:
        run: Folder of a finished run of embeddings.
        data: Dataset of the run.
        to: Folder of the sentence encoder; None for ``sentence_transformers`` in the run folder.
        arm: Arm of the student. None for the best one on the validation split.
        seed: Seed of the student. None for the best one on the validation split.
        overwrite: Whether to replace an earlier folder.
        build: Function that takes the name of an arm and returns its untrained student.

    Raises:
        ConfigError: If the run has no such student, or the format cannot express it.
        DataError: If the dataset differs from the one the run used.
        ExportError: If the vectors differ. Nothing is written.
    """
    if data.kind.outputs != "vectors":
        raise ConfigError(
            f"format={FORMAT} is for embeddings, but {data.name} is for {data.kind.description}. "
            "Leave it out."
        )
    folder = RunFolder(run)
    check_results(folder, folder.summary)
    summary = read_summary(folder)
    destination = sentence_destination(run, to, overwrite=overwrite)
    note_of_choice = arm is None
    arm, seed = choose_student(summary, arm, seed, with_controls=True)
    check_data_of_run(folder, data)
    student = load_student(folder, folder.student(arm, seed), arm, build)
    with scratch_folder() as temporary:
        _write(temporary / FORMAT, student, data, summary, arm, seed)
        destination.publish(temporary / FORMAT, overwrite=overwrite)
    note = describe_choice(summary, arm) if note_of_choice else ""
    return SentenceFolder(destination.folder, arm, seed, note)


def _write(
    folder: Path, student: nn.Module, data: Dataset, summary: Summary, arm: str, seed: int
) -> None:
    """Write the files of the folder, and check their vectors."""
    folder.mkdir()
    write_modules(folder, student, data)
    settings = {
        "__version__": {"limbeck": __version__},
        "similarity_fn_name": "cosine",
        "prompts": {},
        "default_prompt_name": None,
    }
    content = json.dumps(settings, indent=2).encode()
    write_bytes(folder / "config_sentence_transformers.json", content)
    write_bytes(folder / "README.md", _card(student, data, summary, arm, seed).encode())


def _card(student: nn.Module, data: Dataset, summary: Summary, arm: str, seed: int) -> str:
    """Return a short description of the model."""
    test = next(result.test for result in summary.arm(arm).seeds if result.seed == seed)
    missed = getattr(test, "missed_neighbours", None)
    teacher = "" if summary.teacher is None else f" ({summary.teacher.name})"
    recall = "" if missed is None else f" Its recall at 10 is {percent(1 - missed / 10, 1)}:"
    recall += " the share of the teacher's 10 nearest texts that it finds, too." if recall else ""
    if isinstance(student, SentenceEncoder):
        title, tag = "Sentence embeddings", "sentence-similarity"
        what = (
            f"A transformer ({student.name}) that gives vectors of {student.dimensions} dimensions"
        )
    else:
        assert isinstance(student, BagOfEmbeddings)
        title, tag = "Static sentence embeddings", "static-embeddings"
        tokens = 0 if data.tokenizer is None else data.tokenizer.padded_size
        what = (
            f"A vector of {student.arguments['classes']} dimensions for each of {tokens:,} tokens"
        )
    return (
        f"---\nlibrary_name: sentence-transformers\ntags: [sentence-transformers, {tag}]\n---\n"
        f"# {title}\n\n{what}, distilled from a sentence encoder{teacher} on "
        f"{summary.data.train:,} texts with limbeck {__version__} (arm {arm}, seed {seed})."
        f"{recall}\n\n"
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'vectors = SentenceTransformer("FOLDER").encode(["a text", "another"])\n```\n\n'
        "TODO: intended use, data, limits, licence.\n"
    )
