"""``scripts/finetuning.py`` in a tiny setting: it measures each variant once, and prints its table."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ganprune.settings.terms import TERMS
from ganprune.settings.training import TrainingSettings


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "finetuning.py"
    spec = importlib.util.spec_from_file_location("finetuning_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(script, *arguments):
    result = CliRunner().invoke(script.main, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_it_measures_each_variant_once_on_validation_images(script, run, tmp_path):
    out = tmp_path / "measured.jsonl"
    options = [run.directory, "--steps", 2, "--threads", 1, "--out", out, "--variant", "one: distil=10,lam=5,batch=1"]
    options += ["--variant", "two: distil=10,adversarial=1,discriminator_rate=2,betas=0.9/0.99,attention=1,batch=1"]
    call(script, "measure", *options)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["variant"], line["steps"]) for line in lines] == [
        ("original", 0),
        ("none", 0),
        ("one", 2),
        ("two", 2),
    ]
    assert lines[3]["fields"]["betas"] == [0.9, 0.99] and lines[3]["took"] > 0
    original, none, one, _ = (line["figures"]["A2B"] for line in lines)
    assert original["l_disa"] == original["l_gena"] == 0 and none["l_gena"] > 0
    assert one["l_gena"] != none["l_gena"], "the fine-tune changed nothing"
    assert call(script, "measure", *options) == "", "what is measured is not measured again"
    head, _, *rows = call(script, "report", out).splitlines()
    assert "| l_cyc | " in head and len(rows) == 4 and all(row.count("|") == head.count("|") for row in rows)
    changed = [text.replace("one: distil=10", "one: distil=9") if isinstance(text, str) else text for text in options]
    assert call(script, "measure", *changed).startswith("| one | 1 | 2 |"), "other weights are another variant"


def test_our_variants_are_settings_and_go_through_all_terms(script):
    for variant in script.VARIANTS.values():
        TrainingSettings(**{"steps": 1, **script.COMMON, **variant})
    assert set(script.WEIGHTS) == set(TERMS)
    for term in set(TERMS) - {"distil"}:
        beside, instead = (script.VARIANTS[name] for name in (f"distil + {term}", f"{term} for L1"))
        assert beside[term] == instead[term] == script.WEIGHTS[term]
        assert beside["distil"] == script.DEFAULT["distil"] and instead["distil"] == 0


def test_patterns_choose_variants_and_unknown_ones_are_named(script, run, tmp_path):
    assert list(script.chosen(["distil (*", "cyclegan*"])) == ["distil (the default)", "cyclegan (paper)"]
    options = ["measure", str(run.directory), "--out", str(tmp_path / "out.jsonl"), "--only", "distill*"]
    result = CliRunner().invoke(script.main, options)
    assert result.exit_code == 2 and "'distill*'; ours are distil (the default), " in result.output


@pytest.mark.slow
def test_equal_time_gives_the_slower_variant_fewer_steps(script, run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        script.Subject, "step_seconds", lambda self, variants: dict(zip(variants, (0.5, 1.0), strict=True))
    )
    variants = ["--variant", "fast: distil=10,batch=1", "--variant", "slow: distil=10,batch=2"]
    call(script, "measure", run.directory, "--seconds", 4, "--threads", 1, "--out", tmp_path / "out.jsonl", *variants)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    steps = {line["variant"]: line["steps"] for line in lines if "variant" in line}
    assert steps == {"original": 0, "none": 0, "fast": 8, "slow": 4}
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))  # interrupted
    monkeypatch.setattr(script.Subject, "step_seconds", None)  # not measured again
    call(script, "measure", run.directory, "--seconds", 4, "--threads", 1, "--out", tmp_path / "out.jsonl", *variants)
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])["steps"] == 4


@pytest.mark.slow
def test_weights_are_those_of_equal_gradients(script, run):
    found = call(script, "weights", run.directory, "--images", 2, "--without", "imagenet*").splitlines()
    rows = {line.split()[0]: float(line.split()[-1]) for line in found}
    assert rows.keys() == {name for name in TERMS if not name.startswith("imagenet")}
    assert rows["distil"] == 10 and all(0 < value < float("inf") for value in rows.values())


@pytest.mark.parametrize("fields", ["distill=10", "distil=ten", "distil", "betas=0.9", "batch=0"])
def test_a_bad_variant_is_named(script, run, tmp_path, fields):
    options = ["measure", str(run.directory), "--out", str(tmp_path / "out.jsonl"), "--variant", f"mine: {fields}"]
    result = CliRunner().invoke(script.main, options)
    assert result.exit_code == 2 and f"'mine: {fields}'" in result.output
