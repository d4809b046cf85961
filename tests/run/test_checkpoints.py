"""Names of the checkpoints of a run folder."""

from limbeck.run.checkpoints import checkpoint_files


def test_files_are_listed_by_step(tmp_path):
    for name in ("step9.ckpt", "step10.ckpt", "stepx.ckpt", ".step11.ckpt.1-01234567.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "step12.ckpt").mkdir()
    assert [file.name for file in checkpoint_files(tmp_path)] == ["step10.ckpt", "step9.ckpt"]
    assert checkpoint_files(tmp_path / "missing") == []
