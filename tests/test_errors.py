"""User errors, devices and pictures: small things that the rest relies on."""

import pickle

import pytest
import torch
from PIL import Image

from ganprune.data.pixels import to_pil
from ganprune.device import resolve_device, set_threads
from ganprune.errors import UserError, did_you_mean
from ganprune.report.figures import GAP, TITLE_HEIGHT, image_grid, save_grid


def test_a_message_names_field_value_expectation_and_remedy():
    assert (
        str(UserError("batch", 0, "1 or more", "Correct --batch."))
        == "batch: got 0; expected 1 or more. Correct --batch."
    )
    assert "got path/to; " in str(UserError("folder", "path/to", "x", "y"))


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(UserError("batch", 0, "1 or more", "Correct it.")))
    assert (error.field, error.value, str(error)) == ("batch", 0, "batch: got 0; expected 1 or more. Correct it.")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("seltournament", "Did you mean 'selTournament'?"),
        ("selRoulete", "Did you mean 'selRoulette'?"),
        ("xyz", "Choose one of: selTournament, selRoulette."),
    ],
)
def test_the_closest_name_is_offered_else_all(name, answer):
    assert did_you_mean(name, iter(["selTournament", "selRoulette"])) == answer


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == resolve_device("auto") == torch.device("cpu")
    assert resolve_device("cpu:0").type == "cpu"
    for name in ("cuda", "cuda:0"):
        with pytest.raises(
            UserError, match=f"device: got {name}; expected a CUDA device that PyTorch can see. Use --device cpu"
        ):
            resolve_device(name)
    for name in ("gpu", "meta", "", "cuda:99999999999999999999", "cuda:\u0663"):
        with pytest.raises(UserError, match=f"device: got {name}; expected auto, cpu, cuda or cuda:N"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda") and resolve_device("cuda:1").index == 1
    with pytest.raises(UserError, match="device: got cuda:2"):
        resolve_device("cuda:2")


def test_threads_are_set_and_returned():
    before = torch.get_num_threads()
    try:
        assert set_threads(2) == torch.get_num_threads() == 2
        assert set_threads(None) == 2
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UserError, match="threads: got 0; expected 1 or more"):
        set_threads(0)


def colour(red, green, blue, count=1, size=4):
    return torch.tensor([red, green, blue], dtype=torch.float32).view(1, 3, 1, 1).expand(count, 3, size, size)


def test_images_become_pictures():
    assert to_pil(colour(1, -1, 0)[0]).getpixel((0, 0)) == (255, 0, 128)
    assert to_pil(torch.zeros(1, 2, 2)).getpixel((1, 1)) == (128, 128, 128)


def test_a_grid_shows_every_row_of_every_section(tmp_path):
    red, blue = colour(1, -1, -1, count=3), colour(-1, -1, 1, count=2)
    page = image_grid({"first": {"input": red, "output": blue}, "second": {"input": blue}}, zoom=2)
    rows = TITLE_HEIGHT + GAP + 2 * (8 + GAP), TITLE_HEIGHT + GAP + 8 + GAP
    assert page.height == sum(rows)
    pixels = [page.getpixel((x, y)) for x in range(page.width) for y in range(page.height)]
    assert pixels.count((255, 0, 0)) == 3 * 64 and pixels.count((0, 0, 255)) == 4 * 64
    save_grid(tmp_path / "grid.png", {"first": {"input": red}})
    assert Image.open(tmp_path / "grid.png").height == TITLE_HEIGHT + GAP + 8
