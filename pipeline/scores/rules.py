"""Which rules a score follows. Every output table carries the mode in a column of its own.

| step                | correct                                   | published                          |
|---------------------|-------------------------------------------|------------------------------------|
| p of a query        | null >= AP; exact, or +1 over a sample    | null > AP, +1 over a sample        |
| null                | seeded by (positives, candidates)         | the same (the authors' was unseeded) |
| q of a class        | BH over queries, then geometric mean      | geometric mean of p, BH over classes |
| no positives        | left out and counted, never retrieved     | p = 1 / (1 + null size)            |
| no negatives        | left out and counted, never retrieved     | the same                           |
| ties                | negatives first: a tie never helps        | to 16 candidates negatives first, then a coin |
| compound-gene negatives | pairs that share no gene              | all pairs, the true ones too       |
| positions           | a class is a perturbation                 | same position: perturbation x well |
| directionality 5a   | ORF-CRISPR against different genes        | statistics of compound-gene pairs  |
| directionality null | each compound once, without its targets   | one row a target, other targets kept |
| t-tests             | against the AP expected by chance         | against 0                          |
| values not finite   | feature dropped; mostly empty wells reported | left in                         |

`copairs` is `correct` but for the test: mAP against the mean of its queries' nulls, strictly greater, +1,
BH over classes, ties in favour of positives, as `copairs.map.mean_average_precision` does (version 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ConfigError

MODES = ("correct", "published", "copairs")

#: Seeds of the same run that must not give the same draws: one stream for nulls, one for coins.
NULL_STREAM, COIN_STREAM = 1, 2


@dataclass(frozen=True)
class Rules:
    mode: str = "correct"
    seed: int = 0
    null_size: int = 100_000
    #: q below this is retrieved.
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"Scores have no mode {self.mode!r}. Choose one of: {', '.join(MODES)}.")
        if self.null_size < 1:
            raise ConfigError(f"A null of {self.null_size} draws says nothing. Give null_size = 100000, as the paper.")

    @property
    def published(self) -> bool:
        return self.mode == "published"

    @property
    def ties(self) -> str:
        return {"correct": "negatives first", "published": "coin", "copairs": "positives first"}[self.mode]
