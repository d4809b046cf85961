"""A bundle and pictures for the tests of the runtime."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.bundles import images, write_bundle

from limbeck._base.runtime.command_line import main


@pytest.fixture(scope="session")
def shared_bundle(tmp_path_factory):
    """A bundle to read only."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "linear")


@pytest.fixture
def bundle(shared_bundle, tmp_path):
    return Path(shutil.copytree(shared_bundle, tmp_path / "copy"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Images as files, named by number."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(images(6)):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(capsys):
    """The command line of limbeck for bundles: exit code, output and errors."""

    def run(verb, bundle, *words):
        try:
            code = main([verb, str(bundle), *map(str, words)])
        except SystemExit as error:  # argparse
            code = error.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
