"""The client of a real `pq serve`."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

import pq
from conftest import Server, keygen


def test_private_answers_are_the_plaintext_networks_integer_for_integer(connect, network, digits):
    images, labels = digits
    expected = network.eval(images[:5], labels[:5])
    seen = []
    with connect(stock=2) as client:
        assert (client.input_shape, client.classes) == (network.input_shape, network.classes)
        client.prepare(progress=lambda phase, done, of: seen.append(phase))
        first = client.infer(images[:1])
        found = client.infer(images[1:5], labels[1:5])
    np.testing.assert_array_equal(first.integers, expected.integers[:1])
    np.testing.assert_array_equal(found.integers, expected.integers[1:])
    np.testing.assert_array_equal(found.logits, expected.logits[1:])
    assert found.accuracy == (found.labels == labels[1:5]).mean()
    assert {"set-up", "offline"} <= set(seen)
    assert client.closed
    with pytest.raises(RuntimeError, match="ended"):
        client.infer(images[:1])
    client.close()


def test_a_wrong_shape_asks_the_server_for_nothing(connect, digits):
    images, _ = digits
    with connect() as client:
        with pytest.raises(ValueError, match="channels x rows x columns"):
            client.infer(np.zeros((1, 1, 3, 3), np.uint8))
        assert len(client.infer(images[0])) == 1


def test_keys_and_names_that_the_server_does_not_know_are_disagreements(connect, keys):
    with pytest.raises(pq.DisagreementError, match="does not know this client's key"):
        connect("stranger")
    with pytest.raises(pq.DisagreementError, match="was expected"):
        connect(server_key=keygen(keys["clients"].with_name("other.pem")))
    with pytest.raises(pq.DisagreementError, match="no network lenet"):
        connect(model="lenet")
    assert issubclass(pq.DisagreementError, ConnectionError)


def test_a_quota_is_a_disagreement(connect, digits):
    images, _ = digits
    client = connect("few")
    assert len(client.infer(images[0])) == 1
    with pytest.raises(pq.DisagreementError):
        client.infer(images[0])
    assert client.closed


def test_options_that_do_not_belong_together_are_value_errors(keys):
    for wrong in (
        {"model": "digits", "key": keys["alice"]},
        {"model": "digits", "server_key": keys["public"]},
        {"model": "digits", "plan": "plan.json"},
        {},
        {"model": "digits", "timeout": 0.0},
        {"model": "digits", "stock": 0},
        {"model": "digits", "key": keys["alice"], "server_key": "ed25519:x"},
        {"model": "digits", "tls_cert": keys["alice"]},
        {"model": "digits", "server_name": "pq.example"},
        {"model": "digits", "key": keys["alice"], "server_ca": keys["clients"]},
        {
            "model": "digits",
            "key": keys["alice"],
            "server_key": keys["public"],
            "server_ca": keys["clients"],
        },
    ):
        with pytest.raises(ValueError):
            pq.Client.connect("127.0.0.1:1", **wrong)


def test_no_server_is_a_connection_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=address):
            pq.Client.connect(address, model="digits", connect_timeout=0.3)


def test_ctrl_c_ends_a_client_that_waits():
    """A server that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        script = f"import pq; pq.Client.connect('127.0.0.1:{port}', model='digits')"
        child = subprocess.Popen([sys.executable, "-c", script], stderr=-1, text=True)
        silent.settimeout(60)
        connection, _ = silent.accept()
        # Until it has asked, it may still be starting.
        connection.recv(1)
        os.kill(child.pid, signal.SIGINT)
        _, error = child.communicate(timeout=20)
        assert "KeyboardInterrupt" in error


def test_a_server_that_ends_is_a_connection_error(keys, folder, digits):
    images, _ = digits
    server = Server(keys, folder)
    client = pq.Client.connect(
        server.address,
        model="digits",
        key=keys["alice"],
        server_key=keys["public"],
        cache=keys["cache"],
    )
    client.prepare()
    code, _ = server.end()
    assert code == 0
    with pytest.raises(ConnectionResetError):
        client.infer(images[0])
    assert client.closed
