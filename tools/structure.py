#!/usr/bin/env python3
"""Measures how the tree is built, and holds it to limits.

    python3 tools/structure.py            print every measure
    python3 tools/structure.py --check    print what is over its limit; exit code 1 if any is
    python3 tools/structure.py --wide     print lines over 100 columns and long sentences

Rust is measured without its tests: no `#[cfg(test)]` items, no tests/, benches/, fuzz/, no
testing.rs, tests.rs or `testing/`. Columns are counted in every .rs file. Prose is measured without
code, tables and headings. A cycle is a set of top-level modules of one crate that all reach each
other through `crate::` and `super::` paths; a name that the crate's root re-exports counts as the
module that it comes from."""

import re
import statistics
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 100

# What `--check` allows. The goal is in the comment.
CEILINGS = {
    "lines over 100 columns": 0,  # 0
    "modules in a cycle, protocols": 3,  # 3: session, operator, ot
    "modules in a cycle, src": 0,  # 0
    "modules in a cycle, cli": 0,  # 0
    "modules in a cycle, fusion": 0,  # 0
    "modules in a cycle, quant": 0,  # 0
    "files that match on the step enum": 3,  # 3
    "named closures per 100 functions": 3,  # 3
    "line comments per 100 lines of code": 6,  # 6
    "words a sentence in docs, mean": 20,  # 20
}
FLOORS = {
    "line comments per 100 lines of code": 2.9,  # 3
}


TOKEN = re.compile(
    r'(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)|(?P<raw>b?r(?P<hashes>#*)".*?"(?P=hashes))'
    r'|(?P<string>b?"(?:\\.|[^"\\])*")|(?P<char>b?\'(?:\\[^\n]{1,10}?|[^\'\\\n])\')',
    re.DOTALL,
)


def blank(text):
    """As many spaces and line ends as the text had."""
    return re.sub(r"[^\n]", " ", text)


def without_comments_and_strings(source):
    """The code at its places, and the comments as (offset, text)."""
    comments = []

    def hide(found):
        if found["line"] is not None:
            comments.append((found.start(), found[0]))
        if found["string"] or found["raw"]:
            return '"' + blank(found[0])[2:] + '"'
        return blank(found[0])

    return TOKEN.sub(hide, source), comments


def end_of_group(code, start):
    """The offset behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth == 0:
            return at + 1
    return len(code)


def end_of_item(code, start):
    """The offset behind the item that starts here: its block, or its semicolon."""
    at = start
    while at < len(code):
        if code[at] in "([":
            at = end_of_group(code, at)
        elif code[at] == "{":
            return end_of_group(code, at)
        elif code[at] in ";,":
            return at + 1
        else:
            at += 1
    return at


def test_items(code):
    """Offsets of the items under `#[cfg(test)]`."""
    for found in re.finditer(r"#\[cfg\(test\)\]", code):
        yield found.start(), end_of_item(code, found.end())


class Source:
    """One file, without its tests."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()
        code, comments = without_comments_and_strings(self.text)
        spans = list(test_items(code))
        self.test_modules = {m[1] for a, b in spans if (m := re.search(r"mod (\w+);", code[a:b]))}
        for a, b in spans:
            code = code[:a] + blank(code[a:b]) + code[b:]
        self.code = code
        self.comments = [
            (at, text) for at, text in comments if not any(a <= at < b for a, b in spans)
        ]

    def code_lines(self):
        return sum(1 for line in self.code.splitlines() if line.strip())

    def lines(self):
        """Lines with code or comments outside of tests."""
        kept = {self.text.count("\n", 0, at) for at, _ in self.comments}
        kept |= {number for number, line in enumerate(self.code.splitlines()) if line.strip()}
        return len(kept)

    def functions(self):
        """The length of every function that has a body, in lines."""
        for found in re.finditer(r"\bfn\s+\w+", self.code):
            end = end_of_item(self.code, found.end())
            if self.code[end - 1] == "}":
                yield self.code.count("\n", found.start(), end) + 1


TEST_NAMES = {"tests", "testing", "benches", "fuzz", "target", "examples"}


