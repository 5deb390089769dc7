"""The Pareto front of a run: what is on it, what evolve writes, and any point of it made compact by ``pick``."""

import json
import shutil
from dataclasses import asdict

import pytest
from click.testing import CliRunner
from PIL import Image
from toytask import FILES, contents, elites, toy_run

import ganprune
from ganprune.cli import main
from ganprune.commands.evaluate import evaluate_run
from ganprune.commands.evolve import resume
from ganprune.commands.finetune import finetune_run
from ganprune.commands.pick import choose, pick_run
from ganprune.errors import UserError
from ganprune.evolution.algorithms.nsga2 import NSGA2, FrontIndividual
from ganprune.evolution.individual import Score, pack_bits, unpack_bits
from ganprune.fitness import CycleFitness
from ganprune.models.options import SIDES
from ganprune.pipeline.front import FIGURES, FRONT, Front, find_fronts, read_fronts
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import Search
from ganprune.report.pareto import Panel, draw_fronts
from ganprune.runs.directory import RunDirectory
from ganprune.settings.pick import Criterion

TOY = {"algorithm": "nsga2", "population": 8, "generations": 2, "target_ratio": 1}
MACHINE = {"device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def front_run(checkpoint, image_folder, tmp_path_factory):
    """A finished toy run of NSGA-II on both sides."""
    return toy_run(checkpoint, image_folder, tmp_path_factory.mktemp("front") / "run", **TOY)


@pytest.fixture
def fronts(front_run):
    return read_fronts(front_run)


def dominates(first, second):
    pairs = [(first[name], second[name]) for name in ("size", "quality")]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


# --- what is on a front


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_no_point_dominates_another_and_all_of_the_last_batch_that_nothing_dominates_are_there(front_run, fronts, side):
    points = fronts[side].points
    assert len(points) >= 3
    assert not any(dominates(first, second) for first in points for second in points)
    batch = front_run.read_json("state.json")["strategies"][side]["batch"]
    everyone = [{"bits": record["bits"], **record["terms"]} for record in batch]
    best = {one["bits"] for one in everyone if not any(dominates(other, one) for other in everyone)}
    assert {point["bits"] for point in points} == best
    sizes, losses = ([point[name] for point in points] for name in ("size", "quality"))
    assert sizes == sorted(sizes) and losses == sorted(losses, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_a_points_figures_are_its_bits(front_run, fronts, side, checkpoint, images):
    front = fronts[side]
    fitness = CycleFitness(ganprune.load_cyclegan(checkpoint), images, side)
    full = fitness.space.full()
    assert front.original == {"parameters": fitness.cost.parameters(full), "macs_per_image": fitness.cost.macs(full)}
    for point in front.points:
        bits = unpack_bits(point["bits"])
        assert (point["parameters"], point["macs_per_image"]) == (
            fitness.cost.parameters(bits),
            fitness.cost.macs(bits),
        )
        assert point["n"] == point["size"] == fitness.space.size_share(bits)
        assert point["macs"] == pytest.approx(point["macs_per_image"] / front.original["macs_per_image"])
        assert point["quality"] == pytest.approx(point["l_disa"] + 10 * point["l_cyc"])
        assert point["fitness"] == pytest.approx(1 / (point["size"] + 10 * point["quality"]))


@pytest.mark.parametrize("side", SIDES)
def test_the_best_point_is_the_runs_elite(front_run, fronts, side):
    front = fronts[side]
    best = front.points[front.best]
    assert best["fitness"] == max(point["fitness"] for point in front.points)
    assert "".join(map(str, unpack_bits(best["bits"]))) == elites(front_run)[side]


@pytest.mark.slow
def test_the_file_says_what_the_objectives_are(front_run, checkpoint, image_folder, tmp_path):
    data = front_run.read_json(FRONT)
    assert data["format"] == 1 and list(data["sides"]) == ["A2B", "B2A"]
    assert data["objectives"] == {"size": "params", "quality": "l_disa + 10 * l_cyc", "gamma": 10.0}
    options = {"cost": "macs", "loss": "gena", "lam": 2.0, "identity": 0.5, "generations": 1, "finetune_steps": 0}
    other = toy_run(checkpoint, image_folder, tmp_path / "run", **{**TOY, **options})
    assert other.read_json(FRONT)["objectives"]["quality"] == "l_gena + 2 * l_cyc + 1 * identity"
    for point in read_fronts(other)["A2B"].points:
        assert point["size"] == point["macs"] != point["n"]


class Batch(NSGA2):
    """NSGA-II after a batch with these terms."""

    def __init__(self, *batch):
        super().__init__(4)
        self.batch = [FrontIndividual(unpack_bits(pack_bits([n >> 1 & 1, n & 1]))) for n in range(len(batch))]
        for individual, terms in zip(self.batch, batch, strict=True):
            score = Score((terms["size"], terms.get("quality", 1e12)), terms)
            individual.fitness.values, individual.terms = tuple(score), score.terms


class Counted:
    """A fitness whose filter space and cost count bits."""

    def __init__(self):
        self.space = self.cost = self

    def parameters(self, bits):
        return 10 * sum(bits)

    def macs(self, bits):
        return 100 * sum(bits)

    def full(self):
        return [1, 1]


def test_a_candidate_whose_losses_are_not_finite_is_no_compromise():
    broken = {"size": 0.1, "fitness": 1e-12}
    three = (0.2, 3.0, 0.3), (0.3, 1.2, 0.6), (0.5, 1.0, 0.7)
    whole = [dict(zip(("size", "quality", "fitness"), values, strict=True)) for values in three]
    fitness = {"A2B": Counted(), "B2A": Counted()}
    found = find_fronts(Search({}, fitness, {}, {"A2B": Batch(broken, *whole), "B2A": Batch(broken)}, 0.0))
    assert list(found) == ["A2B"]
    assert [found["A2B"].individual(index).terms for index in range(3)] == whole
    assert [point["parameters"] for point in found["A2B"].points] == [10, 10, 20]
    assert (found["A2B"].knee, found["A2B"].best) == (1, 2)


def front(*points, parameters=1000, macs=10000):
    """A front of points (parameters, loss); the MACs are ten times the parameters, and F is 1 / (size + loss)."""
    least = min(loss for _, loss in points)
    made = [
        {
            "bits": f"4:0{n:x}", "size": p / parameters, "quality": q, "fitness": 1 / (p / parameters + q),
            "parameters": p, "macs_per_image": 10 * p, "relative_quality": least / q,
        }
        for n, (p, q) in enumerate(points)
    ]  # fmt: skip
    return Front({"parameters": parameters, "macs_per_image": macs}, 1, len(made) - 1, made)


HAND = {"A2B": front((100, 8.0), (200, 4.0), (400, 2.5), (800, 2.0)), "B2A": front((150, 2.0), (300, 1.0))}


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ({"max_macs": 3999}, (1, 1)),
        ({"max_macs": 4000}, (2, 1)),
        ({"max_params": 150}, (0, 0)),
        ({"max_params": 1e9}, (3, 1)),
        ({"target_ratio": 5}, (1, 0)),
        ({"target_ratio": 5.01}, (0, 0)),
        ({"target_ratio": 1}, (3, 1)),
        ({"min_quality": 1}, (3, 1)),
        ({"min_quality": 0.8}, (2, 1)),
        ({"min_quality": 0.5}, (1, 0)),
        ({"min_quality": 0.01}, (0, 0)),
        ({"knee": True}, (1, 1)),
        ({"index": (3, 0)}, (3, 0)),
    ],
)
def test_each_criterion_takes_the_point_that_it_says(criterion, expected):
    assert choose(HAND, Criterion(**criterion)) == dict(zip(SIDES, expected, strict=True))


