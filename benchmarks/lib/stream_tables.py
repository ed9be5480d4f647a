"""The tables of docs/streams.md, from committed JSON."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown import load, rows_to_markdown

# System of benchmarks.streams.systems -> its name in the table.
TITLES = {
    "still": "still files of this codec",
    "avif": "AVIF for every frame",
    "libaom-realtime": "libaom, real time",
    "libaom": "libaom, slow",
    "x264": "x264, zerolatency",
}
QUALITY = 50.0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} %"


def _words(found: dict[str, float] | None) -> str:
    """Bytes relative to the client's JPEG, and the difference in words read."""
    return "-" if found is None else f"{_percent(found['bytes'])} ({found['words']:+.3f})"


def _stream(entry: dict[str, Any]) -> dict[str, Any]:
    points: list[dict[str, Any]] = entry["points"]["stream"]
    return next(point for point in points if point["quality"] == QUALITY)


def streams_table() -> str:
    """Bytes of each sequence relative to other ways to send it."""
    return _table("streams")


def other_streams_table() -> str:
    """The same for pages that nothing was chosen on."""
    return _table("streams_other")


def _table(result: str) -> str:
    entries = [entry for entry in load(result)["sequences"] if "stream" in entry["points"]]
    systems = [system for system in TITLES if system in entries[0]["at_equal_tokens"]]
    rows = []
    for entry in entries:
        stream = _stream(entry)
        name = f"{entry['scene']}, {entry['frames']} frames of {entry['size']}"
        size = f"{stream['bytes'] / 1000:.1f} kB, {stream['first'] / 1000:.1f} kB"
        against = [_percent(entry["at_equal_tokens"].get(system)) for system in systems]
        words = [_words(entry[kind]) for kind in ("at_equal_words", "at_no_fewer_words")]
        rows.append([name, size, *against, *words])
    head = ["sequence", "stream, its first file", *(TITLES[system] for system in systems)]
    head += ["JPEG quality 75, words", "JPEG quality 75, no word fewer"]
    return rows_to_markdown(head, rows)


def stream_costs_table() -> str:
    """Time of messages."""
    result = load("stream_costs")
    rows = [
        [
            f"{name}, 1456x819",
            f"{costs['bytes']}",
            f"{costs['encode_ms']:.0f} ms",
            f"{costs['decode_ms']:.0f} ms",
        ]
        for name, costs in result["cases"].items()
    ]
    return rows_to_markdown([f"{result['threads']} threads", "bytes", "encode", "decode"], rows)


def first_frames_table() -> str:
    """Time of a first frame, encoded and decoded."""
    titles = {"stream": "stream"} | TITLES
    rows = [
        [titles[system], f"{costs['bytes']}", f"{costs['seconds']:.2f} s"]
        for system, costs in load("stream_costs")["first_frame"].items()
    ]
    return rows_to_markdown(["first frame of 1456x819", "bytes", "encode and decode"], rows)
