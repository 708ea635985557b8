// The page: a board to draw on, and the answer. The session is in the worker.

const board = document.querySelector("#board");
const ink = board.getContext("2d", { willReadFrequently: true });
const [ask, clear, status, answer] =
  ["#ask", "#clear", "#status", "#answer"].map((name) => document.querySelector(name));
const worker = new Worker("worker.js", { type: "module" });

// Of the strokes, in pixels of the board: about what the network was trained on.
const WIDTH = 30;
// Bitmaps have blocks of 4 by 4, of which a pixel is the count.
const BLOCK = 4;

let network = null;
let drawn = false;
let asked = null;

function say(text, bad = false) {
  status.textContent = text;
  status.classList.toggle("bad", bad);
}

function wipe() {
  ink.fillStyle = "#ffffff";
  ink.fillRect(0, 0, board.width, board.height);
  drawn = false;
  answer.textContent = "";
  if (network) show(pixels());
}

function stroke(from, to) {
  ink.strokeStyle = "#000000";
  ink.lineWidth = WIDTH;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(...to);
  ink.stroke();
  drawn = true;
}

// The place of a pointer, in pixels of the board.
function place(event) {
  const box = board.getBoundingClientRect();
  const scale = board.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

let last = null;
board.addEventListener("pointerdown", (event) => {
  board.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(last, last);
});
board.addEventListener("pointermove", (event) => {
  if (!last) return;
  const next = place(event);
  stroke(last, next);
  last = next;
});
for (const end of ["pointerup", "pointercancel"]) {
  board.addEventListener(end, () => {
    last = null;
    if (network) show(pixels());
  });
}

// The smallest box that has all the ink; null where there is none.
function extent() {
  const { data } = ink.getImageData(0, 0, board.width, board.height);
  let [left, top, right, bottom] = [board.width, board.height, -1, -1];
  for (let at = 0; at < data.length; at += 4) {
    if (data[at] > 127) continue;
    const [x, y] = [(at / 4) % board.width, Math.floor(at / 4 / board.width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

// What the network reads: the ink, as large as fits and in the middle, in black and white, and of
// every block the share that is black.
function pixels() {
  const { channels, rows, columns } = network;
  const box = extent();
  const plane = new Uint8Array(rows * columns);
  if (box) {
    const bitmap = new OffscreenCanvas(columns * BLOCK, rows * BLOCK);
    const context = bitmap.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, bitmap.width, bitmap.height);
    const scale = Math.min(bitmap.width / box.width, bitmap.height / box.height);
    const [width, height] = [box.width * scale, box.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(
      board, box.left, box.top, box.width, box.height,
      (bitmap.width - width) / 2, (bitmap.height - height) / 2, width, height,
    );
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const black = new Uint16Array(rows * columns);
    for (let at = 0; at < data.length; at += 4) {
      const [x, y] = [(at / 4) % bitmap.width, Math.floor(at / 4 / bitmap.width)];
      if (data[at] < 128) black[Math.floor(y / BLOCK) * columns + Math.floor(x / BLOCK)] += 1;
    }
    plane.set(black.map((count) => Math.round((count * 255) / (BLOCK * BLOCK))));
  }
  const all = new Uint8Array(channels * plane.length);
  for (let channel = 0; channel < channels; channel += 1) all.set(plane, channel * plane.length);
  return all;
}

function show(all) {
  const seen = document.querySelector("#seen");
  const { rows, columns } = network;
  [seen.width, seen.height] = [columns, rows];
  const image = new ImageData(columns, rows);
  for (let at = 0; at < rows * columns; at += 1) {
    const shade = 255 - all[at];
    image.data.set([shade, shade, shade, 255], 4 * at);
  }
  seen.getContext("2d").putImageData(image, 0, 0);
}

function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(2)} MB`;
}

function report(found) {
  const { setup, offline, online } = found.ledger;
  const rows = [
    ["set-up, once", setup, found.setup_seconds],
    ["offline, before the digit", offline, found.offline_seconds],
    ["online", online, found.online_seconds],
  ].map(([name, { sent, received, rounds }, seconds]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cells = [bytes(sent), bytes(received), String(rounds), seconds.toFixed(2)];
    row.append(head, ...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return row;
  });
  document.querySelector("#ledger tbody").replaceChildren(...rows);
  document.querySelector("#pixels").textContent = Array.from(asked.pixels).join(" ");
  document.querySelector("#logits").textContent = (found.logits ?? []).join(" ");
  document.querySelector("#ledger").hidden = false;
}

const heard = {
  network(message) {
    network = message.network;
    ask.disabled = false;
    show(pixels());
    say("Connected. Draw a digit, then ask.");
  },
  answer(message) {
    const seconds = (performance.now() - asked.at) / 1000;
    answer.textContent = message.found.label;
    answer.dataset.seconds = seconds.toFixed(3);
    report(message.found);
    say(`Answered in ${seconds.toFixed(2)} s.`);
    ask.disabled = false;
  },
  error(message) {
    say(message.why, true);
    ask.disabled = message.fatal;
  },
};
worker.addEventListener("message", ({ data }) => heard[data.kind](data));
worker.addEventListener("error", () => heard.error({
  why: "The client of pq cannot be loaded. Build it with bindings/web/build.sh.",
  fatal: true,
}));

ask.addEventListener("click", () => {
  if (!drawn) {
    say("Draw a digit first.");
    return;
  }
  asked = { pixels: pixels(), at: performance.now() };
  show(asked.pixels);
  answer.textContent = "";
  ask.disabled = true;
  say("Computing with the server.");
  worker.postMessage({ kind: "infer", pixels: asked.pixels });
});
clear.addEventListener("click", wipe);

// Samples for those who do not draw: points of a grid of 8 by 8, stroke by stroke.
const SAMPLES = [
  "4,1 2,2 2,5 4,7 6,5 6,2 4,1", "3,2 4,1 4,7", "2,2 4,1 6,2 6,3 2,7 6,7",
  "2,1 5,1 6,2 4,4 6,5 5,7 2,7", "4,1 2,5 6,5|5,3 5,7", "6,1 3,1 2,4 5,4 6,5 5,7 2,7",
  "5,1 3,3 2,5 4,7 6,5 4,4 2,5", "2,1 6,1 4,4 3,7|3,4 5,4", "4,4 2,2 4,1 6,2 4,4 2,6 4,7 6,6 4,4",
  "6,3 4,4 2,2 4,1 6,2 6,4 5,7 3,7",
];
SAMPLES.forEach((sample, digit) => {
  const button = document.createElement("button");
  button.textContent = String(digit);
  button.ariaLabel = `Draw a ${digit}`;
  button.addEventListener("click", () => {
    wipe();
    for (const line of sample.split("|")) {
      const points = line.split(" ").map((point) => point.split(",").map((x) => x * 32));
      points.slice(1).forEach((point, at) => stroke(points[at], point));
    }
    if (network) show(pixels());
  });
  document.querySelector(".samples").append(button);
});

// The token is behind the # of the address, which no server sees, and does not stay there.
const KEY = "pq-token";
const given = location.hash.slice(1);
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}
const token = sessionStorage.getItem(KEY);
wipe();
if (token) {
  const address = new URL("pq", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = address.hash = "";
  const model = new URLSearchParams(location.search).get("model") ?? "digits";
  say("Connecting.");
  worker.postMessage({ kind: "start", address: address.href, token, model });
} else {
  say("Open the address that pq demo --web has printed: the part behind # is missing.", true);
}
