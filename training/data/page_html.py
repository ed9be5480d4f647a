"""Pages as HTML: articles, editors, tables, dashboards, terminals, chats and slides.

`page_html` makes one page. A random generator determines everything on it: theme, fonts, sizes,
layout, words, numbers and charts. The caller provides the photographs.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from training.data.page_charts import chart
from training.data.page_words import Words

# A browser uses the first family of a line that is installed.
SANS = (
    "'Liberation Sans', Arial, sans-serif",
    "'DejaVu Sans', Verdana, sans-serif",
    "Roboto, 'Segoe UI', 'Liberation Sans', sans-serif",
    "'Open Sans', 'Noto Sans', 'DejaVu Sans', sans-serif",
    "Inter, Ubuntu, 'Liberation Sans Narrow', sans-serif",
)
SERIF = (
    "'Liberation Serif', 'Times New Roman', serif",
    "'DejaVu Serif', Georgia, serif",
    "'Noto Serif', 'Source Serif Pro', 'Liberation Serif', serif",
)
MONO = (
    "'DejaVu Sans Mono', Menlo, monospace",
    "'Liberation Mono', 'Courier New', monospace",
    "'Fira Code', Consolas, 'DejaVu Sans Mono', monospace",
    "Inconsolata, 'JetBrains Mono', 'Liberation Mono', monospace",
)
TEXT_SIZES = (12, 13, 14, 15, 16, 18)
# Minimum width of a photograph in CSS pixels; its height is at least 0.7 times that.
LEAST_PHOTO_WIDTH = 320
PHOTO_RATIOS = (0.7, 1.0)


@dataclass(frozen=True)
class Theme:
    """Colours of a page, as CSS."""

    back: str
    card: str
    text: str
    faint: str
    line: str


LIGHT = (
    Theme("#ffffff", "#f6f8fa", "#1f2328", "#656d76", "#d0d7de"),
    Theme("#f3f4f6", "#ffffff", "#111827", "#6b7280", "#e5e7eb"),
    Theme("#fdf6e3", "#eee8d5", "#586e75", "#93a1a1", "#d9d2c0"),
    Theme("#fafafa", "#ffffff", "#000000", "#757575", "#cccccc"),
)
DARK = (
    Theme("#0d1117", "#161b22", "#e6edf3", "#7d8590", "#30363d"),
    Theme("#1e1e1e", "#252526", "#d4d4d4", "#858585", "#3c3c3c"),
    Theme("#282a36", "#343746", "#f8f8f2", "#8a93b5", "#44475a"),
    Theme("#002b36", "#073642", "#93a1a1", "#657b83", "#124652"),
)


@dataclass(frozen=True)
class Photograph:
    """A photograph to show.

    Attributes:
        address: A URL that the browser can open.
        width: Pixels.
        height: Pixels.
    """

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """The settings and random generator that a page is drawn with.

    Attributes:
        random: The source of all random choices.
        words: Draws the texts.
        theme: The page's colours.
        accents: CSS colours of links, buttons, code and series of a chart.
        mono: The fixed-width font, as CSS.
        photographs: The photographs to show; may be empty.
        scale: Screen pixels per CSS pixel.
    """

    random: Random
    words: Words
    theme: Theme
    accents: Sequence[str]
    mono: str
    photographs: Sequence[Photograph]
    scale: int

    def photograph(self, place: int = 0, most: int = 640) -> str:
        """The image element of a photograph, at most `most` wide; empty if there is none."""
        if place >= len(self.photographs):
            return ""
        photo = self.photographs[place]
        # On a high-density screen a CSS pixel shows several pixels of the photograph.
        drawn = min(self.random.randint(LEAST_PHOTO_WIDTH, most), photo.width // self.scale)
        width = max(LEAST_PHOTO_WIDTH, drawn)
        least, most_ratio = PHOTO_RATIOS
        height = round(width * min(max(photo.height / photo.width, least), most_ratio))
        # Names of files may hold quotes and ampersands.
        address = html.escape(photo.address)
        return f'<img class="photo" src="{address}" style="width:{width}px;height:{height}px">'

    def chart(self) -> str:
        """A chart in the page's colours."""
        return chart(self.random, self.words, self.accents)

    def accent(self) -> str:
        """One of the page's accents."""
        return self.random.choice(self.accents)


