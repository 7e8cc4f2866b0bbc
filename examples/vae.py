"""A variational autoencoder learns to draw digits from 8 numbers each.

    python examples/vae.py                 # 10.1 nats a digit on unseen ones; drawing them all alike costs 13.6

Source: Kingma & Welling, Auto-Encoding Variational Bayes (2013). Writes samples.png and rebuilt.png.
"""

from common import digits, grid, options, split, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


class VAE(nn.Module):
    def __init__(self, latent=8, hidden=512):
        super().__init__()
        self.latent = latent
        self.encode = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, -1)
        z = mean + (log_variance / 2).exp() * fb.randn_like(mean)
        return self.decode(z), mean, log_variance


def bound(model, x):
    """The negative evidence lower bound, nats an image."""
    logits, mean, log_variance = model(x)
    pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum()
    return (pixels + divergence) / len(x)


def main():
    args = start(options(__doc__, "vae", epochs=600, batch=128))
    (train,), (test,) = split(digits()[0].flatten(1))
    model = VAE()
    optimizer = fb.optim.Adam(model.parameters(), lr=2e-3)
    with trange(args.epochs, unit=" epochs") as bar:
        for _ in bar:
            for batch in train[fb.randperm(len(train))].split(args.batch):
                optimizer.zero_grad()
                loss = bound(model, batch)
                loss.backward()
                optimizer.step()
            bar.set_postfix(loss=f"{loss.item():.2f}", refresh=False)

    # What the pixels' own uncertainty costs can't be learnt away: it is taken off both figures.
    entropy = F.binary_cross_entropy(test, test, reduction="sum").item() / len(test)
    with fb.no_grad():
        reached = bound(model, test).item() - entropy
        average = train.mean(0).clamp(1e-3, 1 - 1e-3).expand_as(test)
        alike = F.binary_cross_entropy(average, test, reduction="sum").item() / len(test) - entropy
        samples = model.decode(fb.randn(48, model.latent)).sigmoid().view(-1, 8, 8)
        rebuilt = model(test[:12])[0].sigmoid()
    grid(samples, 12, args.out / "samples.png")
    grid(fb.cat([test[:12], rebuilt]).view(-1, 8, 8), 12, args.out / "rebuilt.png")
    print(f"bound on unseen digits {reached:.2f} nats above their entropy; all drawn alike {alike:.2f}")


if __name__ == "__main__":
    main()
