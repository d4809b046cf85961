from pathlib import Path

import pytest
from support.report_runs import HOSTILE, build_run, build_text_run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, four arms, three seeds."""
    return build_run(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No teacher, two arms, one seed."""
    return build_run(
        tmp_path_factory.mktemp("small"),
        arms=("hard", "smoothed"),
        seeds=1,
        teacher=False,
        classes=2,
    )


@pytest.fixture(scope="session")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model as the teacher, four arms of which one trains longer, three seeds."""
    return build_text_run(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 classes; names of classes, arms and everything else that try to get out of their place."""
    names = [*HOSTILE, *(f"class number {i}" for i in range(37 - len(HOSTILE)))]
    extras = {"recipe": HOSTILE[0], "warnings": [f"warning {HOSTILE[0]}"]}
    return build_run(
        tmp_path_factory.mktemp("hostile"),
        arms=HOSTILE,
        seeds=2,
        classes=37,
        names=names,
        extras=extras,
    )
