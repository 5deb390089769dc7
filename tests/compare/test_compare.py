"""Comparisons: fair by construction, interrupted or not, and statistics that agree with their references."""

import csv
import itertools
import json
import math
import random
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from networks import SIZE
from PIL import Image
from scipy import stats

from ganprune.baselines.registry import Baseline
from ganprune.cli import main
from ganprune.commands.baseline import baseline_settings
from ganprune.compare import Contender, compare, statistics
from ganprune.compare.runs import Runner
from ganprune.compare.statistics import points, summarise
from ganprune.compare.tables import markdown
from ganprune.data.sizes import OWN, Framing
from ganprune.errors import UserError
from ganprune.evolution.individual import unpack_bits
from ganprune.filters.builder import make_builders
from ganprune.fitness import CycleFitness
from ganprune.pipeline.task import load_task, load_toy
from ganprune.report.curves import plot_curves, step_values
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import make_settings

BUDGET = 24
GA = "ga:reproduction=0.1,crossover=0.3,mutation=0.6"
TEXTS = (f"ga: {GA}", f"uniform: {GA} --mate cxUniform", "random")


@pytest.fixture(scope="module")
def task(checkpoint, image_folder):
    return load_task(checkpoint, image_folder, SIZE, "cpu")


def contender(name, **options):
    small = {"algorithm": GA, "population": 3, "validation_images": 1, "calibration_images": 4, "precision": "float32"}
    return Contender(name, make_settings("quick", **{**small, **options}))


CONTENDERS = [contender("ga"), contender("uniform", mate="cxUniform"), contender("random", algorithm="random")]


@pytest.fixture(scope="module")
def finished(task, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "out"
    return compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=out)


def untimed(directory):
    """What two comparisons of the same runs have in common: everything but seconds."""
    with directory.path("curves.csv").open() as file:
        curves = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    summary = directory.read_json("summary.json")
    for figures in summary["contenders"].values():
        figures.pop("seconds")
    return curves, summary


@pytest.mark.slow
def test_every_run_keeps_to_the_same_cost(finished):
    for path in sorted(finished.directory.directory.glob("run-*")):
        last = json.loads((path / "logbook.jsonl").read_text().splitlines()[-1])
        assert BUDGET - 6 < last["cost"] <= BUDGET, path  # a step of three may no longer fit, on both sides
    with finished.directory.path("results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["contender"], row["seed"]) for row in rows] == [
        (c.name, seed) for c in CONTENDERS for seed in ("1", "2")
    ]


@pytest.mark.slow
def test_the_yardstick_is_the_reference_fitness_of_each_elite(task, finished):
    path = finished.directory.path("run-02-seed-1")
    log = [json.loads(line) for line in (path / "logbook.jsonl").read_text().splitlines()]
    steps = json.loads((path / "curve.json").read_text())["steps"]
    builders = make_builders(task.cyclegan, task.images)
    best = {}
    for line, step in zip(log, steps, strict=True):
        # not the images that score in a search, the original partner, default weights, no budget
        reference = CycleFitness(task.cyclegan, task.images, line["side"], builders=builders, skip=1)
        value = reference(unpack_bits(line["elite"]))[0]
        assert step["reference"] == pytest.approx(value, rel=1e-5)
        best[line["side"]] = max(best.get(line["side"], 0), value)
        wanted = sum(best.values()) / 2 if len(best) == 2 else None
        assert step["best"] == (wanted if wanted is None else pytest.approx(wanted, rel=1e-5))


@pytest.mark.slow
def test_a_comparison_is_deterministic_whatever_the_caller_draws(task, finished, tmp_path):
    random.seed(99)
    np.random.seed(99)
    again = compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=tmp_path / "again")
    assert untimed(again.directory) == untimed(finished.directory)


@pytest.mark.slow
def test_contenders_do_not_influence_each_other(task, finished, tmp_path):
    alone = compare(task, CONTENDERS[1:], max_evaluations=BUDGET, seeds=[2], out=tmp_path / "alone")
    whole = finished.summary["contenders"]
    for name, figures in alone.summary["contenders"].items():
        assert figures["values"] == [whole[name]["values"][1]]


class StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [4, 11, 27])
def test_an_interrupted_comparison_goes_on_where_it_was(task, finished, tmp_path, monkeypatch, after):
    scored = itertools.count()
    call = CycleFitness.__call__

    def failing(self, *arguments):
        if next(scored) == after:
            raise StopError
        return call(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CycleFitness, "__call__", failing)
        with pytest.raises(StopError):
            compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=tmp_path / "out")
    result = compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=tmp_path / "out", resume=True)
    assert untimed(result.directory) == untimed(finished.directory)


