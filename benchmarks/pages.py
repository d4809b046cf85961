"""Pages of docs/results/: tables and goals from results.json, text written by hand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from page_tables import (
    Entry,
    adjusted_table,
    arms_to_list,
    comparisons_table,
    goals_table,
    markdown_table,
    mean_and_sd,
    results_table,
    wording_of,
)

from limbeck.cli.config.groups import CONF
from limbeck.report.formats import MISSING, plural, seconds, seeds_and_splits
from limbeck.run.comparison import Comparison
from limbeck.run.records import from_json

INDEX = """\
There is one page per recipe, and one for searches of `limbeck fit`, with the command, commit,
machine, time, results of every arm, and whether the goals were met. The table shows test errors
(for text, bits per byte; for regression, the squared error), mean ± standard deviation over seeds,
of the arm that is best on the validation split and of its control.
[results.json](results.json) contains the same numbers for programs. See also [Speed](speed.md) and
[Exported students](export.md)."""


def write_pages(
    record: Mapping[str, Any], folder: Path, without: Mapping[str, str]
) -> Iterator[Path]:
    """Write a page for each recipe and the list of all results; yield their paths.

    Args:
        record: Content of results.json.
        folder: Folder of the pages; the file ``introductions/index.md`` opens the list.
        without: Reason for each recipe that has no page.
    """
    for name in dict.fromkeys(page_name(entry) for entry in record["entries"]):
        page = folder / f"{name}.md"
        text = _introduction(folder, name)
        page.write_text(page_of(name, record, text), encoding="utf-8")
        yield page
    index = folder / "index.md"
    text = _introduction(folder, "index")
    index.write_text(index_of(record, without, text), encoding="utf-8")
    yield index


def _introduction(folder: Path, name: str) -> str:
    """Return the text of a page that is written by hand, which may be empty."""
    file = folder / "introductions" / f"{name}.md"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def page_name(entry: Entry) -> str:
    """Return the name of the page of an entry: its recipe, or ``fit`` for all searches."""
    return entry.get("page", entry["recipe"])


def page_of(name: str, record: Mapping[str, Any], text: str) -> str:
    """Return the page of a recipe, or that of all searches.

    Args:
        name: Name of the page.
        record: Content of results.json.
        text: Text written by hand: a title and the answer, a line of three dashes, and remarks. It
            may be empty.
    """
    entries = [entry for entry in record["entries"] if page_name(entry) == name]
    opening, _, ending = text.strip().partition("\n---\n")
    if not opening.strip():
        opening = "\n\n".join([f"# {name}: {about(entries[0]['recipe'])}", *entries[0]["headline"]])
    parts = [opening.strip()]
    for entry in entries:
        if len(entries) > 1:
            parts.append(f"## {entry['name']}")
        parts += _sections(entry)
    if ending.strip():
        parts.append(ending.strip())
    return "\n\n".join(parts) + "\n"


def about(recipe: str) -> str:
    """Return the first comment of a recipe."""
    file = CONF / "recipe" / f"{recipe}.yaml"
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def _sections(entry: Entry) -> Iterator[str]:
    """Yield the parts of a page that belong to one entry."""
    yield f"    {entry['command']}"
    yield _facts(entry)
    if "search" in entry:
        yield from _search(entry["search"])
    names = arms_to_list(entry)
    yield results_table(entry, names)
    hidden = len(entry["arms"]) - len(names)
    if hidden:
        yield f"{plural(hidden, 'more arm')} in [results.json](results.json)."
    if entry["comparisons"]:
        yield comparisons_table(entry, names)
    if entry.get("adjusted"):
        yield adjusted_table(entry["adjusted"])
    for figure in entry["figures"]:
        yield f"![{figure['title']}]({figure['file']})\n\n*{figure['title']}.* {figure['caption']}"
    if entry["warnings"]:
        warnings = "\n".join(f"* {warning}" for warning in entry["warnings"])
        yield f"Warnings of the run:\n\n{warnings}"
    if entry["goals"]:
        yield goals_table(entry["goals"])


def _search(search: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a search did and its Pareto front."""
    yield "\n".join(f"* {sentence}" for sentence in search["sentences"])
    yield "Pareto front of the search, on the validation split:"
    rows = [[cell.replace("\n", ", ") for cell in row] for row in search["rows"]]
    yield markdown_table(search["heading"], rows)


