"""Input that is damaged, huge or meant to harm: each gets its message, nothing runs, nothing else is written."""

import copy
import io
import json
import os
import shutil
import struct
import zlib

import pytest
import torch
from conftest import write_images
from PIL import Image
from safetensors.torch import load_file, save_file
from toys import make_side
from toytask import contents, copy_images

import ganprune
from ganprune.commands.evolve import resume
from ganprune.data import pixels
from ganprune.data.files import list_images
from ganprune.data.images import UnpairedImages, read_image
from ganprune.errors import UserError, printable
from ganprune.evolution import Genetic, coevolve
from ganprune.models.checkpoint import load_cyclegan
from ganprune.pipeline.config import read_config
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.settings.fields import changed

# --- images


def png(width, height, data=b"", text=b""):
    """A greyscale PNG file that claims these dimensions."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (20_000, 5_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path, width, height):
    (tmp_path / "bomb.png").write_bytes(png(width, height))
    with pytest.raises(UserError, match=r"image: got .*bomb\.png \(.*pixels.*Replace or remove the file"):
        read_image(tmp_path / "bomb.png")


def test_the_largest_image_allowed_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_PIXELS", 64)
    write_images(tmp_path / "folder", ["fits"], size=(8, 8))
    write_images(tmp_path / "other", ["large"], size=(8, 9))
    assert read_image(tmp_path / "folder" / "fits.png").shape == (3, 8, 8)
    with pytest.raises(UserError, match=r"8x9 pixels, more than 64 in all"):
        read_image(tmp_path / "other" / "large.png")


def test_text_that_unpacks_to_more_than_the_file_is_worth_is_refused(tmp_path):
    content = b"k\0\0" + zlib.compress(b"a" * 80_000_000, 9)
    body = b"zTXt" + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "text.png").write_bytes(png(1, 1, b"\0\0", chunk))
    with pytest.raises(UserError, match=r"image: got .*text\.png"):
        read_image(tmp_path / "text.png")


def test_formats_that_other_programs_would_have_to_read_are_not_opened(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *a, **o: started.append(a))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(trap) (w) file\n%%EOF\n"
    (tmp_path / "harmless.png").write_bytes(script)
    with pytest.raises(UserError, match=r"harmless\.png \(cannot identify image file"):
        read_image(tmp_path / "harmless.png")
    assert started == []
    with Image.open(tmp_path / "harmless.png") as image:
        assert image.format == "EPS", "it was no PostScript, so that this test showed nothing"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_every_prefix_of_an_image_is_an_image_or_has_a_message(tmp_path, kind):
    buffer, path = io.BytesIO(), tmp_path / "cut.png"
    Image.effect_noise((9, 7), 50).convert("RGB").save(buffer, kind)
    whole = buffer.getvalue()
    path.write_bytes(whole)
    assert read_image(path).shape == (3, 7, 9)
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        try:
            assert read_image(path).shape == (3, 7, 9)
        except UserError as error:
            assert "cut.png" in str(error)


ODD_NAMES = [
    "a b.png",
    "ink\nand colour.png",
    "墨と色.png",
    "ü\u202e.png",
    "-rf.png",
    "%s{}.png",
    "'\".png",
    ".hidden.png",
]


def test_names_with_spaces_newlines_and_other_alphabets_are_names(image_folder, tmp_path):
    folder = copy_images(image_folder, tmp_path / "data")
    for source, name in zip(sorted((folder / "trainA").iterdir()), ODD_NAMES, strict=False):
        source.rename(folder / "trainA" / name)
    os.rename(os.fsencode(folder / "trainA" / "09.png"), os.fsencode(folder / "trainA") + b"/\xff.png")
    images = UnpairedImages(folder, 16)
    images.read_all()
    assert images.counts()["trainA"] == 13 and len(images.digest()) == 64


def test_a_message_stays_on_one_line_and_sends_the_terminal_nothing(tmp_path):
    path = tmp_path / "a\nb\x1b[2J\u202e墨.png"
    path.write_bytes(b"")
    with pytest.raises(UserError) as error:
        read_image(path)
    assert "a\\nb\\x1b[2J\\u202e墨.png" in str(error.value)
    assert str(error.value).isprintable()
    undecodable = os.fsdecode(b"\xff.png")
    assert printable(undecodable) == "\\udcff.png" and printable("Größe 3 ≤ 4") == "Größe 3 ≤ 4"


def test_loops_of_links_and_links_to_nowhere_are_no_images(tmp_path):
    folder = tmp_path / "images"
    write_images(folder, ["real"])
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "one.png").symlink_to(folder / "two.png")
    (folder / "two.png").symlink_to(folder / "one.png")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "folder.png").symlink_to(tmp_path)
    assert [path.name for path in list_images(folder)] == ["real.png"]
    (tmp_path / "around").symlink_to(tmp_path / "around")
    with pytest.raises(UserError, match=r"image folder: got .*around; expected an existing folder"):
        list_images(tmp_path / "around")


@pytest.mark.slow
def test_a_folder_of_100_000_names_is_listed(tmp_path):
    for number in range(100_000):
        os.close(os.open(tmp_path / f"{number:06d}.png", os.O_CREAT | os.O_WRONLY))
    paths = list_images(tmp_path)
    assert len(paths) == 100_000 and paths[-1].name == "099999.png"
    with pytest.raises(UserError, match=r"image: got .*099999\.png"):
        read_image(paths[-1])


# --- checkpoints

NAME = "A2B.generator.model.1.weight"


@pytest.fixture
def broken(checkpoint, tmp_path):
    """Returns a function that writes a copy of the checkpoint with a tensor, or an architecture's field, replaced."""

    def write(tensor=None, **architecture):
        folder = tmp_path / "broken"
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
        tensors = load_file(checkpoint / "cyclegan.safetensors")
        if tensor is not None:
            tensors[NAME] = tensor(tensors[NAME])
        save_file(tensors, folder / "cyclegan.safetensors")
        description = json.loads((checkpoint / "cyclegan.json").read_text())
        description["architecture"]["A2B.generator"] |= architecture
        (folder / "cyclegan.json").write_text(json.dumps(description))
        return folder

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.int64), r"model\.1\.weight of torch\.int64; expected torch\.float32 or alike"),
        (lambda t: t.to(torch.bool), r"model\.1\.weight of torch\.bool; expected plain numbers"),
        (lambda t: t.to(torch.complex64), r"model\.1\.weight of torch\.complex64; expected plain numbers"),
        (lambda t: t / 0, r"model\.1\.weight with NaN or Inf"),
    ],
)
def test_tensors_that_are_no_weights_are_named(broken, change, message):
    with pytest.raises(UserError, match=rf"cyclegan\.safetensors: tensor .*{message}"):
        load_cyclegan(broken(change))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(broken, checkpoint, dtype):
    loaded = load_cyclegan(broken(lambda t: t.to(dtype)))["A2B"].generator.model[1].weight
    assert loaded.dtype == torch.float32
    assert torch.allclose(loaded, load_cyclegan(checkpoint)["A2B"].generator.model[1].weight, atol=0.01)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"ngf": 4096}, r"tensor model\.1\.weight of shape \(4, 3, 7, 7\); expected shape \(4096, 3, 7, 7\)"),
        ({"ngf": 10**9}, r"generator ngf: got 1000000000; expected a whole number from 1 to 4096"),
        ({"blocks": 10**9}, r"generator blocks: got 1000000000"),
        ({"ngf": True}, r"generator ngf: got True"),
        ({"ngf": [4]}, r"generator ngf: got \[4\]"),
        ({"dropout": "os.system"}, r"generator dropout: got os\.system; expected true or false"),
        ({"norm": ["instance"]}, r"generator norm: got \['instance'\]; expected instance, batch or none"),
        ({"kind": ["resnet"]}, r"A2B\.generator kind: got \['resnet'\]; expected resnet or unet or patch"),
    ],
)
def test_an_architecture_that_claims_too_much_is_refused_before_it_is_built(broken, monkeypatch, architecture, message):
    folder, normal = broken(**architecture), torch.nn.init.normal_
    built = []
    monkeypatch.setattr(
        torch.nn.init, "normal_", lambda tensor, *a, **o: built.append(tensor) or normal(tensor, *a, **o)
    )
    with pytest.raises(UserError, match=message):
        load_cyclegan(folder)
    assert all(tensor.numel() < 10**6 for tensor in built)


