"""Print a Markdown table of a training run's losses over time, from its logbook.jsonl.

python scripts/training_log.py runs/pretrain-001 --rows 8
"""

from __future__ import annotations

from pathlib import Path

import click

from ganprune.runs.directory import LOGBOOK, RunDirectory


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(min=2), default=8, show_default=True, help="Spans to average over.")
def main(run: Path, rows: int) -> None:
    """Average every loss over equal spans of steps."""
    by_step = {record["step"]: record for record in RunDirectory.open(run).read_jsonl(LOGBOOK)}
    records = [by_step[step] for step in sorted(by_step)]  # a resumed run logs some steps twice
    names = [name for name in records[0] if name != "step"]
    last = records[-1]["step"]
    print("| steps | " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("| --- " * (len(names) + 1) + "|")
    for row in range(rows):
        first, end = last * row // rows, last * (row + 1) // rows
        span = [record for record in records if first < record["step"] <= end]
        means = [sum(record[name] for record in span) / len(span) for name in names]
        print(f"| {first + 1}-{end} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
