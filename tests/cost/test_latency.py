"""Predicted latency: the table and its file, the layers that are timed, and searches that obey. Asserts no timing."""

import copy
import functools
import itertools
import json
import random
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from networks import SIZE, UNet, random_bits, separable, toy_generator
from toytask import FILES, QUICK, contents, elites, outcome, toy_run

import ganprune.cost.latency as measure_module
from ganprune.cli import main
from ganprune.commands.evolve import resume
from ganprune.cost.latency import IDLE, PYTORCH, Engine, Segment, find_segments, least_grid, measure_latency
from ganprune.cost.latency_table import LATENCY, Grid, LatencyTable, from_json, grid_axes, to_json
from ganprune.errors import UserError
from ganprune.evolution import coevolve, make_toolbox
from ganprune.evolution.individual import Score
from ganprune.evolution.registry import REGISTRY, resolve
from ganprune.filters.builder import compact, make_builders
from ganprune.filters.space import FilterSpace
from ganprune.fitness import CycleFitness
from ganprune.pipeline import search
from ganprune.pipeline.budgets import hold_to_budgets
from ganprune.pipeline.checks import check_target
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import BudgetSettings, make_settings
from ganprune.settings.fitness import FitnessSettings

SIDES = ("A2B", "B2A")


def fake_table(space, factor=1.0):
    """A table that needs no clock: a layer takes 0.01 ms and 0.002 ms for each pair of channels, times a factor."""
    shapes = {
        path: Grid(inputs, outputs, tuple(tuple(factor * (0.01 + 0.002 * i * o) for o in outputs) for i in inputs))
        for path, (inputs, outputs) in grid_axes(space).items()
    }
    return LatencyTable({path: path for path in shapes}, shapes)


def by_hand(space, bits, factor=1.0):
    """What the fake table should give: it is bilinear itself."""
    return sum(factor * (0.01 + 0.002 * i * o) for i, o in space.widths(bits).values())


@pytest.fixture
def fake_clock(monkeypatch):
    """Tables that differ from measurement to measurement, as timed ones do."""
    measured = []

    def fake(generators, spaces, size, engine):
        assert engine is PYTORCH
        measured.append(size)
        return {side: fake_table(space, len(measured)) for side, space in spaces.items()}

    monkeypatch.setattr(search, "measure_latency", fake)
    return measured


@pytest.fixture(scope="module")
def space():
    return FilterSpace(toy_generator(), size=SIZE)


def test_between_grid_points_times_are_bilinear_and_outside_they_stay():
    grid = Grid((1, 3), (2, 4), ((1.0, 2.0), (5.0, 8.0)))
    assert [grid(*point) for point in itertools.product((1, 3), (2, 4))] == [1, 2, 5, 8]
    assert grid(2, 2) == 3 and grid(1, 3) == 1.5 and grid(2, 3) == 4
    assert grid(9, 9) == 8 and grid(0, 0) == 1
    assert Grid((3,), (1, 2), ((1.0, 3.0),))(3, 2) == 3


def test_part_of_a_block_takes_as_long_as_the_whole():
    grid = Grid((1, 4, 8), (1, 4, 8), ((1.0, 4.0, 8.0), (4.0, 16.0, 32.0), (8.0, 32.0, 64.0)), 4)
    assert grid(5, 5) == grid(7, 6) == grid(8, 8) == 64
    assert grid(4, 4) == 16 and grid(3, 4) == 12 and grid(2, 3) == 6  # what fits into one block counts as it is
    assert grid(9, 12) == 64


def test_where_channels_come_in_blocks_the_grid_has_one_two_four_of_them():
    wide = FilterSpace(toy_generator(ngf=24, blocks=1), size=SIZE)
    axes = grid_axes(wide, 16)
    assert axes["model.1"] == ((3,), (1, 16, 24)) and axes["model.7"] == ((1, 16, 32, 48), (1, 16, 32, 64, 96))
    assert grid_axes(wide.with_repair(multiple=8), 16)["model.4"] == ((8, 16, 24), (8, 16, 32, 48))


