"""Every program in ``examples/`` runs at toy size and prints what it is there to show."""

import contextlib
import io
import itertools
import random
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from deap import tools
from toys import SIZES, ToySpace

from ganprune.cli import main
from ganprune.evolution import Individual
from ganprune.runs.directory import RunDirectory

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SMALL = ["--population", "4", "--generations", "2"]

# Options that make each example small.
RUNS = {
    "evolve": SMALL,
    "swap_operator": SMALL,
    "own_operator": SMALL,
    "swap_algorithm": ["--population", "4", "--max-evaluations", "30"],
    "algorithm_per_side": SMALL,
    "nsga2_front": ["--population", "8", "--generations", "2"],
    "deap_loop": SMALL,
    "watch_search": SMALL,
    "compare_algorithms": ["--population", "4", "--max-evaluations", "16", "--seeds", "1", "2"],
    "knapsack": ["--items", "20", "--population", "10", "--generations", "10"],
}
WITHOUT_IMAGES = {"knapsack"}
PAPER = {"reproduce_paper", "paper_tables"}  # tests/test_reproduce_paper.py


@pytest.fixture(scope="module", autouse=True)
def importable():
    """As for ``python examples/NAME.py``, modules beside the program can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield


@pytest.fixture(scope="module")
def printed(checkpoint, image_folder):
    """Run an example at toy size, once for each choice of further arguments, and return the lines it prints."""
    known = {}

    def run(name, *arguments):
        if (name, arguments) not in known:
            task = [] if name in WITHOUT_IMAGES else ["--checkpoint", str(checkpoint), "--data", str(image_folder)]
            with contextlib.redirect_stdout(io.StringIO()) as output:
                example(name)["main"]([*task, *RUNS[name], *arguments])
            known[name, arguments] = output.getvalue().splitlines()
        return known[name, arguments]

    return run


def example(name):
    """The names that an example defines, its ``main`` not called."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name)


def numbers(line):
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", line.replace(",", ""))]


