"""Tables of machine scores: guides, slope, adapter, tuning, and comparisons with common codecs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.lib.markdown import at_rate, interval, load, rows_to_markdown
from codec.evaluation import bd
from codec.guidance import DEFAULT_GUIDE

# The variant that `cotam encode` uses for photographs: uniform steps within a picture.
SHIPPED = DEFAULT_GUIDE
# Rows of the joint table: label, judge, score, and variant. The variants are default files judged
# by pixels, default files judged by repaired tokens, and files tuned to DeiT-Tiny.
MEASURES = (
    ("last tokens of DeiT-Tiny", "deit", "token_mse_last", SHIPPED),
    ("the same, repaired by its adapter", "deit", "token_mse_last", f"tokens-{SHIPPED}"),
    ("pixels of tuned files", "deit", "token_mse_last", "tuned"),
    ("its cross-entropy of the label", "deit", "cross_entropy", SHIPPED),
    ("the same, repaired by its adapter", "deit", "cross_entropy", f"tokens-{SHIPPED}"),
    ("pixels of tuned files", "deit", "cross_entropy", "tuned"),
    ("its top-1", "deit", "top1", SHIPPED),
    ("its last tokens on charts", "tokens", "token_mse_last", SHIPPED),
    ("boxes of YOLOX-Nano, F1", "yolox", "f1", SHIPPED),
    ("words read by Tesseract", "ocr", "recall", SHIPPED),
)
TUNED_MEASURES = (
    ("last tokens of DeiT-Tiny", "deit", "token_mse_last"),
    ("its tokens, block 8", "deit", "token_mse_middle"),
    ("its tokens, block 3", "deit", "token_mse_shallow"),
    ("its cross-entropy of the label", "deit", "cross_entropy"),
    ("its top-1", "deit", "top1"),
    ("boxes of YOLOX-Nano, F1", "yolox", "f1"),
)
BEST_AVIF = "AVIF best"
Curve = list[dict[str, float]]
# Bits per pixel, one column each.
TUNED_BPP = (0.12, 0.2, 0.3, 0.5)


def joint_table() -> str:
    """The default weights compared with those of the base stage and with common codecs."""
    result = load("tasks")
    text = load("tasks_ocr")
    tuned = load("tasks_tuned")
    rivals = list(next(iter(result["bd_rate_rivals"].values())))
    best = load("tasks_rivals")
    strongest = best["bd_rate_rivals"] | load("tasks_rivals_others")["bd_rate_rivals"]
    others = [rival for rival in best["systems"] if rival not in rivals]
    rows = []
    for name, judge, score, files in MEASURES:
        source = text if judge == "ocr" else tuned if files == "tuned" else result
        base = source["bd_rate_base"].get(judge, {})
        against = source["bd_rate_rivals"].get(judge, {})
        cells = [
            base.get(variant, {}).get(score) if files == SHIPPED else None
            for variant in ("same-qp", SHIPPED)
        ]
        cells += [against.get(rival, {}).get(files, {}).get(score) for rival in rivals]
        further = strongest.get(judge, {})
        cells += [further.get(rival, {}).get(files, {}).get(score) for rival in others]
        rows.append([name, *map(interval, cells)])
    base_name = result["base"]["model"]
    head = [f"rate of `{result['model']}` at equal", f"one QP for all, against `{base_name}`"]
    head += [
        f"as shipped, against `{base_name}`",
        *(f"as shipped, against {rival}" for rival in rivals),
        *(f"as shipped, against {best['systems'][rival]}" for rival in others),
    ]
    return rows_to_markdown(head, rows)


def tasks_table() -> str:
    """Guides compared with uniform steps."""
    rows = []
    latest = load("tasks")
    read_by = load("tasks_ocr")
    measured = [
        (latest, read_by),
        (latest["base"], read_by["base"]),
        (load("tasks_oracle"), None),
        (load("tasks_guides"), None),
    ]
    shown: set[str] = set()
    for result, reader in measured:
        text = reader["bd_rate"].get("ocr", {}) if reader else {}
        for variant, rates in result["bd_rate"]["deit"].items():
            # Newer results of a variant take precedence. Variants judged by tokens are no guides.
            if (reader is None and variant in shown) or variant.startswith("tokens-"):
                continue
            shown.add(variant)
            scores = ("token_mse_shallow", "token_mse_middle", "token_mse_last", "cross_entropy")
            cells = [interval(rates[score]) for score in scores]
            read = interval(text.get(variant, {}).get("recall"))
            rows.append(
                [f"`{variant}`", f"{result['model']} `{result['fingerprint']}`", *cells, read]
            )
    head = [
        "guide",
        "weights",
        "tokens, block 3",
        "tokens, block 8",
        "last tokens",
        "cross-entropy of the label",
    ]
    return rows_to_markdown([*head, "word recall on receipts"], rows)


def tuned_table() -> str:
    """Files tuned to DeiT-Tiny compared with untuned ones and with common codecs."""
    result = load("tasks_tuned")
    boxes = load("tasks_tuned_boxes")
    best = load("tasks_tuned_best")
    rows = []
    for name, judge, score in TUNED_MEASURES:
        source = boxes if judge == "yolox" else result
        against = [
            source["bd_rate_tuned"][judge],
            *(rates["tuned"] for rates in source["bd_rate_rivals"][judge].values()),
        ]
        strongest = best["curves"].get(judge, {}).get(BEST_AVIF)
        rate = strongest and of_curves(strongest, source["curves"][judge]["tuned"], score)
        rows.append([name, *(interval(rates[score]) for rates in against), interval(rate)])
    rivals = result["bd_rate_rivals"]["deit"]
    head = [
        f"rate of `{result['model']}`, tuned, at equal",
        "against untuned",
        *(f"against {rival}" for rival in rivals),
        f"against {best['systems'][BEST_AVIF]}",
    ]
    return rows_to_markdown(head, rows)


def of_curves(anchor: Curve, test: Curve, score: str) -> dict[str, float | None]:
    """BD-rate of two curves of means over the same pictures.

    Args:
        anchor: the points of the curve that `test` is compared with.
        test: the points of the other curve.
        score: one of DeiT-Tiny's.

    Returns:
        As evaluation.bd.compare, without an interval.
    """
    from codec.evaluation.judges.deit import SCORES  # imports PyTorch

    points = []
    for curve in (anchor, test):
        columns = (np.array([[point[name] for point in curve]]) for name in ("bpp", score))
        rates, scores = bd.means(bd.Measured(*columns), np.ones((1, 1)), SCORES[score])
        points.append((rates[0], scores[0]))
    return {"value": bd.bd_rate(*points), "low": None, "high": None}


def tuned_scores_table() -> str:
    """DeiT-Tiny's scores of tuned files, at equal rate."""
    result = load("tasks_tuned")
    named = {"tuned": "tuned", "default": "untuned"} | {
        rival: rival for rival in result["bd_rate_rivals"]["deit"]
    }
    rows = []
    for score, title in (
        ("cross_entropy", "cross-entropy of the label"),
        ("top1", "top-1"),
        ("token_mse_last", "last tokens"),
    ):
        curves = {name: result["curves"]["deit"][system] for system, name in named.items()}
        rows += [
            [f"{title}, {name}", *(at_rate(points, b, score) for b in TUNED_BPP)]
            for name, points in curves.items()
        ]
    about_set = result["sets"]["deit"]
    originals = about_set["originals"]
    about = (
        f"{about_set['pictures']} pictures; "
        f"originals {originals['cross_entropy']:.2f}, {originals['top1']:.2f}"
    )
    return rows_to_markdown([about, *(f"{b} bpp" for b in TUNED_BPP)], rows)