def test_a_side_without_a_front_is_left_to_its_elite():
    only = {"A2B": HAND["A2B"]}
    assert choose(only, Criterion(max_macs=4000)) == {"A2B": 2}
    assert choose(only, Criterion(index=(3, 0))) == {"A2B": 3}
    with pytest.raises(UserError, match=r"index: got 1 for B2A; expected 0: this side has no front. Correct --index"):
        choose(only, Criterion(index=(3, 1)))


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (
            {"max_macs": 1499},
            r"max macs: got 1499; expected 1500 or more \(.*: A2B 1000, B2A 1500\). Correct",
        ),
        ({"max_params": 99}, r"max params: got 99; expected 150 or more \(the smallest .*: A2B 100, B2A 150\)"),
        ({"target_ratio": 7}, r"target ratio: got 7; expected 6.66 or less \(the smallest .*: A2B 10, B2A 6.66\)"),
        ({"index": (4, 0)}, "index: got 4 for A2B; expected 0 to 3"),
        ({"index": (0, -1)}, "index: got -1 for B2A; expected 0 to 1"),
    ],
)
def test_where_no_point_fits_the_message_says_the_smallest_there_is(criterion, message):
    with pytest.raises(UserError, match=message):
        choose(HAND, Criterion(**criterion))


def test_the_numbers_that_a_refusal_names_work():
    assert choose(HAND, Criterion(max_macs=1500)) == {"A2B": 0, "B2A": 0}
    assert choose(HAND, Criterion(target_ratio=6.66)) == {"A2B": 0, "B2A": 0}


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({}, "criterion: got none; expected exactly one of --max-macs, .*--index"),
        ({"max_macs": 1.0, "knee": True}, "criterion: got --max-macs and --knee; expected exactly one of"),
        ({"max_macs": 0.0}, "max macs: got 0.0; expected a number above 0. Correct --max-macs"),
        ({"max_params": float("nan")}, "max params: got nan; expected a number above 0"),
        ({"target_ratio": float("inf")}, "target ratio: got inf; expected a number above 0"),
        (
            {"min_quality": 1.01},
            "min quality: got 1.01; expected a number above 0 and at most 1. Correct --min-quality",
        ),
        ({"min_quality": 0.0}, "min quality: got 0.0; expected a number above 0 and at most 1"),
    ],
)
def test_a_criterion_that_cannot_be_is_refused(criterion, message):
    with pytest.raises(UserError, match=message):
        Criterion(**criterion)


