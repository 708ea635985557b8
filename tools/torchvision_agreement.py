"""Compares pq's W8A8 with onnxruntime's own, on the networks of tools/torchvision_exports.py.

    pip install numpy onnx onnxruntime
    python tools/torchvision_exports.py exports/
    python tools/torchvision_agreement.py exports/ --pq target/release/pq \
        --images cifar10_test.bin.gz

For every export: `pq search --fixed w8a8`, the agreement of its integers with the float network,
that of what `onnxruntime.quantization` makes of the same file and the same calibration images, and
one private inference that is verified. Both calibrate on 64 crops of CIFAR images, enlarged, and
are judged on 512 others. `error` is the distance of the logits from the float network's over the
spread of these, on 256 of the others: where weights are random, it tells more than classes, which
then hang on small differences. One line a network; a failure is one, too, and ends in exit code 1.
A network fails where pq lies more than 2 points below onnxruntime and its logits are further off.

`--verify` is for every night: each network is searched and one private inference of it is verified,
without a comparison. At 224x224 (exports of `--size 224`):

    python tools/torchvision_agreement.py exports224/ --verify --size 224 \
        --only resnet18 resnet50 mobilenet_v2 --pq target/release/pq --images cifar10_test.bin.gz
"""

import argparse
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

CALIBRATION, JUDGED = 64, 512
# Images that `pq search` compares by itself, behind those of calibration.
HELD_BACK = 256
# Bytes of a CIFAR record behind its label.
PIXELS = 3 * 32 * 32
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
COLUMNS = "{:28} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>5}"
# Both parties together: ResNet-50 at 224x224 takes more than what is allowed by default.
MEMORY = "8G"
# Points of agreement that pq may lie below onnxruntime.
MARGIN = 2.0


def crops(path, count, size, seed):
    """`[count, 3, size, size]` crops of images, bilinearly enlarged and normalized."""
    raw = np.frombuffer(gzip.open(path).read(), np.uint8).reshape(-1, 1 + PIXELS)
    generator = np.random.default_rng(seed)
    picked = generator.permutation(len(raw))[:count]
    images = raw[picked, 1:].reshape(-1, 3, 32, 32).astype(np.float64) / 255
    images = np.stack([enlarged(image, size, generator) for image in images])
    mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in (MEAN, STD))
    return ((images - mean) / std).astype(np.float32)


def enlarged(image, size, generator):
    """A square window of an image, 20 to 32 pixels wide, mirrored or not."""
    side = generator.integers(20, 33)
    top, left = generator.integers(0, 33 - side, 2)
    window = image[:, top : top + side, left : left + side]
    window = window[:, :, ::-1] if generator.integers(2) else window
    at = np.linspace(0, side - 1, size)
    low = np.minimum(at.astype(int), side - 2)
    part = at - low
    rows = window[:, low] * (1 - part)[:, None] + window[:, low + 1] * part[:, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part


class Reader(quantization.CalibrationDataReader):
    """Calibration images, one by one."""

    def __init__(self, name, images):
        self.rows = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.rows, None)


def logits(path, images):
    """What onnxruntime computes of images, one by one: exports may fix the batch."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def theirs(path, calibration, images, folder):
    """The logits of onnxruntime's W8A8: weights by channel, activations of uint8."""
    whole, prepared, quantized = (os.path.join(folder, f"{i}.onnx") for i in range(3))
    # One file: the preparation loses weights that are beside it.
    onnx.save(onnx.load(path), whole)
    quantization.quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    name = onnxruntime.InferenceSession(prepared).get_inputs()[0].name
    quantization.quantize_static(
        prepared, quantized, Reader(name, calibration), per_channel=True, reduce_range=False
    )
    return logits(quantized, images)


def pq(binary, *arguments):
    """The JSON that a command prints."""
    done = subprocess.run([binary, *arguments, "--json", "-q"], capture_output=True, text=True)
    if done.returncode:
        error = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        raise RuntimeError(f"pq {arguments[0]}: exit code {done.returncode}: {error[-1][:200]}")
    return json.loads(done.stdout)


