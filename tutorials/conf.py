"""The site: these pages and the reference of what is public, by ``python -m sphinx -W tutorials OUT``."""

import importlib
import re
import shutil
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

ADDRESS = ""  # of the checkout's files in public, once there is one; until then the site has a page for each of them

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=\))")
CONTENTS = """
```{{toctree}}
:hidden:
:caption: Chapters

{chapters}
```
```{{toctree}}
:hidden:
:caption: Reference

api
{others}
```
"""

project = "mobilevit_np"
author = "The mobilevit_np authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
root_doc = "README"
exclude_patterns = ["notebooks"]
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
myst_url_schemes = {
    "http": None,
    "https": None,
    "source": {"url": f"{ADDRESS}/{{{{path}}}}" if ADDRESS else "source/{{path}}.html"},
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
copybutton_prompt_text = r">>> |\.\.\. |\.\.\.$"
copybutton_prompt_is_regexp = True
copybutton_copy_empty_lines = False
html_theme = "furo"
html_title = "mobilevit_np"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
pygments_dark_style = "github-dark"
_linked: set[Path] = set()


def _page(app, docname, source):
    """Links to files become ``source:`` ones, pictures have a dark twin, a cell ends where its output does."""
    path = app.env.doc2path(docname)
    text = LINK.sub(lambda match: _target(Path(path).parent, match[1]), source[0])
    text = re.sub(r"^(!\[.*\]\(pictures/\w+)(\.png\))$", r"\1\2{.only-light}\n\1-dark\2{.only-dark}", text, flags=re.M)
    text = re.sub(r"\n\n```$", "\n```", text, flags=re.M)
    if docname == root_doc:
        names = sorted(app.env.found_docs - {root_doc, "api"})
        chapters = [name for name in names if name[0].isdigit()]
        others = [name for name in names if name not in chapters]
        text += CONTENTS.format(chapters="\n".join(chapters), others="\n".join(others))
    source[0] = text


def _target(folder, link):
    path = (folder / link).resolve()
    if path.suffix == ".png" or not path.exists() or (path.suffix == ".md" and path.is_relative_to(HERE)):
        return link
    _linked.add(path)
    return f"source:{path.relative_to(CHECKOUT)}"


def _sources(app):
    """A page for each file that is linked to; a folder's lists its files, which have pages of their own."""
    if ADDRESS:
        return
    inside = {file for path in _linked if path.is_dir() for file in path.iterdir() if file.suffix == ".py"}
    for path in sorted(_linked | inside):
        name = str(path.relative_to(CHECKOUT))
        if path.is_dir():
            files = [each.name for each in sorted(inside) if each.parent == path]
            body = "".join(f'<li><a href="{path.name}/{each}.html">{each}</a></li>' for each in files)
            body = f"<ul>{body}</ul>"
        else:
            body = highlight(path.read_text(encoding="utf-8"), _lexer(path), HtmlFormatter(linenos="inline"))
        yield f"source/{name}", {"title": name, "body": f"<h1>{name}</h1>{body}"}, "page.html"


def _lexer(path):
    try:
        return get_lexer_for_filename(path.name)
    except ClassNotFound:
        return TextLexer()


def _docstring(app, what, name, obj, options, lines):
    """Docstrings are prose with ``code`` in it, where a star is a product, never emphasis; indented blocks are code."""
    written, code, before = [], False, ""
    if what == "data":  # what it says would be its type's; api.rst has a line for it
        lines.clear()
    for line in lines:
        if line.strip():
            starts = line.startswith("    ") and not before
            if starts and not code:
                written += ["::", ""]
            code = starts or (code and line.startswith("    "))
        written.append(line if code else _escaped(line))
        before = line.strip()
    lines[:] = written


def _escaped(line):
    parts = line.split("``")
    parts[::2] = [re.sub(r"([*|`])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
    return "``".join(parts)


def _load(app):
    """Packages import their names when they are first used; autodoc sees only those that are there."""
    reference = (HERE / "api.rst").read_text(encoding="utf-8")
    for name in re.findall(r"automodule:: (\S+)", reference):
        module = importlib.import_module(name)
        vars(module).update({each: getattr(module, each) for each in module.__all__})


def _index(app, exception):
    if exception is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app):
    app.connect("builder-inited", _load)
    app.connect("source-read", _page)
    app.connect("html-collect-pages", _sources)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("build-finished", _index)
