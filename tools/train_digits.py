"""Train the small residual network that `pq demo` embeds, and write its files.

Requirements: Python 3.10 or newer and

    pip install numpy scikit-learn onnx onnxruntime

(the files in `assets/` came from numpy 2.4.6, scikit-learn 1.9.1, onnx 1.23.2
and onnxruntime 1.31.1). Everything runs on one CPU core, in about half a minute.
Nothing is downloaded: scikit-learn ships the data set.

    python3 tools/train_digits.py              # rewrite the files in assets/
    python3 tools/train_digits.py --out DIR    # write them elsewhere
    python3 tools/train_digits.py --cross-validate
        # 4-fold accuracy on the training part only; writes nothing. This is what
        # to look at when changing a setting: the held-out part stays untouched.

The script is seeded and single-threaded: the same package versions on the same
machine give the same bytes. Another BLAS may round differently and so change the
trained weights slightly; the four sample files do not depend on it.

The network, with x in [0, 1] as [N, 1, 8, 8]:

    stem     conv 3x3, 1 -> 8                              8 x 8 x 8
    block 1  conv 3x3, 8 -> 8; conv 3x3, 8 -> 8;
             identity skip                                 8 x 8 x 8
    block 2  conv 3x3 stride 2, 8 -> 16; conv 3x3, 16 -> 16;
             1x1 stride-2 convolution as skip, 8 -> 16    16 x 4 x 4
    head     global average pooling, linear 16 -> 10

Each convolution is followed by batch normalization during training (folded into
the convolution for the export) and by ReLU, except that a block's last ReLU comes
after its addition.
"""

import argparse
import os
import pathlib
import struct

# One thread: sums are then always taken in the same order.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np

ASSETS = pathlib.Path(__file__).resolve().parent.parent / "assets"
SEED = 20240
TEST_FRACTION = 0.2
EPOCHS = 80
BATCH = 32
PEAK_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-3
LABEL_SMOOTHING = 0.05
CALIBRATION_SAMPLES = 256
TEST_SAMPLES = 64
BN_EPS = 1e-5
BN_MOMENTUM = 0.1


# --- layers -----------------------------------------------------------------
# Activations are [N, C, H, W]. A layer keeps what its backward pass needs from
# the latest forward pass; `params` pairs each parameter with its gradient.


class Param:
    def __init__(self, value, decay):
        self.value = value.astype(np.float32)
        self.grad = np.zeros_like(self.value)
        self.velocity = np.zeros_like(self.value)
        self.decay = decay


class ConvBn:
    """Convolution without bias, then batch normalization, then ReLU if `relu`."""

    def __init__(self, rng, cin, cout, kernel, stride, relu):
        self.kernel, self.stride, self.pad, self.relu = kernel, stride, kernel // 2, relu
        std = np.sqrt(2.0 / (cin * kernel * kernel))
        self.weight = Param(rng.normal(0.0, std, (cout, cin, kernel, kernel)), True)
        self.gamma = Param(np.ones(cout), False)
        self.beta = Param(np.zeros(cout), False)
        self.mean = np.zeros(cout, np.float32)
        self.var = np.ones(cout, np.float32)

    def params(self):
        return [self.weight, self.gamma, self.beta]

    def forward(self, x, training):
        k, s, p = self.kernel, self.stride, self.pad
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))
        windows = windows[:, :, ::s, ::s]
        n, cin, h, w = windows.shape[:4]
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, cin * k * k)
        y = columns @ self.weight.value.reshape(len(self.mean), -1).T
        if training:
            mean, var = y.mean(0), y.var(0)
            unbiased = var * (len(y) / (len(y) - 1))
            self.mean += BN_MOMENTUM * (mean - self.mean)
            self.var += BN_MOMENTUM * (unbiased - self.var)
        else:
            mean, var = self.mean, self.var
        scale = 1.0 / np.sqrt(var + BN_EPS)
        normal = (y - mean) * scale
        out = normal * self.gamma.value + self.beta.value
        if self.relu:
            out = np.maximum(out, 0.0)
        if training:
            self.saved = (padded.shape, columns, normal, scale, out > 0.0)
        return out.reshape(n, h, w, -1).transpose(0, 3, 1, 2)

    def backward(self, dout):
        k, s, p = self.kernel, self.stride, self.pad
        padded_shape, columns, normal, scale, positive = self.saved
        n, cout, h, w = dout.shape
        cin = padded_shape[1]
        d = dout.transpose(0, 2, 3, 1).reshape(-1, cout)
        if self.relu:
            d = d * positive
        self.gamma.grad = (d * normal).sum(0)
        self.beta.grad = d.sum(0)
        d = d * self.gamma.value
        d = scale * (d - d.mean(0) - normal * (d * normal).mean(0))
        self.weight.grad = (d.T @ columns).reshape(self.weight.value.shape)
        d = d @ self.weight.value.reshape(cout, -1)
        d = d.reshape(n, h, w, cin, k, k).transpose(0, 3, 4, 5, 1, 2)
        dx = np.zeros(padded_shape, d.dtype)
        for i in range(k):
            for j in range(k):
                dx[:, :, i : i + s * h : s, j : j + s * w : s] += d[:, :, i, j]
        return dx[:, :, p : padded_shape[2] - p, p : padded_shape[3] - p]

    def folded(self):
        """Weight and bias of the one convolution that equals conv + batch norm."""
        scale = self.gamma.value.astype(np.float64) / np.sqrt(self.var.astype(np.float64) + BN_EPS)
        weight = self.weight.value * scale[:, None, None, None]
        bias = self.beta.value - self.mean * scale
        return weight.astype(np.float32), bias.astype(np.float32)