def test_relative_quality_survives_the_file_and_names_its_own_point(fronts):
    for side, one in fronts.items():
        data = json.loads(json.dumps(asdict(one)))
        assert Front(**data) == one
        for index, record in enumerate(data["points"]):
            assert choose({side: one}, Criterion(min_quality=record["relative_quality"])) == {side: index}


# --- what evolve writes


@pytest.mark.slow
def test_evolve_writes_the_front_and_its_picture_and_other_algorithms_do_not(front_run, run):
    assert {path.name for path in front_run.directory.iterdir()} == FILES | {"front.json", "front.png"}
    assert {path.name for path in run.directory.iterdir()} == FILES
    with Image.open(front_run.path("front.png")) as picture:
        assert picture.format == "PNG" and picture.width > 1.5 * picture.height > 600


def pixels(folder, **changed):
    """A front's picture as bytes."""
    panel = {"title": "A2B", "sizes": [0.1, 0.2, 0.5], "losses": [3.0, 1.0, 0.5], "knee": 1, "best": 2, **changed}
    draw_fronts(folder / "front.png", [Panel(**panel)], size_label="size", loss_label="loss")
    return Image.open(folder / "front.png").convert("RGB").tobytes()


@pytest.mark.slow
def test_the_picture_shows_its_points_and_both_marks(tmp_path):
    drawn = pixels(tmp_path)
    assert drawn == pixels(tmp_path)
    others = [pixels(tmp_path, **other) for other in ({"knee": 0}, {"best": 0}, {"losses": [3.0, 1.5, 0.5]})]
    assert len({drawn, *others}) == 4
    assert pixels(tmp_path, sizes=[0.3], losses=[1.0], knee=0, best=0)  # a front of one point has a picture too


@pytest.mark.slow
def test_a_front_is_the_same_however_often_the_run_is_interrupted(front_run, checkpoint, image_folder, tmp_path):
    seen = []

    def interrupt(*arguments):
        seen.append(arguments)
        if len(seen) in (3, 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(search=interrupt), **TOY)
    early = (tmp_path / "run" / FRONT).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        resume(tmp_path / "run", reporter=Reporter(search=interrupt))
    (tmp_path / "run" / FRONT).unlink()  # as if it had been cut off before writing it
    resumed = resume(tmp_path / "run")
    assert early != front_run.path(FRONT).read_bytes()
    for name in (FRONT, "front.png", "A2B.safetensors"):
        assert resumed.path(name).read_bytes() == front_run.path(name).read_bytes()


# --- pick


