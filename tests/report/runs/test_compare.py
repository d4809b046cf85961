"""Runs of one data set, compared over the same test samples."""

import json
import shutil

import numpy as np
import pytest
import torch
from support.compared_runs import make_run, make_text_run, wrong
from support.summaries import make_metrics

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.evaluation.comparison import ArmTokens, compare_language_models
from limbeck.evaluation.multiple_tests import holm
from limbeck.evaluation.statistics import crossed_test
from limbeck.evaluation.text import TokenScores
from limbeck.report.runs.compare import compare_runs
from limbeck.report.runs.page import render
from limbeck.report.runs.sentences import headlines, remarks
from limbeck.report.runs.tables import differences
from limbeck.run.summary import TeacherResult


def make_teacher(errors):
    return TeacherResult(name="net", params=9000, test=make_metrics(errors))


def difference(soft, seeds=range(3), shift=0):
    """Paired differences of the arm soft from that of the run with the rate 0.1."""
    rows = [
        wrong(soft, 1000 + shift + seed).astype(int) - wrong(0.1, 1000 + seed) for seed in seeds
    ]
    return np.stack(rows)


@pytest.fixture
def runs(tmp_path):
    return [
        make_run(tmp_path / "runs" / "a"),
        make_run(tmp_path / "runs" / "b", soft=0.2, shift=7),
        make_run(tmp_path / "runs" / "c", soft=0.11, shift=9, seeds=(2, 3, 4)),
    ]


def test_two_runs_are_compared_by_the_crossed_test_over_seeds_and_samples(runs):
    result = compare_runs(runs[:2])
    (entry,) = result.summary.comparisons
    expected = crossed_test(difference(0.2, shift=7))
    assert (entry.arm, entry.control) == ("b/soft", "a/soft")
    assert entry.p_value == pytest.approx(expected.p_value)
    assert entry.delta_errors.ci95_total == pytest.approx(expected.ci95)
    assert entry.verdict == "hurts"
    assert headlines(result)[0].text.startswith("Worse: b/soft makes ")


def test_all_pairs_are_corrected_by_holm(runs):
    entries = compare_runs(runs).summary.comparisons
    assert [(entry.arm[0], entry.control[0]) for entry in entries] == [
        *map(tuple, ("ba", "ca", "cb"))
    ]
    assert [entry.p_holm for entry in entries] == pytest.approx(
        holm([entry.p_value for entry in entries])
    )


def test_other_seeds_are_paired_in_their_order_and_the_reader_learns_it(runs):
    result = compare_runs([runs[0], runs[2]])
    rows = {seed: wrong(0.11, 1009 + seed).astype(int) for seed in (2, 3, 4)}
    pairs = [(0, 3), (1, 4), (2, 2)]
    expected = crossed_test(
        np.stack([rows[other] - wrong(0.1, 1000 + own) for own, other in pairs])
    )
    assert result.summary.comparisons[0].p_value == pytest.approx(expected.p_value)
    assert "The runs have different seeds (a: 0 to 2; c: 2 to 4)" in " ".join(remarks(result))
    assert "their seeds differ" in " ".join(remarks(result))


def test_one_common_seed_gives_no_verdict(tmp_path):
    runs = [make_run(tmp_path / name, seeds=seeds) for name, seeds in (("a", (0,)), ("b", (0, 1)))]
    result = compare_runs(runs)
    assert result.summary.comparisons[0].verdict == "not shown"
    assert "one pair of seeds, so no interval" in headlines(result)[0].text


def test_equal_controls_are_one_row_and_others_are_two(runs, tmp_path):
    names = [arm.name for arm in compare_runs(runs[:2]).summary.arms]
    assert names == ["a/soft", "b/soft", "a/hard, b/hard"]
    assert "give the same results" in " ".join(remarks(compare_runs(runs[:2])))
    other = make_run(tmp_path / "runs" / "d", hard=0.4)
    result = compare_runs([runs[0], other])
    assert [arm.name for arm in result.summary.arms][2:] == ["a/hard", "d/hard"]
    assert "the machine, its number of threads or a version differs" in " ".join(remarks(result))


def test_the_user_chooses_the_arm(runs):
    result = compare_runs(runs[:2], arm="hard")
    assert [arm.name for arm in result.summary.arms] == ["a/hard", "b/hard"]
    assert result.summary.comparisons[0].p_value == 1.0
    with pytest.raises(ConfigError, match=r"a has no arm 'dkd'. Its arms are hard, soft"):
        compare_runs(runs[:2], arm="dkd")


