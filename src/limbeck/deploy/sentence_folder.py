"""Export of a student of embeddings as a folder that sentence-transformers reads."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, ExportError
from limbeck._base.files import write_bytes
from limbeck._base.reading import parse_json
from limbeck._base.scratch import scratch_folder
from limbeck._base.version import __version__
from limbeck.data import Dataset
from limbeck.data.batches import EvaluationBatches
from limbeck.deploy.choice import choose_student, describe_choice
from limbeck.deploy.destination import Destination
from limbeck.deploy.models_of_run import Build, check_data_of_run, load_student, reads_run
from limbeck.evaluation.evaluate import predict
from limbeck.losses.vectors import unit
from limbeck.models import BagOfEmbeddings
from limbeck.run.folder import RunFolder
from limbeck.run.saved_files import check_results
from limbeck.run.summary import Summary, read_summary

FORMAT = "sentence_transformers"
"""Name of the format, and of the folder in the run folder."""
MODULES = "modules.json"
DIFFERENCE = 1e-5
"""Largest difference of a value between the vectors of the folder and the student's."""


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
    destination = Destination.of(folder / FORMAT if to is None else to, folder, zipped=False)
    destination.recover()
    destination.check_free(overwrite=overwrite)
    return destination


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
    """Export a static student of embeddings in the format of sentence-transformers.

    The folder holds a table of one vector per token (the module ``StaticEmbedding``), to which the
    last layer of the student is folded, the tokenizer, and the module ``Normalize``. On all test
    texts its vectors are compared with those of the student.

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
    table, tokenizer = static_table(student), _tokenizer_of(data, student)
    _check_vectors(student, table, data)
    with scratch_folder() as temporary:
        _write(temporary / FORMAT, table, tokenizer, summary, arm, seed)
        destination.publish(temporary / FORMAT, overwrite=overwrite)
    note = describe_choice(summary, arm) if note_of_choice else ""
    return SentenceFolder(destination.folder, arm, seed, note)


def static_table(student: nn.Module) -> Tensor:
    """Return one vector per token, whose mean over a text has the direction of its vector.

    Args:
        student: Bag of embeddings without hidden layers.

    Returns:
        float32, ``[V, D]``; 0 for special tokens and the padding, which do not count.

    Raises:
        ConfigError: If the student is another model.
    """
    if not isinstance(student, BagOfEmbeddings) or student.arguments["hidden"]:
        name = getattr(student, "name", type(student).__name__)
        raise ConfigError(
            f"format={FORMAT} is for a bag of embeddings without hidden layers (student=bag), but "
            f"the student is {name}, which has no module there."
        )
    last = student.layers[-1]
    assert isinstance(last, nn.Linear)
    table = student.tokens.weight.double() @ last.weight.double().T + last.bias.double()
    table[[student.padding, *student.special]] = 0.0
    return table.detach().float().contiguous()


def _tokenizer_of(data: Dataset, student: nn.Module) -> bytes:
    """Return the tokenizer, which cuts texts as the data does; special tokens are not added."""
    tokenizer = data.tokenizer
    if tokenizer is None or tokenizer.file is None:
        name = "none" if tokenizer is None else tokenizer.name
        raise ConfigError(
            f"format={FORMAT} needs a tokenizer of the package tokenizers, but that of the run is "
            f"{name}."
        )
    content: Any = parse_json(tokenizer.file)
    length = data.shape[0] - len(getattr(student, "special", ()))
    content["truncation"] = {
        "direction": "Right",
        "max_length": length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _check_vectors(student: nn.Module, table: Tensor, data: Dataset) -> None:
    """Compare the vectors of the table with the student's on the test split."""
    batches = [batch.x[0] for batch in EvaluationBatches(data.open_test())]
    expected = unit(predict(student, batches))
    vectors = unit(torch.cat([table[ids].sum(1) for ids in batches]))
    difference = float((vectors - expected).abs().max())
    if not difference <= DIFFERENCE:
        raise ExportError(
            f"The vectors of the folder differ from the student's by up to {difference:.2g}, so "
            "nothing was written."
        )


def _write(
    folder: Path, table: Tensor, tokenizer: bytes, summary: Summary, arm: str, seed: int
) -> None:
    """Write the files of the folder."""
    types = {"": "StaticEmbedding", "1_Normalize": "Normalize"}
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{name}",
        }
        for number, (path, name) in enumerate(types.items())
    ]
    settings = {
        "__version__": {"limbeck": __version__},
        "similarity_fn_name": "cosine",
        "prompts": {},
        "default_prompt_name": None,
    }
    files = {
        MODULES: json.dumps(modules, indent=2).encode(),
        "config_sentence_transformers.json": json.dumps(settings, indent=2).encode(),
        "model.safetensors": save({"embedding.weight": table}),
        "tokenizer.json": tokenizer,
        "README.md": _card(table, summary, arm, seed).encode(),
    }
    for name, content in files.items():
        write_bytes(folder / name, content)
    (folder / "1_Normalize").mkdir()
    write_bytes(folder / "1_Normalize" / "config.json", b"{}")


def _card(table: Tensor, summary: Summary, arm: str, seed: int) -> str:
    """Return a short description of the model."""
    test = next(result.test for result in summary.arm(arm).seeds if result.seed == seed)
    missed = getattr(test, "missed_neighbours", None)
    teacher = "" if summary.teacher is None else f" ({summary.teacher.name})"
    recall = "" if missed is None else f" Its recall at 10 is {1 - missed / 10:.1%}:"
    recall += " the share of the teacher's 10 nearest texts that it finds, too." if recall else ""
    return (
        "---\nlibrary_name: sentence-transformers\ntags: [sentence-transformers, "
        "static-embeddings]\n---\n"
        f"# Static sentence embeddings\n\nA vector of {table.shape[1]} dimensions for each of "
        f"{table.shape[0]:,} tokens, distilled from a sentence encoder{teacher} on "
        f"{summary.data.train:,} texts with limbeck {__version__} (arm {arm}, seed {seed})."
        f"{recall}\n\n"
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'vectors = SentenceTransformer("FOLDER").encode(["a text", "another"])\n```\n\n'
        "TODO: intended use, data, limits, licence.\n"
    )