def test_the_grid_goes_from_one_filter_to_all_and_image_channels_stay(space):
    axes = grid_axes(space)
    assert list(axes) == list(space.widths(space.full()))
    assert axes["model.1"] == ((3,), (1, 2, 3, 4))
    assert axes["model.7"] == ((1, 3, 4, 6, 8), (1, 5, 8, 12, 16)) and list(axes.values())[-1] == ((1, 2, 3, 4), (3,))
    assert grid_axes(FilterSpace(separable(), size=SIZE))["3"] == ((1, 2, 4, 5, 6), (6,))  # depthwise


@pytest.mark.parametrize("make", [toy_generator, separable, UNet])
@pytest.mark.parametrize("seed", range(2))
def test_widths_are_those_of_the_compact_network(make, seed):
    generator = make().eval()
    space = FilterSpace(generator, size=SIZE)
    bits = random_bits(space, seed)
    network = compact(generator, space, bits)
    wanted = {name: (m.in_channels, m.out_channels) for name, m in network.named_modules() if hasattr(m, "in_channels")}
    assert space.widths(bits) == wanted


def test_a_prediction_is_the_sum_over_the_layers(space):
    for seed in range(3):
        bits = random_bits(space, seed)
        assert fake_table(space)(space.widths(bits)) == pytest.approx(by_hand(space, bits), rel=1e-12)


def test_a_layer_is_a_convolution_with_its_padding_norm_and_activation(space):
    segments = find_segments(toy_generator(), space, SIZE)
    names = {path: [type(module).__name__ for module in segment.modules] for path, segment in segments.items()}
    assert list(names) == list(grid_axes(space))
    assert names["model.1"] == ["ReflectionPad2d", "Conv2d", "InstanceNorm2d", "ReLU"]
    assert names["model.4"] == ["Conv2d", "InstanceNorm2d", "ReLU"]
    assert names["model.10.conv_block.5"] == ["ReflectionPad2d", "Conv2d", "InstanceNorm2d"]
    assert list(names.values())[-1] == ["ReflectionPad2d", "ImageConv2d", "Tanh"]
    assert segments["model.7"].shape == (1, 8, 8, 8)


@torch.no_grad()
def test_the_layers_one_after_the_other_are_the_network():
    generator = separable().eval()
    real = x = torch.rand(1, 3, SIZE, SIZE)
    for segment in find_segments(generator, FilterSpace(generator, size=SIZE), SIZE).values():
        x = torch.nn.Sequential(*segment.modules)(x)
    assert torch.equal(x, generator(real))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("options", [{"norm": "batch"}, {"affine": True}, None, "UNet"])
def test_every_grid_point_is_a_layer_of_that_many_channels(options):
    generator = {None: separable, "UNet": UNet}[options]() if options in (None, "UNet") else toy_generator(**options)
    for segment in find_segments(generator.eval(), FilterSpace(generator, size=SIZE), SIZE).values():
        depthwise = any(getattr(module, "groups", 1) > 1 for module in segment.modules)
        for inputs, outputs in itertools.product(*segment.axes):
            layer = segment.narrowed(inputs, outputs, torch.zeros(1, dtype=torch.float64))
            assert layer.image.shape == (1, inputs, *segment.shape[2:]) and layer.image.dtype == torch.float64
            produced = layer.module.float()(layer.image.float())
            assert produced.shape[1] == (inputs if depthwise else outputs)


def test_equal_layers_of_both_sides_are_measured_once(space, monkeypatch):
    monkeypatch.setattr(measure_module, "ROUNDS", 1)
    rounds = []
    original = measure_module.take_turns

    def watched(calls, device, **limits):
        rounds.append(calls)
        return original(calls, device, **limits)

    monkeypatch.setattr(measure_module, "take_turns", watched)
    generators = {side: toy_generator(seed=seed) for seed, side in enumerate(SIDES)}
    before = copy.deepcopy(generators["A2B"].state_dict())
    tables = measure_latency(generators, dict.fromkeys(SIDES, space), SIZE)
    assert tables["A2B"] == tables["B2A"] and list(tables["A2B"].layers) == list(grid_axes(space))
    assert tables["A2B"].layers["model.11.conv_block.1"] == "A2B/model.10.conv_block.1"
    assert len(tables["A2B"].shapes) == 8  # first, two down, two kinds in the blocks, two up, last
    assert len(rounds) == 1 and len(rounds[0]) == sum(
        len(g.inputs) * len(g.outputs) for g in tables["A2B"].shapes.values()
    )
    assert from_json(json.loads(json.dumps(to_json(tables, size=SIZE))), dict.fromkeys(SIDES, space), SIZE) == tables
    assert all(torch.equal(before[name], tensor) for name, tensor in generators["A2B"].state_dict().items())
    assert not any(module._forward_pre_hooks for module in generators["A2B"].modules())


