#!/usr/bin/env python3
"""Writes networks of the shapes of torchvision's ResNets, and images: what quantization of large
networks is timed on. Weights are random, so that nothing need be downloaded; time and memory depend
on shapes alone.

Requirements: Python 3.10 or newer and

    pip install numpy onnx

    python3 tools/large_networks.py DIR         # all of them: 150 MB
    pq search DIR/resnet50.onnx --calib DIR/images224.npy --fixed w4a4 --out DIR/net50

| file | network | parameters | MACs |
| --- | --- | ---: | ---: |
| resnet18.onnx | ResNet-18, 3x224x224, 1,000 classes | 11.7 M | 1.81 G |
| resnet50.onnx | ResNet-50, 3x224x224, 1,000 classes | 25.5 M | 4.09 G |
| resnet18-cifar.onnx | ResNet-18, 3x32x32, 10 classes, no pooling in the stem | 11.2 M | 0.56 G |
| resnet32.onnx | ResNet-32, 3x32x32, 10 classes, 16 to 64 channels | 0.5 M | 0.07 G |

Convolutions have He's weights (He et al., 2015) and are followed by batch normalization; the last
one of a block scales by a quarter, so that sums of sixteen blocks stay within the tens. The images
are noise with the spectrum of photographs: amplitudes fall as 1/f, and channels have much in
common (Torralba, Oliva: Statistics of natural image categories, 2003). All is drawn from one
seed, so that the same versions of the packages write the same bytes.
"""

import argparse
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_writer import Writer

SEED = 20260
IMAGES = 64
LAST_OF_BLOCK = 0.25
OPSET = 13


class ResNet(Writer):
    """Residual networks with batch normalization."""

    def conv(self, x, name, shape, stride=1, gamma=1.0):
        """A convolution of weights [outputs, inputs, taps, taps], batch-normalized."""
        outputs, _, taps, _ = shape
        std = np.sqrt(2.0 / np.prod(shape[1:]))
        weight = self.parameter(f"{name}.weight", self.rng.normal(0.0, std, shape))
        pads = [taps // 2] * 4
        x = self.node("Conv", [x, weight], name, kernel_shape=[taps, taps],
                      strides=[stride, stride], pads=pads)
        statistics = {
            "gamma": gamma * self.rng.uniform(0.75, 1.25, outputs),
            "beta": self.rng.normal(0.0, 0.1, outputs),
            "mean": self.rng.normal(0.0, 0.1, outputs),
            "var": self.rng.uniform(0.75, 1.25, outputs),
        }
        given = [self.parameter(f"{name}.bn.{key}", value) for key, value in statistics.items()]
        return self.node("BatchNormalization", [x, *given], f"{name}.bn")

    def relu(self, x, name):
        return self.node("Relu", [x], name)

    def block(self, x, name, channels, stride, bottleneck):
        """A residual block; the number of its output's channels beside its output."""
        inputs, inner = channels
        outputs = 4 * inner if bottleneck else inner
        shapes = [(inner, inputs, 1, 1), (inner, inner, 3, 3), (outputs, inner, 1, 1)]
        strides = [1, stride, 1]
        if not bottleneck:
            shapes, strides = [(inner, inputs, 3, 3), (inner, inner, 3, 3)], [stride, 1]
        skip, last = x, len(shapes) - 1
        for at, (shape, step) in enumerate(zip(shapes, strides)):
            gamma = LAST_OF_BLOCK if at == last else 1.0
            x = self.conv(x, f"{name}.conv{at + 1}", shape, step, gamma)
            if at < last:
                x = self.relu(x, f"{name}.relu{at + 1}")
        if stride != 1 or inputs != outputs:
            skip = self.conv(skip, f"{name}.downsample", (outputs, inputs, 1, 1), stride)
        return self.relu(self.node("Add", [x, skip], f"{name}.add"), f"{name}.relu"), outputs


def resnet(path, blocks, bottleneck, size, classes, width=64):
    """Of so many blocks a stage, the first of so many channels; images of 32 pixels have no stride
    and no pooling before them."""
    writer = ResNet(np.random.default_rng(SEED))
    if size < 64:
        x = writer.relu(writer.conv("input", "conv1", (width, 3, 3, 3)), "relu1")
    else:
        x = writer.relu(writer.conv("input", "conv1", (width, 3, 7, 7), 2), "relu1")
        x = writer.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2],
                        pads=[1, 1, 1, 1])
    inputs = width
    for stage, count in enumerate(blocks):
        for at in range(count):
            stride = 2 if stage > 0 and at == 0 else 1
            name = f"layer{stage + 1}.{at}"
            x, inputs = writer.block(x, name, (inputs, width << stage), stride, bottleneck)
    x = writer.node("GlobalAveragePool", [x], "avgpool")
    x = writer.node("Flatten", [x], "flatten")
    std = np.sqrt(1.0 / inputs)
    weight = writer.parameter("fc.weight", writer.rng.normal(0.0, std, (classes, inputs)))
    bias = writer.parameter("fc.bias", np.zeros(classes))
    writer.node("Gemm", [x, weight, bias], "logits", transB=1)
    images = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, size, size])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
    graph = helper.make_graph(writer.nodes, path.stem, [images], [logits], writer.parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    print(path, sum(np.prod(p.dims) for p in writer.parameters), "parameters")


def images(path, size):
    """Bytes, [images, 3, size, size]."""
    rng = np.random.default_rng(SEED)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    amplitude = 1.0 / np.maximum(frequency, 1.0 / size)
    noise = np.fft.rfft2(rng.normal(size=(IMAGES, 4, size, size))) * amplitude
    fields = np.fft.irfft2(noise, s=(size, size))
    fields /= fields.std((2, 3), keepdims=True)
    # What all channels share has four times the energy of each one's own.
    pixels = 0.45 + 0.22 * (0.9 * fields[:, :1] + 0.45 * fields[:, 1:])
    np.save(path, np.clip(np.round(255.0 * pixels), 0, 255).astype(np.uint8))
    print(path, IMAGES, "images")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=pathlib.Path, help="the folder to write into")
    folder = parser.parse_args().dir
    folder.mkdir(parents=True, exist_ok=True)
    images(folder / "images224.npy", 224)
    images(folder / "images32.npy", 32)
    resnet(folder / "resnet32.onnx", [5, 5, 5], False, 32, 10, width=16)
    resnet(folder / "resnet18-cifar.onnx", [2, 2, 2, 2], False, 32, 10)
    resnet(folder / "resnet18.onnx", [2, 2, 2, 2], False, 224, 1000)
    resnet(folder / "resnet50.onnx", [3, 4, 6, 3], True, 224, 1000)


if __name__ == "__main__":
    main()
