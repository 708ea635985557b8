#!/usr/bin/env python3
"""Draws the README's two pictures from the output of a real run.

    pq demo --images 10 --json > run.json
    python3 tools/pictures.py run.json assets/digits-test-images-idx3-ubyte docs/pictures

The run is the object that `pq infer --json` or `pq demo --json` prints for the first ten images of
the file. Pictures are SVG with a card of their own behind them, light or dark as the reader's
system is."""

import json
import struct
import sys
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 880
DIGITS = 10
STYLE = """
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace }
  .card { fill: #ffffff; stroke: #d0d7de } .box { fill: #f6f8fa; stroke: #d0d7de }
  .ink { fill: #1f2328 } .soft { fill: #59636e } .good { fill: #1a7f37 } .bad { fill: #cf222e }
  .offline { fill: #54aeff } .online { fill: #bf8700 }
  .line { stroke: #59636e; fill: none } .head { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .card { fill: #0d1117; stroke: #3d444d } .box { fill: #151b23; stroke: #3d444d }
    .ink { fill: #e6edf3 } .soft { fill: #9198a1 } .good { fill: #3fb950 } .bad { fill: #f85149 }
    .offline { fill: #1f6feb } .online { fill: #d29922 }
    .line { stroke: #9198a1 } .head { fill: #9198a1 }
  }
"""


def svg(height, label, body):
    extent = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {extent}'
    card = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>'
    return (
        f'{head} role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n{card}\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def text(x, y, content, size=13, kind="", anchor="start", weight=400):
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" class="{kind}" '
        f'text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(content)}</text>"
    )


def rect(x, y, width, height, kind, radius=0):
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place} rx="{radius}"/>'


def size(amount):
    return amount["server_bytes"] + amount["client_bytes"]


