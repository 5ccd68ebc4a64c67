"""The connections to the Hub that everybody on the server shares.

The official client keeps one `httpx2.Client` for all threads, and closes it under them as soon as
one of them can't connect (`close_session`): a stranger whose connection fails would break the
download of somebody else. Ours closes when the last who uses it has let go.
"""

from __future__ import annotations

import functools


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