def page_html(
    kind: str, random: Random, photographs: Sequence[Photograph] = (), scale: int = 1
) -> str:
    """Make a page.

    Args:
        kind: One of `KINDS`.
        random: The source of all other random choices.
        photographs: The page shows the first of them and perhaps others.
        scale: Screen pixels per CSS pixel; it limits the size of photographs, so that they are
            not enlarged much.

    Returns:
        A complete HTML document without scripts. Its only external files are the photographs.
    """
    dark = random.random() < 0.5
    theme = random.choice(DARK if dark else LIGHT)
    sheet = Sheet(
        random,
        Words(random),
        theme,
        _accents(random, dark),
        random.choice(MONO),
        photographs,
        scale,
    )
    font = random.choice(SERIF if kind == "article" and random.random() < 0.4 else SANS)
    style = _style(sheet, font, random.choice(TEXT_SIZES))
    body = KINDS[kind](sheet)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{kind}</title>'
        f'<style>{style}</style></head><body class="{kind}">{body}</body></html>'
    )


def _accents(random: Random, dark: bool) -> list[str]:
    start = random.randrange(360)
    light = 66 if dark else 40
    return [
        f"hsl({(start + 67 * turn) % 360} {random.randint(45, 90)}% {light}%)" for turn in range(6)
    ]


def _style(sheet: Sheet, font: str, size: int) -> str:
    theme = sheet.theme
    round_by = sheet.random.choice((0, 3, 6, 12))
    line = sheet.random.choice((1.3, 1.5, 1.7))
    return f"""
* {{ box-sizing: border-box }}
html, body {{ margin: 0; height: 100% }}
body {{ background: {theme.back}; color: {theme.text}; font: {size}px/{line} {font};
  overflow: hidden }}
h1, h2, h3 {{ line-height: 1.2; margin: 0.6em 0 0.4em }}
p {{ margin: 0 0 0.8em }}
a, .accent {{ color: {sheet.accents[0]} }}
.faint {{ color: {theme.faint} }}
.row {{ display: flex; gap: 16px }}
.grow {{ flex: 1; min-width: 0; overflow: hidden }}
.bar {{ display: flex; gap: 20px; align-items: center; padding: 8px 16px; background: {theme.card};
  border-bottom: 1px solid {theme.line}; white-space: nowrap; overflow: hidden }}
.card {{ background: {theme.card}; border: 1px solid {theme.line}; border-radius: {round_by}px;
  padding: 14px }}
.side {{ background: {theme.card}; border-right: 1px solid {theme.line}; padding: 12px;
  width: 210px; flex: none; white-space: nowrap; overflow: hidden }}
.full {{ height: 100% }}
.mono {{ font-family: {sheet.mono} }}
.button {{ background: {sheet.accents[0]}; color: {theme.back}; border-radius: {round_by}px;
  padding: 6px 16px; display: inline-block }}
.photo {{ object-fit: cover; display: block; flex: none; border-radius: {round_by}px }}
.chart {{ width: 100%; max-height: 260px; display: block; font-size: 11px }}
.chart text {{ fill: currentColor }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ border: 1px solid {theme.line}; padding: 3px 8px; white-space: nowrap }}
pre {{ margin: 0; font-family: {sheet.mono} }}
"""


def _bar(sheet: Sheet, count: int = 5) -> str:
    links = "".join(f"<span>{sheet.words.title(1, 2)}</span>" for _ in range(count))
    brand = sheet.words.word().capitalize()
    return f'<div class="bar"><b class="accent">{brand}</b>{links}</div>'