def slope_table() -> str:
    """QPs adapted to each picture's cost (slope), compared with one QP for all pictures."""
    result = load("tasks")
    rates = result["bd_rate_slope"]["deit"]
    scores = ("token_mse_shallow", "token_mse_middle", "token_mse_last", "cross_entropy", "top1")
    head = [
        f"rate of `{result['model']}` at equal",
        "tokens, block 3",
        "tokens, block 8",
        "last tokens",
    ]
    head += ["cross-entropy of the label", "top-1", "words read by Tesseract"]
    about = (
        f"slope {result['slope']:g} against one QP, {result['sets']['deit']['pictures']} pictures"
    )
    read = load("tasks_ocr")["bd_rate_slope"]["ocr"]["recall"]
    return rows_to_markdown(
        head, [[about, *(interval(rates[score]) for score in scores), interval(read)]]
    )


def tokens_table() -> str:
    """QP map and adapter, separately and together, compared with uniform steps by pixels."""
    result = load("tasks")
    against = result["bd_rate"]["deit"]
    by_tokens = result["bd_rate_tokens"]["deit"]
    scores = ("top1", "cross_entropy", "token_mse_last")
    comparisons = {
        "map alone": against["default"],
        "adapter alone": against["tokens-uniform"],
        "map and adapter": against["tokens-default"],
        "adapter, same guided files by pixels": by_tokens["default"],
    }
    rows = [
        [name, *(interval(rates[score]) for score in scores)] for name, rates in comparisons.items()
    ]
    return rows_to_markdown(
        [
            f"rate of `{result['model']}` at equal",
            "top-1",
            "cross-entropy of the label",
            "last tokens",
        ],
        rows,
    )


