"""Which files of a dataset's repository hold the rows of a split.

After what the hub documents of datasets without a configuration of their own ("Structure your repository",
"File names and splits"): names with a number of many first, then names of files, then names of folders; and
where no name tells of a split, all is `train`.
"""

import os
import re
from collections.abc import Collection

from .failures import Failure
from .frames import FORMATS

ALSO = {
    "validation": ("valid", "val", "dev"),
    "train": ("training",),
    "test": ("testing", "eval", "evaluation"),
}
"""Other words for the same split."""
SHARD = re.compile(r"(?:^|/)([\w.-]*?)-\d{5}-of-\d{5}[^/]*$")
SOME = 5
"""Names that a message holds."""


def chosen(names: Collection[str], dataset: str, split: str) -> list[str]:
    """The files, in the order in which they are read. Raises Failure."""
    for ending in FORMATS:
        tables = sorted(name for name in names if name.endswith(ending) and not name.startswith("."))
        tables = [name for name in tables if not _is_about(name)]
        found = _of_split(tables, split)
        if found:
            _check_one_configuration(found, dataset, split)
            return found
    there = sorted({match[1] for match in map(SHARD.search, names) if match})
    if any(name.endswith(FORMATS) and not _is_about(name) for name in names):
        words = f"{dataset} has no split {split}" + (f", but {', '.join(there[:SOME])}" if there else "")
        raise Failure("DatasetNotFound", f"{words}. Correct spec.dataset.huggingFace.split.")
    raise Failure(
        "DatasetInvalid",
        f"{dataset} holds no file of the formats parquet, jsonl, json and csv. Take another dataset, or give "
        "its rows as a file.",
    )


def _is_about(name: str) -> bool:
    """Whether a file is about the dataset, and no part of it."""
    return os.path.basename(name) in {"dataset_infos.json", "dataset_info.json", "state.json", "config.json"}


def _of_split(names: list[str], split: str) -> list[str]:
    shards = {name: match[1] for name in names if (match := SHARD.search(name))}
    if shards:
        return [name for name, of in shards.items() if of == split]
    words = (split, *ALSO.get(split, ()))
    pattern = re.compile(rf"(?:^|[-._ 0-9])(?:{'|'.join(map(re.escape, words))})(?:[-._ 0-9]|$)")
    for part in (os.path.basename, os.path.dirname):
        found = [name for name in names if pattern.search(part(name).replace("/", " "))]
        if found:
            return found
    told = any(re.search(r"(?:^|[-._ 0-9/])(train|valid|val|dev|test|eval)", name) for name in names)
    return names if split == "train" and not told else []


def _check_one_configuration(names: list[str], dataset: str, split: str) -> None:
    """Several folders with the same split are several datasets, and which is meant nobody has said."""
    folders = sorted({os.path.dirname(name) for name in names})
    parents = sorted({folder.split("/")[0] for folder in folders})
    if len(folders) > 1 and len(parents) > 1:
        raise Failure(
            "DatasetInvalid",
            f"{dataset} holds the split {split} in several folders ({', '.join(folders[:SOME])}), each of "
            "another kind. Give the rows of one of them as a file.",
        )
