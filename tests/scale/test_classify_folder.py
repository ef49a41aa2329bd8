"""tutorials/classify_folder.py with real workers: the table is the one that a single process makes, whoever worked.

Oracle: ``Classifier.stream`` of the fast engine in this process, one thread, in the same chunks: text, to the letter.
"""

import csv
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster
from PIL import Image

from mobilevit_np import MobileViTError

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIALS = REPOSITORY / "tutorials"
PAGE = TUTORIALS / "13-more-photos-than-one-machine.md"
PHOTOS, CHUNK = 15, 2
BROKEN = 7


def fresh_script():
    """The script as a module. A cluster in this process puts copies of its own in the place of what was imported."""
    sys.modules.pop("classify_folder", None)
    sys.path.insert(0, str(TUTORIALS))
    try:
        return importlib.import_module("classify_folder")
    finally:
        sys.path.remove(str(TUTORIALS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos, the last of them in a folder below; one is broken, and one file is no photo by its name."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    with Image.open(TUTORIALS / "images" / "chelsea.png") as image:
        cat = np.asarray(image.convert("RGB"))
    for i in range(PHOTOS):
        place = folder / "more" if i >= 12 else folder
        Image.fromarray(cat[5 * i :, 7 * i : 7 * i + 200]).save(place / f"{i:02}.jpg")
    (folder / f"{BROKEN:02}.jpg").write_bytes(b"not a photo")
    (folder / "notes.txt").write_text("nor this")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """The table's rows, without the worker."""
    script = fresh_script()
    paths = list(script.photos_in(folder.resolve()))
    assert [Path(path).stem for path in paths] == [f"{i:02}" for i in range(PHOTOS)]
    rows = []
    for start in range(0, PHOTOS, CHUNK):
        for path, answer in script.classifier().stream(paths[start : start + CHUNK], top=1):
            if isinstance(answer, MobileViTError):
                rows.append([path, "", "", str(answer)])
            else:
                rows.append([path, answer.label, f"{answer.predictions[0].probability:.4f}", ""])
    assert [bool(row[3]) for row in rows] == [i == BROKEN for i in range(PHOTOS)]
    return rows


def run_script(folder, out, *arguments):
    """What the script printed, and the table without its head."""
    done = subprocess.run(
        [sys.executable, str(TUTORIALS / "classify_folder.py"), str(folder), "-o", str(out), *map(str, arguments)],
        cwd=out.parent, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open(out, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["photo", "label", "probability", "problem", "worker"]
    return done.stdout, rows


def test_two_workers_make_the_table_of_one_process(folder, expected, tmp_path):
    said, rows = run_script(folder, tmp_path / "answers.csv", "--workers", 2, "--chunk", CHUNK)
    assert [row[:4] for row in rows] == expected
    assert len({row[4] for row in rows}) == 2
    assert said == f"{PHOTOS} photos by 2 workers, 1 of them unreadable: {tmp_path / 'answers.csv'}\n"


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def test_a_cluster_that_runs_already_is_joined(cluster, folder, expected, tmp_path):
    """Its workers have never heard of the script: it's sent to them."""
    _, rows = run_script(folder, tmp_path / "a.csv", "--scheduler", cluster.scheduler_address, "--chunk", CHUNK)
    assert [row[:4] for row in rows] == expected
    with Client(cluster) as client:
        mine = {str(pid) for pid in client.run(os.getpid).values()}
    assert {row[4].rsplit(":", 1)[1] for row in rows} <= mine


def test_nothing_is_lost_with_a_worker_that_dies(cluster, folder, expected):
    """Killed after its first answers: its chunks are computed by the other, or by the one that takes its place."""
    script = fresh_script()
    with Client(cluster) as client:
        workers = {str(pid) for pid in client.run(os.getpid).values()}
        rows = script.run(client, folder.resolve(), None, CHUNK)
        made = [next(rows)]
        killed = made[0][4].rsplit(":", 1)[1]
        assert killed in workers
        os.kill(int(killed), signal.SIGKILL)
        made += rows
    assert [list(row[:4]) for row in made] == expected
    assert {row[4].rsplit(":", 1)[1] for row in made} > {killed}


def test_the_chapter_s_command_runs(tmp_path):
    """As it stands on the page, in an empty folder with a link to ``tutorials``."""
    (tmp_path / "tutorials").symlink_to(TUTORIALS)
    (line,) = re.findall(r"^python (tutorials/classify_folder\.py .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, *shlex.split(line)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"3 photos by (1 worker|2 workers), 0 of them unreadable: answers\.csv\n", done.stdout)
    assert (tmp_path / "answers.csv").read_text(encoding="utf-8").count("\n") == 4
