"""The one place where text becomes HTML: everything is escaped here."""

import base64
import html
import string
from collections.abc import Mapping, Sequence
from typing import Any


class Markup(str):
    """HTML that is safe to put into a page as it is."""


def escape(value: Any) -> Markup:
    """Escapes text; markup stays as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(str(value)))


def fill(template: str, **values: Any) -> Markup:
    """Fills ``$name`` of a template with values, each escaped."""
    escaped = {name: escape(value) for name, value in values.items()}
    return Markup(string.Template(template).substitute(escaped))


def join(parts: Sequence[Any]) -> Markup:
    """Puts parts one after the other, each escaped."""
    return Markup("\n".join(escape(part) for part in parts))


def picture(data: bytes, what: str, *, kind: str = "png", css: str = "plot") -> Markup:
    """Shows an encoded picture that lies within the page; `what` describes it."""
    source = Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
    template = '<img class="$css" src="$source" alt="$what" loading="lazy">'
    return fill(template, css=css, source=source, what=what)


def table(
    rows: Sequence[Mapping[str, Any]],
    formats: Mapping[str, str] = {},
    *,
    sortable: bool = False,
) -> Markup:
    """A table of rows with the same keys.

    Args:
      rows: key -> value; None is shown as a dash.
      formats: key -> how `format` writes it; as it is by default.
      sortable: whether a click on a column sorts by it.
    """
    if not rows:
        return Markup("<p>Nothing to show.</p>")
    head = join([fill("<th>$name</th>", name=k.replace("_", " ")) for k in rows[0]])
    body = join([fill("<tr>$cells</tr>", cells=_cells(row, formats)) for row in rows])
    kind = "sortable" if sortable else "plain"
    template = (
        '<div class="wide"><table class="$kind"><thead><tr>$head</tr></thead>'
        "<tbody>$body</tbody></table></div>"
    )
    return fill(template, kind=kind, head=head, body=body)


def _cells(row: Mapping[str, Any], formats: Mapping[str, str]) -> Markup:
    return Markup("".join(_cell(v, formats.get(k, "")) for k, v in row.items()))


def _cell(value: Any, form: str) -> Markup:
    if isinstance(value, str):
        return fill('<td class="text">$text</td>', text=value)
    shown = "-" if value is None else format(value, form)
    return fill(
        '<td data-v="$v">$shown</td>', v="" if value is None else value, shown=shown
    )


def section(title: str, *parts: Any, anchor: str = "") -> Markup:
    """A titled part of a page, folded out."""
    template = '<section id="$anchor"><h2>$title</h2>$parts</section>'
    return fill(template, anchor=anchor, title=title, parts=join(parts))


def figure(content: Any, caption: str) -> Markup:
    """A picture with a caption."""
    template = "<figure>$content<figcaption>$caption</figcaption></figure>"
    return fill(template, content=content, caption=caption)


def paragraph(text: str) -> Markup:
    """A paragraph of text."""
    return fill("<p>$text</p>", text=text)


def folded(title: str, *parts: Any) -> Markup:
    """Parts that a click on the title shows."""
    template = "<details><summary>$title</summary>$parts</details>"
    return fill(template, title=title, parts=join(parts))


def page(title: str, body: Any, *, style: str = "", script: str | None = None) -> str:
    """A whole page that needs no other file.

    Args:
      title: of the page.
      body: its content.
      style: more rules of style.
      script: instead of the one that sorts tables.
    """
    return string.Template(_PAGE).substitute(
        title=escape(title),
        body=escape(body),
        style=_STYLE + style,
        script=_SCRIPT if script is None else script,
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>$style</style></head>
<body><main><h1>$title</h1>
$body
</main><script>$script</script></body></html>
"""

_STYLE = """
:root{color-scheme:light;--line:#d9dee3;--faint:#5c6770;--accent:#0072b2}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:#1b1f23;background:#fff}
main{max-width:1080px;margin:0 auto;padding:16px}
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.25rem;margin:1.6em 0 .4em;
border-bottom:2px solid var(--line);padding-bottom:.2em}h3{margin:1em 0 .3em}
p{margin:.4em 0;max-width:46em}.faint,figcaption{color:var(--faint);font-size:.85rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;
font-variant-numeric:tabular-nums}
th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap}th:first-child,td.text{text-align:left}td.text{white-space:normal;
min-width:9em}
th{color:var(--faint);font-weight:600}
table.sortable th{cursor:pointer;color:var(--accent)}
table.sortable th::after{content:" \\2195"}
.plot{width:100%;max-width:640px;height:auto;display:block;margin:.5em 0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));
gap:12px}.gallery figure{margin:0}.gallery img{width:100%;height:auto;display:block}
nav{display:flex;flex-wrap:wrap;gap:.2em 1em;margin:.6em 0}a{color:var(--accent)}
details{margin:.6em 0}summary{cursor:pointer;color:var(--accent)}
pre{overflow-x:auto;background:#f5f7f9;padding:.8em;font-size:.8rem}
"""

_SCRIPT = """
for (const th of document.querySelectorAll("table.sortable th")) {
  th.addEventListener("click", () => {
    const body = th.closest("table").tBodies[0];
    const column = [...th.parentNode.children].indexOf(th);
    const down = th.dataset.down !== "1";
    th.dataset.down = down ? "1" : "0";
    const key = row => {
      const cell = row.children[column];
      return cell.dataset.v === undefined ? cell.textContent
        : cell.dataset.v === "" ? -Infinity : Number(cell.dataset.v);
    };
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      return typeof x === "string" ? x.localeCompare(y) : y - x;
    });
    for (const row of down ? rows : rows.reverse()) body.append(row);
  });
}
"""
