#!/usr/bin/env python3
"""Runs `pq infer` between two network namespaces, over a link of a given delay and rate, and prints
what was predicted beside what was measured.

    python3 tools/emulate.py lan NET_FOLDER IMAGES [pq infer options]   (0.4 ms, 330 MB/s)
    python3 tools/emulate.py wan NET_FOLDER IMAGES [pq infer options]   (80 ms, 40 MB/s)
    python3 tools/emulate.py 10e6,20 NET_FOLDER IMAGES    (bytes a second, milliseconds)
    python3 tools/emulate.py loopback NET_FOLDER IMAGES   (no namespaces, no delay)

It takes root for the namespaces, and no kernel module: a forwarder in a namespace of its own,
between the two, gives every piece of the stream a time of departure (the rate) and one of arrival
(the delay), each direction on its own. Both parties and the forwarder share this machine's cores:
with fewer than three, the link is a little slower than it says. PQ is the binary to run,
target/release/pq unless the environment says otherwise."""

import collections
import json
import os
import socket
import subprocess
import sys
import threading
import time

PROFILES = {"lan": (330e6, 0.0004), "wan": (40e6, 0.080)}
PORT = 7301
NAMES = ["pq-emulate-server", "pq-emulate-link", "pq-emulate-client"]
PIECE = 1 << 16
SPIN = 150e-6


def forward(source, sink, rate, delay):
    """Moves bytes one way; holds at most a second's worth of them."""
    queue, held, ready = collections.deque(), [0], threading.Condition()

    def deliver():
        while True:
            with ready:
                while not queue:
                    ready.wait()
                due, piece = queue.popleft()
                held[0] -= len(piece)
                ready.notify_all()
            wait = due - time.perf_counter()
            if wait > SPIN:
                time.sleep(wait - SPIN)
            while time.perf_counter() < due:
                pass
            try:
                if not piece:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(piece)
            except OSError:
                return

    threading.Thread(target=deliver, daemon=True).start()
    free = time.perf_counter()
    while True:
        try:
            piece = source.recv(PIECE)
        except OSError:
            piece = b""
        # the wire is busy with what came before, then takes this piece at its rate
        free = max(free, time.perf_counter()) + len(piece) / rate
        with ready:
            while held[0] > rate:
                ready.wait()
            queue.append((free + delay, piece))
            held[0] += len(piece)
            ready.notify_all()
        if not piece:
            return


def link(rate, rtt):
    """The forwarder: between the client's side and the server's."""
    listener = socket.create_server(("10.77.2.1", PORT))
    print("ready", flush=True)
    client, _ = listener.accept()
    server = socket.create_connection(("10.77.1.2", PORT))
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ways = [
        threading.Thread(target=forward, args=(*ends, rate, rtt / 2))
        for ends in [(client, server), (server, client)]
    ]
    for way in ways:
        way.start()
    for way in ways:
        way.join()
    time.sleep(rtt + 1)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def connect(namespace, number):
    """Joins a party's namespace to the link's."""
    here, there = f"pqe{number}a", f"pqe{number}b"
    ip(
        "link",
        "add",
        here,
        "netns",
        NAMES[1],
        "type",
        "veth",
        "peer",
        "name",
        there,
        "netns",
        namespace,
    )
    for name, at, address in [(NAMES[1], here, 1), (namespace, there, 2)]:
        ip("-n", name, "address", "add", f"10.77.{number}.{address}/24", "dev", at)
        ip("-n", name, "link", "set", at, "up")


def within(namespace, command, **options):
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    return subprocess.Popen(prefix + command, stdout=subprocess.PIPE, text=True, **options)


def emulate(profile, folder, images, options):
    pq = os.environ.get("PQ", "target/release/pq")
    plan, weights = os.path.join(folder, "plan.json"), os.path.join(folder, "weights.safetensors")
    server, middle, client = (None, None, None) if profile == "loopback" else NAMES
    listen, address = ("127.0.0.1", "127.0.0.1") if server is None else ("10.77.1.2", "10.77.2.1")
    net = "1e10,0.02" if server is None else profile
    command = [pq, "infer", "--plan", plan, "--link", net, "--json"]
    # Its namespaces are this machine, but their addresses are none of loopback.
    command += ["--insecure"] if server else []
    running = [
        within(
            server,
            [*command, "--role", "server", "--weights", weights, "--listen", f"{listen}:{PORT}"],
        )
    ]
    if middle:
        rate, rtt = PROFILES.get(profile) or parse(profile)
        running.append(within(middle, [sys.executable, __file__, "--link", str(rate), str(rtt)]))
        running[-1].stdout.readline()
        time.sleep(0.5)
    asked = [
        *command,
        "--role",
        "client",
        "--connect",
        f"{address}:{PORT}",
        "--input",
        images,
        *options,
    ]
    running.append(within(client, asked))
    try:
        result, _ = running[-1].communicate(timeout=600)
        return json.loads(result)
    finally:
        for process in running:
            if process.poll() is None:
                try:
                    process.wait(timeout=3)
                except subprocess.TimeoutExpired:
                    process.terminate()


def parse(text):
    rate, milliseconds = text.split(",")
    return float(rate), float(milliseconds) / 1e3


def report(result):
    steps, totals = result["steps"], result["cost"]
    for phase in ("offline", "online"):
        predicted = sum(step["predicted"][phase]["seconds"] for step in steps)
        measured = totals[phase]
        moved = (measured["server_bytes"] + measured["client_bytes"]) / 1e6
        print(
            f"{phase:8} predicted {predicted:8.3f} s  measured {measured['seconds']:8.3f} s"
            f"  {moved:8.3f} MB  {measured['rounds']} rounds"
        )
    kinds = ("nonlinear", "pool", "ot")
    moved = sum(
        step["server_bytes"] + step["client_bytes"] for step in steps if step["kind"] in kinds
    )
    seconds = totals["offline"]["seconds"] + totals["online"]["seconds"]
    print(
        f"inference {seconds:.3f} s; set-up {totals['setup']['seconds']:.3f} s; "
        f"nonlinear, pool and ot {moved / 1e6:.3f} MB"
    )


def main():
    if sys.argv[1:2] == ["--link"]:
        return link(float(sys.argv[2]), float(sys.argv[3]))
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    profile, folder, images, *options = sys.argv[1:]
    if profile == "loopback":
        return report(emulate(profile, folder, images, options))
    try:
        for name in NAMES:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        connect(NAMES[0], 1)
        connect(NAMES[2], 2)
        report(emulate(profile, folder, images, options))
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False)


if __name__ == "__main__":
    main()