def _facts(entry: Entry) -> str:
    """Return commit, machine, time and sizes in a paragraph."""
    durations = entry["seconds"]
    stages = ", ".join(
        f"{name} {seconds(duration)}"
        for name, duration in durations.items()
        if name != "total" and duration
    )
    return (
        f"limbeck {entry['versions']['limbeck']} at {_commit(entry['commit'])}, "
        f"torch {entry['versions']['torch']}, {_machine(entry['hardware'])}, "
        f"{entry['precision']}, {entry['date']}. Wall time {seconds(durations['total'])} "
        f"({stages}). {_sizes(entry['data'])}; the study used the test split once, at the end. "
        f"Students: {plural(entry['epochs'], 'epoch')}, batches of {entry['batch_size']:,}, "
        f"{seeds_and_splits(entry['seeds'], entry.get('splits'))}. Mean ± standard "
        "deviation over seeds."
    )


def _commit(commit: str | None) -> str:
    if not commit:
        return "an unknown commit"
    changes = " with changes" if commit.endswith("+") else ""
    return f"commit `{commit[:7]}`{changes}"


def _machine(hardware: Mapping[str, Any]) -> str:
    parts = [f"{plural(hardware['cores'], 'core')} of {hardware['cpu']}"]
    return ", ".join([*parts, *(hardware.get("devices") or [])])


def _sizes(data: Mapping[str, Any]) -> str:
    if "tokens" not in data:
        return (
            f"{data['train']:,} training samples, {data['val']:,} validation samples, "
            f"{data['test']:,} test samples"
        )
    tokens = data["tokens"]
    return (
        f"{tokens['train']:,} training tokens ({data['tokenizer']}, blocks of {data['block']}), "
        f"{tokens['val']:,} validation tokens, {tokens['test']:,} test tokens "
        f"({data['bytes']['test']:,} bytes)"
    )


# The list of results ------------------------------------------------------------------------------


def index_of(record: Mapping[str, Any], without: Mapping[str, str], text: str) -> str:
    """Return the list of all results: a text written by hand, and a row for each entry."""
    recorded = sorted({page_name(entry) for entry in record["entries"]})
    heading = ["recipe", "data, test", "seeds", "control", "distilled", "teacher", "verdict"]
    heading += ["goals met", "time"]
    parts = [
        "# Results",
        *filter(None, [text]),
        "## All studies",
        INDEX,
        markdown_table(heading, [_index_row(entry) for entry in record["entries"]]),
    ]
    missing = [
        f"* `{name}`: {reason}" for name, reason in sorted(without.items()) if name not in recorded
    ]
    if missing:
        parts.append("These recipes have no page yet:\n\n" + "\n".join(missing))
    pages = "\n".join([*recorded, "export", "speed"])
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```")
    return "\n\n".join(parts) + "\n"


def _index_row(entry: Entry) -> list[str]:
    words = wording_of(entry)
    control = distilled = verdict = teacher = goals = MISSING
    arms = {arm["name"]: arm for arm in entry["arms"]}
    for content in entry["comparisons"]:
        if content.get("main"):
            main = from_json(Comparison, content, where="results.json")
            control = mean_and_sd(arms[main.control], words)
            distilled = mean_and_sd(arms[main.arm], words)
            verdict = f"{main.verdict}: {words.change(main)}"
    if entry["teacher"]:
        teacher = words.number(entry["teacher"]["test"].get(words.measure.key))
    if entry["goals"]:
        met = sum(goal["met"] is True for goal in entry["goals"])
        goals = f"{met} of {len(entry['goals'])}"
    size = entry["data"].get("tokens", entry["data"])["test"]
    return [
        f"[{entry['name']}]({page_name(entry)}.md)",
        f"{entry['data']['name']}, {size:,}",
        str(entry["seeds"]),
        control,
        distilled,
        teacher,
        verdict,
        goals,
        seconds(entry["seconds"]["total"]),
    ]
