"""Names of Python's standard library find their place by the company they keep.

    python examples/word2vec.py            # tells a neighbour from five drawn names 35 % of the time, chance 17 %

Skip-gram with negative sampling: a name's vector is to tell the names around it from ones drawn by chance. The
gradient of the tables is sparse, and SparseAdam touches only the rows a batch names. Source: Mikolov et al.,
Distributed Representations of Words and Phrases and their Compositionality (2013). Writes neighbours.txt.
"""

import re
from collections import Counter

from common import options, source_code, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn

SHOWN = ["self", "for", "True", "int", "append", "len", "ValueError", "lower", "path", "write", "import", "thread"]


def names_of(text, least):
    """(vocabulary, numbers of the text's names in order), names rarer than `least` left out."""
    names = re.findall(r"[A-Za-z_]\w*", text)
    counts = Counter(names)
    vocabulary = [name for name, n in counts.most_common() if n >= least]
    number = {name: i for i, name in enumerate(vocabulary)}
    return vocabulary, fb.tensor([number[name] for name in names if name in number])


class SkipGram(nn.Module):
    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.middle = nn.Embedding(vocabulary, width, sparse=True)
        self.around = nn.Embedding(vocabulary, width, sparse=True)
        nn.init.uniform_(self.middle.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.around.weight)

    def forward(self, middle, around):
        """Logits (N, K) of whether each of `around` (N, K) stood near `middle` (N)."""
        return (self.around(around) @ self.middle(middle)[:, :, None])[:, :, 0]


def batch_of(data, chance, batch, window, negatives):
    """Names, and with each one from its neighbourhood followed by names drawn by chance."""
    at = fb.randint(window, len(data) - window, (batch,))
    away = fb.randint(1, window + 1, (batch,)) * (2 * fb.randint(0, 2, (batch,)) - 1)
    drawn = fb.multinomial(chance, batch * negatives, replacement=True).view(batch, negatives)
    return data[at], fb.cat([data[at + away][:, None], drawn], 1)


def thin(data, counts, often=1e-3):
    """The text with frequent names left out at random, the more so the more frequent."""
    share = counts[data] / counts.sum()
    return data[fb.rand(len(data)) < (often / share).sqrt()]


def main():
    args = start(options(__doc__, "word2vec", steps=5000, batch=1024, window=3, negatives=5, least=20))
    vocabulary, data = names_of(source_code(4_000_000), args.least)
    counts = fb.bincount(data).float()
    chance = counts**0.75
    data = thin(data, counts)
    train, test = data[:-20_000], data[-20_000:]

    model = SkipGram(len(vocabulary))
    optimizer = fb.optim.SparseAdam(list(model.parameters()), lr=5e-3)
    scheduler = fb.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=args.steps)
    truth = fb.zeros(args.batch, 1 + args.negatives)
    truth[:, 0] = 1
    with trange(args.steps, unit=" steps") as bar:
        for _ in bar:
            optimizer.zero_grad()
            logits = model(*batch_of(train, chance, args.batch, args.window, args.negatives))
            loss = F.binary_cross_entropy_with_logits(logits, truth)
            loss.backward()
            optimizer.step()
            scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)

    with fb.no_grad():
        logits = model(*batch_of(test, chance, 10_000, args.window, args.negatives))
        picked = (logits[:, :1] > logits[:, 1:]).all(1).float().mean().item()
        places = F.normalize(model.middle.weight, dim=1)
        shown = [vocabulary.index(name) for name in SHOWN if name in vocabulary]
        nearest = (places[shown] @ places.T).topk(7).indices[:, 1:].tolist()
    lines = [
        f"{vocabulary[i]:>12}: " + ", ".join(vocabulary[j] for j in row) for i, row in zip(shown, nearest, strict=True)
    ]
    (args.out / "neighbours.txt").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    print(f"a true neighbour in unseen text told from {args.negatives} drawn ones {picked:.1%} of the time")


if __name__ == "__main__":
    main()
