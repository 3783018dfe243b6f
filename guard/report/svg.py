"""Plots as elements of a page: described, and in the page's own colours, which follow the theme."""

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that nothing else has, to be put for the page's own.
_VARIABLES = {
    "#010203": "var(--ink)",
    "#010204": "var(--quiet)",
    "#010205": "var(--forget)",
    "#010206": "var(--neighbours)",
    "#010207": "var(--everyday)",
    "#010208": "var(--chosen)",
}
COLOURS = {name.removeprefix("var(--").removesuffix(")"): c for c, name in _VARIABLES.items()}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": COLOURS["quiet"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],  # it comes with matplotlib; its name is cut from the result
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "guard",
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["quiet"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.color": COLOURS["quiet"],
    "ytick.labelcolor": COLOURS["ink"],
}


def svg(figure: "Figure", ident: str, title: str, description: str) -> Markup:
    """Returns a figure as an element, with ids of its own.

    Args:
        figure: Drawn under `STYLE`, in `COLOURS`.
        ident: Begins every id in the SVG, so that they differ from those of other plots.
        title: What it is called.
        description: What it shows, for whoever does not see it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    nothing: Mapping[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=dict(nothing))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]+"', text)
    text = text[text.index(">") + 1 :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would style the whole page
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = text.replace("'DejaVu Sans'", "inherit").replace("xlink:href", "href")
    text = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{ident}-", text)
    return Markup(
        f'<svg {box.group() if box else ""} role="img" aria-labelledby="{ident}-title '
        f'{ident}-desc"><title id="{ident}-title">{escape(title)}</title>'
        f'<desc id="{ident}-desc">{escape(description)}</desc>{text}'
    )
