#!/usr/bin/env python3
"""Gradients of folded ResNet-20, ours beside PyTorch's: one thread, float32, by CPU seconds.

    python3 train/benches/trainer.py STEP MODEL.onnx [--batch 64] [--steps 3] [--rounds 5]

STEP is the example `step` of pq-train, built with `cargo build --release -p pq-train --example
step`; MODEL.onnx is a ResNet-20 for 32x32 pixels. The two take turns in one run, so that whatever
else the machine does slows both. PyTorch's convolutions have biases and no batch normalization
behind them, as ours have; its tensors are channels-last."""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = "1"

import torch  # noqa: E402
from torch import nn  # noqa: E402


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))


def resnet20():
    blocks, channels = [nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU()], 16
    for stage in (16, 32, 64):
        for block in range(3):
            stride = 2 if block == 0 and stage > 16 else 1
            blocks.append(Block(channels, stage, stride))
            channels = stage
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Torch:
    def __init__(self, batch):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.network = resnet20().to(memory_format=torch.channels_last)
        images = torch.rand(batch, 3, 32, 32)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.arange(batch) % 10

    def seconds(self, steps):
        start = time.process_time()
        for _ in range(steps):
            self.network.zero_grad(set_to_none=False)
            loss = nn.functional.cross_entropy(self.network(self.images), self.labels)
            loss.backward()
        return time.process_time() - start


class Ours:
    def __init__(self, binary, model, batch):
        self.process = subprocess.Popen(
            [binary, model, str(batch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def used(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self, steps):
        start = self.used()
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise SystemExit("step has ended: see its error above")
        return self.used() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step")
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sides = {"pq": Ours(given.step, given.model, given.batch), "torch": Torch(given.batch)}
    for side in sides.values():
        side.seconds(1)
    found = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            found[name].append(given.batch * given.steps / side.seconds(given.steps))
    for name, rates in found.items():
        print(f"{name:6} {statistics.median(rates):6.0f} images/s/core", *map(round, rates))
    ratios = [ours / torch for ours, torch in zip(found["pq"], found["torch"])]
    print(f"ratio  {statistics.median(ratios):6.2f}", *(f"{ratio:.2f}" for ratio in ratios))


main()