@pytest.mark.slow
def test_finished_runs_are_not_run_again_and_seeds_can_be_added(task, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = compare(task, CONTENDERS[:2], max_evaluations=BUDGET, seeds=[1], out=out)
    ran = []
    run = Runner.prepare
    monkeypatch.setattr(Runner, "prepare", lambda self, settings: ran.append(settings.seed) or run(self, settings))
    second = compare(task, CONTENDERS[:2], max_evaluations=BUDGET, seeds=[1, 2], out=out, resume=True)
    assert ran == [2, 2]
    for name, figures in first.summary["contenders"].items():
        assert second.summary["contenders"][name]["values"][:1] == figures["values"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"max_evaluations": BUDGET + 1}, "max_evaluations"), ({"contenders": CONTENDERS[:2]}, "contenders")],
)
def test_another_comparison_can_not_go_on_in_the_same_place(task, finished, change, field):
    options = {"contenders": CONTENDERS, "max_evaluations": BUDGET, "seeds": [1, 2], **change}
    contenders = options.pop("contenders")
    with pytest.raises(UserError, match=field):
        compare(task, contenders, out=finished.directory.directory, resume=True, **options)


def test_a_hand_edited_list_of_contenders_is_refused(task, finished, tmp_path):
    shutil.copytree(finished.directory.directory, tmp_path / "edited")
    edited = RunDirectory(tmp_path / "edited")
    edited.write_json("config.json", {**edited.read_json("config.json"), "contenders": 5})
    with pytest.raises(UserError, match=r"contenders: got .*expected 5, as the comparison began"):
        compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=edited.directory, resume=True)


def test_one_from_before_values_and_targets_were_recorded_goes_on(task, finished, tmp_path):
    shutil.copytree(finished.directory.directory, tmp_path / "old")
    old = RunDirectory(tmp_path / "old")
    config = old.read_json("config.json")
    assert config.pop("values") == {} and config.pop("background") == "white"
    for saved in config["contenders"].values():
        assert saved["fitness"].pop("target") == "pytorch"
    old.write_json("config.json", config)
    again = compare(task, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=old.directory, resume=True)
    assert again.summary == finished.summary


def test_nor_can_one_of_images_that_come_to_their_size_otherwise(finished, checkpoint, image_folder):
    cut = load_task(checkpoint, image_folder, Framing((SIZE, SIZE), OWN), "cpu")
    with pytest.raises(UserError, match=r"load_size, data_sha256: got own, .*; expected None, "):
        compare(cut, CONTENDERS, max_evaluations=BUDGET, seeds=[1, 2], out=finished.directory.directory, resume=True)