def test_text_is_compared_by_segments_as_in_a_study(tmp_path):
    first, first_nll = make_text_run(tmp_path / "a", 1.0)
    second, second_nll = make_text_run(tmp_path / "b", 0.98)

    def arm(nll):
        rows = [torch.tensor(part) for part in nll]
        return ArmTokens("soft", [TokenScores(row, row > 0, row) for row in rows])

    expected = compare_language_models(arm(second_nll), arm(first_nll), 4000)
    (entry,) = compare_runs([first, second]).summary.comparisons
    assert entry.p_value == pytest.approx(expected.p_value, rel=1e-4)
    assert entry.delta_bits_per_byte.mean == pytest.approx(expected.delta_bits_per_byte.mean, 1e-4)
    assert entry.verdict == "helps"
    assert "bits per byte" in render(compare_runs([first, second]))


def test_what_differs_is_listed(runs, tmp_path):
    digests = {"data": "a" * 64, "teacher": "c" * 64}
    other = make_run(tmp_path / "runs" / "d", summary={"quick": True}, digests=digests)
    result = compare_runs([runs[0], other])
    names = [row[0] for row in differences(result).rows]
    assert names == ["teacher"]
    assert "different teachers" in " ".join(remarks(result))
    assert "Quick runs (d) are smoke tests" in " ".join(remarks(result))
    assert result.summary.teacher is None


def test_teachers_without_digests_are_told_apart_by_their_results(runs, tmp_path):
    """Such as several teachers, or answers from a file."""
    digests = {"data": "a" * 64}
    teachers = [make_teacher(5), make_teacher(6)]
    first, second = (
        make_run(tmp_path / f"runs{number}", digests=digests, summary={"teacher": teacher})
        for number, teacher in enumerate(teachers)
    )
    same = make_run(tmp_path / "runs2", digests=digests, summary={"teacher": teachers[0]})
    assert compare_runs([first, second]).summary.teacher is None
    assert "different teachers" in " ".join(remarks(compare_runs([first, second])))
    assert compare_runs([first, same]).summary.teacher == teachers[0]
    assert "different teachers" not in " ".join(remarks(compare_runs([first, same])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "c" * 64}, "the digest of the data (cccccccccccc and aaaaaaaaaaaa)"),
        ({"digests": {}}, "the digest of the data (none and aaaaaaaaaaaa)"),
    ],
)
def test_runs_of_other_data_are_not_compared(runs, tmp_path, change, words):
    other = make_run(tmp_path / "other", **change)
    with pytest.raises(ConfigError) as error:
        compare_runs([runs[0], other])
    assert words in str(error.value)


def test_the_message_names_all_that_differs(runs, tmp_path):
    other, _ = make_text_run(tmp_path / "text", 1.0, digest="c" * 64)
    with pytest.raises(ConfigError) as error:
        compare_runs([runs[0], other])
    for words in ("the task (text, 256 tokens and classification, 2 classes)", "the measure ("):
        assert words in str(error.value)
    assert "the test samples (60 and 400)" in str(error.value)


def test_the_digest_alone_is_not_trusted(runs):
    with np.load(runs[1] / "predictions.npz") as arrays:
        content = dict(arrays)
    content["labels"] = 1 - content["labels"]
    np.savez(runs[1] / "predictions.npz", **content)
    with pytest.raises(ConfigError, match=r"the labels in predictions\.npz do not"):
        compare_runs(runs[:2])


def shorten(content):
    content["students/soft/seed1"] = content["students/soft/seed1"][:-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("students/soft/seed1"),
        lambda content: content.pop("labels"),
        lambda content: content.update({"students/soft/seed1": np.array(["x"])}),
        shorten,
    ],
)
def test_damaged_predictions_are_one_message(runs, change):
    with np.load(runs[1] / "predictions.npz") as arrays:
        content = dict(arrays)
    change(content)
    np.savez(runs[1] / "predictions.npz", **content)
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz is damaged"):
        compare_runs(runs[:2])


def test_exchanged_predictions_are_refused(runs):
    file = runs[1] / "manifest.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "files": {"predictions.npz": "0" * 64}}))
    with pytest.raises(UntrustedFileError, match="SHA-256 differs"):
        compare_runs(runs[:2])


def test_another_tokenizer_is_named(runs, tmp_path):
    folders = []
    for number, tokenizer in enumerate(("bpe, 300 tokens", "bpe, 400 tokens")):
        folder = tmp_path / str(number)
        shutil.copytree(runs[number], folder)
        summary = json.loads((folder / "summary.json").read_text())
        summary["data"]["texts_tokenizer"] = tokenizer
        (folder / "summary.json").write_text(json.dumps(summary))
        folders.append(folder)
    with pytest.raises(ConfigError, match=r"tokenizer \(bpe, 400 tokens and bpe, 300 tokens\)"):
        compare_runs(folders)
