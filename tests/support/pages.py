"""A report's page, taken apart."""

from html.parser import HTMLParser

VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page in order, its text and its tables.

    It checks that every element is closed.

    Attributes:
        html: Source of the page.
        tags: Name and attributes of each tag.
        tables: Rows of text by the table's id, without small print.
    """

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        """The text with single spaces."""
        return " ".join("".join(self._text).split())

    @property
    def figures(self) -> list[str]:
        """The names of the figures."""
        names = [attributes.get("data-figure") for tag, attributes in self.tags if tag == "svg"]
        return [name for name in names if name]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self._text.append(data)
        if {"td", "th"} & set(self._open) and "small" not in self._open:
            self._table[-1][-1] += data
