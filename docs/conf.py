"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build``, without network."""

from html import escape
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml

import limbeck

project = "limbeck"
author = "The limbeck developers"
copyright = author
version = release = limbeck.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "results/text"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"limbeck {release}"
html_math_renderer = "mathml"


def _mathml(tex, *, block):
    try:
        return latex2mathml.tex2mathml(tex, as_block=block)
    except Exception:  # what the converter cannot read is shown as it was written
        return f"<code>{escape(tex)}</code>"


def _inline_math(writer, node):
    writer.body.append(_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _block_math(writer, node):
    writer.body.append(
        f'<div style="overflow: auto hidden; padding: 0.4em 0">{_mathml(node.astext(), block=True)}</div>'
    )
    raise nodes.SkipNode


def _list_results(app, docname, source):
    """Add the log and the pages of results to the index, as far as they are there."""
    here = Path(app.srcdir)
    pages = [
        page.relative_to(here).with_suffix("").as_posix()
        for page in sorted(here.glob("results/*.md"))
    ]
    pages += ["log"] if (here / "log.md").is_file() else []
    if docname == "index" and pages:
        source[0] += "\n".join(
            ["", "```{toctree}", ":caption: Results", ":maxdepth: 1", "", *pages, "```", ""]
        )


def setup(app):
    app.connect("source-read", _list_results)
    app.connect("env-get-outdated", lambda *_: ["index"])
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
