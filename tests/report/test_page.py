import itertools
import json
import re
import shutil
import stat

import numpy as np
import pytest
from support.pages import Page
from support.report_runs import HOSTILE, build_run
from support.svgs import texts

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.printable import printable
from limbeck.report.figures.style import shorten
from limbeck.report.formats import bare_p_value
from limbeck.report.page import write_report
from limbeck.report.wording import headlines
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary

FORBIDDEN = {"script", "link", "iframe", "img", "image", "object", "embed", "base"}
LINKS = ("src", "href", "xlink:href", "data", "srcset", "action")


def summary_of(run):
    return read_summary(RunFolder(run))


def page_of(run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def minus(text):
    return text.replace("-", "−")


@pytest.fixture
def copied_run(small_run, tmp_path):
    return shutil.copytree(small_run, tmp_path / "run")


@pytest.mark.parametrize("name", ["full", "small", "hostile", "text"])
def test_a_page_loads_nothing(pages, name):
    page = pages[name]
    for tag, attributes in page.tags:
        assert tag not in FORBIDDEN
        for attribute, value in attributes.items():
            assert not attribute.startswith("on"), (tag, attribute)
            if attribute in LINKS:
                assert value.startswith("#"), (tag, attribute, value)
    assert not re.search(r"@import|url\((?!#)", page.html)
    assert set(re.findall(r"https?://[^\"'\s<]+", page.html)) <= {"http://www.w3.org/2000/svg"}


def test_a_browser_loads_nothing_for_a_page(pages):
    policies = [
        attributes["content"]
        for tag, attributes in pages["full"].tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; ")
    assert "script-src" not in policies[0]


@pytest.mark.parametrize("name", ["full", "hostile", "text"])
def test_ids_are_unique(pages, name):
    ids = [attributes["id"] for _, attributes in pages[name].tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10


def test_each_kind_of_study_has_its_figures(pages):
    assert pages["full"].figures == ["changes", "errors", "curves", "recall", "reliability"]
    assert pages["text"].figures == ["changes", "bits_per_byte", "curves"]


@pytest.mark.parametrize("name", ["full", "small", "hostile"])
def test_the_verdict_comes_before_the_first_table(pages, name, request):
    page = pages[name]
    before_tables = page.text.partition("Test errors")[0]
    for _, sentence in headlines(summary_of(request.getfixturevalue(f"{name}_run"))):
        assert " ".join(printable(sentence).split()) in before_tables
    tags = [tag for tag, _ in page.tags]
    classes = [attributes.get("class") or "" for _, attributes in page.tags]
    assert next(i for i, c in enumerate(classes) if "verdict " in c) < tags.index("table")


@pytest.mark.parametrize("name", ["full", "small"])
def test_the_results_are_those_of_the_summary(pages, name, request):
    summary = summary_of(request.getfixturevalue(f"{name}_run"))
    head, *rows = pages[name].tables["results"]
    results = [(arm.name, arm.mean, arm.sd.errors) for arm in summary.arms]
    if summary.teacher:
        results.insert(0, ("teacher", summary.teacher.test, None))
    assert [row[0] for row in rows] == [result[0] for result in results]
    for row, (_, mean, sd) in zip(rows, results, strict=True):
        cells = dict(zip(head, row, strict=True))
        errors = f"{mean.errors:.0f}" if sd is None else f"{mean.errors:.1f} ± {sd:.1f}"
        assert cells["Test errors"] == errors
        assert cells["Accuracy"] == f"{100 * mean.accuracy:.2f} %"
        assert cells["NLL"] == f"{mean.nll:.4f}"
        assert cells["ECE"] == f"{mean.ece:.4f}"
        if mean.agreement is not None:
            assert cells["Agreement"] == f"{100 * mean.agreement:.2f} %"
            assert cells["KL to teacher"] == f"{mean.kl_to_teacher:.4f}"
    assert ("Agreement" in head) == (summary.teacher is not None)


def test_the_comparisons_are_those_of_the_summary(pages, full_run):
    rows = pages["full"].tables["comparisons"][1:]
    for row, comparison in zip(rows, summary_of(full_run).comparisons, strict=True):
        delta = comparison.delta_errors
        numbers = [f"{abs(value):.1f}" for value in (delta.mean, *delta.ci95_total)]
        assert row[:2] == [comparison.arm, comparison.control]
        assert re.findall(r"[\d.]+", f"{row[2]} {row[3]}") == numbers
        assert row[4] == bare_p_value(comparison.p_value)
        assert row[5] == f"{100 * comparison.gap_closed.errors:.0f} %"
        assert row[-1] == comparison.verdict


def test_every_seed_has_its_result_and_its_change(pages, full_run):
    summary = summary_of(full_run)
    rows = {row[0]: row[1:] for row in pages["full"].tables["seeds"][1:]}
    for arm in summary.arms:
        assert rows[arm.name] == [str(seed.test.errors) for seed in arm.seeds]
    changes = summary.comparisons[0].delta_errors.per_seed
    assert rows["soft − hard"] == [minus(f"{change:+d}") for change in changes]


def test_the_results_of_text_are_those_of_the_summary(pages, text_run):
    head, *rows = pages["text"].tables["results"]
    assert head[1:6] == ["Bits per byte", "Perplexity", "Nats per token", "Top-1 accuracy", "ECE"]
    for row, arm in zip(rows[1:], summary_of(text_run).arms, strict=True):
        cells = dict(zip(head, row, strict=True))
        mean, sd = arm.mean, arm.sd
        assert cells["Bits per byte"] == f"{mean.bits_per_byte:.3f} ± {sd.bits_per_byte:.3f}"
        assert cells["Perplexity"] == f"{mean.perplexity:.2f}"
        assert cells["Nats per token"] == f"{mean.nll:.4f}"


def test_the_comparisons_of_text_are_in_bits_per_byte(pages, text_run):
    page, comparisons = pages["text"], summary_of(text_run).comparisons
    head, *rows = page.tables["comparisons"]
    assert head == ["Arm", "Control", "Change", "95 % interval", "p", "Gap closed", "Verdict"]
    for row, comparison in zip(rows, comparisons, strict=True):
        delta = comparison.delta_bits_per_byte
        digits = 3 if abs(delta.mean) >= 0.01 else 4
        numbers = [f"{abs(value):.{digits}f}" for value in (delta.mean, *delta.ci95_total)]
        assert re.findall(r"[\d.]+", f"{row[2]} {row[3]}") == numbers
        assert row[5] == minus(f"{100 * comparison.gap_closed.nll:.0f} %")
    low, high = comparisons[0].gap_closed.nll_ci95
    assert f"{100 * low:.0f} % to {100 * high:.0f} %" in page.text
    seeds = {row[0]: row[1:] for row in page.tables["seeds"][1:]}
    changes = comparisons[0].delta_bits_per_byte.per_seed
    assert seeds["soft − hard"] == [minus(f"{change:+.4f}") for change in changes]


def test_a_page_of_text_speaks_of_text(pages):
    page = pages["text"]
    for word in ("McNemar", "test errors", "test samples", "Recall", "Reliability", "classes"):
        assert word not in page.html
    assert [row[-1] for row in page.tables["objectives"]] == ["Epochs", "12", "12", "24", "12"]
    for words in (
        "bpe-50, vocabulary of 50",
        "900 training, 60 validation, 60 test; 16 tokens each",
        "14,400 training, 960 validation, 960 test (3,840 bytes)",
        "sampled, 12 of 50 tokens, 36 bytes per token",
    ):
        assert words in page.text


def test_one_seed_without_a_teacher_has_neither_intervals_nor_gaps(pages):
    page = pages["small"]
    assert "seeds" not in page.tables
    (comparison,) = page.tables["comparisons"][1:]
    assert comparison[3] == comparison[5] == "–"


def test_models_stages_and_settings_are_listed(pages):
    page = pages["full"]
    teacher = ["teacher", "mlp 784-1200-1200-10", "2,395,210", "100 %", "32 s"]
    hard = ["hard", "mlp 784-800-800-10", "1,276,810", "53.3 %", "4.2 s"]
    assert page.tables["models"][1:3] == [teacher, hard]
    assert page.tables["stages"][-1] == ["Total", "3 min 41 s"]
    assert page.tables["objectives"][1][1] == "labels only"
    for setting in ("torch 2.10.0", "cuda:0 Some GPU", "31.2 GiB", "limbeck run mnist <a>"):
        assert setting in page.text
    assert "Git commit" not in page.text


def test_hostile_text_stays_text(pages):
    page = pages["hostile"]
    assert "<script" not in page.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.html
    assert [row[0] for row in page.tables["results"][1:]] == ["teacher", *map(printable, HOSTILE)]
    assert not re.search("[\x1b\x07\u202e]", page.html)
    for svg in re.findall(r"<svg.*?</svg>", page.html, re.DOTALL):
        assert len({shorten(printable(name), 24) for name in HOSTILE} & set(texts(svg))) >= 6


def test_a_page_is_reproducible_and_the_only_file_that_changes(copied_run, pages):
    before = {file.name for file in copied_run.iterdir()}
    page = write_report(str(copied_run))
    assert page == copied_run / "report.html"
    assert page.read_text(encoding="utf-8") == pages["small"].html
    assert {file.name for file in copied_run.iterdir()} == before
    assert page.stat().st_mode & stat.S_IRUSR


def test_a_missing_file_leaves_a_sentence_in_place_of_its_figures(copied_run):
    for name in ("metrics.csv", "predictions.npz", "manifest.json"):
        (copied_run / name).unlink()
    page = page_of(copied_run)
    assert "training curves are missing because the run has no metrics.csv" in page.text
    assert "reliability are missing because the run has no predictions.npz" in page.text
    assert page.figures == ["errors"]


def test_an_unfinished_run_is_refused(copied_run):
    (copied_run / "report.html").unlink(missing_ok=True)
    (copied_run / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"summary\.json is missing"):
        write_report(copied_run)
    assert not (copied_run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.csv", b"stage,arm,seed,epoch,metric,value\nstudents,soft,x,0,val_acc,0.5\n"),
        ("metrics.csv", b"stage,arm,seed\nstudents,soft,0\n"),
        ("metrics.csv", b"arm,seed,epoch,metric,value\nsoft,0,0,val_acc,0.5\n"),
        ("metrics.csv", b"stage,arm,seed,epoch,metric,value\nstudents,soft,0\n"),
        ("metrics.csv", b"\xff\xfe\x00"),
        ("metrics.csv", b"stage,arm,seed,epoch,metric,value\nstudents,soft,0,-3,val_acc,0.5\n"),
        ("summary.json", b"{"),
        ("manifest.json", b"[]"),
    ],
)
def test_a_damaged_file_is_named(copied_run, name, content):
    (copied_run / name).write_bytes(content)
    file = re.escape(str(copied_run / name))
    with pytest.raises(UntrustedFileError, match=file) as error:
        write_report(copied_run)
    assert "\n" not in str(error.value)


def test_optional_keys_may_be_absent(tmp_path):
    run = build_run(tmp_path, arms=("hard", "soft"), seeds=2, classes=2)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    for arm in summary["arms"]:
        for key in ("control", "views", "seconds"):
            del arm[key]
    for key in ("epochs", "batch_size"):
        del summary[key]
    del summary["comparisons"][0]["delta_errors"]["per_seed"]
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "manifest.json").write_text(json.dumps({"hardware": None, "digests": {}}))
    for name in ("metrics.csv", "predictions.npz"):
        (run / name).unlink()
    page = page_of(run)
    assert "Epochs" not in page.text
    assert page.tables["objectives"][1][3] == "–"


def test_a_run_without_arms_has_no_figures(tmp_path):
    run = build_run(tmp_path, arms=(), teacher=False)
    np.savez(run / "predictions.npz", labels=np.array([0, 1]), **{"students/gone/seed0": np.eye(2)})
    assert page_of(run).figures == []


@pytest.mark.slow
def test_pages_of_very_many_arms_and_very_long_names_stay_small(tmp_path):
    folder = build_run(
        tmp_path / "run",
        arms=[f"arm{number}" for number in range(500)],
        seeds=1,
        classes=20,
        class_names=[f"{number} {'c' * 10_000}" for number in range(20)],
        recipe="r" * 100_000,
    )
    assert write_report(folder).stat().st_size < 2 << 20


@pytest.mark.parametrize("name", ["full", "small", "hostile", "text"])
def test_a_screen_reader_finds_its_way(pages, name):
    page = pages[name]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") > 2
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert f'<title id="{attributes["aria-labelledby"]}">' in page.html
        if tag == "a":
            assert f'id="{attributes["href"].removeprefix("#")}"' in page.html


@pytest.mark.parametrize("name", ["full", "text"])
def test_the_top_answers_the_questions_of_a_newcomer(pages, name):
    top = pages[name].html.partition("<table")[0]
    for question in ("By how much?", "How sure is it?", "What was compared?", "On what data?"):
        assert f"<dt>{question}</dt>" in top
    assert "What to do next" in top
    for arm in ("hard", "soft", "teacher"):
        assert arm in top.partition('class="levels"')[2]


def test_cells_carry_their_heading_for_narrow_screens(pages):
    labels = [attributes.get("data-label") for tag, attributes in pages["full"].tags if tag == "td"]
    assert {"Test errors", "95 % interval", "Verdict", "Relative size"} <= set(labels)
    assert all(labels)