def _article(sheet: Sheet) -> str:
    words = sheet.words
    narrow = sheet.random.choice((680, 820, 1000))
    floating = sheet.random.random() < 0.5
    first = sheet.photograph(0, 420 if floating else 640)
    if floating and first:
        first = f'<div style="float:right;margin:0 0 12px 20px">{first}</div>'
    title = f"<h1>{words.title(3, 7)}</h1>"
    line = f'<p class="faint">{words.name()} · {words.date()}</p>'
    text = "".join(_section(sheet, place) for place in range(1, 4))
    return (
        f'{_bar(sheet)}<main style="max-width:{narrow}px;margin:0 auto;padding:8px 24px">'
        f"{title}{line}{first}<p>{words.paragraph()}</p>{text}</main>"
    )


def _section(sheet: Sheet, place: int) -> str:
    words = sheet.words
    link = f"<a>{words.words(3)}</a>"
    items = "".join(f"<li>{words.sentence()}</li>" for _ in range(sheet.random.randint(2, 4)))
    extra = sheet.random.choice(
        (f"<ul>{items}</ul>", f"<blockquote>{words.sentence()}</blockquote>")
    )
    return (
        f"<h2>{words.title()}</h2><p>{words.paragraph()} {link} {words.paragraph(1, 3)}</p>"
        f"{sheet.photograph(place)}{extra}<p>{words.paragraph()}</p>"
    )


def _editor(sheet: Sheet) -> str:
    words = sheet.words
    files = "".join(
        f'<div style="padding-left:{12 * sheet.random.randrange(3)}px">{_file(sheet)}</div>'
        for _ in range(30)
    )
    tabs = "".join(f"<span>{_file(sheet)}</span>" for _ in range(4))
    code = "\n".join(_code_line(sheet, number) for number in range(1, 70))
    photo = sheet.photograph(0, 440)
    beside = f'<div class="card" style="flex:none">{_file(sheet)}<br>{photo}</div>' if photo else ""
    return (
        f'<div class="row full" style="gap:0"><div class="side">{files}</div>'
        f'<div class="grow"><div class="bar">{tabs}<span class="faint">{words.time()}</span></div>'
        f'<div class="row" style="padding:8px"><pre class="grow">{code}</pre>{beside}</div>'
        "</div></div>"
    )


def _file(sheet: Sheet) -> str:
    return f"{sheet.words.word()}.{sheet.random.choice(('py', 'ts', 'rs', 'md', 'json', 'css'))}"


def _code_line(sheet: Sheet, number: int) -> str:
    random, words = sheet.random, sheet.words
    keyword, name, text, comment = (
        f'<span style="color:{colour}">' for colour in (*sheet.accents[:3], sheet.theme.faint)
    )
    arguments = f"({words.word()}, {words.word()})"
    value = random.choice((words.identifier(), str(random.randrange(4096)), f'"{words.words(2)}"'))
    statement = random.choice(
        (
            f"{words.identifier()} = {text}{value}</span>",
            f"{keyword}if</span> {words.identifier()} == {text}{value}</span>:",
            f"{keyword}return</span> {name}{words.identifier()}</span>{arguments}",
            f"{keyword}def</span> {name}{words.identifier()}</span>{arguments}:",
            f"{keyword}for</span> {words.word()} {keyword}in</span> {words.identifier()}:",
            f"{comment}# {words.sentence()}</span>",
            "",
        )
    )
    return f"{comment}{number:>4}</span>  {'    ' * random.randrange(4)}{statement}"


def _table(sheet: Sheet) -> str:
    random, words = sheet.random, sheet.words
    columns = [random.choice(COLUMNS) for _ in range(random.randint(5, 12))]
    head = "".join(f'<th class="faint">{chr(65 + place)}</th>' for place in range(len(columns)))
    names = "".join(f"<th>{words.title(1, 2)}</th>" for _ in columns)
    striped = random.random() < 0.5
    rows = "".join(_table_row(sheet, columns, row, striped) for row in range(2, 48))
    photo = sheet.photograph(0, 460)
    beside = (
        f'<div class="card" style="flex:none">{words.title()}<br>{photo}</div>' if photo else ""
    )
    total = f"=SUM(A2:A{random.randint(8, 40)})"
    return (
        f'{_bar(sheet, 7)}<div class="bar mono"><b>fx</b>{total}</div>'
        f'<div class="row"><div class="grow"><table><tr><th></th>{head}</tr>'
        f'<tr><th class="faint">1</th>{names}</tr>{rows}</table></div>{beside}</div>'
    )


