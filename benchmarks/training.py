"""Whole training steps of small models: forward, loss, backward, optimizer."""

from __future__ import annotations

from .case import case


def step_of(fb, model, optimizer, x, y):
    """A function that takes one training step."""
    cross_entropy = fb.nn.functional.cross_entropy

    def step():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp(fb):
    nn = fb.nn
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def lenet(fb):
    """LeCun et al. 1998, with ReLU and max pooling."""
    nn = fb.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def digits_cnn(fb):
    nn = fb.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def images(fb, size: int, batch: int = 64):
    return fb.rand(batch, 1, size, size), fb.randint(0, 10, (batch,))


@case("MLP 784-256-10, batch 64, Adam", reach=0.40, budget=10000)
def train_mlp(fb):
    fb.manual_seed(0)
    model = mlp(fb)
    x, y = fb.rand(64, 784), fb.randint(0, 10, (64,))
    return "step()", {"step": step_of(fb, model, fb.optim.Adam(model.parameters()), x, y)}


@case("LeNet-like CNN, batch 64, Adam", reach=0.60, budget=40000)
def train_lenet(fb):
    fb.manual_seed(0)
    model = lenet(fb)
    return "step()", {"step": step_of(fb, model, fb.optim.Adam(model.parameters()), *images(fb, 28))}


@case("CNN with batch norm on 8×8 digits, batch 64, SGD", budget=40000)
def train_digits(fb):
    fb.manual_seed(0)
    model = digits_cnn(fb)
    optimizer = fb.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return "step()", {"step": step_of(fb, model, optimizer, *images(fb, 8))}


@case("MLP 16-32-2, batch 8, SGD", budget=3000)
def train_tiny(fb):
    fb.manual_seed(0)
    model = fb.nn.Sequential(fb.nn.Linear(16, 32), fb.nn.Tanh(), fb.nn.Linear(32, 2))
    x, y = fb.rand(8, 16), fb.randint(0, 2, (8,))
    return "step()", {"step": step_of(fb, model, fb.optim.SGD(model.parameters(), lr=0.1), x, y)}


def weights_after(fb, make, size: int | None, threads: int, steps: int = 100) -> bytes:
    """All weights of a model, as bytes, after training on `threads` threads."""
    fb.set_num_threads(threads)
    fb.manual_seed(0)
    model = make(fb)
    x, y = images(fb, size) if size else (fb.rand(64, 784), fb.randint(0, 10, (64,)))
    step = step_of(fb, model, fb.optim.Adam(model.parameters()), x, y)
    for _ in range(steps):
        step()
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def same_weights(fb) -> dict[str, bool]:
    """For each model: does training give the same bits at 1, 2, 3, 4 and 8 threads?"""
    before = fb.get_num_threads()
    models = {"MLP 784-256-10": (mlp, None), "LeNet-like CNN": (lenet, 28)}
    same = {name: len({weights_after(fb, *m, n) for n in (1, 2, 3, 4, 8)}) == 1 for name, m in models.items()}
    fb.set_num_threads(before)
    return same


@case("per-sample gradients of the MLP, batch 64: vmap(grad(loss))", reach=1.0)
def per_sample_gradients(fb):
    fb.manual_seed(0)
    model = mlp(fb)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x, y = fb.rand(64, 784), fb.randint(0, 10, (64,))

    def loss(parameters, x, y):
        logits = fb.func.functional_call(model, parameters, (x.unsqueeze(0),))
        return fb.nn.functional.cross_entropy(logits, y.unsqueeze(0))

    gradients = fb.func.vmap(fb.func.grad(loss), in_dims=(None, 0, 0))
    return "gradients(parameters, x, y)", {"gradients": gradients, "parameters": parameters, "x": x, "y": y}
