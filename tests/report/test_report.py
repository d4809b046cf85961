import json
import re
import shutil
import stat
from html.parser import HTMLParser

import numpy as np
import pytest
from support.report_runs import HOSTILE, build_run, build_text_run, load_summary

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.report.details import teachers_answers
from limbeck.report.page import write_report
from limbeck.report.wording import headlines

VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags in order, tables as rows of text, and a check that every element is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.tables, self.open, self.text = [], {}, [], []
        self.table = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open) and "small" not in self.open:
            self.table[-1][-1] += data


def page_of(run) -> tuple[str, Page]:
    html = write_report(run).read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    return html, page


@pytest.mark.parametrize("run", ["full_run", "small_run", "hostile_run", "text_run"])
def test_one_file_that_loads_nothing(run, request):
    html, page = page_of(request.getfixturevalue(run))
    for tag, attributes in page.tags:
        assert tag not in (
            "script",
            "link",
            "iframe",
            "img",
            "image",
            "object",
            "embed",
            "base",
            "use-external",
        )
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "data", "srcset", "action"):
                assert value.startswith("#"), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)", html)
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) <= {"http://www.w3.org/2000/svg"}
    assert sum(tag == "svg" for tag, _ in page.tags) == (2 if "Bits per byte" in html else 4)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("run", ["full_run", "small_run", "hostile_run"])
def test_the_verdict_comes_before_the_first_table(run, request):
    run = request.getfixturevalue(run)
    _, page = page_of(run)
    text = "".join(page.text).replace("\u00a0", " ")
    for _, sentence in headlines(load_summary(run)):
        assert text.index(sentence) < text.index("Test errors")
    classes = [a.get("class", "") for t, a in page.tags]
    tags = [tag for tag, _ in page.tags]
    assert next(i for i, c in enumerate(classes) if "verdict " in c) < tags.index("table")


@pytest.mark.parametrize("run", ["full_run", "small_run"])
def test_the_numbers_are_those_of_the_summary(run, request):
    run = request.getfixturevalue(run)
    summary = load_summary(run)
    _, page = page_of(run)
    head, *rows = page.tables["results"]
    expected = [("teacher", summary["teacher"]["test"], None)] if summary["teacher"] else []
    expected += [(arm["name"], arm["mean"], arm["sd"]["errors"]) for arm in summary["arms"]]
    assert len(rows) == len(expected)
    for row, (name, mean, sd) in zip(rows, expected, strict=True):
        cells = dict(zip(head, row, strict=True))
        assert cells["Arm"] == name
        assert cells["Test errors"] == (
            f"{mean['errors']:.0f}" if sd is None else f"{mean['errors']:.1f} ± {sd:.1f}"
        )
        assert cells["Accuracy"] == f"{100 * mean['accuracy']:.2f} %"
        assert cells["NLL"] == f"{mean['nll']:.4f}"
        assert cells["ECE"] == f"{mean['ece']:.4f}"
        if summary["teacher"] and name != "teacher":
            assert cells["Agreement"] == f"{100 * mean['agreement']:.2f} %"
            assert cells["KL to teacher"] == f"{mean['kl_to_teacher']:.4f}"
    assert ("Agreement" in head) == (summary["teacher"] is not None)


def test_comparisons_and_seeds(full_run):
    summary = load_summary(full_run)
    _, page = page_of(full_run)
    for row, comparison in zip(page.tables["comparisons"][1:], summary["comparisons"], strict=True):
        delta = comparison["delta_errors"]
        shown = [f"{abs(v):.1f}" for v in (delta["mean"], *delta["ci95"])]
        assert row[:2] == [comparison["arm"], comparison["control"]]
        assert re.findall(r"[\d.]+", row[2] + " " + row[3]) == shown
        assert row[4] == "0.0004"
        assert row[5] == f"{100 * comparison['gap_closed']['errors']:.0f} %"
        assert row[-1] == comparison["verdict"]
    by_name = {row[0]: row[1:] for row in page.tables["seeds"][1:]}
    for arm in summary["arms"]:
        assert by_name[arm["name"]] == [str(seed["test"]["errors"]) for seed in arm["seeds"]]
    changes = [
        f"{v:+d}".replace("-", "−") for v in summary["comparisons"][0]["delta_errors"]["per_seed"]
    ]
    assert by_name["soft against hard"] == changes


