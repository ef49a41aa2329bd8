"""The chapters as notebooks: Markdown, code without prompts, and the outputs that the chapters show.

    python tests/notebooks.py            writes tutorials/notebooks/*.ipynb (git ignores them)
    python tests/notebooks.py --check    runs each one, too, and says which outputs aren't the chapter's: needs the
                                         extra "docs"; numbers of chapters after it leave out the others

Only the check imports what the extra brings: writing is plain JSON.
"""

from __future__ import annotations

import argparse
import doctest
import json
import re
import sys
from pathlib import Path
from typing import Any

from tutorials import CHAPTERS, MARK, TUTORIALS, desk

FOLDER = TUTORIALS / "notebooks"
INSTALL = """*This is a chapter as a notebook. Install the library once, with `pip install .` in the folder that holds
`tutorials` (the checkout), and Jupyter with `pip install notebook`. Then start Jupyter there.*"""
SET_UP = """# paths begin at the checkout, and results are shown as Python shows them
import os
if not os.path.isdir("tutorials"):
    os.chdir("../..")
%config PlainTextFormatter.pprint = False"""
_BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
_SOLUTION = "<details>\n<summary>Solution</summary>\n"


def notebook(chapter: Path) -> dict[str, Any]:
    """A chapter as the content of an .ipynb, format 4.5."""
    cells = [_markdown(INSTALL), _code(SET_UP, "")]
    solution = False
    for number, part in enumerate(_BLOCK.split(chapter.read_text(encoding="utf-8"))):
        if number % 2:
            cells += [_code(*each, hidden=solution) for each in _steps(part)]
            continue
        solution = part.rfind("<details>") > part.rfind("</details>") if "details>" in part else solution
        text = part.replace(MARK, "").replace(_SOLUTION, "**Solution**\n").replace("</details>", "")
        if text.strip():
            cells.append(_markdown(_LINK.sub(_from_below, text.strip())))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _from_below(match: re.Match[str]) -> str:
    """A link of tutorials/ as it is from the folder below: to another notebook where there is one."""
    link = match[1]
    return link.removesuffix(".md") + ".ipynb" if re.match(r"\d\d-.*\.md$", link) else f"../{link}"


def _steps(block: str) -> list[tuple[str, str]]:
    """A block's code and output: a notebook shows one result for each cell, so a cell ends where a result comes."""
    steps, source = [], ""
    for example in doctest.DocTestParser().get_examples(block):
        source += example.source
        if example.want:
            steps.append((source.rstrip("\n"), re.sub(r"^<BLANKLINE>$", "", example.want, flags=re.MULTILINE)))
            source = ""
    return steps + ([(source.rstrip("\n"), "")] if source else [])


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(source: str, output: str, hidden: bool = False) -> dict[str, Any]:
    raises = output.startswith("Traceback")
    metadata: dict[str, Any] = {"tags": ["raises-exception"]} if raises else {}
    if hidden:
        metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    outputs = []
    if raises:
        name, _, value = output.splitlines()[-1].partition(": ")
        outputs.append({"output_type": "error", "ename": name, "evalue": value, "traceback": output.splitlines()})
    elif output:
        outputs.append({"output_type": "stream", "name": "stdout", "text": output})
    return {
        "cell_type": "code", "execution_count": None, "metadata": metadata, "source": source, "outputs": outputs,
    }  # fmt: skip


def shown(cell: dict[str, Any]) -> str:
    """What a reader sees below a cell; warnings and progress aside."""
    text = ""
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            text += f"{output['ename'].rpartition('.')[2]}: {output['evalue']}\n"
        elif output["output_type"] == "stream":
            text += output["text"] if output["name"] == "stdout" else ""
        else:
            text += output["data"]["text/plain"] + "\n"
    return text


def check(chapter: Path) -> list[str]:
    """The outputs that come when a chapter's notebook is run and aren't the chapter's. Jupyter is needed only here."""
    import nbformat
    from nbclient import NotebookClient

    content = notebook(chapter)
    run = nbformat.from_dict(content)
    nbformat.validate(run)
    with desk() as folder:
        NotebookClient(run, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    pairs = [pair for pair in zip(content["cells"], run.cells, strict=True) if pair[0]["cell_type"] == "code"]
    return [
        f"{chapter.name}\n{mine['source']}\n  stands there: {shown(mine)!r}\n  came: {shown(ran)!r}"
        for mine, ran in pairs
        if shown(mine) != shown(ran)
    ]


def main() -> int:
    """Write all, check those asked for. 1 where an output isn't the chapter's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="NUMBER", help="of the chapters to check (default: all)")
    parser.add_argument("--check", action="store_true", help="run the notebooks, too")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for chapter in CHAPTERS:
        text = json.dumps(notebook(chapter), indent=1, ensure_ascii=False)
        (FOLDER / f"{chapter.stem}.ipynb").write_text(text + "\n", encoding="utf-8")
    if not options.check:
        return 0
    asked = tuple(options.chapters)
    chosen = [chapter for chapter in CHAPTERS if not asked or chapter.name.startswith(asked)]
    found = [difference for chapter in chosen for difference in check(chapter)]
    print(*found, f"{len(chosen)} notebooks run, {len(found)} outputs differ", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
