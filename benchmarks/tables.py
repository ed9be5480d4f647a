"""Tables in Markdown from committed JSON: `python -m benchmarks.tables` rewrites them on all pages.

A table is the part of a page between `<!-- table:NAME -->` and `<!-- /table -->`. A test fails if
it differs from its JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial

from benchmarks.effort.tables import EFFORT_TABLES
from benchmarks.guides.tables import GUIDE_TABLES
from benchmarks.lib.front_table import front_table
from benchmarks.lib.install_table import INSTALL_TABLES
from benchmarks.lib.markdown import ROOT, at_rate, load, rows_to_markdown
from benchmarks.lib.screen_tables import screen_costs_table, screen_rivals_table, screens_table
from benchmarks.lib.stream_tables import (
    first_frames_table,
    other_streams_table,
    stream_costs_table,
    streams_table,
)
from benchmarks.lib.task_tables import TASK_TABLES
from benchmarks.web.tables import web_sizes_table, web_times_table
from codec.evaluation.distortion import in_db
from codec.guidance import DEFAULT_GUIDE
from codec.weights import checkpoint

# The log of training runs.
RUNS = ROOT / "checkpoints" / "runs.json"
PAGES = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "checkpoints" / "TRAINING.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
MARK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
# Bits per pixel, one column each.
AT_BPP = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


def curves_table(title: str, score: str, shown: Callable[[float], float]) -> str:
    """A score at equal rate, and BD-rates of the weights against each codec.

    Args:
        title: title of the score.
        score: its key in rd.json.
        shown: converts the score to the value in the table.

    Returns:
        The table.
    """
    result = load("rd")
    rows = []
    for name, points in result["curves"].items():
        cells = [at_rate([p | {score: shown(p[score])} for p in points], b, score) for b in AT_BPP]
        saved = [facts[f"bd_rate_{score}"].get(name) for facts in result["weights"].values()]
        rows.append([name, *cells, *("" if s is None else f"{s:+.1f} %" for s in saved)])
    ours = [f"rate of {name} at equal {title.split(',')[0]}" for name in result["weights"]]
    head = f"{result['pictures']} Kodak pictures" if score == "psnr" else title
    return rows_to_markdown([head, *(f"{b} bpp" for b in AT_BPP), *ours], rows)


def rd_table() -> str:
    """PSNR on Kodak."""
    return curves_table("PSNR, dB", "psnr", float)


def ms_ssim_table() -> str:
    """MS-SSIM on Kodak, in dB."""
    return curves_table("MS-SSIM, dB", "ms_ssim", in_db)


def goals_table() -> str:
    """The goals of the first release, and the measured values."""
    rd = load("rd")["weights"]["small-mse"]
    speed = load("speed")
    slow = load("speed_float32")["in_process"]["times_faster"]["mbt2018-mean"]
    inside = speed["in_process"]
    small = speed["command_768x512"]
    large = speed["command_3840x2160"]
    saved = rd["bd_rate_psnr"]
    faster = inside["times_faster"]
    share = inside["entropy_share"]
    low, high = rd["range_bpp"]
    monotone = "monotone" if rd["monotone"] else "not monotone"
    memory = f"{small['peak_mb']:.0f} MB; {large['peak_mb'] / 1000:.2f} GB"
    rows = [
        [
            "PSNR BD-rate of `small-mse` against JPEG (4:2:0, optimize), 0.1..1.0 bpp",
            "-40 % (-60 %)",
            f"{saved['JPEG']:+.1f} %",
        ],
        ["against WebP (method 6)", "-8 % (-30 %)", f"{saved['WebP']:+.1f} %"],
        ["against AVIF (speed 6)", "", f"{saved['AVIF']:+.1f} %"],
        *(
            [f"against {name}", "", f"{saved[name]:+.1f} %"]
            for name in ("AVIF for PSNR", "JPEG XL")
            if name in saved
        ),
        [
            "one set of weights covers",
            "0.08..1.2 bpp (0.04..2)",
            f"{low:.3f}..{high:.2f} bpp, {monotone}",
        ],
        [
            "file bytes over the model's entropy, header aside",
            "1.5 % (0.5 %)",
            f"{100 * rd['largest_excess']:.2f} %",
        ],
        [
            "faster than mbt2018-mean, encode / decode",
            "5 (10) times",
            both(faster["mbt2018-mean"], 1, 1, "times"),
        ],
        ["the same on a processor without bfloat16", "", both(slow, 1, 1, "times")],
        ["entropy coding's share of encode / decode", "25 % (10 %)", both(share, 100, 0, "%")],
        ["`cotam encode`, whole process, 768x512", "4 s (1.5 s)", f"{small['seconds']:.1f} s"],
        ["its peak memory; of 3840x2160", "900 MB; 2.5 GB (500 MB; 1.2 GB)", memory],
    ]
    return rows_to_markdown(["", "at least (aim)", "measured"], rows)


def both(values: dict[str, float], factor: float, digits: int, unit: str) -> str:
    """Format figures as 'encode / decode', with a unit if there is one."""
    encode, decode = (f"{factor * values[way]:.{digits}f}" for way in ("encode", "decode"))
    return f"{encode} / {decode} {unit}".rstrip()


def speed_table(source: str = "speed") -> str:
    """Milliseconds of every codec, the ratio to CoTAM's, and the costs of the networks."""
    result = load(source)
    inside = result["in_process"]
    machine = result["machine"]
    where = f"{machine['threads']} threads of {machine['processor']}"
    head = f"768x512, quality {inside['quality']:g}, {where}"
    rows = []
    for name, spent in inside["milliseconds"].items():
        times = inside["times_faster"].get(name)
        ratios = [f"{value:.2g}" for value in times.values()] if times else ["1", "1"]
        cost = inside["kmac_per_pixel"].get(name)
        count = inside["parameters"].get(name)
        network = [both(cost, 1, 1, ""), f"{count / 1e6:.1f} M"] if cost else ["-", "-"]
        cells = zip((spent["encode"], spent["decode"]), ratios)
        rows.append(
            [
                name,
                *(f"{value:.{0 if value >= 20 else 1}f} ms ({ratio})" for value, ratio in cells),
                *network,
            ]
        )
    return rows_to_markdown(
        [head, "encode", "decode", "kMAC per pixel, encode / decode", "parameters"], rows
    )


