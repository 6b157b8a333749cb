#!/usr/bin/env python3
"""Checks the documentation: relative links and anchors lead somewhere, and each translation has its original's headings."""

import re
import subprocess
import sys
from pathlib import Path

TRANSLATIONS = {
    "README.md": "README.zh-CN.md",
    "docs/quickstart.md": "docs/zh-CN/quickstart.md",
    "docs/migrating.md": "docs/zh-CN/migrating.md",
    "docs/console.md": "docs/zh-CN/console.md",
}
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", re.M)
LINK = re.compile(r"\]\(\s*<?([^)>\s]+)|(?:src|href|srcset)=\"([^\"]+)\"")


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> list[tuple[int, str]]:
    return [(len(marks), text) for marks, text in HEADING.findall(prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors GitHub gives to a page's headings."""
    found: dict[str, int] = {}
    names = set()
    for _, text in headings(path):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        repeat = found.get(slug, 0)
        found[slug] = repeat + 1
        names.add(slug if repeat == 0 else f"{slug}-{repeat}")
    return names


def broken_links(path: Path) -> list[str]:
    wrong = []
    for groups in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(path))):
        link = groups[0] or groups[1]
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            wrong.append(f"{path}: {link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            wrong.append(f"{path}: {link}: no such heading")
    return wrong


def drifted(original: Path, translation: Path) -> list[str]:
    ours, theirs = ([level for level, _ in headings(page)] for page in (original, translation))
    return [] if ours == theirs else [f"{translation}: its headings are not those of {original}"]


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], check=True, capture_output=True, text=True
    )
    pages = [Path(line) for line in listed.stdout.splitlines()]
    wrong = [message for page in pages for message in broken_links(page)]
    for original, translation in TRANSLATIONS.items():
        if Path(translation).exists():
            wrong += drifted(Path(original), Path(translation))
    print("\n".join(wrong) if wrong else f"{len(pages)} pages, every link leads somewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
