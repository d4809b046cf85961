"""Hints for keys that a study does not have, through the composition of settings."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("bogus=1", "Unknown key `bogus`. `limbeck run --cfg job` lists every key."),
        ("lr=0.1", "Unknown key `lr`. Did you mean `optimizer.lr` (default 0.01)?"),
        ("teacher.lr=0.1", "Did you mean `teacher.optimizer.lr` (default"),
        ("temperature=8", "Did you mean `objective.temperature` (default 4.0)?"),
        ("labelled=8", "Did you mean `transfer.labelled` (default 100)?"),
        ("learning_rate=8", "Did you mean `optimizer.lr` (default 0.01)?"),
        ("fp16=true", "Did you mean `trainer.precision` (default 32-true)?"),
        ("objective.alpha=0.5", "Did you mean `objective.soft_weight`"),
        ("data.root=photos", "`data.root` is a setting of data=aptos, cifar10"),
        ("data.root=photos", "as in `data=image_folder data.root=...`."),
        ("root=photos", "`data.root` is a setting of data=aptos, cifar10"),
        (
            "student.strides=[3]",
            "`student.strides` is a setting of student=convnet. Choose it as well, as in",
        ),
        ("objective.lr=1", "Did you mean `optimizer.lr` (default 0.01)?"),
        ("teacher.model.width=3", "is a setting of teacher=bag, encoder, gpt, text_cnn."),
        ("data.num_workers=2", "there are no worker processes. Leave it out."),
        ("hydra.run.dir=x", "For the run folder, use `out=DIR`."),
        ("teacher.checkpoint=x.pt", "use `teacher.from=FILE` or `teacher.from=RUN`."),
        ("objective.temprature=8", "Did you mean `objective.temperature` (default 4.0)?"),
        ("epoch=3", "Did you mean `epochs` (default 60)?"),
    ],
)
def test_an_unknown_key_gets_the_hint_that_helps(override, expected):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert str(caught.value).startswith("Unknown key `")
    assert expected in str(caught.value)
    assert str(caught.value).endswith(".")