def test_every_example_is_run_here_and_described_in_the_readme():
    names = sorted({path.stem for path in EXAMPLES.glob("*.py")} - PAPER)
    assert names == sorted(RUNS)
    assert sorted(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", README, re.MULTILINE)) == names
    assert sorted(re.findall(r"^### (\w+)\.py$", README, re.MULTILINE)) == names


@pytest.mark.parametrize("name", sorted(RUNS))
def test_an_example_says_how_to_run_it_and_is_a_program(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"\n    python examples/{name}.py\n" in text.split('"""')[1]
    assert text.endswith('if __name__ == "__main__":\n    main()\n')


@pytest.mark.slow
def test_evolve_prints_each_step_and_both_sizes(printed):
    *steps, first, second = printed("evolve")
    assert [re.match(r"generation (\d) (\w+) met (the original|an elite)", line).groups() for line in steps] == [
        ("0", "A2B", "the original"), ("0", "B2A", "the original"), ("1", "A2B", "an elite"),
        ("1", "B2A", "an elite"), ("2", "A2B", "an elite"), ("2", "B2A", "an elite"),
    ]  # fmt: skip
    for side, line in (("A2B", first), ("B2A", second)):
        assert line.startswith(f"{side}: ")
        original, compact, ratio, fitness = numbers(line.split(":")[1])
        assert compact <= original and ratio == pytest.approx(original / compact, abs=0.01) and fitness > 0


@pytest.mark.slow
def test_swap_operator_uses_both_crossovers(checkpoint, image_folder, capsys, monkeypatch):
    called = []

    def cxUniform(ind1, ind2, indpb):
        called.append(indpb)
        return ind1, ind2

    monkeypatch.setattr(tools, "cxUniform", cxUniform)
    example("swap_operator")["main"](["--checkpoint", str(checkpoint), "--data", str(image_folder), *SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cxGroup", "cxUniform"]
    assert set(called) == {0.3}
    for line in lines:
        shares = re.findall(r"(A2B|B2A) F = (0\.\d+) at N = (\d\.\d+)", line)
        assert [side for side, _, _ in shares] == ["A2B", "B2A"]
        assert all(0 < float(share) <= 1 for _, _, share in shares)


def test_own_operator_is_the_one_that_mutates(printed):
    lines = printed("own_operator")
    assert [line.split(", F")[0] for line in lines] == [f"{s}: mutMoveWidth with share=0.3" for s in ("A2B", "B2A")]


def test_own_operator_moves_width_from_one_group_to_another():
    mutate = example("own_operator")["mutMoveWidth"]
    random.seed(3)
    ends = list(itertools.accumulate(SIZES))
    moved = 0
    for seed in range(50):
        draw = random.Random(seed)
        before = Individual(ToySpace().repair([draw.randint(0, 1) for _ in range(sum(SIZES))]))
        after = mutate(Individual(before), SIZES, ToySpace.saliency, share=1.0)[0]
        groups = [slice(end - size, end) for size, end in zip(SIZES, ends, strict=True)]
        widths = [(sum(before[group]), sum(after[group])) for group in groups]
        assert sum(after) == sum(before)
        assert sum(old != new for old, new in widths) in (0, 2)
        assert all(new >= 1 for _, new in widths)
        moved += after != before
    assert moved > 10  # a group that is full takes nothing, one with a single filter gives nothing


@pytest.mark.slow
def test_own_operator_can_be_named_on_the_command_line(checkpoint, image_folder, tmp_path):
    spec = "own_operator:mutMoveWidth:share=0.1"
    assert f"PYTHONPATH=examples ganprune evolve --mutate {spec}" in example("own_operator")["__doc__"]
    options = [
        "--data",
        image_folder,
        "--checkpoint",
        checkpoint,
        "--population",
        3,
        "--generations",
        1,
        "--threads",
        1,
    ]
    options += ["--finetune-steps", 0, "--calibration-images", 4, "--device", "cpu", "--out", tmp_path / "run"]
    result = CliRunner().invoke(main, ["evolve", *map(str, options), "--mutate", spec])
    assert result.exit_code == 0, result.output
    assert RunDirectory.open(tmp_path / "run").read_json("config.json")["settings"]["search"]["mutate"] == spec


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "first", "later"),
    [
        ("ga", 4, 4),
        ("annealing", 4, 9),
        ("swarm", 4, 8),
        ("nsga2", 4, 8),
        ("umda", 4, 4),
        ("widths", 4, 4),
        ("random", 4, 4),
    ],
)
def test_swap_algorithm_stays_within_its_cost(printed, algorithm, first, later):
    lines = printed("swap_algorithm", "--algorithm", algorithm)
    steps = [re.search(r"^(\w+) generation (\d+) (\w+): (\d+) individuals, cost so far ([\d.]+)", x) for x in lines]
    assert {step[1] for step in steps} == {algorithm}
    assert [int(step[4]) for step in steps] == [first if step[2] == "0" else later for step in steps]
    costs = [float(step[5]) for step in steps]
    assert costs == sorted(costs) and costs[-1] <= 30
    assert int(steps[-1][2]) >= 1


def test_algorithm_per_side_runs_two_algorithms_in_turn(printed):
    steps = [re.match(r"generation (\d) (\w+) by (\w+) *: (\d) individuals", x) for x in printed("algorithm_per_side")]
    assert [step.groups() for step in steps] == [
        ("0", "A2B", "Genetic", "4"), ("0", "B2A", "BinarySwarm", "2"), ("1", "A2B", "Genetic", "4"),
        ("1", "B2A", "BinarySwarm", "4"), ("2", "A2B", "Genetic", "4"), ("2", "B2A", "BinarySwarm", "4"),
    ]  # fmt: skip


@pytest.mark.slow
def test_nsga2_front_is_a_front_with_elite_and_knee(printed):
    lines = printed("nsga2_front")
    starts = [index for index, line in enumerate(lines) if line.endswith("compromises")]
    assert [lines[start][:3] for start in starts] == ["A2B", "B2A"]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        rows = lines[start + 2 : end]
        assert int(lines[start].split()[1]) == len(rows)
        figures = np.array([numbers(row)[:4] for row in rows])
        assert (np.diff(figures[:, 1]) >= 0).all() and (np.diff(figures[:, 2]) <= 0).all()
        assert sum("knee" in row for row in rows) == 1
        elite = next(index for index, row in enumerate(rows) if "elite" in row)
        assert figures[elite, 3] == figures[:, 3].max()


def test_deap_loop_prints_deaps_logbook(printed):
    lines = printed("deap_loop")
    assert lines[0].split() == ["fitness", "size"]
    assert lines[2].split()[:2] == ["gen", "nevals"]
    assert [line.split()[0] for line in lines[3:-1]] == ["0", "1", "2"]
    evaluations, fitness, size = numbers(lines[-1])
    assert evaluations == sum(int(line.split()[1]) for line in lines[3:-1])
    assert fitness > 0 and 0 < size <= 1


def test_watch_search_logs_diversity_and_hypervolume(printed):
    lines = printed("watch_search")
    assert [lines[0], lines[5]] == ["A2B", "B2A"] and len(lines) == 10
    for rows in (lines[1:5], lines[6:10]):
        assert rows[0].split() == ["generation", "mean", "best", "diversity", "hypervolume"]
        figures = np.array([numbers(row) for row in rows[1:]])
        assert figures[:, 0].tolist() == [0, 1, 2]
        assert (figures[:, 1] <= figures[:, 2]).all()
        assert ((figures[:, 3:] >= 0) & (figures[:, 3:] <= 1)).all()
        assert figures[0, 3] > 0


def test_watch_search_computes_both_figures_as_it_says():
    names = example("watch_search")
    rows = [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]  # pairs differ in 1, 2 and 1 of 4 bits
    population = [Individual(row) for row in rows]
    assert names["diversity"](population) == pytest.approx((1 + 2 + 1) / 3 / 4)
    for individual, terms in zip(population, [(0.5, 0.2), (0.25, 0.6), (0.75, 0.75)], strict=True):
        individual.terms = dict(zip(("n", "l_disa"), terms, strict=True))
    assert names["hypervolume"](population) == pytest.approx(0.5 * 0.8 + 0.25 * 0.4)


@pytest.mark.slow
def test_compare_algorithms_gives_each_its_runs_and_a_rank(printed, tmp_path):
    lines = printed("compare_algorithms", "--out", str(tmp_path / "comparison"))
    jobs = [f"{number}/6: {name}" for number, name in enumerate(["ga", "annealing", "swarm"] * 2, 1)]
    assert [line.split(",")[0] for line in lines if line[:1].isdigit()] == jobs
    table = [line.strip("|").split("|") for line in lines if line.startswith("| ")][2:]
    means = {cells[0].strip(): float(cells[1]) for cells in table}
    assert set(means) == {"ga", "annealing", "swarm"}
    assert all(float(cells[6]) <= 16 for cells in table)
    assert means[re.search(r"highest mean reference fitness: (\w+)", lines[-1])[1]] == max(means.values())


@pytest.mark.parametrize("algorithm", ["ga", "annealing", "swarm", "umda", "random"])
def test_knapsack_compares_with_the_optimum(printed, algorithm):
    last = printed("knapsack", "--algorithm", algorithm)[-1]
    found, optimum, percent = numbers(last)
    assert last.startswith(f"{algorithm} found") and 0 < found <= optimum
    assert percent == pytest.approx(100 * found / optimum, abs=0.05)


def test_knapsack_knows_its_optimum_and_repairs_what_is_too_heavy():
    problem = example("knapsack")["Knapsack"](10, seed=4)
    packings = [
        bits for bits in itertools.product((0, 1), repeat=10) if np.dot(bits, problem.weights) <= problem.capacity
    ]
    assert problem.optimum() == max(problem.evaluate(bits)[0] for bits in packings)
    assert np.dot(problem.repair([1] * 10), problem.weights) <= problem.capacity
    assert all(problem.repair(bits) == list(bits) for bits in packings)


def test_knapsack_runs_as_a_program_and_loads_no_torch():
    code = (
        "import runpy, sys; sys.argv = ['knapsack.py', '--generations', '5', '--items', '20']\n"
        f"runpy.run_path({str(EXAMPLES / 'knapsack.py')!r}, run_name='__main__')\n"
        "print([name for name in ('torch', 'torchvision', 'ganprune.models') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "the optimum is" in output and output.splitlines()[-1] == "[]"


def test_the_command_lines_of_the_readme_fit():
    for name, options in re.findall(r"python examples/(\w+)\.py([^\n`]*)", README):
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        assert all(f'"{option}"' in text for option in re.findall(r"--[a-z-]+", options))
