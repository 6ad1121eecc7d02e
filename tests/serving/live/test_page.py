"""The page's requests: what it shows, what it changes, who may, and videos that are sent."""

import dataclasses
import io
import json
import pathlib
import threading
import time

import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.live import page
from serving.live.page import access, uploads
from serving.live.page.app import Application
from serving.live.page.controls import Controls
from serving.live.page.newest import Newest
from serving.live.settings import LiveSettings
from serving.live.state import LiveState, PersonState, Segment, Snapshot
from zoo.shared.errors import UserError

URL = "http://127.0.0.1:8600"
TOKEN = "a token of some length".replace(" ", "-")
CHANGE = {"X-ADL-Page": "1"}
PICTURE = np.full((48, 64, 3), 90, np.uint8)
PERSON = PersonState(4, "drink", 0.75, (("drink", 0.75), ("read", float("nan"))), 5.0, (1, 2, 30, 40), age=0.5)


class Session:
    """Stands for a live session."""

    error = None

    def __init__(self, settings):
        self.settings, self.state, self.running = settings, LiveState(), False
        self.may_start = threading.Event()
        self.may_start.set()

    def start(self, settings):
        assert self.may_start.wait(20)
        if settings.source == "9":
            raise UserError("camera 9: cannot be opened")
        self.settings, self.running = settings, True

    def stop(self):
        self.running = False


def until(done):
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def annotate(source, out, progress, attention):
    progress(0.5)
    if source.read_bytes() == b"no video":
        raise UserError(f"{source}: is no video")
    out.write_bytes((b"looked at " if attention else b"annotated ") + source.read_bytes())
    return [Segment(0, "drink", 0.0, 1.5, 0.9)]


@dataclasses.dataclass
class Running:
    session: Session
    newest: Newest
    uploads: uploads.Uploads
    application: Application

    def client(self, url=URL, **options):
        return TestClient(self.application.asgi, base_url=url, follow_redirects=False, **options)


@pytest.fixture
def made(tmp_path):
    """Makes the page of a session of ``model``, beside which there is ``other``; stops it afterwards."""
    for name in ("model", "other"):
        (tmp_path / "base" / name / "1").mkdir(parents=True)
    (tmp_path / "base" / "no_model").mkdir()
    running = []

    def make(host="127.0.0.1", token=None, max_bytes=1000, annotate=annotate):
        session = Session(LiveSettings("rtsp://me:secret@10.0.0.5/main", str(tmp_path / "base" / "model")))
        newest, sent = Newest(session.state), uploads.Uploads(annotate, max_bytes)
        application = Application(session.state, Controls(session), newest, sent, host, token)
        newest.start()
        sent.start()
        running.append(Running(session, newest, sent, application))
        return running[-1]

    yield make
    for one in running:
        one.uploads.stop()
        one.newest.stop()


def show(running, persons=(PERSON,), number=1):
    count = running.newest.count()
    running.session.state.put_snapshot(Snapshot(number, time.time(), PICTURE, tuple(persons), "fine", 12.0))
    until(lambda: running.newest.count() > count)


# ------------------------------------------------------------------------------------------------ what it shows


def test_the_newest_picture_and_its_people(made, monkeypatch):
    running = made()
    client = running.client()
    assert client.get("/api/state").json()["picture"] is None
    show(running)
    state = client.get("/api/state").json()
    (person,) = state["persons"]
    assert (person["track"], person["label"], person["probability"], person["old"]) == (4, "drink", 0.75, False)
    assert person["top"] == [["drink", 0.75], ["read", 0.0]]
    assert 0.5 <= person["age"] < 10
    assert (state["picture"]["width"], state["picture"]["height"], state["picture"]["old"]) == (64, 48, False)
    assert "secret" not in json.dumps(state) + client.get("/api/choices").text
    # Nothing has come since: neither the picture nor the answer passes for a fresh one, whatever the clock says.
    later = time.monotonic() + 4
    monkeypatch.setattr(time, "monotonic", lambda: later)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    state = client.get("/api/state").json()
    assert (state["picture"]["old"], state["persons"][0]["old"]) == (True, True)
    assert state["persons"][0]["age"] >= 4


def test_a_person_without_an_answer(made):
    running = made()
    show(running, [PersonState(0, "", 0.0, (), 0.0, (0, 0, 1, 1))])
    assert running.client().get("/api/state").json()["persons"] == [
        {"track": 0, "label": "", "probability": 0.0, "top": [], "age": None, "old": True, "attention": None}
    ]


