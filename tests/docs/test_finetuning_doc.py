"""docs/finetuning.md lists every term of a fine-tune, once, with what it costs."""

import re

from pages import read

from ganprune.settings.terms import TERMS

SECTION = read("docs/finetuning.md").split("## The terms", 1)[1].split("\n## ", 1)[0]
COMPARED, COSTS = (table.split("\n\n", 1)[0].splitlines()[2:] for table in SECTION.split("\n\n| ")[1:])


def test_every_term_has_a_row_and_no_other():
    names = [re.match(r"\| `(\w+)` \| \S", row if row[:2] == "| " else "| " + row)[1] for row in COMPARED]
    assert sorted(names) == sorted(TERMS)


def test_terms_that_share_a_pass_share_a_row_of_costs():
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in COSTS]
    assert sorted(name for row in rows for name in row) == sorted(TERMS)
    passes = {"inside": "generator", "kept": "generator", "scores": "sight"}
    views = [{passes.get(TERMS[name].view, TERMS[name].view) for name in row} for row in rows]
    assert [len(each) for each in views] == [1] * len(rows)
