"""What `make docs` does to the documents so that a site holds together which lies apart from the repository.

A hook of mkdocs (see mkdocs.yml). The documents at the root of the repository become pages, and a link to any other
file of the repository leads to a page that shows the file, since nobody knows where the repository will be read.
Nothing is written into docs/.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Documents at the root -> pages of the site."""

SOURCES = "sources"
"""The part of the site that shows other files of the repository."""

_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^(```.*?^```[^\n]*$)", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^<!--\s*sql:.*?-->\n", re.MULTILINE)
_LANGUAGES = {
    ".py": "python",
    ".rs": "rust",
    ".toml": "toml",
    ".json": "json",
    ".sql": "sql",
    ".sh": "sh",
    ".yml": "yaml",
}


def place_of(path: str) -> str:
    """The page of the site for a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    inside, name = os.path.split(path)
    if path.startswith(f"{DOCS}/"):
        return posixpath.relpath(path, DOCS)
    return posixpath.join(SOURCES, inside, f"{name}.md")


def origin_of(place: str) -> str:
    """The file of the repository for a page of the site that is no shown source."""
    return next((path for path, page in PAGES.items() if page == place), f"{DOCS}/{place}")


def linked(text: str, path: str) -> dict[str, str]:
    """Targets of a document's links into the repository -> paths there; those in blocks of code are none.

    Args:
        text: The document.
        path: Where it lies in the repository.
    """
    found = {}
    for target in (match[2] for match in _LINK.finditer(_FENCE.sub("", text))):
        name = target.partition("#")[0]
        if name and not re.match(r"[a-z][a-z0-9+.-]*:", target):
            to = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            if not to.startswith("..") and (ROOT / to).exists():
                found[target] = to
    return found


def rewritten(text: str, path: str) -> str:
    """A document with its links as the site needs them, and without the marks that tests read."""
    begin = posixpath.dirname(place_of(path)) or "."
    targets = linked(text, path)

    def replace(match: re.Match[str]) -> str:
        if match[2] not in targets:
            return match[0]
        _, hash_, anchor = match[2].partition("#")
        to = posixpath.relpath(place_of(targets[match[2]]), begin)
        return f"{match[1]}{to}{hash_}{anchor}{match[3]}"

    parts = _FENCE.split(_MARK.sub("", text))
    # Blocks of code are every second part.
    return "".join(part if place % 2 else _LINK.sub(replace, part) for place, part in enumerate(parts))


def shown(path: str) -> str:
    """The page that shows a file, or what a folder holds."""
    head = f"---\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
    file = ROOT / path
    if file.is_dir():
        names = sorted(f"{of.name}/" if of.is_dir() else of.name for of in file.iterdir() if of.name != "__pycache__")
        return head + "A folder of the repository:\n\n" + "".join(f"- `{name}`\n" for name in names)
    text = file.read_text()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{head}{fence}{_LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def sources() -> set[str]:
    """Files and folders of the repository that documents link to, and that are no documents themselves."""
    documents = [*PAGES, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / DOCS).rglob("*.md")))]
    found = {to for path in documents for to in linked((ROOT / path).read_text(), path).values()}
    return {path for path in found if path not in PAGES and not path.startswith(f"{DOCS}/")}


# Called by mkdocs


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found]

    made = {page: (ROOT / path).read_text() for path, page in PAGES.items()}
    made |= {place_of(path): shown(path) for path in sources()}
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to where things are in the site."""
    place = page.file.src_uri
    return markdown if place.startswith(f"{SOURCES}/") else rewritten(markdown, origin_of(place))