def test_the_numbers_of_text_are_those_of_the_summary(text_run):
    summary = load_summary(text_run)
    _, page = page_of(text_run)
    head, *rows = page.tables["results"]
    assert head[1:6] == ["Bits per byte", "Perplexity", "Nats per token", "Accuracy (top-1)", "ECE"]
    for row, arm in zip(rows[1:], summary["arms"], strict=True):
        cells, mean = dict(zip(head, row, strict=True)), arm["mean"]
        assert (
            cells["Bits per byte"]
            == f"{mean['bits_per_byte']:.3f} ± {arm['sd']['bits_per_byte']:.3f}"
        )
        assert cells["Perplexity"] == f"{mean['perplexity']:.2f}"
        assert cells["Nats per token"] == f"{mean['nll']:.4f}"
    head, *rows = page.tables["comparisons"]
    assert head == ["Arm", "Control", "Change", "95 % interval", "p", "Gap closed", "Verdict"]
    for row, comparison in zip(rows, summary["comparisons"], strict=True):
        delta = comparison["delta_bits_per_byte"]
        digits = 3 if abs(delta["mean"]) >= 0.01 else 4
        shown = [f"{abs(value):.{digits}f}" for value in (delta["mean"], *delta["ci95"])]
        assert re.findall(r"[\d.]+", row[2] + " " + row[3]) == shown
        assert row[5] == f"{100 * comparison['gap_closed']['nll']:.0f} %".replace("-", "−")
    low, high = (
        f"{100 * bound:.0f} %" for bound in summary["comparisons"][0]["gap_closed"]["nll_ci95"]
    )
    assert f"{low} to {high}" in page.text
    by_name = {row[0]: row[1:] for row in page.tables["seeds"][1:]}
    for arm in summary["arms"]:
        assert by_name[arm["name"]] == [
            f"{seed['test']['bits_per_byte']:.4f}" for seed in arm["seeds"]
        ]
    changes = summary["comparisons"][0]["delta_bits_per_byte"]["per_seed"]
    assert by_name["soft against hard"] == [f"{value:+.4f}".replace("-", "−") for value in changes]


def test_a_page_of_text_speaks_of_text(text_run):
    html, page = page_of(text_run)
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    for word in (
        "McNemar",
        "test errors",
        "test samples",
        "Recall",
        "Reliability",
        "classes",
        "missing from",
    ):
        assert word not in html
    assert [row[-1] for row in page.tables["objectives"]] == ["Epochs", "12", "12", "24", "12"]
    text = " ".join("".join(page.text).split("\n"))
    for words in (
        "bpe-50, a vocabulary of 50",
        "900 to train, 60 to validate, 60 to test, of 16 tokens each",
        "14,400 to train, 960 to validate, 960 to test (3,840 bytes)",
        "Teacher's answerssampled, 12 of 50 tokens, 36 bytes a token",
    ):
        assert words in text


@pytest.mark.parametrize("changes", [{"seeds": 1}, {"teacher": False}])
def test_text_with_one_seed_or_without_a_teacher(tmp_path, changes):
    _, page = page_of(build_text_run(tmp_path, **changes))
    assert ("seeds" in page.tables) == ("seeds" not in changes)
    gaps = [row[-2] for row in page.tables["comparisons"][1:]]
    assert (gaps == ["–"] * 3) == ("teacher" in changes)


