"""The page in headless Chromium, with a generated video as the camera."""

import contextlib
import shutil
import time

import pytest

from serving.live.page import Page
from serving.live.session import LiveSession
from serving.live.settings import LiveSettings
from tests.serving.fake_poses import BarPoses, bar_video
from tests.tfrecords import recording_files
from tfrecords.estimation import estimator

pytestmark = pytest.mark.slow
WIDTHS = (1200, 360)
PATIENCE = 60.0  # seconds


def chromium():
    """Paths of Debian's browser and its driver."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(found):
        pytest.skip("no Chromium here: install the packages chromium and chromium-driver")
    return found


@pytest.fixture
def browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium here: pip install selenium")
    binary, driver = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        f"user-data-dir={tmp_path}/b",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield made
    made.quit()


@pytest.fixture
def page(tmp_path, monkeypatch, linear_version):
    """The page of a session that watches a generated video of a minute."""
    monkeypatch.setitem(estimator._REGISTERED, "blazepose", BarPoses)
    shutil.copytree(linear_version, tmp_path / "base" / "first" / "1")
    shutil.copytree(linear_version, tmp_path / "base" / "second" / "1")
    for name, seconds in (("camera", 60), ("short", 3)):
        frames = bar_video([16 + i % 40 for i in range(10 * seconds)])
        recording_files.write_video(tmp_path / f"{name}.mp4", frames, 10)
    session = LiveSession(
        LiveSettings(str(tmp_path / "camera.mp4"), str(tmp_path / "base" / "first"), privacy="skeleton", window="1s")
    )
    made = Page(session, port=0)
    made.start()
    yield made
    made.stop()
    session.stop()


def until(done, what):
    """What a function returns as soon as it is true; errors of elements that are being replaced do not count."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(Exception):
            found = done()
            if found:
                return found
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.1)


def test_the_page_in_a_browser(browser, page, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def get(selector):
        return browser.find_element(By.CSS_SELECTOR, selector)

    def press(*keys):
        browser.switch_to.active_element.send_keys(*keys)

    def focused():
        return browser.switch_to.active_element.get_attribute("id")

    browser.get(page.url)
    until(lambda: get("#state-text").text == "Not watching" and get("#model").text, "the page")
    # By the keyboard alone: from the top to the model, another one is chosen, and Start is pressed.
    for _ in range(10):
        press(Keys.TAB)
        if focused() == "model":
            break
    press(Keys.ARROW_DOWN)
    for expected in ("camera", "start"):
        press(Keys.TAB)
        assert focused() == expected
    press(Keys.ENTER)
    until(lambda: get("#state-text").text == "Watching", "the session")
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 96, "a picture")
    until(lambda: get("#people .bars li"), "an answer")
    assert "person 0" in get("#people").text
    assert get("#model").get_attribute("value") == "second"
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#timeline rect"), "the time line")
    until(lambda: get("#heard").get_attribute("textContent").startswith("person 0: "), "what is read out")
    for width in WIDTHS:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('input, select, button, video, img, progress')].filter(e => "
        "!(e.labels && e.labels.length) && !e.textContent.trim() && !e.ariaLabel && !e.alt).map(e => e.outerHTML)"
    )
    assert unnamed == []
    # A video is sent and played.
    get("#file").send_keys(str(tmp_path / "short.mp4"))
    get("#upload button").click()
    until(lambda: get("#jobs video"), "the annotated video")
    loaded = (
        "return document.querySelector('#jobs video').readyState >= 1 && document.querySelector('#jobs video').duration"
    )
    assert until(lambda: browser.execute_script(loaded), "the video's data") == pytest.approx(3, abs=0.5)
    get("#jobs button").click()
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "#jobs li"), "its end")
    get("#stop").click()
    until(lambda: get("#nobody").text == "Nothing is watched.", "the end")
    until(lambda: get("#frame").get_attribute("class") == "empty", "the picture's end")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    # Without the server nothing passes for fresh.
    page.stop()
    until(lambda: "does not answer" in get("#problem").text, "what is wrong")
    assert "old" in get("#frame").get_attribute("class")
