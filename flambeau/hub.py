"""`torch.hub`: weights from the network into a cache folder, read without executing anything. Imports serialization.

Loading a model's code from a repository isn't offered.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from typing import Any, NoReturn
from urllib.parse import urlparse

from .serialization import load as load_file
from .serialization.atomic import replace

chosen: str | None = None


def get_dir() -> str:
    """The cache folder: set_dir's, else $TORCH_HOME/hub, else ~/.cache/torch/hub."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return chosen or os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike) -> None:
    """Sets the cache folder."""
    global chosen
    chosen = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Downloads into a file, whole or not at all; RuntimeError if its SHA-256 doesn't begin with hash_prefix."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "flambeau.hub"})) as response:
        data = response.read()
    digest = hashlib.sha256(data).hexdigest()
    if hash_prefix is not None and not digest.startswith(hash_prefix):
        raise RuntimeError(f"hub: {url} has the hash {digest}, expected one that begins with {hash_prefix!r}")
    replace(dst, [data])


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """The checkpoint behind a URL, downloaded once."""
    folder = model_dir or os.path.join(get_dir(), "checkpoints")
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        prefix = re.search(r"-([a-f0-9]*)\.", name) if check_hash else None
        download_url_to_file(url, path, prefix and prefix.group(1))
    return load_file(path, map_location, weights_only=weights_only)


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError: code from a repository isn't fetched and run."""
    raise NotImplementedError(
        f"hub.load: code of {repo_or_dir!r} isn't fetched and run; clone it, import its model and load its weights "
        "with torch.hub.load_state_dict_from_url"
    )


__all__ = ["download_url_to_file", "get_dir", "load", "load_state_dict_from_url", "set_dir"]
