"""Write the pets' photos of one split as files, for commands that take a folder of photos.

    python unpack.py validation photos/
    mobilevit-np weights quantize pets-xx-small pets-int8/ --photos photos/

The test photos are there to be opened once, when nothing is left to choose.
"""

import argparse
import tarfile
from pathlib import Path

import data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", choices=[split for split, _ in data.SPLITS])
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder; made where it's missing")
    data.add_folders(parser)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    count = 0
    with tarfile.open(options.data / "pets.tar") as archive:
        for member in archive:
            path = Path(member.name)
            if member.isfile() and path.parts[0] == "images" and data.split_of(path.stem) == options.split:
                (options.out / path.name).write_bytes(archive.extractfile(member).read())
                count += 1
    print(f"{count} photos in {options.out}")


if __name__ == "__main__":
    main()
