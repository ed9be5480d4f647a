"""The page that sequences are recorded from: a form, menus, tabs, a dialog, a chart and a video.

::

    words drawn at random (a seed) -> HTML with one script -> Chromium
"""

from __future__ import annotations

import base64
import io
from random import Random

from PIL import Image
from skimage import data

WORDS = (
    "account active address agent amount annual answer archive article attach available balance "
    "before between billing branch budget building calendar cancel capital category change "
    "channel choose client column comment compare complete confirm contact content continue "
    "contract country create current customer daily database decide default deliver department "
    "detail device different discount discuss display document download edit employee enable "
    "engine enter estimate event example export factor feature field figure file filter final "
    "finance follow forecast format forward function general group growth handle history hotel "
    "import improve include income index industry insert install invoice item journal label "
    "language large latest layout level license limit list local location machine manage market "
    "material measure meeting member message method minute model modern monitor month network "
    "normal notice number object offer office online option order outcome output overview "
    "package page partner payment percent period person planning position predict present price "
    "print priority process product profile program project property provide public purchase "
    "quality quarter question range receive record reduce region release remove reply report "
    "request reset resource result return review sales sample schedule search section select "
    "server service session setting share shipping signal simple source standard start status "
    "storage strategy submit summary supplier support surface system table target team template "
    "test text theme thread time title total track transfer travel update upload usage user "
    "value vendor version video visit volume warehouse weekly window winter worker yearly"
).split()
ROWS = 60
STYLE = """
* { box-sizing: border-box; }
body { margin: 0; font: 14px "DejaVu Sans", Arial, sans-serif; color: #222; background: #fff; }
header { position: fixed; top: 0; left: 0; right: 0; height: 49px; background: #22384f;
  color: #fff; display: flex; align-items: center; gap: 4px; padding: 0 18px; z-index: 5; }
header b { margin-right: 26px; font-size: 17px; }
header button { background: none; border: 0; color: #dde6ee; font: inherit; padding: 8px 12px; }
header button:hover { background: #35506c; }
nav { position: fixed; top: 49px; left: 0; bottom: 0; width: 213px; background: #f2f4f6;
  border-right: 1px solid #d5dae0; padding: 14px; }
nav a { display: block; padding: 7px 9px; color: #27435f; text-decoration: none; }
nav a:hover { background: #dfe6ed; }
main { position: fixed; top: 49px; left: 213px; right: 0; bottom: 0; overflow-y: scroll;
  padding: 19px 27px; }
.menu { position: fixed; top: 47px; width: 257px; background: #fff; border: 1px solid #b9c2cc;
  box-shadow: 0 6px 18px #0004; padding: 6px 0; display: none; z-index: 9; }
.menu div { padding: 7px 17px; } .menu div:hover { background: #e7f0fa; }
.tabs button { font: inherit; border: 1px solid #c6cdd5; background: #f2f4f6; padding: 8px 16px; }
.tabs button.on { background: #fff; border-bottom-color: #fff; font-weight: bold; }
.tab { display: none; } .tab.on { display: block; }
table { border-collapse: collapse; width: 100%; margin-top: 12px; }
td, th { border-bottom: 1px solid #e2e6ea; padding: 6px 9px; text-align: left; }
th { background: #f7f8fa; } tr:hover td { background: #f3f8fd; }
input, textarea { font: inherit; padding: 7px; border: 1px solid #aab4bf; width: 430px;
  display: block; margin: 5px 0 13px; }
input:focus, textarea:focus { outline: 2px solid #3d7fc4; }
.dialog { position: fixed; inset: 0; background: #0007; display: none; z-index: 20; }
.dialog form { position: absolute; left: 50%; top: 22%; width: 511px; margin-left: -256px;
  background: #fff; border-radius: 9px; padding: 23px; box-shadow: 0 9px 39px #0008; }
#video { position: fixed; right: 27px; bottom: 21px; width: 384px; height: 216px; display: none;
  background-size: 900px; z-index: 8; border: 1px solid #333; }
"""
SCRIPT = """
const by = id => document.getElementById(id);
function menu(name) {
  for (const one of document.querySelectorAll('.menu')) one.style.display = 'none';
  if (name) by(name).style.display = 'block';
}
function tab(n) {
  document.querySelectorAll('.tab').forEach((t, i) => t.classList.toggle('on', i == n));
  document.querySelectorAll('.tabs button').forEach((t, i) => t.classList.toggle('on', i == n));
  by('main').scrollTop = 0;
}
function dialog(open) { by('dialog').style.display = open ? 'block' : 'none'; }
function chart(step) {
  const points = name => Array.from({length: 90}, (_, i) => {
    const t = (i + step) / 7, c = name == 'a' ? 1 : 2;
    const y = 150 + 60 * Math.sin(t * c) + 35 * Math.sin(t * 2.7 + c) + 12 * Math.sin(t * 9);
    return (40 + i * 8) + ',' + y.toFixed(1);
  }).join(' ');
  for (const name of ['a', 'b']) by('line-' + name).setAttribute('points', points(name));
  for (let i = 0; i < 9; i++) by('tick-' + i).textContent = 'T+' + (step + i * 10);
  by('reading').textContent = 'Load ' + (50 + 40 * Math.sin(step / 5)).toFixed(2) + ' %';
}
function video(step) {
  const one = by('video'); one.style.display = 'block';
  one.style.backgroundPosition = (-200 - 3 * step) + 'px ' + (-90 - 2 * step) + 'px';
  one.style.filter = 'brightness(' + (1 + 0.1 * Math.sin(step / 4)) + ')';
}
document.addEventListener('click', event => {
  const name = event.target.dataset.menu;
  menu(name);
  if (name) by(name).style.left = event.target.getBoundingClientRect().left + 'px';
});
"""