def _table_row(
    sheet: Sheet, columns: Sequence[Callable[[Words], str]], row: int, striped: bool
) -> str:
    shade = f' style="background:{sheet.theme.card}"' if striped and row % 2 else ""
    chosen = f' style="outline:2px solid {sheet.accents[0]}"'
    cells = "".join(
        f'<td align="{"left" if column is Words.name else "right"}"'
        f"{chosen if sheet.random.random() < 0.004 else ''}>{column(sheet.words)}</td>"
        for column in columns
    )
    return f'<tr{shade}><th class="faint">{row}</th>{cells}</tr>'


COLUMNS: tuple[Callable[[Words], str], ...] = (
    Words.number,
    Words.number,
    Words.date,
    Words.name,
    Words.word,
    Words.time,
)


def _dashboard(sheet: Sheet) -> str:
    words = sheet.words
    figures = "".join(_figure(sheet) for _ in range(sheet.random.randint(3, 5)))
    charts = "".join(
        f'<div class="card grow"><b>{words.title(1, 4)}</b>{sheet.chart()}</div>'
        for _ in range(sheet.random.randint(2, 3))
    )
    photo = sheet.photograph(0, 460)
    shown = f'<div class="card">{words.title(2, 4)}{photo}</div>' if photo else ""
    lower = f'<div class="card grow">{_form(sheet)}</div>'
    more = f'<div class="card grow"><b>{words.title(1, 4)}</b>{sheet.chart()}</div>'
    rows = [f'<div class="row">{charts}</div>', f'<div class="row">{shown}{lower}{more}</div>']
    if photo:
        rows.reverse()
    return (
        f'{_bar(sheet, 6)}<div style="padding:16px;display:grid;gap:16px">'
        f'<div class="row">{figures}</div>{"".join(rows)}</div>'
    )


def _figure(sheet: Sheet) -> str:
    return (
        f'<div class="card grow"><span class="faint">{sheet.words.title(1, 2)}</span>'
        f'<div style="font-size:1.8em;color:{sheet.accent()}">{sheet.words.number()}</div></div>'
    )


def _form(sheet: Sheet) -> str:
    return (
        f"<h3>{sheet.words.title(1, 3)}</h3>"
        + "".join(_field(sheet) for _ in range(sheet.random.randint(3, 5)))
        + f'<span class="button">{sheet.words.title(1, 2)}</span>'
    )


def _field(sheet: Sheet) -> str:
    words = sheet.words
    label = f"<label>{words.title(1, 3)}</label><br>"
    control = sheet.random.choice(
        (
            f'<input value="{words.name()}">',
            f'<input type="checkbox" {"checked" * sheet.random.randrange(2)}> {words.words(4)}',
            f"<select><option>{words.title(1, 3)}</option></select>",
            f'<input type="range" value="{sheet.random.randrange(100)}">',
            f'<progress max="100" value="{sheet.random.randrange(100)}"></progress>',
            f"<textarea>{words.sentence()}</textarea>",
        )
    )
    return f"<p>{label}{control}</p>"


def _terminal(sheet: Sheet) -> str:
    lines = "\n".join(_terminal_block(sheet) for _ in range(14))
    photo = sheet.photograph(0, 520)
    window = (
        f'<div class="card" style="position:fixed;right:{sheet.random.randint(10, 90)}px;'
        f'top:{sheet.random.randint(20, 140)}px;padding:0 8px 8px">{_file(sheet)}{photo}</div>'
        if photo
        else ""
    )
    return f'<pre style="padding:10px">{lines}</pre>{window}'


