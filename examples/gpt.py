"""A small GPT learns to write Python from the source code of Python's standard library, character by character.

    python examples/gpt.py                 # 1.96 nats a character on unseen text, where chance is 4.6

Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019). Writes sample.txt.
"""

from common import options, source_code, start
from tqdm import trange

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary, context, width=128, heads=4, layers=4):
        super().__init__()
        self.context = context
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight
        for name, p in self.named_parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02 / ((2 * layers) ** 0.5 if name.endswith("out.weight") else 1))

    def forward(self, tokens):
        x = self.token(tokens) + self.place(fb.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    @fb.no_grad()
    def write(self, tokens, count, temperature=0.8):
        for _ in range(count):
            logits = self(tokens[:, -self.context :])[:, -1] / temperature
            tokens = fb.cat([tokens, fb.multinomial(logits.softmax(-1), 1)], 1)
        return tokens


def main():
    args = start(options(__doc__, "gpt", steps=900, batch=8, context=64, sample=400))
    text = source_code(1_000_000)
    letters = sorted(set(text))
    number = {c: i for i, c in enumerate(letters)}
    data = fb.tensor([number[c] for c in text])
    train, test = data[:-50_000], data[-50_000:]

    model = GPT(len(letters), args.context)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = fb.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    scheduler = fb.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.steps, pct_start=0.1)

    def loss_on(source, batch):
        at = fb.randint(0, len(source) - args.context - 1, (batch, 1)) + fb.arange(args.context + 1)
        rows = source[at]
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    with trange(args.steps, unit=" steps") as bar:
        for _ in bar:
            optimizer.zero_grad()
            loss = loss_on(train, args.batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)

    model.eval()
    with fb.no_grad():
        held_out = sum(loss_on(test, 32).item() for _ in range(4)) / 4
    tokens = model.write(fb.tensor([[number[c] for c in "def "]]), args.sample)
    sample = "".join(letters[i] for i in tokens[0].tolist())
    (args.out / "sample.txt").write_text(sample)
    print(sample)
    print(f"loss on unseen text {held_out:.3f} nats a character")


if __name__ == "__main__":
    main()