def published_table() -> str:
    """The published method and ours: map alone, adapter alone, both, joint training.

    Published: tasks_published.json, `small-mse` with the adapter of experiment=paper; in
    tasks_published_code.json with that of experiment=paper_code. Ours: tasks.json, `small`. Joint
    training is compared with `small-mse` under uniform steps.
    """
    published = load("tasks_published")["bd_rate"]["deit"]
    code = load("tasks_published_code")["bd_rate"]["deit"]
    ours = load("tasks")["bd_rate"]["deit"]
    joint = load("tasks")["bd_rate_base"]["deit"]
    both = "tokens-paper-teacher"
    sources = {
        "map alone": (published.get("paper-teacher"), None, ours.get("default")),
        "adapter alone": tuple(one.get("tokens-uniform") for one in (published, code, ours)),
        "map and adapter": (published.get(both), code.get(both), ours.get("tokens-default")),
        "joint training": (None, None, joint.get("uniform")),
    }
    titles = {"token_mse_last": "last tokens", "cross_entropy": "cross-entropy of the label"}
    rows = [
        [name, *(interval((rates or {}).get(score)) for score in titles for rates in of_name)]
        for name, of_name in sources.items()
    ]
    whose = ("as published", "with the losses of the public code", "ours")
    head = [f"{title}, {who}" for title in titles.values() for who in whose]
    return rows_to_markdown(["rate of the same weights at equal", *head], rows)


def equalized_table() -> str:
    """Step sizes of `small` moved towards equal costs for the joint loss, against its own."""
    measures = {
        "last tokens of DeiT-Tiny": ("deit", "token_mse_last"),
        "tokens, block 8": ("deit", "token_mse_middle"),
        "features of EfficientNet-Lite0": ("lite0", "feature_error"),
    }
    rows = []
    results = {"50 %": load("tasks_equalized_half"), "100 %": load("tasks_equalized")}
    for share, result in results.items():
        base = result["bd_rate_base"]
        cells = [interval(base[judge]["uniform"][score]) for judge, score in measures.values()]
        rows.append([share, *cells])
    pictures = results["100 %"]["sets"]["deit"]["pictures"]
    head = [f"way to equal costs, {pictures} pictures; rate at equal"]
    return rows_to_markdown([*head, *measures], rows)


TASK_TABLES: dict[str, Callable[[], str]] = {
    "tasks": tasks_table,
    "joint": joint_table,
    "slope": slope_table,
    "tokens": tokens_table,
    "tuned": tuned_table,
    "published": published_table,
    "equalized": equalized_table,
    "tuned_scores": tuned_scores_table,
}
