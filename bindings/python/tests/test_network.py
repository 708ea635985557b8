"""Search, cost, evaluation, and both parties in one process."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import pq


def test_a_search_keeps_to_its_budget_and_tells_of_progress(model, calib, tmp_path):
    seen = []
    found = pq.search(
        model,
        calib,
        samples=32,
        budget_bits=20_000_000,
        out=tmp_path / "net",
        progress=lambda phase, done, of: seen.append((phase, done, of)),
    )
    assert 0 < found.predicted_bits <= 20_000_000
    assert found.predicted_bits == found.network.cost().bits
    assert len(found.layers) > 3 and all(2 <= layer.weight_bits <= 8 for layer in found.layers)
    assert seen and all(done <= of for _, done, of in seen)
    again = pq.Network.open(tmp_path / "net")
    assert (again.name, again.cost().bits) == (found.network.name, found.predicted_bits)


def test_a_search_without_a_goal_or_within_too_little_is_an_error(model, calib):
    with pytest.raises(ValueError, match="budget"):
        pq.search(model, calib, samples=8)
    with pytest.raises(ValueError, match="bits"):
        pq.search(model, calib, samples=8, budget_bits=1)
    with pytest.raises(ValueError, match="w4a4"):
        pq.search(model, calib, fixed="four")
    with pytest.raises(ValueError, match="mean and std"):
        pq.search(model, calib, fixed="w4a4", mean=[0.5])


def test_files_that_are_not_there_are_named(tmp_path, model, network):
    missing = tmp_path / "missing"
    for ask in (
        lambda: pq.Network.open(missing),
        lambda: pq.search(missing, missing, fixed="w4a4"),
        lambda: pq.search(model, missing, fixed="w4a4"),
        lambda: network.eval(missing),
    ):
        with pytest.raises(FileNotFoundError, match="missing"):
            ask()


def test_what_was_predicted_is_what_a_run_moves(network, digits):
    images, labels = digits
    cost = network.cost(3, hints_known=False)
    run = network.infer_local(images[:3], labels[:3])
    for phase in ("setup", "offline", "online"):
        predicted, measured = getattr(cost, phase), getattr(run, phase)
        assert predicted.server_bytes == measured.server_bytes, phase
        assert predicted.client_bytes == measured.client_bytes, phase
        assert predicted.rounds == measured.rounds, phase
    assert run.bytes == sum(getattr(cost, phase).bytes for phase in ("setup", "offline", "online"))
    assert sum(step.online.bytes for step in cost.steps) == cost.online.bytes
    assert network.cost(link="wan").online.seconds > network.cost(link="lan").online.seconds
    plain = network.eval(images[:3], labels[:3])
    np.testing.assert_array_equal(run.answers.integers, plain.integers)
    np.testing.assert_array_equal(run.answers.labels, plain.labels)
    with pytest.raises(ValueError, match="lan, wan"):
        network.cost(link="fast")


def test_answers_are_typed_arrays_and_an_accuracy_is_of_labels(network, digits):
    images, labels = digits
    answers = network.eval(images[:64], labels[:64])
    assert answers.labels.dtype == np.int64 and answers.labels.shape == (64,)
    assert answers.logits.dtype == np.float64 and answers.logits.shape == (64, 10)
    assert answers.integers.dtype == np.int64
    np.testing.assert_array_equal(answers.labels, answers.integers.argmax(axis=1))
    assert answers.accuracy == (answers.labels == labels[:64]).mean() > 0.9
    assert network.eval(images[:2]).accuracy is None
    assert len(network.eval(images[:0])) == 0


def test_arrays_files_and_single_images_say_the_same(network, digits, tmp_path):
    images, _ = digits
    expected = network.eval(images[:4]).integers
    np.save(tmp_path / "images.npy", images[:4])
    for same in (
        tmp_path / "images.npy",
        str(tmp_path / "images.npy"),
        images[:4].astype(np.int32),
        images[:4].astype(np.float32) / np.float32(255),
        images[:4, 0],
        np.asfortranarray(images[:4]),
    ):
        np.testing.assert_array_equal(network.eval(same).integers, expected)
    for one in (images[0], images[0, 0], images[:1]):
        np.testing.assert_array_equal(network.eval(one).integers, expected[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 1, 5, 5), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.full((1, 8, 8), 256),
        np.full((1, 8, 8), np.nan, np.float32),
        np.array(["a"]),
        np.array(7),
        object(),
    ],
)
def test_what_is_no_image_of_the_network_is_a_value_error(network, wrong):
    with pytest.raises(ValueError):
        network.infer_local(wrong)


def test_labels_that_do_not_fit_are_a_value_error(network, digits):
    images, labels = digits
    for wrong in (labels[:3], np.array([10, 0])):
        with pytest.raises(ValueError, match="labels"):
            network.eval(images[:2], wrong)


def test_floats_off_their_scale_are_warned_of(network, digits):
    images, _ = digits
    with pytest.warns(UserWarning, match="scale|0..1|255"):
        network.eval(images[:2].astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.eval(images[:2])


def test_an_exception_of_the_callback_ends_the_work(network, model, calib, digits):
    class Enough(Exception):
        pass

    def enough(*_):
        raise Enough

    images, _ = digits
    for work in (
        lambda: pq.search(model, calib, samples=8, fixed="w4a4", progress=enough),
        lambda: network.eval(images, progress=enough),
        lambda: network.infer_local(images[:1], progress=enough),
    ):
        with pytest.raises(Enough):
            work()
    # Nothing is left of it.
    assert len(network.infer_local(images[:1]).answers) == 1


def test_other_threads_run_meanwhile(network, digits):
    images, _ = digits
    counted, ended = [0], threading.Event()

    def count():
        while not ended.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = counted[0]
        network.infer_local(np.repeat(images[:1], 8, axis=0))
        assert counted[0] > before + 3
    finally:
        ended.set()
        thread.join()


def test_ctrl_c_ends_a_search(model, calib):
    script = (
        "import sys, pq\n"
        "def began(*_):\n"
        "    print('began', flush=True)\n"
        f"pq.search({str(model)!r}, {str(calib)!r}, budget_bits=20_000_000, progress=began)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True)
    assert child.stdout.readline() == "began\n"
    os.kill(child.pid, signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in error
    assert child.returncode in (-signal.SIGINT, 130, 1)