@pytest.mark.parametrize(
    ("maps", "seen", "expected"),
    [
        (
            {"spatial_attention": [[1, 2], [4, 0]]},
            (0, -8, 64, 56),
            {"grid": [[0.25, 0.5], [1, 0]], "seen": [0, -8, 64, 56]},
        ),
        ({"spatial_attention": [[1, 2], [4, 0]]}, None, None),
        ({"spatial_attention": [[1, 2, 3], [4, 0, 1]]}, (0, 0, 9, 9), None),  # over hands
        ({"temporal_attention": [1, 4, np.nan]}, None, {"time": [0.25, 1, 0]}),
        (
            {"spatio_temporal_attention": [[[1, 0], [0, 0]], [[3, 0], [0, 0]]]},
            (0, 0, 9, 9),
            {"grid": [[1, 0], [0, 0]], "seen": [0, 0, 9, 9], "time": [0.333, 1]},
        ),
        ({"part_attention": [0.5, 0.5]}, (0, 0, 9, 9), None),
    ],
)
def test_where_the_model_looks(made, maps, seen, expected):
    running = made()
    maps = {name: np.array(value, np.float32) for name, value in maps.items()}
    show(running, [dataclasses.replace(PERSON, attention=maps, seen=seen)])
    assert running.client().get("/api/state").json()["persons"][0]["attention"] == expected


def test_pictures_come_as_they_change(made):
    running = made()
    show(running)

    def change_when_sent():
        for last in (False, True):
            until(lambda: running.newest._jpeg[0] == running.newest.count())
            running.application.closing.set() if last else show(running)

    thread = threading.Thread(target=change_when_sent)
    thread.start()
    response = running.client().get("/picture.mjpg")
    thread.join()
    kind, _, boundary = response.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/x-mixed-replace"
    first, *parts, last = response.content.split(f"--{boundary}\r\n".encode())
    assert (first, last, len(parts)) == (b"", b"", 2)
    head, _, body = parts[0].partition(b"\r\n\r\n")
    assert b"Content-Type: image/jpeg" in head
    with av.open(io.BytesIO(body[:-2]), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
    np.testing.assert_allclose(frame.to_ndarray(format="rgb24"), PICTURE, atol=3)


def test_time_line(made):
    running = made()
    for segment in (Segment(0, "read", 1.0, 5.0, 0.5), Segment(0, "drink", 5.0, None, 0.8)):
        running.session.state.put_segment(segment)
    running.session.state.put_event({"id": "a", "time": 7.0, "rule": "thirst"})
    client = running.client()
    found = client.get("/api/timeline", params={"since": 6}).json()
    assert [segment["label"] for segment in found["segments"]] == ["drink"]
    assert [event["rule"] for event in found["events"]] == ["thirst"]
    assert len(client.get("/api/timeline").json()["segments"]) == 2
    assert client.get("/api/timeline?since=x").status_code == 400


def test_the_page_needs_no_other_host(made):
    client = made().client()
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    static = pathlib.Path(access.__file__).parent / "static"
    for name in [file.name for file in static.iterdir()]:
        text = client.get(f"/static/{name}").text
        assert text == (static / name).read_text(encoding="utf-8")
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "").replace("rtsp://HOST", "")


# ---------------------------------------------------------------------------------------------- what it changes


def test_start_and_stop(made):
    running = made()
    client = running.client(headers=CHANGE)
    choices = client.get("/api/choices").json()
    assert choices["models"] == ["model", "other"]
    assert ["given", "rtsp://me:***@10.0.0.5/main"] in choices["cameras"]
    assert client.post("/api/start", json={"model": "other"}).json()["running"]
    assert running.session.settings.source == "rtsp://me:secret@10.0.0.5/main"
    state = client.post("/api/start", json={"camera": "rtsp://a:b@host/x"}).json()
    assert (state["model"], state["camera"]) == ("other", "rtsp://a:***@host/x")
    assert client.post("/api/start", json={"camera": state["camera"]}).json()["running"]
    assert running.session.settings.source == "rtsp://a:b@host/x"
    show(running)
    assert not client.post("/api/stop").json()["running"]
    assert client.get("/api/state").json()["picture"] is None
    assert client.post("/api/start", json={"camera": "given"}).json()["camera"] == "given"


def test_a_file_of_calibration_is_that_of_its_model_alone(tmp_path):
    for name in ("model", "other"):
        (tmp_path / name / "1").mkdir(parents=True)
    session = Session(LiveSettings("0", str(tmp_path / "model"), calibration="calibration.json"))
    controls, used = Controls(session), []
    for model in ("", "other", "", "model"):
        controls.start(model)
        used.append((controls.model(), session.settings.calibration))
    assert used == [("model", "calibration.json"), ("other", ""), ("other", ""), ("model", "calibration.json")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"model": "othr"}, "there is no model 'othr', did you mean 'other'?"),
        ({"model": "../base/other"}, "there is no model"),
        ({"camera": "/etc/passwd"}, "is no camera, expected a number such as 0 or an address"),
        ({"camera": "file:///etc/passwd"}, "is no camera"),
        ({"camera": "rtsp://[::1/main"}, "is no camera"),
        ({"camera": "9"}, "camera 9: cannot be opened"),
        ({"camera": 9}, "expected a JSON object whose values are text"),
        (["a"], "expected a JSON object"),
    ],
)
def test_what_cannot_be_started(made, body, reason):
    running = made()
    response = running.client(headers=CHANGE).post("/api/start", json=body)
    assert response.status_code == 400
    assert reason in response.json()["error"]
    assert not running.session.running


