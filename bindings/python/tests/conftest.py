"""A network of the demo's, a real `pq serve` of it, and keys."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import pq

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "assets"
PQ = os.environ.get("PQ_BIN", str(ROOT / "target" / "release" / "pq"))


def read_idx(name, head):
    """The elements of a gzipped or plain IDX file of bytes, behind a head of so many bytes."""
    import gzip

    content = (ASSETS / name).read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return np.frombuffer(content[head:], np.uint8)


@pytest.fixture(scope="session")
def model():
    return ASSETS / "digits.onnx"


@pytest.fixture(scope="session")
def calib():
    return ASSETS / "digits-calib-images-idx3-ubyte"


@pytest.fixture(scope="session")
def digits(network):
    """Images of the test file as an array, and their labels."""
    images = read_idx("digits-test-images-idx3-ubyte", 16)
    labels = read_idx("digits-test-labels-idx1-ubyte", 8)
    return images.reshape(-1, *network.input_shape), labels


@pytest.fixture(scope="session")
def folder(tmp_path_factory, model, calib):
    folder = tmp_path_factory.mktemp("net") / "digits"
    pq.search(model, calib, fixed="w4a4", samples=64, out=folder)
    return folder


@pytest.fixture(scope="session")
def network(folder):
    return pq.Network.open(folder)


def keygen(path):
    """Makes a key, and returns its public half."""
    made = subprocess.run(
        [PQ, "keygen", "--out", path], check=True, capture_output=True, text=True
    )
    return made.stdout.split()[-1]


class Process:
    """A `pq` that logs JSON lines, of which one says where it listens."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [PQ, *map(str, args)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith("{") and json.loads(line)["event"] == "listening":
                self.address = json.loads(line)["address"]
                return
        raise AssertionError(f"{args} ended: {self.process.wait()}: {said}")

    def end(self):
        self.process.terminate()
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log


class Server(Process):
    """A `pq serve` of the demo's network by the name `digits`."""

    def __init__(self, keys, folder, listen="127.0.0.1:0"):
        super().__init__(
            *("serve", f"digits={folder}", "--listen", listen),
            *("--key", keys["server"], "--clients", keys["clients"]),
        )


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Files of keys, and the server's public one."""
    folder = tmp_path_factory.mktemp("keys")
    files = {name: folder / f"{name}.pem" for name in ("server", "alice", "few", "stranger")}
    public = {name: keygen(path) for name, path in files.items()}
    clients = folder / "clients.txt"
    clients.write_text(f"alice {public['alice']}\nfew {public['few']} images_per_day=1\n")
    return {**files, "clients": clients, "public": public["server"], "cache": folder / "cache"}


@pytest.fixture(scope="session")
def server(keys, folder):
    process = Server(keys, folder)
    yield process
    code, log = process.end()
    assert code == 0, log


@pytest.fixture
def connect(server, keys):
    """Connects to the server as a client of this name."""

    def connect(name="alice", **more):
        options = {"model": "digits", "cache": keys["cache"], "server_key": keys["public"]}
        options.update(more)
        return pq.Client.connect(server.address, key=keys[name], **options)

    return connect


def ask(address, path, body=None, headers=()):
    """A plain request: its status and its JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
