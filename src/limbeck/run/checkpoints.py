"""Names of the checkpoints and logs of a training in a run folder.

Apart from the code that writes them, so that a process that only copies them starts fast: it needs
no PyTorch.
"""

import re
from pathlib import Path

GENERATIONS = 2
"""Number of checkpoints that a training leaves in its folder."""
LOG_FILE = "metrics.csv"
"""Name of the log of a training."""
_NAME = re.compile(r"step(\d{1,18})\.ckpt")


def checkpoint_files(folder: Path) -> list[Path]:
    """Checkpoints in a folder, the newest first."""
    files = [path for path in folder.glob("step*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(filter(Path.is_file, files), key=step_of, reverse=True)


def step_of(file: Path) -> int:
    """Number of optimizer steps before a checkpoint, from its name."""
    match = _NAME.fullmatch(file.name)
    assert match is not None
    return int(match[1])
