"""The demo of models that are written down, its requests, and its page in a browser."""

import http.client
import json
import threading
from contextlib import contextmanager

from limbeck.deploy.demo import Demo
from limbeck.deploy.models_of_run import RunModel


def models_of(**functions):
    """Models by role, each a function from inputs ``[N, ...]`` to outputs."""
    return [RunModel(role, role, "by hand", answer) for role, answer in functions.items()]


@contextmanager
def served(models, data, **options):
    """Serve a demo in a thread."""
    demo = Demo(models, data, **options)
    thread = threading.Thread(target=demo.serve, daemon=True)
    thread.start()
    yield demo
    demo.server.shutdown()
    thread.join()


def request(demo, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", demo.server.server_port, timeout=30)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply, content


def ask(demo, path, body):
    """Status and content of the answer to a JSON body."""
    reply, content = request(demo, "POST", path, json.dumps(body).encode())
    return reply.status, json.loads(content)


@contextmanager
def open_page(browser, demo, **options):
    """The page of a demo, which loads nothing from elsewhere and prints no error."""
    page = browser.new_page(**{"viewport": {"width": 1100, "height": 820}, **options})
    messages, urls = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: urls.append(request.url))
    page.goto(demo.url)
    page.wait_for_selector(".bar")
    yield page
    assert all(url.startswith((demo.url, "data:", "blob:")) for url in urls)
    # The browser itself reports the status of an input that was refused.
    assert [text for text in messages if "400" not in text] == []
    page.close()


def wait_until(page, condition):
    """Wait until a condition of the page holds.

    The browser's own way to wait is a script, which the page's policy forbids.
    """
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("nothing happened within five seconds")


def tops(page):
    """The answers of all models."""
    return [top.inner_text() for top in page.locator(".top").all()]
