"""A report in a real browser, without a network: sliders, sorting, fronts, and the generators that run in the page.

Debian's chromium and chromium-driver, driven by selenium, which is given both and so downloads nothing. Where one of
them is missing, these tests are skipped.
"""

import base64
import io
import json
import os
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image
from toypages import ARCHITECTURES, HOSTILE, contents, networks

from ganprune.data.pixels import read_image, to_float, to_rgb_bytes, with_channels
from ganprune.models.architecture import input_channels
from ganprune.models.sizing import size_multiple, translate
from ganprune.report.page.render import render

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install 'ganprune[test]'")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium: apt-get install chromium chromium-driver"),
]
PATIENCE = 120  # seconds, on a machine that is busy with other things


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """The generators of a page, by architecture, and the page's path."""
    made, data = networks()
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(contents(generators=data, hostile=HOSTILE)), encoding="utf-8")
    return made, path


@pytest.fixture
def page(browser, generators):
    browser.get(generators[1].as_uri())
    return browser


def until(found):
    """Wait for a true value, and return it."""
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return value


def find(page, selector):
    return page.find_elements("css selector", selector)


def line(page):
    """Where the line of the first picture is, and what is seen of the compact image there."""
    script = """const pair = document.querySelector(".pair"), style = getComputedStyle(pair.querySelector(".right"));
        return [pair.style.getPropertyValue("--at"), style.clipPath]"""
    return page.execute_script(script)


def test_the_slider_moves_by_mouse_and_by_keys(page):
    slider = find(page, ".slider")[0]
    assert line(page) == ["50%", "inset(0px 0px 0px 50%)"]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    actions = webdriver.ActionChains(page)
    actions.move_to_element_with_offset(slider, round(slider.size["width"] * -0.25), 0).click().perform()
    clicked = int(line(page)[0].rstrip("%"))
    assert 22 <= clicked <= 28 and line(page)[1] == f"inset(0px 0px 0px {clicked}%)"
    slider.send_keys("\ue014\ue014")  # the right arrow
    assert line(page)[0] == f"{clicked + 2}%"
    slider.send_keys("\ue011")  # home: nothing but the compact image
    assert line(page)[1] == "inset(0px 0px 0px 0%)"


def names(page):
    script = """return [...document.querySelectorAll(".gallery .cases")].map((cases) =>
        [...cases.querySelectorAll(".case:not([hidden]) b")].map((name) => name.textContent.slice(0, 2)))"""
    return page.execute_script(script)


def take(page, form, name, value):
    script = """const field = document.querySelector(arguments[0]).elements[arguments[1]];
        field.value = arguments[2];
        field.dispatchEvent(new Event("change", {bubbles: true}))"""
    page.execute_script(script, form, name, value)


def test_sorting_sorts_and_shows_all_when_asked(page):
    assert names(page)[0] == [f"{number:02d}" for number in range(14, 2, -1)]  # what changed most, of 15
    take(page, "#view", "sort", "gain")
    assert names(page)[0] == [f"{number:02d}" for number in range(12)]
    find(page, ".more")[0].click()
    take(page, "#view", "sort", "name")
    assert names(page) == [[f"{number:02d}" for number in range(15)], ["00", "01"]]
    take(page, "#view", "gallery", "1")
    assert [each.is_displayed() for each in find(page, ".gallery")] == [False, True]


def test_a_difference_is_dark_where_nothing_changed(page):
    take(page, "#view", "show", "difference")
    script = 'return getComputedStyle(document.querySelector(".pair .right")).mixBlendMode'
    assert page.execute_script(script) == "difference"
    page.execute_script('document.querySelector(".pair .right").src = document.querySelector(".pair .left").src')
    pair = find(page, ".pair")[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pair)
    picture = Image.open(io.BytesIO(pair.screenshot_as_png)).convert("L")
    assert np.array(picture)[10:-10, 10:-10].max() == 0


def test_points_of_a_front_are_chosen_by_mouse_and_by_keys(page):
    commands = find(page, ".fronts .command code")
    assert commands[0].text.endswith("--index 1 1")  # the knees
    find(page, '.mark[data-side="A2B"][data-index="2"]')[0].click()
    find(page, '.mark[data-side="B2A"][data-index="0"]')[0].send_keys("\ue007")
    assert commands[0].text.endswith("--index 2 0")
    assert find(page, '.mark[data-side="A2B"][aria-pressed="true"]')[0].get_attribute("data-index") == "2"
    assert "3.33x fewer parameters" in find(page, ".front output")[0].text


def translated(page, path):
    """Give the page's file field an image, and return what its generator makes of it: (3, H, W), uint8."""
    page.execute_script("for (const each of document.querySelectorAll('#results canvas')) delete each.dataset.done")
    find(page, '#trial [name="file"]')[0].send_keys(str(path))
    canvas = until(lambda: find(page, "#results canvas[data-done]"))[0]
    address = page.execute_script("return arguments[0].toDataURL()", canvas)
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def expected(generator, path):
    channels = input_channels(generator)
    image = to_float(with_channels(read_image(path), channels))[None]
    with torch.inference_mode():
        return to_rgb_bytes(translate(generator, image, size_multiple([generator]))[0])


def test_the_generators_in_the_page_agree_with_pytorch_on_ten_images(page, generators, tmp_path):
    draw = np.random.default_rng(3)
    take(page, "#trial", "size", "own")
    sizes = [(16, 16)] * 8 + [(30, 21), (17, 40)]
    for number, (name, (height, width)) in enumerate(zip([*ARCHITECTURES, *ARCHITECTURES], sizes, strict=False)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        take(page, "#trial", "network", str(number % len(ARCHITECTURES)))
        found, wanted = translated(page, path), expected(generators[0][name], path)
        assert found.shape == wanted.shape and (found.int() - wanted.int()).abs().max() <= 1, name
    assert " ms" in find(page, "#results figcaption")[0].text
    assert f"Done: {width}x{height} pixels in" in find(page, "#status")[0].text


def test_what_is_drawn_is_translated(page):
    take(page, "#trial", "network", "0")
    canvas = find(page, "#given")[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    until(lambda: find(page, "#results canvas[data-done]"))
    before = find(page, "#results canvas")[0].screenshot_as_png
    webdriver.ActionChains(page).move_to_element(canvas).click_and_hold().move_by_offset(60, 30).release().perform()
    until(lambda: find(page, "#results canvas[data-done]"))
    assert find(page, "#results canvas")[0].screenshot_as_png != before


def test_a_file_that_is_no_image_is_said_so(page, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    find(page, '#trial [name="file"]')[0].send_keys(str(tmp_path / "text.png"))
    until(lambda: "no image" in find(page, "#status")[0].text)


def test_a_narrow_page_does_not_scroll_sideways(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_request_leaves_the_page_and_nothing_is_on_the_console(page):
    """Comes last: the logs are those of all tests of this module."""
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked and {address.partition(":")[0] for address in asked} <= {"file", "data", "blob"}
    assert page.get_log("browser") == []
    page.execute_script("fetch('https://example.org').catch(() => {})")  # and none could
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))
