"""User errors, devices and pictures: small things that the rest relies on."""

import pickle
import subprocess
import sys
import threading

import pytest
import torch
from PIL import Image

from ganprune.data.pixels import to_pil
from ganprune.device import at_once, one_thread, resolve_device, set_threads
from ganprune.errors import UserError, did_you_mean, reason
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


def test_a_message_is_one_screen_and_says_both_ends_of_what_is_too_long():
    text = str(UserError("x" * 10, "a" * 5000 + "b", "c" * 5000, "Do d." * 5000))
    assert len(text) < 24 * 80 and text.startswith("xxxxxxxxxx: got aaa") and "aab; expected" in text


def test_what_others_say_comes_in_one_line_without_terminal_codes():
    error = ValueError("\n \x1b[1mtoo \x1b]8;;http://x\x07many\x1b[0m words\nand a traceback")
    assert reason(error) == "too many words"
    assert reason(error, 10) == "too many ..."
    assert reason(ValueError()) == "ValueError"


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


def test_calls_at_once_share_the_threads_and_give_their_results_in_order():
    before = torch.get_num_threads()
    try:
        for threads, share in ((1, 1), (2, 1), (5, 2)):
            torch.set_num_threads(threads)
            assert at_once([lambda i=i: (i, torch.get_num_threads()) for i in range(2)], "cpu") == [
                (0, share), (1, share)
            ]  # fmt: skip
            assert torch.get_num_threads() == threads
        assert at_once([torch.get_num_threads], "cpu") == [5] and at_once([], "cpu") == []
    finally:
        torch.set_num_threads(before)


def test_calls_at_once_run_at_once():
    before = torch.get_num_threads()
    meeting = threading.Barrier(2, timeout=60)  # that both have to reach
    try:
        torch.set_num_threads(2)
        assert sorted(at_once([meeting.wait, meeting.wait], "cpu")) == [0, 1]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_that_fails_is_raised_when_all_have_ended_and_the_threads_are_as_before(threads):
    ended, before = [], torch.get_num_threads()

    def fails():
        raise UserError("field", 1, "2", "Correct it.")

    try:
        torch.set_num_threads(threads)
        for calls in ([fails, lambda: ended.append(1)], [lambda: ended.append(1), fails]):
            with pytest.raises(UserError):
                at_once(calls, "cpu")
            assert torch.get_num_threads() == threads
        assert len(ended) == (2 if threads == 2 else 1)
    finally:
        torch.set_num_threads(before)


def test_one_thread_lasts_for_its_block():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        with one_thread(False):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's options")
def test_memory_is_kept_by_the_command_line_and_left_alone_by_an_import():
    """Where memory goes back to the system, each of 50 large blocks is faulted in again, 10,000 pages every time."""
    program = (
        "import ctypes, resource\n{}\nfor _ in range(50): ctypes.create_string_buffer(40 * 2**20)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    )
    keeping = "from ganprune.memory import keep_memory; print(keep_memory())"
    lines = [
        subprocess.run([sys.executable, "-c", program.format(first)], capture_output=True, text=True, check=True)
        .stdout.split()
        for first in ("import ganprune; print(False)", keeping)
    ]  # fmt: skip
    faults = [int(line[1]) for line in lines]
    assert lines[1][0] == "False" or faults[1] < faults[0] / 5, faults
