"""Private neural-network inference between two parties.

Images are an array or the path of a file. An array is what its ``.npy`` file would be: ``uint8`` and
other integers are pixels of 0..255, floats are on the scale 0..1 (or as the network was calibrated).
Its shape is ``(images, channels, rows, columns)``, or that of one image; a channel axis of one may be
left out. Files are CIFAR records, IDX, ``.npy``, ``.npz``, PNG or JPEG, also gzipped.

Labels are an array of classes, or the path of a file of them.

``progress(phase, done, of)`` is called as work goes on; what it raises ends the work, and so does
Ctrl-C. All work runs without the interpreter's lock.

Raises ``ValueError`` for what does not fit, such as shapes, files and budgets; ``FileNotFoundError``
and other kinds of ``OSError`` for files; ``ConnectionError``, its kinds and ``TimeoutError`` for
peers.
"""

from os import PathLike
from types import TracebackType
from typing import Callable, List, Optional, Sequence, Tuple, Type, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Path = Union[str, "PathLike[str]"]
_Images = Union[ArrayLike, _Path]
_Labels = Union[ArrayLike, _Path]
_Progress = Callable[[str, int, int], object]

__version__: str
__all__: List[str]

class BusyError(ConnectionError):
    """The server has no room now; try again later."""

class DisagreementError(ConnectionError):
    """The server disagrees: about a key, a network, a plan, memory or a quota."""

class ViolationError(ConnectionError):
    """The server violates the protocol, or the conversation was altered on the way."""

class Amount:
    """Bytes, rounds and time of a phase."""

    @property
    def server_bytes(self) -> int:
        """Bytes that the server sends, framing included."""
    @property
    def client_bytes(self) -> int:
        """Bytes that the client sends, framing included."""
    @property
    def bytes(self) -> int:
        """Bytes in both directions."""
    @property
    def rounds(self) -> int:
        """One-way messages on the critical path."""
    @property
    def seconds(self) -> float:
        """Seconds: predicted on the link, or measured."""

class Step:
    """One step of a plan."""

    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def offline(self) -> Amount:
        """Without the images."""
    @property
    def online(self) -> Amount:
        """With the images."""

class Cost:
    """What one private inference is predicted to move. Every run is held to its bytes and rounds."""

    @property
    def images(self) -> int:
        """Images of the inference."""
    @property
    def setup(self) -> Amount:
        """Once a session."""
    @property
    def offline(self) -> Amount:
        """Without the images."""
    @property
    def online(self) -> Amount:
        """With the images."""
    @property
    def steps(self) -> List[Step]: ...
    @property
    def bits(self) -> int:
        """Bits of one inference, offline and online, in both directions."""
    @property
    def server_memory(self) -> int:
        """Bytes of memory of the server's process."""
    @property
    def client_memory(self) -> int:
        """Bytes of memory of the client's process."""

class Answers:
    """Answers to images, one a row."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes, of shape ``(images,)``."""
    @property
    def logits(self) -> Optional[NDArray[np.float64]]:
        """Real values, of shape ``(images, classes)``; None where the label alone is revealed."""
    @property
    def integers(self) -> Optional[NDArray[np.int64]]:
        """The logits as the parties compute them."""
    @property
    def accuracy(self) -> Optional[float]:
        """The share of images whose label is told; None where no labels are known."""
    def __len__(self) -> int: ...

class Inference:
    """A private run of both parties, on this machine."""

    @property
    def answers(self) -> Answers: ...
    @property
    def setup(self) -> Amount: ...
    @property
    def offline(self) -> Amount: ...
    @property
    def online(self) -> Amount: ...
    @property
    def bytes(self) -> int:
        """Bytes in both directions, set-up included."""

class Network:
    """A quantized network: a public plan and secret weights."""

    @staticmethod
    def open(path: _Path) -> Network:
        """Opens a folder that ``search`` or the command ``pq search`` has written."""
    def save(self, path: _Path) -> None:
        """Writes the network into a folder, over one that is there; what is secret is its owner's
        alone to read."""
    @property
    def name(self) -> str: ...
    @property
    def input_shape(self) -> Tuple[int, int, int]:
        """Channels, rows and columns."""
    @property
    def classes(self) -> int: ...
    def cost(self, images: int = 1, *, link: str = "lan", hints_known: bool = True) -> Cost:
        """Predicts what one inference of so many images costs, on a link (``lan``, ``wan`` or
        ``BYTES_PER_S,RTT_MS``), for a client that has the hints or gets them in set-up."""
    def eval(
        self,
        images: _Images,
        labels: Optional[_Labels] = None,
        *,
        progress: Optional[_Progress] = None,
    ) -> Answers:
        """Runs the plaintext network, which a private run equals integer for integer."""
    def infer_local(
        self,
        images: _Images,
        labels: Optional[_Labels] = None,
        *,
        progress: Optional[_Progress] = None,
    ) -> Inference:
        """Runs both parties in this process, over a loopback connection. All images are one
        inference."""

