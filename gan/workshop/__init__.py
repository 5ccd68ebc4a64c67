"""Trainings for people: started, queued, watched, steered and put away, through files alone.

    limits    what a host allows          requests  what a person asks for
    records   what a run directory says   snapshot  what a page shows of it
    estimate  what it will cost here      looking   what a data set on the Hub is
    queue     who trains, who is next     longer    more minutes for what has ended
    workshop  the verbs

It knows no page, and holds no network: each training is a process of its own (`gan train`).
"""

from gan.workshop.estimate import Estimate
from gan.workshop.limits import Limits
from gan.workshop.records import Owner, Person, RunSummary
from gan.workshop.requests import TrainRequest
from gan.workshop.snapshot import Snapshot
from gan.workshop.workshop import Workshop, shared

__all__ = [
    "Estimate",
    "Limits",
    "Owner",
    "Person",
    "RunSummary",
    "Snapshot",
    "TrainRequest",
    "Workshop",
    "shared",
]