@pytest.mark.parametrize(
    ("contenders", "seeds", "message"),
    [
        (CONTENDERS[:1], [1], "at least two"),
        ([CONTENDERS[0], CONTENDERS[0]], [1], "twice"),
        (CONTENDERS, [], "seeds"),
        (CONTENDERS, [1, 1], "seeds"),
        ([CONTENDERS[0], contender("other", mate="cxUnifrom")], [1], "cxUniform"),
        (
            [contender("one", cost="latency"), contender("other", cost="latency", target="onnxruntime")],
            [1],
            "target: got pytorch of 'one' and onnxruntime of 'other'; expected one for all",
        ),
    ],
)
def test_mistakes_are_found_before_anything_is_written(task, tmp_path, contenders, seeds, message):
    with pytest.raises(UserError, match=message):
        compare(task, contenders, max_evaluations=BUDGET, seeds=seeds, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_search_that_only_repeats_itself_ends(task, tmp_path):
    stuck = contender("stuck", algorithm="ga:reproduction=1,crossover=0,mutation=0")
    result = compare(task, [CONTENDERS[0], stuck], max_evaluations=BUDGET, seeds=[1], out=tmp_path / "out")
    assert result.summary["contenders"]["stuck"]["cost"] <= BUDGET


@pytest.mark.slow
def test_tuned_and_sliced_contenders_run_beside_reconstructed_ones(task, tmp_path):
    others = [contender("tuned", tune_steps=1, tune_batch=2), contender("sliced", reconstruct=False)]
    result = compare(task, [CONTENDERS[0], *others], max_evaluations=12, seeds=[1, 2], out=tmp_path / "out")
    assert all(value > 0 for figures in result.summary["contenders"].values() for value in figures["values"])


# --- baselines ---

RATIO = {"target_ratio": 3, "validation_images": 1, "calibration_images": 4, "precision": "float32"}


def baseline(name, method, weights="own", **options):
    chosen = Baseline(method, weights)
    return Contender(name, baseline_settings(chosen, **{**RATIO, **options}), chosen)


BASELINES = [
    contender("ga", target_ratio=3), baseline("thinet", "thinet"), baseline("chance", "random"),
    baseline("reconstructed", "random", "reconstructed"),
]  # fmt: skip


@pytest.fixture(scope="module")
def with_baselines(task, tmp_path_factory):
    out = tmp_path_factory.mktemp("baselines") / "out"
    return compare(task, BASELINES, max_evaluations=BUDGET, seeds=[1, 2], out=out)


@pytest.mark.slow
def test_a_baseline_is_a_level_at_no_cost(with_baselines):
    table = with_baselines.summary["contenders"]
    assert [figures["cost"] == 0 for figures in table.values()] == [False, True, True, True]
    for index in (2, 3, 4):
        curve = json.loads((with_baselines.directory.path(f"run-{index:02d}-seed-1") / "curve.json").read_text())
        assert [cost for cost, _ in points(curve)] == [0]
    assert table["thinet"]["values"][0] == table["thinet"]["values"][1]  # it draws nothing
    assert table["chance"]["values"][0] != table["chance"]["values"][1]
    assert table["chance"]["values"] != table["reconstructed"]["values"]
    text = markdown(with_baselines.summary)
    assert "| thinet |" in text
    assert "Without a search, so at no cost: 'thinet', 'chance', 'reconstructed'; scored with the weights" in text


@pytest.mark.slow
def test_its_level_is_the_reference_fitness_of_its_bits_and_weights_at_the_same_size(task, with_baselines):
    builders = make_builders(task.cyclegan, task.images, reconstruct=True, calibration_images=4)
    path = with_baselines.directory.path("run-04-seed-2")
    values = []
    for line in RunDirectory(path).read_jsonl("logbook.jsonl"):
        bits, space = unpack_bits(line["elite"]), builders[line["side"]].space
        assert space.parameter_count(space.full()) / space.parameter_count(bits) >= 3
        values.append(CycleFitness(task.cyclegan, task.images, line["side"], builders=builders, skip=1)(bits)[0])
    found = with_baselines.summary["contenders"]["reconstructed"]["values"][1]
    assert found == pytest.approx(sum(values) / 2, rel=1e-4)


@pytest.mark.slow
def test_baselines_do_not_change_what_a_search_finds(task, with_baselines, tmp_path):
    alone = compare(task, [BASELINES[0], CONTENDERS[2]], max_evaluations=BUDGET, seeds=[1], out=tmp_path / "out")
    assert alone.summary["contenders"]["ga"]["values"] == with_baselines.summary["contenders"]["ga"]["values"][:1]


@pytest.mark.slow
def test_a_comparison_with_baselines_goes_on_and_other_weights_are_another_comparison(task, with_baselines, tmp_path):
    out = tmp_path / "out"
    compare(task, BASELINES, max_evaluations=BUDGET, seeds=[1], out=out)
    (out / "run-02-seed-1" / "curve.json").unlink()
    again = compare(task, BASELINES, max_evaluations=BUDGET, seeds=[1, 2], out=out, resume=True)
    assert untimed(again.directory) == untimed(with_baselines.directory)
    others = [*BASELINES[:3], baseline("reconstructed", "random", "sliced")]
    with pytest.raises(
        UserError,
        match=r"contenders.reconstructed.scoring.reconstruct, .*: got False, sliced; expected True, reconstructed",
    ):
        compare(task, others, max_evaluations=BUDGET, seeds=[1], out=out, resume=True)


@pytest.mark.slow
def test_baselines_alone_can_be_compared_and_drawn(task, tmp_path):
    result = compare(task, BASELINES[1:3], max_evaluations=BUDGET, seeds=[1], out=tmp_path / "out")
    assert Image.open(result.directory.path("compare.png")).width > 500


def test_a_size_that_a_baseline_can_not_reach_is_said(task, tmp_path):
    pair = [baseline("l1", "l1"), baseline("tiny", "l1", target_ratio=1e6)]
    with pytest.raises(UserError, match=r"target ratio: got 1000000.* expected at most .* one filter per group of A2B"):
        compare(task, pair, max_evaluations=BUDGET, seeds=[1], out=tmp_path / "out")


# --- statistics ---


def test_holm_agrees_with_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    assert statistics.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0]


