"""A siamese network places digits so that equal ones lie close together, and finds a digit's likes among unseen ones.

    python examples/siamese.py             # 99.5 % of a digit's five nearest are the same digit

Both digits of a pair go through the same network; the contrastive loss pulls equal ones together and pushes others
a margin apart. Source: Hadsell, Chopra & LeCun, Dimensionality Reduction by Learning an Invariant Mapping (2006).
Writes neighbours.png: in each column a digit, and below it the three nearest ones.
"""

from common import digits, grid, options, split, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


class Encoder(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, width),
        )  # fmt: skip

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


def contrastive_loss(a, b, same, margin=1.0):
    distance = F.pairwise_distance(a, b)
    return fb.where(same, distance, (margin - distance).clamp(min=0)).square().mean()


def pairs(images, labels, count):
    """Two batches of `count` digits, half of them equal in pairs."""
    first = fb.randint(0, len(labels), (count,))
    equal = (labels[first][:, None] == labels).float()
    wanted = (fb.arange(count) % 2 == 0)[:, None]
    second = fb.multinomial(fb.where(wanted, equal, 1 - equal), 1)[:, 0]
    return images[first], images[second], wanted[:, 0]


@fb.no_grad()
def neighbours(model, images, count):
    """For each image the `count` others nearest to it."""
    placed = model(images)
    return (fb.cdist(placed, placed) + 10 * fb.eye(len(images))).topk(count, largest=False).indices


def main():
    args = start(options(__doc__, "siamese", steps=1500, batch=128))
    (images, labels), (test_images, test_labels) = split(*digits())
    model = Encoder()
    optimizer = fb.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = fb.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    with trange(args.steps, unit=" steps") as bar:
        for _ in bar:
            a, b, same = pairs(images, labels, args.batch)
            optimizer.zero_grad()
            loss = contrastive_loss(model(a), model(b), same)
            loss.backward()
            optimizer.step()
            scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)

    model.eval()
    nearest = neighbours(model, test_images, 5)
    right = (test_labels[nearest] == test_labels[:, None]).float()
    shown = fb.cat([fb.arange(12)[:, None], nearest[:12, :3]], 1).T.flatten()
    grid(test_images[shown, 0], 12, args.out / "neighbours.png", [str(d) for d in test_labels[shown].tolist()])
    print(f"of unseen digits' five nearest, {right.mean().item():.2%} are the same digit")


if __name__ == "__main__":
    main()
