"""A residual network with batch normalisation tells handwritten digits apart.

    python examples/resnet.py              # 99.7 % of the digits it has never seen

Source: He et al., Deep Residual Learning for Image Recognition (2015). Writes learning_curve.png.
"""

from common import digits, options, plots, split, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, channels_in, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.bn2.weight)  # At first each block passes its input on, as Goyal et al. (2017) found best.
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width=16, blocks=2, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages, channels = [], width
        for stage in range(3):
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                stages.append(Block(channels, width << stage, stride))
                channels = width << stage
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.stages(self.stem(x)), 1).flatten(1))


def shifted(images):
    """Each batch moved by up to a pixel, so that no digit is seen twice alike."""
    y, x = fb.randint(0, 3, (2,)).tolist()
    return F.pad(images, (1, 1, 1, 1))[:, :, y : y + 8, x : x + 8]


@fb.no_grad()
def accuracy(model, images, labels):
    model.eval()
    return (model(images).argmax(1) == labels).float().mean().item()


def main():
    args = start(options(__doc__, "resnet", epochs=20, batch=64))
    train, test = split(*digits())
    loader = DataLoader(TensorDataset(*train), args.batch, shuffle=True, drop_last=True)
    model = ResNet()
    optimizer = fb.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = fb.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=args.epochs * len(loader))
    curve = []
    with trange(args.epochs, unit=" epochs") as bar:
        for _ in bar:
            model.train()
            for images, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(shifted(images)), labels)
                loss.backward()
                optimizer.step()
                scheduler.step()
            curve.append(accuracy(model, *test))
            bar.set_postfix(loss=f"{loss.item():.4f}", accuracy=f"{curve[-1]:.2%}", refresh=False)

    figure, axis = plots().subplots(layout="constrained")
    axis.plot(range(1, len(curve) + 1), [100 * a for a in curve])
    axis.set(xlabel="epoch", ylabel="accuracy on unseen digits, %")
    figure.savefig(args.out / "learning_curve.png", dpi=120)
    print(f"accuracy on unseen digits {curve[-1]:.2%}")


if __name__ == "__main__":
    main()
