"""Small forms of what scripts/reliability.py measures, and properties that hold for whatever is drawn."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import SIZE, toy_generator, toy_images
from toys import SIZES, ToySpace, make_side

from ganprune.errors import UserError
from ganprune.evolution import NSGA2, UMDA, Annealing, BinarySwarm, Genetic, RandomSearch, coevolve
from ganprune.evolution.individual import pack_bits, unpack_bits
from ganprune.evolution.randomness import Randomness
from ganprune.filters.builder import compact, mask
from ganprune.filters.space import FilterSpace
from ganprune.models.architecture import build, config_from_json, skeleton
from ganprune.models.discriminator import DiscriminatorConfig
from ganprune.models.generator import GeneratorConfig
from ganprune.runs.directory import RunDirectory, changes
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.settings.fields import from_json
from ganprune.settings.training import TrainingSettings

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Examples come from a fixed seed, so that a failure here is one everywhere; nothing is timed.
few = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def script():
    """scripts/reliability.py as a module."""
    sys.path.insert(0, str(SCRIPTS))
    specification = importlib.util.spec_from_file_location("reliability", SCRIPTS / "reliability.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPTS))


# --- small forms of the script's


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(script, tmp_path):
    small = {"population": 3, "generations": 1, "finetune_steps": 2, "finetune_batch": 1, "validation_images": 2}
    findings = script.kills(tmp_path, times=1, **small)
    assert [found["identical"] for found in findings] == [True] and findings[0]["kills"] >= 1
    assert script.kills(tmp_path, times=1, **small) == findings, "what is done is not done again"


@pytest.mark.slow
def test_mutated_inputs_give_documented_errors_and_nothing_else(script):
    tried, faults = script.fuzz_loaders(300)
    assert faults == [] and sum(tried.values()) == 300 and min(tried.values()) >= 12


def test_the_watch_on_loaders_sees_what_they_must_not_do(script, tmp_path):
    from fuzzing import Loader, try_input

    (tmp_path / "corpus" / "own").mkdir(parents=True)
    (tmp_path / "corpus" / "own" / "a.json").write_text("{}")

    def found(load, writes=()):
        loader = Loader("bad", ("own/a.json",), load, writes)
        return try_input(loader, tmp_path / "corpus", tmp_path / "copy", 1)

    def refuse(folder):
        raise UserError("a", "b", "c", "d")

    assert found(lambda folder: None) is None and found(refuse) is None
    assert "ValueError" in found(lambda folder: int("x"))
    assert "subprocess.Popen" in found(lambda folder: __import__("subprocess").run(["true"]))
    assert "open" in found(lambda folder: (folder / "new").write_text("x"))
    assert found(lambda folder: (folder / "new").write_text("x"), ("/new",)) is None


@pytest.mark.slow
def test_the_memory_of_a_search_is_watched_with_its_scores(script, tmp_path):
    found = script.watch_memory(4, tmp_path, every=2)
    assert [row[0] for row in found] == [0, 2, 4]
    assert all(megabytes > 50 for _, megabytes, _ in found) and found[0][2] < found[-1][2]


# --- bits

SPACES = {encoding: FilterSpace(toy_generator(), encoding=encoding, size=SIZE) for encoding in ("grouped", "tied")}


def bits_of(space):
    return st.lists(st.integers(0, 1), min_size=len(space), max_size=len(space))


@pytest.mark.slow
@few
@given(st.data(), st.sampled_from(sorted(SPACES)))
def test_encode_and_decode_are_inverse_and_repair_changes_only_what_is_empty(data, encoding):
    space = SPACES[encoding]
    bits = data.draw(bits_of(space))
    repaired = space.repair(bits)
    assert space.encode(space.decode(repaired)) == repaired == space.repair(repaired)
    space.check(repaired)
    for before, after in zip(space.split(bits), space.split(repaired), strict=True):
        assert before.tolist() == after.tolist() if any(before) else sum(after) == 1
    assert 0 < space.size_share(repaired) <= 1


@pytest.mark.slow
@few
@given(st.data())
def test_repair_keeps_to_any_budget_that_can_be_met(data):
    space = FilterSpace(toy_generator(), size=SIZE)
    least = space.parameter_count(space.repair.least())
    most = data.draw(st.integers(least, space.parameter_count(space.full())))
    space = space.with_repair(fits=lambda bits: space.parameter_count(bits) <= most)
    bits = data.draw(bits_of(space))
    repaired = space.repair(bits)
    assert space.parameter_count(repaired) <= most and space.repair(repaired) == repaired
    dropped_only = np.asarray(repaired) <= np.asarray(SPACES["grouped"].repair(bits))
    assert dropped_only.all() or space.parameter_count(repaired) <= least + 200


@few
@given(st.lists(st.integers(0, 1), max_size=200))
def test_packed_bits_unpack(bits):
    assert unpack_bits(pack_bits(bits)) == bits


@pytest.mark.slow
@few
@given(st.text(max_size=12))
def test_text_that_is_no_packed_bits_is_a_value_error_or_packs_again(text):
    try:
        bits = unpack_bits(text)
    except ValueError:
        return
    assert set(bits) <= {0, 1} and unpack_bits(pack_bits(bits)) == bits


GENERATORS = st.builds(
    GeneratorConfig, ngf=st.integers(1, 5), blocks=st.integers(0, 3), norm=st.sampled_from(["instance", "batch"]),
    affine=st.booleans(), dropout=st.booleans(), padding=st.sampled_from(["reflect", "replicate", "zero"]),
)  # fmt: skip


@pytest.mark.slow
@settings(parent=few, max_examples=12)
@given(GENERATORS, st.data())
def test_masked_is_compact_for_random_networks_and_bits(config, data):
    network = toy_generator(torch.float64, **{k: v for k, v in config.to_json().items() if k != "kind"})
    space = FilterSpace(network, size=SIZE)
    bits = space.repair(data.draw(bits_of(space)))
    images = toy_images(1)
    with torch.no_grad():
        small = compact(network, space, bits)
        assert (mask(network, space, bits)(images) - small(images)).abs().max() < 1e-10
    assert sum(p.numel() for p in small.parameters()) == space.parameter_count(bits)


# --- files and configurations


@few
@given(GENERATORS)
def test_an_architecture_comes_back_from_its_json_with_the_same_tensors(config):
    again = config_from_json(json.loads(json.dumps(config.to_json())), "generator")
    assert again == config
    shapes = [{key: value.shape for key, value in make(again).state_dict().items()} for make in (build, skeleton)]
    assert shapes[0] == shapes[1]


@few
@given(st.builds(DiscriminatorConfig, ndf=st.integers(1, 9), layers=st.integers(1, 5), affine=st.booleans()))
def test_a_discriminators_architecture_comes_back_from_its_json(config):
    assert config_from_json(json.loads(json.dumps(config.to_json())), "discriminator") == config


@few
@given(
    st.builds(
        make_settings, population=st.integers(2, 99), generations=st.integers(1, 99), gamma=st.floats(0, 1e6),
        max_seconds=st.none() | st.floats(1e-3, 1e6), reconstruct=st.booleans(), seed=st.integers(0, 2**32 - 1),
    )
)  # fmt: skip
def test_settings_come_back_from_their_json(chosen):
    data = json.loads(json.dumps(chosen.to_json()))
    assert from_json(EvolveSettings, data) == chosen and changes(data, chosen.to_json()) == []


@few
@given(st.floats(1e-9, 1), st.floats(0.1, 0.99), st.integers(0, 2**32 - 1))
def test_training_settings_come_back_from_their_json(rate, beta, seed):
    chosen = TrainingSettings(steps=3, learning_rate=rate, betas=(beta, 0.999), seed=seed)
    assert changes(json.loads(json.dumps(chosen.to_json())), chosen.to_json()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@few
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5), st.integers(0, 40))
def test_records_survive_the_file_and_a_cut_costs_only_the_last(tmp_path_factory, records, cut):
    run = RunDirectory.create(tmp_path_factory.mktemp("run"))
    for record in records:
        run.append_jsonl("log.jsonl", record)
    assert run.read_jsonl("log.jsonl") == records
    if records:
        content = run.path("log.jsonl").read_bytes()
        last = content[:-1].rfind(b"\n") + 1
        run.path("log.jsonl").write_bytes(content[: min(len(content), last + cut)])
        kept = run.read_jsonl("log.jsonl")
        assert kept in (records[:-1], records)
        run.append_jsonl("log.jsonl", {"after": 1})
        assert run.read_jsonl("log.jsonl") == [*kept, {"after": 1}]


@few
@given(st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_random_states_come_back_from_their_json(seed, draws):
    import random

    one, other = Randomness(seed), Randomness(0)
    with one.installed():
        [random.gauss(0, 1) for _ in range(draws)]
        np.random.normal(size=draws)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    drawn = []
    for randomness in (one, other):
        with randomness.installed():
            drawn.append((random.random(), random.gauss(0, 1), np.random.normal()))
    assert drawn[0] == drawn[1] and all(map(math.isfinite, drawn[0]))


STRATEGIES = (Genetic, Annealing, BinarySwarm, NSGA2, UMDA, RandomSearch)


@settings(parent=few, max_examples=10)
@given(
    st.sampled_from(STRATEGIES),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from(["alternate", "separate"]),
)
def test_any_search_stopped_after_any_step_ends_as_if_it_had_not_been(tmp_path_factory, kind, seed, step, schedule):
    def pair():
        from toys import shortfalls

        make = {NSGA2: lambda: NSGA2(4, objectives=shortfalls), Annealing: Annealing}.get(kind, lambda: kind(4))
        return {side: make_side(make()) for side in ("A2B", "B2A")}

    folder, taken = tmp_path_factory.mktemp("searches"), []

    def stop(progress):
        taken.append(progress)
        if len(taken) == step:
            raise InterruptedError

    options = {"generations": 2, "seed": seed, "schedule": schedule}
    whole = coevolve(pair(), run=folder / "whole", **options)
    with pytest.raises(InterruptedError):
        coevolve(pair(), run=folder / "cut", callback=stop, **options)
    assert coevolve(pair(), run=folder / "cut", resume=True, **options) == whole
    files = [(folder / name / "evaluations.jsonl").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1] and sum(SIZES) == len(whole["A2B"]) and ToySpace().repair(whole["A2B"]) == whole["A2B"]
