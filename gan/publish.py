"""A model on the Hub: a run or any model that can be opened, with its card, as one commit.

What is published is a model folder: `gan.cards` makes one of a run and measures it,
`gan.converting` one of any other model; a folder with a card goes up as it is. Only files that
belong to a model are sent, and only to a repository that is new, empty or holds such a model.
Back it comes by `gan.from_pretrained`, byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.loading import hub_client, named_folder
from gan.loading.hub_names import HubName

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = (
    *("model.safetensors", "config.json", "README.md", "discriminator.safetensors"),
    *("evaluation.json", "samples.png", "neighbours.png", "curve.svg"),
)
CURVE = "curve.svg"  # of a run that was measured on the way
_CARD = "README.md"
_NEEDED = ("model.safetensors", "config.json", _CARD)
ALONGSIDE = (".gitattributes", "run/", "source.zip")  # the Hub's own; those of a job (`gan.jobs`)

Tell = Callable[[str, int, int], None]  # "checking", "measuring", "uploading"; bytes sent, in all


@dataclass(frozen=True)
class Published:
    """Where it is: the repository, its address, the commit that was made."""

    repo: str
    url: str
    commit: str


def publish(
    source: str | Path,
    repo: str,
    *,
    private: bool = False,
    samples: int = 1000,
    token: str | None = None,
    tell: Tell = lambda _step, _sent, _total: None,
) -> Published:
    """Pushes a run or a model as `repo` ("owner/name"), made where it isn't there yet.

    `source` is a run directory (its best model, with a card that is measured on `samples`
    pictures), a model folder with a card, or whatever else `load_generator` opens. Needs a token
    that may write: the one given, or this machine's (`hf auth login` or HF_TOKEN). `tell` hears
    how far it is. Blocks; raises LabError. What is cut short leaves no half model behind, because
    the files become visible with one commit.
    """
    name = repo_name(repo)
    token = token or hub_client.own_token()
    if not token:
        raise LabError("publish_token")
    tell("checking", 0, 0)
    with hub_client.understood(name, writing=True):
        api = hub_client.client(token)
        url = api.create_repo(repo, private=private, exist_ok=True)
        check_place(api, repo, private)
    tell("measuring", 0, 0)
    with _folder(source, samples, name.repo) as folder, hub_client.understood(name, writing=True):
        return Published(repo, str(url), _upload(api, repo, folder, tell))


def on_the_hub(card: str, repo: str) -> str:
    """A folder's card, its lines of use as they work for whoever reads it on the Hub."""
    loading = rf'gan.from_pretrained("{repo}")'
    card = re.sub(r'gan\.load_generator\("[^"\n]*"\)[^\n]*', loading, card)
    return re.sub(r"(python -m gan \w+ --model) [^ \n]+", rf"\1 {repo}", card)


def repo_name(repo: str) -> HubName:
    """ "owner/name" and nothing more; LabError for anything else."""
    name = HubName.parse(repo)
    if name.repo != repo:
        raise LabError("publish_name", value=repo)
    return name


def outlook(run: Path) -> dict[str, Any]:
    """What publishing a run would send: {"files": [{"name", "bytes"}], "licence", "dataset"}.

    Bytes are what a file has at most: weights are halved where that can't be seen. None is what
    is made only then. LabError for a run that has saved no model.
    """
    for folder in (run / "model", run / "latest"):
        if all((folder / name).is_file() for name in ("model.safetensors", "config.json")):
            sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            names = FILES if _evaluations(run) > 1 else [each for each in FILES if each != CURVE]
            return {
                "files": [{"name": name, "bytes": sizes.get(name)} for name in names],
                "licence": config.get("licence") or "",
                "dataset": config.get("dataset") or "",
            }
    raise LabError("run_without_model", path=run.name)


def _evaluations(run: Path) -> int:
    """How often a run was measured on the way."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        return sum(bool(json.loads(line).get("quality")) for line in lines)
    except (OSError, ValueError):
        return 0


def check_place(api: HfApi, repo: str, private: bool) -> None:
    """LabError where something else lies there, or where everybody would see what should be
    private. A made repository has the visibility asked for; one that was there keeps its own."""
    about = api.model_info(repo)
    names = {each.rfilename for each in about.siblings or []}
    others = sorted(each for each in names - {*FILES} if not each.startswith(ALONGSIDE))
    if names & {"model.safetensors", "config.json"} and not _is_ours(api, repo, names):
        others = sorted(names & {*FILES}) + others
    if others:
        raise LabError("publish_taken", repo=repo, files=", ".join(others[:5]))
    if private and not about.private:
        raise LabError("publish_public", repo=repo)


def _is_ours(api: HfApi, repo: str, names: set[str]) -> bool:
    """Whether a repository's config.json is one that we write."""
    if "config.json" not in names:
        return False
    try:
        path = api.hf_hub_download(repo, "config.json")
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(stored, dict) and {"format", "family"} <= stored.keys()


def _upload(api: HfApi, repo: str, folder: Path, tell: Tell) -> str:
    """Sends the files, large ones one by one, then makes them one commit; → its id."""
    from huggingface_hub import CommitOperationAdd

    paths = [folder / name for name in FILES if (folder / name).is_file()]
    sizes = [path.stat().st_size for path in paths]
    card = on_the_hub((folder / _CARD).read_text(encoding="utf-8"), repo).encode()
    adds = [CommitOperationAdd(path.name, card if path.name == _CARD else path) for path in paths]
    for i, add in enumerate(adds):
        tell("uploading", sum(sizes[:i]), sum(sizes))
        api.preupload_lfs_files(repo, [add])
    done = api.create_commit(repo, adds, commit_message="A generator, with its card")
    tell("uploading", sum(sizes), sum(sizes))
    return done.oid


@contextlib.contextmanager
def _folder(source: str | Path, samples: int, repo: str) -> Iterator[Path]:
    """The model folder to send; a made one is deleted afterwards."""
    path = named_folder(str(source)) or Path(source)
    if path.is_dir() and all((path / name).is_file() for name in _NEEDED):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="latent-lab-") as place:
        made = Path(place) / repo.partition("/")[2]
        if (path / "checkpoints").is_dir() or (path / "metrics.jsonl").is_file():
            from gan.cards import write_model_folder

            yield write_model_folder(path, made, samples=samples)
        else:
            from gan.converting import convert

            yield convert(path, made)