def stages_table() -> str:
    """CoTAM's milliseconds by stage."""
    inside = load("speed")["in_process"]
    rows = [
        [name, ", ".join(f"{k} {v:.1f}" for k, v in inside["stages"][name].items() if v >= 0.05)]
        for name in ("encode", "decode")
    ]
    return rows_to_markdown(["", "medians, ms"], rows)


def backends_table() -> str:
    """The exported graphs compared with PyTorch."""
    result = load("speed")
    rows = []
    for name, facts in result["backends"].items():
        commands = [facts.get(f"command_{what}") for what in ("encode", "decode")]
        whole = [f"{c['seconds']:.2f} s, {c['peak_mb']:.0f} MB" if c else "-" for c in commands]
        times = facts["times_torch"]
        both_ms = f"{facts['encode']:.0f} / {facts['decode']:.0f} ms"
        ratio = f"{times['encode']:.2f} / {times['decode']:.2f}"
        rows.append(
            [
                f"`{name}`",
                both_ms,
                ratio,
                f"{facts['bytes']:.0f} bytes, {facts['psnr']:.2f} dB",
                *whole,
            ]
        )
    head = [
        f"encode / decode, {result['machine']['threads']} threads",
        "",
        "times torch",
        "file",
        "`cotam encode`",
        "`cotam decode`",
    ]
    return rows_to_markdown(head, rows)


def weights_table() -> str:
    """Costs and BD-rates of each set of weights."""
    speed = load("speed_float32")["in_process"]
    rd = load("rd")["weights"]
    rows = []
    for name, coder, tasks in (("small", "CoTAM", "tasks"), ("tiny", "CoTAM tiny", "tasks_tiny")):
        # The guide that the weights use by default.
        variant = checkpoint.load(name).guide or DEFAULT_GUIDE
        at_tokens = {
            k: v[variant]["token_mse_last"]
            for k, v in load(tasks)["bd_rate_rivals"]["deit"].items()
        }
        cells = [
            f"{speed['parameters'][coder] / 1e6:.1f} M",
            both(speed["kmac_per_pixel"][coder], 1, 1, ""),
        ]
        cells += [both(speed["milliseconds"][coder], 1, 0, "ms")]
        cells += [" / ".join(f"{rate:+.0f} %" for rate in rd[name]["bd_rate_psnr"].values())]
        cells += [" / ".join(f"{rate['value']:+.0f} %" for rate in at_tokens.values())]
        rows.append([f"`{name}`", *cells])
    against = " / ".join(rd["small"]["bd_rate_psnr"])
    costs = ["parameters", "kMAC per pixel, encode / decode", "768x512 in float32, encode / decode"]
    return rows_to_markdown(
        ["weights", *costs, f"rate at equal PSNR: {against}", "at equal last tokens"], rows
    )