def test_vargha_delaney_counts_wins_and_half_the_ties():
    assert statistics.vargha_delaney([3, 4], [1, 2]) == 1
    assert statistics.vargha_delaney([1, 2], [1, 2]) == 0.5
    assert statistics.vargha_delaney([1, 2], [2, 3]) == 0.125


def test_the_bootstrap_interval_is_about_the_normal_one():
    values = np.random.default_rng(0).normal(5, 2, 200).tolist()
    low, high = statistics.bootstrap_mean(values)
    error = 1.96 * np.std(values) / math.sqrt(200)
    assert (low, high) == pytest.approx((np.mean(values) - error, np.mean(values) + error), abs=0.05)
    assert statistics.bootstrap_mean([4.0]) == (4.0, 4.0)


def test_friedman_and_wilcoxon_are_scipys():
    draw = np.random.default_rng(1)
    values = {name: draw.normal(shift, 1, 12).tolist() for name, shift in (("a", 0), ("b", 1), ("c", 3))}
    result = statistics.friedman(values)
    assert result["p"] == pytest.approx(stats.friedmanchisquare(*values.values()).pvalue)
    pairs = statistics.pairwise_wilcoxon(values)
    raw = [stats.wilcoxon(values[a], values[b]).pvalue for a, b in itertools.combinations("abc", 2)]
    assert [pair["p"] for pair in pairs] == pytest.approx(raw)
    assert [pair["p_holm"] for pair in pairs] == pytest.approx(statistics.holm(raw))


def test_below_ten_seeds_there_are_no_pairwise_tests_and_the_table_says_why():
    curves = {
        name: [{"seed": s, "steps": [{"cost": 4, "best": value + s, "seconds": 1.0}]} for s in range(9)]
        for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))
    }
    summary = summarise(curves, None)
    assert summary["wilcoxon"] is None and "can't reach significance" in markdown(summary)
    for runs in curves.values():
        runs.append({"seed": 9, "steps": [{"cost": 4, "best": 1.0, "seconds": 1.0}]})
    summary = summarise(curves, None)
    assert len(summary["wilcoxon"]) == 3 and "after Holm" in markdown(summary)


def test_the_cost_to_a_target_counts_the_runs_that_reached_it():
    def run(*values):
        steps = [{"cost": 10 * (i + 1), "best": v, "seconds": 1.0} for i, v in enumerate(values)]
        return {"seed": len(values), "steps": steps}

    summary = summarise({"slow": [run(1, 2, 5), run(1, 1, 1)], "fast": [run(5, 5, 5), run(1, 5, 5)]}, 5)
    slow, fast = summary["contenders"].values()
    assert (slow["reached"], slow["cost_to_target"]) == (1, 30)
    assert (fast["reached"], fast["cost_to_target"]) == (2, 15)
    assert slow["a12"] == 0.5 and fast["a12"] == pytest.approx(0.75)
    assert summary["friedman"] is None


def test_a_curve_holds_its_value_until_the_next_point(tmp_path):
    values = step_values([(2, 0.1), (5, 0.4)], np.array([0, 2, 4.9, 5, 9]))
    assert np.isnan(values[0]) and values[1:].tolist() == [0.1, 0.1, 0.4, 0.4]
    plot_curves(tmp_path / "a.png", {"a": [[(2, 0.1), (5, 0.4)]]}, x_label="cost", y_label="fitness")
    assert Image.open(tmp_path / "a.png").width > 500


# --- command line ---


def ask(*arguments, code=0):
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def where(checkpoint, image_folder):
    small = "--population 3 --validation-images 1 --calibration-images 4 --precision float32"
    return ["--data", image_folder, "--checkpoint", checkpoint, "--size", SIZE, "--common", small, "--threads", 1]


@pytest.mark.slow
def test_the_command_compares_what_it_is_told(where, finished, tmp_path):
    arguments = [*TEXTS, *where, "--max-evaluations", BUDGET, "--seeds", 2]
    output = ask(*arguments, "--out", tmp_path / "out")
    assert "uniform" in output and "A12" in output and "compare.png" in output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    wanted = {name: figures["values"] for name, figures in finished.summary["contenders"].items()}
    assert {name: figures["values"] for name, figures in summary["contenders"].items()} == wanted
    assert "uniform" in ask(*arguments, "--resume", tmp_path / "out")