def is_test(path):
    return any(part.removesuffix(".rs") in TEST_NAMES for part in path.relative_to(ROOT).parts)


class Crate:
    """A library or binary: its sources and the modules at its top."""

    def __init__(self, name, root):
        self.name, self.root, self.folder = name, root, root.parent
        files = [Source(path) for path in sorted(self.folder.rglob("*.rs")) if not is_test(path)]
        gone = {path for file in files for path in module_files(file)}
        self.files = [file for file in files if file.path not in gone]
        self.modules = {self.module(file.path)[0] for file in self.files if self.module(file.path)}
        self.exports = self.re_exports()

    def module(self, path):
        """The file's module path: empty for the root."""
        parts = list(path.relative_to(self.folder).with_suffix("").parts)
        if parts[-1] == "mod":
            parts.pop()
        return [] if path == self.root else parts

    def re_exports(self):
        """Names that the root re-exports, with their modules."""
        root = next(file for file in self.files if file.path == self.root)
        uses = re.findall(
            r"pub(?:\([^)]*\))?\s+use\s+(?:crate::|self::)?(\w+)::([^;]+);", root.code
        )
        return {name: module for module, names in uses for name in re.findall(r"\w+", names)}

    def edges(self):
        """For each top-level module, those that it names."""
        edges = {module: set() for module in self.modules}
        for file in self.files:
            here = self.module(file.path)
            for name in named_at_the_root(file.code, len(here)) if here else []:
                target = name if name in self.modules else self.exports.get(name)
                if target in self.modules and target != here[0]:
                    edges[here[0]].add(target)
        return edges


def module_files(file):
    """Files of the modules that are declared under `#[cfg(test)]`."""
    folder = (
        file.path.parent if file.path.stem in ("mod", "lib", "main") else file.path.with_suffix("")
    )
    for name in file.test_modules:
        yield folder / f"{name}.rs"
        yield folder / name / "mod.rs"


def named_at_the_root(code, depth):
    """Names that stand right behind `crate::`, or behind as many `super::` as lead there."""
    for found in re.finditer(r"\b(crate|super(?:::super)*)::", code):
        ups = 0 if found[1] == "crate" else found[1].count("super")
        if found[1] != "crate" and ups != depth:
            continue
        if code[found.end()] == "{":
            yield from first_names(code[found.end() + 1 : end_of_group(code, found.end()) - 1])
        elif name := re.match(r"\w+", code[found.end() :]):
            yield name[0]


def first_names(tree):
    """The first name of every branch of a tree of uses."""
    depth, start = 0, True
    for token in re.findall(r"\w+|[{},]|::", tree):
        if start and depth == 0 and re.match(r"\w", token):
            yield token
        start = token == ","
        depth += (token == "{") - (token == "}")


