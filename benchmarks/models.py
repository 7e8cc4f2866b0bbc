"""Models people train: whole steps of ResNet-18, GPT, ViT, an LSTM language model and a VAE; inference of two.

`flops` counts the products as `utils.flop_counter` does, backward passes of attention and recurrent layers included;
convolutions that need fewer by minimal filtering count in full, so their share of the peak can pass 100 %.
"""

from __future__ import annotations

from .case import case
from .training import step_of


def resnet18(fb, classes: int, stem: int):
    """He et al. 2015; `stem` 7 is ImageNet's first layer, 3 that for small images."""
    nn, F = fb.nn, fb.nn.functional

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.a, self.b = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.na, self.nb = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
            self.short = None
            if stride != 1 or i != o:
                self.short = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            y = self.nb(self.b(F.relu(self.na(self.a(x)))))
            return F.relu(y + (x if self.short is None else self.short(x)))

    def stage(i, o, stride):
        return nn.Sequential(Block(i, o, stride), Block(o, o, 1))

    first = [nn.Conv2d(3, 64, stem, 2 if stem == 7 else 1, stem // 2, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    if stem == 7:
        first.append(nn.MaxPool2d(3, 2, 1))
    stages = [stage(64, 64, 1), stage(64, 128, 2), stage(128, 256, 2), stage(256, 512, 2)]
    return nn.Sequential(*first, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def transformer_block(fb, width: int, heads: int, causal: bool):
    nn, F = fb.nn, fb.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (z.view(b, t, heads, c // heads).transpose(1, 2) for z in self.qkv(self.n1(x)).split(c, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
            return x + self.down(F.gelu(self.up(self.n2(x))))

    return Block()


def gpt(fb, layers: int, width: int, heads: int, context: int, vocabulary: int = 256):
    """Radford et al. 2019, in small."""
    nn = fb.nn

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*(transformer_block(fb, width, heads, True) for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, x):
            h = self.tokens(x) + self.places(fb.arange(x.shape[1]))
            return self.head(self.norm(self.blocks(h))).flatten(0, 1)

    return GPT()


def vit(fb, size: int = 32, patch: int = 4, layers: int = 12, width: int = 192, heads: int = 3):
    """ViT-tiny of Dosovitskiy et al. 2020 on small images."""
    nn = fb.nn

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.places = nn.Parameter(fb.zeros(1, (size // patch) ** 2, width))
            self.blocks = nn.Sequential(*(transformer_block(fb, width, heads, False) for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x):
            h = self.patches(x).flatten(2).transpose(1, 2) + self.places
            return self.head(self.norm(self.blocks(h)).mean(1))

    return ViT()


def lstm_model(fb, vocabulary: int = 1000, width: int = 256):
    nn = fb.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.lstm = nn.Embedding(vocabulary, width), nn.LSTM(width, width, 2, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, x):
            return self.head(self.lstm(self.tokens(x))[0]).flatten(0, 1)

    return Model()


def vae_step(fb):
    """Kingma & Welling 2013: 784-400-20-400-784, batch 128, Adam."""
    nn, F = fb.nn, fb.nn.functional
    encode = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decode = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))
    optimizer = fb.optim.Adam([*encode.parameters(), *decode.parameters()], 1e-3)
    x = fb.rand(128, 784)

    def step():
        optimizer.zero_grad()
        mean, log_variance = encode(x).chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * fb.randn_like(mean)
        loss = F.binary_cross_entropy_with_logits(decode(z), x, reduction="sum")
        loss = loss - 0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
        loss.backward()
        optimizer.step()

    return step


def training(fb, model, x, y):
    return "step()", {"step": step_of(fb, model, fb.optim.AdamW(model.parameters()), x, y)}


def tokens(fb, batch: int, length: int, vocabulary: int = 256):
    return fb.randint(0, vocabulary, (batch, length)), fb.randint(0, vocabulary, (batch * length,))


@case("training step: ResNet-18, 3×32×32, batch 32", flops=107e9, reach=0.7)
def train_resnet(fb):
    return training(fb, resnet18(fb, 10, 3), fb.randn(32, 3, 32, 32), fb.randint(0, 10, (32,)))


@case("training step: GPT 4×128, context 128, batch 16", flops=11.9e9, reach=0.7)
def train_gpt_small(fb):
    return training(fb, gpt(fb, 4, 128, 4, 128), *tokens(fb, 16, 128))


@case("training step: GPT 6×384, context 256, batch 4", flops=74.3e9, reach=0.7)
def train_gpt(fb):
    return training(fb, gpt(fb, 6, 384, 6, 256), *tokens(fb, 4, 256))


@case("training step: ViT-tiny, 3×32×32 in patches of 4, batch 16", flops=34.8e9, reach=0.7)
def train_vit(fb):
    return training(fb, vit(fb), fb.randn(16, 3, 32, 32), fb.randint(0, 10, (16,)))


@case("training step: LSTM language model 2×256, length 64, batch 16", flops=8.0e9, reach=0.7)
def train_lstm(fb):
    return training(fb, lstm_model(fb), *tokens(fb, 16, 64, 1000))


@case("training step: VAE 784-400-20, batch 128", flops=0.42e9, reach=0.7)
def train_vae(fb):
    return "step()", {"step": vae_step(fb)}


@case("LSTM 256, length 128, batch 32, forward + backward", flops=10.7e9, reach=0.6)
def lstm(fb):
    layer, x = fb.nn.LSTM(256, 256), fb.randn(128, 32, 256)
    return "layer(x)[0].sum().backward()", {"layer": layer, "x": x}


@case("50 steps of LSTMCell(64, 128) by hand, batch 16, forward + backward", flops=0.42e9, reach=0.3)
def lstm_cell(fb):
    cell, x = fb.nn.LSTMCell(64, 128), fb.randn(50, 16, 64)

    def run():
        h, c = fb.zeros(16, 128), fb.zeros(16, 128)
        for t in range(50):
            h, c = cell(x[t], (h, c))
        h.sum().backward()

    return "run()", {"run": run}


def inference(fb, model, x):
    model.eval()

    def run():
        with fb.inference_mode():
            return model(x)

    return "run()", {"run": run}


@case("inference: ResNet-18, 3×224×224, batch 1", flops=3.63e9, reach=0.75)
def resnet_one(fb):
    return inference(fb, resnet18(fb, 1000, 7), fb.randn(1, 3, 224, 224))


@case("inference: ResNet-18, 3×224×224, batch 16", flops=58.1e9, reach=0.75)
def resnet_many(fb):
    return inference(fb, resnet18(fb, 1000, 7), fb.randn(16, 3, 224, 224))


@case("inference: BERT-like encoder layer, 768 wide, 12 heads, length 128, batch 1", flops=1.86e9, reach=0.75)
def encoder_layer(fb):
    layer = fb.nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True)
    return inference(fb, layer, fb.randn(1, 128, 768))
