"""What the examples share: data that is at hand on every machine, and a figure to draw on."""

import argparse
import gzip
import importlib.util
import sysconfig
from array import array
from pathlib import Path

import flambeau as fb


def options(doc, name, **steps):
    """A parser with --seed, --out and one option for each keyword, a whole number."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for option, default in steps.items():
        parser.add_argument("--" + option.replace("_", "-"), type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs") / name)
    return parser


def start(parser):
    """The parsed options, with the seed set and the folder there."""
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    fb.manual_seed(args.seed)
    return args


def digits():
    """(images (1797, 1, 8, 8) in [0, 1], labels): scikit-learn's handwritten digits, from its own file."""
    folder = Path(importlib.util.find_spec("sklearn").origin).parent
    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        numbers = array("f", map(float, file.read().replace("\n", ",").rstrip(",").split(",")))
    table = fb.frombuffer(numbers, dtype=fb.float32).reshape(-1, 65)
    return table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64].long()


def split(*tensors, test=360):
    """Shuffled alike and parted: (train, …), (test, …)."""
    order = fb.randperm(len(tensors[0]))
    return tuple(t[order[test:]] for t in tensors), tuple(t[order[:test]] for t in tensors)


def source_code(characters):
    """That many characters of Python's own standard library; other than plain ASCII left out."""
    found, total = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        found.append("".join(c for c in text if c in "\n\t" or " " <= c <= "~"))
        total += len(found[-1])
        if total >= characters:
            break
    return "".join(found)[:characters]


def plots():
    """matplotlib.pyplot, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def grid(images, columns, path, titles=None):
    """Draws grey images (N, H, W) in rows of `columns`."""
    plt = plots()
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns, rows * (1.25 if titles else 1)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image.tolist(), cmap="gray_r", vmin=0, vmax=1)
        if titles:
            axis.set_title(titles[i], fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