def write_pth(folder, checkpoint, **changed):
    """Write the checkpoint in the usual PyTorch layout, with tensors of one generator replaced."""
    folder.mkdir()
    tensors = load_file(checkpoint / "cyclegan.safetensors")
    for side, letter in (("A2B", "A"), ("B2A", "B")):
        for part, kind in (("generator", "G"), ("discriminator", "D")):
            prefix = f"{side}.{part}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if (side, part) == ("A2B", "generator"):
                state |= {key.replace("__", "."): value for key, value in changed.items()}
            torch.save(state, folder / f"latest_net_{kind}_{letter}.pth")
    return folder


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(10**5, 10**5), r"of shape \(100000, 100000\), larger than the file"),
        (torch.zeros(1).expand(10**6, 3, 7, 7), "larger than the file"),
        (torch.zeros(2, 2).to_sparse(), "of a kind that holds no plain numbers"),
        (torch.empty(4, 3, 7, 7, device="meta"), "of a kind that holds no plain numbers"),
        (torch.zeros(4, 3, 7, 7, dtype=torch.int32), r"of torch\.int32; expected torch\.float32"),
    ],
)
def test_a_state_dict_that_claims_more_than_it_holds_is_refused(checkpoint, tmp_path, tensor, message):
    folder = write_pth(tmp_path / "public", checkpoint, model__1__weight=tensor)
    with pytest.raises(UserError, match=rf"latest_net_G_A\.pth: tensor model\.1\.weight.*{message}"):
        load_cyclegan(folder)


