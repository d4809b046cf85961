"""Draw the pictures of the documentation from finished runs.

    python benchmarks/pictures.py --report runs/first --sweep runs/sizes --demo runs/mnist

``--report`` takes a run of `limbeck run`, ``--sweep`` the sweep of docs/how-to/sweep.md, ``--demo``
a run of `recipe=mnist`. It needs playwright and Chromium.
"""

import argparse
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from limbeck.cli.config.reopen import open_finished_run
from limbeck.cli.config.trust import Trust
from limbeck.deploy.demo import Demo
from limbeck.deploy.models_of_run import models_of_run
from limbeck.report.figures.catalogue import draw_figures
from limbeck.report.page import write_report
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SWEEP = {"temperature": "temperature", "settings": "weight", "sizes": "size"}
SEVEN = ((0.28, 0.25), (0.7, 0.25), (0.4, 0.85))


def main() -> None:
    """Draw the pictures of the runs that are given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("report", "sweep", "demo"):
        parser.add_argument(f"--{name}", type=Path, metavar="RUN")
    arguments = parser.parse_args()
    if arguments.sweep:
        draw_sweep(arguments.sweep)
    with open_page() as page:
        if arguments.report:
            photograph_report(page, arguments.report)
        if arguments.demo:
            photograph_demo(page, arguments.demo)


@contextmanager
def open_page() -> Iterator[Any]:
    """Open an empty page of the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def draw_sweep(run: Path) -> None:
    """Save the figures of a sweep in fixed colours on white."""
    folder = RunFolder(run)
    for figure in draw_figures(folder, read_summary(folder)).sweep:
        svg = re.sub(r"var\(--[\w-]+, (#[0-9a-f]{6})\)", r"\1", figure.svg)
        svg = svg.replace(">", '><rect width="100%" height="100%" fill="#ffffff"/>', 1)
        name = re.search(r'data-figure="(\w+)"', svg)
        assert name is not None
        (IMAGES / f"sweep-{SWEEP[name[1]]}.svg").write_text(svg + "\n", encoding="utf-8")


def photograph_report(page: Any, run: Path) -> None:
    """Save the top of a report, down to the comparisons."""
    page.set_viewport_size({"width": 1000, "height": 900})
    page.goto(write_report(run).resolve().as_uri())
    box = page.locator("#results").bounding_box()
    clip = {"x": 0, "y": 0, "width": 1000, "height": box["y"] + box["height"] + 16}
    page.screenshot(path=IMAGES / "report.png", clip=clip, full_page=True)


def photograph_demo(page: Any, run: Path) -> None:
    """Draw a seven in the demo of a run and save the page at T = 6."""
    with open_finished_run(run, Trust()) as study:
        models = models_of_run(study.folder, build=study.build, combine=study.combine)
        demo = Demo(models, study.data)
    threading.Thread(target=demo.serve, daemon=True).start()
    page.set_viewport_size({"width": 1100, "height": 700})
    page.goto(demo.url)
    page.wait_for_selector(".bar")
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    page.locator("#temperature").fill("60")  # 20 ** 0.6 is about 6
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / "demo.png")
    demo.server.shutdown()


if __name__ == "__main__":
    main()
