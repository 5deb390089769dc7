"""What docs/deploy.md shows can be pasted: its programs run on real exports, its options exist."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import random_bits, toy_generator, toy_images
from pages import ROOT, blocks, read
from PIL import Image

import ganprune
from ganprune.cli import main
from ganprune.commands.export import export_run
from ganprune.data.pixels import read_image, to_float, to_uint8
from ganprune.deploy.facts import Facts
from ganprune.deploy.plain import write_plain
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.models.sizing import translate
from ganprune.settings.export import ExportSettings

TEXT = read("docs/deploy.md")
PROGRAMS = blocks(TEXT, "python")
LOADER = next(program for program in PROGRAMS if "def load(stem)" in program)
RUNNER = next(program for program in PROGRAMS if "onnxruntime" in program)


def test_the_loader_is_short_and_needs_nothing_but_pytorch():
    lines = [line for line in LOADER.splitlines() if line.strip()]
    assert len(lines) <= 20 and max(map(len, lines)) <= 120
    imports = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imports == {"json", "torch"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {}, {"affine": True}, {"norm": "batch", "dropout": True}, {"padding": "replicate"}, {"padding": "zero"},
        {"norm": "none", "downsamplings": 1}, {"norm": "batch", "statistics": "batch"},
        {"upsampling": "nearest", "bias": False}, {"upsampling": "bilinear", "upsampling_padding": "reflect"},
    ],
)  # fmt: skip
def test_the_loader_builds_every_generator_that_we_export(tmp_path, options):
    generator = toy_generator(**options)
    space = FilterSpace(generator, size=16)
    network = compact(generator, space, random_bits(space, 3))
    write_plain(network, tmp_path / "A2B", Facts.of(network, "A2B", "compact", (16, 16), 4), {"side": "A2B"})
    names = {}
    exec(LOADER, names)
    loaded, real = names["load"](str(tmp_path / "A2B")), toy_images(2, (20, 16))
    assert type(loaded).__module__.startswith("torch.") and not loaded.training
    with torch.no_grad():
        assert torch.allclose(loaded.double()(real), network.double()(real), atol=1e-10, rtol=0)


class Trap:
    def __reduce__(self):
        return open, ("executed", "w")


def test_the_loader_executes_nothing_from_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = toy_generator()
    write_plain(network, tmp_path / "A2B", Facts.of(network, "A2B", "original", (16, 16), 4), {})
    names = {}
    exec(LOADER, names)
    whole = (tmp_path / "A2B.json").read_text()
    (tmp_path / "A2B.json").write_text(whole.replace('"kind": "Tanh"', '"kind": "Module"'))
    with pytest.raises(ValueError, match="not in list"):
        names["load"]("A2B")
    (tmp_path / "A2B.json").write_text(whole)
    torch.save({"model.1.weight": Trap()}, tmp_path / "A2B.pth")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        names["load"]("A2B")
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_the_program_for_onnxruntime_gives_what_translate_gives(run, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_run(run.directory, "exported", ExportSettings(directions=("A2B",), speed=False), threads=1)
    picture = next((image_folder / "testA").iterdir())
    Image.open(picture).convert("RGB").save("photo.jpg")
    exec(RUNNER.replace("(256, 256)", "(16, 16)"), {})
    real = to_float(read_image(Path("photo.jpg"), 16))[None]
    wanted = to_uint8(translate(ganprune.load_generator(run.path("A2B")), real, 4))[0].permute(1, 2, 0).numpy()
    found = np.asarray(Image.open("translated.png"))
    assert found.shape == (16, 16, 3) and np.abs(found.astype(int) - wanted).max() <= 1


def test_every_option_named_alone_exists_somewhere():
    known = {option for command in main.commands.values() for p in command.params for option in p.opts}
    scripts = [(ROOT / "scripts" / name).read_text(encoding="utf-8") for name in ("speed.py", "latency_check.py")]
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", TEXT + read("docs/speed.md")))
    assert {"--native", "--dynamic-size", "--round-to"} <= named
    assert {option for option in named - known if f'"{option}"' not in "".join(scripts)} == set()
