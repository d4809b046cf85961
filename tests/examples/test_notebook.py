"""The cells of the notebook run in order, without data or network."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "distill_in_three_lines.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run_cells(capsys, shorter=()):
    """Run the code of the notebook and return the counts that it prints."""
    cells = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    assert len(cells) == 3
    code = "\n\n".join(cells)
    for text, replacement in shorter:
        assert text in code
        code = code.replace(text, replacement)
    exec(compile(code, str(NOTEBOOK), "exec"), {"__name__": "__main__"})
    last_line = capsys.readouterr().out.splitlines()[-1]
    return ast.literal_eval(last_line.partition(": ")[2])


def test_outputs_are_not_stored_in_the_repository():
    assert all(not cell.get("outputs") for cell in CELLS)


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shorter = [("epochs=100", "epochs=12"), ("epochs=20", "epochs=6")]
    correct = run_cells(capsys, shorter)
    assert list(correct) == ["teacher", "control", "distilled"]
    assert correct["teacher"] > 500
    assert min(correct["control"], correct["distilled"]) > 300


@pytest.mark.slow
def test_the_whole_notebook_gives_accurate_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    correct = run_cells(capsys)
    assert correct["teacher"] > 550
    assert min(correct["control"], correct["distilled"]) > 500
