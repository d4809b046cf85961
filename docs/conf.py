"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build``, without network."""

from html import escape

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
exclude_patterns = ["_build", "results/introductions"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"limbeck {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["limbeck.css"]


def _mathml(tex, *, block):
    try:
        return latex2mathml.tex2mathml(tex, as_block=block)
    except Exception:  # show what the converter cannot read as it was written
        return f"<code>{escape(tex)}</code>"


def _inline_math(writer, node):
    writer.body.append(_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _block_math(writer, node):
    formula = _mathml(node.astext(), block=True)
    writer.body.append(f'<div style="overflow: auto hidden; padding: 0.4em 0">{formula}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
