"""Settings of the group ``teacher``."""

from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.teacher.answer_files.read import Answers

ANSWERS_KEYS = ("answers", "kind", "every_view")
TEACHER_KEYS = (
    "model",
    "views",
    "epochs",
    "batch_size",
    "optimizer",
    "members",
    "combine",
    "seed",
    "from",
    "key",
    "trust_pickle",
    *ANSWERS_KEYS,
)
NO_TEACHER_KEYS = ("model", "from", "key", "trust_pickle", *ANSWERS_KEYS)


def take_answers(settings: dict[str, Any]) -> Answers | None:
    """Remove the settings of a file of answers, and create the teacher that they describe.

    Args:
        settings: Settings of the group ``teacher``.

    Returns:
        The file of answers; None if the teacher is a model.

    Raises:
        ConfigError: If a setting is of the wrong type, or contradicts another.
    """
    answers = {key: settings.pop(key, None) for key in ANSWERS_KEYS}
    source = answers["answers"]
    if source is None:
        unused = [key for key in ("kind", "every_view") if answers[key]]
        if unused:
            raise ConfigError(
                f"teacher.{unused[0]} is for a file of answers. Set teacher.answers=FILE, too."
            )
        return None
    if not isinstance(source, str):
        raise ConfigError(f"teacher.answers={source!r} should be the path of a file or folder.")
    if settings.get("from") is not None:
        raise ConfigError("teacher.answers and teacher.from cannot be combined. Set only one.")
    every_view = answers["every_view"]
    return Answers(
        source,
        kind=answers["kind"],
        combine=settings.get("combine", "probabilities"),
        every_view=False if every_view is None else every_view,
    )


def as_list(source: Any) -> list[str] | None:
    """Return one or several sources of a teacher as a list of strings."""
    if source is None:
        return None
    sources = source if isinstance(source, list) else [source]
    return [str(path) for path in sources]
