"""A graph network learns which community each person belongs to from who knows whom and ten known members of each.

    python examples/gnn.py                 # all 1,970 others placed right; without the edges 90 %

Source: Kipf & Welling, Semi-Supervised Classification with Graph Convolutional Networks (2016); the graph is a
stochastic block model. The adjacency is a sparse tensor. Writes graph.png: the people where the last layer puts them.
"""

from common import options, plots, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


def communities(people, groups, inside=0.02, across=0.002):
    """(edges (2, E) both ways, group of each person): people of one group know each other more often."""
    group = fb.arange(people) % groups
    chance = fb.where(group[:, None] == group, inside, across)
    known = fb.bernoulli(chance).triu(diagonal=1)
    edges = known.nonzero().T
    return fb.cat([edges, edges.flip(0)], 1), group


def normalised(edges, people):
    """D^-1/2 (A + I) D^-1/2, sparse."""
    itself = fb.arange(people).expand(2, -1)
    edges = fb.cat([edges, itself], 1)
    degree = fb.zeros(people).index_add(0, edges[0], fb.ones(edges.shape[1]))
    values = (degree[edges[0]] * degree[edges[1]]).rsqrt()
    return fb.sparse_coo_tensor(edges, values, (people, people)).coalesce()


class GraphConvolution(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.weight = nn.Parameter(fb.empty(channels_in, channels))
        self.bias = nn.Parameter(fb.zeros(channels))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adjacency):
        return fb.sparse.mm(adjacency, x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, channels_in, groups, hidden=32):
        super().__init__()
        self.first = GraphConvolution(channels_in, hidden)
        self.second = GraphConvolution(hidden, groups)

    def forward(self, x, adjacency):
        x = F.dropout(F.relu(self.first(x, adjacency)), 0.5, self.training)
        return self.second(x, adjacency)


def learn(features, adjacency, group, known, steps):
    """The logits of everybody, after training on those known."""
    model = GCN(features.shape[1], int(group.max()) + 1)
    optimizer = fb.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-3)
    with trange(steps, unit=" steps") as bar:
        for _ in bar:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(features, adjacency)[known], group[known])
            loss.backward()
            optimizer.step()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    model.eval()
    with fb.no_grad():
        return model(features, adjacency)


def draw(logits, group, known, path):
    places = logits - logits.mean(0)
    places = places @ fb.linalg.svd(places, full_matrices=False).Vh[:2].T
    figure, axis = plots().subplots(figsize=(6, 6), layout="constrained")
    axis.scatter(*places.T.tolist(), c=group.tolist(), cmap="tab10", s=6)
    axis.scatter(*places[known].T.tolist(), c=group[known].tolist(), cmap="tab10", s=60, edgecolors="black")
    axis.set_axis_off()
    figure.savefig(path, dpi=100)


def main():
    args = start(options(__doc__, "gnn", steps=300, people=2000, groups=3, known=10))
    edges, group = communities(args.people, args.groups)
    adjacency = normalised(edges, args.people)
    # What is known of a person only hints at the group.
    features = fb.randn(args.people, 32) + 0.5 * fb.randn(args.groups, 32)[group]
    known = fb.arange(args.people) < args.known * args.groups

    logits = learn(features, adjacency, group, known, args.steps)
    nobody = fb.zeros(2, 0, dtype=fb.long)
    alone = learn(features, normalised(nobody, args.people), group, known, args.steps)
    right, right_alone = ((found.argmax(1) == group)[~known].float().mean().item() for found in (logits, alone))
    draw(logits, group, known, args.out / "graph.png")
    print(f"of the people not known {right:.2%} placed right; without the edges {right_alone:.2%}")


if __name__ == "__main__":
    main()
