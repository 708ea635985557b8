"""`pq gateway`: REST by the Open Inference Protocol, to a real `pq serve`."""

import numpy as np
import pytest
import tritonclient.http as triton

from conftest import Process, ask


@pytest.fixture(scope="module")
def gateway(server, keys):
    process = Process(
        *("gateway", "--connect", server.address, "--model", "digits"),
        *("--key", keys["alice"], "--server-key", keys["public"]),
        *("--cache", keys["cache"], "--listen", "127.0.0.1:0", "--prepare", 2),
    )
    yield process
    code, log = process.end()
    assert code == 0, log


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_a_client_of_triton_gets_the_plaintext_networks_integers(
    gateway, network, digits, binary, datatype
):
    images, _ = digits
    images = images[:2] if datatype == "UINT8" else images[:2].astype(np.float32) / np.float32(255)
    client = triton.InferenceServerClient(gateway.address)
    assert client.is_server_live()
    asked = triton.InferInput("input", list(images.shape), datatype)
    asked.set_data_from_numpy(images, binary_data=binary)
    found = client.infer("digits", [asked])
    expected = network.eval(images)
    np.testing.assert_array_equal(found.as_numpy("integers"), expected.integers)
    np.testing.assert_array_equal(found.as_numpy("logits"), expected.logits)
    np.testing.assert_array_equal(found.as_numpy("label"), expected.labels)
    assert client.is_server_ready() and client.is_model_ready("digits")


def test_metadata_say_what_goes_in_and_comes_out(gateway, network):
    client = triton.InferenceServerClient(gateway.address)
    assert client.get_server_metadata()["name"] == "pq"
    found = client.get_model_metadata("digits")
    assert found["inputs"][0]["shape"] == [-1, *network.input_shape]
    assert [output["name"] for output in found["outputs"]] == ["label", "logits", "integers"]


def test_errors_are_as_the_protocol_has_them(gateway):
    status, answer = ask(gateway.address, "/v2/models/other")
    assert status == 404 and "digits" in answer["error"]
    body = {"inputs": [{"name": "input", "shape": [1, 5], "datatype": "UINT8", "data": [0] * 5}]}
    status, answer = ask(gateway.address, "/v2/models/digits/infer", body)
    assert status == 400 and "channels x rows x columns" in answer["error"]
