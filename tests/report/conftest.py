from pathlib import Path

import pytest
from support.pages import Page
from support.report_runs import HOSTILE, build_run, build_text_run

from limbeck.report.page import write_report


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, four arms, three seeds."""
    return build_run(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No teacher, two arms, one seed."""
    arms = ("hard", "smoothed")
    return build_run(tmp_path_factory.mktemp("small"), arms=arms, seeds=1, teacher=False, classes=2)


@pytest.fixture(scope="session")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model as the teacher, four arms of which one trains longer, three seeds."""
    return build_text_run(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names of classes, arms and everything else that try to break out of their place."""
    return build_run(
        tmp_path_factory.mktemp("hostile"),
        arms=HOSTILE,
        seeds=1,
        classes=len(HOSTILE),
        recipe=HOSTILE[0],
        warnings=(f"warning {HOSTILE[0]}",),
        class_names=HOSTILE,
    )


@pytest.fixture(scope="session")
def pages(full_run, small_run, text_run, hostile_run) -> dict[str, Page]:
    """The pages of these runs."""
    runs = {"full": full_run, "small": small_run, "text": text_run, "hostile": hostile_run}
    return {name: Page(write_report(run).read_text(encoding="utf-8")) for name, run in runs.items()}
