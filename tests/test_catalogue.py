"""The catalogue of Hub generators, and what a host allows."""

import re

import pytest

from gan.errors import LabError
from gan.loading.catalogue import GROUPS, catalogue, catalogued
from gan.loading.hub_choice import choose_file
from gan.loading.hub_names import HubName
from gan.loading.policy import MEGABYTE, Policy


def test_at_least_fifteen_different_generators_are_listed():
    names = [entry.name for entry in catalogue()]
    assert len(names) >= 15
    assert len(set(names)) == len(names)
    assert {entry.group for entry in catalogue()} == set(GROUPS)


def test_each_entry_can_be_asked_for():
    for entry in catalogue():
        assert HubName.parse(entry.name) == HubName(entry.repo, None, entry.file)
        assert set(entry.draws) == {"en", "zh"}
        assert re.search(r"[\u4e00-\u9fff]", entry.draws["zh"])
        assert entry.file is None or choose_file([entry.file]) == entry.file
        assert entry.megabytes is None or entry.megabytes > 0
        assert entry.to_json()["name"] == entry.name


def test_a_licence_is_told_with_the_page_that_states_it():
    assert sum(bool(entry.licence) for entry in catalogue()) >= 6
    for entry in catalogue():
        page = f"https://huggingface.co/{entry.repo}"
        assert bool(entry.licence) == entry.licence_source.startswith(page)


def test_catalogued_is_about_the_repository():
    assert catalogued("huggan/dcgan-mnist")
    assert catalogued("HugGAN/DCGAN-mnist")
    assert not catalogued("huggan/other")


def test_a_page_of_ones_own_opens_everything():
    policy = Policy.from_environment({})
    assert policy == Policy()
    assert policy.hub
    assert policy.paths
    assert policy.hub_token
    assert policy.allows("any/one", False)


@pytest.mark.parametrize("environment", [{"SPACE_ID": "a/b"}, {"LATENT_LAB_PUBLIC": "on"}])
def test_a_public_page_is_careful(environment: dict[str, str]):
    policy = Policy.from_environment(environment)
    assert (policy.public, policy.paths, policy.hub_token) == (True, False, False)
    assert policy.hub
    assert policy.allows("any/one", True)
    assert not policy.allows("any/one", False)
    assert policy.hub_most_bytes == 512 * MEGABYTE


def test_the_hosts_words_count():
    policy = Policy.from_environment(
        {
            "SPACE_ID": "a/b",
            "LATENT_LAB_HUB": "off",
            "LATENT_LAB_HUB_ALLOW": "catalogue, me/*",
            "LATENT_LAB_HUB_MAX_MB": "7",
            "LATENT_LAB_HUB_TOKEN": "on",
            "LATENT_LAB_UPLOAD_MAX_MB": "0",
            "LATENT_LAB_PATHS": "On",
            "LATENT_LAB_MODELS_MB": "100",
        }
    )
    assert (policy.hub, policy.hub_token, policy.paths) == (False, True, True)
    assert policy.allows("me/x", False)
    assert not policy.allows("you/x", False)
    assert (policy.hub_most_bytes, policy.upload_most_bytes) == (7 * MEGABYTE, 0)
    assert policy.models_bytes == 100 * MEGABYTE


@pytest.mark.parametrize(
    "wrong",
    [
        {"LATENT_LAB_HUB": "perhaps"},
        {"LATENT_LAB_HUB_MAX_MB": "-1"},
        {"LATENT_LAB_MODELS_MB": "1 GB"},
    ],
)
def test_words_that_cant_be_read_are_told(wrong: dict[str, str]):
    with pytest.raises(LabError) as caught:
        Policy.from_environment(wrong)
    assert next(iter(wrong)) in str(caught.value)