@pytest.mark.slow
@pytest.mark.parametrize("end", ["smallest", "best"])
def test_pick_makes_the_points_bits_compact(front_run, fronts, tmp_path, end):
    before = contents(front_run.directory)
    index = tuple(0 if end == "smallest" else len(fronts[side].points) - 1 for side in SIDES)
    picked = pick_run(front_run.directory, Criterion(index=index), tmp_path / "new", **MACHINE)
    assert contents(front_run.directory) == before
    assert {path.name for path in picked.directory.iterdir()} == {
        "A2B.json", "A2B.safetensors", "B2A.json", "B2A.safetensors", "config.json", "samples.png", "summary.json",
    }  # fmt: skip
    summary, config = picked.read_json("summary.json"), picked.read_json("config.json")
    assert config["command"] == "pick" and config["from"] == str(front_run.directory)
    assert config["criterion"] == {"index": list(index)} and config["points"] == dict(zip(SIDES, index, strict=True))
    for side, number in zip(SIDES, index, strict=True):
        point, figures = fronts[side].points[number], summary["sides"][side]
        assert pack_bits(map(int, elites(picked)[side])) == point["bits"]
        assert figures["parameters"]["compact"] == point["parameters"]
        assert figures["macs"]["input_size"]["compact"] == point["macs_per_image"]
        network = ganprune.load_generator(picked.path(side))
        assert sum(parameter.numel() for parameter in network.parameters()) == point["parameters"]
        assert figures["algorithm"] == "nsga2"
        reference = figures["search"].pop("reference_fitness")
        assert figures["search"] == fronts[side].individual(number).terms and reference > 0
        assert not {"bits", *FIGURES} & figures["search"].keys()
    source = front_run.read_json("summary.json")
    for key in ("evaluations", "rescores", "cost", "generations", "data_sha256", "seed", "images"):
        assert summary[key] == source[key]


@pytest.mark.slow
def test_picking_the_elites_gives_the_runs_own_generators(front_run, fronts, tmp_path):
    index = tuple(fronts[side].best for side in SIDES)
    picked = pick_run(front_run.directory, Criterion(index=index), tmp_path / "new", **MACHINE)
    for name in ("A2B.safetensors", "B2A.safetensors", "A2B.json", "samples.png"):
        assert picked.path(name).read_bytes() == front_run.path(name).read_bytes()
    ours, theirs = (run.read_json("summary.json")["sides"]["A2B"] for run in (picked, front_run))
    assert ours["metrics"] == theirs["metrics"] and ours["search"] == theirs["search"]


@pytest.mark.slow
def test_evaluate_and_finetune_take_what_pick_wrote(front_run, tmp_path):
    picked = pick_run(front_run.directory, Criterion(knee=True), tmp_path / "new", finetune_steps=0, **MACHINE)
    assert picked.read_json("config.json")["settings"]["finetune"]["steps"] == 0
    figures, summary = evaluate_run(picked.directory, **MACHINE), picked.read_json("summary.json")["sides"]
    assert {side: figures[side]["metrics"] for side in SIDES} == {side: summary[side]["metrics"] for side in SIDES}
    tuned = finetune_run(picked.directory, tmp_path / "tuned", steps=2, batch=1, **MACHINE)
    assert elites(tuned) == elites(picked)
    assert tuned.read_json("summary.json")["sides"]["A2B"]["search"] == summary["A2B"]["search"]
    with pytest.raises(UserError, match=r"run: .*\(of ganprune pick\); expected a run of ganprune evolve"):
        resume(picked.directory)


@pytest.fixture(scope="module")
def half_run(checkpoint, image_folder, tmp_path_factory):
    """A finished toy run with NSGA-II on one side only."""
    options = {**TOY, "algorithm": "nsga2/annealing", "generations": 1, "finetune_steps": 1}
    return toy_run(checkpoint, image_folder, tmp_path_factory.mktemp("half") / "run", **options)


@pytest.mark.slow
def test_pick_takes_the_elite_where_a_side_has_no_front(half_run, tmp_path):
    fronts, stages = read_fronts(half_run), []
    assert list(fronts) == ["A2B"] and half_run.exists("front.png")
    reporter = Reporter(stage=lambda text, total=None: stages.append(text))
    picked = pick_run(half_run.directory, Criterion(index=(0, 0)), tmp_path / "new", reporter=reporter, **MACHINE)
    assert pack_bits(map(int, elites(picked)["A2B"])) == fronts["A2B"].points[0]["bits"]
    assert elites(picked)["B2A"] == elites(half_run)["B2A"]
    sides = [run.read_json("summary.json")["sides"] for run in (picked, half_run)]
    assert sides[0]["B2A"]["search"] == sides[1]["B2A"]["search"]
    assert [side["algorithm"] for side in sides[0].values()] == ["nsga2", "annealing"]
    assert any(text.startswith("B2A: no front") for text in stages)