@pytest.mark.parametrize("name", ["a.conv_block.b", "model.conv_block", "x.y.conv_block.z.weight"])
def test_names_that_no_network_has_are_refused(checkpoint, tmp_path, name):
    changed = {name.replace(".", "__"): torch.zeros(2, 2, 3, 3)}
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth"):
        load_cyclegan(write_pth(tmp_path / "public", checkpoint, **changed))


@pytest.mark.slow
def test_a_compact_generator_that_claims_to_be_huge_is_refused_before_it_is_built(run, tmp_path):
    for name in ("A2B.json", "A2B.safetensors"):
        shutil.copy(run.path(name), tmp_path)
    description = json.loads((tmp_path / "A2B.json").read_text())
    description["architecture"] |= {"ngf": 4096, "blocks": 40}  # 770 GB
    (tmp_path / "A2B.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"without tensor model\.12\.conv_block"):
        ganprune.load_generator(tmp_path / "A2B")


# --- a run's JSON


@pytest.fixture
def edited(run, tmp_path):
    """Returns a function that changes the run's config.json at a path of keys; _GONE removes the entry."""
    shutil.copytree(run.directory, tmp_path / "edited")
    directory = RunDirectory(tmp_path / "edited")
    original = directory.read_json("config.json")

    def edit(*keys, value):
        config = copy.deepcopy(original)
        place = config
        for key in keys[:-1]:
            place = place[key]
        if value is _GONE:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        directory.write_json("config.json", config)
        return directory

    return edit


_GONE = object()
EDITS = [
    (("settings", "search", "population"), "three", "population: got three; expected a whole number"),
    (("settings", "search", "population"), 3.5, "population: got 3.5"),
    (("settings", "search", "population"), True, "population: got True"),
    (("settings", "search", "population"), -1, "population: got -1"),
    (("settings", "fitness", "gamma"), [1], r"gamma: got \[1\]; expected a number"),
    (("settings", "scoring", "reconstruct"), "no", "reconstruct: got no; expected true or false"),
    (("settings", "search", "select"), {"os": "system"}, "select: got .*; expected text"),
    (("settings", "search", "mate"), "os:system", "mate: got os:system from the run's file"),
    (("settings", "surprise"), 1, "settings in .*surprise"),
    (("settings",), [], "settings in"),
    (("settings",), _GONE, "settings in .*: got nothing"),
    (("size",), "16", "size in .*: got '16'"),
    (("size",), -4, "size: got -4"),
    (("threads",), 0, "threads: got 0"),
    (("threads",), True, "threads in .*: got True"),
    (("device",), ["cpu"], "device in"),
    (("device",), "../../gpu", "device: got ../../gpu"),
    (("data",), 7, "data in"),
    (("data",), "../../../etc", "data: got ../../../etc|image folder: got ../../../etc"),
    (("checkpoint",), "/dev/null", "checkpoint: got /dev/null"),
    (("command",), "../evolve", r"run: got .*\(of ganprune ../evolve\)"),
    (("command",), ["evolve"], "a run of ganprune evolve"),
    (("format",), "1", "got format '1'"),
    (("data_sha256",), "../../x", "other images than when the run began"),
]


@pytest.mark.parametrize(("keys", "value", "message"), EDITS)
def test_a_hand_edited_config_gets_a_message_and_nothing_is_written(edited, tmp_path, keys, value, message):
    directory = edited(*keys, value=value)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        resume(directory.directory)
    assert contents(tmp_path) == before


def test_a_config_that_is_no_object_gets_a_message(edited):
    directory = edited("size", value=16)
    for nonsense in ([], 7, None, "evolve"):
        directory.write_json("config.json", nonsense)
        with pytest.raises(UserError, match="without a command"):
            read_config(directory)


def test_settings_have_the_types_they_say():
    assert make_settings(gamma=3, max_seconds=None, finetune_learning_rate=1e-4).fitness.gamma == 3
    for wrong in ({"seed": 1.0}, {"max_macs": "1e9"}, {"reconstruct": 1}, {"generations": None}):
        with pytest.raises(UserError, match=next(iter(wrong)).replace("_", " ")):
            changed(EvolveSettings(), **wrong)


STATE_EDITS = [
    (("step",), -1), (("step",), "3"), (("step",), 10**30), (("logbook_lines",), None), (("evaluation_lines",), 2.5),
    (("previous",), []), (("previous", "A2B"), "zz"), (("previous", "A2B"), 3), (("random",), {}),
    (("random", "python", "words"), "xyz"), (("random", "numpy", "position"), "first"), (("timing",), None),
    (("strategies", "A2B"), []), (("strategies",), None), (("timing", "seconds"), "long"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "value"), STATE_EDITS)
def test_a_hand_edited_state_gets_a_message(tmp_path, keys, value):
    pair = {side: make_side(Genetic(4)) for side in ("A2B", "B2A")}
    coevolve(pair, run=tmp_path, generations=1)
    run = RunDirectory(tmp_path)
    state = run.read_json("state.json")
    place = state
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    run.write_json("state.json", state)
    before = contents(tmp_path)
    with pytest.raises(UserError):
        coevolve(pair, run=tmp_path, generations=2, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        {"values": [float(1), 2.0]}, {"values": []}, {"values": "no"}, {"bits": 7}, {"side": None}, {"terms": 3},
        {"values": ["nan"]},
    ],
)  # fmt: skip
def test_a_hand_edited_evaluation_gets_a_message(tmp_path, change):
    pair = {side: make_side(Genetic(4)) for side in ("A2B", "B2A")}
    coevolve(pair, run=tmp_path, generations=1)
    run = RunDirectory(tmp_path)
    records = run.read_jsonl("evaluations.jsonl")
    (tmp_path / "state.json").unlink()
    run.write_jsonl("evaluations.jsonl", [{**record, **change} for record in records])
    with pytest.raises(UserError, match=r"evaluate of side A2B|evaluations\.jsonl"):
        coevolve(pair, run=tmp_path, generations=1, resume=True)


def test_a_logbook_with_lines_missing_is_not_gone_on_with(tmp_path):
    pair = {side: make_side(Genetic(4)) for side in ("A2B", "B2A")}
    coevolve(pair, run=tmp_path, generations=1)
    run = RunDirectory(tmp_path)
    run.write_jsonl("logbook.jsonl", run.read_jsonl("logbook.jsonl")[:2])
    with pytest.raises(UserError, match=r"logbook\.jsonl: got 2 lines; expected the 4 that the saved state counts"):
        coevolve(pair, run=tmp_path, generations=1, resume=True)
