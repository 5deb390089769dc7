"""The forms that are exported: the same function, arranged otherwise, and what the files say of themselves."""

import json
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import UNet, enliven, random_bits, separable, toy_generator, toy_images
from safetensors import safe_open
from torch import nn

from ganprune import load_generator
from ganprune.data.sizes import Framing
from ganprune.data.values import Values
from ganprune.deploy import files as deploy_files
from ganprune.deploy.facts import KEY, Facts, readme
from ganprune.deploy.fast_form import BlockedConv2d, Centred, Framed, inference_form
from ganprune.deploy.files import open_onnx, open_program, require_packages, write_onnx, write_program
from ganprune.deploy.plain import write_plain
from ganprune.deploy.speed import speed_figures, speed_lines
from ganprune.errors import UserError
from ganprune.filters.builder import compact
from ganprune.filters.space import FilterSpace
from ganprune.models.generator import InstanceNorm2d, norm_layer
from ganprune.models.sizing import translate

GENERATORS = {
    "resnet": toy_generator,
    "affine": lambda dtype: toy_generator(dtype, affine=True),
    "batch": lambda dtype: toy_generator(dtype, norm="batch"),
    "zero padding": lambda dtype: toy_generator(dtype, padding="zero", dropout=True),
    "no norms": lambda dtype: toy_generator(dtype, norm="none"),
    "three halvings": lambda dtype: toy_generator(dtype, ngf=2, downsamplings=3),
    "added to the image": lambda dtype: toy_generator(dtype, residual=True),
    "grey": lambda dtype: toy_generator(dtype, in_channels=1, out_channels=1),
    "unet": lambda dtype: enliven(UNet()).to(dtype).eval(),
    "separable": lambda dtype: enliven(separable()).to(dtype).eval(),
}


@pytest.mark.slow
@pytest.mark.parametrize("for_onnx", [True, False])
@pytest.mark.parametrize("name", GENERATORS)
@torch.no_grad()
def test_every_form_is_the_same_function(name, for_onnx):
    generator = GENERATORS[name](torch.float64)
    real = toy_images(3, (16, 24), channels=1 if name == "grey" else 3)
    before = {key: tensor.clone() for key, tensor in generator.state_dict().items()}
    wanted = generator(real)
    form = inference_form(generator, real, onnx=for_onnx)
    assert torch.allclose(form(real), wanted, atol=1e-10, rtol=0)
    assert all(torch.equal(before[key], tensor) for key, tensor in generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in form.parameters())


@pytest.mark.slow
@torch.no_grad()
def test_pruned_generators_have_forms_too():
    generator = toy_generator(torch.float64, affine=True)
    space, real = FilterSpace(generator, size=16), toy_images(2)
    for seed in range(3):
        network = compact(generator, space, random_bits(space, seed))
        for for_onnx in (True, False):
            form = inference_form(network, real, onnx=for_onnx)
            assert torch.allclose(form(real), network(real), atol=1e-10, rtol=0)


def kinds(network):
    return [type(module) for module in network.modules() if not list(module.children())]


def test_onnx_gets_its_own_norms_centred_images_and_a_blocked_last_layer():
    real = toy_images(1, dtype=torch.float32)
    generator = toy_generator(ngf=8)
    form = kinds(inference_form(generator, real, onnx=True))
    assert InstanceNorm2d not in form and nn.InstanceNorm2d in form
    assert form.count(BlockedConv2d) == form.count(Centred) == 1 and form[0] is Centred
    plain = kinds(inference_form(generator, real, onnx=False))
    assert nn.GroupNorm in plain and nn.InstanceNorm2d not in plain and Centred not in plain
    assert BlockedConv2d not in kinds(inference_form(generator, real, onnx=True, blocks=False))
    zero = toy_generator(padding="zero")
    zero.model[0] = nn.ZeroPad2d(3)  # an image's mean does not reach the border then
    assert Centred not in kinds(inference_form(zero, real, onnx=True))
    for norm in ("batch", "none"):
        assert Centred not in kinds(inference_form(toy_generator(norm=norm), real, onnx=True))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"kernel_size": 7, "padding": 3}, (8, 12)), ({"kernel_size": 3}, (10, 8)), ({"kernel_size": (3, 5)}, (8, 8)),
        ({"kernel_size": 2, "padding": (1, 2), "bias": False}, (7, 9)),
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_blocked_convolution_is_the_convolution(options, size):
    layer = enliven(nn.Conv2d(5, 3, **options)).double()
    image = toy_images(2, size, channels=5)
    assert torch.allclose(BlockedConv2d(layer)(image), layer(image), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 3, 3, padding=1, stride=2), nn.Conv2d(8, 3, 3, padding=2, dilation=2),
        nn.Conv2d(8, 4, 3, padding=1, groups=4),
        nn.Conv2d(8, 3, 3, padding="same"), nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(8, 3, 1),
        nn.Conv2d(8, 5, 3, padding=1), nn.Conv2d(8, 3, 2, padding=1),
    ],
)  # fmt: skip
@torch.no_grad()
def test_what_cannot_be_computed_in_blocks_is_left_alone(layer):
    network = enliven(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer)).double()
    real = toy_images(1, (16, 16))
    form = inference_form(network, real, onnx=True)
    assert BlockedConv2d not in kinds(form) and torch.equal(form(real), network(real))


