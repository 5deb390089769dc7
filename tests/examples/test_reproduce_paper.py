"""``examples/reproduce_paper.py``: every table and figure at toy size, runs made once, commands kept."""

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytestmark = pytest.mark.slow  # each test makes runs, or needs those that another made
EXAMPLES = Path(__file__).parents[2] / "examples"
SEARCH = "--population 4 --generations 1 --validation-images 2 --calibration-images 4 --finetune-steps 0"
ROW = "| ours | reconstructed |"


@pytest.fixture(scope="module")
def program():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("reproduce_paper")


@pytest.fixture(scope="module")
def make(program, checkpoint, image_folder, tmp_path_factory):
    """Run a subcommand at toy size into one folder shared by all tests; return that folder and the output."""
    out = tmp_path_factory.mktemp("paper") / "out"

    def run(part, *options):
        arguments = [
            part, "--out", str(out), "--data", str(image_folder), "--checkpoint", str(checkpoint), "--size", "16",
            "--ratios", "2,3", "--seeds", "1,2", "--search", SEARCH, "--finetune", "--finetune-steps 1", *options,
        ]  # fmt: skip
        result = CliRunner().invoke(program.main, arguments)
        assert result.exit_code == 0, result.output
        return out, result.output

    return run


def commands(out):
    return (out / "commands.txt").read_text().splitlines()


def test_table_1_has_both_sides_at_each_size_beside_the_papers(make):
    out, output = make("table1")
    text = (out / "table1.md").read_text()
    for name in ("A2B at 2", "B2A at 2", "A2B at 3", "B2A at 3", "horse2zebra", "cityscapes-B2A"):
        assert f"| {name} |" in text
    assert text.strip() in output
    summary = json.loads((out / "ours-2-seed-1" / "summary.json").read_text())
    assert summary["sides"]["A2B"]["parameters"]["ratio"] >= 2 and summary["seed"] == 1


def test_finished_runs_are_used_again(make):
    out, _ = make("table1")
    before = commands(out)
    _, output = make("table1")
    assert commands(out) == before and "ganprune evolve" not in output


def test_an_unfinished_run_is_gone_on_with(make):
    out, _ = make("table1")
    (out / "ours-2-seed-1" / "summary.json").unlink()
    make("table1")
    assert commands(out)[-1] == f"ganprune evolve --resume {out / 'ours-2-seed-1'}"


def test_table_3_has_every_method_at_our_size_with_its_own_and_with_reconstructed_weights(make, program):
    out, _ = make("table3")
    parts = (out / "table3.md").read_text().split("**")
    assert [part for part in parts if "times fewer" in part and "\n" not in part] == [
        f"{side}, {ratio} times fewer parameters" for side in ("A2B", "B2A") for ratio in (2, 3)
    ]
    for name in (*program.METHODS, *program.ONE_SEED):
        for weights in program.WEIGHTS:
            assert (out / "table3.md").read_text().count(f"| {name} | {weights} |") == 4
    for side in ("A2B", "B2A"):
        sizes = [
            json.loads((out / name / "summary.json").read_text())["sides"][side]["parameters"]["compact"]
            for name in ("ours-2-seed-1", "thinet-own-2-seed-1", "l1-reconstructed-2-seed-1")
        ]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.1) and sizes[2] == pytest.approx(sizes[0], rel=0.1)


def test_table_3_has_ours_at_the_work_of_uniform_width(make):
    out, _ = make("table3")
    assert (out / "table3.md").read_text().count("| ours, MACs bounded | reconstructed |") == 4
    for seed in (1, 2):
        lean, uniform = (
            json.loads((out / f"{name}-2-seed-{seed}" / "summary.json").read_text())["sides"]
            for name in ("lean", "thinet-own")
        )
        most = min(side["macs"]["input_size"]["compact"] for side in uniform.values())
        for side in lean.values():
            assert side["macs"]["input_size"]["compact"] <= most and side["parameters"]["ratio"] >= 2


def test_tables_do_not_mix_runs_of_different_commands(make, program):
    out, _ = make("table1")
    options = ["--ratios", "2", "--seeds", "1", "--out", str(out), "--search", SEARCH, "--finetune"]
    result = CliRunner().invoke(program.main, ["table1", *options, "--finetune-steps 2"])
    assert result.exit_code == 1 and "ours-2-seed-1 was made by another command" in result.output
    _, output = make("table1", "--threads", "2")  # how many threads does not matter
    assert "ganprune evolve" not in output


def make_without_uniform(make):
    out, _ = make("table3", "--methods", "trimming")
    return (out / "table3.md").read_text()


def test_table_3_of_chosen_methods(make, program):
    out, _ = make("table3", "--methods", "thinet, l1")
    text = (out / "table3.md").read_text()
    assert "| thinet | own |" in text and "| l1 | own |" in text and "| random |" not in text
    assert "| ours, MACs bounded |" in text and "MACs bounded" not in make_without_uniform(make)
    result = CliRunner().invoke(program.main, ["table3", "--methods", "thinnet"])
    assert result.exit_code == 2 and "'thinnet' is none of thinet, l1" in result.output


def test_table_2_and_runtime(make):
    out, _ = make("table2")
    text = (out / "table2.md").read_text()
    assert "| original |" in text and "| ThiNet | own |" in text and ROW in text and "0.542" in text
    out, _ = make("runtime")
    assert "| paper, horse2zebra |  | 2260 | 730 | 3.1 | 4.23 | 0.73 |" in (text := (out / "runtime.md").read_text())
    assert "| A2B at 2 | eager | " in text and "| B2A at 3 | onnxruntime | " in text


def test_figures_are_pictures_with_their_sizes_in_a_table(make):
    for number, rows in ((2, ("0.1", "100")), (3, ("(a) ThiNet", "(d) ours")), (4, ("ours", "ThiNet"))):
        out, _ = make(f"figure{number}")
        with Image.open(out / f"figure{number}.png") as picture:
            assert min(picture.size) > 100
        text = (out / f"figure{number}.md").read_text()
        assert all(f"\n| {row} |" in text for row in rows)


def test_ablations_name_every_variant(make):
    out, _ = make("ablations")
    text = (out / "ablations.md").read_text()
    for name in ("ours", "separate", "gena", "identity", "tuned", "sliced"):
        assert text.count(f"\n| {name} |") == 2


def test_a_command_that_fails_is_named(make, program, tmp_path):
    result = CliRunner().invoke(
        program.main, ["table1", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "no")]
    )
    assert result.exit_code == 1 and "exit status 2 of ganprune evolve --target-ratio 4.3" in result.output