class Clock:
    """Time that passes only while a layer is called: a millisecond for each of its outputs' channels, and one more."""

    def __init__(self):
        self.now, self.asked = 0.0, []

    def calls(self, layers):
        def call(channels):
            self.now += (channels + 1) / 1e3

        self.asked += layers.values()
        counts = {key: layer.module(layer.image).shape[1] for key, layer in layers.items()}
        return {key: functools.partial(call, count) for key, count in {**counts, IDLE: 0}.items()}


def test_an_engine_runs_the_layers_and_its_idle_time_is_taken_off(space):
    clock = Clock()
    engine = Engine(clock.calls, 8, lambda: clock.now)
    table = measure_latency({"A2B": toy_generator()}, {"A2B": space}, SIZE, engine)["A2B"]
    first, trunk = table.shapes["A2B/model.1"], table.shapes["A2B/model.10.conv_block.1"]
    assert first == Grid((3,), (1, 4), (pytest.approx((1.0, 4.0)),), 8)
    assert trunk.outputs == (1, 8, 16) and trunk.ms[0] == pytest.approx((1.0, 8.0, 16.0))
    assert table.block == 8 and table.shapes["A2B/model.12"].block == 1  # transposed
    ends = {(layer.first, layer.last) for layer in clock.asked}
    assert ends == {(True, False), (False, False), (False, True)}
    spaces = {"A2B": space}
    assert from_json(json.loads(json.dumps(to_json({"A2B": table}, size=SIZE))), spaces, SIZE) == {"A2B": table}


def test_layers_that_differ_are_measured_for_each_side(space, monkeypatch):
    monkeypatch.setattr(measure_module, "ROUNDS", 1)
    generators = {"A2B": toy_generator(), "B2A": toy_generator(norm="batch")}
    tables = measure_latency(generators, dict.fromkeys(SIDES, space), SIZE)
    shared = tables["A2B"].shapes.keys() & tables["B2A"].shapes.keys()
    assert shared == {tables["A2B"].layers[list(tables["A2B"].layers)[-1]]}  # the last one has no norm


def test_noise_never_lets_fewer_channels_take_longer():
    times = {
        ("x", point): ms for point, ms in zip(itertools.product((1, 2), (1, 2, 3)), (5.0, 2, 9, 3, 4, 6), strict=True)
    }
    layer = Segment((torch.nn.Conv2d(2, 3, 1),), (1, 2, 4, 4), ((1, 2), (1, 2, 3)))
    assert least_grid(layer, times, "x", 16) == Grid(*layer.axes, ((2.0, 2.0, 6.0), (3.0, 4.0, 6.0)), 16)
    transposed = replace(layer, modules=(torch.nn.ConvTranspose2d(2, 3, 1),))
    assert least_grid(transposed, times, "x", 16).block == 1


def test_dropping_filters_never_takes_longer_and_repair_drops_no_more_than_needed(space):
    space = FilterSpace(toy_generator(), size=SIZE)
    table = fake_table(space)
    draw = random.Random(1)
    for seed in range(5):
        more = random_bits(space, seed, 0.8)
        fewer = space.repair([bit and draw.random() < 0.7 for bit in more])
        assert table(space.widths(fewer)) <= table(space.widths(more))
    most = 0.4 * table(space.widths(space.full()))
    repaired = space.with_repair(fits=lambda bits: table(space.widths(bits)) <= most).repair(space.full())
    last = max((i for i, bit in enumerate(repaired) if not bit), key=space.saliency.__getitem__)
    one_more = [bit or index == last for index, bit in enumerate(repaired)]
    assert table(space.widths(repaired)) <= most < table(space.widths(one_more))


@pytest.fixture
def side_fitness(cyclegan, images):
    """A fitness by latency on sliced networks, and what makes another one of the same parts."""
    builders = make_builders(cyclegan, images, reconstruct=False)
    table = fake_table(builders["A2B"].space)

    def make(latency=table, **settings):
        settings = FitnessSettings(**settings)
        return CycleFitness(cyclegan, images, "A2B", builders=builders, settings=settings, latency=latency)

    return make


