#!/usr/bin/env python3
"""What encryption and preparation make of an inference's processor time, on loopback.

    python3 tools/serve_cost.py NET IMAGES [INFERENCES [ROUNDS]]     (10 and 5 without them)

Two questions, each asked once a round, in turns, so that other work on the machine meets all alike:

- TLS: processor seconds of an inference by `pq infer --role server` and its client, without keys
  and with them. Sessions of one and of INFERENCES + 1 images are subtracted: what starts and ends
  a process is in neither.
- Stock: `pq serve` and a client that prepares INFERENCES before the first. Processor seconds of
  each party from then on are of the online part alone; its wall-clock seconds are the server's own,
  request by request.

Printed are every round and the medians. PQ is the binary, target/release/pq without it."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PQ = os.environ.get("PQ", "target/release/pq")
TICK = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE = 600


def run(*command):
    done = subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.stdout


def spent(process):
    """Processor seconds of a process that runs, of all threads that it has had."""
    text = Path(f"/proc/{process.pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def waited(process):
    """Processor seconds of a process, when it has ended."""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{process.args}: {status}")
    return usage.ru_utime + usage.ru_stime


class Keys:
    def __init__(self, folder):
        self.server, self.client = folder / "server.pem", folder / "client.pem"
        self.clients = folder / "clients.txt"
        made = [json.loads(run(PQ, "keygen", "--json", "--out", f)) for f in self.files()]
        self.public, client = (each["public_key"] for each in made)
        self.clients.write_text(f"client {client}\n")

    def files(self):
        return self.server, self.client

    def of_server(self):
        return ["--key", self.server, "--clients", self.clients]

    def of_client(self):
        return ["--key", self.client, "--server-key", self.public]


def start(command, **pipes):
    return subprocess.Popen(list(map(str, command)), text=True, **pipes)


def session(net, images, count, keys):
    """Processor seconds of both parties of a session, start and end included."""
    server = [PQ, "infer", "--role", "server", "--plan", net / "plan.json", "--listen"]
    server += ["127.0.0.1:0", "--weights", net / "weights.safetensors"]
    client = [PQ, "infer", "--role", "client", "--plan", net / "plan.json", "--input", images]
    client += ["--index", f"0..{count}", "--batch", 1, "--quiet"]
    if keys:
        server, client = server + keys.of_server(), client + keys.of_client()
    quiet = subprocess.DEVNULL
    serving = start(server, stdout=quiet, stderr=subprocess.PIPE)
    address = next(filter(None, (re.match(r"listening on (\S+)", l) for l in serving.stderr)))
    asking = start([*client, "--connect", address[1]], stdout=quiet, stderr=quiet)
    return waited(asking) + waited(serving)


def encryption(net, images, count, keys):
    """Processor seconds of an inference by both parties: in the clear, and encrypted."""
    lengths = [session(net, images, n, k) for n in [1, count + 1] for k in [None, keys]]
    return [(long - short) / count for short, long in zip(lengths[:2], lengths[2:])]


def stock(net, images, count, keys):
    """Of the online part: processor seconds at the server and at the client, and wall-clock seconds
    of each inference."""
    server = [PQ, "serve", f"net={net}", "--listen", "127.0.0.1:0", *keys.of_server()]
    serving = start(server, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    address = json.loads(next(serving.stderr))["address"]
    client = [PQ, "infer", "--connect", address, "--model", "net", *keys.of_client(), "--input"]
    client += [images, "--index", f"0..{count}", "--prepare", count, "--quiet"]
    client += ["--cache", keys.client.parent / "cache"]
    asking = start(client, stdout=subprocess.DEVNULL)
    seconds, at = [], None
    for line in serving.stderr:
        event = json.loads(line)
        if event["event"] == "served" and event["request"] == "prepare":
            at = spent(serving), spent(asking)
        elif event["event"] == "served":
            seconds.append(event["seconds"])
        elif event["event"] == "ended":
            break
    both = spent(serving) - at[0], waited(asking) - at[1]
    threading.Thread(target=serving.stderr.read, daemon=True).start()
    serving.terminate()
    serving.wait(timeout=PATIENCE)
    return [of / count for of in both], seconds


def main():
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    net, images = map(Path, sys.argv[1:3])
    count, rounds = (int(text) for text in (sys.argv[3:] + ["10", "5"][len(sys.argv) - 3 :]))
    clear, encrypted, server, client, wall = [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        keys = Keys(Path(folder))
        for _ in range(rounds):
            pair = encryption(net, images, count, keys)
            both, seconds = stock(net, images, count, keys)
            print(
                f"{pair[0]:.3f} in the clear, {pair[1]:.3f} encrypted ({pair[1] / pair[0]:.3f}); "
                f"online {both[0]:.3f} server, {both[1]:.3f} client, "
                f"{statistics.median(seconds):.3f} s of wall clock",
                flush=True,
            )
            for all_of, one in zip([clear, encrypted, server, client], [*pair, *both]):
                all_of.append(one)
            wall += seconds
    median = statistics.median
    ratio = median(b / a for a, b in zip(clear, encrypted))
    print(f"medians, processor seconds of an inference by both parties: {median(clear):.3f} in the")
    print(f"clear, {median(encrypted):.3f} encrypted; of the pairs' ratios {ratio:.3f}")
    print(f"online, prepared: {median(server):.3f} at the server, {median(client):.3f} at the")
    print(f"client, {median(wall):.3f} s of wall clock")


if __name__ == "__main__":
    main()
