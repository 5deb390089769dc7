"""The parts of a report's page: figures and their intervals, charts, pictures, generators, and safe HTML."""

import base64
import configparser
import fnmatch
import hashlib
import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import toy_generator, toy_images, toy_unet
from toypages import HOSTILE, contents

import ganprune
from ganprune.cli import main
from ganprune.data.pixels import to_rgb_bytes
from ganprune.errors import UserError
from ganprune.metrics.rows import METRICS
from ganprune.pipeline.config import FORMAT
from ganprune.report.page.again import command_line
from ganprune.report.page.charts import Points, draw, search_curve, silhouette, ticks
from ganprune.report.page.figures import COST_MEANINGS, MEANINGS, Samples, interval, quality_rows, verdict
from ganprune.report.page.measuring import Measured, gallery
from ganprune.report.page.networks import as_data
from ganprune.report.page.pictures import chosen, data_uri, levels_apart, read_uri
from ganprune.report.page.render import FOLDER, render
from ganprune.report.summary import COSTS
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.settings.fields import settings_in

# --- figures


def test_every_figure_has_a_sentence():
    assert {metric.name for metric in METRICS if metric.label} <= MEANINGS.keys()
    assert {cost[1] for cost in COSTS} <= COST_MEANINGS.keys()


def test_an_interval_lies_around_the_mean_and_narrows_with_the_images():
    values = np.random.default_rng(1).normal(3, 1, 400).tolist()
    low, high = interval(values, 3.0, 400)
    assert low < 3 < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)  # of a mean of 400 of deviation 1
    few = interval(values[:100], 3.0, 400)  # a hundred stand for all
    assert few[1] - few[0] == pytest.approx(high - low, rel=0.25)
    assert interval([2.0] * 9, 2.0, 9) == (2.0, 2.0)


@pytest.mark.parametrize(("name", "step", "expected"), [
    ("l_cyc", -0.1, "better"), ("l_cyc", 0.1, "worse"), ("psnr", 0.1, "better"), ("psnr", -0.1, "worse"),
    ("psnr", 0.0, "unclear"),
])  # fmt: skip
def test_a_verdict_follows_the_paired_differences(name, step, expected):
    draw_ = np.random.default_rng(2)
    before = draw_.normal(1, 5, 50)  # far more spread than the step: only pairs can tell
    noise = draw_.normal(0, 0.01, 50)
    after = before + step + noise - noise.mean()
    metrics = {"original": {name: before.mean()}, "compact": {name: after.mean()}}
    samples = {"A2B": Samples({name: before.tolist()}, {name: after.tolist()}, 50)}
    (row,) = quality_rows({"A2B": {"metrics": metrics}}, samples)
    assert row.verdicts == (expected,)
    words = {"better": "better in", "worse": "worse in", "unclear": "no clear difference in"}[expected]
    assert words in verdict([row], 0)


def test_kid_is_worse_only_beyond_both_deviations():
    for change, expected in ((0.03, "worse"), (0.01, "unclear"), (-0.03, "better")):
        metrics = {"original": {"kid": 0.05, "kid_std": 0.01}, "compact": {"kid": 0.05 + change, "kid_std": 0.01}}
        (row,) = quality_rows({"A2B": {"metrics": metrics}}, {})
        assert row.verdicts == (expected,) and "± 0.0100" in row.cells[0][1]


def test_a_figure_that_only_the_compact_one_has_gets_no_verdict():
    metrics = {"original": {}, "compact": {"l_gena": 0.5}}
    (row,) = quality_rows({"A2B": {"metrics": metrics}}, {"A2B": Samples({}, {"l_gena": [0.5] * 6}, 6)})
    assert row.cells[0] == ("", "0.5000\n0.5000 to 0.5000", "") and row.verdicts == ("",)


def test_the_verdict_begins_with_the_picture_error_whatever_else_got_better():
    metrics = {"original": {"picture_error": 2.22, "ssim": 0.37}, "compact": {"picture_error": 2.31, "ssim": 0.41}}
    rows = quality_rows({"A2B": {"metrics": metrics}}, {"A2B": Samples({"ssim": [0.37] * 6}, {"ssim": [0.41] * 6}, 6)})
    wanted = "Picture error 2.220 -> 2.310; lower is better. Against the original: better in SSIM."
    assert verdict(rows, 0) == wanted