@pytest.mark.slow
def test_a_baseline_among_the_contenders_takes_the_options_that_all_share(where, tmp_path):
    texts = [
        GA,
        "random",
        "baseline random",
        "l1, reconstructed: l1 --weights reconstructed",
        "thinet --target-ratio 2",
    ]
    common = where[where.index("--common") + 1]
    where = [f"{common} --target-ratio 3" if part == common else part for part in where]
    output = ask(*texts, *where, "--max-evaluations", BUDGET, "--seeds", 1, "--out", tmp_path / "out")
    assert "l1, reconstructed" in output and "Without a search" in output
    contenders = json.loads((tmp_path / "out" / "config.json").read_text())["contenders"]
    assert [figures.get("baseline") for figures in contenders.values()] == [
        None, None, {"method": "random", "weights": "own"}, {"method": "l1", "weights": "reconstructed"},
        {"method": "thinet", "weights": "own"},
    ]  # fmt: skip
    assert [figures["budget"]["target_ratio"] for figures in contenders.values()] == [3, 3, 3, 3, 2]
    assert {figures["scoring"]["validation_images"] for figures in contenders.values()} == {1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ga", "anealing"], "annealing"),
        (["ga", "random --poplation 3"], "--population"),
        (["ga", "random --seed 3"], "--seed"),
        (["ga", "random --mate 'cx"], "quotes"),
        (["ga", "random", "--seeds", "many"], "seeds"),
        (["ga", "random", "--seeds", "0"], "seeds"),
        (["ga", "random", "--max-evaluations", "3"], "max evaluations"),
        (["ga", "random", "--max-evaluations", "nan"], "max evaluations: got nan"),
        (["ga", "random", "--max-evaluations", "inf"], "max evaluations: got inf"),
        (["ga", "random", "--threads", "0"], "threads: got 0"),
        (["ga", "random", "--toy"], "--toy"),
        (["ga"], "at least two"),
        (["ga", "thinnet"], "Did you mean 'thinet'?"),
        (["ga", "baseline"], "baseline: got nothing; expected l1"),
        (["ga", "baseline thinnet"], "Did you mean 'thinet'?"),
        (["ga", "l1 --weights slices"], "Did you mean 'sliced'?"),
        (["ga", "l1 --population 3"], "--population"),
        (["ga", "l1 --seed 3"], "--seed"),
        (["ga", "l1 --target-ratio 0"], "target ratio: got 0"),
        (["ga", "l1", "--common", "--preset paper"], "target ratio: got nothing"),
        (["ga", "l1", "--common", "--max-macs 1e6"], "expected --target-ratio: baselines are sized by parameters"),
        (["ga", "l1", "--common", "--poplation 3"], "--population"),
        (["ga", "random", "--resume", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_of_a_tired_person_get_one_message(where, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    output = ask(*where, *arguments, code=2)
    assert message in output and "Traceback" not in output
    assert not list(tmp_path.iterdir())


def test_the_toy_refuses_a_device_that_it_would_not_use():
    assert "--device: got cuda with --toy" in ask("--toy", "--device", "cuda", code=2)


def test_points_begin_when_both_sides_have_an_elite():
    steps = [{"cost": 3, "best": None}, {"cost": 6, "best": 0.2}, {"cost": 9, "best": 0.3}]
    assert points({"steps": steps}) == [(6, 0.2), (9, 0.3)]


def test_the_toy_is_a_trained_cyclegan(tmp_path):
    toy = load_toy()
    pair = [
        CycleFitness(toy.cyclegan, toy.images, side, validation_images=8, reconstruct=False) for side in toy.cyclegan
    ]
    for side in pair:
        whole = side(side.space.full())
        assert whole.terms["l_disa"] == 0 and whole.terms["l_cyc"] < 0.15
        assert whole[0] > side([0] * len(side.space))[0]


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_it_does(where, finished, tmp_path, monkeypatch):
    arguments = [*TEXTS, *where, "--max-evaluations", BUDGET, "--seeds", 2]
    scored = itertools.count()
    call = CycleFitness.__call__

    def interrupted(self, *given):
        if next(scored) == 9:
            raise KeyboardInterrupt
        return call(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(CycleFitness, "__call__", interrupted)
        output = ask(*arguments, "--out", tmp_path / "out", code=130)
    assert f"--resume {tmp_path / 'out'}" in output
    ask(*arguments, "--resume", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    wanted = {name: figures["values"] for name, figures in finished.summary["contenders"].items()}
    assert {name: figures["values"] for name, figures in summary["contenders"].items()} == wanted