@torch.no_grad()
def test_a_frame_mirrors_and_cuts_as_translation_does():
    generator = toy_generator(torch.float64)
    real = toy_images(2, (17, 22))
    framed = Framed(generator, (17, 22), 4)
    assert framed(real).shape == real.shape and torch.equal(framed(real).float(), translate(generator, real, 4))


def facts_of(generator, size=(16, 16), multiple=None):
    return Facts.of(generator, "A2B", "compact", size, multiple)


def test_facts_say_what_is_black_and_white_above_8_bits():
    framing = Framing(values=Values((-1000, 1000), (0, 4095)), background="black")
    facts = Facts.of(toy_generator(), "A2B", "compact", (16, 16), 4, framing)
    data, values = facts.to_json(), np.array([-1000.0, 0, 1000])
    way = data["from_values"].removesuffix(", limited to -1 and 1")
    assert eval(way, {"x": values}).tolist() == [-1, 0, 1]
    assert eval(data["to_values"], {"y": np.array([-1.0, 1])}).tolist() == [0, 4095]
    text = readme([facts], {}, [])
    assert data["from_values"] in text and data["to_values"] in text and "put on black" in text
    plain = facts_of(toy_generator())
    assert "from_values" not in plain.to_json() and plain.to_json()["background"] == "white"
    assert "values of more" not in readme([plain], {}, [])


@pytest.fixture(params=["onnx", "pt2"])
def written(request, tmp_path):
    """Writes a generator to a file; returns the path and the function that it holds."""

    def write(generator, size=(16, 16), multiple=None):
        image = torch.zeros(2, 3, *size)
        form = inference_form(generator, image, onnx=request.param == "onnx")
        path = tmp_path / f"A2B.{request.param}"
        if request.param == "onnx":
            write_onnx(form, image, path, facts_of(generator, size, multiple))
            return path, open_onnx(path, 1)
        write_program(form, image, path, facts_of(generator, size, multiple))
        return path, open_program(path)

    return write


def saved_facts(path):
    """The facts that a file holds, read without ganprune."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    extra = {f"{KEY}.json": ""}
    torch.export.load(path, extra_files=extra)
    return json.loads(extra[f"{KEY}.json"])


@pytest.mark.slow
def test_any_batch_gives_what_pytorch_gives_and_the_file_says_how(written):
    generator = toy_generator(affine=True)
    path, run = written(generator)
    for count in (1, 2, 5):
        real = toy_images(count, dtype=torch.float32)
        assert (run(real) - translate(generator, real, 4)).abs().max() < 1e-4
    with pytest.raises(Exception, match=r"20|dimension|size"):
        run(toy_images(1, (20, 16), dtype=torch.float32))
    facts = saved_facts(path)
    assert facts == facts_of(generator).to_json()
    assert (facts["value_range"], facts["channel_order"], facts["size"]) == ([-1, 1], "RGB", 16)


@pytest.mark.slow
def test_height_and_width_may_be_free(written):
    generator = toy_generator()
    path, run = written(generator, multiple=4)
    for size in ((16, 16), (24, 40), (20, 16)):
        real = toy_images(2, size, dtype=torch.float32)
        assert (run(real) - translate(generator, real, 4)).abs().max() < 1e-4
    assert saved_facts(path)["size_multiple"] == 4


@pytest.mark.slow
def test_height_and_width_of_a_deep_generators_images_may_be_free_too(written):
    generator = toy_generator(ngf=1, downsamplings=4, blocks=1)
    _, run = written(generator, size=(32, 48), multiple=16)
    for size in ((32, 32), (64, 48)):
        real = toy_images(1, size, dtype=torch.float32)
        assert (run(real) - translate(generator, real, 16)).abs().max() < 1e-4


def test_images_of_deep_generators_are_at_least_so_large():
    assert facts_of(toy_generator()).least == facts_of(toy_generator(downsamplings=0)).least == 16
    assert facts_of(toy_generator(ngf=1, downsamplings=4)).least == 32


@pytest.mark.slow
def test_files_do_not_tell_where_they_were_made(written):
    path, _ = written(toy_generator())
    content = path.read_bytes()
    if path.suffix == ".pt2":
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    for telltale in (b"generator.py", b"site-packages", str(ganprune_root()).encode()):
        assert telltale not in content


def ganprune_root():
    import ganprune

    return next(iter(ganprune.__path__))


@pytest.mark.slow
def test_onnx_norms_are_single_operators(tmp_path):
    generator = toy_generator()
    image = torch.zeros(2, 3, 16, 16)
    write_onnx(inference_form(generator, image, onnx=True), image, tmp_path / "a.onnx", facts_of(generator))
    model = onnx.load(tmp_path / "a.onnx")
    operators = [node.op_type for node in model.graph.node]
    norms = sum(isinstance(module, InstanceNorm2d) for module in generator.modules())
    assert operators.count("InstanceNormalization") == norms and "Reshape" not in operators
    assert [(one.name, one.type.tensor_type.shape.dim[0].dim_param) for one in model.graph.input] == [
        ("image", "batch")
    ]
    onnx.checker.check_model(model, full_check=True)


class Sorting(nn.Module):
    """What ONNX and torch.export can't express: a decision by the image's own values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x) if float(x.sum()) > 0 else x


