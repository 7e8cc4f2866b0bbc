"""BLEU, the metric of translations. Imports `metric.py`. Read next: `detection.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import flambeau as fb
from flambeau import Tensor
from flambeau.metrics.metric import Metric, State, functional


def grams(tokens: Sequence[Any], n: int) -> Counter:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def words(text: Any) -> Sequence[Any]:
    return text.split() if isinstance(text, str) else text


class BLEU(Metric):
    """Corpus BLEU: the geometric mean of n-gram precisions, times e^(1 − r / c) for a corpus c shorter than r words.

    Takes candidates, and for each a list of references; both are token sequences, or strings split at blanks.

    Args:
        n_gram: the longest n-gram.
        smooth: added to numerator and denominator of all precisions but the first (Lin, Och, 2004); without it a corpus
            with no common n-gram has 0.
        weights: of the n-gram orders, equal by default.

    Source: Papineni et al., BLEU (ACL 2002).

    >>> fb.metrics.bleu(["the cat sat on the mat"], [["the cat sat on a mat"]], n_gram=2)
    tensor(0.7071, dtype=flambeau.float64)
    """

    def __init__(self, n_gram: int = 4, *, smooth: float = 0.0, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.n_gram, self.smooth = n_gram, smooth
        self.weights = [1 / n_gram] * n_gram if weights is None else list(weights)
        if n_gram < 1 or len(self.weights) != n_gram:
            raise ValueError(f"BLEU: needs one weight for each of {n_gram} orders, got {len(self.weights)}")

    def measure(self, candidates: Sequence[Any], references: Sequence[Sequence[Any]]) -> State:  # type: ignore[override]
        if isinstance(candidates, str) or len(candidates) != len(references):
            raise ValueError(
                "BLEU: takes a list of candidates and for each a list of references, got "
                f"{'a string' if isinstance(candidates, str) else f'{len(candidates)} and {len(references)}'}"
            )
        hits, totals, length, wanted = [0] * self.n_gram, [0] * self.n_gram, 0, 0
        for candidate, several in zip(candidates, references, strict=True):
            if isinstance(several, str) or not several:
                raise ValueError(f"BLEU: each candidate needs a list of references, got {several!r:.60}")
            tokens, others = words(candidate), [words(r) for r in several]
            length += len(tokens)
            wanted += min((abs(len(r) - len(tokens)), len(r)) for r in others)[1]
            for n in range(self.n_gram):
                found, best = grams(tokens, n + 1), Counter()  # type: tuple[Counter, Counter]
                for reference in others:
                    best |= grams(reference, n + 1)
                hits[n] += (found & best).total()
                totals[n] += found.total()
        return {
            "hits": fb.tensor(hits),
            "totals": fb.tensor(totals),
            "length": fb.tensor(length),
            "wanted": fb.tensor(wanted),
        }

    def formula(self, state: State) -> Tensor:
        hits, totals = state["hits"].double(), state["totals"].double()
        more = fb.tensor([0.0] + [self.smooth] * (self.n_gram - 1), dtype=fb.float64)
        hits, totals = hits + more, totals + more
        if bool((hits == 0).any()):
            return fb.zeros((), dtype=fb.float64)
        mean = ((hits / totals).log() * fb.tensor(self.weights, dtype=fb.float64)).sum()
        short = (1 - state["wanted"].double() / state["length"].double()).clamp(max=0)
        return (mean + short).exp()


bleu = functional(BLEU, "bleu")
