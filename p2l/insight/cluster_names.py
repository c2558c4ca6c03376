"""Names of clusters: the words that are frequent in one and rare elsewhere (c-TF-IDF), in any script."""

import re
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from p2l.errors import ConfigError
from p2l.extras import missing_extra

WORDS_OF_A_NAME = 3
NO_WORDS = "(no words)"

# Scripts without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W\d_{_UNSPACED}][^\W_{_UNSPACED}]+")
_STEM = 5  # words with the same first letters count as forms of one word
_LONGEST_WORD = 24  # a longer one is a key, a hash or noise
# Words that any request may contain; they do not name a topic.
_EMPTY_WORDS = ENGLISH_STOP_WORDS | {
    "following",
    "use",
    "using",
    "given",
    "make",
    "write",
    "want",
    "does",
    "did",
    "don",
}


def words_of(text: str) -> list[str]:
    """Return the words of a prompt that can name it: lower case, without digits.

    Scripts without spaces give pairs of letters. A prompt without words (code, numbers) gives its symbols, split at
    white space.
    """
    words: list[str] = []
    for run in _WORD.findall(text.lower()):
        if re.match(f"[{_UNSPACED}]", run):
            words += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
        elif len(run) <= _LONGEST_WORD:
            words.append(run)
    telling = [word for word in words if word not in _EMPTY_WORDS]
    return telling or words or [symbol[:_LONGEST_WORD] for symbol in text.split()[:50]] or [NO_WORDS]


def name_clusters(texts: Sequence[str], labels: Int64[np.ndarray, " texts"], num_clusters: int) -> list[list[str]]:
    """Return the characteristic words of each cluster, best first; no two clusters share the first word.

    The weight is c-TF-IDF of BERTopic (Grootendorst 2022, arXiv:2203.05794): the share of a word in the cluster x log(1
    + mean words of a cluster / count of the word). A word of a single prompt names a cluster only if no other word
    does. Raises ConfigError if BERTopic is not installed.
    """
    vectorizer = CountVectorizer(
        analyzer=lambda text: sorted(set(words_of(text)))
    )  # counts prompts that use a word, not uses
    used = vectorizer.fit_transform(texts)
    words = vectorizer.get_feature_names_out()
    if len(words) == 1:  # BERTopic fails on a single word
        return [list(words)] * num_clusters
    member = csr_matrix((np.ones(len(texts)), (labels, np.arange(len(texts)))), shape=(num_clusters, len(texts)))
    counts = (member @ used).tocsr()
    weights = _c_tf_idf(counts.copy()).toarray()  # a copy: it is changed in place
    weights[counts.toarray() == 1] *= 1e-3
    weights[:, words == NO_WORDS] *= 1e-6
    taken: set[str] = set()
    names = []
    for row in weights:
        order = [words[i] for i in np.argsort(-row, kind="stable") if row[i] > 0]
        names.append(_distinct(order, taken))
        taken.update(names[-1][:1])
    return names


def _c_tf_idf(counts: csr_matrix) -> csr_matrix:
    try:
        with warnings.catch_warnings():  # raised by its plotting libraries; imported here since it takes seconds
            warnings.simplefilter("ignore")
            from bertopic.vectorizers import ClassTfidfTransformer
    except ImportError as error:
        packages = missing_extra("insight")
        raise ConfigError(f"clusters need BERTopic: {packages}, or give embedding=null ({error})") from error
    return ClassTfidfTransformer(reduce_frequent_words=True).fit(counts).transform(counts)


def _distinct(words: Sequence[str], taken: set[str]) -> list[str]:
    """Return the first words with distinct stems (not mutation, mutations); words in ``taken`` come last."""
    kept: list[str] = []
    for word in sorted(words[:30], key=lambda word: word in taken):  # stable: keeps the order otherwise
        if all(word[:_STEM] != other[:_STEM] for other in kept):
            kept.append(word)
        if len(kept) == WORDS_OF_A_NAME:
            break
    return kept