# --- charts


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.13, 0.21), (-3, 1000), (5, 5), (0, 0), (1e-7, 3e-7)])
def test_ticks_are_few_evenly_spaced_and_hold_the_values(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8 and found[0] <= low and found[-1] >= high
    assert np.allclose(np.diff(found), found[1] - found[0])


def test_a_chart_places_higher_values_higher_and_later_ones_further_right():
    chart = draw([Points("x", [(0, 1), (5, 3), (10, 2)], ["a", "b", "c"])], title="t", x_label="x", y_label="y")
    first, second, third = chart.series[0].marks
    assert first.x < second.x < third.x and second.y < third.y < first.y
    assert all(0 <= mark.x <= chart.width and 0 <= mark.y <= chart.height for mark in (first, second, third))


def test_the_curve_has_both_sides_elites_and_none_without_a_search():
    log = [
        {"side": side, "generation": 0, "cost": 2, "best": 0.2, "mean": 0.1, "terms": {"n": 0.5, "why": "text"}}
        for side in ("A2B", "B2A")
    ]
    chart = search_curve(log, {"A2B": "A2B", "B2A": "B2A"})
    assert [series.name for series in chart.series if series.name] == ["A2B: elite", "B2A: elite"]
    assert "fitness 0.2000; n 0.5" in chart.series[0].marks[0].title
    assert search_curve([], {"A2B": "A2B"}) is None


def test_a_silhouette_has_heights_by_widths():
    first, second = silhouette({"a": 8, "b": 4}, {"a": 2, "b": 4}).layers
    assert first.whole == 4 * first.part and second.whole == second.part == first.whole / 2


# --- pictures


def test_half_of_the_images_shown_changed_most_and_the_others_are_spread():
    change = [float(number) for number in range(100)]
    shown = chosen(change, 10)
    assert len(set(shown)) == 10 and {99, 98, 97, 96, 95} < set(shown)
    assert min(shown) < 15 and sorted(shown)[4] > 60  # of the other 95, from low to high
    assert shown[0] == 99 and shown[1] < 95  # any beginning has both
    assert sorted(chosen([1.0, 2.0, 3.0], 10)) == [0, 1, 2] and chosen([1.0], 1) == [0]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_data_uri_loses_nothing(channels):
    image = toy_images(1, dtype=torch.float32, channels=channels)[0]
    found = torch.from_numpy(np.array(read_uri(data_uri(image)))).permute(2, 0, 1)
    assert torch.equal(found, to_rgb_bytes(image))


def measured(count, paired):
    images = toy_images(4 * count, dtype=torch.float32).split(count)
    known = [{"real": images[0], "fake": images[1]}, {"real": images[0], "fake": images[2]}]
    known = [{**each, "paired": each["fake"], "truth": images[3]} for each in known] if paired else known
    return Measured([f"{number}.png" for number in range(count)], 99, known, [{}, {}], paired)


def test_a_gallery_keeps_to_its_images_and_bytes():
    found = measured(8, True)
    shown = gallery("A2B", "title", found, ["original", "compact"], most=6, budget=10**9)
    assert len(shown.cases) == 6 and (shown.measured, shown.total, shown.size) == (8, 99, (16, 16))
    change = [case.change[0] for case in shown.cases]
    assert change == sorted(change, reverse=True)
    case = shown.cases[0]
    index = found.names.index(case.name)
    nearer = [float((each["fake"][index] - each["truth"][index]).abs().mean()) * 127.5 for each in found.known]
    assert case.gain == [pytest.approx(nearer[0] - nearer[1], abs=1e-3)]
    size = sum(len(uri) for uri in (case.source, case.truth, *case.variants))
    assert len(gallery("A2B", "", found, [], most=6, budget=int(3.5 * size)).cases) in (2, 3, 4)
    assert len(gallery("A2B", "", found, [], most=6, budget=1).cases) == 1
    assert gallery("A2B", "", measured(3, False), [], most=6, budget=10**9).cases[0].truth is None


def test_levels_apart_are_of_255():
    black, white = -torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    assert levels_apart(black, white) == [255.0, 255.0]


# --- generators


def test_weights_are_in_half_precision_where_the_images_stay_the_same():
    generator, images = toy_generator(), toy_images(2, dtype=torch.float32)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(parameter.half().float())
    assert as_data(generator, images)["bits"] == 16
    with torch.no_grad():
        generator.model[1].weight[0, 0, 0, 0] = 1e6  # which half precision does not have
    assert as_data(generator, images)["bits"] == 32
    assert as_data(generator, None)["bits"] == 32


def test_tensors_are_found_where_the_layers_say():
    generator = toy_generator(norm="batch")
    data = as_data(generator, None)
    content = base64.b64decode(data["bytes"])
    start, count, bits = data["layers"][1]["tensors"]["weight"]
    found = np.frombuffer(content[start : start + count * bits // 8], f"<f{bits // 8}")
    assert np.array_equal(found, generator.model[1].weight.detach().numpy().ravel())
    assert set(data["layers"][2]["tensors"]) == {"weight", "bias", "running_mean", "running_var"}
    assert len(content) == 4 * sum(t.numel() for t in generator.state_dict().values() if t.is_floating_point())


def test_another_architecture_is_refused():
    with pytest.raises(UserError, match="generator: got UnetGenerator; expected a ResnetGenerator"):
        as_data(toy_unet(), None)


# --- the command that makes a run again


def config(**changed):
    known = {"format": FORMAT, "command": "evolve", "checkpoint": None, "data": None, "size": 64, "networks": {}}
    return {**known, "device": "cpu", "threads": 2, **changed}


def parsed(text, command="evolve"):
    words = shlex.split(text)
    assert words[:2] == ["ganprune", command]
    return main.commands[command].make_context(command, words[2:]).params


@pytest.mark.parametrize("options", [
    {}, {"preset": "paper"}, {"max_macs": 2e9}, {"generations": 3, "reconstruct": False, "seed": 7, "lam": 2.5},
    {"preset": "large", "mate": "cxUniform:indpb=0.3", "features": "none"},
])  # fmt: skip
def test_the_command_of_a_run_asks_for_its_settings(options):
    settings = make_settings(**options)
    given = parsed(command_line(config(), settings, "runs/new run"))
    assert given["threads"] == 2 and str(given["out"]) == "runs/new run"
    known = {each.name for each in settings_in(EvolveSettings)}
    assert make_settings(**{name: value for name, value in given.items() if name in known}) == settings


def test_the_command_of_a_run_has_its_images_and_networks():
    data = config(
        checkpoint="/x/my nets", data="/x/d", size=[192, 256], load_size="own", background="black", pairs=False,
        values={"A": [0, 4095], "B": [-1, 1]}, networks={"only": "A2B", "epoch": "90"},
    )  # fmt: skip
    given = parsed(command_line(data, make_settings(), "new"))
    assert (str(given["checkpoint"]), given["crop"], given["size"]) == ("/x/my nets", (192, 256), None)
    assert (given["only"], given["epoch"], given["background"], given["pairs"]) == ("A2B", "90", "black", False)
    assert given["values"].to_json() == {"A": [0, 4095], "B": [-1, 1]}


@pytest.mark.parametrize(("command", "facts"), [
    ("pick", {"from": "runs/front", "criterion": {"index": [3, 5]}}),
    ("pick", {"from": "runs/front", "criterion": {"knee": True}}),
    ("finetune", {"from": "runs/x"}),
    ("baseline", {"baseline": {"method": "l1", "weights": "own"}}),
])  # fmt: skip
def test_other_commands_are_told_too(command, facts):
    given = parsed(command_line(config(command=command, **facts), make_settings(), "new"), command)
    assert str(given["out"]) == "new" and given["threads"] == 2


# --- the page


@pytest.fixture(scope="module")
def page():
    return render(contents(hostile=HOSTILE))


def test_what_a_run_says_shows_as_text(page):
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page and "{{ 7 * 7 }}" in page
    assert page.count("<script") == page.count("</script>") == 3


def test_data_of_the_page_cannot_end_their_element():
    name = {"name": HOSTILE, "run": HOSTILE, "kind": "compact"}
    text = render(contents(generators=[name]))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert "<" not in data and json.loads(data)["networks"] == [name]


def test_only_the_scripts_and_styles_of_the_page_may_run(page):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r"\sstyle=|\son\w+=\"|innerHTML|https?://", page.replace("http-equiv", ""))


def test_every_image_has_a_text(page):
    images = re.findall(r"<img [^>]*>", page)
    assert images and all(re.search(r'alt="[^"]+"', image) for image in images)


def test_the_files_of_the_page_are_packaged():
    setup = configparser.ConfigParser()
    setup.read(Path(ganprune.__file__).parents[1] / "setup.cfg")
    patterns = setup["options.package_data"]["ganprune"].split()
    for file in FOLDER.iterdir():
        if file.suffix not in (".py", "") and file.is_file():
            name = file.relative_to(Path(ganprune.__file__).parent).as_posix()
            assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
