"""The main loop: who meets whom, what is counted, and that neither interruptions nor the caller's draws show."""

import json
import random
import signal
import threading
import types

import numpy as np
import pytest
from toys import SIZES, agreement, from_text, make_side, onemax

from ganprune.errors import UserError
from ganprune.evolution import Genetic, Interrupted, Score, Strategy, coevolution, coevolve
from ganprune.evolution.individual import unpack_bits
from ganprune.evolution.ledger import Ledger
from ganprune.evolution.randomness import Randomness
from ganprune.runs.directory import RunDirectory

GENERATIONS = 4
STEPS = 2 * (GENERATIONS + 1)


class Crash(Exception):  # noqa: N818 - it is not the name of an error
    """Stands for anything that ends the process."""


def sides(evaluate=agreement, size=6, **operators):
    return {side: make_side(Genetic(size), evaluate, **operators) for side in ("A2B", "B2A")}


def files(directory):
    """All that a run leaves on disk, except timings."""
    run = RunDirectory.open(directory)
    state = run.read_json("state.json")
    log = run.read_jsonl("logbook.jsonl")
    for record in (state, *log):
        del record["timing"]
    return {
        "config": run.read_json("config.json"),
        "state": state,
        "log": log,
        "evaluations": run.read_jsonl("evaluations.jsonl"),
    }


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The files of an uninterrupted run with seed 5."""
    path = tmp_path_factory.mktemp("whole") / "run"
    coevolve(sides(), generations=GENERATIONS, seed=5, run=path)
    return files(path)


def crashing(evaluate, after):
    """``evaluate``, but the call after ``after`` calls crashes."""
    calls = iter(range(after))

    def crash(individual, partner=None):
        if next(calls, None) is None:
            raise Crash
        return evaluate(individual, partner)

    return crash


class Scripted(Strategy):
    """Asks for given batches, one after the other."""

    requires = ()

    def __init__(self, *batches):
        self.batches, self.asked, self.last = batches, 0, []

    def generate(self):
        return [from_text(key) for key in self.batches[self.asked]]

    def update(self, evaluated):
        self.asked, self.last = self.asked + 1, evaluated

    def get_best(self):
        return max(self.last, key=lambda individual: individual.fitness)

    def state_dict(self):
        return {"asked": self.asked, "last": [individual.record() for individual in self.last]}

    def load_state_dict(self, state):
        self.asked, self.last = state["asked"], [self.toolbox.restore(record) for record in state["last"]]


def scripted(*batches, evaluate=onemax):
    return make_side(Scripted(*batches), evaluate)


def meetings(schedule):
    """The partner of each step of three generations in which the elites are 1, 2, 3 ones (A) and 4, 5, 6 ones (B)."""
    pair = {
        "A": scripted(*(["0" * (6 - ones) + "1" * ones] for ones in (1, 2, 3))),
        "B": scripted(*(["0" * (6 - ones) + "1" * ones] for ones in (4, 5, 6))),
    }
    met = []
    coevolve(
        pair,
        generations=2,
        schedule=schedule,
        callback=lambda step: met.append(step.partner and sum(step.partner)),
    )
    return met


def test_schedules_say_who_meets_whom():
    assert meetings("alternate") == [None, None, 4, 2, 5, 3]
    assert meetings("simultaneous") == [None, None, 4, 1, 5, 2]
    assert meetings("separate") == [None] * 6


def test_evaluations_and_rescores_are_counted_by_hand(tmp_path):
    pair = {
        "A": scripted(["001", "001", "011"], ["011", "001", "111"], ["111", "111", "011"]),
        "B": scripted(["100", "110"], ["110", "100"], ["110", "101"]),
    }
    steps = []
    coevolve(pair, generations=2, run=tmp_path / "run", callback=steps.append)
    counts = [(step.evaluations, step.rescores, step.cost) for step in steps]
    assert counts == [
        (2, 0, 2.0),  # A: 001 (twice) and 011, against the original
        (4, 0, 4.0),  # B: 100 and 110, against the original
        (5, 2, 6.0),  # A meets 110: 011 and 001 are known, 111 is new
        (5, 4, 7.0),  # B meets 111: both are known
        (5, 4, 7.0),  # A meets 110 again: nothing to score
        (6, 4, 8.0),  # B meets 111 again: 110 is scored already, 101 is new
    ]
    records = RunDirectory.open(tmp_path / "run").read_jsonl("evaluations.jsonl")
    assert len(records) == 6 + 4
    assert records[0] == {
        "side": "A",
        "bits": "3:01",
        "partner": None,
        "values": [1 / 3],
        "terms": {"share": 1 / 3},
    }
    assert unpack_bits(records[4]["partner"]) == [1, 1, 0]
    assert len({(record["side"], record["bits"], record["partner"]) for record in records}) == len(records)


def test_nothing_is_scored_twice():
    calls = []

    def counting(individual, partner=None):
        calls.append((tuple(individual), partner and tuple(partner)))
        return onemax(individual)

    pair = {
        "A": scripted(["01", "01"], ["01", "11"], ["11", "01"], evaluate=counting),
        "B": scripted(["1"], ["1"], ["1"]),
    }
    coevolve(pair, generations=2)
    assert calls == [((0, 1), None), ((0, 1), (1,)), ((1, 1), (1,))]


def test_price_is_what_the_batch_will_cost():
    ledger = Ledger(None)
    assert ledger.price("A", ["1:01", "1:01", "1:00"], None) == 2
    ledger.add("A", "1:01", None, Score([1.0]))
    assert ledger.price("A", ["1:01", "1:00"], None) == 1
    assert ledger.price("A", ["1:01", "1:00"], "1:01") == 1.5
    assert ledger.price("B", ["1:01"], None) == 1


@pytest.mark.parametrize("schedule", coevolution.SCHEDULES)
def test_compared_fitness_was_measured_against_the_current_partner(schedule):
    def check(step):
        for individual in step.population:
            assert individual.fitness.values == tuple(agreement(individual, step.partner))
        assert step.elite.fitness == max(individual.fitness for individual in step.population)

    elites = coevolve(sides(), generations=GENERATIONS, schedule=schedule, callback=check)
    assert set(elites) == {"A2B", "B2A"}
    assert all(elite.fitness.valid and elite.terms for elite in elites.values())


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["alternate", "simultaneous"])
def test_resumed_equals_uninterrupted_at_every_evaluation(tmp_path, schedule):
    options = {"generations": GENERATIONS, "schedule": schedule, "seed": 5}
    whole = coevolve(sides(), run=tmp_path / "whole", **options)
    expected = files(tmp_path / "whole")
    total = len(expected["evaluations"])
    assert total > STEPS
    for after in range(0, total, 5):
        path = tmp_path / f"cut-{after}"
        with pytest.raises(Crash):
            coevolve(sides(crashing(agreement, after)), run=path, **options)
        remaining = iter(range(total - after))

        def exact(individual, partner, remaining=remaining):
            assert next(remaining, None) is not None, "an evaluation was repeated"
            return agreement(individual, partner)

        assert coevolve(sides(exact), run=path, resume=True, **options) == whole
        assert files(path) == expected, f"after {after} evaluations"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["append_jsonl", "write_json"])
@pytest.mark.parametrize("step", range(STEPS))
def test_resumed_equals_uninterrupted_after_a_crash_between_two_writes(whole_run, tmp_path, monkeypatch, method, step):
    options = {"generations": GENERATIONS, "seed": 5}
    original, writes = getattr(RunDirectory, method), []

    def write(self, name, data):
        if name in ("logbook.jsonl", "state.json"):
            writes.append(name)
            if len(writes) > step:
                raise Crash
        return original(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, method, write)
        with pytest.raises(Crash):
            coevolve(sides(), run=tmp_path / "cut", **options)
    with open(tmp_path / "cut" / "evaluations.jsonl", "a") as file:
        file.write('{"side":"A2B","bi')
    coevolve(sides(), run=tmp_path / "cut", resume=True, **options)
    assert files(tmp_path / "cut") == whole_run


def test_resuming_after_every_step_equals_uninterrupted(tmp_path):
    options = {"generations": GENERATIONS, "seed": 6}
    coevolve(sides(), run=tmp_path / "whole", **options)

    def stop(step):
        raise Crash

    for step in range(STEPS):
        with pytest.raises(Crash):
            coevolve(sides(), run=tmp_path / "cut", resume=step > 0, callback=stop, **options)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    done = coevolve(sides(crashing(agreement, 0)), run=tmp_path / "cut", resume=True, **options)
    assert done == coevolve(sides(), **options)


def test_more_generations_continue_a_finished_run(tmp_path):
    coevolve(sides(), run=tmp_path / "short", generations=2, seed=7)
    coevolve(sides(), run=tmp_path / "short", generations=GENERATIONS, seed=7, resume=True)
    coevolve(sides(), run=tmp_path / "long", generations=GENERATIONS, seed=7)
    short, long = files(tmp_path / "short"), files(tmp_path / "long")
    del short["config"], long["config"]
    assert short == long


def test_evaluations_that_nobody_asks_for_after_a_change_are_dropped(tmp_path):
    with pytest.raises(Crash):
        coevolve(sides(crashing(agreement, 3)), run=tmp_path / "run", generations=1, seed=1)
    changed = {"generations": 1, "seed": 1, "run": tmp_path / "run", "resume": True}
    coevolve(sides(init="initUniform"), **changed)
    state = files(tmp_path / "run")["state"]
    assert state["evaluation_lines"] == len(files(tmp_path / "run")["evaluations"])
    assert state["evaluations"] + state["rescores"] == state["evaluation_lines"]


def test_a_toolbox_used_before_starts_anew():
    pair = sides()
    first = coevolve(pair, generations=2, seed=3)
    assert coevolve(pair, generations=2, seed=3) == first


def test_the_callers_draws_are_untouched_and_irrelevant():
    quiet = coevolve(sides(), generations=GENERATIONS, seed=8)

    def noisy(individual, partner=None):
        random.random()
        np.random.random()
        return agreement(individual, partner)

    random.seed(99)
    np.random.seed(99)
    assert coevolve(sides(noisy), generations=GENERATIONS, seed=8, callback=lambda step: random.seed(1)) == quiet

    random.seed(42)
    np.random.seed(42)
    expected = random.getstate(), np.random.get_state()[1].tolist()
    assert coevolve(sides(), generations=GENERATIONS, seed=8) == quiet
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected
    assert coevolve(sides(), generations=GENERATIONS, seed=9) != quiet


def test_randomness_survives_json_in_the_middle_of_a_gaussian_pair():
    ours = Randomness(3)
    with ours.installed():
        random.gauss(0, 1)
        np.random.normal()
    twin = Randomness(4)
    twin.load_state_dict(json.loads(json.dumps(ours.state_dict())))
    drawn = []
    for randomness in (ours, twin):
        with randomness.installed():
            drawn.append((random.gauss(0, 1), random.random(), np.random.normal(), np.random.random()))
    assert drawn[0] == drawn[1]


def test_randomness_gives_the_callers_state_back_after_an_error():
    before = random.getstate()
    with pytest.raises(Crash), Randomness(0).installed():
        random.random()
        raise Crash
    assert random.getstate() == before


def test_a_budget_stops_at_the_last_whole_step_and_can_be_raised(tmp_path):
    options = {"generations": GENERATIONS, "seed": 2}
    steps = []
    whole = coevolve(sides(), run=tmp_path / "whole", callback=steps.append, **options)
    costs = [step.cost for step in steps]
    target = next(index for index in range(3, STEPS) if costs[index] > costs[index - 1])
    for budget, expected in ((costs[target], target), (costs[target] - 0.5, target - 1)):
        done = []
        elites = coevolve(sides(), max_evaluations=budget, callback=done.append, **options)
        last = max(index for index in range(STEPS) if costs[index] <= budget)
        assert len(done) == last + 1
        assert done[-1].cost <= budget
        assert costs[expected] == done[-1].cost
        assert elites[done[-1].side] == steps[last].elite
    coevolve(sides(), run=tmp_path / "cut", max_evaluations=costs[target] - 0.5, **options)
    assert coevolve(sides(), run=tmp_path / "cut", resume=True, **options) == whole
    left, right = files(tmp_path / "cut"), files(tmp_path / "whole")
    del left["config"], right["config"]
    assert left == right


def test_a_budget_below_generation_0_is_refused():
    with pytest.raises(UserError, match="max_evaluations: got 3; expected at least 6, what generation 0 of side A2B"):
        coevolve(sides(init="initUniform"), max_evaluations=3, seed=3)


def test_max_seconds_stops_before_a_step_that_would_end_too_late(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)

    def slow(individual, partner=None):
        clock.now += 1.0
        return onemax(individual)

    monkeypatch.setattr(coevolution, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    batches = [[key] for key in ("001", "010", "100", "011", "110")]
    seen = []
    pair = {side: scripted(*batches, evaluate=slow) for side in "AB"}
    coevolve(pair, generations=4, max_seconds=5.5, callback=lambda step: seen.append(step.seconds))
    assert seen == [1.0, 2.0, 3.0, 4.0, 5.0]
    seen.clear()
    coevolve(pair, generations=4, max_seconds=0.5, callback=lambda step: seen.append(step.seconds))
    assert seen == [1.0, 2.0], "generation 0 is always finished"


def test_first_interrupt_finishes_the_evaluation_and_the_run_resumes(whole_run, tmp_path):
    options = {"generations": GENERATIONS, "seed": 5}
    finished = []

    def interrupted(individual, partner=None):
        if len(finished) == 8:
            signal.raise_signal(signal.SIGINT)
        finished.append(individual)
        return agreement(individual, partner)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        coevolve(sides(interrupted), run=tmp_path / "cut", **options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(finished) == 9
    assert len((tmp_path / "cut" / "evaluations.jsonl").read_text().splitlines()) == 9
    coevolve(sides(), run=tmp_path / "cut", resume=True, **options)
    assert files(tmp_path / "cut") == whole_run


def test_second_interrupt_aborts_at_once():
    started = []

    def stubborn(individual, partner=None):
        started.append("in")
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        started.append("out")
        return agreement(individual, partner)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        coevolve(sides(stubborn), generations=1)
    assert caught.type is KeyboardInterrupt
    assert started == ["in"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_interrupt_in_the_last_step_is_not_swallowed(tmp_path):
    def press(step):
        if step.generation == 1 and step.side == "B2A":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        coevolve(sides(), generations=1, run=tmp_path / "run", callback=press)
    coevolve(sides(crashing(agreement, 0)), generations=1, run=tmp_path / "run", resume=True)


def test_outside_the_main_thread_it_runs_without_touching_signals():
    results = []
    thread = threading.Thread(target=lambda: results.append(coevolve(sides(), generations=1)))
    thread.start()
    thread.join()
    assert results == [coevolve(sides(), generations=1)]


def test_the_logbook_has_one_line_per_side_and_generation(tmp_path):
    seen, ticks = [], []
    coevolve(
        sides(),
        generations=2,
        run=tmp_path / "run",
        callback=seen.append,
        on_evaluation=lambda side, individual: ticks.append((side, individual.fitness.valid)),
    )
    log = RunDirectory.open(tmp_path / "run").read_jsonl("logbook.jsonl")
    assert [(line["generation"], line["side"]) for line in log] == [(t, s) for t in range(3) for s in ("A2B", "B2A")]
    assert ticks == [(side, True) for _ in range(3) for side in ("A2B", "B2A") for _ in range(6)]
    for line, step in zip(log, seen, strict=True):
        values = [individual.fitness.values[0] for individual in step.population]
        assert line["best"] == max(values)
        assert line["mean"] == pytest.approx(sum(values) / len(values))
        assert line["terms"] == step.elite.terms
        assert line["density"] == sum(step.elite) / sum(SIZES)
        assert (line["evaluations"], line["rescores"], line["cost"]) == (
            step.evaluations,
            step.rescores,
            step.cost,
        )
        assert set(line["timing"]) == {"seconds", "step_seconds", "cache_hits"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "alternating"}, "schedule: got alternating.*Did you mean 'alternate'"),
        ({"generations": 0}, "generations: got 0; expected a whole number of at least 1"),
        ({"generations": 1.5}, "generations: got 1.5"),
        ({"max_evaluations": 0}, "max_evaluations: got 0; expected a positive number"),
        ({"max_seconds": -1}, "max_seconds: got -1"),
        ({"seed": -1}, "seed: got -1; expected a whole number from 0"),
        ({"seed": "one"}, "seed: got one"),
        ({"resume": True}, "Give run=, the directory of the run"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        coevolve(sides(), **options)


def test_toolboxes_are_checked():
    with pytest.raises(UserError, match="expected one or two sides"):
        coevolve({name: make_side(Genetic(4)) for name in ("A2B", "B2A", "C2D")})
    with pytest.raises(UserError, match="expected one or two sides"):
        coevolve({})
    bare = sides()
    bare["B2A"].unregister("generate")
    with pytest.raises(UserError, match=r"toolbox of side B2A: got no generate.*register"):
        coevolve(bare)


@pytest.mark.parametrize("result", [(float("nan"),), (float("inf"),), (1.0, 2.0), 0.5, None])
def test_a_score_that_cannot_be_used_names_the_side(result):
    with pytest.raises(UserError, match=r"evaluate of side A2B: got .*expected a Score of 1 finite number"):
        coevolve(sides(lambda individual, partner=None: result), generations=1)


def test_a_plain_tuple_serves_as_a_score():
    elites = coevolve(sides(lambda individual, partner=None: (sum(individual),)), generations=1)
    assert elites["A2B"].terms == {}


def test_a_run_is_never_overwritten_nor_resumed_with_other_settings(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(UserError, match="a folder with the config"):
        coevolve(sides(), run=path, resume=True)
    coevolve(sides(), run=path, generations=1, seed=1)
    with pytest.raises(UserError, match="holds no run yet"):
        coevolve(sides(), run=path, generations=1)
    with pytest.raises(UserError, match="holds no run yet"):
        coevolve(sides(), run=RunDirectory.open(path), generations=1)
    with pytest.raises(UserError, match="seed: got 2; expected 1, as saved"):
        coevolve(sides(), run=path, generations=1, seed=2, resume=True)
    with pytest.raises(UserError, match="schedule: got separate; expected alternate, as saved"):
        coevolve(sides(), run=path, generations=1, seed=1, schedule="separate", resume=True)
    with pytest.raises(UserError, match="population: got 4; expected 6, as saved"):
        coevolve(sides(size=4), run=path, generations=1, seed=1, resume=True)
    with pytest.raises(
        UserError,
        match=r"operators\.A2B\.mate, operators\.B2A\.mate: got .*:cxOnePoint.*; expected .*:cxGroup.*, as saved",
    ):
        coevolve(sides(mate="cxOnePoint"), run=path, generations=1, seed=1, resume=True)
    renamed = dict(zip("xy", sides().values(), strict=True))
    with pytest.raises(UserError, match="sides: got"):
        coevolve(renamed, run=path, generations=1, seed=1, resume=True)


@pytest.mark.parametrize("name", ["attributes", "select", "mate", "mutate"])
def test_an_operator_that_the_saved_run_had_not_is_refused(tmp_path, name):
    """Another function, other parameters, one more or one less; equal ones go on."""

    def own(*arguments):
        return arguments

    def search(change, **options):
        pair = {side: scripted(["01"], ["11"], ["10"]) for side in "AB"}
        change(pair["B"])
        return coevolve(pair, run=tmp_path / "run", **options)

    search(lambda toolbox: toolbox.register(name, own, times=2), generations=1)
    for change in (
        lambda toolbox: toolbox.register(name, own, times=3),
        lambda toolbox: toolbox.register(name, onemax, times=2),
        lambda toolbox: toolbox.unregister(name),
    ):
        with pytest.raises(UserError, match=rf"operators\.B\.{name}: got .*; expected .*own:times=2, as saved"):
            search(change, generations=2, resume=True)
    search(lambda toolbox: toolbox.register(name, own, times=2), generations=2, resume=True)


def test_damaged_files_are_named_on_resume(tmp_path):
    path = tmp_path / "run"
    coevolve(sides(), run=path, generations=1)
    evaluations = (path / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (path / "evaluations.jsonl").write_text("".join(evaluations[:-1]))
    with pytest.raises(UserError, match=rf"evaluations\.jsonl: got {len(evaluations) - 1} lines"):
        coevolve(sides(), run=path, generations=1, resume=True)
    (path / "evaluations.jsonl").write_text("".join(evaluations))
    whole = (path / "state.json").read_text()
    for damage in (
        lambda state: state["random"].pop("python"),
        lambda state: next(iter(state["strategies"].values())).update(parents=[]),
    ):
        damage(state := json.loads(whole))
        (path / "state.json").write_text(json.dumps(state))
        with pytest.raises(UserError, match=r"state\.json: got a state that cannot be used"):
            coevolve(sides(), run=path, generations=1, resume=True)


def test_the_caller_may_bring_the_directory_and_any_map(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_json("config.json", {"mine": True})
    pair = sides()
    for toolbox in pair.values():
        toolbox.register("map", lambda function, *columns: [function(*row) for row in zip(*columns, strict=True)])
    assert coevolve(pair, generations=2, seed=4, run=run) == coevolve(sides(), generations=2, seed=4)
    assert run.read_json("config.json") == {"mine": True}