def sentence(random: Random, count: int) -> str:
    """A sentence of random words with a capital letter and a full stop."""
    words = " ".join(random.choice(WORDS) for _ in range(count))
    return f"{words.capitalize()}."


def html(seed: int = 0) -> str:
    """The page as HTML; the seed determines its words and numbers."""
    random = Random(f"stream {seed}")
    tabs = [_paragraphs(random) + _table(random), _form(random), _chart(random), _table(random)]
    names = [random.choice(WORDS).capitalize() for _ in tabs]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{names[0]}</title>"
        f"<style>{STYLE}</style>"
        f"<header><b>{sentence(random, 2)}</b>{_menus(random)}</header>"
        f"<nav>{''.join(f'<a href=#>{_title(random)}</a>' for _ in range(16))}</nav>"
        f"<main id=main><div class=tabs>{_buttons(names)}</div>"
        + "".join(
            f"<div class='tab{' on' * (not n)}' id=tab-{n}>{body}</div>"
            for n, body in enumerate(tabs)
        )
        + f"</main><div id=video style='background-image: url({_photograph()})'></div>"
        f"{_dialog(random)}<script>{SCRIPT}chart(0);</script></html>"
    )


def _title(random: Random) -> str:
    return " ".join(random.choice(WORDS) for _ in range(2)).capitalize()


def _buttons(names: list[str]) -> str:
    return "".join(
        f"<button class='{'on' * (not n)}' onclick='tab({n})' id=to-{n}>{name}</button>"
        for n, name in enumerate(names)
    )


def _menus(random: Random) -> str:
    names = ("file", "edit", "view", "tools")
    heads = "".join(f"<button data-menu=menu-{name}>{name.capitalize()}</button>" for name in names)
    lists = ""
    for name in names:
        entries = "".join(f"<div>{_title(random)}</div>" for _ in range(random.randint(9, 14)))
        lists += f"<div class=menu id=menu-{name} style='color: #222'>{entries}</div>"
    return heads + lists


def _paragraphs(random: Random) -> str:
    return "".join(
        f"<h3>{_title(random)}</h3><p>{' '.join(sentence(random, 11) for _ in range(5))}</p>"
        for _ in range(5)
    )


def _table(random: Random) -> str:
    head = "".join(f"<th>{random.choice(WORDS).capitalize()}</th>" for _ in range(5))
    rows = ""
    for number in range(ROWS):
        colour = random.choice(("#1f7a3d", "#b3261e", "#8a6d00", "#335577"))
        rows += (
            f"<tr><td>{1000 + number}</td><td>{_title(random)}</td>"
            f"<td>{random.randint(1, 28)}.{random.randint(1, 12)}.2026</td>"
            f"<td style='color: {colour}'>{random.choice(WORDS)}</td>"
            f"<td>{random.randint(10, 99999) / 100:.2f}</td></tr>"
        )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _form(random: Random) -> str:
    fields = "".join(
        f"<label>{_title(random)}<input id=field-{n} autocomplete=off spellcheck=false></label>"
        for n in range(4)
    )
    note = "<label>Note<textarea id=note rows=5 spellcheck=false></textarea></label>"
    return f"<h3>{_title(random)}</h3>{fields}{note}<p>{sentence(random, 20)}</p>"


def _chart(random: Random) -> str:
    lines = "".join(
        f"<line x1=40 x2=760 y1={y} y2={y} stroke='#dddddd'/><text x=5 y={y + 4}>{300 - y}</text>"
        for y in range(40, 300, 40)
    )
    ticks = "".join(f"<text x={40 + 80 * i} y=292 id=tick-{i}></text>" for i in range(9))
    curves = "".join(
        f"<polyline id=line-{name} fill=none stroke='{colour}' stroke-width=2 />"
        for name, colour in (("a", "#c0392b"), ("b", "#2471a3"))
    )
    drawing = f"<svg width=820 height=310 font-size=12>{lines}{ticks}{curves}</svg>"
    return f"<h3>{_title(random)}</h3><p id=reading></p>{drawing}{_paragraphs(random)}"


def _dialog(random: Random) -> str:
    return (
        f"<div class=dialog id=dialog><form onsubmit='return false'><h3>{_title(random)}</h3>"
        f"<p>{sentence(random, 18)}</p><input id=answer autocomplete=off spellcheck=false>"
        "<button type=button onclick='dialog(false)'>Cancel</button> "
        "<button type=button onclick='dialog(false)'>Confirm</button></form></div>"
    )


def _photograph() -> str:
    stream = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((900, 900)).save(stream, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
