"""Trains a convolutional network on scikit-learn's 1,797 handwritten digits (8x8 pixels).

    python examples/digits.py                    # 99.7 % of the digits it has never seen
    python examples/digits.py --resume           # goes on after a kill, and ends with the very same weights

Written as for PyTorch: only the imports differ. Writes checkpoint.pt, learning_curve.png and misclassified.png.
"""

import argparse
import gzip
import hashlib
import importlib.util
from array import array
from pathlib import Path

from tqdm import tqdm

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.utils.data import DataLoader, TensorDataset


def load_digits():
    """What sklearn.datasets.load_digits() gives, from the same file; importing scikit-learn would outlast an epoch."""
    folder = Path(importlib.util.find_spec("sklearn").origin).parent
    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        numbers = array("f", map(float, file.read().replace("\n", ",").rstrip(",").split(",")))
    table = fb.frombuffer(numbers, dtype=fb.float32).reshape(-1, 65)
    return table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64].long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(64 * 4 * 4, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(self.dropout(x.flatten(1))))
        return self.fc2(self.dropout(x))


def train_one_epoch(model, loader, optimizer, scheduler, title):
    model.train()
    seen, total_loss, correct = 0, 0.0, 0
    with tqdm(total=len(loader.dataset), desc=title, unit=" samples", unit_scale=True) as bar:
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            seen += len(labels)
            total_loss += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
            bar.set_postfix(loss=f"{total_loss / seen:.4f}", accuracy=f"{correct / seen:.1%}", refresh=False)
            bar.update(len(labels))
    return total_loss / seen, correct / seen


@fb.no_grad()
def evaluate(model, images, labels):
    model.eval()
    logits = model(images)
    return F.cross_entropy(logits, labels).item(), logits.argmax(1)


def hash_of_weights(model):
    digest = hashlib.sha256()
    for name, t in model.state_dict().items():
        digest.update(name.encode() + t.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def draw(history, images, labels, predicted, folder):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = range(1, len(history["train_loss"]) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in ("train", "test"):
        left.plot(epochs, history[f"{name}_loss"], label=name)
        right.plot(epochs, [100 * a for a in history[f"{name}_accuracy"]], label=name)
    left.set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    right.set(xlabel="epoch", ylabel="accuracy, %", ylim=(90, 100.2))
    right.legend()
    figure.savefig(folder / "learning_curve.png", dpi=120)

    wrong = (predicted != labels).nonzero().flatten().tolist()
    figure, axes = plt.subplots(1, max(len(wrong), 1), figsize=(1.3 * max(len(wrong), 2), 1.8), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, i in zip(axes.flat, wrong, strict=False):
        axis.imshow(images[i, 0].tolist(), cmap="gray_r")
        axis.set_title(f"{labels[i].item()}, not {predicted[i].item()}", fontsize=9)
    figure.savefig(folder / "misclassified.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"

    fb.manual_seed(args.seed)
    images, labels = load_digits()
    order = fb.randperm(len(labels))
    test, train = order[:360], order[360:]
    test_images, test_labels = images[test], labels[test]
    loader = DataLoader(TensorDataset(images[train], labels[train]), args.batch_size, shuffle=True)

    model = Net()
    optimizer = fb.optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = fb.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * len(loader))
    history = {"train_loss": [], "train_accuracy": [], "test_loss": [], "test_accuracy": []}
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    first = 0
    if args.resume and checkpoint.exists():
        saved = fb.load(checkpoint)
        for name, part in state.items():
            part.load_state_dict(saved[name])
        fb.set_rng_state(saved["rng"])
        first, history = saved["epoch"], saved["history"]
        print(f"resuming after epoch {first}")

    for epoch in range(first, args.epochs):
        title = f"epoch {epoch + 1:2}/{args.epochs}"
        train_loss, train_accuracy = train_one_epoch(model, loader, optimizer, scheduler, title)
        test_loss, predicted = evaluate(model, test_images, test_labels)
        accuracy = (predicted == test_labels).sum().item() / len(test_labels)
        for name, value in zip(history, (train_loss, train_accuracy, test_loss, accuracy), strict=True):
            history[name].append(value)
        parts = {name: part.state_dict() for name, part in state.items()}
        fb.save({**parts, "rng": fb.get_rng_state(), "epoch": epoch + 1, "history": history}, checkpoint)

    _, predicted = evaluate(model, test_images, test_labels)
    draw(history, test_images, test_labels, predicted, args.out)
    wrong = (predicted != test_labels).sum().item()
    print(f"test accuracy {1 - wrong / len(test_labels):.2%} ({wrong} of {len(test_labels)} wrong)")
    print(f"weights {hash_of_weights(model)}")
    print(f"pictures and checkpoint in {args.out}/")


if __name__ == "__main__":
    main()
