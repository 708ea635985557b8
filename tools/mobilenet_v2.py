#!/usr/bin/env python3
"""Writes a MobileNetV2 for 32x32 pixels and ten classes, without batch normalization.

Requirements: Python 3.10 or newer and

    pip install numpy onnx

    python3 tools/mobilenet_v2.py mobilenet.onnx
    pq train mobilenet.onnx --start random --teacher resnet20.onnx --train a.bin.gz --out new.onnx

Blocks are the inverted residuals of Sandler et al., CVPR 2018 (section 3.3): a 1x1 convolution that
widens, a 3x3 one of each channel alone, both with ReLU6 behind them, and a linear 1x1 one that
narrows. Where shapes allow, the input is added. Table 2 of the paper was adapted to small images:

- The first convolution has stride 1 and 16 channels in place of 2 and 32. Stages with 32, 64 and 96
  channels have 2, 3 and 1 blocks in place of 3, 4 and 3.
- The stage with 32 channels has stride 1. Those with 160 and 320 channels are left out: the last
  images are of 8x8 pixels. The last 1x1 convolution has 256 channels in place of 1,280.
- Layers have biases and no batch normalization: private inference would fold it anyway.

Weights are of He's rule (He et al., ICCV 2015), from one seed; the last layer of each branch that
ends in a sum is zero (Zhang, Dauphin, Ma, ICLR 2019), so that values stay in range. It is a start
for a training, and knows nothing.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_writer import Writer

SEED = 20260
OPSET = 13
CLASSES = 10
SIZE = 32
STEM = 16
HEAD = 256
# How much wider inside, channels, blocks, stride of the first one.
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 1), (6, 64, 3, 2), (6, 96, 1, 1)]


class MobileNet(Writer):
    """Networks of inverted residual blocks, without batch normalization."""

    def __init__(self):
        super().__init__(np.random.default_rng(SEED))
        for bound, name in ((0, "zero"), (6, "six")):
            self.parameter(name, np.array(bound))

    def weights(self, name, shape, gain):
        """Weights of variance gain / fan-in, and biases of zero."""
        std = np.sqrt(gain / np.prod(shape[1:]))
        weight = self.parameter(f"{name}.weight", self.rng.normal(0.0, std, shape))
        return [weight, self.parameter(f"{name}.bias", np.zeros(shape[0]))]

    def conv(self, x, name, shape, stride=1, gain=2.0):
        """A convolution of weights [outputs, inputs of a group, taps, taps]; ReLU6 where the gain
        is that of layers with one behind them."""
        taps = shape[2]
        x = self.node("Conv", [x, *self.weights(name, shape, gain)], name, pads=[taps // 2] * 4,
                      kernel_shape=[taps, taps], strides=[stride, stride],
                      group=shape[0] if shape[1] == 1 else 1)
        return self.node("Clip", [x, "zero", "six"], f"{name}.relu6") if gain == 2.0 else x

    def block(self, x, name, inputs, wider, outputs, stride):
        """An inverted residual block."""
        inner = inputs * wider
        y = x
        if wider > 1:
            y = self.conv(y, f"{name}.widen", (inner, inputs, 1, 1))
        y = self.conv(y, f"{name}.depthwise", (inner, 1, 3, 3), stride)
        is_added = stride == 1 and inputs == outputs
        y = self.conv(y, f"{name}.narrow", (outputs, inner, 1, 1), gain=0.0 if is_added else 1.0)
        return self.node("Add", [x, y], f"{name}.sum") if is_added else y


def network():
    """The network, as ONNX."""
    writer = MobileNet()
    x = writer.conv("image", "first", (STEM, 3, 3, 3))
    channels = STEM
    for stage, (wider, outputs, blocks, stride) in enumerate(STAGES):
        for block in range(blocks):
            name = f"stage{stage}.{block}"
            x = writer.block(x, name, channels, wider, outputs, 1 if block else stride)
            channels = outputs
    x = writer.conv(x, "last", (HEAD, channels, 1, 1))
    x = writer.node("GlobalAveragePool", [x], "pool")
    x = writer.node("Flatten", [x], "flat")
    given = [x, *writer.weights("classes", (CLASSES, HEAD), 1.0)]
    writer.node("Gemm", given, "logits", transB=1)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 3, SIZE, SIZE]), ("logits", [1, CLASSES]))
    ]
    graph = helper.make_graph(writer.nodes, "mobilenet_v2", ends[:1], ends[1:], writer.parameters)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    onnx.save(network(), sys.argv[1])


if __name__ == "__main__":
    main()
