"""``scripts/finetuning.py`` in a tiny setting: it measures each variant once, and prints its table."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner


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
    options += ["--variant", "two: distil=10,adversarial=1,discriminator_rate=2,betas=0.9/0.99,batch=1"]
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
    assert call(script, "report", out).count("\n") == 4


@pytest.mark.slow
def test_equal_time_gives_the_slower_variant_fewer_steps(script, run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        script.Subject, "step_seconds", lambda self, variants: dict(zip(variants, (0.5, 1.0), strict=True))
    )
    variants = ["--variant", "fast: distil=10,batch=1", "--variant", "slow: distil=10,batch=2"]
    call(script, "measure", run.directory, "--seconds", 4, "--threads", 1, "--out", tmp_path / "out.jsonl", *variants)
    steps = {line["variant"]: line["steps"] for line in map(json.loads, (tmp_path / "out.jsonl").open())}
    assert steps == {"original": 0, "none": 0, "fast": 8, "slow": 4}


@pytest.mark.parametrize("fields", ["distill=10", "distil=ten", "distil", "betas=0.9", "batch=0"])
def test_a_bad_variant_is_named(script, run, tmp_path, fields):
    options = ["measure", str(run.directory), "--out", str(tmp_path / "out.jsonl"), "--variant", f"mine: {fields}"]
    result = CliRunner().invoke(script.main, options)
    assert result.exit_code == 2 and f"'mine: {fields}'" in result.output
