#!/usr/bin/env python3
"""Looks up what the documents name: links, files, folders, tests and other identifiers must be in
the tree.

    python3 tools/links.py        prints what is missing; exit code 1 if anything is

Looked at are all .md files that are tracked, but the changelog, which speaks of what was:

- links to files and headings of the tree;
- `path/file.rs` in backticks: a tracked file of this name, or one whose path ends so; folders
  likewise;
- `names_with_underscores` in backticks: four words or more are a function of the Rust code (tests
  are named so), fewer stand somewhere in the code or in a JSON schema;
- `Type::method` in backticks: every name of it stands in the code.

Comments of the Rust code are looked at for the names of documents.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (".rs", ".py", ".toml", ".md", ".yml", ".svg")
# Folders and files that commands of the documents make.
MADE = ("net/", "points/", "sweep/", "target/", "report.html", "frontier.svg")
# Names of other projects and of the outside.
FOREIGN = {"ulimit", "rust_version"}


def tracked():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


class Tree:
    """What there is to be named."""

    def __init__(self):
        self.files = tracked()
        self.folders = {str(parent) + "/" for name in self.files for parent in Path(name).parents}
        code = [name for name in self.files if name.endswith((".rs", ".py", ".schema.json"))]
        text = "\n".join((ROOT / name).read_text() for name in code)
        self.functions = set(re.findall(r"\bfn\s+(\w+)", text))
        self.words = set(re.findall(r"\w+", text))
        # serde writes the variants of enums so
        self.words |= {
            re.sub(r"(?<!^)(?=[A-Z])", "_", word).lower()
            for word in self.words
            if word[0].isupper()
        }
        self.words |= self.folder_names()

    def folder_names(self):
        return {part for folder in self.folders for part in folder.split("/")}

    def has_path(self, path, document):
        """Whether the path is one of the root, of the document's folder, or the end of one."""
        near = (
            str((document.parent / path).relative_to(ROOT)) if not path.startswith("..") else path
        )
        among = self.folders if path.endswith("/") else self.files
        return any(name in (path, near) or name.endswith("/" + path) for name in among)


def prose(text):
    """The text without blocks of code."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def slug(heading):
    """The anchor of a heading, as GitHub makes it."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


def anchors(path):
    return {slug(h) for h in re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)}


def wrong_links(document, text):
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r'\b(?:src|srcset|href)="([^"]+)"', text
    )
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document if not path else (document.parent / path).resolve()
        if not file.exists():
            yield f"link to {target}"
        elif anchor and anchor not in anchors(file):
            yield f"heading {target}"


def wrong_paths(document, text, tree):
    for code in re.findall(r"`([^`\n]+)`", text):
        for path in re.findall(r"(?<![\w./<])[\w.][\w./-]*", code):
            path = re.sub(r":\d+$", "", path)
            named = path.endswith(SOURCES) or (path.endswith("/") and path == code)
            if (
                named
                and not path.startswith((*MADE, "..", "."))
                and not tree.has_path(path, document)
            ):
                yield f"path {path}"


def wrong_names(text, tree):
    for name in re.findall(r"`(\w+)`", text):
        if "_" not in name.strip("_") or name in FOREIGN:
            continue
        sentence = name.count("_") >= 3 and name.islower()
        if name not in (tree.functions if sentence else tree.words):
            yield f"name {name}"


def wrong_items(text, tree):
    """Items by their path, `Type::method`: every name stands in the code."""
    for item in re.findall(r"`(\w+(?:::\w+)+)`", text):
        if not all(name in tree.words for name in item.split("::")):
            yield f"item {item}"


def documents_named_in_code(tree):
    """Documents that comments of the code name and that do not exist."""
    for name in tree.files:
        if name.endswith(".rs"):
            for comment in re.findall(r"//.*", (ROOT / name).read_text()):
                for path in re.findall(r"[\w./-]+\.md\b", comment):
                    if not any(file == path or file.endswith("/" + path) for file in tree.files):
                        yield f"{name}: {path}"


def main():
    tree = Tree()
    wrong = list(documents_named_in_code(tree))
    for name in tree.files:
        if name.endswith(".md") and name != "CHANGELOG.md":
            document = ROOT / name
            text = prose(document.read_text())
            found = [
                *wrong_links(document, text),
                *wrong_paths(document, text, tree),
                *wrong_names(text, tree),
                *wrong_items(text, tree),
            ]
            wrong += [f"{name}: {what}" for what in found]
    (
        print(*wrong, sep="\n")
        if wrong
        else print("links: everything that the documents name is there")
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