def error(found, expected):
    """The distance over the spread of what is expected."""
    spread = np.linalg.norm(expected - expected.mean(dtype=np.float64))
    return float(np.linalg.norm(found - expected) / spread)


def alike(a, b):
    """The percentage of rows with the same largest element."""
    return 100 * float(np.mean(a.argmax(1) == b.argmax(1)))


def searched(binary, path, net, files):
    """What `pq search` finds at W8A8, and the seconds that it takes."""
    began = time.time()
    search = ["--calib", files["all"], "--samples", str(CALIBRATION), "--raw", "--fixed", "w8a8"]
    found = pq(binary, "search", path, *search, "--out", net, "--force")
    return found, time.time() - began


def inferred(binary, net, files):
    """Whether one private inference is what the integer network computes."""
    infer = ["--local", net, "--input", files["judged"], "--index", "0", "--verify"]
    return pq(binary, "infer", *infer, "--max-memory", MEMORY)["verified"]


def verify(binary, path, folder, files, _):
    """One network without a comparison: its line, and whether the inference is verified."""
    net = os.path.join(folder, "net")
    found, seconds = searched(binary, path, net, files)
    verified = inferred(binary, net, files)
    megabytes, own_error = found["predicted_bits"] / 8e6, found["fidelity"]["error"]
    cells = ["-"] * 4 + [f"{own_error:.3f}", "-", f"{megabytes:.2f}", f"{seconds:.0f}"]
    return [*cells, "yes" if verified else "no"], verified


def compare(binary, path, folder, files, judged):
    """One network: what its line says, and whether it is as good as onnxruntime's."""
    net = os.path.join(folder, "net")
    found, seconds = searched(binary, path, net, files)
    float_logits = logits(path, judged)
    ours = pq(binary, "eval", net, "--data", files["judged"], "--float", path)
    ours = 100 * ours["agreement"]
    their_logits = theirs(path, np.load(files["all"])[:CALIBRATION], judged, folder)
    their = alike(float_logits, their_logits)
    right = inferred(binary, net, files)
    classes = len(set(float_logits.argmax(1)))
    megabytes = found["predicted_bits"] / 8e6
    own_error = found["fidelity"]["error"]
    their_error = error(their_logits[:HELD_BACK], float_logits[:HELD_BACK])
    points = f"{ours - their:+.2f}"
    cells = [f"{ours:.2f}", f"{their:.2f}", points, f"{own_error:.3f}", f"{their_error:.3f}"]
    verified = "yes" if right else "no"
    close = ours >= their - MARGIN or own_error <= their_error
    return [classes, *cells, f"{megabytes:.2f}", f"{seconds:.0f}", verified], (
        close and right
    )


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--pq", default="target/release/pq")
    parser.add_argument("--images", required=True, help="CIFAR records, gzipped")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1, help="of the crops")
    parser.add_argument("--judged", type=int, default=JUDGED, help="images that judge")
    parser.add_argument("--only", nargs="+", help="beginnings of file names")
    parser.add_argument("--verify", action="store_true", help="one inference, no comparison")
    arguments = parser.parse_args()
    paths = sorted(glob.glob(os.path.join(arguments.folder, "*.onnx")))
    if arguments.only:
        paths = [p for p in paths if os.path.basename(p).startswith(tuple(arguments.only))]
    count = CALIBRATION + arguments.judged
    images = crops(arguments.images, count, arguments.size, arguments.seed)
    head = ["classes", "pq", "ort", "points", "error", "ort's", "MB", "search s", "verified"]
    print(COLUMNS.format("network", *head, "fine"), flush=True)
    failures = 0
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: os.path.join(folder, f"{name}.npy") for name in ("all", "judged")}
            np.save(files["all"], images)
            np.save(files["judged"], images[CALIBRATION:])
            name = os.path.basename(path)[: -len(".onnx")]
            try:
                look = verify if arguments.verify else compare
                cells, fine = look(arguments.pq, path, folder, files, images[CALIBRATION:])
            except RuntimeError as error:
                cells, fine = ["-"] * 9, False
                print(f"{name}: {error}", file=sys.stderr, flush=True)
        failures += not fine
        print(COLUMNS.format(name, *cells, "yes" if fine else "NO"), flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
