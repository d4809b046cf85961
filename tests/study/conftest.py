"""Data and studies that the tests of this folder share.

The studies write no report, which takes longer than training these tiny students.
"""

import pytest
from support import image_studies, text_studies
from support.markov import markov_text

from limbeck.data import text_file
from limbeck.models import load_model


@pytest.fixture
def real_report():
    """Asks for real reports."""


@pytest.fixture(autouse=True)
def no_report(request, monkeypatch):
    if "real_report" not in request.fixturenames:
        monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)


@pytest.fixture(scope="session")
def data():
    """Tiny images of three classes."""
    return image_studies.dataset()


@pytest.fixture(scope="session")
def text_source(tmp_path_factory):
    """The file of a text, its entropy in nats per byte and the transitions of its source."""
    content, entropy, transitions = markov_text(text_studies.SYMBOLS, 60_000, seed=1)
    file = tmp_path_factory.mktemp("source") / "chain.txt"
    file.write_text(content)
    return file, entropy, transitions


@pytest.fixture(scope="session")
def text_data(text_source):
    file = text_source[0]
    return text_file(file, block=text_studies.BLOCK, cache=file.parent / "cache")


@pytest.fixture(scope="session")
def text_run(text_data, tmp_path_factory):
    """The folder and the summary of a finished study on text."""
    out = tmp_path_factory.mktemp("text") / "run"
    store = {"folder": out.parent / "store", "kind": "sampled", "k": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        return out, text_studies.study_of(text_data, out, store=store).run()


@pytest.fixture(scope="session")
def text_teacher(text_run):
    return load_model(text_run[0] / "teacher").model
