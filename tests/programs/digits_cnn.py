"""A small convolutional network on shapes drawn here: argparse, loaders, a schedule, mixed precision, a checkpoint."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset


class Bars(Dataset):
    def __len__(self):
        return 128

    def __getitem__(self, i):
        image = 0.3 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(i))
        if i % 2:
            image[:, i // 2 % 8] += 1
        else:
            image[:, :, i // 2 % 8] += 1
        return image, i % 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 16, 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn(self.conv1(x))), 2)
        return self.fc(torch.flatten(x, 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.05)
    args = parser.parse_args()
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net().to(device)
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    scaler = torch.cuda.amp.GradScaler(enabled=torch.cuda.is_available())
    for _ in range(args.epochs):
        total = 0.0
        for data, target in DataLoader(Bars(), batch_size=16, shuffle=True):
            optimizer.zero_grad()
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16):
                loss = F.cross_entropy(model(data.to(device)), target.to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
        scheduler.step()
        print("loss", total)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
    again = torch.load("checkpoint.pt", map_location=device)
    model.load_state_dict(again["model"])
    optimizer.load_state_dict(again["optimizer"])


if __name__ == "__main__":
    main()
