"""A U-Net marks the discs and squares in noisy pictures, each kind in its own class.

    python examples/unet.py                # discs and squares both found with 0.88 of intersection over union

Source: Ronneberger, Fischer & Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation (2015). Writes
masks.png: pictures, what is in them, and what the network found.
"""

from itertools import pairwise

from common import grid, options, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


def pictures(count, size=32, shapes=4):
    """(pictures (N, 1, size, size), classes (N, size, size)): 0 the ground, 1 discs, 2 squares; later ones on top."""
    y, x = fb.meshgrid(fb.arange(size), fb.arange(size), indexing="ij")
    images = 0.3 * fb.rand(count, 1, 1).expand(-1, size, size)
    classes = fb.zeros(count, size, size, dtype=fb.long)
    for _ in range(shapes):
        cx, cy, radius, grey, kind = fb.rand(5, count, 1, 1)
        dx, dy, radius = (x - size * cx).abs(), (y - size * cy).abs(), 2.5 + 4 * radius
        disc = kind < 0.5
        inside = fb.where(disc, dx**2 + dy**2 < radius**2, fb.maximum(dx, dy) < 0.886 * radius)  # Of the same area.
        images = fb.where(inside, 0.4 + 0.6 * grey, images)
        classes = fb.where(inside, fb.where(disc, 1, 2), classes)
    return (images + 0.15 * fb.randn(count, size, size))[:, None], classes


def twice(channels_in, channels):
    layers = []
    for c in (channels_in, channels):
        layers += [nn.Conv2d(c, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, classes=3, width=16, depth=3):
        super().__init__()
        widths = [width << i for i in range(depth + 1)]
        self.first = twice(1, width)
        self.down = nn.ModuleList(twice(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in reversed(widths[:-1]))
        self.join = nn.ModuleList(twice(2 * a, a) for a in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        x = self.first(x)
        passed = []
        for down in self.down:
            passed.append(x)
            x = down(F.max_pool2d(x, 2))
        for up, join in zip(self.up, self.join, strict=True):
            x = join(fb.cat([passed.pop(), up(x)], 1))
        return self.head(x)


def intersection_over_union(found, classes):
    """Of each class: pixels in both over pixels in either."""
    pairs = [(found == c, classes == c) for c in range(3)]
    return [((a & b).sum() / (a | b).sum()).item() for a, b in pairs]


def main():
    args = start(options(__doc__, "unet", steps=800, batch=16))
    test_images, test_classes = pictures(128)
    model = UNet()
    optimizer = fb.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = fb.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=args.steps)
    with trange(args.steps, unit=" steps") as bar:
        for _ in bar:
            images, classes = pictures(args.batch)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), classes)
            loss.backward()
            optimizer.step()
            scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)

    model.eval()
    with fb.no_grad():
        found = fb.cat([model(batch).argmax(1) for batch in test_images.split(32)])
    shown = fb.cat([test_images[:8, 0], test_classes[:8] / 2, found[:8] / 2])
    grid(shown, 8, args.out / "masks.png")
    ground, discs, squares = intersection_over_union(found, test_classes)
    print(f"intersection over union on unseen pictures: ground {ground:.3f}, discs {discs:.3f}, squares {squares:.3f}")


if __name__ == "__main__":
    main()
