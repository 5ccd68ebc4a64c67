"""How the Hub is asked: the official client, the connections that everybody on the server shares,
and every failure told in our words.

The client keeps one `httpx2.Client` for all threads, and closes it under them as soon as one of
them can't connect (`close_session`): a stranger whose connection fails would break the download of
somebody else. Ours closes when the last who uses it has let go.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.loading.hub_names import HOME, HubName
from gan.loading.policy import Policy

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SECONDS = 10.0  # for an answer


@functools.cache
def share_connections() -> None:
    """Has the official client use connections that nobody closes under another's request."""
    import httpx2
    from huggingface_hub import get_session, set_client_factory

    class SharedClient(httpx2.Client):
        def close(self) -> None:
            """Nothing yet: another thread may be about to ask."""

        def __del__(self) -> None:
            super().close()

    usual = get_session()

    def factory() -> httpx2.Client:
        return SharedClient(
            event_hooks=usual.event_hooks,
            follow_redirects=usual.follow_redirects,
            timeout=usual.timeout,
        )

    set_client_factory(factory)


def endpoint() -> str:
    """The address of the Hub: HF_ENDPOINT, or the public one's."""
    return (os.environ.get("HF_ENDPOINT") or HOME).rstrip("/")


def token_for(policy: Policy, token: str | None) -> str | bool:
    """The one given; else this machine's own where the host lets it; else none."""
    if token:
        return token
    if not policy.hub_token:
        return False
    return own_token() or False


def own_token() -> str | None:
    """The token that this machine is logged in with."""
    from huggingface_hub import get_token

    return get_token()


def client(token: str | bool) -> HfApi:
    """The official client, for the Hub that HF_ENDPOINT names."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token)


def is_offline() -> bool:
    """Was the client told to ask no network (HF_HUB_OFFLINE)?"""
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def is_reachable() -> bool:
    """Does the Hub answer at all, within some seconds? Blocks."""
    import httpx2
    from huggingface_hub.utils import get_session

    if is_offline():
        return False
    share_connections()
    try:
        get_session().head(endpoint(), timeout=3)
    except (httpx2.HTTPError, OSError):
        return False
    return True


def licence_of(info: Any) -> str:
    """What a repository says of its licence; "" where it doesn't tell."""
    said = getattr(info.card_data, "license", None)
    if not said:
        tags = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
        said = tags[0] if tags else ""
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


# Errors: the client's, in our words


@contextlib.contextmanager
def understood(asked: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turns every failure of the Hub or of the way to it into a LabError that names the remedy."""
    import httpx2

    share_connections()
    try:
        yield
    except LabError:
        raise
    except (httpx2.HTTPError, OSError, ValueError, TypeError, KeyError, RuntimeError) as failure:
        # The client tells of a failed upload by a RuntimeError that stands for the real one.
        error = failure
        if isinstance(failure, RuntimeError) and isinstance(failure.__cause__, Exception):
            error = failure.__cause__
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if writing and status in (401, 403, 404):
            raise _unwritable(status, asked) from error
        raise _in_our_words(error, asked) from error


def _unwritable(status: int, asked: HubName) -> LabError:
    """Why the Hub lets a token write nothing there."""
    if status == 401:
        return LabError("publish_bad_token")
    if status == 404:
        return LabError("publish_nowhere", repo=asked.repo)
    return LabError("publish_refused", repo=asked.repo)


def _in_our_words(error: Exception, asked: HubName) -> LabError:
    import httpx2
    from huggingface_hub import errors

    words = (  # the special before the general
        (errors.GatedRepoError, LabError("hub_gated", repo=asked.repo)),
        (
            errors.RevisionNotFoundError,
            LabError("hub_no_revision", repo=asked.repo, revision=asked.revision),
        ),
        (errors.RepositoryNotFoundError, LabError("hub_no_repo", repo=asked.repo)),
        (
            errors.EntryNotFoundError,
            LabError("hub_no_file", repo=asked.repo, file=asked.file, known="–"),
        ),
        (errors.HfHubHTTPError, _refusal(error, asked)),
        (errors.OfflineModeIsEnabled, LabError("hub_unreachable", name=str(asked))),
        (httpx2.HTTPError, LabError("hub_unreachable", name=str(asked))),
        (errors.HFValidationError, LabError("hub_bad_name", value=str(asked))),
        (errors.FileMetadataError, LabError("hub_strange_answer", repo=asked.repo)),
        (OSError, LabError("hub_disk", reason=getattr(error, "strerror", None) or error)),
    )
    strange = LabError("hub_strange_answer", repo=asked.repo)
    return next((told for kind, told in words if isinstance(error, kind)), strange)


def _refusal(error: Exception, asked: HubName) -> LabError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return LabError("hub_bad_token", repo=asked.repo)
    if status == 403:
        return LabError("hub_gated", repo=asked.repo)
    if status == 429:
        return LabError("hub_busy", repo=asked.repo)
    if status == 404:
        return LabError("hub_no_repo", repo=asked.repo)
    return LabError("hub_failed", repo=asked.repo, status=status)
