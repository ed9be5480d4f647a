"""Questions about pictures, from the files of eight benchmarks.

::

    POPE        lines of JSON       picture beside the file     yes or no
    TextVQA     JSON                picture beside the file     ten people's answers
    SEED-Bench  JSON                picture beside the file     options
    ScienceQA   JSON                SPLIT/ID/image.png          options
    MME         folder              CATEGORY/NAME.png, .jpg     yes or no, two a picture
    MMBench     table (.tsv)        in the table                options
    MMMU        table (.parquet)    in the table                options

Tables may hold any of these benchmarks. Their pictures are written to a folder beside the table.
"""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from codec.evaluation.judges import JudgeUnavailable

TABLES = (".tsv", ".parquet")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# A table's picture cell that is shorter names the row that holds the picture.
SHORTEST_PICTURE = 64
LARGEST_CELL = 1 << 30


class Question(NamedTuple):
    """A question about a picture.

    Attributes:
        text: the question, with its context.
        answers: one (yes or no, or the letter of an option), or one for each person who was asked.
        options: what can be chosen; empty if the answer is free.
        category: of MME; empty elsewhere.
    """

    text: str
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    category: str = ""


Questions = dict[str, list[Question]]


def pictures_folder(path: Path) -> Path:
    """Where the pictures of a file or folder of questions are.

    Args:
        path: the questions.

    Returns:
        A table's own folder, which `questions_of` fills; MME's folder; otherwise the file's folder.
    """
    if path.suffix in TABLES:
        return path.with_name(f"{path.stem}-pictures")
    return path if path.is_dir() else path.parent


def questions_of(path: Path) -> Questions:
    """Read questions.

    Args:
        path: a file, or MME's folder; see above. Questions of MMMU with several pictures or a free
            answer, and all without a picture or an answer, are left out.

    Returns:
        Name of a picture's file below `pictures_folder` -> its questions.

    Raises:
        JudgeUnavailable: the file is not of these kinds.
    """
    questions: Questions = {}
    try:
        for name, question in _read(path):
            questions.setdefault(name, []).append(question)
    except ImportError as error:
        raise JudgeUnavailable(f"{path} needs {error.name}: pip install pyarrow") from None
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        raise JudgeUnavailable(
            f"{path} holds no questions in the format of POPE, TextVQA, SEED-Bench, MMBench, MMMU, "
            f"ScienceQA or MME: {error!r}"
        ) from None
    if not questions:
        raise JudgeUnavailable(f"{path} holds no question with a picture and an answer")
    return questions


def _read(path: Path) -> Iterator[tuple[str, Question]]:
    if path.is_dir():
        yield from _mme(path)
    elif path.suffix in TABLES:
        yield from _table(path)
    elif path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            if line.strip():
                yield _pope_or_textvqa(json.loads(line))
    else:
        yield from _json(json.loads(path.read_text()))


def _json(content: Any) -> Iterator[tuple[str, Question]]:
    if isinstance(content, list):
        yield from map(_pope_or_textvqa, content)
    elif "data" in content:
        yield from map(_pope_or_textvqa, content["data"])
    elif "questions" in content:
        # SEED-Bench asks about videos, too.
        for row in content["questions"]:
            if row.get("data_type", "image") == "image":
                yield from _named(str(row["data_id"]), row)
    else:
        for number, row in content.items():
            if row["image"]:
                yield from _named(f"{row['split']}/{number}/{row['image']}", row)


def _pope_or_textvqa(row: Any) -> tuple[str, Question]:
    if "label" in row:
        return str(row["image"]), Question(row["text"], (row["label"],))
    return f"{row['image_id']}.jpg", Question(row["question"], tuple(row["answers"]))


def _mme(folder: Path) -> Iterator[tuple[str, Question]]:
    """Text files of lines `question TAB yes or no`; pictures beside them or in `images`."""
    for text in sorted(folder.glob("*/**/*.txt")):
        category = text.relative_to(folder).parts[0]
        places = (text.parent, folder / category / "images")
        found = (
            place / f"{text.stem}{suffix}"
            for place in places
            for suffix in SUFFIXES
            if (place / f"{text.stem}{suffix}").is_file()
        )
        picture = next(found, None)
        for line in text.read_text().splitlines() if picture is not None else ():
            asked, _, answer = line.rpartition("\t")
            if asked and picture is not None:
                name = picture.relative_to(folder).as_posix()
                yield name, Question(asked.strip(), (answer.strip(),), category=category)


def _table(path: Path) -> Iterator[tuple[str, Question]]:
    """Rows of a table; pictures are written once each, under a hash of their bytes."""
    folder = pictures_folder(path)
    contents: dict[str, bytes] = {}
    for row in _rows(path):
        picture = _picture(row, contents)
        name = f"{hashlib.sha256(picture).hexdigest()[:16]}{_suffix(picture)}"
        for named in _named(name, row) if picture else ():
            if not (folder / name).is_file():
                folder.mkdir(exist_ok=True)
                (folder / name).write_bytes(picture)
            yield named


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".tsv":
        csv.field_size_limit(LARGEST_CELL)
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file, delimiter="\t")
        return
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches(64):
        yield from batch.to_pylist()


def _picture(row: dict[str, Any], contents: dict[str, bytes]) -> bytes:
    """The bytes of a row's only picture; empty if it has none or several."""
    if row.get("image_2"):
        return b""
    cell = row.get("image", row.get("image_1"))
    if isinstance(cell, list):
        cell = cell[0] if len(cell) == 1 else None
    if isinstance(cell, dict):
        return bytes(cell["bytes"])
    if not cell:
        return b""
    index = str(row.get("index"))
    if len(cell) > SHORTEST_PICTURE:
        contents[index] = base64.b64decode(cell)
        return contents[index]
    return contents[str(cell)]


def _suffix(picture: bytes) -> str:
    known = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
    return next((suffix for start, suffix in known.items() if picture.startswith(start)), ".img")


def _named(name: str, row: dict[str, Any]) -> Iterator[tuple[str, Question]]:
    """A row's question, if it can be answered from options, or with yes or no."""
    answer = row.get("answer")
    free = row.get("question_type") == "open"
    if free or answer is None or str(answer) in ("", "?", "nan"):
        return
    options = _options(row)
    # Numbered from 0 in ScienceQA.
    letter = string.ascii_uppercase[answer] if isinstance(answer, int) else str(answer).strip()
    text = re.sub(r"\s*<image 1>\s*", " ", str(row["question"])).strip()
    hint = str(row.get("hint") or "").strip()
    context = "" if hint in ("", "nan") else f"Context: {hint}\n"
    # Only MME's scores have categories.
    category = "" if options else str(row.get("category") or "")
    yield name, Question(context + text, (letter,), options, category)


def _options(row: dict[str, Any]) -> tuple[str, ...]:
    listed = row.get("options", row.get("choices"))
    if listed is not None:
        values = ast.literal_eval(listed) if isinstance(listed, str) else listed
        return tuple(map(str, values))
    prefix = "choice_" if "choice_a" in row else ""
    letters = string.ascii_lowercase if prefix else string.ascii_uppercase
    cells = (row.get(f"{prefix}{letter}") for letter in letters)
    return tuple(str(cell) for cell in cells if cell is not None and str(cell) not in ("", "nan"))