class Block:
    """Two 3x3 convolutions plus a skip: the identity, or a 1x1 convolution."""

    def __init__(self, rng, cin, cout, stride):
        self.first = ConvBn(rng, cin, cout, 3, stride, True)
        self.second = ConvBn(rng, cout, cout, 3, 1, False)
        identity = cin == cout and stride == 1
        self.skip = None if identity else ConvBn(rng, cin, cout, 1, stride, False)

    def convs(self):
        return [self.first, self.second] + ([self.skip] if self.skip else [])

    def forward(self, x, training):
        skip = self.skip.forward(x, training) if self.skip else x
        total = self.second.forward(self.first.forward(x, training), training) + skip
        self.positive = total > 0.0
        return np.maximum(total, 0.0)

    def backward(self, dout):
        d = dout * self.positive
        dskip = self.skip.backward(d) if self.skip else d
        return self.first.backward(self.second.backward(d)) + dskip


class Network:
    def __init__(self, rng):
        self.stem = ConvBn(rng, 1, 8, 3, 1, True)
        self.block1 = Block(rng, 8, 8, 1)
        self.block2 = Block(rng, 8, 16, 2)
        self.fc_weight = Param(rng.normal(0.0, np.sqrt(1.0 / 16), (10, 16)), True)
        self.fc_bias = Param(np.zeros(10), False)

    def params(self):
        convs = [self.stem, *self.block1.convs(), *self.block2.convs()]
        return [p for c in convs for p in c.params()] + [self.fc_weight, self.fc_bias]

    def forward(self, x, training=False):
        maps = self.block2.forward(
            self.block1.forward(self.stem.forward(x, training), training), training
        )
        pooled = maps.mean((2, 3))
        if training:
            self.saved = (maps.shape, pooled)
        return pooled @ self.fc_weight.value.T + self.fc_bias.value

    def backward(self, dlogits):
        shape, pooled = self.saved
        self.fc_weight.grad = dlogits.T @ pooled
        self.fc_bias.grad = dlogits.sum(0)
        d = (dlogits @ self.fc_weight.value) / (shape[2] * shape[3])
        d = np.broadcast_to(d[:, :, None, None], shape)
        self.stem.backward(self.block1.backward(self.block2.backward(d)))


# --- data -------------------------------------------------------------------


