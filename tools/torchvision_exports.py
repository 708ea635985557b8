"""Writes networks of torchvision as ONNX, as both of PyTorch's exporters write them.

    pip install torch torchvision onnx onnxscript
    python tools/torchvision_exports.py exports/ [--size 64] [--only resnet18 ...]

Weights are random, from a seed; running statistics of batch normalization are those of noise, so
that values stay in range. `NAME-dynamo.onnx`, with its weights in `NAME-dynamo.onnx.data`, is what
`torch.onnx.export` writes by default, `NAME-script.onnx` what it writes with `dynamo=False`.
`images.npy` beside them are images to calibrate on. At 64x64 the older exporter does not know the
pooling of VGG and AlexNet to seven pixels; at 224x224 it does.
"""

import argparse
import os
import warnings

import numpy as np
import torch
import torchvision

NAMES = [
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "vgg11_bn",
    "alexnet",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "regnet_y_400mf",
    "mnasnet0_5",
]
SEED = 7


def network(name, size):
    """The network in inference mode, its statistics those of noise."""
    torch.manual_seed(SEED)
    extra = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **extra)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            # A mean over all batches, not a moving one.
            norm.momentum = None
        model.train()
        with torch.no_grad():
            for _ in range(2):
                model(torch.randn(8, 3, size, size))
    return model.eval()


def exported(model, path, size, dynamo):
    """Whether the exporter writes it."""
    image = torch.randn(1, 3, size, size)
    try:
        if dynamo:
            torch.onnx.export(model, (image,), path, dynamo=True, verbose=False)
        else:
            names = {"input_names": ["input"], "output_names": ["output"]}
            axes = {"dynamic_axes": {"input": {0: "N"}, "output": {0: "N"}}}
            torch.onnx.export(model, (image,), path, dynamo=False, **names, **axes)
    except Exception as error:  # an exporter that does not know a network is no fault of pq
        print(f"{path}: not exported: {str(error).strip().splitlines()[0]}")
        return False
    return True


def main():
    """Exports what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.manual_seed(SEED)
    images = torch.randn(32, 3, arguments.size, arguments.size).numpy()
    np.save(os.path.join(arguments.folder, "images.npy"), images)
    for name in arguments.only:
        model = network(name, arguments.size)
        for kind, dynamo in [("dynamo", True), ("script", False)]:
            path = os.path.join(arguments.folder, f"{name}-{kind}.onnx")
            if exported(model, path, arguments.size, dynamo):
                print(path, os.path.getsize(path))


if __name__ == "__main__":
    main()
