"""TF-IDF and a linear model, the usual first model of texts."""

from collections.abc import Sequence
from typing import Any

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset

MAX_ITERATIONS = 1000
"""Largest number of iterations of the logistic regression."""


def tfidf_classifier(
    data: Dataset,
    *,
    ngrams: Sequence[int] = (1, 2),
    min_count: int = 2,
    c: float = 10.0,
) -> Any:
    """Create scikit-learn's TF-IDF of words and a linear model on it, not yet fitted.

    It is a logistic regression, one for each of several labels; for values a ridge regression.

    Args:
        data: Dataset of the study: texts with labels.
        ngrams: Smallest and largest number of consecutive words that count as one feature.
        min_count: Smallest number of training texts with a feature.
        c: Inverse strength of the L2 penalty.

    Returns:
        A ``Pipeline``.

    Raises:
        ConfigError: If the dataset has no texts, or a value is out of range.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline

    if data.padding is None:
        raise ConfigError(
            f"teacher=tfidf is for texts with labels (data=text_csv), but {data.name} has "
            "other inputs. Choose another teacher."
        )
    lengths = list(ngrams)
    if len(lengths) != 2 or not 1 <= check_count("ngrams", lengths[0]) <= lengths[1]:
        raise ConfigError(f"ngrams={lengths} should be two numbers of words, as in [1, 2].")
    words = TfidfVectorizer(
        ngram_range=(lengths[0], lengths[1]),
        min_df=check_count("min_count", min_count),
        sublinear_tf=True,
    )
    if data.kind.outputs == "values":
        return make_pipeline(words, Ridge(alpha=1 / c))
    model = LogisticRegression(C=c, max_iter=MAX_ITERATIONS)
    if data.kind.outputs == "labels":
        model = MultiOutputClassifier(model)
    return make_pipeline(words, model)