def test_what_is_judged_is_named_or_errors(full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    plain = write_report(run).read_bytes()
    summary = load_summary(run)
    (run / "summary.json").write_text(json.dumps(summary | {"measure": "errors"}))
    assert write_report(run).read_bytes() == plain
    (run / "summary.json").write_text(json.dumps(summary | {"measure": "smell"}))
    with pytest.raises(UntrustedFileError, match="'smell'"):
        write_report(run)


@pytest.mark.parametrize(
    ("stores", "text"),
    [
        (None, ""),
        ({}, ""),
        ([], ""),
        ({"a": 1}, ""),
        ({"a": {"rows": 5, "views": "none", "dtype": "float16"}}, ""),
        ({"a": {"kind": "dense", "k": 0, "record_bytes": 512}}, "dense, 512 bytes a token"),
        ({"a": {"kind": "topk", "k": 12}}, "top-K, 12 of 4,096 tokens"),
        ({"a": {"kind": "sampled"}}, "sampled"),
        (
            {"a": {"kind": "topk", "k": 3}, "b": {"kind": "topk", "k": 3}, "c": {"kind": "dense"}},
            "top-K, 3 of 4,096 tokens; dense",
        ),
    ],
)
def test_the_teachers_answers_as_the_manifest_has_them(stores, text):
    summary = {"data": {"classes": 4096, "tokenizer": "bpe-4096"}}
    assert teachers_answers(summary, {"stores": stores}) == text
    images = teachers_answers(
        {"data": {"classes": 10}}, {"stores": {"a": {"kind": "dense", "record_bytes": 20}}}
    )
    assert images == "dense, 20 bytes an answer"


def test_costs_and_settings(full_run):
    _, page = page_of(full_run)
    assert page.tables["models"][1] == [
        "teacher",
        "mlp 784-1200-1200-10",
        "2,395,210",
        "100 %",
        "32 s",
    ]
    assert page.tables["models"][2] == [
        "hard",
        "mlp 784-800-800-10",
        "1,276,810",
        "53.3 %",
        "4.2 s",
    ]
    assert page.tables["stages"][-1] == ["In all", "3 min 41 s"]
    assert page.tables["objectives"][1][1] == "labels only"
    text = "".join(page.text)
    for setting in (
        "torch 2.10.0",
        "cuda:0 Some GPU",
        "31.2 GiB",
        "limbeck run mnist <a>",
        "0, 1, 2",
    ):
        assert setting in text
    assert "Git commit" not in text


def test_hostile_text_stays_text(hostile_run):
    html, page = page_of(hostile_run)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    names = [row[0] for row in page.tables["results"][1:]]
    assert names == ["teacher", *HOSTILE]


def test_the_page_is_reproducible_readable_and_alone(full_run):
    first = write_report(full_run).read_bytes()
    before = sorted(p.name for p in full_run.iterdir())
    page = write_report(str(full_run))
    assert page == full_run / "report.html"
    assert page.read_bytes() == first
    assert sorted(p.name for p in full_run.iterdir()) == before
    assert page.stat().st_mode & stat.S_IRUSR


def test_missing_files_leave_a_sentence(full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    for name in ("metrics.csv", "predictions.npz", "manifest.json"):
        (run / name).unlink()
    _, page = page_of(run)
    text = "".join(page.text)
    assert "metrics.csv is missing" in text
    assert "predictions.npz is missing" in text
    assert sum(tag == "svg" for tag, _ in page.tags) == 1


def test_an_unfinished_run_is_refused(full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    (run / "report.html").unlink(missing_ok=True)
    (run / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"summary\.json is missing"):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.npz", b"PK\x03\x04 not a zip"),
        ("predictions.npz", b""),
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
def test_a_damaged_file_is_named(full_run, tmp_path, name, content):
    run = shutil.copytree(full_run, tmp_path / "run")
    (run / name).write_bytes(content)
    with pytest.raises(UntrustedFileError, match=re.escape(str(run / name))) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_is_refused(full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    data = (run / "predictions.npz").read_bytes()
    (run / "predictions.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz"):
        write_report(run)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    (run / "predictions.npz").write_bytes(bytes(flipped))
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz"):
        write_report(run)


def test_optional_keys_may_be_absent(tmp_path):
    run = build_run(tmp_path, arms=("hard", "soft"), seeds=2)
    summary = load_summary(run)
    for arm in summary["arms"]:
        for key in ("control", "views", "seconds"):
            del arm[key]
    del (
        summary["epochs"],
        summary["batch_size"],
        summary["comparisons"][0]["delta_errors"]["per_seed"],
    )
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "manifest.json").write_text(
        json.dumps({"hardware": None, "versions": [], "digests": {}})
    )
    _, page = page_of(run)
    assert "Epochs" not in "".join(page.text)
    assert page.tables["objectives"][1][3] == "–"


def test_a_run_without_arms_or_comparisons(tmp_path):
    run = build_run(tmp_path, arms=("hard",), seeds=1, teacher=False)
    _, page = page_of(run)
    assert "Nothing to compare: hard makes" in "".join(page.text)
    summary = load_summary(run) | {"arms": []}
    (run / "summary.json").write_text(json.dumps(summary))
    np.savez(run / "predictions.npz", labels=np.array([0, 1]), **{"students/gone/seed0": np.eye(2)})
    _, page = page_of(run)
    assert sum(tag == "svg" for tag, _ in page.tags) == 0
