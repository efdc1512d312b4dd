"""Reads the report's page as a person does: headings, and what stands below each."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path


@dataclass
class Table:
    heading: str  # that it stands under
    above: str  # the paragraph before it
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        return [row[self.header.index(name)] for row in self.rows]

    def records(self) -> list[dict[str, str]]:
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


@dataclass
class Figure:
    heading: str
    title: str  # what a screen reader reads
    above: str = ""  # the paragraph before it
    text: str = ""  # the words in the drawing


class Page(HTMLParser):
    """The page's parts in their order; text has its white space made single."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.paragraphs: list[tuple[str, str, str]] = []  # class, heading, text
        self.tables: list[Table] = []
        self.figures: list[Figure] = []
        self.addresses: list[str] = []  # of src and href, in the page and its drawings
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.answers: list[str] = []  # the words of the verdicts
        self.title = ""
        self._text: list[str] = []
        self._class = ""
        self._answer = False
        self._svg = 0
        self.source = path.read_text()
        self.feed(self.source)

    def table(self, heading: str) -> Table:
        """Return the one table under a heading that starts so."""
        (table,) = [table for table in self.tables if table.heading.startswith(heading)]
        return table

    def cells_of(self, column: str) -> list[str]:
        """Return the cells of every table that has a column."""
        return [
            cell for table in self.tables if column in table.header for cell in table.column(column)
        ]

    def text_below(self, heading: str) -> str:
        """Return the paragraphs under a heading that starts so."""
        return " ".join(text for _, own, text in self.paragraphs if own.startswith(heading))

    @property
    def _above(self) -> str:
        return self.paragraphs[-1][2] if self.paragraphs else ""

    @property
    def text(self) -> str:
        """Return all words that are read."""
        cells = [cell for table in self.tables for row in table.rows for cell in row]
        headers = [cell for table in self.tables for cell in table.header]
        texts = [text for _, _, text in self.paragraphs]
        drawn = [f"{figure.title} {figure.text}" for figure in self.figures]
        return " ".join([self.title, *self.headings, *texts, *headers, *cells, *drawn])

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.addresses += [values[name] for name in ("src", "href", "xlink:href") if name in values]
        if "id" in values:
            self.ids.append(values["id"])
        heading = self.headings[-1] if self.headings else ""
        if tag == "svg":
            self._svg += 1
            self.figures.append(Figure(heading, values.get("aria-label", ""), self._above))
        if self._svg:
            return
        if tag == "img":
            self.figures.append(Figure(heading, values.get("alt", ""), self._above))
        if tag == "table":
            self.tables.append(Table(heading, self._above))
        if tag == "tr" and self.tables[-1].header:
            self.tables[-1].rows.append([])
        if tag in ("h1", "h2", "h3", "p", "th", "td", "title", "li", "summary"):
            self._text, self._class = [], values.get("class", "")
        self._answer = values.get("class") == "answer"

    def handle_endtag(self, tag):
        text = re.sub(r"\s+", " ", "".join(self._text)).strip()
        if tag == "svg":
            self._svg -= 1
        if self._svg:
            return
        if tag in ("h1", "h2", "h3"):
            self.headings.append(text)
        elif tag in ("p", "li", "summary"):
            heading = self.headings[-1] if self.headings else ""
            self.paragraphs.append((self._class, heading, text))
        elif tag == "th":
            self.tables[-1].header.append(text)
        elif tag == "td":
            self.tables[-1].rows[-1].append(text)
        elif tag == "title":
            self.title = text
        self._answer = False

    def handle_data(self, data):
        if self._svg:
            self.figures[-1].text += f" {data.strip()}"
            return
        self._text.append(data)
        if self._answer:
            self.answers.append(data)
