#!/usr/bin/env python3
"""Measures the figures of docs/benchmarks.md on real networks: searches, accuracies, and
whole runs of two processes.

    cargo build --release && python3 tools/figures.py ../shared/data [NAME...]

Every command is printed before what it measured. NAME chooses some of the measurements; `--list`
names them. Times are those of this machine, as busy as it is. Bytes follow from the plan."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PQ = Path(__file__).resolve().parent.parent / "target/release/pq"
IMAGENET = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
WINOGRAD = ["--protocols", "ot", "--link", "wan", "--winograd", "always+1", "--budget-bits", "240M"]
ADDRESS = "127.0.0.1:7461"


def start(arguments, **how):
    return subprocess.Popen([PQ, *map(str, arguments), "--json"], text=True, **how)


def announce(arguments, end=""):
    print("    $ pq", *arguments, end, flush=True)


def phases_of(found):
    return {name: found["cost"][name] for name in ("setup", "offline", "online")}


def size(cost):
    return cost["server_bytes"] + cost["client_bytes"]


def print_phases(phases):
    lines = [
        f"{name} {size(p) / 1e6:.3f} MB, {p['rounds']} rounds, {p['seconds']:.2f} s"
        for name, p in phases.items()
    ]
    print("      " + "; ".join(lines))


class Bench:
    def __init__(self, data, scratch):
        images = data / "images"
        self.networks, self.scratch = data / "networks", scratch
        self.calibration = {
            "cifar": images / "cifar10_train_10k.bin.gz",
            "mnist": images / "mnist-train10k-images-idx3-ubyte.gz",
        }
        self.test = {
            "cifar": images / "cifar10_test_5k.bin.gz",
            "mnist": images / "mnist-t10k-images-idx3-ubyte.gz",
        }

    def pq(self, *arguments):
        """The object that one command prints, with its wall-clock and processor seconds."""
        announce(arguments)
        before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate()
        wall, after = time.monotonic() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"exit code {process.returncode}: {errors.strip()}")
        return (
            json.loads(output),
            wall,
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        )

    def search(self, model, images, options):
        net = self.scratch / f"net{len(os.listdir(self.scratch))}"
        model, calibration = self.networks / f"{model}.onnx", self.calibration[images]
        found, wall, processor = self.pq(
            "search", model, "--calib", calibration, *options, "--out", net
        )
        print(
            f"      predicted {found['predicted_bits']:,} bits; {wall:.0f} s, "
            f"{processor:.0f} s of a processor"
        )
        print(
            "     ",
            *(f"W{layer['weight_bits']}A{layer['activation_bits']}" for layer in found["layers"]),
        )
        return net, found["predicted_bits"]

    def accuracy(self, net, model, images):
        data = self.test[images]
        found, *_ = self.pq("eval", net, "--data", data, "--float", self.networks / f"{model}.onnx")
        print(
            f"      accuracy {found['accuracy']:.4f}, float {found['float_accuracy']:.4f}, "
            f"{found['images']} images"
        )

    def verify(self, net, images, count, predicted=None):
        indices = f"0..{count}"
        found, *_ = self.pq(
            "infer", "--local", net, "--input", self.test[images], "--index", indices, "--verify"
        )
        assert found["verified"] is True
        phases = phases_of(found)
        bits = 8 * (size(phases["offline"]) + size(phases["online"]))
        assert predicted in (None, bits), f"predicted {predicted} bits, measured {bits}"
        print(
            f"      verified; {bits:,} bits measured{'' if predicted is None else ', as predicted'}"
        )
        print_phases(phases)
        kinds = {}
        for step in found["steps"]:
            kinds[step["kind"]] = kinds.get(step["kind"], 0) + size(step)
        print("      " + ", ".join(f"{kind} {bytes / 1e6:.3f} MB" for kind, bytes in kinds.items()))

    def two_processes(self, net, images):
        """One inference of two processes over loopback, with the peak memory of each."""
        plan = ["--plan", net / "plan.json"]
        server = [
            "infer",
            "--role",
            "server",
            *plan,
            "--weights",
            net / "weights.safetensors",
            "--listen",
            ADDRESS,
        ]
        client = [
            "infer",
            "--role",
            "client",
            *plan,
            "--input",
            self.test[images],
            "--connect",
            ADDRESS,
        ]
        announce(server, "&")
        announce(client)
        serving = start(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        asking = start(client, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        output = asking.stdout.read()
        for name, process in (("server", serving), ("client", asking)):
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0, f"{name}: exit status {status}"
            processor = usage.ru_utime + usage.ru_stime
            print(
                f"      {name}: peak memory {usage.ru_maxrss / 1024:.0f} MiB, "
                f"{processor:.2f} s of a processor"
            )
        print_phases(phases_of(json.loads(output)))


def budget(model, bits, images, *options):
    def measure(bench):
        net, predicted = bench.search(
            model, images, [*options, "--samples", "256", "--budget-bits", bits]
        )
        bench.accuracy(net, model, images)
        bench.verify(net, images, 1, predicted)
        bench.verify(net, images, 8)

    return measure


def fixed(model, widths, images, *options, samples=256):
    def measure(bench):
        net, predicted = bench.search(
            model, images, [*options, "--samples", samples, "--fixed", widths]
        )
        bench.accuracy(net, model, images)
        bench.verify(net, images, 1, predicted)
        bench.two_processes(net, images)

    return measure


MEASUREMENTS = {
    "resnet20-2G": budget("resnet20_cifar10_bn", "2G", "cifar", *IMAGENET),
    "resnet20-1G": budget("resnet20_cifar10_bn", "1G", "cifar", *IMAGENET),
    "resnet20-400M": budget("resnet20_cifar10_bn", "400M", "cifar", *IMAGENET),
    "resnet20-w4a4": fixed("resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET),
    "resnet20-w4a4-wan": fixed("resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET, "--link", "wan"),
    "resnet20-w4a4-few": fixed(
        "resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET, "--budget-bits", "30500k"
    ),
    "resnet20-w4a4-ot": fixed(
        "resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET, "--protocols", "ot"
    ),
    "resnet20-w4a4-ot-wan": fixed(
        "resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET, "--link", "wan", "--protocols", "ot"
    ),
    "resnet20-w4a4-winograd": fixed(
        "resnet20_cifar10_bn", "w4a4", "cifar", *IMAGENET, *WINOGRAD, samples=1024
    ),
    "resnet20-w6a6": fixed("resnet20_cifar10_bn", "w6a6", "cifar", *IMAGENET),
    "resnet8-1G": budget("resnet8_cifar10_bn", "1G", "cifar", "--raw"),
    "minionn-3G": budget("minionn_relu6_cifar10", "3G", "cifar"),
    "lenet-200M": budget("lenet3x3_mnist", "200M", "mnist"),
}


def main():
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        return print(*MEASUREMENTS, sep="\n")
    if not arguments or not Path(arguments[0]).is_dir():
        raise SystemExit(__doc__)
    unknown = [name for name in arguments[1:] if name not in MEASUREMENTS]
    if unknown:
        raise SystemExit(
            f"no such measurement: {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(arguments[0]), Path(scratch))
        for name in arguments[1:] or MEASUREMENTS:
            print(name, flush=True)
            MEASUREMENTS[name](bench)


if __name__ == "__main__":
    main()
