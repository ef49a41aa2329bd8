"""Chapter 13's script: the photos of a folder, classified by many processes, here or on other machines, into a table.

    python tutorials/classify_folder.py PHOTOS -o answers.csv                   a process for each core
    python tutorials/classify_folder.py PHOTOS -o answers.csv --workers 2
    python tutorials/classify_folder.py PHOTOS -o answers.csv --scheduler tcp://name:8786

Needs Dask: ``pip install "mobilevit-np[scale]"``. What is told to a worker are paths, so every machine must find the
photos at the same place. A photo that can't be read gets a row that says why; no photo stops the others.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mobilevit_np import Classifier, MobileViTError
from mobilevit_np.fast import use_threads

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
COLUMNS = ("photo", "label", "probability", "problem", "worker")
Row = tuple[str, ...]


def photos_in(folder: Path) -> Iterator[str]:
    """The photos in a folder and those below it, one at a time, in the order of their names within each."""
    for above, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(above, name) for name in sorted(names) if Path(name).suffix.lower() in PHOTOS)


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of ``size``; the last may be shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


@functools.cache
def classifier(weights: str | None = None) -> Classifier:
    """This process's classifier: opened when it's first asked for, and kept."""
    use_threads(1)  # the other cores are other workers'
    return Classifier.from_pretrained(weights)


def classify_chunk(paths: Sequence[str], weights: str | None = None) -> list[Row]:
    """A row of the table for each photo: plain text, which travels well."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    rows: list[Row] = []
    for path, answer in classifier(weights).stream(paths, top=1):
        if isinstance(answer, MobileViTError):
            rows.append((path, "", "", str(answer), worker))
        else:
            rows.append((path, answer.label, f"{answer.predictions[0].probability:.4f}", "", worker))
    return rows


def in_order(submit: Callable[..., Any], function: Callable[..., Any], items: Iterable[Any], ahead: int) -> Iterator:
    """The function's results in the items' order, with never more than ``ahead`` of them under way.

    ``submit`` is an executor's, or a Dask client's: it starts a call, and returns what has a ``result()``.
    """
    items = iter(items)
    under_way = deque(submit(function, item) for item in islice(items, ahead))
    while under_way:
        yield under_way.popleft().result()
        under_way.extend(submit(function, item) for item in islice(items, 1))


def run(client: Any, folder: Path, weights: str | None, size: int) -> Iterator[Row]:
    """The rows of all photos, computed by a Dask client's workers."""
    client.upload_file(__file__)  # workers, wherever they are, import this file
    from classify_folder import classify_chunk  # under that name, and not as the script that was started

    work = functools.partial(classify_chunk, weights=weights)
    ahead = 4 * max(1, len(client.nthreads()))
    for rows in in_order(client.submit, work, chunks(photos_in(folder), size), ahead):
        yield from rows


def parse_arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="Classify a folder's photos with many processes.")
    parser.add_argument("folder", type=Path, metavar="PHOTOS")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="CSV")
    parser.add_argument(
        "--weights", metavar="W", help="a checkpoint that every worker finds (default: the shipped one)"
    )
    parser.add_argument("--chunk", type=int, default=64, metavar="N", help="photos in a task (default: %(default)s)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, metavar="N", help="processes on this machine (default: one for each core)"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs already")
    options = parser.parse_args()
    if options.chunk < 1 or (options.workers is not None and options.workers < 1):
        parser.error("--chunk and --workers must be at least 1")
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is no folder")
    return options


def main() -> int:
    """Start workers or join a cluster, and write the table as its rows come."""
    options = parse_arguments()
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print('this needs Dask: pip install "mobilevit-np[scale]"', file=sys.stderr)
        return 2
    cluster = options.scheduler or LocalCluster(
        n_workers=options.workers or os.cpu_count(), threads_per_worker=1, dashboard_address=None
    )
    total, problems, workers = 0, 0, set()
    with Client(cluster) as client, open(options.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in run(client, options.folder.resolve(), options.weights, options.chunk):
            table.writerow(row)
            total, problems = total + 1, problems + bool(row[3])
            workers.add(row[4])
    if not options.scheduler:
        cluster.close()
    by = "1 worker" if len(workers) == 1 else f"{len(workers)} workers"
    print(f"{total} photos by {by}, {problems} of them unreadable: {options.out}")
    return 0 if total and problems < total else 1


if __name__ == "__main__":
    sys.exit(main())