def test_terms_hold_the_share_and_the_milliseconds_only_where_there_is_a_table(side_fitness):
    fitness = side_fitness(cost="latency")
    bits = random_bits(fitness.space, 1)
    terms, full = fitness(bits).terms, fitness(fitness.space.full()).terms
    assert terms["latency_ms"] == pytest.approx(by_hand(fitness.space, bits))
    assert full["latency"] == 1 and terms["latency"] == terms["latency_ms"] / full["latency_ms"]
    assert fitness(bits)[0] == pytest.approx(1 / (terms["latency"] + 10 * (terms["l_disa"] + 10 * terms["l_cyc"])))
    assert side_fitness()(bits).terms["size"] == terms["n"] != terms["latency"]
    assert not {"latency", "latency_ms"} & side_fitness(None)(bits).terms.keys()
    with pytest.raises(UserError, match="cost: got latency; expected a latency table to go with it"):
        side_fitness(None, cost="latency")


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY["algorithm"])
def test_every_strategy_obeys_the_budget(side_fitness, name):
    fitness = side_fitness()
    most = 0.5 * fitness.cost.latency_ms(fitness.space.full())
    space = hold_to_budgets(fitness.cost, BudgetSettings(target_ratio=None, max_latency_ms=most), "A2B")
    toolboxes, reached = {}, []
    for side in SIDES:
        toolboxes[side] = make_toolbox(space, larger_is_better, init="initUniform:density=0.9")
        resolve("algorithm", name).function(population=6).register(toolboxes[side])
    coevolve(
        toolboxes, generations=3, seed=3, on_evaluation=lambda side, one: reached.append(fitness.cost.latency_ms(one))
    )  # fmt: skip
    assert (
        0.7 * most < max(reached) <= most
    )  # the largest ones are the best here, so that the budget is what holds them


def larger_is_better(individual, partner=None):
    """A score that pulls every search against its budget."""
    size = sum(individual) / len(individual)
    return Score((1 + size,), {"size": 1.0, "quality": 1 - size})


def break_off_search(moment):
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == moment:
            raise KeyboardInterrupt

    return Reporter(search=interrupt)


@pytest.mark.slow
def test_a_run_keeps_its_table_and_shows_the_prediction(checkpoint, image_folder, tmp_path, fake_clock):
    stages = []
    reporter = Reporter(stage=lambda text, total=None: stages.append(text))
    run = toy_run(checkpoint, image_folder, tmp_path / "run", reporter, cost="latency", max_latency_ms=1.5)
    assert fake_clock == [(SIZE, SIZE)] and "measuring the latency of every layer" in stages
    assert {path.name for path in run.directory.iterdir()} == FILES | {LATENCY}
    saved = run.read_json(LATENCY)
    assert (saved["format"], saved["size"], saved["batch"], saved["device"], saved["threads"]) == (1, SIZE, 1, "cpu", 1)
    for side in SIDES:
        space = FilterSpace(toy_generator(), size=SIZE)
        found = run.read_json("summary.json")["sides"][side]["search"]
        assert found["latency_ms"] == pytest.approx(by_hand(space, [int(bit) for bit in elites(run)[side]]))
        assert found["latency_ms"] <= 1.5 and found["size"] == found["latency"]
        assert found["latency"] == pytest.approx(found["latency_ms"] / by_hand(space, space.full()))
    assert all(line["terms"]["latency_ms"] <= 1.5 for line in run.read_jsonl("evaluations.jsonl"))


@pytest.mark.slow
def test_a_run_is_held_to_the_milliseconds_of_its_export(checkpoint, image_folder, tmp_path):
    pytest.importorskip("onnxruntime")
    options = {"cost": "latency", "target": "onnxruntime", "max_latency_ms": 1e3, "finetune_steps": 0, "generations": 1}
    run = toy_run(checkpoint, image_folder, tmp_path / "run", **options)
    saved, space = run.read_json(LATENCY), FilterSpace(toy_generator(), size=SIZE)
    facts = {name: saved[name] for name in ("target", "device", "threads", "size")}
    assert facts == {"target": "onnxruntime", "device": "cpu", "threads": 1, "size": SIZE} and saved["onnxruntime"]
    tables = from_json(saved, dict.fromkeys(SIDES, space), SIZE)
    for side, bits in elites(run).items():
        terms = run.read_json("summary.json")["sides"][side]["search"]
        assert terms["latency_ms"] == pytest.approx(tables[side](space.widths([int(bit) for bit in bits])))
        assert terms["size"] == terms["latency"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 4])
