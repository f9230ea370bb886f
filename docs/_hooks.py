"""MkDocs hooks: pages outside `docs/` join the site, and links work both in the repository and on the site."""

from __future__ import annotations

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "reports/README.md": "run-folder.md",
    "examples/ci/README.md": "ci.md",
}
"""Pages outside `docs/`, by their place in the repository, and their name on the site."""
FOLDERS = {"docs/decisions": "decisions/index.md", "examples/ci": "ci.md"}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside `docs/`, and every file that a page links to."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in list(files.documentation_pages()):
        for target in _targets(page.content_string, _source(page.src_uri)):
            known = target in PAGES or files.get_file_from_path(_site(target))
            if not known and (ROOT / target).is_file():
                files.append(File.generated(config, _site(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page from files of the repository to pages of the site."""
    here = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(_source(here)), match[2]))
        if target not in FOLDERS and (ROOT / target).is_dir():
            return match[1]  # the site shows no folders of code
        to = posixpath.relpath(_site(target), posixpath.dirname(here) or ".")
        return f"[{match[1]}]({to}{match[3] or ''})"

    return LINK.sub(moved, markdown)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Fail the build if a page would load anything from another host."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        loads = _Loads()
        loads.feed(path.read_text(encoding="utf-8"))
        if loads.foreign:
            raise PluginError(f"{path} loads {', '.join(loads.foreign)}")


class _Loads(HTMLParser):
    """The addresses that a page loads by itself; links that a reader clicks are not among them."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href" if tag == "link" else "src") or ""
        if tag != "a" and re.match(r"(https?:)?//", address):
            self.foreign.append(address)


def _targets(markdown: str, source: str) -> list[str]:
    folder = posixpath.dirname(source)
    return [posixpath.normpath(posixpath.join(folder, match[2])) for match in LINK.finditer(markdown)]


def _source(name: str) -> str:
    """Where the page `name` of the site lives in the repository."""
    return next((source for source, page in PAGES.items() if page == name), f"docs/{name}")


def _site(target: str) -> str:
    """What a file of the repository is called on the site."""
    if target in FOLDERS:
        return FOLDERS[target]
    return PAGES.get(target, target.removeprefix("docs/"))