def _terminal_block(sheet: Sheet) -> str:
    """A prompt with a command, and the command's output."""
    words = sheet.words
    command = (
        f"{words.word()} --{words.word()} {words.identifier()} | {words.word()} -{words.word()[0]}"
    )
    prompt = f'<span style="color:{sheet.accents[0]}">{words.word()}@{words.word()}</span>:~$ '
    line = sheet.random.choice((_listed, _logged, _plain))
    printed = "\n".join(line(sheet) for _ in range(sheet.random.randint(1, 9)))
    return f"{prompt}<b>{command}</b>\n{printed}"


def _listed(sheet: Sheet) -> str:
    size = sheet.random.randrange(10**7)
    name = f'<span style="color:{sheet.accents[1]}">{_file(sheet)}</span>'
    return f"-rw-r--r-- 1 {sheet.words.word():<10.10} {size:>9} {sheet.words.date()} {name}"


def _logged(sheet: Sheet) -> str:
    level = sheet.random.choice(("INFO", "WARN", "FAIL", "OK"))
    colour = sheet.accent()
    return (
        f"{sheet.words.date()} {sheet.words.time()} "
        f'[<span style="color:{colour}">{level:^6}</span>] {sheet.words.words(7)}'
    )


def _plain(sheet: Sheet) -> str:
    return f"  {sheet.words.words(sheet.random.randint(3, 12))} {sheet.words.number()}"


def _chat(sheet: Sheet) -> str:
    random, words = sheet.random, sheet.words
    people = [(words.name(), sheet.accent()) for _ in range(8)]
    names = "".join(_avatar(*person) for person in people * 2)
    photo_at = random.randrange(2)
    messages = "".join(
        _message(sheet, random.choice(people), sheet.photograph(0, 480) if at == photo_at else "")
        for at in range(9)
    )
    return (
        f'<div class="row full" style="gap:0"><div class="side">{names}</div>'
        f'<div class="grow">{_bar(sheet, 2)}<div style="padding:10px 20px">{messages}</div>'
        "</div></div>"
    )


def _avatar(name: str, colour: str) -> str:
    initials = "".join(part[0] for part in name.split())
    return (
        '<div style="margin-bottom:8px"><span style="display:inline-block;width:32px;height:32px;'
        f"line-height:32px;border-radius:16px;text-align:center;color:#fff;background:{colour};"
        f'font-size:12px;margin-right:8px">{initials}</span>{name}</div>'
    )


def _message(sheet: Sheet, person: tuple[str, str], photo: str) -> str:
    name, colour = person
    # The reader's own messages are on the right.
    is_readers = sheet.random.random() < 0.4
    side = "margin-left:auto" if is_readers else ""
    text = sheet.words.paragraph(1, 3)
    return (
        f'<div class="card" style="width:fit-content;max-width:70%;margin-bottom:10px;{side}">'
        f'<b style="color:{colour}">{name}</b> <span class="faint">{sheet.words.time()}</span>'
        f"<div>{text}</div>{photo}</div>"
    )


def _slide(sheet: Sheet) -> str:
    random, words = sheet.random, sheet.words
    points = "".join(f"<li>{words.words(random.randint(4, 10))}</li>" for _ in range(4))
    shown = sheet.photograph(0, 600) or f'<div class="grow">{sheet.chart()}</div>'
    order = "row-reverse" if random.random() < 0.5 else "row"
    size = random.choice((22, 26, 30))
    coloured = random.random() < 0.4
    band = f"background:{sheet.accents[0]};color:{sheet.theme.back}" if coloured else ""
    return (
        f'<div style="font-size:{size}px"><h1 style="margin:0;padding:28px 50px;{band}">'
        f'{words.title(2, 5)}</h1><div class="row" style="padding:24px 50px;gap:40px;'
        f'flex-direction:{order}"><ul class="grow" style="padding-left:1em">{points}</ul>'
        f'{shown}</div></div><div class="faint" style="position:fixed;bottom:16px;right:40px">'
        f"{words.title(1, 3)} · {random.randint(1, 60)}</div>"
    )


KINDS: dict[str, Callable[[Sheet], str]] = {
    "article": _article,
    "editor": _editor,
    "table": _table,
    "dashboard": _dashboard,
    "terminal": _terminal,
    "chat": _chat,
    "slide": _slide,
}
