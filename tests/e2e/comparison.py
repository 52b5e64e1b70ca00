"""Random variants of something, compared with what another program does: now, or once, in a recording."""
import argparse
import gzip
import json
import pathlib
import tempfile

from pharos import Checks


def read_recording(path):
    return json.loads(gzip.decompress(path.read_bytes()))


def write_recording(path, recorded):
    """Writes the same bytes for the same content."""
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(recorded, ensure_ascii=False).encode())


def run(doc, name, variants, arguments, record, beside_recording, beside_peer):
    """The command line of a script that compares: by default `variants` variants, with more `arguments` (a name and what argparse takes of it).

    `record` takes a folder and the options. The others are pairs of a title, in which `{}` is the number of variants, and a check: the one beside the
    recording takes a folder, the one beside the peer the options as well.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=variants)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", help="indexes of variants, separated by commas")
    for flag, taken in arguments.items():
        parser.add_argument(flag, **taken)
    parser.add_argument("--record", action="store_true", help="only keep what Prometheus does")
    parser.add_argument("--recorded", action="store_true", help="compare with what was kept")
    options = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix=f"pharos-{name}-") as folder:
        folder = pathlib.Path(folder)
        if options.record:
            return record(folder, options)
        if options.recorded:
            title, check = beside_recording
            checks.run(title, check, folder)
        else:
            title, check = beside_peer
            checks.run(title.format(options.variants), check, folder, options)
    checks.finish()
