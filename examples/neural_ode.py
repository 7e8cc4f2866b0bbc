"""A network learns the vector field that drives a spiral, from short glimpses of its path.

    python examples/neural_ode.py          # keeps within 0.09 of the true path for five turns

The field is integrated with Runge and Kutta's method of fourth order, and the gradient runs back through every step.
Source: Chen et al., Neural Ordinary Differential Equations (2018). Writes spiral.png.
"""

from common import options, plots, start
from tqdm import trange

import flambeau as fb
from flambeau import nn


def rk4(field, y, times):
    """The path (T, …) from y at times[0] through the other times."""
    path = [y]
    for h in times.diff():
        k1 = field(y)
        k2 = field(y + h / 2 * k1)
        k3 = field(y + h / 2 * k2)
        k4 = field(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(y)
    return fb.stack(path)


def spiral(y):
    """The true field: turning in the cube of the place, slowly falling in."""
    return y**3 @ fb.tensor([[-0.1, 2.0], [-2.0, -0.1]])


class Field(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        for m in self.net:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=0.5)
                nn.init.zeros_(m.bias)

    def forward(self, y):
        return self.net(y**3)


def main():
    args = start(options(__doc__, "neural_ode", steps=2000, batch=32, glimpse=20))
    times = fb.linspace(0, 25, 1001)
    with fb.no_grad():
        true = rk4(spiral, fb.tensor([[2.0, 0.0]]), times)

    model = Field()
    optimizer = fb.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = fb.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    with trange(args.steps, unit=" steps") as bar:
        for _ in bar:
            at = fb.randint(0, len(times) - args.glimpse, (args.batch,))
            seen = true[fb.arange(args.glimpse)[:, None] + at, 0]
            optimizer.zero_grad()
            loss = (rk4(model, seen[0], times[: args.glimpse]) - seen).abs().mean()
            loss.backward()
            optimizer.step()
            scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.5f}", refresh=False)

    with fb.no_grad():
        learnt = rk4(model, true[0], times)
        near = fb.cartesian_prod(fb.linspace(-2.2, 2.2, 21), fb.linspace(-2.2, 2.2, 21))
        arrows = nn.functional.normalize(model(near), dim=1)
    distance = (learnt - true).norm(dim=-1).mean().item()
    figure, axis = plots().subplots(figsize=(6, 6), layout="constrained")
    axis.quiver(*near.T.tolist(), *arrows.T.tolist(), color="0.7")
    axis.plot(*true[:, 0].T.tolist(), label="true")
    axis.plot(*learnt[:, 0].T.tolist(), "--", label="learnt")
    axis.legend()
    figure.savefig(args.out / "spiral.png", dpi=100)
    print(f"the learnt path of {len(times) - 1} steps keeps within {distance:.3f} of the true one, on average")


if __name__ == "__main__":
    main()
