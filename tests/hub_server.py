"""A Hub on this machine, for the real client over real HTTP: repositories, commits, redirects,
ranges, etags, uploads by LFS (no xet), and every fault that a download can meet.

    with HubServer() as hub:
        hub.commit("owner/name", {"model.safetensors": content, "README.md": b"…"})
        hub.commit("datasets/owner/name", {"data/train.parquet": content})
        client = HfApi(endpoint=hub.url)
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".pkl", ".bin", ".pt", ".pth", ".parquet", ".zip")  # stored with LFS
USER, TOKEN = "someone", "hf_secret"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """Commits from the oldest to the newest, each (id, path → content)."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    licence: str | None = None
    private: bool = False
    gated: bool = False
    library: str | None = None

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1] if self.commits else None
        return next((each for each in self.commits if each[0] == revision), None)


@dataclass
class Fault:
    """What goes wrong with the content of a file. `times`: how often."""

    cut_after: int | None = None  # bytes of one answer, then the line is cut
    status: int | None = None
    content: bytes | None = None  # sent in place of the file's own
    honest_size: bool = True  # whether the announced size and hash are those of the real file
    ignores_range: bool = False
    held: threading.Event | None = None  # nothing comes before it is set
    times: int = 1_000_000


class HubServer:
    """Serves until the `with` block ends. `requests` lists (method, path, headers)."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: dict[str, Fault] = {}  # by file name
        self.api_faults: dict[str, Fault] = {}  # by repository
        self.write_status: int | None = None  # what every write is answered, where it isn't let in
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploads: dict[str, bytes] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}"  # another host, as the Hub's storage is

    def commit(
        self,
        name: str,
        files: dict[str, bytes],
        *,
        licence: str | None = None,
        private: bool = False,
        gated: bool = False,
        library: str | None = None,
    ) -> str:
        """Adds a commit with exactly these files; returns its id."""
        repo = self.repos.setdefault(name, Repo())
        repo.licence, repo.private, repo.gated = licence, private, gated
        repo.library = library
        number = f"{name} {len(repo.commits)}"
        commit = hashlib.sha1(number.encode()).hexdigest()
        repo.commits.append((commit, dict(files)))
        return commit

    def asked(self, method: str, part: str) -> list[dict[str, str]]:
        """The headers of the requests whose path holds `part`."""
        return [heads for how, path, heads in self.requests if how == method and part in path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        return Handler


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
        pass

    # Dispatch

    def do_HEAD(self) -> None:
        self._read()

    def do_GET(self) -> None:
        self._read()

    def _read(self) -> None:
        hub, url = self.server_hub, urlsplit(self.path)
        hub.requests.append((self.command, self.path, dict(self.headers)))
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "cdn":
            self._content(parts[-1], hub.uploads[parts[1]])
        elif parts[:2] == ["api", "models"]:
            self._api(f"{parts[2]}/{parts[3]}", parts[4:], parse_qs(url.query))
        elif parts[:2] == ["api", "datasets"]:
            name = f"datasets/{parts[2]}/{parts[3]}"
            if parts[4:5] == ["tree"]:
                self._tree(name, parts[5], "/".join(parts[6:]), parse_qs(url.query))
            else:
                self._api(name, parts[4:], parse_qs(url.query))
        elif parts[0] == "datasets" and len(parts) > 5 and parts[3] == "resolve":
            self._resolve("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve(f"{parts[0]}/{parts[1]}", parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "RepoNotFound")

    def do_POST(self) -> None:
        hub, path = self.server_hub, urlsplit(self.path).path
        hub.requests.append(("POST", self.path, dict(self.headers)))
        body = self._body()
        if "/paths-info/" in path:
            parts = [unquote(part) for part in path.strip("/").split("/")]
            self._paths_info(f"datasets/{parts[2]}/{parts[3]}", parts[5], body)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif hub.write_status is not None:
            self._refuse(hub.write_status, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.cdn}/upload/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self._commit("/".join(path.split("/")[3:5]), body)
        else:
            self._refuse(404, "")

    def do_PUT(self) -> None:
        oid = self.path.rsplit("/", 1)[-1]
        self.server_hub.requests.append(("PUT", self.path, dict(self.headers)))
        content = self._body()
        self.server_hub.uploads[oid] = content
        self._send(200 if sha256(content) == oid else 400, b"", {})

    # Reading

    def _may_see(self, repo: Repo | None) -> bool:
        if repo is None:
            self._refuse(
                401, "RepoNotFound"
            )  # as the Hub does, so that nobody learns what there is
            return False
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return False
        if repo.private and given is None:
            self._refuse(401, "RepoNotFound")
            return False
        return True

    def _api(self, name: str, rest: list[str], query: dict[str, list[str]]) -> None:
        repo = self.server_hub.repos.get(name)
        fault = self.server_hub.api_faults.get(name)
        if fault and fault.times > 0:
            fault.times -= 1
            if fault.content is not None:
                self._send(200, fault.content, {"Content-Type": "text/html"})
            else:
                self._refuse(fault.status or 500, "")
            return
        if not self._may_see(repo):
            return
        assert repo is not None
        if rest[:1] == ["commits"]:
            self._commits(repo, rest[1])
            return
        found = repo.at(rest[1] if rest[:1] in (["revision"], ["tree"]) else "main")
        if found is None:
            self._refuse(404, "RevisionNotFound")
            return
        commit, files = found
        name = name.removeprefix("datasets/")
        if rest[:1] == ["tree"]:
            about = {path: {"size": len(each), "oid": git_id(each)} for path, each in files.items()}
            self._json([{"type": "file", "path": path, **each} for path, each in about.items()])
            return
        self._json(
            {
                "_id": "1",
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": repo.private,
                "gated": "manual" if repo.gated else False,
                "disabled": False,
                **({"library_name": repo.library} if repo.library else {}),
                "tags": [f"license:{repo.licence}"] if repo.licence else [],
                "cardData": {"license": repo.licence} if repo.licence else None,
                "siblings": [_sibling(*each, "blobs" in query) for each in files.items()],
            }
        )

    def _tree(self, name: str, revision: str, folder: str, query: dict[str, list[str]]) -> None:
        """What is in a folder, or with recursive=True below it."""
        found = self._files(name, revision)
        if found is None:
            return
        start = f"{folder}/" if folder else ""
        entries = {}
        for path, content in found.items():
            if not path.startswith(start):
                continue
            pieces = path.removeprefix(start).split("/")
            for depth in range(1, len(pieces)):
                entries[start + "/".join(pieces[:depth])] = None
            entries[path] = content
        if query.get("recursive", ["false"])[0].lower() != "true":
            entries = {
                path: each for path, each in entries.items() if "/" not in path[len(start) :]
            }
        if folder and not entries:
            self._refuse(404, "EntryNotFound")
            return
        self._json([_tree_entry(*each) for each in entries.items()])

    def _paths_info(self, name: str, revision: str, body: bytes) -> None:
        found = self._files(name, revision)
        if found is None:
            return
        kind = self.headers.get("Content-Type", "")
        asked = json.loads(body) if "json" in kind else parse_qs(body.decode())
        entries = []
        for path in asked["paths"]:
            if path in found:
                entries.append(_tree_entry(path, found[path]))
            elif any(each.startswith(f"{path}/") for each in found):
                entries.append(_tree_entry(path, None))
        self._json(entries)

    def _files(self, name: str, revision: str) -> dict[str, bytes] | None:
        """The files of a revision; None where that was refused."""
        repo = self.server_hub.repos.get(name)
        if not self._may_see(repo):
            return None
        assert repo is not None
        found = repo.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound")
            return None
        return found[1]

    def _commits(self, repo: Repo, revision: str) -> None:
        found = repo.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound")
            return
        ids = [commit for commit, _ in repo.commits]
        until = ids[: ids.index(found[0]) + 1]
        self._json(
            [
                {
                    "id": each,
                    "title": "Upload",
                    "message": "",
                    "date": "2024-05-01T10:00:00.000Z",
                    "authors": [{"user": USER}],
                }
                for each in reversed(until)
            ]
        )

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repo = self.server_hub.repos.get(name)
        if not self._may_see(repo):
            return
        assert repo is not None
        if repo.gated and self.headers.get("Authorization") is None:
            self._refuse(401, "GatedRepo")
            return
        found = repo.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound")
        elif file not in found[1]:
            self._refuse(404, "EntryNotFound", commit=found[0])
        else:
            self._answer_file(found[0], file, found[1][file])

    def _answer_file(self, commit: str, file: str, content: bytes) -> None:
        fault = self.server_hub.faults.get(file)
        told = content
        if fault and not fault.honest_size and fault.content is not None:
            told = fault.content
        heads = {"X-Repo-Commit": commit}
        if not file.endswith(LARGE):
            self._content(file, content, heads | {"ETag": f'"{git_id(told)}"'})
            return
        digest = sha256(told)
        self.server_hub.uploads[digest] = content
        heads |= {
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(told)),
            "ETag": f'"{git_id(told)}"',
            "Location": f"{self.server_hub.cdn}/cdn/{digest}/{file.rsplit('/', 1)[-1]}",
        }
        self._send(302, b"", heads)

    def _content(self, file: str, content: bytes, heads: dict[str, str] | None = None) -> None:
        """Bytes, or the part of them that a Range asks for, and what may be wrong with them."""
        fault = self.server_hub.faults.get(file)
        if self.command == "HEAD" or not fault or fault.times <= 0:
            fault = Fault()
        fault.times -= 1
        if fault.held:
            fault.held.wait()
        if fault.status:
            self._refuse(fault.status, "")
            return
        if fault.content is not None:
            content = fault.content
        heads = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"} | (
            heads or {}
        )
        status, asked = 200, self.headers.get("Range")
        if asked and not fault.ignores_range:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            if start >= len(content):
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            heads["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            status, content = 206, content[start : end + 1]
        self._send(status, content, heads, cut_after=fault.cut_after)

    # Writing

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or USER
        if owner != USER:
            self._refuse(403, "")
            return
        name = f"{owner}/{asked['name']}"
        about = {"url": f"{self.server_hub.url}/{name}", "name": name, "id": "1"}
        if name in self.server_hub.repos:
            self._json({**about, "error": "You already created this model repo"}, 409)
            return
        self.server_hub.repos[name] = Repo(
            [(sha256(name.encode())[:40], {})],
            private=asked.get("visibility") == "private" or asked.get("private") is True,
        )
        self._json(about)

    def _commit(self, name: str, body: bytes) -> None:
        hub, repo = self.server_hub, self.server_hub.repos[name]
        files = dict(repo.commits[-1][1])
        for line in body.decode().splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = hub.uploads[value["oid"]]
            elif step["key"] == "deletedFile":
                files.pop(value["path"], None)
        number = f"{name} {len(repo.commits)}"
        commit = hashlib.sha1(number.encode()).hexdigest()
        repo.commits.append((commit, files))
        self._json({"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit})

    # HTTP

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str = "", commit: str = "") -> None:
        heads = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        self._send(status, b"{}", {name: value for name, value in heads.items() if value})

    def _send(
        self, status: int, content: bytes, heads: dict[str, str], cut_after: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in heads.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after is not None and cut_after < len(content):
            self.wfile.write(content[:cut_after])
            self.close_connection = True
            return
        self.wfile.write(content)


def _sibling(path: str, content: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    about: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_id(content)}
    if path.endswith(LARGE):
        about["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
    return about


def _tree_entry(path: str, content: bytes | None) -> dict[str, Any]:
    """A file, or with None a folder."""
    if content is None:
        return {"type": "directory", "path": path, "oid": git_id(path.encode())}
    about: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    about["oid"] = git_id(content)
    if path.endswith(LARGE):
        about["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return about
