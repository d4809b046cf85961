"""The server of the demo page, and the page of images in a real browser."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from support.browser import open_browser
from support.demos import open_page, request, served, tops, wait_until
from support.deploy_runs import images

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.deploy.demo import Demo
from limbeck.deploy.demo import server as demo_server
from limbeck.deploy.demo.images import drawing_style
from limbeck.deploy.demo.server import MAX_BODIES, MAX_UPLOAD
from limbeck.deploy.models_of_run import models_of_run


@pytest.fixture(scope="module")
def demo(mlp_run, data):
    with served(models_of_run(mlp_run), data) as demo:
        yield demo


def test_the_page_knows_teacher_control_and_student(demo):
    reply, content = request(demo, "GET", "/facts")
    facts = json.loads(content)
    assert reply.status == 200
    assert [model["role"] for model in facts["models"]] == ["teacher", "control", "student"]
    colours = [model["colour"] for model in facts["models"]]
    assert colours == ["teacher", "arm-1", "arm-2"], "as in the report"
    assert facts["classes"] == ["square", "cross", "bar"]
    form = facts["input"]
    assert (form["kind"], form["channels"], form["height"], form["width"]) == ("image", 1, 12, 10)
    assert len(form["examples"]) == 12


def test_answers_equal_the_recorded_predictions(demo, mlp_run):
    image = images(200, 1)[0][3]
    reply, content = request(demo, "POST", "/answer", image.tobytes())
    assert reply.status == 200
    with np.load(mlp_run / "predictions.npz") as arrays:
        assert json.loads(content)["outputs"][0] == pytest.approx(
            arrays["teacher"][3].tolist(), abs=1e-4
        )
        students = [arrays[f"students/soft/seed{k}"][3].tolist() for k in (0, 1)]
    assert any(
        json.loads(content)["outputs"][2] == pytest.approx(logits, abs=1e-4) for logits in students
    )


def test_an_image_file_is_classified(demo, tmp_path):
    from PIL import Image

    image = images(200, 1)[0][3]
    Image.fromarray(image[0]).save(tmp_path / "a.png")
    _, content = request(demo, "POST", "/image", (tmp_path / "a.png").read_bytes())
    _, direct = request(demo, "POST", "/answer", image.tobytes())
    assert json.loads(content) == json.loads(direct)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "message"),
    [
        ("POST", "/answer", b"abc", {}, 400, "3 bytes were sent, but an input has"),
        ("POST", "/image", b"hello", {}, 400, "not an image"),
        ("POST", "/image", b"", {}, 400, "not an image"),
        ("GET", "/etc/passwd", None, {}, 404, "Page not found"),
        ("GET", "/../pyproject.toml", None, {}, 404, "Page not found"),
        ("POST", "/facts", b"", {}, 404, "Page not found"),
        ("GET", "/", None, {"Host": "evil.example"}, 403, "this machine only"),
        ("POST", "/answer", b"", {"Origin": "http://evil.example"}, 403, "this machine only"),
        ("POST", "/answer", b"", {"Content-Length": "-1"}, 400, "the length of the request"),
        ("POST", "/answer", b"", {"Content-Length": "9" * 5000}, 400, "the length of the request"),
        (
            "POST",
            "/image",
            b"",
            {"Content-Length": str(MAX_UPLOAD + 1)},
            400,
            "larger than 32 MiB",
        ),
    ],
)
def test_invalid_requests_are_refused(demo, method, path, body, headers, status, message):
    reply, content = request(demo, method, path, body, **headers)
    assert reply.status == status
    assert message in content.decode()


def test_a_burst_of_requests_is_answered(demo):
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: request(demo, "GET", "/facts"), range(50)))
    assert [reply.status for reply, _ in replies] == [200] * 50


def test_few_uploads_are_in_memory_at_a_time(demo, monkeypatch):
    active, most = set(), []

    def answer(example):
        active.add(threading.get_ident())
        most.append(len(active))
        time.sleep(0.01)
        active.discard(threading.get_ident())
        return {"outputs": [[0.0] * 3] * 3}

    monkeypatch.setattr(demo, "answer", answer)
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: request(demo, "POST", "/answer", bytes(120)), range(20)))
    assert [reply.status for reply, _ in replies] == [200] * 20
    assert max(most) <= MAX_BODIES


def test_slow_clients_and_those_that_leave_do_not_block_the_page(demo, monkeypatch, capsys):
    monkeypatch.setattr(demo_server, "TIMEOUT", 0.05)
    head = b"POST /image HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n\r\nx"
    address = "127.0.0.1", demo.server.server_port
    clients = [socket.create_connection(address) for _ in range(2 * MAX_BODIES)]
    for client in clients:
        client.sendall(head % demo.server.server_port)
    clients[0].close()
    time.sleep(0.1)
    for client in clients[1:]:
        client.sendall(b"y")
    reply, _ = request(demo, "POST", "/answer", bytes(120))
    assert reply.status == 200
    for client in clients:
        client.close()
    assert "Traceback" not in capsys.readouterr().err


def test_the_server_listens_on_the_loopback_interface(demo):
    assert demo.server.server_address[0] == "127.0.0.1"
    reply, _ = request(demo, "GET", "/")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert "http" not in reply.headers["Content-Security-Policy"]


def test_a_port_in_use_and_inputs_that_are_not_images_are_refused(demo, data):
    with pytest.raises(ConfigError, match="cannot be used"):
        Demo(demo.models, data, port=demo.server.server_port)
    with pytest.raises(ConfigError, match="port=99999 cannot be used"):
        Demo(demo.models, data, port=99999)
    x = np.zeros((40, 6), np.float32)
    with pytest.raises(ConfigError, match="needs images"):
        Demo([], Dataset.from_arrays(x, np.arange(40) % 2, x, np.arange(40) % 2))


def test_the_style_of_drawings_is_detected():
    bright = torch.zeros(5, 1, 20, 20, dtype=torch.uint8)
    bright[:, :, 5:15, 8:12] = 255
    assert drawing_style(bright) == (True, 0.5)
    assert drawing_style(255 - bright) == (False, 0.5)
    assert drawing_style(torch.zeros_like(bright)) == (True, 0.1)


# In a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, demo):
    with open_page(browser, demo) as page:
        yield page


def answers(page):
    """The top classes, as soon as all models have answered."""
    wait_until(page, lambda: "–" not in tops(page))
    return tops(page)


def shares(page):
    return [
        float(text.removesuffix(" %"))
        for text in page.locator(".student .bar small").all_inner_texts()
    ]


def draw(page, *points):
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    page.wait_for_timeout(300)


def test_a_drawing_is_classified_and_the_slider_softens_the_answers(page):
    draw(page, (0.5, 0.15), (0.5, 0.85))
    assert answers(page) == ["bar"] * 3
    sharp = shares(page)
    assert sum(sharp) == pytest.approx(100, abs=1)
    page.locator("#temperature").fill("100")
    soft = shares(page)
    assert max(soft) < max(sharp)
    assert min(soft) > min(sharp)
    assert page.locator("#value").inner_text() == "20.0"
    page.locator("#clear").click()
    assert tops(page) == ["–"] * 3


def test_the_keyboard_can_draw(page):
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    page.wait_for_timeout(300)
    assert answers(page) == ["bar"] * 3
    page.keyboard.press("Delete")
    assert page.locator(".top").first.inner_text() == "–"
    page.locator("#temperature").focus()
    page.keyboard.press("End")
    assert page.locator("#value").inner_text() == "20.0"


def test_touch_can_draw_on_a_phone(browser, demo):
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(demo.url)
    page.wait_for_selector(".bar")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#pad").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert len(answers(page)) == 3
    context.close()


def test_examples_and_image_files_are_classified(page, tmp_path):
    from PIL import Image

    page.locator("#examples button").first.click()
    assert answers(page)[0] == "square"
    assert page.locator("#examples button").first.get_attribute("aria-pressed") == "true"
    bar = next(image for image, label in zip(*images(50, 9), strict=True) if label == 2)
    Image.fromarray(bar[0]).save(tmp_path / "bar.png")
    page.set_input_files("#file", str(tmp_path / "bar.png"))
    page.wait_for_timeout(300)
    assert answers(page)[0] == "bar"


def test_a_file_that_is_not_an_image_shows_an_error(browser, demo, tmp_path):
    page = browser.new_page()
    page.goto(demo.url)
    page.wait_for_selector(".bar")
    (tmp_path / "text.png").write_text("hello")
    page.set_input_files("#file", str(tmp_path / "text.png"))
    page.wait_for_selector("#error:not([hidden])")
    assert "not an image of a known format" in page.locator("#error").inner_text()
    page.close()