def load_bytes():
    """All 1,797 images as bytes [N, 8, 8], the labels, and the split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 0..16 to 0..255. Only 8 falls on a half (127.5), and it becomes 128.
    images = np.floor(digits.images * 255.0 / 16.0 + 0.5).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    assert images.shape == (1797, 8, 8)

    # Per class, a fifth is held out; both parts are then put in class order
    # 0, 1, ..., 9, 0, 1, ..., so that a file's first samples show every digit.
    rng = np.random.default_rng(SEED)
    train, test = [], []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        held = round(len(members) * TEST_FRACTION)
        test.append(members[:held])
        train.append(members[held:])
    return images, labels, interleave(train), interleave(test)


def interleave(groups):
    longest = max(len(g) for g in groups)
    return np.array([g[i] for i in range(longest) for g in groups if i < len(g)])


def to_input(images):
    return (images.astype(np.float32) / np.float32(255.0))[:, None]


# --- training ---------------------------------------------------------------


def train(x, labels, log=lambda line: None):
    """Stochastic gradient descent with Nesterov momentum, warm-up, cosine decay."""
    rng = np.random.default_rng(SEED + 1)
    net = Network(rng)
    params = net.params()
    per_epoch = len(x) // BATCH
    steps, warmup = EPOCHS * per_epoch, 3 * per_epoch
    targets = np.full((len(x), 10), LABEL_SMOOTHING / 10, np.float32)
    targets[np.arange(len(x)), labels] += 1.0 - LABEL_SMOOTHING
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        loss = 0.0
        for batch in order[: per_epoch * BATCH].reshape(per_epoch, BATCH):
            logits = net.forward(x[batch], training=True)
            logits = logits - logits.max(1, keepdims=True)
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            loss -= (targets[batch] * log_p).sum() / BATCH
            net.backward((np.exp(log_p) - targets[batch]) / BATCH)
            rate = PEAK_RATE * min(1.0, (step + 1) / warmup)
            rate *= 0.5 * (1.0 + np.cos(np.pi * step / steps))
            rate = np.float32(rate)
            for p in params:
                grad = p.grad + np.float32(WEIGHT_DECAY) * p.value if p.decay else p.grad
                p.velocity = MOMENTUM * p.velocity + grad
                p.value = p.value - rate * (grad + MOMENTUM * p.velocity)
            step += 1
        if (epoch + 1) % 10 == 0:
            log(f"epoch {epoch + 1:3d}: loss {loss / per_epoch:.4f}")
    return net


def cross_validate(x, labels, folds=4):
    scores = []
    for fold in range(folds):
        held = np.arange(len(x)) // 10 % folds == fold  # tens: each has every digit
        net = train(x[~held], labels[~held])
        scores.append((net.forward(x[held]).argmax(1) == labels[held]).mean())
        print(f"fold {fold}: {100 * scores[-1]:.2f} %", flush=True)
    print(f"mean: {100 * np.mean(scores):.2f} %")


# --- files ------------------------------------------------------------------


def export_onnx(net, path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []

    def initializer(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(layer, source, name):
        weight, bias = layer.folded()
        k, p, s = layer.kernel, layer.pad, layer.stride
        inputs = [source, initializer(name + ".weight", weight), initializer(name + ".bias", bias)]
        out = node("Conv", inputs, name, kernel_shape=[k, k], pads=[p] * 4, strides=[s, s])
        return node("Relu", [out], name + ".relu") if layer.relu else out

    def block(layers, source, name):
        main = conv(layers.first, source, name + ".conv1")
        main = conv(layers.second, main, name + ".conv2")
        skip = conv(layers.skip, source, name + ".skip") if layers.skip else source
        return node("Relu", [node("Add", [main, skip], name + ".add")], name + ".relu")

    x = conv(net.stem, "input", "stem")
    x = block(net.block1, x, "block1")
    x = block(net.block2, x, "block2")
    x = node("Flatten", [node("GlobalAveragePool", [x], "pool")], "flatten", axis=1)
    inputs = [
        x,
        initializer("fc.weight", net.fc_weight.value),
        initializer("fc.bias", net.fc_bias.value),
    ]
    node("Gemm", inputs, "logits", transB=1)

    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(
        graph,
        ir_version=7,
        opset_imports=[helper.make_opsetid("", 13)],
        producer_name="train_digits.py",
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return sum(int(np.prod(w.dims)) for w in weights)


def onnx_logits(path, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": x})[0]


def write_idx(path, array):
    """IDX, the MNIST format: unsigned bytes (type 8), big-endian sizes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    header += struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def main():
    parser = argparse.ArgumentParser(description="Train and export the demo network.")
    parser.add_argument("--out", type=pathlib.Path, default=ASSETS)
    parser.add_argument("--cross-validate", action="store_true")
    args = parser.parse_args()

    images, labels, train_index, test_index = load_bytes()
    x = to_input(images)
    seen = {image.tobytes() for image in images[train_index]}
    assert not any(image.tobytes() in seen for image in images[test_index])
    if args.cross_validate:
        cross_validate(x[train_index], labels[train_index])
        return

    def log(line):
        print(line, flush=True)

    log(f"{len(train_index)} training and {len(test_index)} held-out images")
    net = train(x[train_index], labels[train_index], log)

    args.out.mkdir(parents=True, exist_ok=True)
    model = args.out / "digits.onnx"
    count = export_onnx(net, model)
    parts = {
        "training part": train_index,
        "held-out part": test_index,
        "test file": test_index[:TEST_SAMPLES],
        "its first 16": test_index[:16],
    }
    for name, index in parts.items():
        logits = onnx_logits(model, x[index])
        difference = np.abs(logits - net.forward(x[index])).max()
        assert difference < 1e-3, difference
        right = int((logits.argmax(1) == labels[index]).sum())
        log(
            f"{name}: {right} of {len(index)} right ({100 * right / len(index):.2f} %), "
            f"ONNX differs from training by at most {difference:.1e}"
        )
    one = onnx_logits(model, x[:1])
    assert one.shape == (1, 10), "N must be dynamic"

    for name, index in (
        ("calib", train_index[:CALIBRATION_SAMPLES]),
        ("test", test_index[:TEST_SAMPLES]),
    ):
        write_idx(args.out / f"digits-{name}-images-idx3-ubyte", images[index])
        write_idx(args.out / f"digits-{name}-labels-idx1-ubyte", labels[index])
    log(f"{count} parameters, {model.name} has {model.stat().st_size} bytes")


if __name__ == "__main__":
    main()
