"""Any task of lmms-eval on coded pictures.

Tasks and models of lmms-eval are not changed. While a task runs, the two methods by which it passes
its pictures to a model are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from codec.errors import BadArgument
from codec.evaluation.codecs import codec_under_test
from codec.evaluation.harness.recoder import Recoder
from codec.evaluation.rows import Key, Row, RowsFile

# Name of the row for the task's own pictures, not coded.
ORIGINAL = "original"
ROWS = "rows.jsonl"
FILES = "files"
METHODS = ("doc_to_visual", "doc_to_messages")


@dataclass(frozen=True)
class Run:
    """What is evaluated.

    Attributes:
        model: lmms-eval's name of the model.
        model_args: its arguments, such as `pretrained=Qwen/Qwen2.5-VL-3B-Instruct`.
        tasks: names of tasks.
        options: more arguments of `lmms_eval.evaluator.simple_evaluate`.
        include: a folder with more tasks.
    """

    model: str
    model_args: str
    tasks: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    include: str | None = None

    def key(self, codec: str, identity: str, quality: float | None) -> Key:
        """What a row's scores depend on."""
        facts = (
            self.model,
            self.model_args,
            " ".join(self.tasks),
            repr(sorted(self.options.items())),
        )
        return (*facts, codec, identity, quality)


def contenders(codecs: Sequence[str], qualities: Sequence[float]) -> list[tuple[str, float | None]]:
    """Pairs of a codec and a quality, after the original.

    Args:
        codecs: names of the registry.
        qualities: for all of them; empty: each codec's own.

    Returns:
        (name, quality); (`original`, None) is first.
    """
    pairs: list[tuple[str, float | None]] = [(ORIGINAL, None)]
    for name in codecs:
        pairs += [(name, quality) for quality in qualities or codec_under_test(name).qualities]
    return pairs


def evaluate(run: Run, pairs: Sequence[tuple[str, float | None]], folder: Path) -> list[Row]:
    """Run the tasks on the original and on coded pictures.

    Args:
        run: model and tasks.
        pairs: as `contenders` makes them.
        folder: for the rows and the coded files; what is there is not measured again.

    Returns:
        For each pair a row: codec, quality, pictures, bytes, bytes_per_picture, bpp (the last four
        None for the original, whose files a task does not keep), and scores: task -> metric ->
        value.

    Raises:
        BadArgument: lmms-eval is not installed.
        ValueError: lmms-eval does not know the model or a task.
    """
    evaluator = _lmms_eval()
    kept = RowsFile(folder / ROWS)
    keys = [run.key(name, _identity(name), quality) for name, quality in pairs]
    for (name, quality), key in zip(pairs, keys):
        if key in kept.rows:
            continue
        recoder = None if quality is None else Recoder(name, quality, folder / FILES)
        with recoded(recoder):
            # `simple_evaluate` discards the model when it ends, so each pair loads it again.
            results = evaluator.simple_evaluate(
                model=run.model,
                model_args=run.model_args,
                tasks=list(run.tasks),
                task_manager=_manager(run),
                **run.options,
            )
        kept.add([_row(key, name, quality, recoder, results["results"])])
    return [kept.rows[key] for key in keys]


@contextmanager
def recoded(recoder: Recoder | None) -> Iterator[None]:
    """While this context is open, tasks of lmms-eval pass coded pictures to the model."""
    if recoder is None:
        yield
        return
    from lmms_eval.api import task

    owners = [one for one in vars(task).values() if isinstance(one, type)]
    originals = [
        (owner, name, vars(owner)[name])
        for owner in owners
        for name in METHODS
        if name in vars(owner)
    ]
    for owner, name, original in originals:
        setattr(owner, name, _coding(original, recoder))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _coding(original: Callable[..., Any], recoder: Recoder) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return _with_coded(original(self, *arguments, **named), recoder)

    return method


def _with_coded(value: Any, recoder: Recoder) -> Any:
    """The same lists, tuples and dictionaries, with coded pictures."""
    if isinstance(value, Image.Image):
        return recoder(value)
    if isinstance(value, dict):
        return {key: _with_coded(item, recoder) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_coded(item, recoder) for item in value)
    return value


def _row(
    key: Key, name: str, quality: float | None, recoder: Recoder | None, results: dict[str, Any]
) -> Row:
    spent = None if recoder is None else recoder.spent()
    return {
        "key": list(key),
        "codec": name,
        "quality": quality,
        "pictures": None if spent is None else spent.pictures,
        "bytes": None if spent is None else spent.bytes,
        "bytes_per_picture": None if spent is None else spent.per_picture,
        "bpp": None if spent is None else spent.bpp,
        "scores": {task: _numbers(values) for task, values in results.items()},
    }


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    """A task's metrics: numbers, without counts and standard errors."""
    return {
        name.split(",")[0]: float(value)
        for name, value in values.items()
        if "," in name and "_stderr" not in name and isinstance(value, (int, float))
    }


def _identity(name: str) -> str:
    return "" if name == ORIGINAL else codec_under_test(name).identity


def _lmms_eval() -> Any:
    try:
        from lmms_eval import evaluator
    except ImportError as error:
        raise BadArgument(
            f"lmms-eval cannot be imported ({error}): pip install lmms-eval"
        ) from None
    return evaluator


def _manager(run: Run) -> Any:
    from lmms_eval.tasks import TaskManager

    return TaskManager(include_path=run.include, model_name=run.model)