@pytest.mark.slow
def test_what_cannot_be_exported_is_said_in_one_message(written):
    with pytest.raises(
        UserError, match=r"(onnx|pt2) of A2B: got .*Export without --dynamic-size, or as --format torch"
    ):
        written(Sorting())


def test_missing_packages_are_named_with_the_remedy(monkeypatch):
    require_packages()
    found = deploy_files.importlib.util.find_spec
    monkeypatch.setattr(
        deploy_files.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    message = r"format onnx: got no package onnxscript; expected onnx, onnxscript, onnxruntime. .*'ganprune\[onnx\]'"
    with pytest.raises(UserError, match=message):
        require_packages()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"affine": True}, {"norm": "batch", "dropout": True}, {"padding": "replicate"}]
)
def test_a_state_dict_with_json_loads_as_the_same_generator(tmp_path, options):
    generator = toy_generator(**options)
    space = FilterSpace(generator, size=16)
    network = compact(generator, space, random_bits(space, 1))
    files = write_plain(network, tmp_path / "A2B", facts_of(network), {"side": "A2B", "size": 16})
    assert [file.name for file in files] == ["A2B.json", "A2B.safetensors", "A2B.pth"]
    real = toy_images(2, dtype=torch.float32)
    assert torch.equal(translate(load_generator(tmp_path / "A2B"), real, 4), translate(network, real, 4))
    state = torch.load(tmp_path / "A2B.pth", weights_only=True)
    assert all(torch.equal(state[key], tensor) for key, tensor in network.state_dict().items())
    with safe_open(tmp_path / "A2B.safetensors", "pt") as file:
        assert json.loads(file.metadata()[KEY]) == json.loads(files[0].read_text())[KEY] == facts_of(network).to_json()


def test_other_architectures_have_no_plain_form(tmp_path):
    with pytest.raises(
        UserError, match=r"format torch: got UNet; expected a ResnetGenerator. Use --format onnx, or pt2"
    ):
        write_plain(UNet(), tmp_path / "A2B", facts_of(UNet()), {})
    assert not list(tmp_path.iterdir())


def test_the_readme_says_what_goes_in(tmp_path):
    facts = facts_of(toy_generator(), (48, 64))
    text = readme([facts], {"A2B.onnx": "for engines"}, ["differs by at most 1e-6"])
    for words in ("(N, 3, 48, 64)", "RGB", "from -1 to 1", "x / 127.5 - 1", "`A2B.onnx`: for engines", "at most 1e-6"):
        assert words in text
    assert "H and W multiples of 4; made for 48x64" in readme([facts_of(toy_generator(), (48, 64), 4)], {}, [])


def test_the_conversion_in_the_readme_is_ours():
    every = np.arange(256, dtype=np.uint8)
    images = eval("x / 127.5 - 1", {"x": every.astype(np.float32)})
    assert np.array_equal(np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8), every)
    from ganprune.data.pixels import to_float

    assert np.allclose(to_float(torch.from_numpy(every)).numpy(), images, atol=1e-6)


@pytest.mark.slow
def test_speed_is_measured_in_every_engine(monkeypatch):
    original, small = toy_generator(), toy_generator(ngf=2)
    figures = speed_figures(original, small, (16, 20), 4.0, repeats=2)
    assert (figures["threads"], figures["size"], figures["macs_ratio"]) == (1, [16, 20], 4.0)
    for engine in ("eager", "onnxruntime"):
        of = figures[engine]
        assert of["original"] > 0 and of["compact"] > 0
        assert of["speedup"] == of["original"] / of["compact"] and of["quotient"] == of["speedup"] / 4
    assert len(speed_lines(figures)) == 2 and "4.00 times fewer MACs (quotient " in speed_lines(figures)[1]
    monkeypatch.setattr("ganprune.deploy.speed.missing_packages", lambda: ["onnx"])
    assert "onnxruntime" not in speed_figures(original, small, (16, 16), 4.0, repeats=1)


def test_a_norm_that_keeps_running_statistics_stays_what_it_is():
    network = enliven(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.InstanceNorm2d(3, track_running_stats=True)))
    real = toy_images(2)
    network = network.double().eval()
    for for_onnx in (True, False):
        assert torch.allclose(inference_form(network, real, onnx=for_onnx)(real), network(real))
    assert isinstance(norm_layer("instance", 4), InstanceNorm2d)