def test_a_resumed_run_goes_on_with_its_own_table(checkpoint, image_folder, tmp_path, fake_clock, moment):
    options = {"cost": "latency", "finetune_steps": 0}
    whole = toy_run(checkpoint, image_folder, tmp_path / "whole", **options)
    fake_clock.clear()  # the same table again
    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", break_off_search(moment), **options)
    assert outcome(resume(tmp_path / "run")) == outcome(whole)
    assert fake_clock == [(SIZE, SIZE)]  # not measured anew


def damaged(data, *path, value):
    """A copy of JSON data with the entry at a path replaced, or removed where the value is None."""
    data = where = json.loads(json.dumps(data))
    for key in path[:-1]:
        where = where[key]
    if value is None:
        del where[path[-1]]
    else:
        where[path[-1]] = value
    return data


SHAPE = ("shapes", "model.4", "ms")
DAMAGES = {
    "format": (("format",), 2, "format 2, a newer version's; expected format 1"),
    "no format": (("format",), None, "format None; expected format 1"),
    "size": (("size",), 64, "image size 64; expected size 16"),
    "side": (("sides", "B2A"), None, "no entry 'B2A'"),
    "missing layer": (("sides", "A2B", "layers", "model.4"), None, "layer model.4 of A2B, missing; expected every"),
    "unknown layer": (("sides", "A2B", "layers", "model.99"), "model.4", "layer model.99 of A2B, unknown"),
    "missing shape": (("shapes", "model.4"), None, "no entry 'model.4'"),
    "channels": (("shapes", "model.4", "inputs"), [1, 2, 3, 9], "layer model.4 of A2B with channels"),
    "nan": ((*SHAPE, 0, 0), float("nan"), "nan in shape model.4; expected finite numbers above 0"),
    "infinite": ((*SHAPE, 3, 4), float("inf"), "inf in shape model.4"),
    "zero": ((*SHAPE, 0, 0), 0, "0 in shape model.4"),
    "negative": ((*SHAPE, 0, 0), -1.5, "-1.5 in shape model.4"),
    "text": ((*SHAPE, 0, 0), "fast", "'fast' in shape model.4"),
    "true": ((*SHAPE, 0, 0), True, "True in shape model.4"),
    "falling": ((*SHAPE, 0, 0), 99.0, "times in shape model.4 that fall as channels are added"),
    "short": ((*SHAPE, 0), [1.0], "shape model.4 without a time for each channel count"),
    "no list": (("shapes", "model.4", "ms"), 3, "expected a latency table as a run writes it"),
    "layers": (("sides", "A2B", "layers"), 5, "expected a latency table as a run writes it"),
    "block": (("block",), 0, "blocks of 0 channels; expected a whole number of 1 or more"),
    "text as block": (("block",), "16", "blocks of '16' channels"),
    "another block": (("shapes", "model.4", "block"), 8, "blocks of 8 channels in shape model.4; expected 1 or 1"),
    "unhashable": (("sides", "A2B", "layers", "model.4"), [1], "expected a latency table as a run writes it"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_table_is_refused_by_name(space, name):
    path, value, message = DAMAGES[name]
    good = to_json(dict.fromkeys(SIDES, fake_table(space)), size=SIZE)
    spaces = dict.fromkeys(SIDES, space)
    assert from_json(good, spaces, SIZE) == dict.fromkeys(SIDES, fake_table(space))
    with pytest.raises(UserError, match=r"^latency\.json: got .*(Restore the file|Upgrade ganprune)") as error:
        from_json(damaged(good, *path, value=value), spaces, SIZE)
    assert message in str(error.value)
    for nonsense in ([], 7, None, "table"):
        with pytest.raises(UserError, match=r"^latency\.json: got "):
            from_json(nonsense, spaces, SIZE)


@pytest.mark.slow
def test_a_run_does_not_go_on_with_a_damaged_or_missing_table(checkpoint, image_folder, tmp_path, fake_clock):
    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", break_off_search(1), cost="latency")
    file = tmp_path / "run" / LATENCY
    saved = file.read_text()
    file.write_text(saved.replace('"format": 1', '"format": 7'))
    with pytest.raises(UserError, match="format 7"):
        resume(tmp_path / "run")
    file.write_text(saved[:-50])
    with pytest.raises(UserError, match=r"latency\.json: got damaged JSON"):
        resume(tmp_path / "run")
    file.unlink()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"latency\.json: got No such file"):
        resume(tmp_path / "run")
    assert contents(tmp_path) == before and fake_clock == [(SIZE, SIZE)]


@pytest.mark.slow
def test_a_latency_that_nothing_reaches_is_refused_with_the_least_that_is_possible(
    checkpoint, image_folder, tmp_path, fake_clock
):
    space = FilterSpace(toy_generator(), size=SIZE)
    least = by_hand(space, space.repair.least())
    message = rf"max latency ms: got 0.01; expected {least:.6g} or more.*Raise --max-latency-ms"
    with pytest.raises(UserError, match=message):
        toy_run(checkpoint, image_folder, tmp_path / "run", max_latency_ms=0.01)
    assert contents(tmp_path) == {}
    run = toy_run(
        checkpoint, image_folder, tmp_path / "run", max_latency_ms=2.5 * least, finetune_steps=0
    )  # measured a second time, so everything takes twice as long
    assert all(line["terms"]["latency_ms"] <= 2.5 * least for line in run.read_jsonl("evaluations.jsonl"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "max latency ms: got 0.0; expected a number above 0. Correct --max-latency-ms."),
        ("-3", "max latency ms: got -3.0"),
        ("nan", "max latency ms: got nan"),
        ("inf", "max latency ms: got inf"),
        ("fast", "'fast' is not a valid float"),
    ],
)
def test_bad_values_are_refused(tmp_path, monkeypatch, value, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["evolve", "--max-latency-ms", value])
    assert result.exit_code == 2 and message in result.stderr and "Traceback" not in result.output
    assert contents(tmp_path) == {}
    result = CliRunner().invoke(main, ["evolve", "--cost", "latencies"])
    assert result.exit_code == 2 and "cost: got latencies; expected params, macs or latency" in result.stderr
    assert "Did you mean 'latency'?" in result.stderr


