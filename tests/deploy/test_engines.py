"""Exports in other people's hands: older engines, files that are moved, TorchScript, folders of the Hub."""

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from conftest import write_images
from networks import SIZE, toy_generator, toy_images

from ganprune import load_generator
from ganprune.commands.export import export_run
from ganprune.commands.translate import translate_files
from ganprune.deploy import speed
from ganprune.deploy.facts import Facts
from ganprune.deploy.fast_form import inference_form
from ganprune.deploy.files import write_onnx, write_program
from ganprune.deploy.plain import write_plain
from ganprune.settings.export import ExportSettings
from ganprune.settings.translate import TranslateSettings


def write(generator, path):
    facts, example = Facts.of(generator, "A2B", "original", (SIZE, SIZE), None), torch.zeros(2, 3, SIZE, SIZE)
    form = inference_form(generator, example, onnx=path.suffix == ".onnx")
    (write_onnx if path.suffix == ".onnx" else write_program)(form, example, path, facts)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A generator, and the folder that its ONNX file lies in."""
    folder, generator = tmp_path_factory.mktemp("exported"), toy_generator(blocks=1)
    write(generator, folder / "A2B.onnx")
    return generator, folder


@pytest.mark.slow
def test_an_onnx_file_is_whole_and_of_the_file_format_of_its_operators(exported):
    generator, folder = exported
    real = toy_images(3, dtype=torch.float32)
    assert [path.name for path in folder.iterdir()] == ["A2B.onnx"]  # no tensors in files beside it
    content = (folder / "A2B.onnx").read_bytes()
    model = onnx.load_from_string(content)
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (8, [("", 18)])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"image": real.numpy()})[0])
    assert torch.allclose(found, generator(real).detach(), atol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_needs_no_optimisations_of_the_engine(exported):
    generator, folder = exported
    options, real = onnxruntime.SessionOptions(), toy_images(1, dtype=torch.float32)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(folder / "A2B.onnx"), options, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"image": real.numpy()})[0])
    assert torch.allclose(found, generator(real).detach(), atol=1e-4)


def test_a_program_is_in_evaluation_mode_as_it_is(tmp_path):
    generator, real = toy_generator(norm="batch", dropout=True, blocks=1), toy_images(2, dtype=torch.float32)
    write(generator, tmp_path / "A2B.pt2")
    network = torch.export.load(tmp_path / "A2B.pt2").module()
    with torch.no_grad():
        assert torch.equal(network(real), network(real))
        assert torch.allclose(network(real), generator(real), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"norm": "batch", "dropout": True}, {"upsampling": "nearest"}])
@torch.no_grad()
def test_a_traced_generator_takes_other_sizes_and_batches(tmp_path, options):
    network = toy_generator(**options)
    facts = Facts.of(network, "A2B", "original", (SIZE, SIZE), 4)
    write_plain(network, tmp_path / "A2B", facts, {"side": "A2B", "size": SIZE})
    torch.jit.trace(load_generator(tmp_path / "A2B"), torch.zeros(1, 3, SIZE, SIZE)).save(tmp_path / "A2B.pt")
    real = toy_images(3, (24, 20), dtype=torch.float32)
    assert torch.allclose(torch.jit.load(tmp_path / "A2B.pt")(real), network(real), atol=1e-6)


def test_original_and_compact_are_timed_side_by_side(monkeypatch):
    monkeypatch.setattr(speed, "write_onnx", lambda form, example, path, facts: None)
    monkeypatch.setattr(speed, "open_onnx", lambda path: path.stem)
    networks = {"original": toy_generator(), "compact": toy_generator(ngf=2)}
    assert speed.onnx_runs(networks, (SIZE, SIZE)) == {"original": "original", "compact": "compact"}


@torch.no_grad()
def test_the_loader_of_the_documentation_can_be_scripted(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    program = next(part for part in text.split("```python\n") if "def load(stem)" in part).partition("```")[0]
    (tmp_path / "loader_of_the_documentation.py").write_text(program, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from loader_of_the_documentation import load

    network, real = toy_generator(affine=True), toy_images(2, (20, 16), dtype=torch.float32)
    write_plain(network, tmp_path / "A2B", Facts.of(network, "A2B", "original", (SIZE, SIZE), 4), {"side": "A2B"})
    assert torch.allclose(torch.jit.script(load(str(tmp_path / "A2B")))(real), network(real), atol=1e-5)


def test_a_folder_of_the_hub_is_a_checkpoint(tmp_path, image_folder):
    folder, network = tmp_path / "hub", toy_generator(blocks=1)
    folder.mkdir()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"blocks": 1, "data": {"size": "large"}}))
    photos = tmp_path / "photos"
    write_images(photos, ["1"])
    done = translate_files(folder, [photos], tmp_path / "out", TranslateSettings(size=(SIZE, SIZE)), direction="A2B")
    assert [path.name for path in done.written] == ["1.png"]
    settings = ExportSettings(formats=("torch",), size=(SIZE, SIZE), speed=False)
    assert export_run(folder, tmp_path / "exported", settings, images=[photos]).differences == {("A2B", "torch"): 0}
