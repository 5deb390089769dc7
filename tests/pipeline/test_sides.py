"""One algorithm per side, ``A2B/B2A``: what runs, what the summary says, how a run goes on, and what is refused."""

import json

import pytest
from click.testing import CliRunner
from toytask import contents, outcome, toy_run

from ganprune.cli import main
from ganprune.commands.evolve import resume
from ganprune.errors import UserError
from ganprune.evolution.algorithms.annealing import Annealing
from ganprune.evolution.algorithms.genetic import Genetic
from ganprune.models.options import SIDES
from ganprune.pipeline.checks import check_references, check_search
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import Search, algorithms, make_strategy
from ganprune.settings.evolve import make_settings

TWO = "ga:population=4,reproduction=0.1,crossover=0.4,mutation=0.5/sa:population=2,rate=0.8"


def interrupted(moment):
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == moment:
            raise KeyboardInterrupt

    return Reporter(search=interrupt)


def test_one_specification_serves_both_sides_and_two_are_in_order():
    assert algorithms(make_settings("quick").search) == {"A2B": "ga", "B2A": "ga"}
    assert algorithms(make_settings("quick", algorithm=" ga / swarm ").search) == {"A2B": "ga", "B2A": "swarm"}
    settings = make_settings("quick", algorithm=TWO, population=9)
    aliases = make_settings("quick", algorithm="SA/pso:clamp=4").search
    assert algorithms(aliases) == {"A2B": "annealing", "B2A": "swarm:clamp=4"}
    first, second = make_strategy(settings.search, "A2B"), make_strategy(settings.search, "B2A")
    assert isinstance(first, Genetic) and (first.population, first.crossover) == (4, 0.4)
    assert isinstance(second, Annealing) and (second.population, second.rate) == (2, 0.8)
    assert make_strategy(make_settings("quick", algorithm="random/umda", population=9).search, "B2A").population == 9


@pytest.fixture(scope="module")
def run(checkpoint, image_folder, tmp_path_factory):
    return toy_run(checkpoint, image_folder, tmp_path_factory.mktemp("two") / "run", algorithm=TWO, finetune_steps=0)


@pytest.mark.slow
def test_each_side_is_searched_by_its_own(run):
    sides = run.read_json("summary.json")["sides"]
    assert {name: side["algorithm"] for name, side in sides.items()} == {"A2B": "ga", "B2A": "annealing"}
    assert run.read_json("config.json")["settings"]["search"]["algorithm"] == TWO
    first = {line["side"]: line["population"] for line in run.read_jsonl("logbook.jsonl") if line["generation"] == 0}
    assert first == {"A2B": 4, "B2A": 2}


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 4])
def test_an_interrupted_run_goes_on_with_both(run, checkpoint, image_folder, tmp_path, moment):
    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", interrupted(moment), algorithm=TWO, finetune_steps=0)
    assert outcome(resume(tmp_path / "run")) == outcome(run)


def test_what_is_expected_counts_each_sides_own_batches():
    settings = make_settings("quick", algorithm=TWO)
    strategies = {side: make_strategy(settings.search, side) for side in ("A2B", "B2A")}
    search = Search({}, {}, {}, strategies, 0.0)
    assert search.expected(10) == 11 * 4 + 11 * 2 * 2  # annealing measures each current point beside its neighbour
    assert search.expected(10, done=3) == 9 * 4 + 10 * 2 * 2
    assert search.expected(10, done=22) == 0


def test_the_first_generation_of_both_has_to_fit():
    check_search(make_settings("quick", algorithm=TWO, max_evaluations=6, precision="float32").search, SIDES)
    with pytest.raises(UserError, match="max evaluations: got 5; expected 6 or more"):
        check_search(make_settings("quick", algorithm=TWO, max_evaluations=5, precision="float32").search, SIDES)


def test_an_algorithm_from_a_module_has_to_be_given_again():
    own = "ga/ganprune.evolution.algorithms.genetic:Genetic"
    settings = make_settings("quick", algorithm=own)
    assert isinstance(make_strategy(settings.search, "B2A"), Genetic)
    with pytest.raises(UserError, match=f"algorithm: got {own} from the run's file.*Add --algorithm {own}"):
        check_references(settings.search, {})
    with pytest.raises(UserError, match=f"--algorithm: got ga; expected {own}"):
        check_references(settings.search, {"algorithm": "ga"})
    check_references(settings.search, {"algorithm": own})
    check_references(make_settings(algorithm="sa/pso").search, {"algorithm": "annealing/swarm"})
    for typed in (TWO, "sa/pso"):
        check_references(make_settings("quick", algorithm=typed, mate="two-point").search, {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ga/", ["algorithm: got ga/; expected one algorithm, or A2B's and B2A's joined by", "Did you mean 'ga'?"]),
        ("/swarm", ["algorithm: got /swarm", "Did you mean 'swarm'?"]),
        ("ga/swarm/umda", ["algorithm: got ga/swarm/umda", "Did you mean 'ga/swarm'?"]),
        ("a/b/c", ["algorithm: got a/b/c", "Did you mean 'ga'?"]),
        ("/", ["algorithm: got /;", "Choose one of: ga, annealing"]),
        ("ga/anealing", ["algorithm: got anealing", "Did you mean 'annealing'?"]),
        ("gaa/swarm", ["algorithm: got gaa", "Did you mean 'ga'?"]),
        ("ga/annealing:chains=4", ["parameter of annealing: got chains"]),
    ],
)
def test_wrong_forms_get_one_message(tmp_path, monkeypatch, value, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["evolve", "--algorithm", value])
    assert result.exit_code == 2 and "Traceback" not in result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and all(words in errors[0] for words in message)
    assert contents(tmp_path) == {}


def test_the_file_of_a_run_is_checked_like_the_command_line(run, tmp_path):
    config = json.loads(run.path("config.json").read_text())
    config["settings"]["search"]["algorithm"] = "ga/"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="algorithm: got ga/"):
        resume(tmp_path)