def runs_table() -> str:
    """Every training run whose weights were shipped."""
    rows = []
    for run in json.loads(RUNS.read_text()):
        points = [{"bpp": bpp, "psnr": value} for bpp, value in run["kodak"]]
        against = " / ".join(f"{value:+.1f} %" for value in run["bd_rate_psnr"].values())
        spent = f"{run['steps']} steps, {run['minutes']:.0f} min, {run['device']}"
        psnr_at = " / ".join(at_rate(points, bpp) for bpp in (0.2, 0.5, 1.0))
        top1 = [{"bpp": bpp, "top1": 100 * share} for bpp, _, share in run.get("tasks", [])]
        judged = [f"{at_rate(top1, bpp, 'top1')} %" for bpp in (0.2, 0.4) if top1]
        rows.append(
            [
                run["name"],
                run["date"],
                f"`{run['fingerprint']}`",
                run["what"],
                spent,
                psnr_at,
                against,
                " / ".join(judged) or "-",
            ]
        )
    head = [
        "weights",
        "date",
        "fingerprint",
        "what",
        "spent",
        "Kodak PSNR at 0.2 / 0.5 / 1.0 bpp",
        "BD-rate: JPEG / WebP / AVIF",
    ]
    head.append("DeiT-Tiny's top-1 at 0.2 / 0.4 bpp")
    return rows_to_markdown(head, rows)


def levels_table() -> str:
    """Decoding time of each level of a file, and accuracy of the preview."""
    result = load("levels")
    spent = result["milliseconds"]
    near = result["preview_psnr"]
    rows = [
        ["pixels", f"{spent['decode']:.1f} ms", ""],
        [
            "preview",
            f"{spent['preview']:.1f} ms",
            f"{result['preview_share_of_decode']:.1%} of pixels",
        ],
        [
            "pixels, then the embedding of a CLIP ViT-L/14-336",
            f"{spent['decode_and_embedding']:.1f} ms",
            "",
        ],
        [
            "tokens for it",
            f"{spent['decode_tokens']:.1f} ms",
            f"{result['tokens_over_decode_and_embedding']:.2f} times as long",
        ],
        ["choosing 144 of 576 tokens", f"{spent['select_tokens']:.1f} ms", ""],
    ]
    rows += [
        [
            f"preview to the reduced full decode, quality {q}",
            f"{v['mean']:.1f} dB",
            f"at least {v['least']:.1f} dB",
        ]
        for q, v in near.items()
    ]
    threads = result["machine"]["threads"]
    processor = result["machine"]["processor"]
    return rows_to_markdown(
        [f"`{result['model']}`, {threads} threads of {processor}", "median or mean", ""], rows
    )


def scale_table() -> str:
    """Huge pictures and many pictures."""
    huge = load("huge")
    many = load("many")
    rows = []
    for facts in huge["pictures"]:
        peaks = [f"{facts[way]['peak_mb'] / 1000:.2f} GB" for way in ("encode", "decode")]
        rows.append(
            [
                f"{facts['size'][0]}x{facts['size'][1]}, peak memory of encode / decode",
                " / ".join(peaks),
            ]
        )
    two = many["throughput"]
    run = many["killed"]
    rows.append(
        [
            f"{two['pictures']} pictures of 512x512, two workers",
            f"{two['times']:.2f} times as fast as one",
        ]
    )
    killed = f"{run['pictures']} pictures of 96x96, the run killed {run['kills']} times"
    rows.append(
        [
            killed,
            f"{run['files']} files, {run['decoded']} decode, {run['equal']} as if never killed",
        ]
    )
    return rows_to_markdown(
        [f"{huge['machine']['processor']}, {huge['machine']['cores']} cores", ""], rows
    )


def train_step_table() -> str:
    """Seconds of a training step and its parts."""
    result = load("train_step")
    head = [
        f"`{' '.join(result['settings'])}`, {result['precision']}",
        f"{result['machine']['cores']} cores",
    ]
    rows = [
        ["a step, mean", f"{result['mean']:.2f} s"],
        ["a step, median", f"{result['median']:.2f} s"],
    ]
    return rows_to_markdown(
        head,
        rows + [[f"of it {part}", f"{value:.3f} s"] for part, value in result["parts"].items()],
    )


