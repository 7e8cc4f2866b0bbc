"""A vision transformer reads a digit as sixteen patches of 2x2 pixels.

    python examples/vit.py                 # 98.1 % of the digits it has never seen

Source: Dosovitskiy et al., An Image is Worth 16x16 Words (2020). Writes attention.png: digits, and below each one how
much the class token of the last layer looks at each patch.
"""

from common import digits, grid, options, split, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.utils.data import DataLoader, TensorDataset


class Layer(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x, need_weights=False):
        y = self.norm1(x)
        y, weights = self.attention(y, y, y, need_weights=need_weights)
        x = x + y
        return x + self.mlp(self.norm2(x)), weights


class ViT(nn.Module):
    def __init__(self, width=64, heads=4, layers=4, dropout=0.1, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.class_token = nn.Parameter(fb.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * fb.randn(1, 17, width))
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images, need_weights=False):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = fb.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.places
        for layer in self.layers:
            x, weights = layer(x, need_weights)
        logits = self.head(self.norm(x[:, 0]))
        return (logits, weights) if need_weights else logits


def main():
    args = start(options(__doc__, "vit", epochs=40, batch=64))
    train, (images, labels) = split(*digits())
    loader = DataLoader(TensorDataset(*train), args.batch, shuffle=True)
    model = ViT()
    optimizer = fb.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    scheduler = fb.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.epochs * len(loader), pct_start=0.2)
    with trange(args.epochs, unit=" epochs") as bar:
        for _ in bar:
            for batch, answers in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(batch), answers)
                loss.backward()
                optimizer.step()
                scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)

    model.eval()
    with fb.no_grad():
        logits, weights = model(images, need_weights=True)
    looked_at = weights[:12, 0, 1:].view(-1, 1, 4, 4)
    looked_at = F.interpolate(looked_at / looked_at.amax((2, 3), keepdim=True), scale_factor=2)
    grid(fb.cat([images[:12], looked_at])[:, 0], 12, args.out / "attention.png")
    print(f"accuracy on unseen digits {(logits.argmax(1) == labels).float().mean().item():.2%}")


if __name__ == "__main__":
    main()