def test_an_elite_is_taken_from_a_finished_run_only(half_run, tmp_path):
    shutil.copytree(half_run.directory, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UserError, match=r"unfinished.*ganprune evolve --resume"):
        pick_run(tmp_path / "run", Criterion(knee=True), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_an_interrupted_run_can_be_picked_from(checkpoint, image_folder, tmp_path):
    def interrupt(progress):
        if (progress.generation, progress.side) == (1, "B2A"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(search=interrupt), **TOY)
    picked = pick_run(tmp_path / "run", Criterion(knee=True), tmp_path / "new", finetune_steps=1, **MACHINE)
    assert picked.read_json("summary.json")["generations"] == 1


@pytest.mark.slow
def test_an_interrupted_pick_leaves_its_folder_free(front_run, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pick_run(front_run.directory, Criterion(knee=True), tmp_path / "new", reporter=Reporter(training=interrupt))
    picked = pick_run(front_run.directory, Criterion(knee=True), tmp_path / "new", finetune_steps=0)
    assert picked.exists("summary.json")


def test_a_run_without_a_front_and_a_damaged_one_are_refused(front_run, run, tmp_path):
    with pytest.raises(UserError, match=r"run: got .*no front.json in it\); expected .* evolve --algorithm nsga2"):
        pick_run(run.directory, Criterion(knee=True), tmp_path / "new")
    shutil.copytree(front_run.directory, tmp_path / "run")
    copy, whole = RunDirectory(tmp_path / "run"), front_run.read_json(FRONT)

    def side(**changed):
        return {**whole, "sides": {**whole["sides"], "A2B": {**whole["sides"]["A2B"], **changed}}}

    def points(**changed):
        return side(points=[{**point, **changed} for point in whole["sides"]["A2B"]["points"]])

    for damaged, message in (
        ({**whole, "format": 2}, "format 2, a newer version's; expected format 1"),
        ({**whole, "sides": {}}, "a front that cannot be used"),
        ({**whole, "sides": {"A2C": whole["sides"]["A2B"]}}, "A2C"),
        ({"format": 1}, "sides"),
        ([], "got format None; expected format 1"),
        (side(knee=99), "point 99 of"),
        (side(points=[]), "point"),
        (points(quality="low"), "low"),
        (points(bits="twelve"), "twelve"),
        (side(knee=0.0), "point 0.0 of"),
        (points(parameters="10"), "parameters = '10'"),
        (points(macs_per_image=0), "macs_per_image = 0"),
        (points(relative_quality=0.5), "no point of relative quality 1"),
        (points(l_gena="none"), "l_gena = 'none'"),
        (points(bits="3:05"), "bits of side A2B that the generator does not have"),
    ):
        copy.write_json(FRONT, damaged)
        with pytest.raises(UserError, match=message):
            pick_run(copy.directory, Criterion(knee=True), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- the command


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_pick_on_the_command_line(front_run, fronts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "pick-001").mkdir(parents=True)
    most = max(front.points[0]["macs_per_image"] for front in fronts.values())
    result = call("pick", front_run.directory, "--max-macs", most, "--finetune-steps", 0, "--device", "cpu")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "A2B: point " in result.stderr and "of the best quality" in result.stderr
    assert "parameters" in result.stdout and "runs/pick-002/samples.png" in result.stdout
    sides = RunDirectory("runs/pick-002").read_json("summary.json")["sides"]
    assert all(side["macs"]["input_size"]["compact"] <= most for side in sides.values())
    assert call("evaluate", "runs/pick-002", "--no-speed").exit_code == 0


def test_bad_input_has_one_message_and_writes_nothing(front_run, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = contents(front_run.directory)
    for arguments, message in (
        ((front_run.directory,), "criterion: got none; expected exactly one of --max-macs"),
        ((front_run.directory, "--knee", "--min-quality", "0.9"), "criterion: got --min-quality and --knee"),
        ((front_run.directory, "--max-macs", 10), "max macs: got 10.0; expected"),
        ((front_run.directory, "--max-macs", "lots"), "'lots' is not a valid float"),
        ((front_run.directory, "--index", 1), "'--index' requires 2 arguments"),
        ((front_run.directory, "--index", 99, 0), "index: got 99 for A2B; expected 0 to"),
        ((front_run.directory, "--kne"), "--knee"),
        ((front_run.directory, "--knee", "--finetune-steps", -1), "finetune steps: got -1"),
        ((front_run.directory, "--knee", "--device", "gpu"), "device: got gpu"),
        ((front_run.directory, "--knee", "--threads", 0), "threads: got 0"),
        ((front_run.directory, "--knee", "--out", front_run.directory), "holds no run yet"),
        ((run.directory, "--knee"), "expected a run of ganprune evolve --algorithm nsga2"),
        (("nowhere", "--knee"), "run directory: got nowhere"),
        (("--knee",), "Missing argument 'RUN'"),
    ):
        result = call("pick", *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1 and message in errors[0] and "Traceback" not in result.output
    assert contents(tmp_path) == {} and contents(front_run.directory) == before
