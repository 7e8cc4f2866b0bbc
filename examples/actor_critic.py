"""An actor learns to balance a pole on a cart, and a critic to tell how long it will stand.

    python examples/actor_critic.py        # the pole stands all 500 steps it is watched, chance makes it 20

Sixteen carts run side by side; every few steps the advantages of what was done (GAE) push the actor. Sources: Barto,
Sutton & Anderson, Neuronlike adaptive elements that can solve difficult learning control problems (1983), the cart;
Mnih et al., Asynchronous Methods for Deep Reinforcement Learning (2016), the training. Writes rewards.png.
"""

import math

from common import options, plots, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.distributions import Categorical


class CartPole:
    """`count` carts, each with a pole; a push left or right every 0.02 s, until the pole leans by more than 12
    degrees, the cart is 2.4 m off, or 500 pushes were made. A fallen pole is set up anew at once."""

    def __init__(self, count):
        self.state = self.upright(count)
        self.age = fb.zeros(count)

    @staticmethod
    def upright(count):
        return fb.rand(count, 4) * 0.1 - 0.05

    def push(self, action):
        """(observation, whether the pole fell, whether the time was up), after action 0 (left) or 1 (right)."""
        x, v, angle, spin = self.state.unbind(1)
        sine, cosine = angle.sin(), angle.cos()
        force = 20.0 * action - 10.0
        # A cart of 1 kg and a pole of 0.1 kg, 1 m long.
        push = (force + 0.05 * spin**2 * sine) / 1.1
        turning = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        moving = push - 0.05 * turning * cosine / 1.1
        self.state = fb.stack([x + 0.02 * v, v + 0.02 * moving, angle + 0.02 * spin, spin + 0.02 * turning], 1)
        self.age += 1
        fell = (self.state[:, 0].abs() > 2.4) | (self.state[:, 2].abs() > math.radians(12))
        late = (self.age >= 500) & ~fell
        return self.state, fell, late

    def renew(self, over):
        """Sets up the poles of the carts that are over; returns how long those stood."""
        stood = self.age[over].tolist()
        self.state = fb.where(over[:, None], self.upright(len(over)), self.state)
        self.age = fb.where(over, 0.0, self.age)
        return stood


class ActorCritic(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.critic = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, state):
        return Categorical(logits=self.actor(state)), self.critic(state)[..., 0]


def advantages(values, after, over, gamma=0.99, trace=0.95):
    """Generalised advantage estimates, (T, N), of a reward of 1 - gamma a step, so that a pole that never
    falls is worth 1; `after` is 0 where it fell."""
    found, running = [], fb.zeros(values.shape[1])
    for t in reversed(range(len(values))):
        surprise = 1 - gamma + gamma * after[t] - values[t]
        running = surprise + gamma * trace * running * (~over[t])
        found.append(running)
    return fb.stack(found[::-1])


def main():
    args = start(options(__doc__, "actor_critic", updates=6000, carts=16, steps=16))
    carts, model = CartPole(args.carts), ActorCritic()
    optimizer = fb.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = fb.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=args.updates)
    stood = []
    with trange(args.updates, unit=" updates") as bar:
        for _ in bar:
            states, actions, after, over = [], [], [], []
            with fb.no_grad():
                for _ in range(args.steps):
                    states.append(carts.state)
                    actions.append(model(carts.state)[0].sample())
                    state, fell, late = carts.push(actions[-1])
                    after.append(model(state)[1] * (~fell))
                    over.append(fell | late)
                    stood += carts.renew(over[-1])
            policy, values = model(fb.stack(states))
            gain = advantages(values.detach(), after, over)
            critic = F.mse_loss(values, gain + values.detach())
            actor = -(policy.log_prob(fb.stack(actions)) * (gain - gain.mean()) / (gain.std() + 1e-6)).mean()
            optimizer.zero_grad()
            (actor + 0.5 * critic - 0.01 * policy.entropy().mean()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            bar.set_postfix(stood=f"{sum(stood[-50:]) / max(1, len(stood[-50:])):.0f}", refresh=False)

    trial, alive, total = CartPole(32), fb.ones(32, dtype=fb.bool), fb.zeros(32)
    with fb.no_grad():
        for _ in range(500):
            total += alive
            _, fell, _ = trial.push(model(trial.state)[0].logits.argmax(1))
            alive &= ~fell
    figure, axis = plots().subplots(layout="constrained")
    axis.plot(stood, ".", color="0.75", markersize=3)
    axis.plot([sum(stood[max(0, i - 49) : i + 1]) / min(50, i + 1) for i in range(len(stood))])
    axis.set(xlabel="episode", ylabel="steps until the pole fell")
    figure.savefig(args.out / "rewards.png", dpi=120)
    print(f"the pole stands {total.mean().item():.0f} of 500 steps, on average of 32 trials")


if __name__ == "__main__":
    main()
