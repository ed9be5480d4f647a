"""Public objects can be copied and pickled, and do not depend on PyTorch's global settings."""

from __future__ import annotations

import copy
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import codec
import codec.integrations.pillow
from codec import forks
from codec.backends.onnx import OnnxBackend
from codec.backends.torch import TorchBackend
from codec.guidance import student_torch
from codec.weights import checkpoint
from tests.conftest import ROOT

WEIGHTS = "tiny"
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """[40, 56, 3]: a gradient with noise, for which the encoder chooses the learned tool."""
    noise = np.random.default_rng(0).normal(0, 12, (40, 56, 3))
    return np.clip(np.linspace(0, 255, 56)[None, :, None] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def file(picture: NDArray[np.uint8]) -> bytes:
    return codec.load(WEIGHTS, "cpu").encode(picture, tool="learned")


def codecs() -> list[Callable[[], codec.Codec]]:
    """A codec that was loaded by name, and one with a backend that the test created."""
    return [
        lambda: codec.load(WEIGHTS, "cpu"),
        lambda: codec.Codec(TorchBackend(checkpoint.load(WEIGHTS), "cpu"), limit_pixels=10**6),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("make", codecs())
def test_a_codec_is_copied_before_and_after_use(
    make: Callable[[], codec.Codec], copied: str, picture: NDArray[np.uint8], file: bytes
) -> None:
    cotam = make()
    for _ in range(2):
        other = COPIES[copied](cotam)
        assert repr(other) == repr(cotam)
        assert other.limit_pixels == cotam.limit_pixels
        assert other.encode(picture, tool="learned") == file
        np.testing.assert_array_equal(
            other.decode(file, output="array"), cotam.decode(file, output="array")
        )
        assert cotam.encode(picture, tool="learned") == file


@pytest.mark.parametrize("make", codecs())
def test_a_codec_has_the_same_pickle_before_and_after_use(
    make: Callable[[], codec.Codec], picture: NDArray[np.uint8]
) -> None:
    """`datasets.map` needs this to find its cache again."""
    cotam = make()
    before = pickle.dumps(cotam)
    cotam.decode(cotam.encode(picture, tool="learned"))
    assert pickle.dumps(cotam) == before
    assert pickle.dumps(make()) == before


def test_a_codec_is_hashed_alike_by_dill(picture: NDArray[np.uint8]) -> None:
    dill = pytest.importorskip("dill")
    cotam = codec.load(WEIGHTS, "cpu")

    def encoded(row: dict[str, Any]) -> bytes:
        return cotam.encode(row["image"], tool="learned")

    before = dill.dumps(encoded, recurse=True)
    encoded({"image": picture})
    assert dill.dumps(encoded, recurse=True) == before


@pytest.mark.parametrize("copied", COPIES)
def test_results_are_copied_without_the_networks(
    copied: str, picture: NDArray[np.uint8], file: bytes
) -> None:
    cotam = codec.load(WEIGHTS, "cpu")
    encoded = cotam.encode_full(picture, tool="learned", want_bits=True)
    assert len(pickle.dumps(encoded)) < 10 * encoded.y_hat.nbytes
    other = COPIES[copied](encoded)
    assert other.data == file
    np.testing.assert_array_equal(other.y_hat, encoded.y_hat)
    decoded = cotam.decode_full(file, want_bits=True)
    np.testing.assert_array_equal(COPIES[copied](decoded).bits, decoded.bits)


@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES)
def test_an_exported_half_is_copied_before_and_after_use(
    copied: str, halves: Path, picture: NDArray[np.uint8]
) -> None:
    half = codec.Codec(OnnxBackend(halves / "encoder"))
    for _ in range(2):
        other = COPIES[copied](half)
        assert repr(other) == repr(half)
        assert other.encode(picture, tool="learned") == half.encode(picture, tool="learned")


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("mode", ["RGB", "LA"])
def test_an_opened_picture_is_copied_before_and_after_it_is_decoded(
    copied: str, mode: str, picture: NDArray[np.uint8]
) -> None:
    stream = io.BytesIO()
    source = Image.fromarray(picture).convert(mode)
    if mode == "LA":
        source.putalpha(Image.fromarray(picture[..., 0]))
    source.save(stream, "CTM", model=WEIGHTS)
    for decoded_before in (False, True):
        with Image.open(io.BytesIO(stream.getvalue())) as image:
            if decoded_before:
                image.load()
            other = COPIES[copied](image)
            assert (other.mode, other.size) == (mode, image.size)
            assert other.info == image.info
            np.testing.assert_array_equal(np.asarray(other), np.asarray(image))
            other.load()
            assert other.resize((5, 5)).size == (5, 5)
            assert repr(image)


class Pictures(Dataset[Any]):
    """A training set that has a codec and returns lazily opened pictures."""

    def __init__(self, cotam: codec.Codec, files: list[bytes]) -> None:
        self.cotam = cotam
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        file = self.files[index]
        return Image.open(io.BytesIO(file)), self.cotam.decode(file, output="array")


@pytest.mark.slow
def test_spawned_workers_return_pictures(file: bytes) -> None:
    cotam = codec.load(WEIGHTS, "cpu")
    wanted = cotam.decode(file, output="array")
    loader = DataLoader(
        Pictures(cotam, [file, file]),
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    for image, pixels in loader:
        np.testing.assert_array_equal(np.asarray(image), wanted)
        np.testing.assert_array_equal(pixels, wanted)


@contextmanager
def switched(write: Callable[[Any], None], value: Any, usual: Any) -> Iterator[None]:
    write(value)
    try:
        yield
    finally:
        write(usual)


def host_states() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Global settings of PyTorch that programs may use."""
    dtypes = {
        f"default dtype {dtype}": lambda dtype=dtype: switched(
            torch.set_default_dtype, dtype, torch.float32
        )
        for dtype in (torch.bfloat16, torch.float16, torch.float64)
    }
    autocasts = {
        f"autocast to {dtype}": lambda dtype=dtype: torch.autocast("cpu", dtype)
        for dtype in (torch.bfloat16, torch.float16)
    }
    return (
        dtypes
        | autocasts
        | {
            "default device": lambda: switched(torch.set_default_device, "meta", None),
            "a device as context": lambda: torch.device("meta"),
            "no gradients": torch.no_grad,
            "gradients": torch.enable_grad,
            "inference": torch.inference_mode,
            "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
            "one thread": lambda: switched(torch.set_num_threads, 1, torch.get_num_threads()),
            "three threads": lambda: switched(torch.set_num_threads, 3, torch.get_num_threads()),
            "low precision": lambda: switched(
                torch.set_float32_matmul_precision, "medium", "highest"
            ),
            "nothing": nullcontext,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", host_states())
def test_the_state_of_the_program_changes_no_byte(
    name: str, picture: NDArray[np.uint8], file: bytes
) -> None:
    """This holds for loading weights, including the guide's, and for using them."""
    loaded = codec.load(WEIGHTS, "cpu")
    guided = loaded.encode(picture, tool="learned", guide="student")
    pixels = loaded.decode(file, output="array")
    preview = loaded.decode(file, output="array", level="preview")
    with host_states()[name]():
        student_torch.load_student.cache_clear()
        for cotam in (loaded, codec.load(WEIGHTS, "cpu")):
            assert cotam.encode(picture, tool="learned") == file
            assert cotam.encode(picture, tool="learned", guide="student") == guided
            np.testing.assert_array_equal(cotam.decode(file, output="array"), pixels)
            np.testing.assert_array_equal(
                cotam.decode(file, output="array", level="preview"), preview
            )
    student_torch.load_student.cache_clear()
    assert loaded.encode(picture, tool="learned", guide="student") == guided


def state_of_torch() -> list[Any]:
    backends: Any = torch.backends
    switches = (backends.mkldnn.conv, backends.mkldnn.matmul, backends.cudnn.conv)
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_float32_matmul_precision(),
        [switch.fp32_precision for switch in switches],
        torch.get_rng_state().tolist(),
    ]


def test_we_change_nothing_of_the_programs_state(picture: NDArray[np.uint8]) -> None:
    """This includes random numbers: decoding in a training run does not change the run."""
    student_torch.load_student.cache_clear()
    before = state_of_torch()
    global_state = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    cotam = codec.load(WEIGHTS, "cpu")
    cotam.decode(cotam.encode(picture, tool="learned", guide="student"))
    assert state_of_torch() == before
    assert np.random.get_state()[1].tolist() == global_state  # type: ignore[index, union-attr]


def test_threads_under_different_states_write_the_same_file(
    picture: NDArray[np.uint8], file: bytes
) -> None:
    cotam = codec.load(WEIGHTS, "cpu")
    found: list[bytes] = []

    def work(state: AbstractContextManager[Any]) -> None:
        with state:
            found.extend(cotam.encode(picture, tool="learned") for _ in range(3))

    states = [torch.autocast("cpu", torch.float16), torch.device("meta"), nullcontext()]
    threads = [threading.Thread(target=work, args=(state,)) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [file] * 9


def run_with(picture: NDArray[np.uint8], program: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a new process; it reads the picture from stdin."""
    return subprocess.run(
        [sys.executable, "-c", program],
        input=picture.tobytes(),
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_importing_under_another_default_dtype_changes_no_byte(
    picture: NDArray[np.uint8], file: bytes
) -> None:
    """Tensors that are created on import do not have the program's dtype or device."""
    program = f"""
import sys, torch, numpy as np
torch.set_default_dtype(torch.bfloat16)
torch.set_default_device("meta")
import codec
picture = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape({picture.shape})
sys.stdout.buffer.write(codec.load({WEIGHTS!r}, "cpu").encode(picture, tool="learned"))
"""
    done = run_with(picture, program)
    assert done.stdout == file, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("tool", ["learned", "screen"])
def test_a_forked_child_goes_on(tool: str, picture: NDArray[np.uint8]) -> None:
    """PyTorch's worker threads, used by the parent, do not exist in the child."""
    program = f"""
import os, sys, threading, numpy as np, torch, codec
picture = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape({picture.shape})
picture = np.tile(picture, (8, 8, 1))
torch.set_num_threads(2)
cotam = codec.load({WEIGHTS!r}, "cpu")
file = cotam.encode(picture, tool={tool!r})
threading.Thread(target=lambda: [cotam.encode(picture, tool={tool!r}) for _ in range(4)]).start()
for _ in range(3):
    child = os.fork()
    if not child:
        assert codec.load({WEIGHTS!r}, "cpu").encode(picture, tool={tool!r}) == file
        pixels = cotam.decode(file, output="array")
        os._exit(0 if cotam.encode(picture, tool={tool!r}) == file else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    done = run_with(picture, program)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_is_open_in_a_forked_child() -> None:
    lock = forks.Lock()
    held = threading.Event()
    over = threading.Event()

    def hold() -> None:
        with lock, lock:
            held.set()
            over.wait()

    threading.Thread(target=hold).start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)
        with lock:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    over.set()
