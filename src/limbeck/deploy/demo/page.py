"""Facts and answers of the demo page.

The server listens on the loopback interface only. It sends the outputs of the models, and the page
computes probabilities itself, so that a slider can change the temperature.
"""

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError
from limbeck._base.printable import MAX_NAME, cut, printable_record
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.deploy.demo.images import ImageForm
from limbeck.deploy.demo.inputs import DemoInput, InputForm
from limbeck.deploy.demo.neighbours import Neighbours
from limbeck.deploy.demo.server import Server, make_server
from limbeck.deploy.demo.tables import TableForm
from limbeck.deploy.demo.texts import TextForm
from limbeck.deploy.models_of_run import RunModel
from limbeck.evaluation.labels import best_thresholds

BATCH = 256
MAX_ROWS = 2000
"""Largest number of validation samples on which thresholds of labels are fitted."""


class Demo:
    """The page and its server.

    Args:
        models: Models to show, from left to right.
        data: Dataset with the form of the inputs, the class names and examples.
        port: Port of the server. 0 for any free port.
        note: Sentence for the page, such as why there is no teacher.

    Raises:
        ConfigError: If there is no form for the inputs or the outputs, or the port is not
            available.
    """

    def __init__(self, models: Sequence[RunModel], data: Dataset, *, port: int = 0, note: str = ""):
        form = form_of(data)
        self.models = models
        has_vectors = data.kind.outputs == "vectors"
        self._neighbours = Neighbours(models, data) if has_vectors else None
        self.readers = form.readers
        facts = {
            **outputs_facts(models, data),
            **(self._neighbours.facts() if self._neighbours else {}),
            "data": data.name,
            "input": form.facts(),
            "note": note,
        }
        self.facts = json.dumps(printable_record(facts)).encode()
        """Facts for the page, as JSON."""
        self._lock = Lock()
        self.server: Server = make_server(self, port)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.server.server_port}/"

    def serve(self) -> None:
        """Serve until interrupted."""
        with self.server:
            self.server.serve_forever()

    def answer(self, example: DemoInput) -> dict[str, Any]:
        """Return the outputs of each model for one input, and the facts about the input.

        Embeddings are answered by the nearest validation texts.

        Raises:
            DataError: If an output is NaN or infinite.
        """
        inputs = as_float(example.inputs)
        with self._lock, torch.inference_mode():
            outputs = [model.logits(inputs)[0].double() for model in self.models]
        for model, values in zip(self.models, outputs, strict=True):
            if not bool(values.isfinite().all()):
                raise DataError(f"the outputs of the {model.role} for it are NaN or infinite")
        if self._neighbours is None:
            answers: list[Any] = [values.tolist() for values in outputs]
        else:
            answers = self._neighbours.of(example.inputs, outputs)
        return {"outputs": answers, **example.facts}


def form_of(data: Dataset) -> InputForm:
    """Return the form with which the page asks for an input of a dataset.

    Raises:
        ConfigError: If there is none.
    """
    if data.positions is not None:
        raise ConfigError(
            f"'limbeck demo' shows answers to one input, but {data.name} is for text. 'limbeck "
            "sample' generates text with the models of the run."
        )
    if data.padding is not None:
        return TextForm(data)
    if data.columns is not None:
        return TableForm(data)
    is_bytes = data.train.inputs.dtype == torch.uint8
    if is_bytes and len(data.shape) == 3 and data.shape[0] in (1, 3):
        return ImageForm(data)
    raise ConfigError(
        f"'limbeck demo' needs images, texts or rows of a table with named columns, but the inputs "
        f"of {data.name} are arrays of shape {list(data.shape)}. Pass columns= to "
        "Dataset.from_arrays if they are rows of a table."
    )


def outputs_facts(models: Sequence[RunModel], data: Dataset) -> dict[str, Any]:
    """Return what the page has to know about the models and their outputs."""
    facts: dict[str, Any] = {
        "outputs": data.kind.outputs,
        "classes": [cut(name, MAX_NAME) for name in data.class_names],
        "models": [
            {
                "role": model.role,
                "name": model.name,
                "description": model.description,
                "colour": model.colour,
            }
            for model in models
        ],
    }
    if data.kind.outputs == "labels":
        for entry, model in zip(facts["models"], models, strict=True):
            entry["thresholds"] = _thresholds(model, data).tolist()
    if data.kind.outputs == "values":
        labels = data.train.labels
        facts["ranges"] = [labels.amin(0).tolist(), labels.amax(0).tolist()]
    return facts


def _thresholds(model: RunModel, data: Dataset) -> Tensor:
    """Fit the logit from which a model predicts each label, on the validation split."""
    inputs, labels = data.val.inputs[:MAX_ROWS], data.val.labels[:MAX_ROWS]
    batches = [as_float(cut_padding(batch, data.padding)) for batch in inputs.split(BATCH)]
    with torch.inference_mode():
        logits = torch.cat([model.logits(batch) for batch in batches])
    return best_thresholds(logits.cpu(), labels)