def selection_table() -> str:
    """DeiT-Tiny's top-1 with fewer tokens."""
    result = load("selection")
    top1 = result["top1"]
    error = result["standard_error"]
    # Older results do not have them.
    costs = result.get("multiply_adds")

    def cell(name: str) -> str:
        return f"{100 * top1[name]:.1f} +- {100 * error[name]:.1f} %"

    def cost(name: str) -> list[str]:
        return [f"{costs[name] / 1e9:.2f} G"] if costs else []

    groups = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in top1 if "/" in name))
    ways = list(dict.fromkeys(name.rsplit("/", 1)[1] for name in top1 if "/" in name))
    rows = [["all", "100 %", *cost("full"), cell("full"), *[""] * (len(ways) - 1)]]
    for group in groups:
        block, budget = group.split("/")
        kept = [f"after block {block}", f"{100 * float(budget):g} %", *cost(group)]
        rows.append([*kept, *(cell(f"{group}/{way}") for way in ways)])
    weights = f"`{result['model']}` at quality {result['quality']:g}"
    about = f"{result['pictures']} pictures of ImageNet, {weights}"
    head = [about, "tokens kept", *(["multiply-adds"] if costs else []), *ways]
    return rows_to_markdown(head, rows)


def receivers_table() -> str:
    """Error of DeiT-Tiny's last tokens and time to them, by receiver."""
    result = load("receivers")
    names = {
        "pixels": "decoded pixels",
        "adapter": "pixels, repaired by the adapter",
        "bridge": "bridge, without pixels",
    }
    rows = []
    for way, name in names.items():
        cells = [
            f"{by_way[way]['mean']:.3f} +- {by_way[way]['standard_error']:.3f}"
            for by_way in result["errors"].values()
        ]
        rows.append([name, *cells, f"{result['milliseconds'][way]:.0f} ms"])
    head = [f"{result['pictures']} pictures of ImageNet, `{result['model']}`"]
    head += [f"error at quality {quality}" for quality in result["errors"]]
    return rows_to_markdown([*head, "time, 768x512"], rows)


def wire_table() -> str:
    """Kilobytes of a message with one picture, to the gateway and from the gateway."""
    result = load("wire")
    titles = {
        "png": "PNG",
        "jpeg-75": "JPEG, quality 75",
        "jpeg-equal-psnr": "JPEG with the `.ctm`'s PSNR",
        "ctm": f"`.ctm`, quality {result['quality']:g}",
    }
    sets = {"kodak": "photographs (eval/kodak)", "screens": "screenshots (eval/screens)"}
    head = ["a message with a picture as"]
    for name, facts in result["sets"].items():
        head += [f"{facts['pictures']} {sets[name]}, to the gateway", "from there"]
    rows = []
    for key, title in titles.items():
        row = [title]
        for facts in result["sets"].values():
            spent = facts["bytes"][key]
            row += [f"{spent[way] / 1000:.1f} kB" for way in ("to_gateway", "to_upstream")]
        rows.append(row)
    return rows_to_markdown(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "rd": rd_table,
    "ms_ssim": ms_ssim_table,
    "front": front_table,
    "goals": goals_table,
    "speed": speed_table,
    "speed_float32": partial(speed_table, "speed_float32"),
    "stages": stages_table,
    "backends": backends_table,
    "weights": weights_table,
    "runs": runs_table,
    "levels": levels_table,
    "receivers": receivers_table,
    "scale": scale_table,
    "selection": selection_table,
    "train_step": train_step_table,
    "wire": wire_table,
    "screens": screens_table,
    "screen_costs": screen_costs_table,
    "screen_rivals": screen_rivals_table,
    "first_frames": first_frames_table,
    "stream_costs": stream_costs_table,
    "streams": streams_table,
    "streams_other": other_streams_table,
    "web_sizes": web_sizes_table,
    "web_times": web_times_table,
    **TASK_TABLES,
    **EFFORT_TABLES,
    **GUIDE_TABLES,
    **INSTALL_TABLES,
}


def _filled(mark: re.Match[str]) -> str:
    """Generate a marked part; parts that are not made from JSON are not changed."""
    table = TABLES.get(mark[2])
    return mark[0] if table is None else mark[1] + table() + mark[3]


def fill(text: str) -> str:
    """The text of a page, with marked parts generated from the results."""
    return MARK.sub(_filled, text)


def main() -> None:
    """Rewrite the pages."""
    for page in PAGES:
        if page.exists():
            page.write_text(fill(page.read_text()))


if __name__ == "__main__":
    main()