def test_one_change_at_a_time(made):
    running = made()
    running.session.may_start.clear()
    client = running.client(headers=CHANGE)
    starting = threading.Thread(target=client.post, args=("/api/start",))
    starting.start()
    until(lambda: running.client().get("/api/state").json()["busy"])
    assert running.client(headers=CHANGE).post("/api/stop").status_code == 409
    running.session.may_start.set()
    starting.join()
    assert running.session.running


# -------------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (CHANGE, 200),
        ({**CHANGE, "Origin": URL}, 200),
        ({}, 403),
        ({**CHANGE, "Origin": "http://evil.example"}, 403),
        ({**CHANGE, "Origin": "null"}, 403),
        ({**CHANGE, "Host": "evil.example:8600"}, 403),
    ],
)
def test_other_sites_change_nothing(made, headers, status):
    running = made()
    assert running.client().post("/api/start", headers=headers).status_code == status
    assert running.session.running == (status == 200)


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:8600", 200), ("[::1]:8600", 200), ("127.0.0.1", 200), ("evil.example:8600", 403)]
)
def test_names_of_this_machine_and_one_that_leads_here_from_elsewhere(made, host, status):
    assert made().client().get("/api/state", headers={"Host": host}).status_code == status


def test_token(made, monkeypatch):
    monkeypatch.setattr(access, "_WRONG_TOKEN_SECONDS", 0)
    running = made("0.0.0.0", TOKEN)
    client = running.client("http://camera.lan:8600")
    assert client.get("/").headers["location"] == "/login"
    assert client.get("/login").status_code == client.get("/static/page.css").status_code == 200
    for path in ("/api/state", "/picture.mjpg", "/api/uploads", "/static/../api/state"):
        assert client.get(path).status_code == 401
    for given in ("Bearer wrong", "Bearer ä".encode(), "Bearer", f"Basic {TOKEN}"):
        assert client.get("/api/state", headers={"Authorization": given}).status_code == 401
    assert client.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/api/state", headers={"Cookie": f"adl_page={TOKEN}"}).status_code == 401
    assert client.post("/login", headers=CHANGE, json={"token": TOKEN + "x"}).status_code == 401
    assert client.post("/login", headers=CHANGE, content=r'{"token": "\ud800"}').status_code == 400  # half a character
    assert client.post("/login", json={"token": TOKEN}).status_code == 403
    cookie = client.post("/login", headers=CHANGE, json={"token": TOKEN}).headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert client.get("/").status_code == client.get("/api/state").status_code == 200  # the client keeps the cookie
    assert client.post("/api/start").status_code == 403
    assert client.post("/api/start", headers=CHANGE).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "nobody.invalid"])
def test_an_address_for_others_needs_a_token(made, host):
    with pytest.raises(UserError, match=rf"^--host {host}: others can reach this address, .* needs --token-file"):
        made(host)


@pytest.mark.parametrize("text", ["short", "two words of a token", "", "ä" * 20])
def test_files_that_hold_no_token(tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"^--token-file .*token: "):
        access.read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert access.read_token(file) == TOKEN
    with pytest.raises(UserError, match=r"cannot be read"):
        access.read_token(tmp_path / "none")


def test_options_of_the_command(made):
    from serving.live import command

    def options(*more):
        return command.parser().parse_args(["--camera", "0", "--model", "m", *more])

    session = made().session
    assert page.from_arguments(session, options()) is None
    with pytest.raises(UserError, match="give its --port"):
        page.from_arguments(session, options("--host", "0.0.0.0"))
    with pytest.raises(UserError, match="needs --token-file"):
        page.from_arguments(session, options("--host", "0.0.0.0", "--port", "0"))
    with pytest.raises(UserError, match="a port is 0 to 65535"):
        page.from_arguments(session, options("--port", "70000"))
    shown = page.from_arguments(session, options("--port", "0"))
    with pytest.raises(UserError, match="in use"):
        page.from_arguments(session, options("--port", shown.url.rpartition(":")[2]))
    shown.stop()


# --------------------------------------------------------------------------------------------------- videos


def ended(client, key):
    until(lambda: client.get(f"/api/uploads/{key}").json()["state"] in ("done", "failed"))
    return client.get(f"/api/uploads/{key}").json()


