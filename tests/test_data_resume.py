"""A training program that is killed at random moments and started again ends with the same weights, bit for bit.

`FLAMBEAU_KILLS` says how many times (20 by hand; a few here).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

KILLS = int(os.environ.get("FLAMBEAU_KILLS", "4"))

PROGRAM = """
    import os, sys
    import flambeau as fb
    from flambeau.nn import functional as F
    from flambeau.utils.data import DataLoader, Dataset

    class Augmented(Dataset):
        def __init__(self):
            self.x = fb.rand(300, 12, generator=fb.Generator().manual_seed(1))

        def __len__(self):
            return 300

        def __getitem__(self, i):
            return self.x[i] + 0.1 * fb.randn(12), i % 3

    if __name__ == "__main__":
        path, workers, context = sys.argv[1], int(sys.argv[2]), sys.argv[3]
        fb.manual_seed(5)
        model = fb.nn.Sequential(fb.nn.Linear(12, 16), fb.nn.ReLU(), fb.nn.Dropout(0.2), fb.nn.Linear(16, 3))
        optimizer = fb.optim.Adam(model.parameters(), lr=0.01)
        loader = DataLoader(
            Augmented(), 8, shuffle=True, num_workers=workers, multiprocessing_context=context if workers else None
        )
        if os.path.exists(path):
            state = fb.load(path)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            loader.load_state_dict(state["loader"])
            fb.set_rng_state(state["random"])
        print("begins", flush=True)
        while loader.state_dict()["epoch"] < 4:
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                state = {
                    "model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict(),
                    "random": fb.get_rng_state(),
                }
                fb.save(state, path + ".new")
                os.replace(path + ".new", path)
        print(b"".join(p.detach().numpy().tobytes() for p in model.parameters()).hex())
"""

# Each start takes the next: the number and kind of workers is nothing that the weights depend on.
WORKERS = [(2, "thread"), (0, ""), (2, "forkserver"), (1, "spawn"), (3, "thread"), (1, "forkserver")]


def test_killed_and_resumed_training_ends_with_the_same_weights(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(PROGRAM))

    def start(path, workers, context):
        command = [sys.executable, str(tmp_path / "train.py"), str(path), str(workers), context]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    begin = time.monotonic()
    with start(tmp_path / "whole", 0, "") as process:
        assert process.stdout.readline() == "begins\n"
        training = time.monotonic()
        expected = process.stdout.readline()
    assert process.returncode == 0 and len(expected) > 100
    span = time.monotonic() - training
    print(f"start {training - begin:.2f} s, training {span:.2f} s")

    chance = random.Random(KILLS)
    killed = runs = 0
    while killed < KILLS:
        path = tmp_path / f"broken{runs}"  # once a training is through, the next one begins
        finished = None
        while finished is None:
            with start(path, *WORKERS[(killed + runs) % len(WORKERS)]) as process:
                assert process.stdout.readline() == "begins\n"
                if killed < KILLS:
                    time.sleep(chance.uniform(0, span))
                    process.send_signal(signal.SIGKILL)
                output = process.stdout.read()
            if process.returncode == -signal.SIGKILL:
                killed += 1
            else:
                assert process.returncode == 0
                finished = output
        assert finished == expected
        runs += 1
