"""Settings of the group ``teacher``."""

from collections.abc import Mapping
from typing import Any

from limbeck._base.checks import check_keys
from limbeck._base.errors import ConfigError
from limbeck.cli.config.objects import ObjectFactory
from limbeck.study.arms import Teacher
from limbeck.teacher.answer_files.read import Answers

ANSWERS_KEYS = ("answers", "kind", "every_view")
FORM_KEYS = ("classes", "map", "outputs", "normalization", "size")
MEMBER_KEYS = ("from", "model", "key", "trust_pickle", *FORM_KEYS)
"""Settings of one of several teachers that are loaded."""
SOURCE_KEYS = ("from", "key", "trust_pickle", "check", *FORM_KEYS, *ANSWERS_KEYS)
"""Settings of a teacher that is there already."""
TEACHER_KEYS = (
    "model",
    "views",
    "epochs",
    "batch_size",
    "optimizer",
    "members",
    "combine",
    "seed",
    *SOURCE_KEYS,
)
ESTIMATOR_KEYS = ("model", "estimator", "folds", "members", "combine", "seed", *SOURCE_KEYS)
NO_TEACHER_KEYS = ("model", *SOURCE_KEYS)


def teacher_keys(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that the group ``teacher`` may have.

    Args:
        settings: Settings of the group.
    """
    if "estimator" in settings:
        return ESTIMATOR_KEYS
    is_trained = settings.get("model") is not None or "epochs" in settings
    return TEACHER_KEYS if is_trained else NO_TEACHER_KEYS


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


def checks_teacher(settings: Mapping[str, Any]) -> bool:
    """Whether an existing teacher is examined.

    Args:
        settings: Settings of the group ``teacher``.

    Raises:
        ConfigError: If the setting is neither true nor false.
    """
    check = settings.get("check", True)
    if not isinstance(check, bool):
        raise ConfigError(f"teacher.check={check!r} should be true or false.")
    return check


def take_form(settings: dict[str, Any]) -> dict[str, Any]:
    """Remove the settings of the inputs and outputs of a teacher, and return those that are set.

    Args:
        settings: Settings of the group ``teacher``.
    """
    form = {key: settings.pop(key, None) for key in FORM_KEYS}
    return {key: value for key, value in form.items() if value not in (None, "logits")}


def check_no_form(form: Mapping[str, Any]) -> None:
    """Check that no setting describes a teacher from files, because there is none.

    Raises:
        ConfigError: If one does.
    """
    if form:
        raise ConfigError(
            f"teacher.{next(iter(form))} describes a model from files. Set teacher.from, or remove "
            "it."
        )


def sources_of(source: Any, objects: ObjectFactory) -> list[str | Teacher] | None:
    """Return one or several sources of a teacher.

    Args:
        source: Path, mapping of :data:`MEMBER_KEYS`, or list of both.
        objects: Factory of the models that the weights belong to.

    Raises:
        ConfigError: If a mapping has unknown keys, or values of the wrong type.
    """
    if source is None:
        return None
    sources: list[str | Teacher] = []
    for number, item in enumerate(source if isinstance(source, list) else [source]):
        if isinstance(item, Mapping):
            sources.append(_member(dict(item), f"teacher.from[{number}]", objects))
        else:
            sources.append(str(item))
    return sources


def _member(settings: dict[str, Any], where: str, objects: ObjectFactory) -> Teacher:
    check_keys(settings, MEMBER_KEYS, where)
    form = take_form(settings)
    path, model = settings.get("from"), settings.get("model")
    if not isinstance(path, str):
        raise ConfigError(f"{where}.from={path!r} should be the path of a model.")
    if isinstance(model, Mapping):
        model = objects.create_function({"_partial_": True, **model}, f"{where}.model")
    elif model is not None:
        raise ConfigError(
            f"{where}.model={model!r} should be a group of settings with _target_, as in "
            "{_target_: limbeck.models.TorchvisionModel, name: resnet50}."
        )
    return Teacher(
        source=[path],
        model=model,
        key=key_of(settings.get("key")),
        trust_pickle=check_trust(settings.get("trust_pickle", False), where),
        **form,
    )


def key_of(key: Any) -> str | None:
    """Return the key of a model in a file as text; None if there is none."""
    return None if key is None else str(key)


def check_trust(trust: Any, where: str = "teacher") -> bool:
    """Check that ``trust_pickle`` is true or false, and return it.

    Raises:
        ConfigError: If it is neither.
    """
    if not isinstance(trust, bool):
        raise ConfigError(f"{where}.trust_pickle={trust!r} should be true or false.")
    return trust
