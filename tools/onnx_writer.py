"""Networks as ONNX, node by node: what tools have in common that write some."""

import numpy as np
from onnx import helper, numpy_helper


class Writer:
    """Nodes and parameters of a network, in the order of its evaluation."""

    def __init__(self, rng):
        self.rng, self.nodes, self.parameters = rng, [], []

    def parameter(self, name, value):
        self.parameters.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name
