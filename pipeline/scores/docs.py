"""The table of scores in docs/scores.md, made from them: `python -m pipeline.scores.docs` prints it."""

from __future__ import annotations

from pipeline.scores.registry import find, names


def table_of_scores() -> str:
    """One row a score, in Markdown: what it asks, its tables and what one row of each is, and what it comes after."""
    lines = ["| score | asks | one row of its tables | after |", "|-|-|-|-|"]
    for name in names():
        score = find(name)
        rows = "; ".join(f"`{table}`: {row}" for table, row in score.rows.items())
        lines.append(f"| `{name}` | {score.question} | {rows} | {', '.join(f'`{need}`' for need in score.needs)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table_of_scores())