def cycles(edges):
    """Strongly connected components of more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            found.append(sorted(component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return [component for component in found if len(component) > 1]


def crates():
    """All crates of the workspace but the fuzz targets, by their Cargo.toml."""
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())
    for member in [".", *workspace["workspace"]["members"]]:
        folder = ROOT / member
        if "fuzz" in folder.parts:
            continue
        manifest = tomllib.loads((folder / "Cargo.toml").read_text())
        roots = [folder / manifest.get("lib", {}).get("path", "src/lib.rs")]
        roots += [folder / binary["path"] for binary in manifest.get("bin", [])]
        for root in filter(Path.exists, roots):
            yield Crate(root.parent.name if member == "." else folder.name, root)


def step_variants(protocols):
    """The variants of `protocols::plan::Op`, and the file that defines it."""
    for file in protocols.files:
        if found := re.search(r"pub enum Op \{", file.code):
            body = file.code[found.end() : end_of_group(file.code, found.end() - 1) - 1]
            flat = re.sub(r"\{[^{}]*\}|\([^()]*\)|#\[[^\]]*\]", "", body)
            return set(re.findall(r"\b([A-Z]\w*)", flat)), file
    raise SystemExit("the step enum is not there: `pub enum Op` of the crate protocols")


def names_of_the_enum(file, protocols, home):
    """What the file calls the enum: `Op`, an alias, `Self` where it is defined."""
    if file is home:
        return {"Op", "Self"}
    if re.search(r"\benum Op\b", file.code):
        return {"plan::Op"}
    names = {"plan::Op"}
    for tree in re.findall(r"\buse\s+([^;]+);", file.code):
        own = re.match(r"(?:crate|super)\b", tree) and file in protocols.files
        if own or re.search(r"\bprotocols::.*\bplan\b", tree, re.DOTALL):
            names |= {alias or "Op" for alias in re.findall(r"\bOp\b(?:\s+as\s+(\w+))?", tree)}
    if file in protocols.files and re.search(r"\bimpl Op\b", file.code):
        names.add("Self")
    return names


def is_pattern(code, start, end):
    """Whether the path stands in a pattern: an arm, `if let`, `let .. else`, `matches!`."""
    if code[end : end + 1] == "(":
        end = end_of_group(code, end)
    elif brace := re.match(r"\s*\{", code[end:]):
        end = end_of_group(code, end + brace.end() - 1)
    behind = code[end:].lstrip(" \n)],")
    if re.match(r"=>|\|(?!\|)|if\b|=(?!=)", behind):
        return True
    depth = 0
    for at in range(start - 1, max(start - 400, -1), -1):
        depth += (code[at] == ")") - (code[at] == "(")
        if depth < 0:
            if code[:at].endswith("matches!"):
                return True
            depth = 0
        if code[at] == ";":
            return False
    return False


def matches_on_steps(all_crates):
    """Files in which a variant of the step enum stands in a pattern, with how often."""
    protocols = next(crate for crate in all_crates if crate.name == "protocols")
    variants, home = step_variants(protocols)
    counts = {}
    for file in {file.name: file for crate in all_crates for file in crate.files}.values():
        names = "|".join(map(re.escape, names_of_the_enum(file, protocols, home)))
        paths = re.finditer(
            rf"(?<![\w:])(?:\w+::)*?(?:{names})::({'|'.join(variants)})\b", file.code
        )
        count = sum(is_pattern(file.code, path.start(), path.end()) for path in paths)
        if count:
            counts[file.name] = count
    return counts


def paragraphs(lines):
    """Runs of prose: no code, tables or headings; an item of a list is a paragraph."""
    kept, fenced = [], False
    for line in [*lines, ""]:
        text = line.strip()
        if text.startswith("```"):
            fenced = not fenced
        item = re.match(r"([-*]|\d+\.)\s", text)
        apart = fenced or text.startswith(("```", "#", "|", "<!--", "![", "<")) or not text
        indented = re.match(r"    ", line) and not kept
        if (apart or item or indented) and kept:
            yield " ".join(kept)
            kept = []
        if not (apart or indented):
            kept.append(text[item.end() :] if item else text)
    if kept:
        yield " ".join(kept)


def sentences(paragraph):
    """The sentences of a paragraph, inline code as one word."""
    plain = re.sub(r"`[^`]*`", "x", paragraph)
    plain = re.sub(r"\]\([^)]*\)", "]", plain)
    return [part for part in re.split(r"(?<=[.!?])[\"')\]*_]*\s+", plain) if words(part)]


def words(text):
    return sum(1 for word in text.split() if re.search(r"\w", word))


def doc_comments(file):
    """The runs of doc comments of a file, as lines."""
    run, last = [], -2
    for at, text in file.comments:
        if not re.match(r"//[/!]", text):
            continue
        number = file.text.count("\n", 0, at)
        if number != last + 1 and run:
            yield run
            run = []
        run.append(text[3:].removeprefix(" "))
        last = number
    if run:
        yield run


def all_sentences(runs):
    return [s for lines in runs for p in paragraphs(lines) for s in sentences(p)]


def quantiles(values):
    """p50, p90, p99 and the largest."""
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]  # noqa: E731
    return at(0.5), at(0.9), at(0.99), values[-1]


def spread(values):
    return "p50 {} / p90 {} / p99 {} / max {}".format(*quantiles(values))


def reading(runs):
    lengths = [words(sentence) for sentence in all_sentences(runs)]
    return round(statistics.mean(lengths), 1), quantiles(lengths)[1]


def wide_lines():
    """Every line of Rust that is too wide, as file:line."""
    for path in sorted(ROOT.rglob("*.rs")):
        if "target" in path.relative_to(ROOT).parts:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if len(line) > COLUMNS:
                yield f"{path.relative_to(ROOT)}:{number}"


def documents():
    return [*sorted((ROOT / "docs").rglob("*.md"))]


def line_comments(files):
    return sum(not re.match(r"//[/!]", text) for file in files for _, text in file.comments)


def named_closures(files):
    name = r"\blet\s+(?:mut\s+)?\w+(?:\s*:[^=;]+)?"
    pattern = name + r"\s*=\s*(?:(?:async|move)\s+)*\|"
    return sum(len(re.findall(pattern, file.code)) for file in files)


def per(count, of, unit):
    return round(unit * count / of, 1)


def measure(all_crates):
    """Every measure by name; those that `--check` compares are plain numbers."""
    files = list({file.name: file for crate in all_crates for file in crate.files}.values())
    functions = [length for file in files for length in file.functions()]
    code = sum(file.code_lines() for file in files)
    found = {}
    for crate in all_crates:
        knots = cycles(crate.edges())
        found[f"modules in a cycle, {crate.name}"] = sum(map(len, knots))
        found[f"  of {len(crate.modules)}, {crate.name}"] = (
            "; ".join(" ".join(knot) for knot in knots) or "none"
        )
    steps = matches_on_steps(all_crates)
    found["files that match on the step enum"] = len(steps)
    found["  patterns"] = ", ".join(f"{name} {count}" for name, count in sorted(steps.items()))
    found["lines a file"] = spread([file.lines() for file in files])
    found["lines a function"] = spread(functions)
    found["named closures per 100 functions"] = per(named_closures(files), len(functions), 100)
    found[".zip( per 1,000 lines of code"] = per(
        sum(f.code.count(".zip(") for f in files), code, 1000
    )
    found["lines over 100 columns"] = len(list(wide_lines()))
    found["line comments per 100 lines of code"] = per(line_comments(files), code, 100)
    mean, tenth = reading([run for file in files for run in doc_comments(file)])
    found["words a sentence in doc comments, mean"], found["  doc comments, p90"] = mean, tenth
    mean, tenth = reading([path.read_text().splitlines() for path in documents()])
    found["words a sentence in docs, mean"], found["  docs, p90"] = mean, tenth
    for path in documents():
        mean, tenth = reading([path.read_text().splitlines()])
        found[f"  {path.relative_to(ROOT)}"] = f"mean {mean}, p90 {tenth}"
    return found


def exceeded(found):
    """What is over its ceiling or under its floor."""
    for name, limit in CEILINGS.items():
        if found.get(name, 0) > limit:
            yield f"{name}: {found[name]}, at most {limit}"
    for name, limit in FLOORS.items():
        if found[name] < limit:
            yield f"{name}: {found[name]}, at least {limit}"
    for name in found:
        if name.startswith("modules in a cycle") and name not in CEILINGS and found[name]:
            yield f"{name}: {found[name]}, at most 0"


def print_wide():
    print(*wide_lines(), sep="\n")
    runs = [(path, path.read_text().splitlines()) for path in documents()]
    long = [
        (words(s), path.relative_to(ROOT), s)
        for path, lines in runs
        for s in all_sentences([lines])
    ]
    for count, path, sentence in sorted(long, key=lambda each: -each[0]):
        if count > 25:
            print(f"{count} words, {path}: {sentence}")


def main():
    option = sys.argv[1:]
    if option not in ([], ["--check"], ["--wide"]):
        raise SystemExit(__doc__)
    if option == ["--wide"]:
        return print_wide()
    found = measure(list(crates()))
    if not option:
        for name, value in found.items():
            print(f"{name}: {value}")
        return None
    over = list(exceeded(found))
    print(*over, sep="\n") if over else print("structure: within all limits")
    return sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