def test_a_table_of_before_engines_had_blocks_is_read(space):
    tables = dict.fromkeys(SIDES, fake_table(space))
    data = to_json(tables, size=SIZE)
    del data["block"]
    for shape in data["shapes"].values():
        del shape["block"]
    assert from_json(data, dict.fromkeys(SIDES, space), SIZE) == tables


def test_a_run_asks_its_targets_engine_and_its_table_says_so(cyclegan, images, space, monkeypatch):
    asked = []
    monkeypatch.setattr(search, "onnxruntime_engine", lambda threads: ("onnxruntime", threads))
    monkeypatch.setattr(search, "measure_latency", lambda generators, spaces, size, engine: asked.append(engine))
    task = Task(cyclegan, images, None, None)
    settings = make_settings(cost="latency", target="onnxruntime", target_threads=2)
    spaces = dict.fromkeys(SIDES, space)
    for each in (settings, make_settings(cost="latency"), make_settings(target="onnxruntime")):
        search.latency_tables(task, each, spaces, None, lambda text: None)
    assert asked == [("onnxruntime", 2), PYTORCH]
    run = {"torch": "2", "size": SIZE, "device": "cuda", "threads": 4}
    assert search.latency_facts(make_settings(cost="latency"), run) == {"batch": 1, "target": "pytorch", **run}


def test_a_target_without_its_packages_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganprune.deploy.files.missing_packages", lambda: ["onnxruntime"])
    asked = ["--target", "onnxruntime", "--max-latency-ms", "3"]
    result = CliRunner().invoke(main, ["evolve", *asked])
    assert result.exit_code == 2 and contents(tmp_path) == {}
    assert "target onnxruntime: got no package onnxruntime" in result.stderr
    assert "pip install 'ganprune[onnx]'" in result.stderr
    check_target(make_settings(target="onnxruntime"))  # nothing asks for latencies


def test_the_quick_run_asks_for_no_latency():
    assert not make_settings("quick", **QUICK).needs_latency
    assert make_settings("quick", cost="latency").needs_latency