def readable(count):
    """Bytes as `pq` writes them."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} B"


def read_images(path):
    """The images of an IDX file, as rows of bytes."""
    data = path.read_bytes()
    count, rows, columns = struct.unpack(">3I", data[4:16])
    for image in range(count):
        at = 16 + image * rows * columns
        yield [data[at + row * columns : at + (row + 1) * columns] for row in range(rows)]


def digit(x, y, image, pixel):
    """One path for each shade."""
    shades = {}
    for row, values in enumerate(image):
        for column, value in enumerate(values):
            if value:
                place = f"M{x + column * pixel} {y + row * pixel}h{pixel}v{pixel}h-{pixel}z"
                shades.setdefault(value, []).append(place)
    return [
        f'<path class="ink" fill-opacity="{v / 255:.2f}" d="{"".join(d)}"/>'
        for v, d in sorted(shades.items())
    ]


def answers(run, images):
    """Ten digits, and what the client learned of each."""
    pitch, pixel = (WIDTH - 60) / DIGITS, 7
    for number, image in zip(range(DIGITS), images):
        x, answer, label = 30 + number * pitch, run["predictions"][number], run["labels"][number]
        yield rect(x, 62, 66, 66, "box", 4)
        yield from digit(round(x) + 5, 67, image, pixel)
        kind = "good" if answer == label else "bad"
        yield text(round(x + 33), 152, str(answer), 20, kind, "middle", 600)


def differs(step):
    """Whether a step moved other than predicted, in bytes or rounds."""
    fields = ("server_bytes", "client_bytes", "rounds")
    return any(
        step[phase][f] != step["predicted"][phase][f]
        for phase in ("offline", "online")
        for f in fields
    )


def ledger_line(step, y, scale):
    yield text(30, y, step["name"], 12, "mono")
    yield text(232, y, step["protocol"], 12, "mono soft")
    x = 412
    for phase in ("offline", "online"):
        width = size(step[phase]) * scale
        yield rect(x, y - 10, width, 11, phase)
        x += width
    yield text(745, y, readable(size(step)) if size(step) else "nothing", 12, "mono", "end")
    yield text(
        842, y, "differs" if differs(step) else "✓", 12, "bad" if differs(step) else "good", "end"
    )


def ledger(run, top):
    steps = run["steps"]
    scale = 255 / max(map(size, steps))
    yield text(30, top, "step", 12, "soft", weight=600)
    yield text(232, top, "protocol", 12, "soft", weight=600)
    yield rect(412, top - 9, 9, 9, "offline") + text(425, top, "before the images", 12, "soft")
    yield rect(540, top - 9, 9, 9, "online") + text(553, top, "with the images", 12, "soft")
    yield text(745, top, "moved", 12, "soft", "end", 600)
    yield text(842, top, "as predicted", 12, "soft", "end", 600)
    for number, step in enumerate(steps):
        yield from ledger_line(step, top + 20 + 18 * number, scale)


def verdict(run, y):
    cost = run["cost"]
    moved = size(cost["offline"]) + size(cost["online"])
    messages = cost["offline"]["rounds"] + cost["online"]["rounds"]
    told = (
        "each as predicted, to the byte"
        if not any(map(differs, run["steps"]))
        else "not as predicted"
    )
    yield text(
        30,
        y,
        f"{readable(moved)} for {cost['images']} images, {messages} rounds: {told}.",
        13,
        weight=600,
    )
    if run["verified"]:
        yield text(
            30,
            y + 22,
            "The answers equal those of the plaintext network, integer for integer.",
            13,
            weight=600,
        )


def run_picture(run, images):
    bottom = 190 + 20 + 18 * len(run["steps"]) + 14
    body = [
        text(
            30,
            36,
            "Ten images that the server never saw, and what the client learned",
            17,
            weight=600,
        ),
        *answers(run, images),
        *ledger(run, 190),
        *verdict(run, bottom),
    ]
    return svg(
        bottom + 44,
        "Ten handwritten digits, their private answers, and the bytes of every step",
        body,
    )


def party(x, name, parts):
    yield rect(x, 62, 250, 190, "box", 8)
    yield text(x + 125, 90, name, 17, "", "middle", 600)
    y = 116
    for what, lines in parts:
        yield text(x + 16, y, what, 12, "soft", weight=600)
        for line in lines:
            yield text(x + 70, y, line, 13)
            y += 19
        y += 9


def arrow(y, left, right, label):
    """An arrow from `left` to `right`, either of which may be further left."""
    back = 8 if right < left else -8
    yield f'<path class="line" stroke-width="1.6" d="M{left} {y}H{right}"/>'
    yield f'<path class="head" d="M{right} {y}l{back} -5v10z"/>'
    yield text((left + right) / 2, y - 8, label, 12, "mono", "middle")


def parties_picture(run):
    cost = run["cost"]
    sent = {
        who: sum(cost[phase][f"{who}_bytes"] for phase in ("setup", "offline", "online"))
        for who in ("server", "client")
    }
    server = [
        ("holds", ["the weights", "the public plan"]),
        ("learns", ["how many images,", "and when"]),
        ("never", ["an image, an answer,", "any value in between"]),
    ]
    client = [
        ("holds", ["its images", "the public plan"]),
        ("learns", ["the answers to them:", "logits, or labels alone"]),
        ("never", ["a weight,", "any value in between"]),
    ]
    middle = WIDTH / 2
    counted = f"Bytes are of {cost['images']} digits, with set-up."
    body = [
        text(30, 36, "Who holds, sends and learns what", 17, weight=600),
        *party(30, "Client", client),
        *party(WIDTH - 280, "Server", server),
        *arrow(120, 290, WIDTH - 290, readable(sent["client"])),
        *arrow(158, WIDTH - 290, 290, readable(sent["server"])),
        text(middle, 194, "masked values and oblivious transfers:", 12, "soft", "middle"),
        text(middle, 211, "random numbers to who reads them,", 12, "soft", "middle"),
        text(middle, 228, "with lengths from the plan alone", 12, "soft", "middle"),
        text(
            middle,
            280,
            "Both follow the protocol, and there is no third party.",
            12,
            "soft",
            "middle",
        ),
        text(
            middle,
            298,
            "Answers and plan say what they say: see the threat model. " + counted,
            12,
            "soft",
            "middle",
        ),
    ]
    return svg(
        318,
        "The client holds images and learns answers; the server holds weights and learns neither",
        body,
    )


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    run, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[3])
    if len(run["predictions"]) < DIGITS or run["labels"] is None:
        raise SystemExit(f"the run has to be of {DIGITS} images with labels")
    (folder / "run.svg").write_text(run_picture(run, read_images(Path(sys.argv[2]))))
    (folder / "parties.svg").write_text(parties_picture(run))


if __name__ == "__main__":
    main()
