"""Private neural-network inference between two parties.

A server has a trained network, a client has an image. The server never sees the image, and the
client never sees the weights.
"""

from ._pq import (
    Amount,
    Answers,
    BusyError,
    Client,
    Cost,
    DisagreementError,
    Found,
    Inference,
    Layer,
    Network,
    Step,
    ViolationError,
    __version__,
    search,
)

__all__ = [
    "Amount",
    "Answers",
    "BusyError",
    "Client",
    "Cost",
    "DisagreementError",
    "Found",
    "Inference",
    "Layer",
    "Network",
    "Step",
    "ViolationError",
    "__version__",
    "search",
]