class Layer:
    """A linear layer of what a search has found."""

    @property
    def name(self) -> str: ...
    @property
    def weight_bits(self) -> int: ...
    @property
    def activation_bits(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def comm_bits(self) -> int:
        """Bits that its step moves in one inference."""

class Found:
    """What a search has found."""

    @property
    def network(self) -> Network: ...
    @property
    def layers(self) -> List[Layer]: ...
    @property
    def predicted_bits(self) -> int:
        """Bits of one inference, offline and online, in both directions."""
    @property
    def setup_bits(self) -> int:
        """Bits of set-up, once a session, for a client that has the hints."""
    @property
    def predicted_seconds(self) -> float:
        """Seconds of one inference on the link."""

def search(
    model: _Path,
    calib: _Images,
    *,
    labels: Optional[_Labels] = None,
    samples: int = 256,
    budget_bits: Optional[int] = None,
    budget_online_bits: Optional[int] = None,
    budget_seconds: Optional[float] = None,
    min_accuracy: Optional[float] = None,
    fixed: Optional[str] = None,
    first_last: Optional[str] = None,
    link: str = "lan",
    inferences: int = 1000,
    raw: bool = False,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    seed: int = 0,
    out: Optional[_Path] = None,
    progress: Optional[_Progress] = None,
) -> Found:
    """Chooses the widths and protocols of every layer of an ONNX model, within budgets.

    The first ``samples`` images of ``calib`` calibrate. At least one goal is needed: a budget of
    bits or seconds, an accuracy on the calibration images, or ``fixed`` widths such as ``"w4a4"``
    (``first_last`` are those of the first and last layer: ``"same"``, or ``"w8a8"``). Pixels are
    divided by 255; ``mean`` and ``std`` normalize them by channel, ``raw`` leaves them as they are.
    The network is written into the folder ``out``, if any."""

class Client:
    """A session with a ``pq serve``, in which one image is inferred after the other.

    One thread at a time may use it. An error that is not a ``ValueError`` ends it, and so does
    Ctrl-C."""

    @staticmethod
    def connect(
        address: str,
        *,
        model: Optional[str] = None,
        plan: Optional[_Path] = None,
        key: Optional[_Path] = None,
        server_key: Optional[str] = None,
        tls_cert: Optional[_Path] = None,
        tls_key: Optional[_Path] = None,
        server_ca: Optional[_Path] = None,
        server_name: Optional[str] = None,
        insecure: bool = False,
        stock: int = 1,
        cache: Optional[_Path] = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
    ) -> Client:
        """Connects to ``HOST:PORT``, for the network that the server has by the name ``model`` (its
        plan is fetched, and kept in ``cache``), or for the file of a ``plan``.

        ``key`` is the file of this client's key and ``server_key`` what ``pq keygen`` has printed
        of the server's. Either may be by certificate: ``tls_cert`` and ``tls_key`` are this
        client's files in PEM, ``server_ca`` has the authorities that issue the server's (or
        ``"system"``), which is for ``server_name``, or else for the host of the address. Without
        any of them the server has to be on this machine.

        ``stock`` inferences are prepared together: both parties keep memory for so many. Seconds
        are bounded by ``connect_timeout``, and the server's silence by ``timeout``."""
    @property
    def name(self) -> str: ...
    @property
    def input_shape(self) -> Tuple[int, int, int]:
        """Channels, rows and columns."""
    @property
    def classes(self) -> int: ...
    @property
    def closed(self) -> bool:
        """Whether it was closed, or ended by an error."""
    def prepare(self, *, progress: Optional[_Progress] = None) -> None:
        """Does all that needs no image, for ``stock`` inferences; nothing where some are left."""
    def infer(
        self,
        images: _Images,
        labels: Optional[_Labels] = None,
        *,
        progress: Optional[_Progress] = None,
    ) -> Answers:
        """Infers images, one after the other. The server sees none of them. Labels stay here, too:
        they are for ``Answers.accuracy``."""
    def close(self) -> None:
        """Ends the session in good order."""
    def __enter__(self) -> Client: ...
    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None: ...