def test_a_video_is_annotated(made):
    running = made()
    client = running.client(headers=CHANGE)
    sent = client.post("/api/uploads", params={"name": "fall ä.mp4"}, content=b"video")
    assert sent.status_code == 202
    job = ended(client, sent.json()["id"])
    assert (job["state"], job["progress"], job["name"]) == ("done", 1.0, "fall ä.mp4")
    assert job["segments"] == [{"track": 0, "label": "drink", "start": 0.0, "end": 1.5, "probability": 0.9}]
    path = f"/api/uploads/{job['id']}/video"
    video = client.get(path)
    assert (video.content, video.headers["content-type"]) == (b"annotated video", "video/mp4")
    assert client.get(path, headers={"Range": "bytes=0-8"}).content == b"annotated"  # browsers seek so
    assert client.get(f"{path}?download").headers["content-disposition"].startswith("attachment")
    folder = pathlib.Path(running.uploads._folder.name)
    assert [file.suffix for file in folder.iterdir()] == [".mp4"]  # what was sent is gone
    sent = client.post("/api/uploads", params={"name": "fall.mp4", "attention": ""}, content=b"video").json()
    assert client.get(f"/api/uploads/{ended(client, sent['id'])['id']}/video").content == b"looked at video"
    for key in (job["id"], sent["id"]):
        assert client.delete(f"/api/uploads/{key}").status_code == 200
    assert not list(folder.iterdir())
    assert client.get(path).status_code == 404
    running.uploads.stop()
    assert not folder.exists()


def test_videos_that_fail(made):
    client = made().client(headers=CHANGE)
    sent = client.post("/api/uploads?name=a.txt", content=b"no video").json()
    job = ended(client, sent["id"])
    assert (job["state"], job["error"]) == ("failed", "a.txt: is no video")
    assert client.get(f"/api/uploads/{job['id']}/video").status_code == 404
    assert client.get("/api/uploads/none").status_code == 404
    assert client.post("/api/uploads", content=b"").status_code == 400


def test_a_video_above_the_limit(made):
    running = made(max_bytes=5)
    client = running.client(headers=CHANGE)
    assert client.post("/api/uploads", content=b"123456").status_code == 413
    assert client.post("/api/uploads", content=iter([b"123", b"456"])).status_code == 413  # in chunks
    assert not list(pathlib.Path(running.uploads._folder.name).iterdir())
    assert client.get("/api/uploads").json() == {"uploads": [], "max_bytes": 5}


def test_more_videos_than_can_wait_and_one_that_is_cancelled(made):
    entered, go_on = threading.Event(), threading.Event()

    def wait(source, out, progress, attention):
        out.write_bytes(b"a part")
        entered.set()
        assert go_on.wait(20)
        progress(0.5)

    running = made(annotate=wait)
    client = running.client(headers=CHANGE)
    first = client.post("/api/uploads", content=b"1").json()
    assert entered.wait(20)
    assert [client.post("/api/uploads", content=b"2").status_code for _ in range(4)] == [202, 202, 202, 503]
    assert client.delete(f"/api/uploads/{first['id']}").status_code == 200
    for job in client.get("/api/uploads").json()["uploads"]:
        client.delete(f"/api/uploads/{job['id']}")
    go_on.set()
    until(lambda: not list(pathlib.Path(running.uploads._folder.name).iterdir()))


def test_a_video_that_is_deleted_while_its_file_is_finished_leaves_nothing(made):
    entered, go_on = threading.Event(), threading.Event()

    def finish(source, out, progress, attention):
        progress(1.0)
        entered.set()
        assert go_on.wait(20)
        out.write_bytes(b"annotated")
        return []

    running = made(annotate=finish)
    client = running.client(headers=CHANGE)
    sent = client.post("/api/uploads", content=b"1").json()
    assert entered.wait(20)
    assert client.delete(f"/api/uploads/{sent['id']}").status_code == 200
    go_on.set()
    assert ended(client, client.post("/api/uploads", content=b"2").json()["id"])["state"] == "done"  # the one after it
    assert [file.suffix for file in pathlib.Path(running.uploads._folder.name).iterdir()] == [".mp4"]


def test_results_are_not_kept_for_ever(made, monkeypatch):
    running = made()
    client = running.client(headers=CHANGE)
    monkeypatch.setattr(uploads, "KEPT", 1)
    keys = []
    for body in (b"1", b"2"):
        keys.append(client.post("/api/uploads", content=body).json()["id"])
        until(lambda: any(job.state == "done" and job.id == keys[-1] for job in running.uploads.all()))
    assert [job.id for job in running.uploads.all()] == keys[1:]
    monkeypatch.setattr(uploads, "KEPT_SECONDS", 0.0)
    assert running.uploads.all() == []
    assert not list(pathlib.Path(running.uploads._folder.name).iterdir())
